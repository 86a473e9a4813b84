#include "host/backends/cuda/module/resources.hpp"

#include <sys/mman.h>

#include "host/backends/cuda/module/cuda_call.hpp"
#include "host/secure.hpp"

namespace warpkem::cuda {

namespace {

// A destructor has nobody to tell; what fails here leaks.
void ignore(cudaError_t code) noexcept {
  if (code != cudaSuccess) static_cast<void>(cudaGetLastError());
}

}  // namespace

Stream Stream::make() {
  Stream stream;
  check(cudaStreamCreateWithFlags(&stream.stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return stream;
}

Stream::~Stream() {
  if (stream_ != nullptr) ignore(cudaStreamDestroy(stream_));
}

Event Event::make() {
  Event event;
  check(cudaEventCreateWithFlags(&event.event_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return event;
}

Event::~Event() {
  if (event_ != nullptr) ignore(cudaEventDestroy(event_));
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) {
  void* data = nullptr;
  check(cudaHostAlloc(&data, bytes, cudaHostAllocPortable), "cudaHostAlloc (staging)");
  data_ = static_cast<std::uint8_t*>(data);
  bytes_ = bytes;
  constexpr std::uintptr_t page = 4096;
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(data) + page - 1) & ~(page - 1);
  const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(data) + bytes) & ~(page - 1);
  // Advice: where the driver's mapping refuses it, the pages are dumped as all others are.
  if (first < last) static_cast<void>(madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTDUMP));
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ == nullptr) return;
  host::wipe(data_, bytes_);
  ignore(cudaFreeHost(data_));
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes), "cudaMalloc");
  data_ = static_cast<std::uint8_t*>(data);
  bytes_ = bytes;
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ == nullptr) return;
  // The per-thread stream, for nothing here may order itself behind the caller's default stream.
  ignore(cudaMemsetAsync(data_, 0, bytes_, cudaStreamPerThread));
  ignore(cudaStreamSynchronize(cudaStreamPerThread));
  ignore(cudaFree(data_));
}

}  // namespace warpkem::cuda
