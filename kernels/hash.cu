// Hashing alone.
#include "kernels/hash.cuh"

namespace warpkem::kernels {
namespace {

// Without a matrix there is no code for it, and less shared memory.
template <bool has_matrix>
__global__ void __launch_bounds__(policy::hash<has_matrix>.threads, policy::resident_blocks(policy::hash<has_matrix>))
    hash_kernel(const __grid_constant__ HashArgs args) {
  constexpr u32 warps = policy::hash<has_matrix>.threads / 32;
  __shared__ alignas(16) u32 tiles[warps][hash_tile_words<has_matrix>];
  static_assert(sizeof tiles == policy::hash<has_matrix>.shared_bytes);
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  hash_by_job<has_matrix, true>(args, blockIdx.x * warps + warp, lane, tiles[warp]);
}

}  // namespace

cudaError_t hash(const HashJobs& jobs, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  const HashArgs args = hash_args(jobs, statuses, items);
  const auto launch = [&]<bool has_matrix> {
    constexpr int threads = policy::hash<has_matrix>.threads;
    hash_kernel<has_matrix><<<divide_up(32 * args.num_warps(), threads), threads, 0, stream>>>(args);
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
