// Google Benchmark of the CPU backends' primitives: Keccak in every width, samplers, NTTs, products, codecs.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>

#include "bench/primitives.hpp"

namespace {

void add(const char* backend, warpkem::bench::Primitives primitives) {
  for (int i = 0; i < primitives.count; ++i) {
    const warpkem::bench::Primitive& primitive = primitives.data[i];
    benchmark::RegisterBenchmark((std::string(primitive.name) + "/" + backend).c_str(), [&](benchmark::State& state) {
      for (auto _ : state) {
        primitive.run();
        benchmark::ClobberMemory();
      }
      state.SetItemsProcessed(state.iterations() * primitive.items);
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) {
    add("avx2", warpkem::bench::avx2_primitives());
  } else {
    std::fprintf(stderr, "skipped: this CPU has no AVX2\n");
  }
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    add("avx512", warpkem::bench::avx512_primitives());
  } else {
    std::fprintf(stderr, "skipped: this CPU has no AVX-512 (F, BW, DQ, VL)\n");
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
