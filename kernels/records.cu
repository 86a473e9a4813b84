// What surrounds the operations: copying records of any alignment, resolving key indices, and the failed items.
#include "kernels/collect.cuh"
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

// Lists and counts the failed items of a pass. One block; where nothing failed it only reads the statuses.
__global__ void __launch_bounds__(policy::collect_threads) list_failed_kernel(FinishArgs args, u32 items) {
  using Collector = block::Collector<policy::collect_threads>;
  __shared__ typename Collector::Scan::TempStorage storage;
  Collector collector{storage, args.list};
#pragma unroll 1
  for (u32 first = 0; first < items; first += 32 * policy::collect_threads) {
    const u32 at = first + 32 * threadIdx.x;
    u32 bits[1] = {0};
    if (at + 32 <= items && reinterpret_cast<u64>(args.statuses) % 16 == 0) {
      const uint4* statuses = reinterpret_cast<const uint4*>(args.statuses + at);
      const uint4 v0 = statuses[0], v1 = statuses[1];
      bits[0] = v0.x | v0.y | v0.z | v0.w | v1.x | v1.y | v1.z | v1.w;
    } else {
      bits[0] = 1;
    }
    if (bits[0] != 0) {
      bits[0] = 0;
      for (u32 i = 0; i < 32 && at + i < items; ++i) bits[0] |= static_cast<u32>(args.statuses[at + i] != 0) << i;
    }
    if (__syncthreads_or(bits[0] != 0)) collector.append(at, bits);
  }
  if (threadIdx.x == 0) {
    *args.listed = collector.listed;
    if (args.failed != nullptr) *args.failed += collector.listed;
  }
}

__global__ void __launch_bounds__(policy::record_threads) zero_failed_kernel(FinishArgs args) {
  const u32 listed = *args.listed;
  const u32 lane = threadIdx.x % 32, warps = gridDim.x * blockDim.x / 32;
  for (u32 i = (blockIdx.x * blockDim.x + threadIdx.x) / 32; i < listed; i += warps) {
    const u32 item = args.list[i];
    for (const Output& output : args.outputs) {
      for (u32 n = lane; n < output.bytes; n += 32) output.rows[item][n] = 0;
    }
  }
}

}  // namespace

cudaError_t copy_records(AnyRows from, AnyRows to, u32 bytes, u32 items, cudaStream_t stream) noexcept {
  constexpr u32 per_block = policy::record_threads / 32;
  copy_records_kernel<<<(items + per_block - 1) / per_block, policy::record_threads, 0, stream>>>(from, to, bytes,
                                                                                                  items);
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
  list_failed_kernel<<<1, policy::collect_threads, 0, stream>>>(args, items);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  if (args.outputs[0].bytes == 0) return cudaSuccess;
  zero_failed_kernel<<<policy::zero_failed_blocks, policy::record_threads, 0, stream>>>(args);
  return cudaGetLastError();
}

KernelList records_kernels() noexcept {
  static const void* const all[] = {
      reinterpret_cast<const void*>(&copy_records_kernel), reinterpret_cast<const void*>(&resolve_keys_kernel),
      reinterpret_cast<const void*>(&list_failed_kernel), reinterpret_cast<const void*>(&zero_failed_kernel)};
  return all;
}

}  // namespace warpkem::kernels
