// Composes the steps into the operations of FIPS 203 and lays out the workspace. The same code runs twice: once to
// measure (nothing is enqueued, addresses are imaginary), once to enqueue.
#include "kernels/launch.hpp"

#include <algorithm>

#include "kernels/policy.hpp"
#include "kernels/steps.hpp"

namespace warpkem::kernels {
namespace {

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}

template <class P>
struct FormLayout {  // of a prepared key
  static constexpr std::size_t A_bytes = 512 * P::k * P::k;
  static constexpr std::size_t h_offset = A_bytes + P::ek_bytes;  // of an ek: A || ek || H(ek)
  static constexpr std::size_t ek_form_bytes = round_up(h_offset + 32, form_alignment);
  static constexpr std::size_t dk_form_bytes = round_up(A_bytes + P::dk_bytes, form_alignment);  // A || dk
};

// A region of the workspace.
class Arena {
 public:
  explicit Arena(u8* base) noexcept : base_{base} {}
  u8* take(std::size_t bytes) noexcept {
    u8* const at = base_ + used_;
    used_ += round_up(bytes, 256);
    most_ = std::max(most_, used_);
    return at;
  }
  void reset() noexcept { used_ = 0; }
  u8* base() const noexcept { return base_; }
  std::size_t bytes() const noexcept { return most_; }

 private:
  u8* base_;
  std::size_t used_ = 0, most_ = 0;
};

enum class Secrecy { secret, open };

AnyRows any(const In& in) noexcept {
  return {const_cast<u8*>(in.data), in.stride, const_cast<u8* const*>(reinterpret_cast<const u8* const*>(in.table))};
}
AnyRows any(const Out& out) noexcept { return {out.data, out.stride, out.table}; }
AnyRows any(const Rows& rows) noexcept { return {rows.data, rows.stride, nullptr}; }

AnyRows from_item(AnyRows rows, std::size_t first) noexcept {
  if (rows.table != nullptr) {
    rows.table += first;
  } else if (rows.data != nullptr) {
    rows.data += first * rows.stride;
  }
  return rows;
}

// Items [first, first + items) of a batch, on their way.
template <class P>
class Pass {
 public:
  Pass(const DeviceBatch& batch, std::size_t first, u32 items, Arena& secret, Arena& open, int num_multiprocessors,
       bool measuring, cudaStream_t stream) noexcept
      : batch_{batch},
        first_{first},
        items_{items},
        secret_{secret},
        open_{open},
        num_multiprocessors_{num_multiprocessors},
        measuring_{measuring},
        stream_{stream} {}

  cudaError_t run() noexcept {
    secret_.reset();
    open_.reset();
    statuses_ = batch_.statuses != nullptr ? batch_.statuses + first_ : open_.take(items_);
    if (batch_.prepared) {
      resolve();
    } else {
      enqueue([&] { return cudaMemsetAsync(statuses_, 0, items_, stream_); });
    }
    switch (batch_.operation) {
      case Operation::keygen:
        KeyGen_internal();
        break;
      case Operation::encaps:
        Encaps_internal();
        break;
      case Operation::decaps:
        Decaps_internal();
        break;
      case Operation::check_ek:
        check_modulus(input(batch_.ek, P::ek_bytes, Secrecy::open));
        break;
      case Operation::check_dk:
        hash(hash_check(parts_of_dk(input(batch_.dk, P::dk_bytes, Secrecy::secret))));
        break;
      case Operation::prepare_ek:
        prepare_ek();
        break;
      case Operation::prepare_dk:
        prepare_dk();
        break;
    }
    for (int i = 0; i < num_outputs_; ++i) {
      const Pending& out = outputs_[i];
      if (out.staged.present()) {
        enqueue([&] { return copy_records(any(out.staged), out.user, out.bytes, items_, stream_); });
      }
    }
    if (batch_.operation != Operation::keygen) finish_items();
    return error_;
  }

 private:
  template <class F>
  void enqueue(F&& f) noexcept {
    if (!measuring_ && error_ == cudaSuccess) error_ = f();
  }

  Rows room(std::size_t bytes, Secrecy secrecy) noexcept {
    const std::size_t stride = round_up(bytes, 16);
    return {(secrecy == Secrecy::secret ? secret_ : open_).take(items_ * stride), stride, nullptr};
  }

  static bool in_place(const AnyRows& rows) noexcept {
    return rows.table == nullptr && reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0 && rows.stride % 16 == 0;
  }

  Rows input(const In& in, std::size_t bytes, Secrecy secrecy) noexcept {
    const AnyRows user = from_item(any(in), first_);
    if (in_place(user)) return {user.data, user.stride, nullptr};
    const Rows staged = room(bytes, secrecy);
    enqueue([&] { return copy_records(user, any(staged), static_cast<u32>(bytes), items_, stream_); });
    return staged;
  }

  Rows output(const Out& out, std::size_t bytes, Secrecy secrecy) noexcept {
    Pending& pending = outputs_[num_outputs_++];
    pending.user = from_item(any(out), first_);
    pending.bytes = static_cast<u32>(bytes);
    if (in_place(pending.user)) return {pending.user.data, pending.user.stride, nullptr};
    return pending.staged = room(bytes, secrecy);
  }

  Rows forms_output(std::size_t bytes) noexcept {
    return output({batch_.forms, batch_.forms_stride, nullptr}, bytes, Secrecy::secret);
  }

  bool by_warp(u32 states_per_item) const noexcept {
    if (batch_.hashing != DeviceBatch::Hashing::chosen) return batch_.hashing == DeviceBatch::Hashing::by_warp;
    return policy::warps_are_better(std::uint64_t{items_} * states_per_item, num_multiprocessors_);
  }

  // Hashing steps of which none waits for another.
  template <class... Steps>
  void hash(const Steps&... steps) noexcept {
    WarpJobs jobs;
    bool any = false;
    const auto take = [&]<class Step>(const Step& step) {
      if (by_warp(states(step))) {
        jobs.add(step);
        any = true;
      } else {
        enqueue([&] { return by_thread(step); });
      }
    };
    (take(steps), ...);
    if (any) enqueue([&] { return hash_by_warp(jobs, statuses_, items_, stream_); });
  }
  static u32 states(const Sponge&) noexcept { return 1; }
  static u32 states(const PrfArgs& args) noexcept { return args.polynomials; }
  static u32 states(const MatrixArgs& args) noexcept { return args.k * args.k; }
  cudaError_t by_thread(const Sponge& job) noexcept { return sponge(job, statuses_, items_, stream_); }
  cudaError_t by_thread(const PrfArgs& args) noexcept { return kernels::PRF(args, items_, stream_); }
  cudaError_t by_thread(const MatrixArgs& args) noexcept { return kernels::SampleNTT(args, items_, stream_); }

  // G, H and J of FIPS 203, 4.1.
  static Sponge G(Rows prefix, Rows body, u64 pad, Rows first_half, Rows second_half) noexcept {
    Sponge job;
    job.prefix = prefix;
    job.body = body;
    job.body_words = 4;
    job.rate_words = 9;
    job.pad = pad;
    job.out[0] = first_half;
    job.out[1] = second_half;
    return job;
  }
  static Sponge H(Rows ek, Rows h, Rows copy, Rows also_from = {}, Rows also_to = {}) noexcept {
    Sponge job;
    job.also_from = also_from;
    job.also_to = also_to;
    job.body = ek;
    job.body_words = P::ek_bytes / 8;
    job.out[0] = h;
    job.body_copy = copy;
    return job;
  }
  static Sponge J(Rows z, Rows c, Rows out) noexcept {
    Sponge job;
    job.prefix = z;
    job.body = c;
    job.body_words = P::c_bytes / 8;
    job.pad = 0x1F;
    job.out[0] = out;
    return job;
  }
  static Sponge hash_check(const KeyRows& key) noexcept {
    Sponge job;
    job.body = key.ek;
    job.body_words = P::ek_bytes / 8;
    job.expected = key.h;
    job.failure = static_cast<u8>(ItemStatus::invalid_dk);
    return job;
  }
  void check_modulus(Rows ek) noexcept {
    enqueue([&] { return kernels::check_modulus(ek, P::k, statuses_, items_, stream_); });
  }

  PrfArgs PRF(Rows seed, u32 polynomials, u32 first, int eta) noexcept {
    PrfArgs args;
    args.seed = seed;
    args.polynomials = polynomials;
    args.first = first;
    args.words = static_cast<u32>(16 * eta);
    args.out = secret_.take(std::size_t{items_} * polynomials * 64 * static_cast<std::size_t>(eta));
    return args;
  }

  Rows matrix_room() noexcept { return room(FormLayout<P>::A_bytes, Secrecy::open); }
  MatrixArgs SampleNTT(Rows rho, Rows A) noexcept {
    MatrixArgs args;
    args.rho = rho;
    args.A = A;
    args.k = P::k;
    args.unfinished = reinterpret_cast<u32*>(open_.take((std::size_t{items_} * P::k * P::k + 31) / 32 * sizeof(u32)));
    args.queue = reinterpret_cast<u32*>(open_.take(std::size_t{items_} * P::k * P::k * sizeof(u32)));
    args.queued = reinterpret_cast<u32*>(open_.take(sizeof(u32)));
    return args;
  }

  // K-PKE.KeyGen, FIPS 203 Algorithm 13. `seeds` are d || z.
  void KeyGen(Rows seeds, Rows A, Rows ek, Rows dk_pke) noexcept {
    const Rows rho = ek.offset(P::dk_pke_bytes);
    const Rows sigma = room(32, Secrecy::secret);
    hash(G({}, seeds, 0x0600 | P::k, rho, sigma));
    const PrfArgs eta1 = PRF(sigma, 2 * P::k, 0, P::eta1);
    hash(SampleNTT(rho, A), eta1);
    const Noise bytes{eta1.out, nullptr};
    enqueue([&] { return kernels::keygen<P>(A, bytes, ek, dk_pke, items_, stream_); });
  }

  void copy(Rows from, Rows to, std::size_t bytes) noexcept {
    enqueue([&] { return copy_records(any(from), any(to), static_cast<u32>(bytes), items_, stream_); });
  }

  // ML-KEM.KeyGen_internal, FIPS 203 Algorithm 16.
  void KeyGen_internal() noexcept {
    const Rows seeds = input(batch_.seeds, P::seed_bytes, Secrecy::secret);
    const Rows ek = output(batch_.ek_out, P::ek_bytes, Secrecy::open);
    if (batch_.dk_format == DkFormat::seed) {
      const Rows dk = output(batch_.dk_out, P::seed_bytes, Secrecy::secret);
      KeyGen(seeds, matrix_room(), ek, {});
      copy(seeds, dk, P::seed_bytes);
    } else {
      const Rows dk = output(batch_.dk_out, P::dk_bytes, Secrecy::secret);
      KeyGen(seeds, matrix_room(), ek, dk);
      hash(H(ek, dk.offset(P::dk_h_offset), dk.offset(P::dk_ek_offset), seeds.offset(32), dk.offset(P::dk_z_offset)));
    }
  }

  static KeyRows parts_of_dk(Rows dk) noexcept {
    KeyRows key;
    key.s = dk;
    key.ek = dk.offset(P::dk_ek_offset);
    key.h = dk.offset(P::dk_h_offset);
    key.z = dk.offset(P::dk_z_offset);
    return key;
  }

  KeyRows parts_of_form(Rows form, KeyKind kind) noexcept {
    KeyRows key;
    if (kind == KeyKind::dk) {
      key = parts_of_dk(form.offset(FormLayout<P>::A_bytes));
    } else {
      key.ek = form.offset(FormLayout<P>::A_bytes);
      key.h = form.offset(FormLayout<P>::h_offset);
    }
    key.A = form;
    return key;
  }

  void resolve() noexcept {
    auto* const safe = reinterpret_cast<u32*>(open_.take(items_ * sizeof(u32)));
    const u32* const index = batch_.index != nullptr ? batch_.index + first_ : nullptr;
    enqueue([&] {
      return resolve_keys(index, batch_.keys.num_keys, batch_.keys.statuses, safe, statuses_, items_, stream_);
    });
    prepared_ = parts_of_form({const_cast<u8*>(batch_.keys.data), batch_.keys.stride, safe}, batch_.keys.kind);
    if (batch_.index == nullptr)
      prepared_ = parts_of_form({const_cast<u8*>(batch_.keys.data), 0, nullptr}, batch_.keys.kind);
  }

  // G(m || h), and what need not wait for it; then the noise of Encrypt.
  template <class... Others>
  Noise derive(Rows m, Rows h, Rows K, const Others&... others) noexcept {
    const Rows r = room(32, Secrecy::secret);
    hash(G(m, h, 0x06, K, r), others...);
    const PrfArgs eta1 = PRF(r, P::k, 0, P::eta1), eta2 = PRF(r, P::k + 1, P::k, P::eta2);
    hash(eta1, eta2);
    return {eta1.out, eta2.out};
  }

  // ML-KEM.Encaps_internal, FIPS 203 Algorithm 17, with the check of 7.2.
  void Encaps_internal() noexcept {
    const Rows m = input(batch_.m, P::m_bytes, Secrecy::secret);
    const Rows c = output(batch_.c_out, P::c_bytes, Secrecy::open);
    const Rows K = output(batch_.K_out, P::K_bytes, Secrecy::secret);
    KeyRows key = prepared_;
    if (batch_.prepared) {
      if (batch_.keys.num_keys == 0) return;
    } else {
      key.ek = input(batch_.ek, P::ek_bytes, Secrecy::open);
      key.h = room(32, Secrecy::open);
      key.A = matrix_room();
      hash(H(key.ek, key.h, {}), SampleNTT(key.ek.offset(P::dk_pke_bytes), key.A));
    }
    const Noise bytes = derive(m, key.h, K);
    u8* const checked = batch_.prepared ? nullptr : statuses_;
    enqueue([&] { return encrypt<P>(key, bytes, m, c, checked, items_, stream_); });
  }

  // ML-KEM.Decaps_internal, FIPS 203 Algorithm 18, with the check of 7.3.
  void Decaps_internal() noexcept {
    const Rows c = input(batch_.c, P::c_bytes, Secrecy::open);
    const Rows K = output(batch_.K_out, P::K_bytes, Secrecy::secret);
    const Rows m_prime = room(32, Secrecy::secret), K_prime = room(32, Secrecy::secret),
               K_bar = room(32, Secrecy::secret);
    KeyRows key = prepared_;
    if (batch_.prepared) {
      if (batch_.keys.num_keys == 0) return;
    } else if (batch_.dk_format == DkFormat::seed) {
      const Rows seeds = input(batch_.dk, P::seed_bytes, Secrecy::secret);
      key.A = matrix_room();
      key.ek = room(P::ek_bytes, Secrecy::open);
      key.s = room(P::dk_pke_bytes, Secrecy::secret);
      key.h = room(32, Secrecy::open);
      key.z = seeds.offset(32);
      KeyGen(seeds, key.A, key.ek, key.s);
      hash(H(key.ek, key.h, {}), J(key.z, c, K_bar));
    } else {
      key = parts_of_dk(input(batch_.dk, P::dk_bytes, Secrecy::secret));
      key.A = matrix_room();
      hash(hash_check(key), J(key.z, c, K_bar), SampleNTT(key.ek.offset(P::dk_pke_bytes), key.A));
    }
    enqueue([&] { return decrypt<P>(key, c, m_prime, items_, stream_); });
    const Noise bytes =
        batch_.prepared ? derive(m_prime, key.h, K_prime, J(key.z, c, K_bar)) : derive(m_prime, key.h, K_prime);
    enqueue([&] { return reencrypt<P>(key, bytes, m_prime, c, K_prime, K_bar, K, items_, stream_); });
  }

  void prepare_ek() noexcept {
    const Rows ek = input(batch_.ek, P::ek_bytes, Secrecy::open);
    const KeyRows key = parts_of_form(forms_output(FormLayout<P>::ek_form_bytes), KeyKind::ek);
    check_modulus(ek);
    hash(H(ek, key.h, key.ek), SampleNTT(ek.offset(P::dk_pke_bytes), key.A));
  }

  void prepare_dk() noexcept {
    const KeyRows key = parts_of_form(forms_output(FormLayout<P>::dk_form_bytes), KeyKind::dk);
    if (batch_.dk_format == DkFormat::seed) {
      const Rows seeds = input(batch_.dk, P::seed_bytes, Secrecy::secret);
      KeyGen(seeds, key.A, key.ek, key.s);
      hash(H(key.ek, key.h, {}, seeds.offset(32), key.z));
    } else {
      const AnyRows dk = from_item(any(batch_.dk), first_);
      enqueue([&] { return copy_records(dk, any(key.s), P::dk_bytes, items_, stream_); });
      hash(hash_check(key), SampleNTT(key.ek.offset(P::dk_pke_bytes), key.A));
    }
  }

  void finish_items() noexcept {
    FinishArgs args;
    args.statuses = statuses_;
    args.failed = batch_.failed;
    if (batch_.zero_failed) {
      for (int i = 0; i < num_outputs_; ++i) args.outputs[i] = {outputs_[i].user, outputs_[i].bytes};
    }
    if (args.failed == nullptr && args.outputs[0].bytes == 0) return;
    args.list = reinterpret_cast<u32*>(open_.take(items_ * sizeof(u32)));
    args.listed = reinterpret_cast<u32*>(open_.take(sizeof(u32)));
    enqueue([&] { return finish(args, items_, stream_); });
  }

  struct Pending {
    AnyRows user;
    u32 bytes = 0;
    Rows staged;
  };

  const DeviceBatch& batch_;
  const std::size_t first_;
  const u32 items_;
  Arena& secret_;
  Arena& open_;
  const int num_multiprocessors_;
  const bool measuring_;
  const cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
  u8* statuses_ = nullptr;
  KeyRows prepared_;
  Pending outputs_[3];
  int num_outputs_ = 0;
};

u32 items_of_pass(const DeviceBatch& batch, std::size_t first) noexcept {
  return static_cast<u32>(std::min(batch.count - first, policy::items_per_pass));
}

struct Measure {
  std::size_t secret = 0, open = 0;
};
Measure measure(const DeviceBatch& batch) noexcept {
  if (batch.count == 0) return {};
  auto* const imaginary = reinterpret_cast<u8*>(std::uintptr_t{1} << 20);
  Arena secret{imaginary}, open{imaginary};
  with_params(batch.algorithm, [&]<class P>(P) {
    static_cast<void>(Pass<P>{batch, 0, items_of_pass(batch, 0), secret, open, 1, true, nullptr}.run());
  });
  return {secret.bytes(), open.bytes()};
}

constexpr std::size_t workspace_alignment = 256;

bool present(const In& in) noexcept { return in.data != nullptr || in.table != nullptr; }
bool present(const Out& out) noexcept { return out.data != nullptr || out.table != nullptr; }

bool makes_sense(const DeviceBatch& b) noexcept {
  if (!with_params(b.algorithm, [](auto) {})) return false;
  if (b.dk_format != DkFormat::expanded && b.dk_format != DkFormat::seed) return false;
  if (b.count == 0) return true;
  const auto aligned = [](const void* data, std::size_t stride) {
    return reinterpret_cast<std::uintptr_t>(data) % form_alignment == 0 && stride % form_alignment == 0;
  };
  const auto forms_for = [&](KeyKind kind) {
    return b.forms != nullptr && aligned(b.forms, b.forms_stride) && b.forms_stride >= form_bytes(b.algorithm, kind);
  };
  if (b.prepared && (b.operation == Operation::encaps || b.operation == Operation::decaps)) {
    if (b.keys.num_keys != 0 && (b.keys.data == nullptr || !aligned(b.keys.data, b.keys.stride) ||
                                 b.keys.stride < form_bytes(b.algorithm, b.keys.kind))) {
      return false;
    }
    if (b.operation == Operation::decaps && b.keys.kind != KeyKind::dk) return false;
  } else if (b.prepared) {
    return false;
  }
  switch (b.operation) {
    case Operation::keygen:
      return present(b.seeds) && present(b.ek_out) && present(b.dk_out);
    case Operation::encaps:
      return present(b.m) && (b.prepared || present(b.ek)) && present(b.c_out) && present(b.K_out);
    case Operation::decaps:
      return present(b.c) && (b.prepared || present(b.dk)) && present(b.K_out);
    case Operation::check_ek:
      return present(b.ek);
    case Operation::check_dk:
      return present(b.dk) && b.dk_format == DkFormat::expanded;
    case Operation::prepare_ek:
      return present(b.ek) && forms_for(KeyKind::ek);
    case Operation::prepare_dk:
      return present(b.dk) && forms_for(KeyKind::dk);
  }
  return false;
}

}  // namespace

std::size_t form_bytes(std::uint32_t algorithm, KeyKind kind) noexcept {
  std::size_t bytes = 0;
  with_params(algorithm, [&]<class P>(P) {
    bytes = kind == KeyKind::ek ? FormLayout<P>::ek_form_bytes : FormLayout<P>::dk_form_bytes;
  });
  return bytes;
}

std::size_t workspace_bytes(const DeviceBatch& batch) noexcept {
  if (!makes_sense(batch)) return 0;
  const Measure need = measure(batch);
  return need.secret + need.open + workspace_alignment;
}

cudaError_t load_kernels() noexcept {
  const auto load = [](KernelList kernels, bool share_memory) {
    cudaError_t error = cudaSuccess;
    for (const void* const kernel : kernels) {
      // Blocks that share memory want as many of themselves as fit. To change the division of the L1 cache between two
      // kernels, the driver waits until a multiprocessor is idle.
      if (share_memory) {
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                     cudaSharedmemCarveoutMaxShared);
      }
      cudaFuncAttributes loaded{};
      if (error == cudaSuccess) error = cudaFuncGetAttributes(&loaded, kernel);
      if (error != cudaSuccess) break;
    }
    return error;
  };
  for (const auto list : {&hash_kernels, &hash_by_warp_kernels, &keygen_kernels, &encaps_kernels, &decaps_kernels}) {
    if (const cudaError_t error = load(list(), true); error != cudaSuccess) return error;
  }
  return load(records_kernels(), false);
}

cudaError_t launch(const DeviceBatch& batch, void* workspace, std::size_t workspace_bytes,
                   cudaStream_t stream) noexcept {
  if (!makes_sense(batch)) return cudaErrorInvalidValue;
  const Measure need = measure(batch);
  if (batch.count != 0 && (workspace == nullptr || workspace_bytes < need.secret + need.open + workspace_alignment)) {
    return cudaErrorInvalidValue;
  }
  int device = 0, num_multiprocessors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&num_multiprocessors, cudaDevAttrMultiProcessorCount, device);
  }
  if (error != cudaSuccess) return error;
  if (batch.failed != nullptr) error = cudaMemsetAsync(batch.failed, 0, sizeof(*batch.failed), stream);
  if (error != cudaSuccess || batch.count == 0) return error;

  u8* const base = reinterpret_cast<u8*>(round_up(reinterpret_cast<std::uintptr_t>(workspace), workspace_alignment));
  Arena secret{base}, open{base + need.secret};
  with_params(batch.algorithm, [&]<class P>(P) {
    for (std::size_t first = 0; first < batch.count && error == cudaSuccess; first += policy::items_per_pass) {
      error =
          Pass<P>{batch, first, items_of_pass(batch, first), secret, open, num_multiprocessors, false, stream}.run();
    }
  });
  // Also after an error: what was enqueued before it has written secrets.
  const cudaError_t wiped = need.secret == 0 ? cudaSuccess : cudaMemsetAsync(base, 0, need.secret, stream);
  return error != cudaSuccess ? error : wiped;
}

}  // namespace warpkem::kernels
