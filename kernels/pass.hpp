// The operations of FIPS 203 and of hybrids as sequences of steps (steps.hpp), for one pass over a batch. The same code
// runs twice: once to measure, once to enqueue. Internal to kernels/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "kernels/algorithms.hpp"
#include "kernels/batch.hpp"
#include "kernels/fork.hpp"
#include "kernels/policy.hpp"
#include "kernels/staging.hpp"
#include "kernels/steps.hpp"

namespace warpkem::kernels {

template <class Algorithm>
struct FormLayout {  // of a prepared key
  using P = typename Algorithm::MlKem;
  static constexpr std::size_t x25519 = Algorithm::is_hybrid ? x25519_bytes : 0;
  static constexpr std::size_t A_bytes = 512 * P::k * P::k;
  // Of an ek: A || ek || H(ek), and of hybrids the element.
  static constexpr std::size_t h_offset = A_bytes + P::ek_bytes, ek_element_offset = h_offset + 32;
  static constexpr std::size_t ek_form_bytes = round_up(ek_element_offset + x25519, form_alignment);
  // Of a dk: A || dk, and of hybrids the scalar, and the element if it is combined.
  static constexpr std::size_t scalar_offset = A_bytes + P::dk_bytes, dk_element_offset = scalar_offset + x25519;
  static constexpr std::size_t dk_form_bytes = round_up(dk_element_offset + x25519, form_alignment);
};

template <class Algorithm>
class Pass : private Staging {
  using P = typename Algorithm::MlKem;

 public:
  Pass(const DeviceBatch& batch, std::size_t first, std::size_t items, Workspace& workspace, int num_multiprocessors,
       bool measuring, cudaStream_t stream, const Fork& fork = {}) noexcept
      : Staging{batch, first, items, workspace, measuring, stream},
        num_multiprocessors_{num_multiprocessors},
        fork_{fork} {}

  // All up to the arithmetic that ends ML-KEM. That of `previous`, if given, goes
  // beside the longest hashing of this pass.
  void begin(Pass* previous) noexcept {
    previous_ = previous;
    if (batch_.prepared) {
      resolve();
    } else {
      enqueue([&] { return cudaMemsetAsync(statuses_, 0, items_, stream_); });
    }
    // In the order of the table.
    static constexpr void (Pass::*compositions[])() noexcept = {&Pass::keygen,    &Pass::encaps,   &Pass::decaps,
                                                                &Pass::check_ek,  &Pass::check_dk, &Pass::prepare_ek,
                                                                &Pass::prepare_dk};
    static_assert(std::size(compositions) == std::size(operations));
    (this->*compositions[row_of(batch_.operation)])();
    previous_ = nullptr;
  }
  // That arithmetic, if it was not done yet, and the rest.
  cudaError_t complete() noexcept {
    end(nullptr);
    if (after_ != nullptr) (this->*after_)();
    finish_matrix();
    meet();
    if (operations[row_of(batch_.operation)].items_fail) finish_items();
    copy_outputs();
    return error_;
  }

 private:
  std::uint64_t batches() const noexcept { return batch_.is_alone ? 1 : policy::batches_in_flight; }
  bool by_warp(u32 states_per_item) const noexcept {
    if (batch_.hashing != DeviceBatch::Hashing::chosen) return batch_.hashing == DeviceBatch::Hashing::by_warp;
    return policy::warps_are_better(std::uint64_t{items_} * states_per_item, num_multiprocessors_, batches());
  }

  // `beside`: states of an item that the next launch hashes in any case.
  bool completes_apart(u32 beside) const noexcept {
    if (batch_.hashing != DeviceBatch::Hashing::chosen) return true;
    return policy::matrix_completes_apart(std::uint64_t{items_} * P::k * P::k, std::uint64_t{items_} * beside,
                                          num_multiprocessors_, batches());
  }

  // The last arithmetic of ML-KEM in the pass, with hashing of the next pass beside it or alone.
  enum class Ending { none, keygen, encrypt, reencrypt };
  cudaError_t end(const Beside* beside) noexcept {
    const Ending ending = std::exchange(ending_, Ending::none);
    if (ending == Ending::none) return error_;
    enqueue([&] {
      if (ending == Ending::keygen) return kernels::keygen<P>(keygen_, items_, beside, stream_);
      if (ending == Ending::encrypt) return encrypt<P>(encrypt_, items_, beside, stream_);
      return reencrypt<P>(reencrypt_, items_, beside, stream_);
    });
    return error_;
  }

  // Hashing steps of which none waits for another. They run side by side, and beside what SampleNTT left unfinished in
  // the launch before.
  template <class... Steps>
  void hash(const Steps&... steps) noexcept {
    HashJobs jobs;
    (jobs.add(steps, by_warp(states(steps))), ...);
    if (unfinished_.blocks == MatrixArgs::Blocks::rest) jobs.add(unfinished_, false);
    unfinished_ = {};
    const bool is_by_thread =
        !(jobs.sponges_by_warp || jobs.matrix_by_warp || jobs.prfs_by_warp[0] || jobs.prfs_by_warp[1]);
    // The launch that takes longest. By prepared keys there is no matrix.
    const bool is_long = jobs.has_matrix || (batch_.prepared && (jobs.num_prfs != 0 || jobs.num_sponges > 1));
    if (is_long && is_by_thread && previous_ != nullptr && previous_->ending_ != Ending::none) {
      const Beside beside{jobs, statuses_, items_};
      enqueue([&] { return previous_->end(&beside); });
    } else {
      enqueue([&] { return kernels::hash(jobs, statuses_, items_, stream_); });
    }
    if (jobs.has_matrix && !jobs.matrix_by_warp && jobs.matrix.blocks == MatrixArgs::Blocks::three) {
      unfinished_ = jobs.matrix;
      unfinished_.blocks = MatrixArgs::Blocks::rest;
    }
  }
  // Before what reads the matrix.
  void finish_matrix() noexcept {
    if (unfinished_.blocks == MatrixArgs::Blocks::rest) hash();
  }
  static u32 states(const Sponge&) noexcept { return 1; }
  static u32 states(const PrfArgs& args) noexcept { return args.polynomials; }
  static u32 states(const MatrixArgs& args) noexcept { return args.k * args.k; }

  // The fork's stream, from where stream_ is now.
  cudaStream_t part() noexcept {
    if (fork_.stream == nullptr) return stream_;
    enqueue([&] { return cudaEventRecord(fork_.parted, stream_); });
    enqueue([&] { return cudaStreamWaitEvent(fork_.stream, fork_.parted, 0); });
    parted_ = true;
    return fork_.stream;
  }
  // What follows waits for the fork's stream too: also after an error, for the wipe follows.
  void meet() noexcept {
    if (!std::exchange(parted_, false) || measuring_) return;
    cudaError_t error = cudaEventRecord(fork_.met, fork_.stream);
    if (error == cudaSuccess) error = cudaStreamWaitEvent(stream_, fork_.met, 0);
    enqueue([=] { return error; });
  }

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
  static Sponge H_and_G(Rows ek, Rows m, Rows K, Rows r) noexcept {
    Sponge job = H(ek, {}, {});
    job.m = m;
    job.K = K;
    job.r = r;
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

  PrfArgs PRF(Rows seed, u32 polynomials, u32 first, u32 eta) noexcept {
    PrfArgs args;
    args.seed = seed;
    args.polynomials = polynomials;
    args.first = first;
    args.words = 16 * eta;
    args.out = secret_.take(std::size_t{items_} * polynomials * 64 * eta);
    return args;
  }
  static Rows noise_of(const PrfArgs& args) noexcept { return {args.out, u64{4} * args.words * args.polynomials}; }

  Rows matrix_room() noexcept { return room(FormLayout<Algorithm>::A_bytes, Secrecy::open); }
  MatrixArgs SampleNTT(Rows rho, Rows A, u32 beside = 0) noexcept {
    MatrixArgs args;
    args.rho = rho;
    args.A = A;
    args.k = P::k;
    args.blocks = completes_apart(beside) ? MatrixArgs::Blocks::three : MatrixArgs::Blocks::all;
    args.unfinished = reinterpret_cast<u32*>(open_.take((std::size_t{items_} * P::k * P::k + 31) / 32 * sizeof(u32)));
    return args;
  }

  // K-PKE.KeyGen, FIPS 203 Algorithm 13, up to its arithmetic. `seeds` are d || z.
  void KeyGen(Rows seeds, Rows A, Rows ek, Rows dk_pke) noexcept {
    const Rows rho = ek.offset(P::dk_pke_bytes);
    const Rows sigma = room(32, Secrecy::secret);
    hash(G({}, seeds, 0x0600 | P::k, rho, sigma));
    const PrfArgs eta1 = PRF(sigma, 2 * P::k, 0, P::eta1);
    hash(SampleNTT(rho, A), eta1);
    const Noise bytes{noise_of(eta1), {}};
    finish_matrix();
    keygen_ = {A, bytes, ek, dk_pke};
    ending_ = Ending::keygen;
  }

  // ML-KEM.KeyGen_internal, FIPS 203 Algorithm 16. Without `dk` only ek. Its last lines are in after_keygen().
  void KeyGen_internal(Rows seeds, Rows ek, Rows dk) noexcept { KeyGen(seeds, matrix_room(), ek, dk); }

  // d || z, and of hybrids the scalar, from what a key pair is made from. Of those that combine that is SHAKE256(seed):
  // expandDecapsulationKey of draft-irtf-cfrg-concrete-hybrid-kems.
  Rows expand(Rows seeds) noexcept {
    if (!Algorithm::expands(batch_.dk_format)) return seeds;
    const Rows material = room(Algorithm::material_bytes, Secrecy::secret);
    Sponge job;
    job.body = seeds;
    job.body_words = 4;
    job.pad = 0x1F;
    for (std::size_t i = 0; i < 3; ++i) job.out[i] = material.offset(32 * i);
    hash(job);
    return material;
  }
  static Rows scalar_of(Rows material) noexcept { return material.offset(P::seed_bytes); }

  void keygen() noexcept {
    const bool is_expanded = batch_.dk_format == DkFormat::expanded;
    const Rows seeds = input(batch_.seeds, Algorithm::seeds_bytes(batch_.dk_format), Secrecy::secret);
    const Rows ek = output(batch_.ek_out, Algorithm::ek_bytes, Secrecy::open);
    const Rows dk = output(batch_.dk_out, Algorithm::dk_bytes(batch_.dk_format), Secrecy::secret);
    const Rows material = expand(seeds);
    if (Algorithm::is_hybrid) {
      const Rows scalar_in_dk = is_expanded ? dk.offset(P::dk_bytes) : Rows();
      public_keys({scalar_of(material), ek.offset(P::ek_bytes), {}, scalar_in_dk}, part());
    }
    KeyGen_internal(material, ek, is_expanded ? dk : Rows());
    made_ = {seeds, material, ek, dk};
    after_ = &Pass::after_keygen;
  }
  void after_keygen() noexcept {
    const auto& [seeds, material, ek, dk] = made_;
    if (batch_.dk_format == DkFormat::expanded) {
      hash(
          H(ek, dk.offset(P::dk_h_offset), dk.offset(P::dk_ek_offset), material.offset(32), dk.offset(P::dk_z_offset)));
    } else {
      copy(seeds, dk, Algorithm::dk_bytes(batch_.dk_format));
    }
  }

  // And of hybrids X25519's half.
  struct KeyParts : KeyRows {
    Rows scalar, element;
  };

  static KeyParts parts_of_dk(Rows dk) noexcept {
    KeyParts key;
    key.s = dk;
    key.ek = dk.offset(P::dk_ek_offset);
    key.h = dk.offset(P::dk_h_offset);
    key.z = dk.offset(P::dk_z_offset);
    key.scalar = dk.offset(P::dk_bytes);
    return key;
  }

  static KeyParts parts_of_form(Rows form, KeyKind kind) noexcept {
    using Layout = FormLayout<Algorithm>;
    KeyParts key;
    if (kind == KeyKind::dk) {
      key = parts_of_dk(form.offset(Layout::A_bytes));
      key.element = form.offset(Layout::dk_element_offset);
    } else {
      key.ek = form.offset(Layout::A_bytes);
      key.h = form.offset(Layout::h_offset);
      key.element = form.offset(Layout::ek_element_offset);
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

  // The noise of Encrypt: polynomials of the same length are one job.
  Noise noise_from(Rows r) noexcept {
    if constexpr (P::eta1 == P::eta2) {
      const PrfArgs both = PRF(r, 2 * P::k + 1, 0, P::eta1);
      hash(both);
      return {noise_of(both), noise_of(both).offset(64 * P::eta1 * P::k)};
    } else {
      const PrfArgs eta1 = PRF(r, P::k, 0, P::eta1), eta2 = PRF(r, P::k + 1, P::k, P::eta2);
      hash(eta1, eta2);
      return {noise_of(eta1), noise_of(eta2)};
    }
  }

  // For the last kernel of ML-KEM, where no more follows that may fail an item.
  FinishArgs last() noexcept {
    if (!Algorithm::is_hybrid) return take_finish();
    FinishArgs none;
    none.statuses = statuses_;
    return none;
  }

  // ML-KEM.Encaps_internal, FIPS 203 Algorithm 17, with the check of 7.2.
  void Encaps_internal(KeyRows& key, Rows m, Rows c, Rows K) noexcept {
    const Rows r = room(32, Secrecy::secret);
    if (batch_.prepared) {
      hash(G(m, key.h, 0x06, K, r));
    } else {
      key.A = matrix_room();
      hash(H_and_G(key.ek, m, K, r), SampleNTT(key.ek.offset(P::dk_pke_bytes), key.A, 2 * P::k + 1));
    }
    const Noise bytes = noise_from(r);
    finish_matrix();
    encrypt_ = {key, bytes, m, c, !batch_.prepared, last()};
    ending_ = Ending::encrypt;
  }

  void encaps() noexcept {
    const Rows m = input(batch_.m, Algorithm::m_bytes, Secrecy::secret);
    const Rows c = output(batch_.c_out, Algorithm::c_bytes, Secrecy::open);
    const Rows K = output(batch_.K_out, Algorithm::K_bytes, Secrecy::secret);
    KeyParts key = prepared_;
    if (batch_.prepared) {
      if (batch_.keys.num_keys == 0) return;
    } else {
      key.ek = input(batch_.ek, Algorithm::ek_bytes, Secrecy::open);
      key.element = key.ek.offset(P::ek_bytes);
    }
    K_ = K;
    const Secrets& secrets = secrets_ = secrets_room(K);
    if (Algorithm::is_hybrid) {
      const Rows scalar = m.offset(P::m_bytes);
      derive_secret({scalar, key.element, secrets.of_x25519, secrets.element_in_ek});
      public_keys({scalar, c.offset(P::c_bytes), secrets.element_in_c, {}}, stream_);
    }
    Encaps_internal(key, m, c, secrets.of_ml_kem);
    after_ = &Pass::combine;
  }

  // ML-KEM.Decaps_internal, FIPS 203 Algorithm 18, with the check of 7.3. `material`: of keys from seeds, else absent.
  // `along`: with prepared keys, the element of ek goes there.
  void Decaps_internal(KeyParts& key, Rows material, Rows c, Rows K, Rows along) noexcept {
    const Rows m_prime = room(32, Secrecy::secret), K_prime = room(32, Secrecy::secret),
               K_bar = room(32, Secrecy::secret), r = room(32, Secrecy::secret);
    if (!batch_.prepared) key.A = matrix_room();
    if (material.present()) {
      key.ek = room(P::ek_bytes, Secrecy::open);
      key.s = room(P::dk_pke_bytes, Secrecy::secret);
      key.z = material.offset(32);
      KeyGen(material, key.A, key.ek, key.s);
      end(nullptr);
    }
    enqueue([&] { return decrypt<P>(key, c, m_prime, items_, stream_); });
    Sponge rejection = J(key.z, c, K_bar);
    if (batch_.prepared) {
      if (along.present()) rejection.also_from = key.element, rejection.also_to = along;
      hash(rejection, G(m_prime, key.h, 0x06, K_prime, r));
    } else if (material.present()) {
      hash(H_and_G(key.ek, m_prime, K_prime, r), rejection);
    } else {
      hash(hash_check(key), rejection, G(m_prime, key.h, 0x06, K_prime, r),
           SampleNTT(key.ek.offset(P::dk_pke_bytes), key.A, 2 * P::k + 1));
    }
    const Noise bytes = noise_from(r);
    finish_matrix();
    reencrypt_ = {key, bytes, m_prime, c, K_prime, K_bar, K, last()};
    ending_ = Ending::reencrypt;
  }

  void decaps() noexcept {
    const Rows c = input(batch_.c, Algorithm::c_bytes, Secrecy::open);
    const Rows K = output(batch_.K_out, Algorithm::K_bytes, Secrecy::secret);
    KeyParts key = prepared_;
    Rows material;
    if (batch_.prepared) {
      if (batch_.keys.num_keys == 0) return;
    } else {
      const Rows dk = input(batch_.dk, Algorithm::dk_bytes(batch_.dk_format), Secrecy::secret);
      if (batch_.dk_format == DkFormat::expanded) {
        key = parts_of_dk(dk);
      } else {
        material = expand(dk);
        key.scalar = scalar_of(material);
      }
    }
    K_ = K;
    const Secrets& secrets = secrets_ = secrets_room(K);
    if (Algorithm::is_hybrid) {
      derive_secret({key.scalar, c.offset(P::c_bytes), secrets.of_x25519, secrets.element_in_c});
      if (Algorithm::combines && !batch_.prepared) public_keys({key.scalar, secrets.element_in_ek, {}, {}}, stream_);
    }
    Decaps_internal(key, material, c, secrets.of_ml_kem, secrets.element_in_ek);
    after_ = &Pass::combine;
  }

  void check_ek() noexcept {
    const Rows ek = input(batch_.ek, Algorithm::ek_bytes, Secrecy::open);
    check_modulus(ek);
    check_element(ek);
  }
  void check_dk() noexcept {
    const Rows dk = input(batch_.dk, Algorithm::dk_bytes(DkFormat::expanded), Secrecy::secret);
    hash(hash_check(parts_of_dk(dk)));
  }

  void prepare_ek() noexcept {
    const Rows ek = input(batch_.ek, Algorithm::ek_bytes, Secrecy::open);
    const KeyParts key = parts_of_form(forms_output(FormLayout<Algorithm>::ek_form_bytes), KeyKind::ek);
    check_modulus(ek);
    hash(H(ek, key.h, key.ek), SampleNTT(ek.offset(P::dk_pke_bytes), key.A));
    check_element(ek);
    if (Algorithm::is_hybrid) copy(ek.offset(P::ek_bytes), key.element, x25519_bytes);
  }

  void prepare_dk() noexcept {
    const KeyParts key = parts_of_form(forms_output(FormLayout<Algorithm>::dk_form_bytes), KeyKind::dk);
    if (batch_.dk_format == DkFormat::expanded) {
      const AnyRows dk = from_item(any(batch_.dk), first_);  // and, as in the form, the scalar
      const auto bytes = static_cast<u32>(Algorithm::dk_bytes(DkFormat::expanded));
      enqueue([&] { return copy_records(dk, any(key.s), bytes, items_, stream_); });
      hash(hash_check(key), SampleNTT(key.ek.offset(P::dk_pke_bytes), key.A));
    } else {
      const Rows material = expand(input(batch_.dk, Algorithm::dk_bytes(batch_.dk_format), Secrecy::secret));
      KeyGen(material, key.A, key.ek, key.s);
      end(nullptr);
      hash(H(key.ek, key.h, {}, material.offset(32), key.z));
      if (Algorithm::is_hybrid) public_keys({scalar_of(material), key.element, {}, key.scalar}, stream_);
    }
  }

  // ---- X25519's half of hybrids

  // Where both secrets go: to K, or to the message that is hashed to K, and then the elements too. The message is K of
  // ML-KEM || secret || element in c || element in ek || label, the last with the padding.
  struct Secrets {
    Rows message, of_ml_kem, of_x25519, element_in_c, element_in_ek;
  };
  static constexpr std::size_t message_bytes = P::K_bytes + 3 * x25519_bytes;
  static constexpr char label[] = "\\.//^\\";
  static constexpr u64 label_and_pad() noexcept {
    u64 word = 0x06;
    for (std::size_t i = sizeof label - 1; i-- > 0;) word = word << 8 | static_cast<u8>(label[i]);
    return word;
  }

  Secrets secrets_room(Rows K) noexcept {
    if (!Algorithm::is_hybrid) return {{}, K, {}, {}, {}};
    if (!Algorithm::combines) return {{}, K, K.offset(P::K_bytes), {}, {}};
    const Rows message = room(message_bytes, Secrecy::secret);
    return {message, message, message.offset(P::K_bytes), message.offset(P::K_bytes + x25519_bytes),
            message.offset(P::K_bytes + 2 * x25519_bytes)};
  }

  // Of a hybrid: fails the items whose secret of X25519 may not be zero, and makes K of both.
  void combine() noexcept {
    if (!Algorithm::is_hybrid) return;
    meet();
    if (zero_fails()) {
      const ItemStatus failure = batch_.operation == Operation::encaps ? ItemStatus::invalid_ek : ItemStatus::invalid_c;
      enqueue([&] { return check_secrets(secrets_.of_x25519, failure, statuses_, items_, stream_); });
    }
    if (!Algorithm::combines) return;
    Sponge job;  // SHA3-256
    job.body = secrets_.message;
    job.body_words = message_bytes / 8;
    job.pad = label_and_pad();
    job.out[0] = K_;
    hash(job);
  }

  void public_keys(const PublicKeyArgs& args, cudaStream_t stream) noexcept {
    enqueue([&] { return kernels::public_keys(args, items_, num_multiprocessors_, stream); });
  }

  // Beside all of ML-KEM: Keccak keeps the integer pipe busy, this the multiplier.
  void derive_secret(const DeriveArgs& args) noexcept {
    const cudaStream_t aside = part();
    enqueue([&] { return kernels::derive(args, items_, num_multiprocessors_, aside); });
  }

  // The documents of the KEM that combines do not ask for the refusal of a secret that is zero.
  bool zero_fails() const noexcept { return !Algorithm::combines || batch_.refuse_zero; }

  void check_element(Rows ek) noexcept {
    if (!Algorithm::is_hybrid || !zero_fails()) return;
    enqueue([&] { return check_elements(ek.offset(P::ek_bytes), ItemStatus::invalid_ek, statuses_, items_, stream_); });
  }

  const int num_multiprocessors_;
  const Fork fork_;
  Pass* previous_ = nullptr;
  bool parted_ = false;
  KeyParts prepared_;
  MatrixArgs unfinished_;  // where that says `rest`

  Ending ending_ = Ending::none;  // which of these is to be done
  KeygenArgs keygen_;
  EncryptArgs encrypt_;
  ReencryptArgs reencrypt_;

  void (Pass::*after_)() noexcept = nullptr;  // what follows, and its arrays
  struct Made {
    Rows seeds, material, ek, dk;
  } made_;
  Secrets secrets_;
  Rows K_;
};

}  // namespace warpkem::kernels
