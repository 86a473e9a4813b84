// Google Benchmark of what a GPU's multiprocessor issues: single instructions, mixtures of them, and Keccak-f[1600]
// with more or fewer of its rotations in the multiplier (kernels/policy.hpp). A block a multiprocessor, of 1 to 5 warps
// a scheduler. Counters are clocks of a multiprocessor, read on the device, so they do not depend on its frequency:
//
//   clocks_per_warp_instruction   0.5: two warp instructions a clock, which is 64 lanes
//   clocks_per_permutation        of one state; 67.3 is what 4,309 instructions on 64 lanes take
#include <benchmark/benchmark.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/keccak.cuh"

namespace warpkem::bench {
namespace {

using kernels::u32;
using kernels::u64;
using kernels::policy::Rotations;
namespace thread = kernels::thread;

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

constexpr int threads_at_most = 640;  // five warps a scheduler, with up to 96 registers a thread

// Each takes one step of eight independent chains and says how many instructions of a chain that is.
struct Lop3 {
  static constexpr int instructions = 1;
  static WARPKEM_FN void step(u32& a, u32&, u64&, u32 x, u32 y) {
    asm volatile("lop3.b32 %0, %0, %1, %2, 0x96;" : "+r"(a) : "r"(x), "r"(y));
  }
};
struct Shf {
  static constexpr int instructions = 1;
  static WARPKEM_FN void step(u32& a, u32&, u64&, u32 x, u32) {
    asm volatile("shf.l.wrap.b32 %0, %0, %1, 7;" : "+r"(a) : "r"(x));
  }
};
struct Imad {
  static constexpr int instructions = 1;
  static WARPKEM_FN void step(u32&, u32& b, u64&, u32 x, u32 y) {
    asm volatile("mad.lo.u32 %0, %0, %1, %2;" : "+r"(b) : "r"(x), "r"(y));
  }
};
struct ImadWide {
  static constexpr int instructions = 1;
  static WARPKEM_FN void step(u32&, u32&, u64& c, u32 x, u32) {
    asm volatile("{.reg .u32 low, high;\n\tmov.b64 {low, high}, %0;\n\tmul.wide.u32 %0, low, %1;}" : "+l"(c) : "r"(x));
  }
};
struct ImadHi {
  static constexpr int instructions = 1;
  static WARPKEM_FN void step(u32&, u32& b, u64&, u32 x, u32) {
    asm volatile("mul.hi.u32 %0, %0, %1;" : "+r"(b) : "r"(x));
  }
};
struct Ffma {
  static constexpr int instructions = 1;
  static WARPKEM_FN void step(u32&, u32& b, u64&, u32 x, u32 y) {
    asm volatile(
        "{.reg .f32 f, g, h;\n\tmov.b32 f, %0;\n\tmov.b32 g, %1;\n\tmov.b32 h, %2;\n\tfma.rn.f32 f, f, g, "
        "h;\n\tmov.b32 %0, f;}"
        : "+r"(b)
        : "r"(x), "r"(y));
  }
};
template <class... Parts>
struct Mixed {
  static constexpr int instructions = (Parts::instructions + ...);
  static WARPKEM_FN void step(u32& a, u32& b, u64& c, u32 x, u32 y) { (Parts::step(a, b, c, x, y), ...); }
};

constexpr int chains = 8, steps_a_turn = 16;

template <class Step>
__global__ void __launch_bounds__(threads_at_most, 1)
    pipe_kernel(u32* out, long long* clocks, int turns, u32 x, u32 y) {
  u32 a[chains], b[chains];
  u64 c[chains];
#pragma unroll
  for (u32 i = 0; i < chains; ++i) a[i] = b[i] = threadIdx.x + i, c[i] = a[i];
  __syncthreads();
  const long long start = clock64();
#pragma unroll 1
  for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
    for (int step = 0; step < steps_a_turn; ++step) {
#pragma unroll
      for (int i = 0; i < chains; ++i) Step::step(a[i], b[i], c[i], x, y);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) clocks[blockIdx.x] = clock64() - start;
  u32 sum = 0;
#pragma unroll
  for (int i = 0; i < chains; ++i) sum ^= a[i] ^ b[i] ^ static_cast<u32>(c[i]) ^ static_cast<u32>(c[i] >> 32);
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

template <u32 rho, u32 theta, int rounds_a_turn>
__global__ void __launch_bounds__(threads_at_most, 1)
    keccak_kernel(u32* out, long long* clocks, int turns, u32 x, u32 y) {
  thread::KeccakState state;
#pragma unroll
  for (u32 i = 0; i < 25; ++i) state.lo[i] = threadIdx.x + i * x, state.hi[i] = i + y;
  __syncthreads();
  const long long start = clock64();
#pragma unroll 1
  for (int turn = 0; turn < turns; ++turn) thread::KeccakF1600<Rotations{rho, theta}, rounds_a_turn>(state);
  __syncthreads();
  if (threadIdx.x == 0) clocks[blockIdx.x] = clock64() - start;
  u32 sum = 0;
#pragma unroll
  for (int i = 0; i < 25; ++i) sum ^= state.lo[i] ^ state.hi[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

using Kernel = void (*)(u32*, long long*, int, u32, u32);

// Clocks of the median multiprocessor.
void run(benchmark::State& state, Kernel kernel, int warps, int turns, const char* counter, double units) try {
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  const auto blocks = static_cast<std::size_t>(multiprocessors);
  const int threads = 32 * warps;
  u32* out = nullptr;
  long long* clocks = nullptr;
  check(cudaMalloc(&out, blocks * static_cast<std::size_t>(threads) * sizeof *out));
  check(cudaMalloc(&clocks, blocks * sizeof *clocks));
  cudaEvent_t start, end;
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&end));
  kernel<<<multiprocessors, threads>>>(out, clocks, 1, 0x9E3779B1, 0x7F4A7C15);
  check(cudaGetLastError());
  for (auto _ : state) {
    check(cudaEventRecord(start));
    kernel<<<multiprocessors, threads>>>(out, clocks, turns, 0x9E3779B1, 0x7F4A7C15);
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start, end));
    state.SetIterationTime(milliseconds * 1e-3);
  }
  std::vector<long long> all(blocks);
  check(cudaMemcpy(all.data(), clocks, blocks * sizeof all[0], cudaMemcpyDeviceToHost));
  std::nth_element(all.begin(), all.begin() + multiprocessors / 2, all.end());
  state.counters[counter] = static_cast<double>(all[blocks / 2]) / (units * turns * warps);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(blocks) * warps * turns *
                          static_cast<std::int64_t>(units));
  check(cudaEventDestroy(start));
  check(cudaEventDestroy(end));
  check(cudaFree(out));
  check(cudaFree(clocks));
} catch (const std::exception& error) {
  state.SkipWithError(error.what());
}

constexpr int warps_of_block[] = {4, 8, 12, 20};

void add(const std::string& name, Kernel kernel, int turns, const char* counter, double units) {
  for (const int warps : warps_of_block) {
    benchmark::RegisterBenchmark((name + "/warps:" + std::to_string(warps)).c_str(), [=](benchmark::State& state) {
      run(state, kernel, warps, turns, counter, units);
    })->UseManualTime();
  }
}

template <class Step>
void pipe(const char* name) {
  add(std::string("pipe/") + name, pipe_kernel<Step>, 256, "clocks_per_warp_instruction",
      double{chains} * steps_a_turn * Step::instructions);
}

constexpr int ones(u32 mask) { return mask == 0 ? 0 : static_cast<int>(mask & 1) + ones(mask >> 1); }

template <u32 rho, u32 theta, int rounds_a_turn = 4>
void keccak() {
  char name[80];
  std::snprintf(name, sizeof name, "keccak/multiplied:%d/rho:%07x/theta:%02x/rounds:%d", ones(rho) + ones(theta), rho,
                theta, rounds_a_turn);
  add(name, keccak_kernel<rho, theta, rounds_a_turn>, 16, "clocks_per_permutation", 32);
}

}  // namespace
}  // namespace warpkem::bench

int main(int argc, char** argv) {
  using namespace warpkem::bench;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  pipe<Lop3>("lop3");
  pipe<Shf>("shf");
  pipe<Imad>("imad");
  pipe<ImadWide>("imad.wide");
  pipe<ImadHi>("imad.hi");
  pipe<Ffma>("ffma");
  pipe<Mixed<Lop3, Shf>>("lop3+shf");
  pipe<Mixed<Lop3, Imad>>("lop3+imad");
  pipe<Mixed<Lop3, Ffma>>("lop3+ffma");
  pipe<Mixed<Lop3, Lop3, ImadWide>>("2lop3+imad.wide");
  pipe<Mixed<Lop3, Lop3, Lop3, ImadWide>>("3lop3+imad.wide");
  pipe<Mixed<Lop3, Lop3, Lop3, Lop3, ImadWide, Imad>>("4lop3+imad.wide+imad");
  keccak<0, 0>();
  keccak<0, 0, 2>();
  keccak<0, 0, 24>();
  keccak<0, 31>();
  keccak<0x0842108, 0x05>();
  keccak<0x0a52908, 0x05>();
  keccak<0x0a52908, 0x05, 2>();
  keccak<0x0a52908, 0x1f>();
  keccak<0x0aaaaaa, 0x05>();
  keccak<0x0aaaaaa, 0x1f>();
  keccak<0x0eeeeee, 0x05>();
  keccak<0x1fffffe, 0x1f>();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
