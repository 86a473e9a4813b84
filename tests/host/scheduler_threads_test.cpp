// The scheduler with its threads: wake-ups, waits, callbacks, shutdown, fork.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

using scripted::Script;

bool is_readable(int fd, int timeout_ms = 0) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

TEST(SchedulerThreads, TheEventFdIsReadableWhileTheQueueIsNotEmpty) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  Queue queue(engine);
  int fd = -1;
  check(warpkem_queue_fd(queue.get(), &fd));
  EXPECT_FALSE(is_readable(fd));
  Encaps a(oracle(), 1, 1), b(oracle(), 1, 2);
  submit(engine, a, to(queue));
  submit(engine, b, to(queue));
  for (int fetched = 0; fetched < 2; ++fetched) {
    ASSERT_TRUE(is_readable(fd, 10'000));
    ASSERT_EQ(queue.poll(1).size(), 1u);
  }
  EXPECT_FALSE(is_readable(fd));
  EXPECT_TRUE(queue.poll().empty());
}

TEST(SchedulerThreads, AWakeThatIsLeftToTheNextPollIsNotLostOnAnOlderCompletion) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  Queue queue(engine);
  int fd = -1;
  check(warpkem_queue_fd(queue.get(), &fd));
  Encaps older(oracle(), 1, 1), newer(oracle(), 1, 2);
  warpkem_submit_options will_poll = to(queue);
  will_poll.flags = WARPKEM_WILL_WAIT;
  for (int round = 0; round < 20; ++round) {
    submit(engine, older, to(queue));
    ASSERT_TRUE(is_readable(fd, 30'000));
    std::this_thread::sleep_for(std::chrono::microseconds(200));  // until the executors sleep, mostly
    submit(engine, newer, will_poll);
    std::size_t fetched = queue.poll().size();
    ASSERT_GE(fetched, 1u);
    for (; fetched < 2; fetched += queue.poll().size()) ASSERT_TRUE(is_readable(fd, 30'000));
  }
}

TEST(SchedulerThreads, NothingWaitsForADeviceThatIsOverdue) {
  Held held;
  host::SchedulerOptions options = threaded();
  options.manual_calibration = true;
  options.max_delay_ns = 100'000'000'000;
  options.device_sentinel = 0;
  TestEngine engine({{"device", false, 1, held.behaviour()}, {"cpu", true, 1, scripted::honest()}}, options);
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000, 10});
  engine.scheduler().cost_model(engine.engine().slots()[1]).calibrate({1'000, 20'000});
  Queue queue(engine);
  Encaps large(oracle(), 64, 1);
  submit(engine, large, to(queue));
  while (held.size() == 0) std::this_thread::yield();
  for (std::uint32_t i = 2; i < 6; ++i) {
    Encaps e(oracle(), 1, i);
    submit(engine, e, to(queue));
    const auto completions = queue.wait();
    ASSERT_EQ(completions.size(), 1u);
    EXPECT_EQ(completions[0].user_data, &e);
  }
  held.finish();
  EXPECT_EQ(queue.wait().size(), 1u);
}

TEST(SchedulerThreads, AQueueCanBeWaitedFor) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  Queue queue(engine);
  EXPECT_TRUE(queue.wait(1'000).empty());
  for (const std::uint32_t flags : {0u, WARPKEM_WILL_WAIT}) {
    for (std::uint32_t i = 0; i < 200; ++i) {
      Encaps e(oracle(), 1 + i % 3 * 10, i);
      warpkem_submit_options o = to(queue);
      o.flags = flags;
      submit(engine, e, o);
      ASSERT_EQ(queue.wait().size(), 1u);
      if (i % 50 == 0) {
        ASSERT_TRUE(e.is_right());
      }
    }
  }
  EXPECT_GT(engine.counters().helped, 0u);
}

TEST(SchedulerThreads, ALoneRequestWakesTheBackendThatWasAskedFor) {
  host::EngineOptions forced;
  forced.threads = 3;
  forced.backend = "device";
  TestEngine engine({{"device", false, 1, scripted::honest()}, {"cpu", true, 1, scripted::honest()}}, threaded(),
                    forced);
  Queue queue(engine);
  for (std::uint32_t i = 0; i < 50; ++i) {
    Encaps e(oracle(), 1, i);
    std::this_thread::sleep_for(std::chrono::microseconds(i * 20));  // until all executors are idle, or not quite
    submit(engine, e, to(queue));
    ASSERT_EQ(queue.wait().size(), 1u);
  }
  EXPECT_EQ(engine.engine().slots()[0].done.items(), 50u);
}

TEST(SchedulerThreads, AFailingBackendThatWasAskedForLosesNoWakeUp) {
  host::EngineOptions forced;
  forced.threads = 2;
  forced.backend = "device";
  TestEngine engine({{"device", false, 1, scripted::failing(0.5, 1, scripted::honest())},
                     {"cpu", true, 1, scripted::slow(200, 0, scripted::honest())}},
                    threaded(), forced);
  Queue queue(engine);
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < 300; ++i) {
    submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 7 * 100));
  }
  for (std::size_t n = 0; n < 300;) {
    const std::size_t more = queue.wait().size();
    ASSERT_NE(more, 0u) << "somebody sleeps over " << 300 - n << " requests";
    n += more;
  }
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
}

TEST(SchedulerThreads, AWaiterMayWantManyCompletionsAtOnce) {
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, threaded(), one_thread());
  Queue queue(engine);
  const auto wait_many = [&](std::size_t least, std::uint64_t timeout_us) {
    std::vector<warpkem_completion> completions(16);
    std::size_t n = 99;
    check(warpkem_queue_wait_many(queue.get(), completions.data(), completions.size(), least, timeout_us, &n));
    return n;
  };
  std::deque<Encaps> requests;
  const auto finish_one = [&] {
    while (held.size() == 0) std::this_thread::yield();
    held.finish();
  };
  for (std::uint32_t i = 0; i < 3; ++i) {
    submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
    while (i == 0 && held.size() == 0) std::this_thread::yield();  // alone in its batch
  }
  finish_one();
  while (held.size() == 0) std::this_thread::yield();
  EXPECT_EQ(wait_many(2, 20'000), 1u) << "the time was over";
  std::size_t all = 0;
  std::thread patient([&] { all = wait_many(5, 30'000'000); });
  for (std::uint32_t i = 3; i < 6; ++i) submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
  finish_one();
  finish_one();
  patient.join();
  EXPECT_EQ(all, 5u);
  for (std::uint32_t i = 6; i < 8; ++i) submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
  std::thread backend([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    while (engine.counters().completed != requests.size()) {
      if (held.size() != 0) held.finish();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_EQ(wait_many(16, 30'000'000), 2u) << "more will not come";
  backend.join();
  EXPECT_EQ(wait_many(0, 0), 0u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
}

struct CallbackState {
  TestEngine* engine;
  warpkem_queue* queue;
  Encaps* next;
  std::atomic<int> calls{0};
  warpkem_status wait = 0, free_queue = 0, shutdown = 0, run = 0, submit = 99;
};

TEST(SchedulerThreads, CallbacksMaySubmitButNeitherWaitNorFree) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  Queue queue(engine);
  Encaps first(oracle(), 1, 1), second(oracle(), 1, 2);
  CallbackState state{&engine, queue.get(), &second, {}};
  warpkem_submit_options o{};
  o.struct_size = sizeof o;
  o.context = &state;
  o.callback = [](void* context, const warpkem_completion* completion) {
    CallbackState& s = *static_cast<CallbackState*>(context);
    if (completion->status == WARPKEM_OK && s.calls == 0) {
      warpkem_completion c;
      std::size_t n;
      s.wait = warpkem_queue_wait(s.queue, &c, 1, 1000, &n);
      s.free_queue = warpkem_queue_free(s.queue);
      s.shutdown = warpkem_shutdown(s.engine->get(), WARPKEM_DRAIN);
      warpkem_engine_free(s.engine->get());
      warpkem_submit_options again{};
      again.struct_size = sizeof again;
      again.context = context;
      again.callback = [](void* inner, const warpkem_completion*) { ++static_cast<CallbackState*>(inner)->calls; };
      s.run = warpkem_run(s.engine->get(), &s.next->batch);
      s.submit = warpkem_submit(s.engine->get(), &s.next->batch, 1, &again, nullptr, nullptr);
    }
    ++s.calls;
  };
  submit(engine, first, o);
  check(warpkem_queue_free(nullptr));
  while (state.calls < 2) std::this_thread::yield();
  check(warpkem_shutdown(engine.get(), WARPKEM_DRAIN));
  EXPECT_EQ(state.wait, WARPKEM_WOULD_DEADLOCK);
  EXPECT_EQ(state.free_queue, WARPKEM_WOULD_DEADLOCK);
  EXPECT_EQ(state.shutdown, WARPKEM_WOULD_DEADLOCK);
  EXPECT_EQ(state.run, WARPKEM_WOULD_DEADLOCK);
  EXPECT_EQ(state.submit, WARPKEM_OK);
  EXPECT_TRUE(second.is_right());
}

TEST(SchedulerThreads, AFullQueueBlocksUntilThereIsRoomOrTheTimeIsOver) {
  Held held;
  host::SchedulerOptions options = threaded();
  options.most_items = 1;
  TestEngine engine({{"a", false, 1, held.behaviour()}}, options);
  Queue queue(engine);
  Encaps a(oracle(), 1, 1), b(oracle(), 1, 2);
  submit(engine, a, to(queue));
  warpkem_submit_options patient = to(queue);
  patient.timeout_us = 10'000;
  EXPECT_EQ(warpkem_submit(engine.get(), &b.batch, 1, &patient, nullptr, nullptr), WARPKEM_WOULD_BLOCK);
  patient.timeout_us = WARPKEM_FOREVER;
  std::thread submitter([&] { submit(engine, b, patient); });
  while (held.size() == 0) std::this_thread::yield();
  held.finish();
  EXPECT_EQ(queue.wait().size(), 1u);
  submitter.join();
  while (held.size() == 0) std::this_thread::yield();
  held.finish();
  EXPECT_EQ(queue.wait().size(), 1u);
}

TEST(SchedulerThreads, AFullQueueOfAnEngineThatWasShutDownSaysSo) {
  host::SchedulerOptions options = threaded();
  options.most_items = 1;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options);
  Queue queue(engine);
  Encaps a(oracle(), 1, 1), b(oracle(), 1, 2);
  submit(engine, a, to(queue));
  warpkem_submit_options patient = to(queue);
  patient.timeout_us = WARPKEM_FOREVER;
  std::thread waiting(
      [&] { EXPECT_EQ(warpkem_submit(engine.get(), &b.batch, 1, &patient, nullptr, nullptr), WARPKEM_ABORTED); });
  while (held.size() == 0) std::this_thread::yield();
  std::thread ending([&] { check(warpkem_shutdown(engine.get(), WARPKEM_DRAIN)); });
  waiting.join();
  held.finish();
  ending.join();
  const warpkem_submit_options o = to(queue);
  EXPECT_EQ(warpkem_submit(engine.get(), &b.batch, 1, &o, nullptr, nullptr), WARPKEM_ABORTED)
      << "there will never be room again";
  EXPECT_EQ(queue.poll().size(), 1u);
}

TEST(SchedulerThreads, ADeadlinePassesWhileEveryBackendIsStuck) {
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, threaded(), one_thread());
  Queue queue(engine);
  Encaps stuck(oracle(), 1, 1), late(oracle(), 1, 2);
  submit(engine, stuck, to(queue));
  while (held.size() == 0) std::this_thread::yield();
  warpkem_submit_options soon = to(queue);
  soon.deadline_us = 2'000;
  submit(engine, late, soon);
  const auto completions = queue.wait();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].user_data, &late);
  EXPECT_EQ(completions[0].status, WARPKEM_EXPIRED);
  held.finish();
  EXPECT_EQ(queue.wait().size(), 1u);
}

TEST(SchedulerThreads, DrainFinishesEverything) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  Queue queue(engine);
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < 300; ++i) submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
  check(warpkem_shutdown(engine.get(), WARPKEM_DRAIN));
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 300u);
  for (const auto& c : completions) EXPECT_EQ(c.status, WARPKEM_OK);
  const warpkem_submit_options o = to(queue);
  EXPECT_EQ(warpkem_submit(engine.get(), &requests[0].batch, 1, &o, nullptr, nullptr), WARPKEM_ABORTED);
  Encaps sync(oracle(), 1, 1);
  EXPECT_EQ(warpkem_run(engine.get(), &sync.batch), WARPKEM_OK);
}

// The backend has `begun`; `waiting` waits for it.
void begin_one_of_two(TestEngine& engine, Queue& queue, Held& held, Encaps& begun, Encaps& waiting) {
  submit(engine, begun, to(queue));
  while (held.size() == 0) std::this_thread::yield();
  submit(engine, waiting, to(queue));
}

void expect_aborted(Queue& queue, const Encaps& waiting) {
  const auto aborted = queue.wait();
  ASSERT_EQ(aborted.size(), 1u);
  EXPECT_EQ(aborted[0].user_data, &waiting);
  EXPECT_EQ(aborted[0].status, WARPKEM_ABORTED);
  EXPECT_TRUE(waiting.is_zero());
}

TEST(SchedulerThreads, AbortEndsWhatHasNotBegunAndTheQueueOutlivesTheEngine) {
  Held held;
  auto engine =
      std::make_unique<TestEngine>(std::vector<Script>{{"a", true, 1, held.behaviour()}}, threaded(), one_thread());
  Queue queue(*engine);
  Encaps begun(oracle(), 1, 1), waiting(oracle(), 2, 2);
  begin_one_of_two(*engine, queue, held, begun, waiting);
  std::thread ending([&] { engine.reset(); });
  expect_aborted(queue, waiting);
  held.finish();
  ending.join();
  expect_done(queue, begun);
}

TEST(SchedulerThreads, ADrainBecomesAnAbortWhenSomebodyCallsForThat) {
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, threaded(), one_thread());
  Queue queue(engine);
  Encaps begun(oracle(), 1, 1), waiting(oracle(), 2, 2);
  begin_one_of_two(engine, queue, held, begun, waiting);
  std::thread draining([&] { EXPECT_EQ(warpkem_shutdown(engine.get(), WARPKEM_DRAIN), WARPKEM_OK); });
  EXPECT_TRUE(queue.wait(20'000).empty()) << "a drain finishes what there is";
  std::thread aborting([&] { EXPECT_EQ(warpkem_shutdown(engine.get(), WARPKEM_ABORT), WARPKEM_OK); });
  expect_aborted(queue, waiting);
  held.finish();
  draining.join();
  aborting.join();
  expect_done(queue, begun);
}

TEST(SchedulerThreads, FreeingAQueueCancelsItsRequestsAndWaitsForOthers) {
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, threaded(), one_thread());
  Encaps begun(oracle(), 1, 1), waiting(oracle(), 1, 2);
  std::thread finisher;
  {
    Queue queue(engine);
    begin_one_of_two(engine, queue, held, begun, waiting);
    finisher = std::thread([&] {
      // Before that, the executor would take `waiting` when it is free, and no code of this test would finish it.
      while (engine.counters().cancelled == 0) std::this_thread::yield();
      held.finish();
    });
  }
  finisher.join();
  EXPECT_EQ(waiting.statuses[0], WARPKEM_CANCELLED);
  EXPECT_TRUE(begun.is_right());
  EXPECT_EQ(engine.counters().items, 0u);
}

TEST(SchedulerThreads, AForkedChildIsToldSoAndNeverHangs) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  Queue queue(engine);
  Encaps e(oracle(), 1, 1);
  submit(engine, e, to(queue));
  ASSERT_EQ(queue.wait().size(), 1u);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    const warpkem_submit_options o = to(queue);
    warpkem_completion c;
    std::size_t n;
    bool good = warpkem_submit(engine.get(), &e.batch, 1, &o, nullptr, nullptr) == WARPKEM_FORKED;
    good = good && warpkem_queue_poll(queue.get(), &c, 1, &n) == WARPKEM_FORKED;
    good = good && warpkem_queue_wait(queue.get(), &c, 1, 0, &n) == WARPKEM_FORKED;
    good = good && warpkem_shutdown(engine.get(), WARPKEM_DRAIN) == WARPKEM_FORKED;
    good = good && warpkem_queue_free(queue.get()) == WARPKEM_OK;
    warpkem_engine_free(new warpkem_engine{std::move(engine.get()->engine)});
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  submit(engine, e, to(queue));
  EXPECT_EQ(queue.wait().size(), 1u);
}

}  // namespace
}  // namespace warpkem::testing
