// What surrounds the operations: copying records of any alignment, resolving key indices, and the failed items.
#include "kernels/finish.cuh"
#include "kernels/policy.hpp"
#include "kernels/steps.hpp"

namespace warpkem::kernels {
namespace {

// One warp per record.
__global__ void __launch_bounds__(policy::record_threads)
    copy_records_kernel(AnyRows from, AnyRows to, u32 bytes, u32 items) {
  const u32 item = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (item >= items) return;
  const u8* source = from[item];
  u8* target = to[item];
  const u32 lane = threadIdx.x % 32;
  if (((reinterpret_cast<u64>(source) | reinterpret_cast<u64>(target)) & 15) == 0 && bytes % 16 == 0) {
    for (u32 i = 16 * lane; i < bytes; i += 512) {
      *reinterpret_cast<uint4*>(target + i) = *reinterpret_cast<const uint4*>(source + i);
    }
  } else {
    for (u32 i = lane; i < bytes; i += 32) target[i] = source[i];
  }
}

// 16 bytes a thread.
__global__ void __launch_bounds__(policy::record_threads) copy_kernel(const u8* from, u8* to, u64 bytes) {
  const u64 at = 16 * (u64{blockIdx.x} * blockDim.x + threadIdx.x);
  if (at + 16 <= bytes) {
    *reinterpret_cast<uint4*>(to + at) = *reinterpret_cast<const uint4*>(from + at);
  } else {
    for (u64 i = at; i < bytes; ++i) to[i] = from[i];
  }
}

__global__ void __launch_bounds__(policy::record_threads)
    resolve_keys_kernel(const u32* index, u64 num_keys, const u8* key_statuses, u32* safe, u8* statuses, u32 items) {
  const u32 item = blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= items) return;
  const u32 key = index != nullptr ? index[item] : 0;
  const bool known = key < num_keys;
  const u8 status = !known                    ? static_cast<u8>(ItemStatus::invalid_key_index)
                    : key_statuses != nullptr ? key_statuses[key]
                                              : static_cast<u8>(ItemStatus::ok);
  safe[item] = known ? key : 0;
  statuses[item] = status;
}

// Counts the failed items and zeroes their outputs: a thread looks at a status, its warp zeroes the records of those
// that failed. Which items those are is public.
__global__ void __launch_bounds__(policy::record_threads) finish_kernel(FinishArgs args, u32 items) {
  const u32 thread = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
  u32 failed = __ballot_sync(all_lanes, thread < items && args.statuses[thread] != 0);
  if (failed == 0) return;
  if (lane == 0) count_failed(args, static_cast<u32>(__popc(failed)));
  for (; failed != 0; failed &= failed - 1) {
    zero_outputs<32>(args, thread - lane + static_cast<u32>(__ffs(static_cast<int>(failed))) - 1, lane);
  }
}

}  // namespace

cudaError_t copy_records(AnyRows from, AnyRows to, u32 bytes, u32 items, cudaStream_t stream) noexcept {
  constexpr u32 per_block = policy::record_threads / 32;
  copy_records_kernel<<<(items + per_block - 1) / per_block, policy::record_threads, 0, stream>>>(from, to, bytes,
                                                                                                  items);
  return cudaGetLastError();
}

cudaError_t copy(const void* from, void* to, std::size_t bytes, cudaStream_t stream) noexcept {
  constexpr std::size_t per_block = 16 * policy::record_threads;
  copy_kernel<<<static_cast<u32>((bytes + per_block - 1) / per_block), policy::record_threads, 0, stream>>>(
      static_cast<const u8*>(from), static_cast<u8*>(to), bytes);
  return cudaGetLastError();
}

cudaError_t resolve_keys(const u32* index, u64 num_keys, const u8* key_statuses, u32* safe, u8* statuses, u32 items,
                         cudaStream_t stream) noexcept {
  constexpr u32 threads = policy::record_threads;
  resolve_keys_kernel<<<(items + threads - 1) / threads, threads, 0, stream>>>(index, num_keys, key_statuses, safe,
                                                                               statuses, items);
  return cudaGetLastError();
}

cudaError_t finish(const FinishArgs& args, u32 items, cudaStream_t stream) noexcept {
  constexpr u32 threads = policy::record_threads;
  finish_kernel<<<(items + threads - 1) / threads, threads, 0, stream>>>(args, items);
  return cudaGetLastError();
}

KernelList records_kernels() noexcept {
  static const void* const all[] = {
      reinterpret_cast<const void*>(&copy_records_kernel), reinterpret_cast<const void*>(&copy_kernel),
      reinterpret_cast<const void*>(&resolve_keys_kernel), reinterpret_cast<const void*>(&finish_kernel)};
  return all;
}

}  // namespace warpkem::kernels
