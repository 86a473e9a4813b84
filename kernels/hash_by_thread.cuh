// The hashing steps for many states: one thread, one Keccak state, so 32 of them a warp. Each holds one copy of the
// permutation and loops around it. Warps move data between memory and states through a tile of shared memory, so that
// global accesses are coalesced.
#pragma once

#include "kernels/collect.cuh"
#include "kernels/policy.hpp"
#include "kernels/sample.cuh"
#include "kernels/sponge.cuh"
#include "kernels/steps.hpp"

namespace warpkem::kernels::thread {

// A job for the 32 items from `first` on.
WARPKEM_FN void sponge(const Sponge& job, u8* statuses, u32 items, u32 first, u32 lane, uint2* tile) {
  const bool active = first + lane < items;
  const u32 item = active ? first + lane : items - 1;
  warp::Messages messages{job, item, lane, tile};
  const u32 blocks = messages.num_blocks();

  KeccakState state = zero_state();
  messages.fetch(0);
#pragma unroll 1
  for (u32 block = 0; block < blocks + (job.m.data != nullptr ? 1 : 0); ++block) {
    if (block < blocks) {
      messages.absorb(block, state);
    } else {
      if (active) squeeze(job.out, item, state);
      begin_G(job.m, item, state);
    }
    if (block + 1 < blocks) {
      messages.fetch(block + 1);
    } else if (block + 1 == blocks) {
      messages.pad(state);
    }
    KeccakF1600(state);
  }
  if (active) copy_along(job, item);
  check_digest(job, item, active, state, statuses);
  if (job.m.data != nullptr) {
    const Rows out[] = {job.K, job.r};
    if (active) squeeze(out, item, state);
  } else if (active) {
    squeeze(job.out, item, state);
  }
  messages.wipe();
}

constexpr int prf_pitch = 35;

// PRF_eta(seed, N) = SHAKE256(seed || N, 64 eta bytes): one or two blocks. Of the polynomials of all items, the warp's
// begin with `first`.
WARPKEM_FN void PRF(const PrfArgs& args, u32 items, u32 first, u32 lane, u32* tile) {
  const u32 polynomials = items * args.polynomials;
  const u32 polynomial = min(first + lane, polynomials - 1);
  const u32 item = polynomial / args.polynomials;

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
    u32* out = reinterpret_cast<u32*>(args.out) + u64{first} * args.words + done;
    const u32 rows = min(polynomials - first, 32u);
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

// SampleNTT, FIPS 203 Algorithm 7. Of `rest`, warp `number` takes the entries that lie unfinished in its stretch of
// args.unfinished, else 32 entries. Public data: time may vary with it.
WARPKEM_FN void SampleNTT(const MatrixArgs& args, u32 items, u32 number, u32 lane, u32* tile) {
  const bool is_rest = args.blocks == MatrixArgs::Blocks::rest;
  const u32 entries = items * args.k * args.k;
  const u32 first = number * (is_rest ? 32 * policy::unfinished_words : 32);
  const u32 max_blocks = args.blocks == MatrixArgs::Blocks::three ? 3 : ~0u;
  constexpr u32 words = policy::unfinished_words / 32;
  u32 bits[words] = {};
  if (is_rest) {
#pragma unroll
    for (u32 i = 0; i < words; ++i) {
      const u32 word = first / 32 + words * lane + i;
      bits[i] = word < (entries + 31) / 32 ? args.unfinished[word] : 0;
    }
  }
  u32 done = 0, count = entries - first;
#pragma unroll 1
  do {
    if (is_rest) count = warp::list_bits(bits, done, lane, tile);
    if (count == 0) return;
    __syncwarp();
    const u32 place = min(lane, count - done - 1);
    const u32 entry = first + (is_rest ? tile[place] : place);
    __syncwarp();
    const u32 item = entry / (args.k * args.k), within = entry - item * args.k * args.k;
    const u32 i = within / args.k, j = within - i * args.k;

    KeccakState state = zero_state();
    const uint4* rho = reinterpret_cast<const uint4*>(args.rho[item]);
    const uint4 v0 = rho[0], v1 = rho[1];
    state.lo[0] = v0.x, state.hi[0] = v0.y, state.lo[1] = v0.z, state.hi[1] = v0.w;
    state.lo[2] = v1.x, state.hi[2] = v1.y, state.lo[3] = v1.z, state.hi[3] = v1.w;
    state.lo[4] = 0x1F0000 | i << 8 | j;
    state.hi[20] = 0x80000000;

    Column column;
    column.next = static_cast<u32>(__cvta_generic_to_shared(tile + lane * column_words));
    column.end = column.next + 512;
    column.one = args.one;
    u32 block = 0;
#pragma unroll 1
    do {
      KeccakF1600(state);
      append_candidates(state, column);
    } while (++block < max_blocks && __any_sync(all_lanes, !column.full()));

    if (args.blocks == MatrixArgs::Blocks::three) {
      const u32 unfinished = __ballot_sync(all_lanes, !column.full() && lane < count);
      if (lane == 0) args.unfinished[number] = unfinished;
    }
    if (!column.full()) {
      for (u32 slot = 256 - (column.end - column.next) / 2; slot < 256; ++slot) {
        reinterpret_cast<u16*>(tile + lane * column_words)[slot] = 0;
      }
    }
    __syncwarp();
    u32* const own = reinterpret_cast<u32*>(args.A[item] + 512 * within);
    const u32 rows = min(count - done, 32u);
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
    done += 32;
  } while (is_rest && done < count);
}

}  // namespace warpkem::kernels::thread
