// Runs one operation of the kernels on a batch, and nothing else on the device: what profiles and the constant-time
// test look at.
//
//   kernel_run OPERATION ALGORITHM COUNT [VARIANT [chosen|by_thread|by_warp]]
//
// OPERATION: keygen keygen_seed encaps decaps decaps_seed check_ek check_dk prepare_ek prepare_dk encaps_prepared
// decaps_prepared encaps_one_key decaps_one_key keygen_from_rho; of MLKEM768-X25519 keygen_composite, decaps_composite.
// What has no expanded dk takes seeds. Keys and ciphertexts are made by portable, the same in every run. A VARIANT
// other than 0 changes secrets alone: m of encaps; the scalars of a hybrid's keygen, but not where it comes from a
// short seed; for decaps 1 flips a bit of every c, which is then rejected, and 2 overwrites s (unless it comes from d),
// z and the scalar in every dk; for keygen_from_rho, which does K-PKE.KeyGen from given rho and sigma, it changes
// sigma.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kat/kem.hpp"
#include "kernels/steps.hpp"
#include "tests/kernels/device.hpp"

namespace warpkem::kernels::test {
namespace {

// Not that of tests/support, which looks for every backend and with it would run others' kernels.
warpkem_engine* portable_engine() {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = "portable";
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) throw std::runtime_error(warpkem_last_error());
  return engine;
}

DeviceBatch::Hashing hashing_by_name(const std::string& name) {
  if (name == "chosen") return DeviceBatch::Hashing::chosen;
  if (name == "by_thread") return DeviceBatch::Hashing::by_thread;
  if (name == "by_warp") return DeviceBatch::Hashing::by_warp;
  throw std::runtime_error("unknown hashing " + name);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t bound) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(state_ >> 33) % bound;
  }
  Bytes bytes(std::size_t count) {
    Bytes all(count);
    for (auto& byte : all) byte = static_cast<std::uint8_t>(below(256));
    return all;
  }

 private:
  std::uint64_t state_;
};

class KernelRun {
 public:
  KernelRun(std::uint32_t algorithm, std::size_t count, int variant, DeviceBatch::Hashing hashing)
      : algorithm_(algorithm),
        is_hybrid_(algorithm > MlKem1024::id),
        k_(is_hybrid_ ? MlKem768::k : algorithm + 1),
        count_(count),
        variant_(variant),
        random_(1),
        portable_(portable_engine(), algorithm) {
    batch_.algorithm = algorithm;
    batch_.count = count;
    batch_.hashing = hashing;
  }

  void run(const std::string& operation) {
    batch_.dk_format = operation.ends_with("_composite") ? DkFormat::composite
                       : operation.ends_with("_seed")    ? DkFormat::seed
                                                         : static_cast<DkFormat>(portable_.dk_format);
    const bool is_composite = batch_.dk_format == DkFormat::composite;
    const std::size_t seed_bytes = is_composite ? 96 : portable_.seed_bytes;
    Bytes seeds = random_.bytes(seed_bytes * count_);
    if (operation == "keygen_from_rho") return keygen_from_rho(seeds);
    if (operation.starts_with("keygen")) {
      if (variant_ != 0) overwrite(seeds, seed_bytes, 64);
      batch_.operation = Operation::keygen;
      batch_.seeds = in(seeds, seed_bytes);
      batch_.ek_out = out(portable_.ek_bytes);
      batch_.dk_out = out(batch_.dk_format == DkFormat::expanded ? portable_.dk_bytes : seed_bytes);
      return launch();
    }
    kat::Kem::KeyPairs keys = portable_.keygen(random_.bytes(portable_.seed_bytes * count_));
    if (operation == "decaps_seed") keys = portable_.keygen(seeds);
    const bool prepared = operation.ends_with("_prepared") || operation.ends_with("_one_key");
    if (operation.starts_with("check") || operation.starts_with("prepare_")) {
      batch_.ek = in(keys.ek, portable_.ek_bytes);
      batch_.dk = in(keys.dk, portable_.dk_bytes);
      batch_.operation = operation == "check_ek"     ? Operation::check_ek
                         : operation == "check_dk"   ? Operation::check_dk
                         : operation == "prepare_ek" ? Operation::prepare_ek
                                                     : Operation::prepare_dk;
      batch_.forms_stride = form_bytes(algorithm_, KeyKind::dk);
      batch_.forms = memory(batch_.forms_stride * count_);
      return launch();
    }
    const Bytes m = random_.bytes(portable_.m_bytes * count_);
    Bytes c = portable_.encaps(keys.ek, m).c;
    if (operation.starts_with("encaps")) {
      batch_.operation = Operation::encaps;
      batch_.m = in(variant_ == 0 ? m : Random(7).bytes(m.size()), portable_.m_bytes);
      batch_.c_out = out(portable_.c_bytes);
      batch_.K_out = out(portable_.K_bytes);
      if (!prepared) batch_.ek = in(keys.ek, portable_.ek_bytes);
    } else {
      if (variant_ == 1) {
        for (std::size_t i = 0; i < count_; ++i) c[i * portable_.c_bytes + i % portable_.c_bytes] ^= 4;
      }
      if (variant_ == 2 && is_composite) overwrite(seeds, seed_bytes, 32);
      if (variant_ == 2 && batch_.dk_format == DkFormat::expanded) {
        overwrite(keys.dk, portable_.dk_bytes, 0, 384 * k_);
        overwrite(keys.dk, portable_.dk_bytes, 768 * k_ + 64);
      }
      batch_.operation = Operation::decaps;
      batch_.c = in(c, portable_.c_bytes);
      batch_.K_out = out(portable_.K_bytes);
      if (operation == "decaps") batch_.dk = in(keys.dk, portable_.dk_bytes);
      if (operation == "decaps_seed" || is_composite) batch_.dk = in(seeds, seed_bytes);
    }
    if (prepared) prepare(keys, operation.ends_with("_one_key"));
    launch();
  }

 private:
  // Bytes [first, first + bytes) of every record, or all from the first on, become others.
  void overwrite(Bytes& records, std::size_t record_bytes, std::size_t first, std::size_t bytes = ~std::size_t{0}) {
    for (std::size_t i = 0; first < record_bytes && i < count_; ++i) {
      const Bytes other = Random(100 + i + first).bytes(std::min(bytes, record_bytes - first));
      std::memcpy(&records[i * record_bytes + first], other.data(), other.size());
    }
  }

  // Forms are laid out by the host, so that no other kernel runs. A hybrid's are A || ek || H(ek) || element and A ||
  // dk || scalar || element. H(ek) and a dk's element are anything; a dk that portable does not show is so, too.
  void prepare(const kat::Kem::KeyPairs& keys, bool one) {
    const KeyKind kind = is_hybrid_ && batch_.operation == Operation::encaps ? KeyKind::ek : KeyKind::dk;
    const std::size_t A_bytes = 512 * k_ * k_, stride = form_bytes(algorithm_, kind), ml_kem_ek = 384 * k_ + 32;
    Bytes forms(stride * count_);
    for (std::size_t i = 0; i < count_; ++i) {
      Random random(1'000 + i);  // a matrix of any entries: its values are public
      std::uint8_t* const form = &forms[i * stride];
      for (std::size_t n = 0; n < 256 * k_ * k_; ++n) {
        const auto entry = static_cast<std::uint16_t>(16 * random.below(3329));
        std::memcpy(form + 2 * n, &entry, 2);
      }
      if (kind == KeyKind::ek) {
        const std::uint8_t* const ek = &keys.ek[i * portable_.ek_bytes];
        std::memcpy(form + A_bytes, ek, ml_kem_ek);
        std::memcpy(form + A_bytes + ml_kem_ek + 32, ek + ml_kem_ek, portable_.ek_bytes - ml_kem_ek);
      } else if (portable_.dk_format == WARPKEM_DK_EXPANDED) {
        std::memcpy(form + A_bytes, &keys.dk[i * portable_.dk_bytes], portable_.dk_bytes);
      } else {
        const Bytes dk = random.bytes(768 * k_ + 96 + 64);
        std::memcpy(form + A_bytes, dk.data(), dk.size());
      }
    }
    batch_.prepared = true;
    batch_.keys = {memory(forms), stride, count_, nullptr, kind};
    if (one) return;
    Bytes index(4 * count_);
    for (std::size_t i = 0; i < count_; ++i) {
      const auto key = static_cast<std::uint32_t>(i);
      std::memcpy(&index[4 * i], &key, 4);
    }
    batch_.index = reinterpret_cast<const std::uint32_t*>(memory(index));
  }

  void keygen_from_rho(const Bytes& seeds) {
    const auto items = static_cast<u32>(count_);
    const u32 k = static_cast<u32>(k_), eta = algorithm_ == 1 ? 3 : 2;
    const Rows rho{memory(seeds), 64, nullptr};
    const Rows sigma{memory(variant_ == 0 ? Random(8).bytes(32 * count_) : Random(9).bytes(32 * count_)), 32, nullptr};
    const Rows A{memory(count_ * k * k * 512), k * k * 512, nullptr};
    MatrixArgs matrix;
    matrix.rho = rho;
    matrix.A = A;
    matrix.k = k;
    matrix.unfinished = reinterpret_cast<u32*>(memory(count_ * k * k));
    PrfArgs noise;
    noise.seed = sigma;
    noise.polynomials = 2 * k;
    noise.words = 16 * eta;
    noise.out = memory(count_ * 2 * k * 64 * eta);
    HashJobs jobs;
    jobs.add(matrix, false);
    jobs.add(noise, false);
    check(hash(jobs, nullptr, items, nullptr));
    const Rows ek{memory(count_ * portable_.ek_bytes), portable_.ek_bytes, nullptr};
    const Rows dk{memory(count_ * portable_.dk_bytes), portable_.dk_bytes, nullptr};
    const Noise eta1{{noise.out, u64{4} * noise.words * noise.polynomials, nullptr}, {}};
    const auto go = [&](auto step) { check(step(KeygenArgs{A, eta1, ek, dk}, items, nullptr, nullptr)); };
    if (algorithm_ == 1) go(keygen<MlKem512>);
    if (algorithm_ == 2) go(keygen<MlKem768>);
    if (algorithm_ == 3) go(keygen<MlKem1024>);
    check(cudaDeviceSynchronize());
  }

  void launch() {
    batch_.statuses = memory(count_);
    batch_.failed = reinterpret_cast<std::uint64_t*>(memory(8));
    const std::size_t bytes = workspace_bytes(batch_);
    check(kernels::launch(batch_, memory(bytes), bytes, nullptr));
    check(cudaDeviceSynchronize());
    std::uint64_t failed = 0;
    check(cudaMemcpy(&failed, batch_.failed, sizeof failed, cudaMemcpyDeviceToHost));
    if (failed != 0) throw std::runtime_error(std::to_string(failed) + " items failed");
  }

  // Device memory until the process ends.
  std::uint8_t* memory(std::size_t bytes) {
    std::uint8_t* data = nullptr;
    check(cudaMalloc(reinterpret_cast<void**>(&data), bytes));
    return data;
  }
  std::uint8_t* memory(const Bytes& host) {
    std::uint8_t* const data = memory(host.size());
    check(cudaMemcpy(data, host.data(), host.size(), cudaMemcpyHostToDevice));
    return data;
  }
  In in(const Bytes& host, std::size_t bytes) { return {memory(host), bytes, nullptr}; }
  Out out(std::size_t bytes) { return {memory(bytes * count_), bytes, nullptr}; }

  const std::uint32_t algorithm_;
  const bool is_hybrid_;
  const std::size_t k_;  // of ML-KEM
  const std::size_t count_;
  const int variant_;
  Random random_;
  kat::Kem portable_;
  DeviceBatch batch_;
};

}  // namespace
}  // namespace warpkem::kernels::test

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: kernel_run OPERATION ALGORITHM COUNT [VARIANT [chosen|by_thread|by_warp]]\n");
    return 2;
  }
  try {
    const warpkem_algorithm algorithm = warpkem_algorithm_by_name(argv[2]);
    if (algorithm == 0) throw std::runtime_error(std::string("unknown algorithm ") + argv[2]);
    const int variant = argc > 4 ? std::atoi(argv[4]) : 0;
    const auto hashing = warpkem::kernels::test::hashing_by_name(argc > 5 ? argv[5] : "chosen");
    warpkem::kernels::test::KernelRun(algorithm, std::strtoull(argv[3], nullptr, 10), variant, hashing).run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_run: %s\n", error.what());
    return 1;
  }
}
