// What the pairwise consistency test costs: key generation without it, of one pair in 16, and of every pair. Names are
// those of the other benchmarks, with /pairwise:N behind.
#include <benchmark/benchmark.h>
#include <warpkem/warpkem.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

constexpr std::size_t batch = 1024;

void keygen(benchmark::State& state, warpkem_algorithm algorithm, const char* backend, std::size_t every) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend;
  options.threads = 1;
  options.flags = WARPKEM_NO_FAIL_OVER;
  options.pairwise_every = every;
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) return state.SkipWithError(warpkem_last_error());
  std::vector<std::uint8_t> ek(batch * warpkem_size(algorithm, WARPKEM_SIZE_EK)),
      dk(batch * warpkem_size(algorithm, WARPKEM_SIZE_DK_SEED));
  for (auto _ : state) {
    const warpkem_status status = warpkem_keygen(engine, algorithm, WARPKEM_DK_SEED, batch, {ek.data(), ek.size(), 0},
                                                 {dk.data(), dk.size(), 0}, nullptr, nullptr);
    if (status != WARPKEM_OK) {
      state.SkipWithError(warpkem_last_error());
      break;
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
  warpkem_engine_free(engine);
}

bool is_usable(const char* backend) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend;
  warpkem_engine* engine = nullptr;
  const bool usable = warpkem_engine_new(&options, &engine) == WARPKEM_OK;
  if (!usable) std::fprintf(stderr, "skipped: %s\n", warpkem_last_error());
  warpkem_engine_free(engine);
  return usable;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  for (const char* backend : {"cuda", "avx512", "avx2", "portable"}) {
    if (!is_usable(backend)) continue;
    for (const warpkem_algorithm algorithm :
         {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024, WARPKEM_MLKEM768_X25519}) {
      for (const std::size_t every : {std::size_t{0}, std::size_t{16}, std::size_t{1}}) {
        const std::string name = std::string("keygen/") + warpkem_algorithm_name(algorithm) + "/" + backend +
                                 "/batch:" + std::to_string(batch) +
                                 "/threads:1/dk:seed/pairwise:" + std::to_string(every);
        benchmark::RegisterBenchmark(name.c_str(), keygen, algorithm, backend, every);
      }
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
