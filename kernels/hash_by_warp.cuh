// The hashing steps for few states: one warp, one Keccak state. Words of the message and of the output are those of the
// lanes, so nothing needs staging.
#pragma once

#include "kernels/keccak.cuh"
#include "kernels/steps.hpp"

namespace warpkem::kernels::warp {

WARPKEM_FN void squeeze(const Rows& first, const Rows& second, const Rows& third, u32 item, u32 lane,
                        const KeccakLane& state) {
  if (lane >= 12) return;
  const Rows out = lane < 4 ? first : lane < 8 ? second : third;
  if (out.data != nullptr) reinterpret_cast<uint2*>(out[item])[lane % 4] = make_uint2(state.lo, state.hi);
}

WARPKEM_FN void sponge(const Sponge& job, u8* statuses, u32 item, u32 lane, const KeccakLanes& lanes) {
  const uint2* body = reinterpret_cast<const uint2*>(job.body[item]);
  const uint2* prefix = job.prefix.data != nullptr ? reinterpret_cast<const uint2*>(job.prefix[item]) : nullptr;
  uint2* copy = job.body_copy.data != nullptr ? reinterpret_cast<uint2*>(job.body_copy[item]) : nullptr;
  const u32 prefix_words = prefix != nullptr ? 4 : 0;
  const u32 total = prefix_words + job.body_words;
  KeccakLane state{0, 0};
#pragma unroll 1
  for (u32 first = 0; first <= total; first += job.rate_words) {
    if (lane < job.rate_words) {
      const u32 word = first + lane;
      uint2 value = make_uint2(0, 0);
      if (word < prefix_words) {
        value = prefix[word];
      } else if (word < total) {
        value = body[word - prefix_words];
        if (copy != nullptr) copy[word - prefix_words] = value;
      } else if (word == total) {
        value = make_uint2(static_cast<u32>(job.pad), static_cast<u32>(job.pad >> 32));
      }
      if (first + job.rate_words > total && lane + 1 == job.rate_words) value.y ^= 0x80000000;
      state.lo ^= value.x;
      state.hi ^= value.y;
    }
    __syncwarp();
    KeccakF1600(state, lanes);
  }

  if (job.also_to.data != nullptr && lane < 4) {
    reinterpret_cast<uint2*>(job.also_to[item])[lane] = reinterpret_cast<const uint2*>(job.also_from[item])[lane];
  }
  if (job.expected.data != nullptr) {
    bool differs = false;
    if (lane < 4) {
      const uint2 v = reinterpret_cast<const uint2*>(job.expected[item])[lane];
      differs = v.x != state.lo || v.y != state.hi;
    }
    // The verdict of the hash check is public (FIPS 203, 7.3).
    if (__any_sync(all_lanes, differs) && lane == 0 && statuses[item] == 0) statuses[item] = job.failure;
  }
  squeeze(job.out[0], job.out[1], job.out[2], item, lane, state);
  if (job.m.data == nullptr) return;
  const u32 lo = __shfl_sync(all_lanes, state.lo, lane % 4), hi = __shfl_sync(all_lanes, state.hi, lane % 4);
  state = {0, 0};
  if (lane < 4) {
    const uint2 v = reinterpret_cast<const uint2*>(job.m[item])[lane];
    state = {v.x, v.y};
  } else if (lane < 8) {
    state = {lo, hi};
  } else if (lane == 8) {
    state = {0x06, 0x80000000};
  }
  KeccakF1600(state, lanes);
  squeeze(job.K, job.r, {}, item, lane, state);
}

// PRF_eta, FIPS 203 (4.3): a polynomial's bytes of noise.
WARPKEM_FN void PRF(const PrfArgs& args, u32 polynomial, u32 lane, const KeccakLanes& lanes) {
  const u32 item = polynomial / args.polynomials;
  KeccakLane state{0, 0};
  if (lane < 4) {
    const uint2 v = reinterpret_cast<const uint2*>(args.seed[item])[lane];
    state = {v.x, v.y};
  }
  if (lane == 4) state.lo = 0x1F00 | (args.first + polynomial - item * args.polynomials);
  if (lane == 16) state.hi = 0x80000000;
  uint2* out = reinterpret_cast<uint2*>(args.out + u64{polynomial} * args.words * 4);
#pragma unroll 1
  for (u32 done = 0; done < args.words / 2; done += 17) {
    __syncwarp();
    KeccakF1600(state, lanes);
    if (lane < 17 && done + lane < args.words / 2) out[done + lane] = make_uint2(state.lo, state.hi);
  }
}

// SampleNTT, FIPS 203 Algorithm 7, with as many blocks as it takes. Public data: time may vary with it.
WARPKEM_FN void SampleNTT(const MatrixArgs& args, u32 entry, u32 lane, const KeccakLanes& lanes, uint2* block) {
  const u32 item = entry / (args.k * args.k), within = entry - item * args.k * args.k;
  const u32 i = within / args.k, j = within - i * args.k;
  KeccakLane state{0, 0};
  if (lane < 4) {
    const uint2 v = reinterpret_cast<const uint2*>(args.rho[item])[lane];
    state = {v.x, v.y};
  }
  if (lane == 4) state.lo = 0x1F0000 | i << 8 | j;
  if (lane == 20) state.hi = 0x80000000;

  u16* const to = reinterpret_cast<u16*>(args.A[item] + 512 * within);
  u32 accepted = 0;
#pragma unroll 1
  while (accepted < 256) {
    __syncwarp();
    KeccakF1600(state, lanes);
    if (lane < 21) block[lane] = make_uint2(state.lo, state.hi);
    __syncwarp();
    // Lanes 0 to 27 have four candidates each, in order.
    u32 candidates[4] = {q, q, q, q};
    if (lane < 28) {
      const u16* halves = reinterpret_cast<const u16*>(block) + 3 * lane;
      const u32 h0 = halves[0], h1 = halves[1], h2 = halves[2];
      candidates[0] = h0 & 0xFFF;
      candidates[1] = h0 >> 12 | (h1 & 0xFF) << 4;
      candidates[2] = h1 >> 8 | (h2 & 0xF) << 8;
      candidates[3] = h2 >> 4;
    }
    u32 place = accepted;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const u32 votes = __ballot_sync(all_lanes, candidates[c] < q);
      place += static_cast<u32>(__popc(votes & ((1u << lane) - 1)));
      accepted += static_cast<u32>(__popc(votes));
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (candidates[c] < q) {
        // The order that load_entry() expects.
        if (place < 256)
          to[128 * (place % 16 / 8) + 8 * (place / 16) + place % 8] = static_cast<u16>(16 * candidates[c]);
        ++place;
      }
    }
  }
}

}  // namespace warpkem::kernels::warp
