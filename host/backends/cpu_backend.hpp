// A CPU instruction set as a backend: its kernels, the engine's threads, and scratch memory for each of them.
#pragma once

#include <memory>
#include <string>

#include "host/backends/backend.hpp"
#include "host/backends/cpu_kernels.hpp"
#include "host/backends/workspaces.hpp"
#include "host/core/worker_pool.hpp"

namespace warpkem::host {

class CpuBackend final : public Backend {
 public:
  CpuBackend(const CpuKernels& kernels, WorkerPool& pool, std::string detail);

  const BackendInfo& info() const noexcept override { return info_; }
  bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept override;
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override;
  void submit(const Batch& batch, Completion done) noexcept override;

 private:
  void run(const Batch& batch);

  const CpuKernels& kernels_;
  WorkerPool& pool_;
  const BackendInfo info_;
  Workspaces workspaces_;
};

}  // namespace warpkem::host
