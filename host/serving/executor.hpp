// Executors: the threads that form batches and hand them to backends.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "host/engine/engine.hpp"
#include "host/serving/batch_run.hpp"

namespace warpkem::host {

// One for each core, with all CPU backends, and one for each device.
struct Executor {
  bool on_cpu = true;
  std::vector<Engine::Slot*> slots;  // best first
  std::size_t depth = 1;             // batches in flight at the most

  // Guarded by the scheduler's mutex.
  std::size_t in_flight = 0;
  enum class State : std::uint8_t {
    awake,
    idle,    // to be woken for new work
    parked,  // full, or the work that is there is left to another
  };
  State state = State::awake;
  std::uint64_t busy_until_ns = 0;                       // as expected
  std::uint64_t expected_ns = 0;                         // of busy time, for the batches in flight
  std::uint64_t finished_ns = 0, finished_began_ns = 0;  // of the batch that finished last
  std::condition_variable wake;
  std::thread thread;

  void expect(BatchRun& run, std::uint64_t service_ns, std::uint64_t now) noexcept;
  void forget(BatchRun& run) noexcept;
  // The run's backend is done with it. Returns when the backend began with it, as far as the executor can tell: if
  // batches finish in order, not before the end of the one before.
  std::uint64_t finish(BatchRun& run, std::uint64_t now) noexcept;
};

}  // namespace warpkem::host
