// The ordered table of backends: best first. registry.cpp alone names the concrete ones.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "host/backends/backend.hpp"
#include "host/fork_guard.hpp"
#include "host/worker_pool.hpp"

namespace warpkem::host {

// What a backend may be made from.
struct ProbeContext {
  WorkerPool& pool;
  const ForkGuard& fork_guard;
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

}  // namespace warpkem::host
