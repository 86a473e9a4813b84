// Lists the places of set bits, in order, by one block: CUB's scan tells every thread where its own go.
#pragma once

#include <cub/block/block_scan.cuh>

#include "kernels/field.hpp"

namespace warpkem::kernels::block {

template <int threads>
struct Collector {
  using Scan = cub::BlockScan<u32, threads>;
  typename Scan::TempStorage& storage;
  u32* list;
  u32 listed = 0;

  // This thread's words of 32 bits each; bit n of word i is number first + 32 i + n. Every thread calls.
  template <int words>
  WARPKEM_FN void append(u32 first, u32 (&bits)[words]) {
    u32 count = 0;
#pragma unroll
    for (int i = 0; i < words; ++i) count += static_cast<u32>(__popc(bits[i]));
    u32 place, total;
    Scan(storage).ExclusiveSum(count, place, total);
    place += listed;
    listed += total;
#pragma unroll
    for (int i = 0; i < words; ++i) {
      for (; bits[i] != 0; bits[i] &= bits[i] - 1) {
        list[place++] = first + 32 * static_cast<u32>(i) + static_cast<u32>(__ffs(static_cast<int>(bits[i]))) - 1;
      }
    }
    __syncthreads();
  }
};

}  // namespace warpkem::kernels::block
