// A CPU instruction set as a backend: its kernels, the engine's threads, and scratch memory for each of them.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "host/backends/backend.hpp"
#include "host/backends/cpu_kernels.hpp"
#include "host/core/secure.hpp"
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

  // Scratch memory that is lent to a running thread: as many pieces are made as ever ran at once.
  class Workspace {
   public:
    explicit Workspace(CpuBackend& backend);
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    std::uint8_t* data() const noexcept { return buffer_.data(); }

   private:
    CpuBackend& backend_;
    SecureBuffer buffer_;
  };

  const CpuKernels& kernels_;
  WorkerPool& pool_;
  const BackendInfo info_;
  const std::size_t workspace_bytes_;
  std::mutex mutex_;
  std::vector<SecureBuffer> idle_workspaces_;
};

}  // namespace warpkem::host
