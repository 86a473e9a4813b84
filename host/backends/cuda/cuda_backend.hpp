// Backend over the module's table of functions.
#pragma once

#include <memory>
#include <string>

#include "host/backends/backend.hpp"
#include "host/backends/cuda/interface.hpp"

namespace warpkem::host {

class CudaBackend final : public Backend {
 public:
  CudaBackend(const cuda::Module& module, cuda::Pool* pool, std::string detail);  // owns the pool
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;
  ~CudaBackend() override;

  const BackendInfo& info() const noexcept override { return info_; }
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override;
  void submit(const Batch& batch, Completion done) noexcept override;

  const cuda::Module& module() const noexcept { return module_; }
  cuda::Pool* pool() const noexcept { return pool_; }
  const cuda::Keys* keys_of(const Batch& batch);  // makes the form if there is none yet; throws Error

 private:
  const cuda::Module& module_;
  cuda::Pool* pool_;
  BackendInfo info_;
};

}  // namespace warpkem::host
