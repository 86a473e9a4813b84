#include "host/backends/cuda/module/resources.hpp"

#include <sys/mman.h>

#include "host/backends/cuda/module/cuda_call.hpp"
#include "host/core/secure.hpp"

namespace warpkem::cuda {

namespace {

void ignore(cudaError_t code) noexcept {
  if (code != cudaSuccess) static_cast<void>(cudaGetLastError());
}

}  // namespace

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

Event make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return Event(event);
}

std::uint8_t* PinnedMemory::allocate(std::size_t bytes) {
  void* data = nullptr;
  check(cudaHostAlloc(&data, bytes, cudaHostAllocPortable), "cudaHostAlloc (staging)");
  constexpr std::uintptr_t page = 4096;
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(data) + page - 1) & ~(page - 1);
  const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(data) + bytes) & ~(page - 1);
  // Advice: where the driver's mapping refuses it, the pages are dumped as all others are.
  if (first < last) static_cast<void>(madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTDUMP));
  return static_cast<std::uint8_t*>(data);
}

void PinnedMemory::abandon(std::uint8_t* data, std::size_t bytes) noexcept {
  host::wipe(data, bytes);
  ignore(cudaFreeHost(data));
}

std::uint8_t* DeviceMemory::allocate(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes), "cudaMalloc");
  return static_cast<std::uint8_t*>(data);
}

bool wipe_and_free(DeviceBuffer memory, cudaStream_t stream) noexcept {
  if (memory.data() == nullptr) return true;
  cudaError_t wiped = cudaMemsetAsync(memory.data(), 0, memory.size(), stream);
  if (wiped == cudaSuccess) wiped = cudaStreamSynchronize(stream);
  ignore(wiped);
  if (wiped == cudaSuccess) ignore(cudaFree(memory.data()));
  memory.forget();
  return wiped == cudaSuccess;
}

}  // namespace warpkem::cuda
