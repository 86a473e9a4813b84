#include "bench/serve/virtual_time.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <tuple>

#include "host/api/seam.hpp"
#include "tests/support/scripted_backend.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/serve/request.hpp"

namespace warpkem::bench {

namespace {

class SimulatedClock final : public host::Clock {
 public:
  std::uint64_t now_ns() const noexcept override { return now; }
  std::uint64_t now = 1'000'000'000;
};

// A device that takes a modelled time for each batch and does one after the other.
struct SimulatedDevice {
  struct Running {
    std::uint64_t end_ns;
    host::Batch batch;
    host::Completion done;
  };
  static constexpr std::uint64_t fixed_ns = 20'000, item_ns = 500;

  SimulatedClock& clock;
  std::deque<Running> running;
  std::map<std::tuple<host::Operation, std::uint32_t, const void*>, std::uint64_t> longest_ns;  // of each kind

  scripted::Behaviour behaviour() {
    return [this](host::Backend&, const host::Batch& batch, host::Completion done) {
      const std::uint64_t service = fixed_ns + item_ns * batch.count;
      const std::uint64_t begin = std::max(clock.now, running.empty() ? 0 : running.back().end_ns);
      running.push_back({begin + service, batch, done});
      std::uint64_t& longest = longest_ns[{batch.operation, batch.algorithm, batch.keys}];
      longest = std::max(longest, service);
    };
  }
};

}  // namespace

tool::ServeReport serve_virtually(const tool::ServeOptions& options) {
  SimulatedClock clock;
  SimulatedDevice device{clock, {}, {}};
  host::SchedulerOptions scheduler_options;
  scheduler_options.threads = false;
  scheduler_options.clock = &clock;
  scheduler_options.device_sentinel = 0;
  if (options.max_items != 0) scheduler_options.most_items = options.max_items;
  scheduler_options.max_delay_ns = options.max_delay_us * std::uint64_t{1000};
  auto handle = std::make_unique<warpkem_engine>(std::make_shared<host::Engine>(
      host::EngineOptions{}, scripted::table({{"simulated", false, 1, device.behaviour(), "portable"}})));
  handle->lazy_scheduler.configure(scheduler_options);
  host::Scheduler& scheduler = handle->scheduler();
  const tool::Engine portable("portable", 1);
  const tool::RequestMix mix(options.mix, portable.get());

  tool::ServeReport report;
  warpkem_queue* queue = nullptr;
  tool::check(warpkem_queue_new(handle.get(), &queue));
  warpkem_submit_options submit_options{};
  submit_options.struct_size = sizeof submit_options;
  submit_options.queue = queue;
  std::deque<tool::Request> requests;
  std::vector<std::size_t> free;
  std::mt19937_64 random(options.seed);
  const std::uint64_t begin = clock.now;
  const std::uint64_t end_ns = begin + static_cast<std::uint64_t>(options.seconds * 1e9);
  // An open loop has the moment of the next request, a closed one has requests that came back.
  const bool is_open = options.rate > 0;
  std::exponential_distribution<> gap(is_open ? options.rate * 1e-9 : 1);
  double arrival = static_cast<double>(begin) + gap(random);
  std::size_t in_hand = is_open ? 0 : options.producers * options.outstanding;
  bool full = false;  // until something comes back
  const auto next_arrival = [&] {
    std::uint64_t at = in_hand != 0 && !full ? clock.now : host::never;
    if (is_open) at = static_cast<std::uint64_t>(arrival);
    const bool is_over = options.requests != 0 ? report.offered >= options.requests : at >= end_ns;
    return is_over ? host::never : at;
  };
  std::vector<warpkem_completion> completions(4096);
  for (;;) {
    std::uint64_t next = host::never;
    while (scheduler.step(next)) {
    }
    next = std::min(next, next_arrival());
    if (!device.running.empty()) next = std::min(next, device.running.front().end_ns);
    if (next == host::never) break;  // nothing will ever happen again: what is left is lost
    clock.now = std::max(clock.now, next);
    while (!device.running.empty() && device.running.front().end_ns <= clock.now) {
      const SimulatedDevice::Running done = device.running.front();
      device.running.pop_front();
      std::fill_n(done.batch.statuses, done.batch.count, std::uint8_t{0});
      done.done.call(done.done.context, {});
    }
    while (next_arrival() <= clock.now) {
      if (free.empty()) {
        free.push_back(requests.size());
        requests.emplace_back();
      }
      const std::size_t i = free.back();
      free.pop_back();
      tool::Request& request = requests[i];
      request.prepare(mix.pick(random), i);
      request.intended_ns = is_open ? static_cast<std::uint64_t>(arrival) : clock.now;
      request.in_flight = true;
      ++report.offered;
      warpkem_batch batch{};
      request.describe(batch, i, false);
      const warpkem_status status = warpkem_submit(handle.get(), &batch, 1, &submit_options, nullptr, nullptr);
      if (status == WARPKEM_WOULD_BLOCK) {
        ++report.refused;
        request.in_flight = false;
        free.push_back(i);
        full = !is_open;
      } else {
        tool::check(status);
        ++report.accepted;
        if (!is_open) --in_hand;
      }
      if (is_open) arrival += gap(random);
    }
    std::size_t n = 0;
    do {
      tool::check(warpkem_queue_poll(queue, completions.data(), completions.size(), &n));
      for (std::size_t k = 0; k < n; ++k) {
        const auto i = reinterpret_cast<std::size_t>(completions[k].user_data);
        tool::Request& request = requests[i];
        if (!request.in_flight) {
          ++report.duplicated;
          continue;
        }
        request.in_flight = false;
        free.push_back(i);
        ++report.completed;
        if (completions[k].status != WARPKEM_OK) ++report.failed;
        report.latency_ns.add(clock.now - request.intended_ns);
        if (!is_open) ++in_hand, full = false;
      }
    } while (n != 0);
  }
  report.lost = report.accepted - report.completed;
  report.elapsed_seconds = static_cast<double>(clock.now - begin) * 1e-9;
  report.bound_us = static_cast<double>(options.max_delay_us);
  for (const auto& [kind, longest] : device.longest_ns) report.bound_us += 2e-3 * static_cast<double>(longest);
  tool::read_metrics(handle.get(), report);
  report.items_by_backend["simulated"] = report.completed;
  if (report.lost == 0) {
    tool::check(warpkem_queue_free(queue));
    tool::check(warpkem_shutdown(handle.get(), WARPKEM_ABORT));
  } else {
    static_cast<void>(handle.release());
  }
  return report;
}

}  // namespace warpkem::bench
