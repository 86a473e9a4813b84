// Memory runs out in the scheduler, over backends that fail besides, that err and are found out, and that are devices:
// what is redone, checked or never begun completes exactly once too (tests/support/memory_sweep.hpp). For some
// allocations, for all of them with WARPKEM_LONG_TESTS.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/host/serving.hpp"
#include "tests/support/memory_sweep.hpp"

namespace warpkem::test {

namespace {

using warpkem::testing::TestEngine;

// Devices come first, then the CPU.
std::unique_ptr<TestEngine> make(std::vector<scripted::Script> scripts, double sentinel,
                                 std::size_t pairwise_every = 2) {
  host::EngineOptions engine;
  engine.threads = 2;
  engine.random = [](void*, std::uint8_t* out, std::size_t bytes) {
    memset(out, 7, bytes);
    return 0;
  };
  engine.pairwise_every = pairwise_every;
  host::SchedulerOptions options;
  options.cpu_sentinel = options.device_sentinel = sentinel;
  options.most_items = 7 * n;
  options.manual_calibration = true;
  try {
    const LibraryCall inside;
    return std::make_unique<TestEngine>(std::move(scripts), options, engine);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void submit_and_collect(TestEngine& engine) {
  {
    Submitter submitter(engine.get());
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < n; ++i) submitter.add(WARPKEM_OP_KEYGEN, i, 1u);
      submitter.submit({});
      for (std::size_t i = 0; i < n; ++i) submitter.add(WARPKEM_OP_DECAPS, i, 1u);
      submitter.submit({.deadline_us = 1'000'000'000, .request_class = WARPKEM_BULK});
      submitter.add(WARPKEM_OP_ENCAPS, 0u, n, true);
      submitter.submit({.called_back = true});
      submitter.collect();
    }
    submitter.check(false);
    submitter.free_queue();
  }
  recover(engine.get());
}

void failing_backends() {
  const auto engine = make({{"device", false, 4, scripted::failing(0.5, 1, scripted::honest())},
                            {"quick", true, 1, scripted::failing(0.5, 2, scripted::honest())},
                            {"sound", true, 1, scripted::honest()}},
                           0);
  if (engine != nullptr) submit_and_collect(*engine);
}

void checked_backends() {
  const auto engine = make({{"device", false, 1, scripted::honest()}, {"sound", true, 1, scripted::honest()}}, 1);
  if (engine != nullptr) submit_and_collect(*engine);
}

// The first of two backends errs. Without memory for a check what it did is believed, but not once it was found out.
void found_out() {
  results_may_be_wrong = true;
  const auto bad = std::make_shared<std::atomic<std::uint64_t>>(0);
  // (Its tests of key pairs would be wrong, too.)
  const auto engine =
      make({{"liar", true, 1, scripted::lying(1, 3, bad)}, {"sound", true, 1, scripted::honest()}}, 1, 0);
  if (engine == nullptr) return;
  submit_and_collect(*engine);
  const host::Engine::Slot& liar = engine->engine().slots()[0];
  const bool is_found_out = engine->counters().mismatched != 0;
  if (liar.quarantined.load() != is_found_out) problem("it is %sin quarantine", is_found_out ? "not " : "");
}

// The device is the only one that may do anything: without its executor nothing may be taken.
void forced_device() {
  host::EngineOptions engine;
  engine.threads = 2;
  engine.backend = "device";
  engine.fail_over = false;
  engine.random = [](void*, std::uint8_t* out, std::size_t bytes) {
    memset(out, 7, bytes);
    return 0;
  };
  std::unique_ptr<TestEngine> made;
  try {
    const LibraryCall inside;
    made = std::make_unique<TestEngine>(
        std::vector<scripted::Script>{{"sound", true, 1, scripted::honest()}, {"device", false, 1, scripted::honest()}},
        host::SchedulerOptions{}, engine);
  } catch (const std::bad_alloc&) {
  }
  if (made != nullptr) submit_and_collect(*made);
}

constexpr Scenario scenarios[] = {
    {"failing", failing_backends}, {"checked", checked_backends}, {"found_out", found_out}, {"forced", forced_device}};

class SchedulerMemory : public ::testing::TestWithParam<std::tuple<Scenario, bool, bool>> {
 public:
  static std::string name(const ::testing::TestParamInfo<ParamType>& info) {
    const auto& [scenario, only_others, all_that_follow] = info.param;
    return std::string(scenario.name) + (only_others ? "_engines_threads" : "_all_threads") +
           (all_that_follow ? "_from_then_on" : "_once");
  }
};

TEST_P(SchedulerMemory, LosesNothing) {
  const auto& [scenario, only_others, all_that_follow] = GetParam();
  MemoryPlan plan;
  plan.only_other_threads = only_others;
  EXPECT_GT(count_allocations(scenario, plan), 0);
  sweep(scenario, plan, all_that_follow, getenv("WARPKEM_LONG_TESTS") != nullptr ? 1 : 4);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, SchedulerMemory,
                         ::testing::Combine(::testing::ValuesIn(scenarios), ::testing::Bool(), ::testing::Bool()),
                         SchedulerMemory::name);

}  // namespace

}  // namespace warpkem::test
