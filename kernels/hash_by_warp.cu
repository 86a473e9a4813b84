// The hashing steps for small batches: one warp, one Keccak state. Words of the message and of the output are those of
// the lanes, so nothing needs staging. Steps that do not wait for each other share a launch: an ek's hash (nine
// permutations one after the other) then hides its matrix (three).
#include "kernels/keccak.cuh"
#include "kernels/policy.hpp"
#include "kernels/steps.hpp"

namespace warpkem::kernels {
namespace {

WARPKEM_FN void sponge_by_warp(const Sponge& job, u8* statuses, u32 item, u32 lane, const warp::KeccakLanes& lanes) {
  const uint2* body = reinterpret_cast<const uint2*>(job.body[item]);
  const uint2* prefix = job.prefix.data != nullptr ? reinterpret_cast<const uint2*>(job.prefix[item]) : nullptr;
  uint2* copy = job.body_copy.data != nullptr ? reinterpret_cast<uint2*>(job.body_copy[item]) : nullptr;
  const u32 prefix_words = prefix != nullptr ? 4 : 0;
  const u32 total = prefix_words + job.body_words;
  warp::KeccakLane state{0, 0};
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
    warp::KeccakF1600(state, lanes);
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
  if (lane < 12) {
    const Rows out = lane < 4 ? job.out[0] : lane < 8 ? job.out[1] : job.out[2];
    if (out.data != nullptr) reinterpret_cast<uint2*>(out[item])[lane % 4] = make_uint2(state.lo, state.hi);
  }
}

// PRF_eta, FIPS 203 (4.3): a polynomial's bytes of noise.
WARPKEM_FN void PRF(const PrfArgs& args, u32 polynomial, u32 lane, const warp::KeccakLanes& lanes) {
  const u32 item = polynomial / args.polynomials;
  warp::KeccakLane state{0, 0};
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
    warp::KeccakF1600(state, lanes);
    if (lane < 17 && done + lane < args.words / 2) out[done + lane] = make_uint2(state.lo, state.hi);
  }
}

// SampleNTT, FIPS 203 Algorithm 7, with as many blocks as it takes. Public data: time may vary with it.
WARPKEM_FN void SampleNTT(const MatrixArgs& args, u32 entry, u32 lane, const warp::KeccakLanes& lanes,
                          uint2 (&block)[21]) {
  const u32 item = entry / (args.k * args.k), within = entry - item * args.k * args.k;
  const u32 i = within / args.k, j = within - i * args.k;
  warp::KeccakLane state{0, 0};
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
    warp::KeccakF1600(state, lanes);
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

// Where the jobs' warps end: sponges first, as they take longest, then the matrix, then PRFs.
struct Ends {
  u32 sponges[WarpJobs::most], matrix, prfs[WarpJobs::most];
};

__global__ void __launch_bounds__(policy::by_warp_threads) hash_by_warp_kernel(WarpJobs jobs, Ends ends, u8* statuses) {
  static_assert(policy::by_warp_threads == 32);
  __shared__ uint2 block[21];
  const u32 lane = threadIdx.x, number = blockIdx.x;
  const warp::KeccakLanes lanes = warp::keccak_lanes(lane);
  u32 first = 0;
#pragma unroll
  for (int i = 0; i < WarpJobs::most; ++i) {
    if (number < ends.sponges[i]) return sponge_by_warp(jobs.sponges[i], statuses, number - first, lane, lanes);
    first = ends.sponges[i];
  }
  if (number < ends.matrix) return SampleNTT(jobs.matrix, number - first, lane, lanes, block);
  first = ends.matrix;
#pragma unroll
  for (int i = 0; i < WarpJobs::most; ++i) {
    if (number < ends.prfs[i]) return PRF(jobs.prfs[i], number - first, lane, lanes);
    first = ends.prfs[i];
  }
}

}  // namespace

cudaError_t hash_by_warp(const WarpJobs& jobs, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  Ends ends{};
  u32 end = 0;
  for (int i = 0; i < WarpJobs::most; ++i) ends.sponges[i] = end += i < jobs.num_sponges ? items : 0;
  ends.matrix = end += jobs.num_matrices != 0 ? items * jobs.matrix.k * jobs.matrix.k : 0;
  for (int i = 0; i < WarpJobs::most; ++i) {
    ends.prfs[i] = end += i < jobs.num_prfs ? items * jobs.prfs[i].polynomials : 0;
  }
  hash_by_warp_kernel<<<end, policy::by_warp_threads, 0, stream>>>(jobs, ends, statuses);
  return cudaGetLastError();
}

KernelList hash_by_warp_kernels() noexcept {
  static const void* const all[] = {reinterpret_cast<const void*>(&hash_by_warp_kernel)};
  return all;
}

}  // namespace warpkem::kernels
