// The launches of what ends a pass: arithmetic, half a warp per item, alone or beside the hashing of another pass.
#pragma once

#include "kernels/halfwarp_item.cuh"
#include "kernels/hash.cuh"

namespace warpkem::kernels {

// Every .cu defines compute<P>(args, item) for its Args.

namespace {  // a program may have these kernels twice, its own and the module's

template <class P, class Args>
__global__ void __launch_bounds__(policy::arithmetic_threads)
    arithmetic_kernel(const __grid_constant__ Args args, u32 items) {
  __shared__ ArithmeticShared shared;
  const HalfwarpItem item = halfwarp_item(shared, items);
  compute<P>(args, item);
}

template <class Args>
struct Mixed {
  HashArgs hash;
  Args arithmetic;
  u32 items = 0;  // of the arithmetic, two a warp
  u32 warps = 0, arithmetic_warps = 0;
};

// A block is a warp that does one or the other. They take turns in proportion to their numbers, so that a
// multiprocessor always has both: Keccak keeps the integer pipe busy, and arithmetic waits for memory and FP32 beside
// it.
template <class P, class Args>
__global__ void __launch_bounds__(policy::mixed<P::k>.threads, policy::resident_blocks(policy::mixed<P::k>))
    mixed_kernel(const __grid_constant__ Mixed<Args> args) {
  static_assert(policy::mixed<P::k>.threads == 32);
  __shared__ alignas(16) u32 tile[hash_tile_words<true>];
  static_assert(sizeof tile == policy::mixed<P::k>.shared_bytes);
  const auto arithmetic_before = [&](u32 block) {
    return static_cast<u32>(u64{block} * args.arithmetic_warps / args.warps);
  };
  const u32 before = arithmetic_before(blockIdx.x);
  if (arithmetic_before(blockIdx.x + 1) == before) {
    hash_by_job<true, false>(args.hash, blockIdx.x - before, threadIdx.x, tile);
    return;
  }
  const u32 half = threadIdx.x / 16, index = 2 * before + half;
  float* const exchange = reinterpret_cast<float*>(tile) + half * halfwarp::exchange_floats;
  compute<P>(args.arithmetic, HalfwarpItem{min(index, args.items - 1), index < args.items, exchange});
}

template <class P, class Args>
cudaError_t launch_arithmetic(const Args& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept {
  if (beside == nullptr) {
    arithmetic_kernel<P><<<arithmetic_blocks(items), policy::arithmetic_threads, 0, stream>>>(args, items);
  } else {
    Mixed<Args> mixed{hash_args(beside->jobs, beside->statuses, beside->items), args, items, 0, divide_up(items, 2)};
    mixed.warps = mixed.hash.num_warps() + mixed.arithmetic_warps;
    mixed_kernel<P><<<mixed.warps, policy::mixed<P::k>.threads, 0, stream>>>(mixed);
  }
  return cudaGetLastError();
}

}  // namespace

}  // namespace warpkem::kernels
