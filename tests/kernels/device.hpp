// Records in device memory, in every layout that kernels/launch.hpp takes, among watched bytes; and launches.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/launch.hpp"

namespace warpkem::kernels::test {

using Bytes = std::vector<std::uint8_t>;

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// True if there is a device, real or emulated.
inline bool has_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t bytes, int fill = 0xA5) : bytes_(bytes) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), bytes == 0 ? 1 : bytes));
    check(cudaMemset(data_, fill, bytes));
  }
  explicit DeviceMemory(std::span<const std::uint8_t> host) : DeviceMemory(host.size()) { write(host); }
  ~DeviceMemory() { static_cast<void>(cudaFree(data_)); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  std::uint8_t* get() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  std::size_t size() const { return bytes_; }
  void write(std::span<const std::uint8_t> host) {
    check(cudaMemcpy(data_, host.data(), host.size(), cudaMemcpyHostToDevice));
  }
  Bytes read() const {
    Bytes host(bytes_);
    check(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_;
};

enum class Layout { packed, padded, odd, table };
inline constexpr Layout layouts[] = {Layout::packed, Layout::padded, Layout::odd, Layout::table};

// `count` records; everything between them is 0xA5 and watched.
class Records {
 public:
  Records(Layout layout, std::size_t bytes, std::size_t count)
      : bytes_(bytes),
        count_(count),
        base_(layout == Layout::odd || layout == Layout::table ? 3 : 0),
        stride_(layout == Layout::packed   ? bytes
                : layout == Layout::padded ? (bytes + 31) / 16 * 16
                                           : bytes + 5),
        layout_(layout),
        memory_(base_ + stride_ * count + 7),
        table_(count * sizeof(void*)) {
    std::vector<std::uint8_t*> pointers;
    for (std::size_t i = 0; i < count; ++i) pointers.push_back(memory_.get() + offset(i));
    table_.write({reinterpret_cast<const std::uint8_t*>(pointers.data()), count * sizeof(void*)});
  }
  Records(Layout layout, std::size_t bytes, const Bytes& packed) : Records(layout, bytes, packed.size() / bytes) {
    Bytes all(memory_.size(), 0xA5);
    for (std::size_t i = 0; i < count_; ++i) {
      for (std::size_t n = 0; n < bytes; ++n) all[offset(i) + n] = packed[i * bytes + n];
    }
    memory_.write(all);
  }

  kernels::In in() const {
    if (layout_ == Layout::table) return {nullptr, 0, table_.as<const std::uint8_t*>()};
    return {memory_.get() + base_, stride_, nullptr};
  }
  kernels::Out out() const {
    if (layout_ == Layout::table) return {nullptr, 0, table_.as<std::uint8_t*>()};
    return {memory_.get() + base_, stride_, nullptr};
  }

  // The records, packed. Throws if a byte between them has changed.
  Bytes read() const {
    Bytes all = memory_.read(), packed;
    for (std::size_t i = 0; i < count_; ++i) {
      const auto at = all.begin() + static_cast<std::ptrdiff_t>(offset(i));
      packed.insert(packed.end(), at, at + static_cast<std::ptrdiff_t>(bytes_));
      std::fill(at, at + static_cast<std::ptrdiff_t>(bytes_), std::uint8_t{0xA5});
    }
    for (const std::uint8_t byte : all) {
      if (byte != 0xA5) throw std::logic_error("a byte between records was written");
    }
    return packed;
  }

 private:
  // A table's records lie backwards.
  std::size_t offset(std::size_t i) const { return base_ + stride_ * (layout_ == Layout::table ? count_ - 1 - i : i); }

  std::size_t bytes_, count_, base_, stride_;
  Layout layout_;
  DeviceMemory memory_, table_;
};

struct Answer {
  Bytes statuses;
  std::uint64_t failed;
  Bytes workspace;  // as the launch left it
};

// For the whole program: to destroy it would be to wait for it.
inline const kernels::Fork& some_fork() {
  static const kernels::Fork fork = [] {
    kernels::Fork made;
    check(cudaStreamCreateWithFlags(&made.stream, cudaStreamNonBlocking));
    check(cudaEventCreateWithFlags(&made.parted, cudaEventDisableTiming));
    check(cudaEventCreateWithFlags(&made.met, cudaEventDisableTiming));
    return made;
  }();
  return fork;
}

// Launches with exactly the workspace asked for, at an odd address, and waits for the stream.
inline Answer run(kernels::DeviceBatch batch, bool forks = true) {
  DeviceMemory statuses(batch.count), failed(sizeof(std::uint64_t));
  batch.statuses = statuses.get();
  batch.failed = failed.as<std::uint64_t>();
  const std::size_t bytes = kernels::workspace_bytes(batch);
  DeviceMemory workspace(bytes + 1);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream));
  if (forks) {
    // A delay on one of the two streams shows a step that does not wait for it.
    static unsigned num_runs = 0;
    check(cudaLaunchHostFunc(
        num_runs++ / 2 % 2 == 0 ? some_fork().stream : stream,
        [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }, nullptr));
  }
  check(kernels::launch(batch, workspace.get() + 1, bytes, stream, forks ? some_fork() : kernels::Fork()));
  check(cudaStreamSynchronize(stream));
  check(cudaStreamDestroy(stream));
  std::uint64_t count = 0;
  check(cudaMemcpy(&count, failed.get(), sizeof count, cudaMemcpyDeviceToHost));
  return {statuses.read(), count, workspace.read()};
}

}  // namespace warpkem::kernels::test
