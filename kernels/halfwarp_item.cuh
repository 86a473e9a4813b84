// Where a half-warp finds its item and its shared memory.
#pragma once

#include "kernels/finish.cuh"
#include "kernels/ntt.cuh"
#include "kernels/policy.hpp"

namespace warpkem::kernels {

struct ArithmeticShared {
  float exchange[policy::arithmetic_threads / 16][halfwarp::exchange_floats];
};
static_assert(sizeof(ArithmeticShared) == policy::arithmetic_shared_bytes);

// Both halves of a warp always run: a half without an item repeats the last one and stores nothing.
struct HalfwarpItem {
  u32 index;
  bool store;
  float* exchange;
};

WARPKEM_FN HalfwarpItem halfwarp_item(ArithmeticShared& shared, u32 items) {
  const u32 index = (blockIdx.x * blockDim.x + threadIdx.x) / 16;
  return {min(index, items - 1), index < items, shared.exchange[threadIdx.x / 16]};
}

// Asks L2 for a record before its first bytes are needed: the rest is then half as far away as DRAM. The few warps that
// a multiprocessor holds of these kernels do not hide DRAM's latency.
WARPKEM_FN void prefetch_record(const u8* record, u32 bytes) {
  constexpr u32 cache_line = 128;
#pragma unroll
  for (u32 at = 0; at < bytes; at += 16 * cache_line) {
    const u32 mine = at + cache_line * halfwarp::lane();
    if (mine < bytes) asm volatile("prefetch.global.L2 [%0];" ::"l"(record + mine));
  }
}

// Zeroes what this warp's exchanges held.
WARPKEM_FN void wipe(const HalfwarpItem& item) {
  __syncwarp();
#pragma unroll
  for (int i = 0; i < halfwarp::exchange_floats / 64; ++i) {
    reinterpret_cast<float4*>(item.exchange)[16 * i + halfwarp::lane()] = make_float4(0, 0, 0, 0);
  }
  if (halfwarp::lane() < 4) {
    reinterpret_cast<float4*>(item.exchange)[80 + halfwarp::lane()] = make_float4(0, 0, 0, 0);
  }
}

// The last step of an item whose status is complete, once its half-warp has written its outputs.
WARPKEM_FN void finish(const FinishArgs& args, const HalfwarpItem& item, bool failed) {
  __syncwarp();
  if (!failed || !item.store) return;
  if (halfwarp::lane() == 0) count_failed(args, 1);
  zero_outputs<16>(args, item.index, halfwarp::lane());
}

inline dim3 arithmetic_blocks(u32 items) {
  constexpr u32 per_block = policy::arithmetic_threads / 16;
  return dim3((items + per_block - 1) / per_block);
}

}  // namespace warpkem::kernels
