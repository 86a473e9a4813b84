// What surrounds the operations: copying records of any alignment, resolving key indices, and the failed items.
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_select.cuh>
#include <cuda/std/functional>

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
  const u8 status = !known ? 9 : key_statuses != nullptr ? key_statuses[key] : 0;
  safe[item] = known ? key : 0;
  statuses[item] = status;
}

__global__ void __launch_bounds__(policy::record_threads) zero_failed_kernel(FinishArgs args) {
  const u64 listed = *args.listed;
  if (args.failed != nullptr && blockIdx.x == 0 && threadIdx.x == 0) *args.failed += listed;
  const u32 lane = threadIdx.x % 32, warps = gridDim.x * blockDim.x / 32;
  for (u64 i = (blockIdx.x * blockDim.x + threadIdx.x) / 32; i < listed; i += warps) {
    const u32 item = args.list[i];
    for (const Output& output : args.outputs) {
      for (u32 n = lane; n < output.bytes; n += 32) output.rows[item][n] = 0;
    }
  }
}

struct IsFailure {
  __host__ __device__ bool operator()(u8 status) const { return status != 0; }
};

cudaError_t select_failed(void* scratch, std::size_t& scratch_bytes, const u8* statuses, u32* list, u64* listed,
                          u32 items, cudaStream_t stream) {
  const auto flags = thrust::make_transform_iterator(statuses, IsFailure{});
  return cub::DeviceSelect::Flagged(scratch, scratch_bytes, thrust::make_counting_iterator(u32{0}), flags, list, listed,
                                    static_cast<int>(items), stream);
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

std::size_t finish_scratch_bytes(u32 items) noexcept {
  std::size_t bytes = 0;
  return select_failed(nullptr, bytes, nullptr, nullptr, nullptr, items, nullptr) == cudaSuccess ? bytes : 0;
}

cudaError_t finish(const FinishArgs& args, u32 items, cudaStream_t stream) noexcept {
  std::size_t bytes = args.scratch_bytes;
  const cudaError_t error = select_failed(args.scratch, bytes, args.statuses, args.list, args.listed, items, stream);
  if (error != cudaSuccess) return error;
  zero_failed_kernel<<<policy::zero_failed_blocks, policy::record_threads, 0, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace warpkem::kernels
