// Backends that do as a script says, around a real one: for serve-bench and the scheduler's tests. Nothing of this is
// in the library.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "host/backends/backend.hpp"
#include "host/backends/registry.hpp"

namespace warpkem::scripted {

using host::Backend;
using host::Batch;
using host::Completion;

// What a scripted backend does with a batch; `inner` computes truly. Must call `done` once, then or later.
using Behaviour = std::function<void(Backend& inner, const Batch& batch, Completion done)>;

struct Script {
  const char* name;  // of the backend; lives as long as the engine
  bool on_cpu = true;
  std::size_t preferred_count = 1;  // 0: the inner one's
  Behaviour behaviour;
  const char* inner = "portable";  // the backend of the library's table that computes
  // What it lacks of what the inner one has; null: nothing.
  bool (*lacks)(host::Operation operation, std::uint32_t algorithm, host::DkFormat format) = nullptr;
};

// A table for Engine's constructor, one entry for each script, best first; at most 4. The table is good until the next
// call, and engines are made from it by one thread at a time.
std::span<const host::BackendEntry> table(std::vector<Script> scripts);

// Sets every status to ok and touches nothing else.
Behaviour null();
// Does as the inner backend.
Behaviour honest();
// Flips a bit of an output of each item with probability `p`; counts those in *bad.
Behaviour lying(double p, std::uint64_t seed, std::shared_ptr<std::atomic<std::uint64_t>> bad);
// With probability `p` does only a part of the batch, which is any part, and reports an error.
Behaviour failing(double p, std::uint64_t seed, Behaviour otherwise);
// Takes fixed_us + item_us * items longer.
Behaviour slow(double fixed_us, double item_us, Behaviour otherwise);

}  // namespace warpkem::scripted
