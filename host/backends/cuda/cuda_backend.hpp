// Backend over the module's table of functions.
#pragma once

#include <memory>
#include <string>

#include "host/backends/backend.hpp"
#include "host/backends/cuda/interface.hpp"

namespace warpkem::host {

class CudaBackend final : public Backend, private DeviceResident {
 public:
  CudaBackend(const cuda::Module& module, cuda::Pool* pool, std::string detail);  // owns the pool
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;
  ~CudaBackend() override;

  const BackendInfo& info() const noexcept override { return info_; }
  bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept override;
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override;
  void submit(const Batch& batch, Completion done) noexcept override;

  DeviceResident* device_resident() noexcept override { return this; }
  bool is_device_pointer(const void* pointer) const noexcept override {
    return module_.is_device_pointer(pool_, pointer);
  }
  std::uint64_t kept_bytes() const noexcept override { return module_.kept_bytes(pool_); }

 private:
  void* allocate(MemoryKind kind, std::size_t bytes) override;
  void release(MemoryKind kind, std::size_t bytes, void* memory) noexcept override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void synchronize(void* stream) override;
  std::size_t workspace_bytes(const Batch& batch, std::size_t* failed, bool draw_randomness) override;
  void enqueue(const Batch& batch, std::size_t* failed, bool draw_randomness, RandomSource random, void* workspace,
               std::size_t workspace_bytes, void* stream) override;

  const cuda::Module& module_;
  cuda::Pool* pool_;
  BackendInfo info_;
};

}  // namespace warpkem::host
