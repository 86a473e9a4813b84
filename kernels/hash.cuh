// The warps of a launch that hashes take a job each, so that jobs that do not wait for each other run side by side.
#pragma once

#include "kernels/hash_by_thread.cuh"
#include "kernels/hash_by_warp.cuh"

namespace warpkem::kernels {

// Jobs, and how many warps each has: sponges first, as they take longest, then the matrix, then PRFs.
struct HashArgs {
  HashJobs jobs;
  u8* statuses = nullptr;
  u32 items = 0;
  u32 warps_of_a_sponge = 1;
  u32 sponges_end = 0, matrix_end = 0, prf_ends[HashJobs::most_prfs] = {};

  u32 num_warps() const { return prf_ends[HashJobs::most_prfs - 1]; }
};

inline u32 divide_up(u32 a, u32 b) { return (a + b - 1) / b; }

inline HashArgs hash_args(const HashJobs& jobs, u8* statuses, u32 items) {
  HashArgs args;
  args.jobs = jobs;
  args.statuses = statuses;
  args.items = items;
  args.warps_of_a_sponge = jobs.sponges_by_warp ? items : divide_up(items, 32);
  args.sponges_end = args.matrix_end = args.warps_of_a_sponge * static_cast<u32>(jobs.num_sponges);
  if (jobs.has_matrix) {
    const u32 entries = items * jobs.matrix.k * jobs.matrix.k;
    const bool is_rest = jobs.matrix.blocks == MatrixArgs::Blocks::rest;
    args.matrix_end += jobs.matrix_by_warp ? entries : divide_up(entries, is_rest ? 32 * policy::unfinished_words : 32);
  }
  u32 end = args.matrix_end;
  for (int i = 0; i < HashJobs::most_prfs; ++i) {
    const u32 polynomials = i < jobs.num_prfs ? items * jobs.prfs[i].polynomials : 0;
    args.prf_ends[i] = end += jobs.prfs_by_warp[i] ? polynomials : divide_up(polynomials, 32);
  }
  return args;
}

template <bool has_matrix>
inline constexpr u32 hash_tile_words = has_matrix ? 32 * thread::column_words : 32 * thread::prf_pitch;
static_assert(hash_tile_words<false> >= 2 * 32 * warp::Messages::pitch);
static_assert(hash_tile_words<false> % 4 == 0 && hash_tile_words<true> % 4 == 0);

// What warp `number` of the launch does. There is code only for what the launch may have: a matrix, states by warp.
template <bool has_matrix, bool has_warps>
WARPKEM_FN void hash_by_job(const HashArgs& args, u32 number, u32 lane, u32* tile) {
  if (number < args.sponges_end) {
    const u32 which = number / args.warps_of_a_sponge, of_job = number - which * args.warps_of_a_sponge;
    const Sponge& job = args.jobs.sponges[which];
    if (has_warps && args.jobs.sponges_by_warp) {
      warp::sponge(job, args.statuses, of_job, lane, warp::keccak_lanes(lane));
    } else {
      thread::sponge(job, args.statuses, args.items, 32 * of_job, lane, reinterpret_cast<uint2*>(tile));
    }
    return;
  }
  if (number < args.matrix_end) {
    if constexpr (has_matrix) {
      const u32 of_job = number - args.sponges_end;
      if (has_warps && args.jobs.matrix_by_warp) {
        warp::SampleNTT(args.jobs.matrix, of_job, lane, warp::keccak_lanes(lane), reinterpret_cast<uint2*>(tile));
      } else {
        thread::SampleNTT(args.jobs.matrix, args.items, of_job, lane, tile);
      }
    }
    return;
  }
  if (number >= args.prf_ends[HashJobs::most_prfs - 1]) return;
  const u32 which = number < args.prf_ends[0] ? 0 : 1;
  const u32 of_job = number - (which == 0 ? args.matrix_end : args.prf_ends[0]);
  const PrfArgs& job = args.jobs.prfs[which];
  if (has_warps && args.jobs.prfs_by_warp[which]) {
    warp::PRF(job, of_job, lane, warp::keccak_lanes(lane));
  } else {
    thread::PRF(job, args.items, 32 * of_job, lane, tile);
  }
}

}  // namespace warpkem::kernels
