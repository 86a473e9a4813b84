// Every launch shape, as data, with its reason; and the choice between a warp and a thread for a Keccak state. Kernel
// bodies hold no tuning number.
//
// What depends on the compute capability is how many blocks a multiprocessor holds, and only the compiler needs that:
// __launch_bounds__ lets a thread take as many registers as that leaves. Threads of a block are the same everywhere
// (below: why none needs others), so the host asks a device for nothing but its number of multiprocessors, and code for
// 9.0 that the driver translates for a later device is launched in the shape that it was compiled for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace warpkem::kernels::policy {

// A multiprocessor of a compute capability: CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability". Everywhere: four schedulers with 16,384 registers each, 1 KiB of shared memory that each block takes for
// the system, 64 lanes a clock for LOP3 and SHF, 32 for SHFL (ibid., "Throughput of Native Arithmetic Instructions").
struct Multiprocessor {
  int capability;     // 10 * major + minor
  int warps, blocks;  // resident at most
  int shared_kib;
  int matrix_warps;  // that sample A: what their columns leave room for; checked below
};
inline constexpr Multiprocessor multiprocessors[] = {
    // T4: half the warps and the least shared memory; three of the schedulers have a matrix warp.
    {75, 32, 16, 64, 3},
    // A100: 2.25 matrix warps a scheduler.
    {80, 64, 32, 164, 9},
    // GA10x: 100 KiB hold 5 matrix warps, 1.25 a scheduler. Blocks of two of them would leave room for 4, of four too.
    // Enough: ptxas schedules a lone warp's Keccak at 99 % of the pipe (README.md, "A lone warp"). 16 blocks bind
    // nothing: 12 warps of arithmetic are 6 blocks. 48 warps bind nothing: registers end at 20.
    {86, 48, 16, 100, 5},
    // AD10x: as 8.6, with more blocks.
    {89, 48, 24, 100, 5},
    // H100, H200: 3 matrix warps a scheduler.
    {90, 64, 32, 228, 12},
    // B200: as 9.0.
    {100, 64, 32, 228, 12},
    // GB20x: as 8.9. Integer additions are twice as fast there, LOP3 and SHF are not.
    {120, 48, 24, 100, 5},
};

// The row of a capability, or else of the last one before it.
constexpr const Multiprocessor& multiprocessor(int capability) noexcept {
  const Multiprocessor* row = multiprocessors;
  for (const Multiprocessor& other : multiprocessors) {
    if (other.capability <= capability) row = &other;
  }
  return *row;
}

struct Block {
  int threads;
  int registers;     // that a thread may have; no kernel spills with them on any capability (tested)
  int shared_bytes;  // static
};

constexpr int resident_blocks(const Multiprocessor& m, const Block& b) noexcept {
  const int warps = std::min(m.warps, 4 * (16'384 / (b.registers * 32)));
  return std::min({warps * 32 / b.threads, m.blocks, m.shared_kib * 1024 / (b.shared_bytes + 1024)});
}

// For __launch_bounds__: blocks that a multiprocessor is to hold, of the capability that is being compiled for.
constexpr int resident_blocks(const Block& block) noexcept {
#ifdef __CUDA_ARCH__
  return resident_blocks(multiprocessor(__CUDA_ARCH__ / 10), block);
#else
  return resident_blocks(multiprocessor(90), block);  // the host's copy of the kernel, which nobody compiles
#endif
}

constexpr bool holds_warps_everywhere(const Block& block, int warps) noexcept {
  return std::all_of(std::begin(multiprocessors), std::end(multiprocessors), [&](const Multiprocessor& m) {
    return resident_blocks(m, block) * block.threads / 32 >= std::min(warps, m.shared_kib == 64 ? 12 : warps);
  });
}

// The rotations of a Keccak round that are done in the multiplier: bit x + 5y of rho is lane (x, y)'s, bit x of theta
// that of column x's parity. None: on an H200 five cost 2 % of a permutation, ten 2.5 %, all 18 %.
struct Rotations {
  std::uint32_t rho, theta;
};
inline constexpr Rotations rotations_in_multiplier{0, 0};

// Hashing, one state per thread, needs some 90 registers, with SampleNTT 128. Sponges and PRF take 4.5 kB of shared
// memory a warp: registers bind, at five warps a scheduler. Four warps share a block because any number would do.
template <bool has_matrix>
inline constexpr Block hash{128, 96, 17'920};
// SampleNTT holds a warp's 32 polynomials in shared memory, 17 kB, so that the rejected candidates leave no holes in
// global memory. Shared memory binds, so blocks of one warp leave the least of it over on every capability. What runs
// beside it gets the same block, and finds enough warps: 12 of an H100 keep the integer pipe busy.
template <>
inline constexpr Block hash<true>{32, 128, 17'024};
static_assert(holds_warps_everywhere(hash<false>, 20));
static_assert(std::all_of(std::begin(multiprocessors), std::end(multiprocessors),
                          [](const Multiprocessor& m) { return resident_blocks(m, hash<true>) == m.matrix_warps; }));

// Half a warp per item. Registers (k * 16 coefficients of y_hat and as many again at work) bind before shared memory:
// three warps a scheduler, two of ML-KEM-1024, which spills with less. Blocks of two warps spread a small batch over
// twice as many multiprocessors as blocks of four; blocks of one would meet 8.6's limit of 16. These kernels do not ask
// for their blocks, as asking costs 0.7 % more instructions; ptxas grants the registers below by itself, as a test
// sees.
inline constexpr int arithmetic_threads = 64, arithmetic_shared_bytes = 5'376;
template <int k>
inline constexpr Block arithmetic{arithmetic_threads, k <= 3 ? 168 : 255, arithmetic_shared_bytes};
inline constexpr Block decrypt{arithmetic_threads, 96, arithmetic_shared_bytes};
static_assert(holds_warps_everywhere(arithmetic<3>, 12) && holds_warps_everywhere(arithmetic<4>, 8) &&
              holds_warps_everywhere(decrypt, 20));

// X25519, a thread an item: the ladder keeps some 100 registers busy, so four warps a scheduler; its chains of carries
// need no more, as each has two beside each other. An inversion takes 0.08 of what a ladder takes, and 0.4 of a comb:
// four warps of a block share one.
inline constexpr Block x25519{128, 128, 8'192};
static_assert(holds_warps_everywhere(x25519, 16));

// Few items: a warp a block, so that every scheduler has one before any has two.
constexpr int x25519_threads(std::uint64_t items, int num_multiprocessors) noexcept {
  return items <= 4 * 32 * static_cast<std::uint64_t>(num_multiprocessors) ? 32 : x25519.threads;
}

// Arithmetic of one pass beside the hashing of the next: a warp a block, in which either fits. Where a multiprocessor
// has 228 KiB for them that is three warps a scheduler, as the arithmetic has alone; with 100 KiB it would be 1.25.
template <int k>
inline constexpr Block mixed{hash<true>.threads, k <= 3 ? 168 : 255, hash<true>.shared_bytes};
static_assert(resident_blocks(multiprocessor(90), mixed<3>) == 12 &&
              resident_blocks(multiprocessor(90), mixed<4>) == 8);
constexpr bool mixes(int shared_bytes_of_multiprocessor) noexcept {
  return shared_bytes_of_multiprocessor >= 9 * (hash<true>.shared_bytes + 1024);
}

inline constexpr int record_threads = 128;

// Items a pass: more passes let more of the arithmetic run beside hashing, and each pays for launches. By the model of
// bench/stream-model four of them are best for 65,536 items on an H100.
inline constexpr std::size_t items_per_pass = 16'384;

// Words of 32 bits in which one block looks for unfinished entries. One in 120 is, so they fill 26 of 32 lanes on
// average, and in one stretch of twelve more lanes than there are.
inline constexpr int unfinished_words = 96;

// What a permutation takes, in clocks, by ptxas's own schedule (README.md, "Small batches"); it is the same within 1 %
// on every capability of the table.
struct Permutation {
  std::uint64_t states;   // of a warp
  std::uint64_t latency;  // of a warp that has a scheduler for itself
  std::uint64_t work;     // of a multiprocessor, per warp, where there are enough of them
};
// Six times four rounds of 1,450 clocks; 4,320 instructions at two a clock.
inline constexpr Permutation by_thread{32, 8'700, 2'160};
// 24 rounds of 110 clocks and three waits of 24 for a shuffle; 432 shuffles at one a clock.
inline constexpr Permutation by_warp{1, 4'400, 432};

// A batch is rarely alone, unless it is said to be: a device has four lanes by default (host/backends/cuda). What one
// takes, the others wait for.
inline constexpr std::uint64_t batches_in_flight = 4;

// Clocks until `states` permutations are done, and those that the other batches lose to them.
constexpr std::uint64_t hashing_cost(const Permutation& p, std::uint64_t states, std::uint64_t num_multiprocessors,
                                     std::uint64_t batches) {
  const std::uint64_t warps = (states + p.states - 1) / p.states;
  const std::uint64_t of_busiest = (warps + num_multiprocessors - 1) / num_multiprocessors;
  return std::max(p.latency, of_busiest * p.work) +
         (batches - 1) * warps * p.work / std::max<std::uint64_t>(num_multiprocessors, 1);
}

// A warp takes half a thread's time and 6.4 times its throughput.
constexpr bool warps_are_better(std::uint64_t states, int num_multiprocessors,
                                std::uint64_t batches = batches_in_flight) noexcept {
  const auto m = static_cast<std::uint64_t>(std::max(num_multiprocessors, 1));
  return hashing_cost(by_warp, states, m, batches) < hashing_cost(by_thread, states, m, batches);
}

// Whether entries of A that three blocks of SHAKE128 do not fill are finished by warps of their own, full of them. Else
// a warp goes on while one of its lanes needs a block more, as happens to 235 of 1000. Their own warps take at least
// four permutations, in a launch that has `beside` states to hash in any case.
constexpr bool matrix_completes_apart(std::uint64_t entries, std::uint64_t beside, int num_multiprocessors,
                                      std::uint64_t batches) noexcept {
  const std::uint64_t m = static_cast<std::uint64_t>(std::max(num_multiprocessors, 1));
  const std::uint64_t four = 4 * by_thread.latency * m, meanwhile = (beside + 31) / 32 * by_thread.work;
  return 235 * ((entries + 31) / 32) * by_thread.work * batches > 1000 * (four - std::min(four, meanwhile));
}

}  // namespace warpkem::kernels::policy
