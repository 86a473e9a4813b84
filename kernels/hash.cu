// The hashing kernels: one thread, one Keccak state. Each holds one copy of the permutation and loops around it. Warps
// move data between memory and states through shared memory, so that global accesses are coalesced.
#include "kernels/collect.cuh"
#include "kernels/policy.hpp"
#include "kernels/sample.cuh"
#include "kernels/sponge.cuh"
#include "kernels/steps.hpp"

namespace warpkem::kernels {
namespace {

using thread::KeccakF1600;
using thread::KeccakState;
using thread::zero_state;

__global__ void __launch_bounds__(policy::sponge.threads, policy::resident_blocks(policy::sponge))
    sponge_kernel(Sponge job, u8* statuses, u32 items) {
  using warp::Messages;
  __shared__ uint2 tiles[policy::sponge.threads / 32][32 * Messages::pitch];
  static_assert(sizeof tiles == policy::sponge.shared_bytes);
  const u32 lane = threadIdx.x % 32;
  const u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (thread - lane >= items) return;
  const bool active = thread < items;
  const u32 item = active ? thread : items - 1;
  Messages messages{job, item, lane, tiles[threadIdx.x / 32]};
  const u32 blocks = messages.num_blocks();

  KeccakState state = zero_state();
  messages.fetch(0);
#pragma unroll 1
  for (u32 block = 0; block < blocks; ++block) {
    messages.absorb(block, state);
    if (block + 1 < blocks) {
      messages.fetch(block + 1);
    } else {
      messages.pad(state);
    }
    KeccakF1600(state);
  }
  if (active) thread::copy_along(job, item);
  thread::check_digest(job, item, active, state, statuses);
  if (active) thread::squeeze(job, item, state);
  messages.wipe();
}

constexpr int prf_pitch = 35;

// PRF_eta(seed, N) = SHAKE256(seed || N, 64 eta bytes). One or two blocks.
__global__ void __launch_bounds__(policy::prf.threads, policy::resident_blocks(policy::prf))
    prf_kernel(PrfArgs args, u32 polynomials) {
  __shared__ u32 tiles[policy::prf.threads / 32][32 * prf_pitch];
  static_assert(sizeof tiles == policy::prf.shared_bytes);
  const u32 lane = threadIdx.x % 32;
  const u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (thread - lane >= polynomials) return;
  const u32 polynomial = min(thread, polynomials - 1);
  const u32 item = polynomial / args.polynomials;
  u32* tile = tiles[threadIdx.x / 32];

  KeccakState state = zero_state();
  {
    const uint4* seed = reinterpret_cast<const uint4*>(args.seed[item]);
    const uint4 v0 = seed[0], v1 = seed[1];
    state.lo[0] = v0.x, state.hi[0] = v0.y, state.lo[1] = v0.z, state.hi[1] = v0.w;
    state.lo[2] = v1.x, state.hi[2] = v1.y, state.lo[3] = v1.z, state.hi[3] = v1.w;
    state.lo[4] = 0x1F00 | (args.first + polynomial - item * args.polynomials);
    state.hi[16] = 0x80000000;
  }
  u32 done = 0;
#pragma unroll 1
  while (done < args.words) {
    KeccakF1600(state);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 17; ++i) {
      tile[lane * prf_pitch + 2 * i] = state.lo[i];
      tile[lane * prf_pitch + 2 * i + 1] = state.hi[i];
    }
    __syncwarp();
    // Each polynomial's words of this block lie together: lanes take the words, the loop the polynomials.
    const u32 words = min(args.words - done, 34u);
    u32* out = reinterpret_cast<u32*>(args.out) + static_cast<u64>(thread - lane) * args.words + done;
    const u32 rows = min(polynomials - (thread - lane), 32u);
    if (args.words == 32 && rows == 32) {
#pragma unroll
      for (int row = 0; row < 32; ++row) out[32 * row + lane] = tile[row * prf_pitch + lane];
    } else {
#pragma unroll 4
      for (u32 row = 0; row < rows; ++row) {
        if (lane < words) out[row * args.words + lane] = tile[row * prf_pitch + lane];
      }
    }
    if (words > 32) {
      for (u32 row = lane / 2; row < rows; row += 16) {
        out[row * args.words + 32 + lane % 2] = tile[row * prf_pitch + 32 + lane % 2];
      }
    }
    done += words;
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 34; ++i) tile[lane * prf_pitch + i] = 0;
}

// A column of 256 entries of u16 and room for the eight that may follow, in words: odd, so that aligned lanes meet
// every bank.
constexpr u32 column_words = 133;

// SampleNTT, FIPS 203 Algorithm 7: the entries of A with numbers 0 to `entries` - 1, or those in the queue. Public
// data: time may vary with it.
__global__ void __launch_bounds__(policy::matrix.threads, policy::resident_blocks(policy::matrix))
    matrix_kernel(MatrixArgs args, u32 entries, bool from_queue) {
  __shared__ u32 columns[policy::matrix.threads / 32][32 * column_words];
  static_assert(sizeof columns == policy::matrix.shared_bytes);
  const u32 lane = threadIdx.x % 32;
  u32* tile = columns[threadIdx.x / 32];
  const u32 count = from_queue ? *args.queued : entries;
  const u32 max_blocks = from_queue ? ~0u : 3;
#pragma unroll 1
  for (u32 base = blockIdx.x * blockDim.x + (threadIdx.x - lane); base < count; base += gridDim.x * blockDim.x) {
    const u32 place = min(base + lane, count - 1);
    const u32 entry = from_queue ? args.queue[place] : place;
    const u32 item = entry / (args.k * args.k), within = entry - item * args.k * args.k;
    const u32 i = within / args.k, j = within - i * args.k;

    KeccakState state = zero_state();
    const uint4* rho = reinterpret_cast<const uint4*>(args.rho[item]);
    const uint4 v0 = rho[0], v1 = rho[1];
    state.lo[0] = v0.x, state.hi[0] = v0.y, state.lo[1] = v0.z, state.hi[1] = v0.w;
    state.lo[2] = v1.x, state.hi[2] = v1.y, state.lo[3] = v1.z, state.hi[3] = v1.w;
    state.lo[4] = 0x1F0000 | i << 8 | j;
    state.hi[20] = 0x80000000;

    thread::Column column;
    column.next = static_cast<u32>(__cvta_generic_to_shared(tile + lane * column_words));
    column.end = column.next + 512;
    column.one = args.one;
    u32 block = 0;
#pragma unroll 1
    do {
      KeccakF1600(state);
      thread::append_candidates(state, column);
    } while (++block < max_blocks && __any_sync(all_lanes, !column.full()));

    if (!from_queue) {
      const u32 unfinished = __ballot_sync(all_lanes, !column.full() && base + lane < count);
      if (lane == 0) args.unfinished[base / 32] = unfinished;
    }
    if (!column.full()) {
      for (u32 slot = 256 - (column.end - column.next) / 2; slot < 256; ++slot) {
        reinterpret_cast<u16*>(tile + lane * column_words)[slot] = 0;
      }
    }
    __syncwarp();
    u32* const own = reinterpret_cast<u32*>(args.A[item] + 512 * within);
    const u32 rows = min(count - base, 32u);
    // Quads of four words change places, as load_entry() expects.
    const u32* const from = tile + 8 * (lane / 4) + lane % 4;
#pragma unroll 4
    for (u32 row = 0; row < rows; ++row) {
      u32* const to = shuffle_pointer(own, row) + lane;
#pragma unroll
      for (u32 word = 0; word < 128; word += 32) {
        to[word] = from[row * column_words + 2 * (word % 64) + word / 64 * 4] & 0xFFF0FFF0;
      }
    }
    __syncwarp();
  }
}

// Lists the entries whose bits are set. One block: the list's order, and with it all that follows, is always the same,
// which atomics would not give; a pass has at most 32768 words.
__global__ void __launch_bounds__(policy::collect_threads) collect_kernel(MatrixArgs args, u32 words) {
  using Collector = block::Collector<policy::collect_threads>;
  __shared__ typename Collector::Scan::TempStorage storage;
  Collector collector{storage, args.queue};
#pragma unroll 1
  for (u32 first = 0; first < words; first += 4 * policy::collect_threads) {
    const u32 at = first + 4 * threadIdx.x;
    u32 bits[4];
#pragma unroll
    for (u32 i = 0; i < 4; ++i) bits[i] = at + i < words ? args.unfinished[at + i] : 0;
    collector.append(32 * at, bits);
  }
  if (threadIdx.x == 0) *args.queued = collector.listed;
}

u32 blocks_for(u32 threads, int block) { return (threads + static_cast<u32>(block) - 1) / static_cast<u32>(block); }

}  // namespace

cudaError_t sponge(const Sponge& job, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  sponge_kernel<<<blocks_for(items, policy::sponge.threads), policy::sponge.threads, 0, stream>>>(job, statuses, items);
  return cudaGetLastError();
}

cudaError_t PRF(const PrfArgs& args, u32 items, cudaStream_t stream) noexcept {
  const u32 polynomials = items * args.polynomials;
  prf_kernel<<<blocks_for(polynomials, policy::prf.threads), policy::prf.threads, 0, stream>>>(args, polynomials);
  return cudaGetLastError();
}

cudaError_t SampleNTT(const MatrixArgs& args, u32 items, cudaStream_t stream) noexcept {
  const u32 entries = items * args.k * args.k;
  matrix_kernel<<<blocks_for(entries, policy::matrix.threads), policy::matrix.threads, 0, stream>>>(args, entries,
                                                                                                    false);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  collect_kernel<<<1, policy::collect_threads, 0, stream>>>(args, (entries + 31) / 32);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  const u32 queue_threads = entries / policy::queue_share + 1;
  matrix_kernel<<<blocks_for(queue_threads, policy::matrix.threads), policy::matrix.threads, 0, stream>>>(args, entries,
                                                                                                          true);
  return cudaGetLastError();
}

KernelList hash_kernels() noexcept {
  static const void* const all[] = {
      reinterpret_cast<const void*>(&sponge_kernel), reinterpret_cast<const void*>(&prf_kernel),
      reinterpret_cast<const void*>(&matrix_kernel), reinterpret_cast<const void*>(&collect_kernel)};
  return all;
}

}  // namespace warpkem::kernels
