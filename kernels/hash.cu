// All hashing: a kernel whose warps take a job each, so that jobs that do not wait for each other run side by side.
#include "kernels/hash_by_thread.cuh"
#include "kernels/hash_by_warp.cuh"

namespace warpkem::kernels {
namespace {

// Jobs, and how many warps each has: sponges first, as they take longest, then the matrix, then PRFs.
struct HashArgs {
  HashJobs jobs;
  u32 items = 0;
  u32 warps_of_a_sponge = 1;
  u32 sponges_end = 0, matrix_end = 0, prf_ends[HashJobs::most_prfs] = {};
};

// Without a matrix there is no code for it, and less shared memory.
template <bool has_matrix>
__global__ void __launch_bounds__(policy::hash<has_matrix>.threads, policy::resident_blocks(policy::hash<has_matrix>))
    hash_kernel(const __grid_constant__ HashArgs args, u8* statuses) {
  constexpr u32 warps = policy::hash<has_matrix>.threads / 32;
  constexpr u32 tile_words = has_matrix ? 32 * thread::column_words : 32 * thread::prf_pitch;
  static_assert(tile_words >= 2 * 32 * warp::Messages::pitch && tile_words % 4 == 0);
  __shared__ alignas(16) u32 tiles[warps][tile_words];
  static_assert(sizeof tiles == policy::hash<has_matrix>.shared_bytes);
  const u32 lane = threadIdx.x % 32, number = blockIdx.x * warps + threadIdx.x / 32;
  u32* const tile = tiles[threadIdx.x / 32];

  if (number < args.sponges_end) {
    const u32 which = number / args.warps_of_a_sponge, of_job = number - which * args.warps_of_a_sponge;
    const Sponge& job = args.jobs.sponges[which];
    if (args.jobs.sponges_by_warp) {
      warp::sponge(job, statuses, of_job, lane, warp::keccak_lanes(lane));
    } else {
      thread::sponge(job, statuses, args.items, 32 * of_job, lane, reinterpret_cast<uint2*>(tile));
    }
    return;
  }
  if (number < args.matrix_end) {
    if constexpr (has_matrix) {
      const u32 of_job = number - args.sponges_end;
      if (args.jobs.matrix_by_warp) {
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
  if (args.jobs.prfs_by_warp[which]) {
    warp::PRF(job, of_job, lane, warp::keccak_lanes(lane));
  } else {
    thread::PRF(job, args.items, 32 * of_job, lane, tile);
  }
}

u32 divide_up(u32 a, u32 b) { return (a + b - 1) / b; }

u32 matrix_warps(const HashJobs& jobs, u32 items) {
  const u32 entries = items * jobs.matrix.k * jobs.matrix.k;
  if (jobs.matrix_by_warp) return entries;
  return divide_up(entries, jobs.matrix.blocks == MatrixArgs::Blocks::rest ? 32 * policy::unfinished_words : 32);
}

}  // namespace

cudaError_t hash(const HashJobs& jobs, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  HashArgs args;
  args.jobs = jobs;
  args.items = items;
  args.warps_of_a_sponge = jobs.sponges_by_warp ? items : divide_up(items, 32);
  args.sponges_end = args.warps_of_a_sponge * static_cast<u32>(jobs.num_sponges);
  args.matrix_end = args.sponges_end + (jobs.has_matrix ? matrix_warps(jobs, items) : 0);
  u32 end = args.matrix_end;
  for (int i = 0; i < HashJobs::most_prfs; ++i) {
    const u32 polynomials = i < jobs.num_prfs ? items * jobs.prfs[i].polynomials : 0;
    args.prf_ends[i] = end += jobs.prfs_by_warp[i] ? polynomials : divide_up(polynomials, 32);
  }
  const auto launch = [&]<bool has_matrix> {
    constexpr int threads = policy::hash<has_matrix>.threads;
    hash_kernel<has_matrix><<<divide_up(32 * end, threads), threads, 0, stream>>>(args, statuses);
  };
  jobs.has_matrix ? launch.template operator()<true>() : launch.template operator()<false>();
  return cudaGetLastError();
}

KernelList hash_kernels() noexcept {
  static const void* const all[] = {reinterpret_cast<const void*>(&hash_kernel<true>),
                                    reinterpret_cast<const void*>(&hash_kernel<false>)};
  return all;
}

}  // namespace warpkem::kernels
