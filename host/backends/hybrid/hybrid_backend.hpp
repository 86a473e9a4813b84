// Hybrid KEMs over any backend: its ML-KEM, a group, and hashes that combine them, laid over strided views of the same
// batch. What is no hybrid goes through unchanged, and so do hybrids that the backend has itself.
#pragma once

#include <memory>

#include "host/backends/backend.hpp"
#include "host/backends/cpu_kernels.hpp"
#include "host/backends/curve/group.hpp"
#include "host/core/hybrids.hpp"
#include "host/core/worker_pool.hpp"

namespace warpkem::host {

// What computes the halves that `ml_kem` does not have. The CPU's threads run it, also while a device does the rest.
struct HybridParts {
  const CpuKernels& hashes;
  const curve::X25519Kernels& x25519;
  bool is_device = false;  // that `ml_kem` drives
};

std::unique_ptr<Backend> with_hybrids(std::unique_ptr<Backend> ml_kem, const HybridParts& parts, WorkerPool& pool,
                                      HybridOptions options);

}  // namespace warpkem::host
