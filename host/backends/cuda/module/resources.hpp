// Streams, events, graphs and memory with an owner. Made on the current device; destroyed from any thread. forget()
// gives up ownership without a call: what a lost or stuck device may still touch is leaked, never reused.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace warpkem::cuda {

template <class Value, cudaError_t (*destroy)(Value)>
class Handle {
 public:
  Handle() noexcept = default;
  explicit Handle(Value adopted) noexcept : value_(adopted) {}
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Handle() {
    // A destructor has nobody to tell; what fails here leaks.
    if (value_ != nullptr && destroy(value_) != cudaSuccess) static_cast<void>(cudaGetLastError());
  }

  Value get() const noexcept { return value_; }
  explicit operator bool() const noexcept { return value_ != nullptr; }
  void forget() noexcept { value_ = nullptr; }

 private:
  Value value_ = nullptr;
};

using Stream = Handle<cudaStream_t, cudaStreamDestroy>;
using Event = Handle<cudaEvent_t, cudaEventDestroy>;
using Graph = Handle<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = Handle<cudaGraphExec_t, cudaGraphExecDestroy>;

Stream make_stream();
Event make_event();  // without timing: it only marks progress

// Memory with an owner.
template <class Memory>
class Buffer {
 public:
  Buffer() noexcept = default;
  explicit Buffer(std::size_t bytes) : data_(Memory::allocate(bytes)), bytes_(bytes) {}
  Buffer(std::uint8_t* adopted, std::size_t bytes) noexcept : data_(adopted), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Memory::abandon(data_, bytes_);
  }

  std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }
  void forget() noexcept { data_ = nullptr, bytes_ = 0; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Page-locked, and kept out of core dumps. Wiped and freed when its owner goes.
struct PinnedMemory {
  static std::uint8_t* allocate(std::size_t bytes);
  static void abandon(std::uint8_t* data, std::size_t bytes) noexcept;
};
using PinnedBuffer = Buffer<PinnedMemory>;

// Wiping takes a stream and may fail, so it is the owner's to do, with wipe_and_free(). What is not given back so
// leaks.
struct DeviceMemory {
  static std::uint8_t* allocate(std::size_t bytes);
  static void abandon(std::uint8_t*, std::size_t) noexcept {}
};
using DeviceBuffer = Buffer<DeviceMemory>;

// Wipes the idle memory on `stream`, waits for that, and frees it; the device of both must be current. False: it could
// not be wiped and may hold secrets, so it is not freed but leaks.
[[nodiscard]] bool wipe_and_free(DeviceBuffer memory, cudaStream_t stream) noexcept;

}  // namespace warpkem::cuda
