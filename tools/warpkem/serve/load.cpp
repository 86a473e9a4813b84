#include "tools/warpkem/serve/load.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/serve/clock.hpp"
#include "tools/warpkem/serve/producer.hpp"
#include "tools/warpkem/serve/stalls.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

std::uint64_t rss_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Says that the engine runs, and that it does no longer.
class Announcement {
 public:
  Announcement(const Running& running, warpkem_engine* engine) : running_(running) { say(engine); }
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;
  ~Announcement() { say(nullptr); }

 private:
  void say(warpkem_engine* engine) const {
    if (running_) running_(engine);
  }
  const Running& running_;
};

void add(ServeReport& report, const ServeReport& of_producer) {
  report.offered += of_producer.offered;
  report.accepted += of_producer.accepted;
  report.completed += of_producer.completed;
  report.refused += of_producer.refused;
  report.failed += of_producer.failed;
  report.cancelled += of_producer.cancelled;
  report.expired += of_producer.expired;
  report.expected_failures += of_producer.expected_failures;
  report.verified += of_producer.verified;
  report.verified_drawn += of_producer.verified_drawn;
  report.lost += of_producer.lost;
  report.duplicated += of_producer.duplicated;
  report.wrong += of_producer.wrong;
  report.latency_ns.merge(of_producer.latency_ns);
}

// Runs the producers until the load ends.
void run(LoadState& state, std::vector<std::unique_ptr<Producer>>& producers, ServeReport& report) {
  const ServeOptions& options = state.options;
  const double cpu_before = cpu_seconds();
  const std::uint64_t begin = now_ns();
  Threads threads([&] { state.stop = true; });
  for (std::size_t i = 0; i < producers.size(); ++i) {
    const std::string name = fmt::format("producer {} of --producers {}", i + 1, producers.size());
    const auto produce = [&p = *producers[i], name] {
      try {
        p.run();
      } catch (const std::exception& error) {
        write_stderr({"warpkem: ", name, ": ", error.what(), "\n"});
        ++p.report.failed;
      }
    };
    threads.start(name, [&] { return std::thread(produce); });
  }
  StallWatch stalls;
  std::atomic<bool> over{false};
  Threads timekeeper([&] { over = true; });
  timekeeper.start("the clock", [&] {
    return std::thread([&] {
      for (std::uint64_t second = 1; !over; ++second) {
        while (!over && now_ns() < begin + second * 1'000'000'000) {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          if (options.requests == 0 && static_cast<double>(now_ns() - begin) >= options.seconds * 1e9)
            state.stop = true;
        }
        report.rss_bytes.push_back(rss_bytes());
      }
    });
  });
  threads.join();
  report.elapsed_seconds = static_cast<double>(now_ns() - begin) * 1e-9;
  report.cpu_seconds = cpu_seconds() - cpu_before;
  over = true;
  timekeeper.join();
  report.stall_ns = stalls.stop();
  for (const auto& producer : producers) add(report, producer->report);
}

}  // namespace

void configure(warpkem_engine* engine, const ServeOptions& options) {
  warpkem_scheduler_options scheduler{};
  scheduler.struct_size = sizeof scheduler;
  scheduler.max_items = options.queue_items();
  scheduler.max_delay_us = options.max_delay_us;
  scheduler.cpu_sentinel = options.sentinel;
  scheduler.device_sentinel = options.sentinel > 0 ? options.sentinel : -1;  // 0 would be the default
  check(warpkem_configure(engine, &scheduler));
}

void read_metrics(warpkem_engine* engine, ServeReport& report) {
  report.counters.struct_size = sizeof report.counters;
  check(warpkem_metrics(engine, &report.counters, nullptr, 0, nullptr));
  std::size_t count = 0;
  check(warpkem_batch_sizes(engine, nullptr, 0, &count));
  report.batch_sizes.resize(count);
  check(warpkem_batch_sizes(engine, report.batch_sizes.data(), count, nullptr));
  check(warpkem_usages(engine, nullptr, 0, &count));
  report.usages.resize(count);
  check(warpkem_usages(engine, report.usages.data(), count, nullptr));
  for (const warpkem_backend_info& backend : backends_of(engine)) {
    if (backend.available != 0) report.items_by_backend[backend.name] = backend.items;
  }
}

ServeReport load(warpkem_engine* engine, bool computes, const ServeOptions& options, const Running& running) {
  if (options.verifies() && !computes) throw Error("the null backend computes nothing that could be verified");
  const Engine portable("portable", 1);
  // Known answers are compared in no time; what only the engine knows the randomness of takes portable to check.
  const double drawn = options.drawn >= 0 ? options.drawn : options.verifies() ? 1.0 / 64 : 0.5;
  LoadState state{options,
                  engine,
                  {options.mix, portable.get()},
                  computes,
                  drawn,
                  portable.get(),
                  static_cast<std::int64_t>(options.requests),
                  {options.rate, options.queue_items(), options.seed, options.producers}};
  ServeReport report;
  // Twice a producer's share of the queue: a producer without a free request passes its turn on, and the next must be
  // woken.
  const std::size_t share = std::min(options.queue_items(), 2 * options.queue_items() / options.producers);
  const std::size_t requests = options.rate > 0 ? share + options.hand_over : options.outstanding;
  std::vector<std::unique_ptr<Producer>> producers;
  for (std::size_t i = 0; i < options.producers; ++i) {
    producers.push_back(std::make_unique<Producer>(state, i, requests));
  }
  {
    const Announcement announcement(running, engine);
    run(state, producers, report);
  }
  if (report.lost == 0) {
    check(warpkem_shutdown(engine, WARPKEM_DRAIN));
  } else {
    // A shutdown would wait for what is lost. So the memory that the engine may still write to stays.
    for (auto& producer : producers) static_cast<void>(producer.release());
  }
  read_metrics(engine, report);
  return report;
}

ServeReport serve(const ServeOptions& options, const Running& running) {
  auto engine =
      std::make_unique<Engine>(options.backend, options.threads, options.free_threads ? 0 : WARPKEM_PIN_THREADS);
  configure(engine->get(), options);
  ServeReport report = load(engine->get(), true, options, running);
  if (report.lost != 0) static_cast<void>(engine.release());
  return report;
}

}  // namespace warpkem::tool
