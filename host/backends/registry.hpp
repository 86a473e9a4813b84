// The ordered table of backends: best first. registry.cpp alone names the concrete ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "host/backends/backend.hpp"
#include "host/backends/cpu_kernels.hpp"
#include "host/core/fork_guard.hpp"
#include "host/core/hybrids.hpp"
#include "host/core/worker_pool.hpp"

namespace warpkem::host {

// Options of the engine that only the CUDA backend reads; see warpkem_options.
struct CudaOptions {
  std::string devices;
  std::size_t chunk = 0;
  std::uint32_t streams = 0;
  bool graphs = true, forks = true, kernel_copies = true;
};

// What a backend may be made from.
struct ProbeContext {
  WorkerPool& pool;
  const ForkGuard& fork_guard;
  const CudaOptions& cuda;
  const HybridOptions& hybrids;
  bool asked_for;  // by name: it must prove that it can be used
};

// A usable backend, or none and a sentence that says why.
struct ProbeResult {
  std::unique_ptr<Backend> backend;
  std::string why_not;
};

struct BackendEntry {
  const char* name;
  bool on_cpu;
  ProbeResult (*probe)(const ProbeContext& context);
};

std::span<const BackendEntry> backend_table() noexcept;

// The kernels of this CPU that hash the fastest.
const CpuKernels& best_hashes() noexcept;

}  // namespace warpkem::host
