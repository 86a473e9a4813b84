// Google Benchmark of X25519: every implementation that this CPU has, and OpenSSL's through EVP with contexts reused.
// An item is one scalar multiplication, so ratios of items per second within one run are what a batch gains.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "host/backends/curve/x25519.hpp"

namespace {

using namespace warpkem::curve;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t batch_sizes[] = {1, 2, 3, 4, 8, 16, 64, 224, 1024};

Bytes random_bytes(std::size_t n, unsigned seed) {
  std::mt19937 random{seed};
  Bytes bytes(n);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

// Arrays and scratch memory for a batch.
struct Case {
  Case(const X25519Kernels& kernels, std::size_t n)
      : k(random_bytes(n * x25519_bytes, 1)),
        u(random_bytes(n * x25519_bytes, 2)),
        result(n * x25519_bytes),
        is_zero(n),
        workspace(kernels.workspace_bytes + 64) {}
  std::uint8_t* scratch() {
    return workspace.data() + (64 - reinterpret_cast<std::uintptr_t>(workspace.data()) % 64) % 64;
  }
  Bytes k, u, result, is_zero, workspace;
};

void derive(benchmark::State& state, const X25519Kernels& kernels, std::size_t n) {
  Case c(kernels, n);
  Derive batch;
  batch.count = n;
  batch.k.data = c.k.data(), batch.u.data = c.u.data(), batch.result.data = c.result.data();
  batch.is_zero = c.is_zero.data();
  for (auto _ : state) {
    kernels.derive(batch, c.scratch());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(n));
}

void public_key(benchmark::State& state, const X25519Kernels& kernels, std::size_t n) {
  Case c(kernels, n);
  PublicKey batch;
  batch.count = n;
  batch.k.data = c.k.data(), batch.result.data = c.result.data();
  kernels.public_key(batch, c.scratch());  // the first call computes a table
  for (auto _ : state) {
    kernels.public_key(batch, c.scratch());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(n));
}

void openssl_derive(benchmark::State& state) {
  const Bytes k = random_bytes(x25519_bytes, 1), u = random_bytes(x25519_bytes, 2);
  EVP_PKEY* own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k.data(), x25519_bytes);
  EVP_PKEY* peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, u.data(), x25519_bytes);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(own, nullptr);
  std::uint8_t result[x25519_bytes];
  if (EVP_PKEY_derive_init(context) <= 0 || EVP_PKEY_derive_set_peer(context, peer) <= 0) std::abort();
  for (auto _ : state) {
    std::size_t bytes = sizeof result;
    if (EVP_PKEY_derive(context, result, &bytes) <= 0) std::abort();
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(peer);
  EVP_PKEY_free(own);
}

// With the scalar that it draws. Beside that, a public key of a scalar that is given: importing it computes the key.
void openssl_keygen(benchmark::State& state) {
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_id(EVP_PKEY_X25519, nullptr);
  if (EVP_PKEY_keygen_init(context) <= 0) std::abort();
  for (auto _ : state) {
    EVP_PKEY* made = nullptr;
    if (EVP_PKEY_keygen(context, &made) <= 0) std::abort();
    EVP_PKEY_free(made);
  }
  state.SetItemsProcessed(state.iterations());
  EVP_PKEY_CTX_free(context);
}
void openssl_import(benchmark::State& state) {
  const Bytes k = random_bytes(x25519_bytes, 1);
  for (auto _ : state) {
    EVP_PKEY* made = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k.data(), x25519_bytes);
    if (made == nullptr) std::abort();
    EVP_PKEY_free(made);
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("X25519-derive/openssl", openssl_derive);
  benchmark::RegisterBenchmark("X25519-public-key/openssl", openssl_import);
  benchmark::RegisterBenchmark("X25519-public-key/openssl/drawn", openssl_keygen);
  for (const Implementation* one = implementations(); one->kernels != nullptr; ++one) {
    if (!one->usable()) {
      std::fprintf(stderr, "skipped: an implementation that needs %s\n", one->needs);
      continue;
    }
    const X25519Kernels& kernels = one->kernels();
    for (const std::size_t n : batch_sizes) {
      if (n > 1 && kernels.lanes == 1) break;  // nothing is gained by more
      const std::string tail = std::string("/") + kernels.name + "/batch:" + std::to_string(n);
      benchmark::RegisterBenchmark(("X25519-derive" + tail).c_str(),
                                   [&kernels, n](benchmark::State& state) { derive(state, kernels, n); });
      benchmark::RegisterBenchmark(("X25519-public-key" + tail).c_str(),
                                   [&kernels, n](benchmark::State& state) { public_key(state, kernels, n); });
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
