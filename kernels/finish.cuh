// What becomes of the items that failed. Which those are is public.
#pragma once

#include "kernels/steps.hpp"

namespace warpkem::kernels {

WARPKEM_FN void count_failed(const FinishArgs& args, u32 number) {
  static_assert(sizeof(unsigned long long) == sizeof(u64));
  if (args.failed != nullptr) atomicAdd(reinterpret_cast<unsigned long long*>(args.failed), number);
}

// By `lanes` threads, of which this is number `lane`.
template <u32 lanes>
WARPKEM_FN void zero_outputs(const FinishArgs& args, u32 item, u32 lane) {
#pragma unroll
  for (const FinishArgs::Output& output : args.outputs) {
    for (u32 at = 16 * lane; at < output.bytes; at += 16 * lanes) {
      *reinterpret_cast<uint4*>(output.rows[item] + at) = make_uint4(0, 0, 0, 0);
    }
  }
}

}  // namespace warpkem::kernels
