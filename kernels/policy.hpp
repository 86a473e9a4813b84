// Launch shapes, as data, each with its reason. Kernel bodies hold no tuning number.
#pragma once

#include <cstddef>

namespace warpkem::kernels::policy {

// Sponges and PRF: one state per thread needs about 72 registers and 4.3 kB of shared memory a warp: registers bind.
inline constexpr int sponge_threads = 128;
inline constexpr int prf_threads = 128;

// SampleNTT holds a warp's 32 polynomials in shared memory, 16.8 kB, so that the rejected candidates leave no holes in
// global memory: 12 warps on an SM with 228 kB. Keccak's 25 independent lanes keep its pipes busy with 3 warps each.
// Two warps a block: static shared memory ends at 48 kB.
inline constexpr int matrix_threads = 64;

// Half a warp per item. Registers (k * 16 coefficients of y_hat and as many again at work) bind before shared memory.
inline constexpr int arithmetic_threads = 128;

inline constexpr int record_threads = 128;

// Items a pass: the workspace (up to 13 kB an item) stays bounded, and a pass still has 17 waves of matrix warps on 132
// SMs, so that the last, partly filled one costs little.
inline constexpr std::size_t items_per_pass = 65'536;

// Blocks that work off the queue of unfinished matrix entries; one in 120 entries is queued.
inline constexpr int queue_share = 64;

// Failed items are rare: a few blocks walk their list.
inline constexpr int zero_failed_blocks = 8;

}  // namespace warpkem::kernels::policy
