// A warp that lists the places of set bits, in order.
#pragma once

#include "kernels/field.hpp"

namespace warpkem::kernels::warp {

// Lane l's words are l * words to (l + 1) * words - 1. Writes the numbers of the set bits to list[0] to list[31], those
// before the `skip`th and those for which there is no room left out. Returns how many bits are set. Every lane calls.
template <int words>
WARPKEM_FN u32 list_bits(const u32 (&bits)[words], u32 skip, u32 lane, u32* list) {
  u32 count = 0;
#pragma unroll
  for (int i = 0; i < words; ++i) count += static_cast<u32>(__popc(bits[i]));
  u32 end = count;
#pragma unroll
  for (u32 step = 1; step < 32; step *= 2) {
    const u32 before = __shfl_up_sync(all_lanes, end, step);
    if (lane >= step) end += before;
  }
  u32 place = end - count - skip;  // of a bit to be skipped: negative, so above all others
#pragma unroll
  for (int i = 0; i < words; ++i) {
    for (u32 left = bits[i]; left != 0; left &= left - 1, ++place) {
      if (place < 32) {
        list[place] = 32 * (words * lane + static_cast<u32>(i)) + static_cast<u32>(__ffs(static_cast<int>(left))) - 1;
      }
    }
  }
  return __shfl_sync(all_lanes, end, 31);
}

}  // namespace warpkem::kernels::warp
