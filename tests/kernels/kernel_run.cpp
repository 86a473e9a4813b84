// Runs one operation of the kernels on a batch, and nothing else on the device: what profiles and the constant-time
// test look at.
//
//   kernel_run OPERATION ML-KEM-512|768|1024 COUNT [VARIANT [chosen|by_thread|by_warp]]
//
// OPERATION: keygen keygen_seed encaps decaps decaps_seed check_ek check_dk prepare_ek prepare_dk encaps_prepared
// decaps_prepared encaps_one_key decaps_one_key keygen_from_rho. Keys and ciphertexts are made by portable, the same in
// every run. A VARIANT other than 0 changes secrets alone: m of encaps; for decaps 1 flips a bit of every c, which is
// then rejected, and 2 overwrites s and z in every dk; for keygen_from_rho, which does K-PKE.KeyGen from given rho and
// sigma, it changes sigma.
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
      : algorithm_(algorithm), count_(count), variant_(variant), random_(1), portable_(portable_engine(), algorithm) {
    batch_.algorithm = algorithm;
    batch_.count = count;
    batch_.hashing = hashing;
  }

  void run(const std::string& operation) {
    const Bytes seeds = random_.bytes(64 * count_);
    if (operation == "keygen_from_rho") return keygen_from_rho(seeds);
    if (operation == "keygen" || operation == "keygen_seed") {
      if (operation == "keygen_seed") batch_.dk_format = DkFormat::seed;
      batch_.operation = Operation::keygen;
      batch_.seeds = in(seeds, 64);
      batch_.ek_out = out(portable_.ek_bytes);
      batch_.dk_out = out(operation == "keygen" ? portable_.dk_bytes : 64);
      return launch();
    }
    kat::Kem::KeyPairs keys = portable_.keygen(seeds);
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
    const Bytes m = random_.bytes(32 * count_);
    Bytes c = portable_.encaps(keys.ek, m).c;
    if (operation.starts_with("encaps")) {
      batch_.operation = Operation::encaps;
      batch_.m = in(variant_ == 0 ? m : Random(7).bytes(m.size()), 32);
      batch_.c_out = out(portable_.c_bytes);
      batch_.K_out = out(32);
      if (!prepared) batch_.ek = in(keys.ek, portable_.ek_bytes);
    } else {
      if (variant_ == 1) {
        for (std::size_t i = 0; i < count_; ++i) c[i * portable_.c_bytes + i % portable_.c_bytes] ^= 4;
      }
      if (variant_ == 2) {
        for (std::size_t i = 0; i < count_; ++i) {
          Random random(100 + i);
          const Bytes s = random.bytes(384 * (algorithm_ + 1)), z = random.bytes(32);
          std::memcpy(&keys.dk[i * portable_.dk_bytes], s.data(), s.size());
          std::memcpy(&keys.dk[(i + 1) * portable_.dk_bytes - 32], z.data(), 32);
        }
      }
      batch_.operation = Operation::decaps;
      batch_.c = in(c, portable_.c_bytes);
      batch_.K_out = out(32);
      if (operation == "decaps") batch_.dk = in(keys.dk, portable_.dk_bytes);
      if (operation == "decaps_seed") {
        batch_.dk_format = DkFormat::seed;
        batch_.dk = in(seeds, 64);
      }
    }
    if (prepared) prepare(keys, operation.ends_with("_one_key"));
    launch();
  }

 private:
  // Forms are laid out by the host, so that no other kernel runs.
  void prepare(const kat::Kem::KeyPairs& keys, bool one) {
    const std::size_t k = algorithm_ + 1, stride = form_bytes(algorithm_, KeyKind::dk);
    Bytes forms(stride * count_);
    for (std::size_t i = 0; i < count_; ++i) {
      Random random(1'000 + i);  // a matrix of any entries: its values are public
      for (std::size_t n = 0; n < 256 * k * k; ++n) {
        const auto entry = static_cast<std::uint16_t>(16 * random.below(3329));
        std::memcpy(&forms[i * stride + 2 * n], &entry, 2);
      }
      std::memcpy(&forms[i * stride + 512 * k * k], &keys.dk[i * portable_.dk_bytes], portable_.dk_bytes);
    }
    batch_.prepared = true;
    batch_.keys = {memory(forms), stride, count_, nullptr, KeyKind::dk};
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
    const u32 k = algorithm_ + 1, eta = algorithm_ == 1 ? 3 : 2;
    const Rows rho{memory(seeds), 64, nullptr};
    const Rows sigma{memory(variant_ == 0 ? Random(8).bytes(32 * count_) : Random(9).bytes(32 * count_)), 32, nullptr};
    const Rows A{memory(count_ * k * k * 512), k * k * 512, nullptr};
    MatrixArgs matrix;
    matrix.rho = rho;
    matrix.A = A;
    matrix.k = k;
    matrix.unfinished = reinterpret_cast<u32*>(memory(count_ * k * k));
    matrix.queue = reinterpret_cast<u32*>(memory(count_ * k * k * 4));
    matrix.queued = reinterpret_cast<u32*>(memory(4));
    check(SampleNTT(matrix, items, nullptr));
    PrfArgs noise;
    noise.seed = sigma;
    noise.polynomials = 2 * k;
    noise.words = 16 * eta;
    noise.out = memory(count_ * 2 * k * 64 * eta);
    check(PRF(noise, items, nullptr));
    const Rows ek{memory(count_ * portable_.ek_bytes), portable_.ek_bytes, nullptr};
    const Rows dk{memory(count_ * portable_.dk_bytes), portable_.dk_bytes, nullptr};
    const auto go = [&](auto step) { check(step(A, Noise{noise.out, nullptr}, ek, dk, items, nullptr)); };
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
    std::fprintf(stderr,
                 "usage: kernel_run OPERATION ML-KEM-512|ML-KEM-768|ML-KEM-1024 COUNT "
                 "[VARIANT [chosen|by_thread|by_warp]]\n");
    return 2;
  }
  try {
    const warpkem_algorithm algorithm = warpkem_algorithm_by_name(argv[2]);
    if (algorithm == 0) throw std::runtime_error(std::string("unknown parameter set ") + argv[2]);
    const int variant = argc > 4 ? std::atoi(argv[4]) : 0;
    const auto hashing = warpkem::kernels::test::hashing_by_name(argc > 5 ? argv[5] : "chosen");
    warpkem::kernels::test::KernelRun(algorithm, std::strtoull(argv[3], nullptr, 10), variant, hashing).run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_run: %s\n", error.what());
    return 1;
  }
}
