// Launch shapes, as data, each with its reason. Kernel bodies hold no tuning number.
#pragma once

#include <cstddef>

namespace warpkem::kernels::policy {

// Sponges and PRF: one state per thread needs about 72 registers and 4.3 kB of shared memory a warp: registers bind.
inline constexpr int sponge_threads = 128;
inline constexpr int prf_threads = 128;

// A Keccak state of one thread takes 24 rounds of 180 instructions at one per two clocks: 8,600 clocks, however few
// states there are, and 67 clocks of an SM where there are enough. A state of a warp waits three times a round for a
// shuffle: some 4,600 clocks, and 430 of an SM. So warps win as long as each has a scheduler for itself, four to an SM
// of some 132.
inline constexpr std::size_t by_warp_states = 512;
inline constexpr int by_warp_threads = 64;

// SampleNTT holds a warp's 32 polynomials in shared memory, 17 kB, so that the rejected candidates leave no holes in
// global memory. Shared memory binds: 12 warps on an SM with 228 kB, 9 with 164, 5 with 100; Keccak's 25 independent
// lanes keep the integer pipes busy with few. Blocks of one warp leave the least of it over.
inline constexpr int matrix_threads = 32;

// Half a warp per item. Registers (k * 16 coefficients of y_hat and as many again at work) bind before shared memory.
inline constexpr int arithmetic_threads = 128;

inline constexpr int record_threads = 128;

// Items a pass: the workspace (up to 13 kB an item) stays bounded, and a pass still has 17 waves of matrix warps on 132
// SMs, so that the last, partly filled one costs little.
inline constexpr std::size_t items_per_pass = 65'536;

// The one block that lists unfinished entries, or failed items: as many threads as a block can have.
inline constexpr int collect_threads = 1024;

// Blocks that work off the queue of unfinished matrix entries; one in 120 entries is queued.
inline constexpr int queue_share = 64;

// Failed items are rare: a few blocks walk their list.
inline constexpr int zero_failed_blocks = 8;

}  // namespace warpkem::kernels::policy
