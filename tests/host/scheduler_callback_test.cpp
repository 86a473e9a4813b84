// Callbacks that throw, call other engines, and free what they are called by; and waiting for an engine that is gone.
#include <dirent.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/host/serving.hpp"
#include "warpkem/async.hpp"

namespace warpkem::testing {
namespace {

template <class Condition>
void await(Condition condition) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition() && std::chrono::steady_clock::now() < patience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(condition());
}

std::unique_ptr<TestEngine> honest(const host::SchedulerOptions& options = {}) {
  return std::make_unique<TestEngine>(std::vector<scripted::Script>{{"a", true, 1, scripted::honest()}}, options);
}

warpkem_engine* portable() {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = "portable";
  options.threads = 2;
  warpkem_engine* engine = nullptr;
  check(warpkem_engine_new(&options, &engine));
  return engine;
}

warpkem_submit_options calling(warpkem_completion_fn callback, void* context) {
  warpkem_submit_options o{};
  o.struct_size = sizeof o;
  o.callback = callback;
  o.context = context;
  return o;
}

// Runs `body` in a callback of the engine, and returns when that callback is over.
template <class Body>
void in_a_callback(warpkem_engine* engine, Body body) {
  struct Call {
    Body* body;
    std::atomic<bool> over{false};
  } call{&body};
  Encaps e(oracle(), 1, 1);
  const warpkem_submit_options o = calling(
      [](void* context, const warpkem_completion*) {
        Call& c = *static_cast<Call*>(context);
        (*c.body)();
        c.over = true;
      },
      &call);
  check(warpkem_submit(engine, &e.batch, 1, &o, nullptr, nullptr));
  while (!call.over) std::this_thread::yield();
}

warpkem_status wait_for_ever(warpkem_queue* queue, std::size_t least, std::size_t& n) {
  std::vector<warpkem_completion> completions(8);
  n = 99;
  return warpkem_queue_wait_many(queue, completions.data(), completions.size(), least, WARPKEM_FOREVER, &n);
}

TEST(QueueOfAGoneEngine, IsWaitedForOnlyWhileSomethingCanCome) {
  for (const bool drain : {true, false}) {
    for (const bool frees : {false, true}) {
      std::unique_ptr<TestEngine> engine = honest();
      Queue empty(*engine), full(*engine);
      std::deque<Encaps> requests;
      for (std::uint32_t i = 0; i < 3; ++i) submit(*engine, requests.emplace_back(oracle(), 1, i), to(full));
      check(warpkem_shutdown(engine->get(), drain ? WARPKEM_DRAIN : WARPKEM_ABORT));
      if (frees) engine.reset();
      std::size_t n;
      for (const std::size_t least : {1, 8}) {
        EXPECT_EQ(wait_for_ever(empty.get(), least, n), WARPKEM_ABORTED);
        EXPECT_EQ(n, 0u);
      }
      EXPECT_NE(std::string(warpkem_last_error()).find("shut down"), std::string::npos) << warpkem_last_error();
      EXPECT_EQ(wait_for_ever(full.get(), 8, n), WARPKEM_OK) << "completions stay in their queue";
      EXPECT_EQ(n, 3u);
      EXPECT_EQ(wait_for_ever(full.get(), 1, n), WARPKEM_ABORTED);
      EXPECT_TRUE(empty.poll().empty());
      EXPECT_TRUE(empty.wait(2'000).empty()) << "OK: the time is over";
    }
  }
}

TEST(QueueOfAGoneEngine, WhoWaitsAlreadyIsTold) {
  for (const bool frees : {false, true}) {
    std::unique_ptr<TestEngine> engine = honest();
    Queue first(*engine), second(*engine);
    { const Queue ended_before(*engine); }
    std::atomic<int> told{0};
    std::vector<std::thread> waiters;
    for (Queue* queue : {&first, &first, &second}) {
      waiters.emplace_back([&told, queue] {
        std::size_t n;
        EXPECT_EQ(wait_for_ever(queue->get(), 4, n), WARPKEM_ABORTED);
        EXPECT_EQ(n, 0u);
        ++told;
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(told, 0);
    if (frees) {
      engine.reset();
    } else {
      check(warpkem_shutdown(engine->get(), WARPKEM_DRAIN));
    }
    for (std::thread& waiter : waiters) waiter.join();
  }
}

TEST(QueueOfAGoneEngine, WaitingRacesWithTheEnd) {
  for (int round = 0; round < 30; ++round) {
    std::unique_ptr<TestEngine> engine = honest();
    Queue queue(*engine);
    Encaps e(oracle(), 1, 1);
    std::atomic<std::size_t> taken{0}, fetched{0};
    std::thread submitter([&] {
      const warpkem_submit_options o = to(queue);
      while (warpkem_submit(engine->get(), &e.batch, 1, &o, nullptr, nullptr) == WARPKEM_OK) {
        ++taken;
        while (fetched < taken) std::this_thread::yield();
      }
    });
    std::thread waiter([&] {
      for (std::size_t n; wait_for_ever(queue.get(), 1, n) == WARPKEM_OK;) fetched += n;
    });
    std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
    check(warpkem_shutdown(engine->get(), round % 2 == 0 ? WARPKEM_DRAIN : WARPKEM_ABORT));
    waiter.join();
    submitter.join();
    EXPECT_EQ(fetched, taken);
  }
}

TEST(QueueOfAGoneEngine, TheCppQueueThrows) {
  std::optional<warpkem::Engine> engine(std::in_place, warpkem::Options{.backend = "portable"});
  const warpkem::Queue queue(*engine);
  engine.reset();
  warpkem_completion completion{};
  EXPECT_EQ(queue.wait_for({&completion, 1}, std::chrono::milliseconds(1)), 0u);
  try {
    queue.wait({&completion, 1});
    ADD_FAILURE() << "nothing can have come";
  } catch (const warpkem::Error& error) {
    EXPECT_EQ(error.status(), WARPKEM_ABORTED);
  }
}

// ---- exceptions

void throw_in_turn(void* context, const warpkem_completion*) {
  const int call = static_cast<std::atomic<int>*>(context)->fetch_add(1);
  if (call % 3 == 0) throw 1;
  if (call % 3 == 1) throw std::runtime_error("a reason of its own");
}

TEST(Callbacks, ThatThrowHarmNobodyElse) {
  for (const bool abort : {false, true}) {
    struct Log {
      std::mutex mutex;
      std::string text;
    } log;
    host::SchedulerOptions options;
    options.log = [](void* context, std::uint32_t level, const char* text) {
      Log& l = *static_cast<Log*>(context);
      const std::scoped_lock lock(l.mutex);
      if (level == WARPKEM_LOG_WARNING) l.text += text;
    };
    options.log_context = &log;
    std::unique_ptr<TestEngine> engine = honest(options);
    Queue queue(*engine);
    std::atomic<int> calls{0};
    const warpkem_submit_options throws = calling(throw_in_turn, &calls);
    std::deque<Encaps> requests;
    std::size_t queued = 0;
    for (std::uint32_t i = 0; i < 300; ++i) {
      const bool to_queue = i % 5 == 4;
      const warpkem_request request =
          submit(*engine, requests.emplace_back(oracle(), i % 7 == 0 ? 3 : 1, i), to_queue ? to(queue) : throws);
      queued += to_queue;
      if (i % 11 == 0) check(warpkem_cancel(engine->get(), request));
    }
    check(warpkem_shutdown(engine->get(), abort ? WARPKEM_ABORT : WARPKEM_DRAIN));
    EXPECT_EQ(calls, 240);
    EXPECT_EQ(queue.poll().size(), queued);
    EXPECT_EQ(engine->counters().completed, 300u);
    EXPECT_EQ(engine->counters().items, 0u);
    for (const Encaps& e : requests) EXPECT_TRUE(e.failed == 0 ? e.is_right() : e.is_zero());
    EXPECT_NE(log.text.find("a reason of its own"), std::string::npos);
    EXPECT_NE(log.text.find("not a std::exception"), std::string::npos);
    engine.reset();
  }
}

TEST(Callbacks, OfOtherKindsMayThrowToo) {
  host::SchedulerOptions options;
  options.log = [](void*, std::uint32_t, const char*) { throw 2; };
  host::EngineOptions engine_options;
  engine_options.random = [](void*, std::uint8_t*, std::size_t) -> int { throw 3; };
  engine_options.threads = 1;
  // The scheduler itself draws, before the function begins to throw.
  static std::atomic<bool> throws;
  throws = false;
  engine_options.random = [](void*, std::uint8_t* out, std::size_t bytes) -> int {
    if (throws) throw 3;
    memset(out, 1, bytes);
    return 0;
  };
  TestEngine engine({{"a", true, 1, scripted::honest()}}, options, engine_options);
  Queue queue(engine);
  throws = true;
  Encaps drawn(oracle(), 2, 1), given(oracle(), 2, 2), called(oracle(), 1, 3);
  drawn.batch.flags = 0, drawn.batch.m = {};
  submit(engine, drawn, to(queue));
  EXPECT_EQ(queue.wait().at(0).status, WARPKEM_RNG_FAILED);
  EXPECT_TRUE(drawn.is_zero());
  EXPECT_EQ(warpkem_run(engine.get(), &drawn.batch), WARPKEM_RNG_FAILED);
  std::atomic<int> calls{0};
  submit(engine, called, calling(throw_in_turn, &calls));
  submit(engine, given, to(queue));
  EXPECT_EQ(queue.wait().at(0).status, WARPKEM_OK);
  EXPECT_TRUE(given.is_right());
  check(warpkem_shutdown(engine.get(), WARPKEM_DRAIN));
  EXPECT_EQ(calls, 1);
}

// ---- other engines

TEST(Callbacks, MayDoEverythingWithAnotherEngine) {
  std::unique_ptr<TestEngine> engine = honest();
  warpkem_engine* const other = portable();
  bool done = false;
  in_a_callback(engine->get(), [&] {
    EXPECT_EQ(warpkem_in_callback(), 1);
    EXPECT_EQ(warpkem_in_callback_of(engine->get()), 1);
    EXPECT_EQ(warpkem_in_callback_of(other), 0);
    Encaps sync(oracle(), 3, 1), queued(oracle(), 3, 2);
    EXPECT_EQ(warpkem_run(other, &sync.batch), WARPKEM_OK);
    EXPECT_TRUE(sync.is_right());
    warpkem_keys* keys = nullptr;
    EXPECT_EQ(warpkem_prepare_ek(other, WARPKEM_ML_KEM_512, 1, {oracle().ek.data(), oracle().ek.size(), 0}, nullptr,
                                 nullptr, &keys),
              WARPKEM_OK);
    warpkem_keys_release(keys);
    EXPECT_EQ(warpkem_selftest(other, "portable"), WARPKEM_OK);
    warpkem_queue* queue = nullptr;
    check(warpkem_queue_new(other, &queue));
    warpkem_submit_options o{};
    o.struct_size = sizeof o;
    o.queue = queue;
    for (const std::uint32_t flags : {0u, WARPKEM_WILL_WAIT}) {
      o.flags = flags;
      check(warpkem_submit(other, &queued.batch, 1, &o, nullptr, nullptr));
      std::size_t n = 0;
      EXPECT_EQ(wait_for_ever(queue, 1, n), WARPKEM_OK);
      EXPECT_EQ(n, 1u);
      EXPECT_TRUE(queued.is_right());
    }
    // A callback of the other, on a thread of its own, may use the first one no more than this one may: it would wait
    // for a thread that waits for it. It is not of that engine, so it is allowed what does not wait.
    in_a_callback(other, [&] {
      EXPECT_EQ(warpkem_in_callback_of(other), 1);
      EXPECT_EQ(warpkem_in_callback_of(engine->get()), 0);
      Encaps inner(oracle(), 1, 4);
      EXPECT_EQ(warpkem_run(other, &inner.batch), WARPKEM_WOULD_DEADLOCK);
      EXPECT_EQ(warpkem_run(engine->get(), &inner.batch), WARPKEM_OK);
    });
    EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
    EXPECT_EQ(warpkem_shutdown(other, WARPKEM_DRAIN), WARPKEM_OK);
    warpkem_engine_free(other);
    Encaps own(oracle(), 1, 3);
    EXPECT_EQ(warpkem_run(engine->get(), &own.batch), WARPKEM_WOULD_DEADLOCK);
    EXPECT_EQ(warpkem_shutdown(engine->get(), WARPKEM_DRAIN), WARPKEM_WOULD_DEADLOCK);
    done = true;
  });
  EXPECT_TRUE(done);
  EXPECT_EQ(warpkem_in_callback(), 0);
  EXPECT_EQ(warpkem_in_callback_of(engine->get()), 0);
  EXPECT_EQ(warpkem_in_callback_of(nullptr), 0);
}

TEST(Callbacks, MayWaitForRoomOfAnotherEngineOnly) {
  host::SchedulerOptions options;
  options.most_items = 1;
  std::unique_ptr<TestEngine> engine = honest(options), other = honest(options);
  Queue own(*engine), others(*other);
  Encaps a(oracle(), 1, 1), b(oracle(), 1, 2), c(oracle(), 1, 3), d(oracle(), 1, 4);
  submit(*other, a, to(others));
  std::thread fetcher;
  in_a_callback(engine->get(), [&] {
    warpkem_submit_options patient = to(own);
    submit(*engine, c, patient);
    patient.timeout_us = WARPKEM_FOREVER;
    EXPECT_EQ(warpkem_submit(engine->get(), &d.batch, 1, &patient, nullptr, nullptr), WARPKEM_WOULD_DEADLOCK);
    fetcher = std::thread([&] {
      await([&] { return other->scheduler().store()->admission.waiters() == 1; });
      EXPECT_EQ(others.wait().size(), 1u);
    });
    patient = to(others);
    patient.timeout_us = WARPKEM_FOREVER;
    submit(*other, b, patient);
  });
  fetcher.join();
  EXPECT_EQ(others.wait().size(), 1u);
  EXPECT_EQ(own.wait().size(), 1u);
}

TEST(Callbacks, TheCppWaitIsRefusedByTheirOwnEngineOnly) {
  const warpkem::Engine engine({.backend = "portable"}), other({.backend = "portable"});
  in_a_callback(engine.get(), [&] {
    Encaps e(oracle(), 1, 1);
    EXPECT_EQ(warpkem::wait(other, e.batch).status, WARPKEM_OK);
    EXPECT_TRUE(e.is_right());
    EXPECT_THROW(warpkem::wait(engine, e.batch), warpkem::Error);
  });
}

// ---- freeing

std::size_t num_threads() {
  DIR* const tasks = opendir("/proc/self/task");
  std::size_t n = 0;
  while (const dirent* const entry = readdir(tasks)) n += entry->d_name[0] != '.';
  closedir(tasks);
  return n;
}

// A chain of requests, each submitted by the callback of the one before; the first one frees the engine.
struct Chain {
  explicit Chain(warpkem_engine* e) : engine(e) {
    for (std::uint32_t i = 0; i < 20; ++i) requests.emplace_back(oracle(), 1 + i % 3, i);
  }
  static void next(void* context, const warpkem_completion* completion) {
    Chain& self = *static_cast<Chain*>(context);
    self.good = self.good && completion->status == WARPKEM_OK;
    if (self.calls == 0) warpkem_engine_free(self.engine);
    const int calls = ++self.calls;
    if (calls < 20) self.submit(static_cast<std::size_t>(calls));
  }
  void submit(std::size_t i) {
    const warpkem_submit_options o = calling(next, this);
    check(warpkem_submit(engine, &requests[i].batch, 1, &o, nullptr, nullptr));
  }

  warpkem_engine* const engine;
  std::deque<Encaps> requests;
  std::atomic<int> calls{0};
  bool good = true;
};

TEST(Callbacks, MayFreeTheirOwnEngineWhichGoesWhenAllIsDone) {
  static_cast<void>(oracle());
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  for (const bool once_more : {false, true}) {
    const std::size_t before = num_threads();
    Chain chain(portable());
    warpkem_queue* queue = nullptr;
    check(warpkem_queue_new(chain.engine, &queue));
    chain.submit(0);
    await([&] { return chain.calls == 20; });
    EXPECT_TRUE(chain.good);
    for (const Encaps& e : chain.requests) EXPECT_TRUE(e.is_right());
    if (once_more) warpkem_engine_free(chain.engine);  // as who was refused once had to
    await([&] { return num_threads() == before; });
    std::size_t n;
    EXPECT_EQ(wait_for_ever(queue, 1, n), WARPKEM_ABORTED);
    EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
  }
}

TEST(Callbacks, MayEndACppEngineAndItsQueue) {
  static_cast<void>(oracle());
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  const std::size_t before = num_threads();
  struct Owner {
    std::optional<warpkem::Engine> engine{std::in_place, warpkem::Options{.backend = "portable"}};
    std::optional<warpkem::Queue> queue{std::in_place, *engine};
    std::deque<Encaps> requests;
  } owner;
  for (std::uint32_t i = 0; i < 50; ++i) owner.requests.emplace_back(oracle(), 1, i);
  warpkem_engine* const handle = owner.engine->get();
  in_a_callback(handle, [&] {
    for (const Encaps& e : owner.requests) EXPECT_EQ(warpkem::submit(*owner.engine, *owner.queue, {&e.batch, 1}), 1u);
    owner.queue.reset();
    owner.engine.reset();
  });
  await([&] { return num_threads() == before; });
  warpkem_engine_free(handle);  // once more: returns when the engine's last write is seen here
  for (const Encaps& e : owner.requests) EXPECT_TRUE(e.failed == 0 ? e.is_right() : e.is_zero());
}

TEST(Callbacks, AQueueThatIsFreedLaterTakesNothingWithIt) {
  std::unique_ptr<TestEngine> engine = honest();
  std::deque<Encaps> requests;
  for (int round = 0; round < 50; ++round) {
    warpkem_queue* queue = nullptr;
    check(warpkem_queue_new(engine->get(), &queue));
    warpkem_submit_options o{};
    o.struct_size = sizeof o;
    o.queue = queue;
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(round % 5); ++i) {
      submit(*engine, requests.emplace_back(oracle(), 1 + i, i), o);
      if (round % 7 == 0) std::this_thread::yield();
    }
    if (round % 2 == 0) {
      warpkem_queue_free_later(queue);
    } else {
      in_a_callback(engine->get(), [&] {
        EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_WOULD_DEADLOCK);
        warpkem_queue_free_later(queue);
      });
    }
  }
  warpkem_queue_free_later(nullptr);
  check(warpkem_shutdown(engine->get(), WARPKEM_DRAIN));
  EXPECT_EQ(engine->counters().items, 0u);
  EXPECT_EQ(engine->counters().submitted, engine->counters().completed);
  for (const Encaps& e : requests) EXPECT_TRUE(e.failed == 0 ? e.is_right() : e.is_zero());
}

}  // namespace
}  // namespace warpkem::testing
