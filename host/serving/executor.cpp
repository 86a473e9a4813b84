#include "host/serving/executor.hpp"

#include <algorithm>
#include <utility>

namespace warpkem::host {

void Executor::expect(BatchRun& run, std::uint64_t service_ns, std::uint64_t now) noexcept {
  run.expected_ns = service_ns;
  expected_ns += service_ns;
  busy_until_ns = std::max(now, busy_until_ns) + service_ns;
}

void Executor::forget(BatchRun& run) noexcept {
  const std::uint64_t service_ns = std::exchange(run.expected_ns, 0);
  expected_ns -= service_ns;
  busy_until_ns -= std::min(busy_until_ns, service_ns);
}

std::uint64_t Executor::finish(BatchRun& run, std::uint64_t now) noexcept {
  forget(run);
  busy_until_ns = now + expected_ns;
  const bool in_order = finished_began_ns <= run.began_ns;
  const std::uint64_t since = in_order ? std::max(run.began_ns, finished_ns) : run.began_ns;
  finished_ns = now;
  finished_began_ns = run.began_ns;
  return since;
}

}  // namespace warpkem::host
