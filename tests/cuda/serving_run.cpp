// One run of the scheduler over the CUDA backend with CPU backends behind, for serving_sweep.py: clients on several
// threads submit, cancel, let expire and give bad keys while the emulator, or this program, lets the device fail.
// Whatever becomes of it, every request completes exactly once, with right results or as it was asked to.
//
//     serving_run SEED REQUESTS finish|drain|abort none|hang|corrupt
//
// With an odd SEED all work goes to the device while it lives, with an even one CPU backends work beside it. REQUESTS
// are each client's. With drain and abort the engine is shut down in the middle: as soon as the device has failed, and
// otherwise soon.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "host/backends/cuda/cuda_module.hpp"
#include "host/backends/cuda/interface.hpp"
#include "tests/cuda/runtime_calls.hpp"
#include "tests/host/clients.hpp"

namespace warpkem::testing {
namespace {

std::uint64_t seed;
std::size_t num_requests;
std::string_view ending, trouble;

constexpr std::size_t num_clients = 3;

// Small chunks, so that there are many; a device that hangs is given up soon.
host::ProbeResult probe_cuda(const host::ProbeContext&) {
  const char* const kernel_copies = std::getenv("WARPKEM_CUDA_KERNEL_COPIES");
  const cuda::Options options{.chunk = 16,
                              .streams = 2,
                              .stuck_ms = trouble == "hang" ? 500u : 0u,
                              .kernel_copies = kernel_copies == nullptr || *kernel_copies == '1'};
  host::ProbeResult result;
  result.backend = host::cuda_module::make_backend(options, true, result.why_not);
  return result;
}

// Whether the module would still make a backend of the device.
bool device_is_lost() {
  std::string why_not;
  return host::cuda_module::make_backend({}, false, why_not) == nullptr &&
         why_not.find("lost to this process") != std::string::npos;
}

TEST(ServingOnAFailingDevice, LosesNothing) {
  std::mt19937_64 random(seed);
  host::SchedulerOptions options;
  options.most_items = 60 + random() % 200;
  options.batch_items = 8 + random() % 32;
  options.device_sentinel = trouble == "corrupt" ? 1 : 0;
  options.manual_calibration = true;
  std::vector<host::BackendEntry> table(host::backend_table().begin(), host::backend_table().end());
  for (host::BackendEntry& entry : table) {
    if (std::string_view(entry.name) == "cuda") entry.probe = &probe_cuda;
  }
  host::EngineOptions engine_options;
  engine_options.threads = 2;
  const bool forced = seed % 2 == 1;
  if (forced) engine_options.backend = "cuda";

  static_cast<void>(answers());
  TestEngine engine(table, options, engine_options);
  const host::Engine::Slot& cuda = *engine.engine().preferred();
  ASSERT_STREQ(cuda.entry->name, "cuda") << "the device is not usable from the start";
  // Beside CPU backends it gets work only where it seems to be worth it.
  if (!forced) engine.scheduler().cost_model(cuda).calibrate({0, 1});
  const auto print_calls = [](const char* when) {
    for (const test::CallCounter& counter : test::runtime_calls()) {
      printf("calls %s %s %ld\n", when, counter.name, counter.calls.load());
    }
  };
  print_calls("before");
  if (trouble == "corrupt") test::corrupt_from_copy = 6;

  Totals totals;
  std::deque<Client> clients;
  for (std::size_t i = 0; i < num_clients; ++i) clients.emplace_back(engine, seed * 100 + i, 8 + random() % 60, totals);
  std::vector<std::thread> threads;
  std::atomic<std::size_t> running{num_clients};
  for (Client& client : clients) {
    threads.emplace_back([&] {
      client.run(num_requests);
      --running;
    });
  }
  if (trouble == "hang") {
    while (cuda.done.items() < 20 && running != 0) std::this_thread::yield();
    test::device_hangs = true;
  }
  if (ending != "finish") {
    for (int ms = 0; ms < 3000 && running != 0 && engine.counters().redone == 0; ++ms) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    check(warpkem_shutdown(engine.get(), ending == "drain" ? WARPKEM_DRAIN : WARPKEM_ABORT));
  }
  for (std::thread& thread : threads) thread.join();
  for (Client& client : clients) client.finish();
  check(warpkem_shutdown(engine.get(), WARPKEM_DRAIN));
  print_calls("after");

  const warpkem_counters counters = engine.counters();
  EXPECT_EQ(counters.items, 0u);
  EXPECT_EQ(counters.bytes, 0u);
  EXPECT_EQ(counters.submitted, counters.completed);
  EXPECT_EQ(counters.submitted, totals.requests);
  EXPECT_EQ(counters.aborted, totals.aborted);
  if (ending == "finish") {
    EXPECT_EQ(totals.requests, num_clients * num_requests);
  }
  // A corrupted item may be one that is cancelled or bad anyway; every other is noticed, for the clients look at all.
  EXPECT_EQ(counters.quarantines, counters.mismatched != 0 ? 1u : 0u);
  if (trouble != "corrupt") {
    EXPECT_EQ(counters.mismatched, 0u);
  }
  const auto print = [](const char* name, std::uint64_t value) {
    printf("%s %llu\n", name, static_cast<unsigned long long>(value));
  };
  print("requests", totals.requests);
  print("cancelled", totals.cancelled);
  print("expired", totals.expired);
  print("aborted", totals.aborted);
  print("redone", counters.redone);
  print("mismatched", counters.mismatched);
  print("on_device", cuda.done.items());
  print("lost_device", device_is_lost() ? 1 : 0);
}

}  // namespace
}  // namespace warpkem::testing

int main(int argc, char** argv) {
  using namespace warpkem::testing;
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 5) return 2;
  seed = std::strtoull(argv[1], nullptr, 10);
  num_requests = std::strtoul(argv[2], nullptr, 10);
  ending = argv[3], trouble = argv[4];
  return RUN_ALL_TESTS();
}
