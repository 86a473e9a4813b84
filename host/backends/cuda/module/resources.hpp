// Streams, events and memory with an owner. Made on the current device; destroyed from any thread. forget() gives up
// ownership without a call: what a lost or stuck device may still touch is leaked, never reused.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace warpkem::cuda {

class Stream {
 public:
  Stream() noexcept = default;
  static Stream make();
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream();

  cudaStream_t get() const noexcept { return stream_; }
  explicit operator bool() const noexcept { return stream_ != nullptr; }
  void forget() noexcept { stream_ = nullptr; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Without timing: it only marks progress.
class Event {
 public:
  Event() noexcept = default;
  static Event make();
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event();

  cudaEvent_t get() const noexcept { return event_; }
  explicit operator bool() const noexcept { return event_ != nullptr; }
  void forget() noexcept { event_ = nullptr; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Page-locked host memory, wiped before it is freed and kept out of core dumps.
class PinnedBuffer {
 public:
  PinnedBuffer() noexcept = default;
  explicit PinnedBuffer(std::size_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedBuffer();

  PinnedBuffer(std::uint8_t* adopted, std::size_t bytes) noexcept : data_(adopted), bytes_(bytes) {}

  std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }
  void forget() noexcept { data_ = nullptr, bytes_ = 0; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Device memory, wiped before it is freed. The device must be current and the memory idle when it is destroyed.
class DeviceBuffer {
 public:
  DeviceBuffer() noexcept = default;
  explicit DeviceBuffer(std::size_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer();
  DeviceBuffer(std::uint8_t* adopted, std::size_t bytes) noexcept : data_(adopted), bytes_(bytes) {}

  std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }
  void forget() noexcept { data_ = nullptr, bytes_ = 0; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace warpkem::cuda
