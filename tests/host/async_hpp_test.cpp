// The C++20 face of submission: wait, wait_for, queues, coroutines.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "tests/host/serving.hpp"
#include "warpkem/warpkem.hpp"

namespace warpkem::testing {
namespace {

const Oracle& oracle_768() {
  static const Oracle o(WARPKEM_ML_KEM_768);
  return o;
}

// A coroutine that nobody waits for.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Detached agree(const warpkem::Engine& engine, const Encaps& first, const Encaps& second, std::atomic<int>& done) {
  const warpkem_completion a = co_await async(engine, first.batch);
  const warpkem_completion b = co_await async(engine, second.batch);
  EXPECT_EQ(a.user_data, &first);
  EXPECT_EQ(b.user_data, &second);
  EXPECT_EQ(a.status | b.status, WARPKEM_OK);
  ++done;
}

TEST(AsyncHpp, CoroutinesAwaitRequestAfterRequest) {
  const warpkem::Engine engine({.backend = "portable"});
  std::deque<Encaps> requests;
  std::atomic<int> done{0};
  for (std::uint32_t i = 0; i < 40; ++i) requests.emplace_back(oracle_768(), 1, i);
  for (std::size_t i = 0; i < 40; i += 2) agree(engine, requests[i], requests[i + 1], done);
  while (done != 20) std::this_thread::yield();
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
  EXPECT_EQ(warpkem_shutdown(engine.get(), WARPKEM_DRAIN), WARPKEM_OK);
}

TEST(AsyncHpp, AnAwaitableThatIsNotTakenThrows) {
  const warpkem::Engine engine({.backend = "portable"});
  Encaps wrong(oracle_768(), 1, 1);
  wrong.batch.K_out.bytes = 1;
  bool threw = false;
  [](const warpkem::Engine& e, const Encaps& w, bool& flag) -> Detached {
    try {
      static_cast<void>(co_await async(e, w.batch));
    } catch (const warpkem::Error& error) {
      flag = error.status() == WARPKEM_INVALID_ARGUMENT;
    }
  }(engine, wrong, threw);
  EXPECT_TRUE(threw);
}

TEST(AsyncHpp, WaitAndWaitFor) {
  const warpkem::Engine engine({.backend = "portable"});
  Encaps a(oracle_768(), 2, 1), b(oracle_768(), 1, 2);
  EXPECT_EQ(wait(engine, a.batch).status, WARPKEM_OK);
  EXPECT_TRUE(a.is_right());
  EXPECT_EQ(wait_for(engine, b.batch, std::chrono::seconds(30)).status, WARPKEM_OK);
  EXPECT_TRUE(b.is_right());
}

// The engine's randomness, which can be held up: whoever draws m is then in the middle of a batch.
class Gate {
 public:
  static int fill(void* context, std::uint8_t* out, std::size_t bytes) {
    Gate& self = *static_cast<Gate*>(context);
    std::unique_lock lock(self.mutex_);
    ++self.waiting_;
    self.changed_.notify_all();
    self.changed_.wait(lock, [&] { return self.open_; });
    --self.waiting_;
    for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(self.next_++ * 37);
    return 0;
  }
  void close() {
    const std::scoped_lock lock(mutex_);
    open_ = false;
  }
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool is_open() {
    const std::scoped_lock lock(mutex_);
    return open_;
  }
  void await_somebody() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ != 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  unsigned waiting_ = 0;
  std::uint64_t next_ = 1;
};

// An engine of one thread, and a request in the midst of which that thread stands until the gate opens.
class AsyncHppHeldUp : public ::testing::Test {
 protected:
  AsyncHppHeldUp() : engine_({.backend = "portable", .threads = 1, .random = &Gate::fill, .random_context = &gate_}) {
    warpkem_scheduler_options bounds{};
    bounds.struct_size = sizeof bounds;
    bounds.max_items = most_items;
    EXPECT_EQ(warpkem_configure(engine_.get(), &bounds), WARPKEM_OK);
    queue_.emplace(engine_);
    draw(held_);
    gate_.close();
    EXPECT_EQ(submit(engine_, *queue_, {&held_.batch, 1}), 1u);
    gate_.await_somebody();
  }
  ~AsyncHppHeldUp() override { gate_.open(); }
  static void draw(Encaps& e) {
    e.batch.flags = 0;
    e.batch.m = {};
  }
  // Whether the K of each item is that of its c.
  static bool agrees(const Encaps& e) {
    const std::size_t n = e.batch.count;
    std::vector<std::uint8_t> K(e.K.size());
    std::vector<const std::uint8_t*> dks(n, e.oracle.dk.data());
    warpkem_batch b{};
    b.struct_size = sizeof b;
    b.operation = WARPKEM_OP_DECAPS;
    b.algorithm = e.batch.algorithm;
    b.count = n;
    b.dk.table = dks.data();
    b.c = {e.c.data(), e.c.size(), 0, nullptr};
    b.K_out = {K.data(), K.size(), 0, nullptr};
    return warpkem_run(e.oracle.engine, &b) == WARPKEM_OK && K == e.K;
  }
  std::thread opens_later() {
    return std::thread([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      gate_.open();
    });
  }

  static constexpr std::size_t most_items = 4096;
  Gate gate_;
  Encaps held_{oracle_768(), 9, 1};
  warpkem::Engine engine_;
  std::optional<warpkem::Queue> queue_;
};

TEST_F(AsyncHppHeldUp, WaitForGivesUpWhatWasNotBegun) {
  for (const std::size_t items : {2u, 3000u}) {
    Encaps late(oracle_768(), items, 7);
    const warpkem_completion c = wait_for(engine_, late.batch, std::chrono::milliseconds(2));
    EXPECT_FALSE(gate_.is_open());
    EXPECT_EQ(c.status, WARPKEM_CANCELLED);
    EXPECT_EQ(c.failed, items);
    EXPECT_TRUE(late.is_zero());
  }
}

TEST_F(AsyncHppHeldUp, TimesBelowZeroAreOverAndNotForEver) {
  using std::chrono::microseconds;
  for (const microseconds past : {microseconds(-1), microseconds::min()}) {
    warpkem_completion c{};
    EXPECT_EQ(queue_->wait_for({&c, 1}, past), 0u);
    Encaps late(oracle_768(), 2, 7), expired(oracle_768(), 2, 8), too_many(oracle_768(), most_items, 9);
    EXPECT_EQ(wait_for(engine_, late.batch, past).status, WARPKEM_CANCELLED);
    EXPECT_EQ(wait(engine_, expired.batch, {.deadline = past}).status, WARPKEM_EXPIRED);
    EXPECT_TRUE(expired.is_zero());
    EXPECT_EQ(submit(engine_, *queue_, {&too_many.batch, 1}, {.timeout = past}), 0u) << "there is no room";
    EXPECT_EQ(too_many.statuses[0], 0xEE);
    EXPECT_FALSE(gate_.is_open());
  }
}

TEST(AsyncHpp, TimesThatTheAbiCannotHoldAreTheNearestThatItCan) {
  using std::chrono::microseconds;
  const auto given = [](SubmitOptions options) { return detail::submit_options(options); };
  EXPECT_EQ(given({}).max_delay_us, 0u);
  EXPECT_EQ(given({}).deadline_us, 0u);
  EXPECT_EQ(given({.max_delay = microseconds(7)}).max_delay_us, 7u);
  EXPECT_EQ(given({.max_delay = microseconds(1) + microseconds(UINT32_MAX)}).max_delay_us, UINT32_MAX);
  EXPECT_EQ(given({.max_delay = microseconds::max()}).max_delay_us, UINT32_MAX);
  EXPECT_EQ(given({.max_delay = microseconds(-1)}).max_delay_us, 1u) << "0 is the engine's";
  EXPECT_EQ(given({.deadline = microseconds(-1)}).deadline_us, 1u) << "0 is none";
  EXPECT_EQ(given({.deadline = microseconds::max()}).deadline_us, static_cast<std::uint64_t>(INT64_MAX));
  EXPECT_EQ(given({.timeout = microseconds(-1)}).timeout_us, 0u);
  EXPECT_EQ(given({.timeout = microseconds(9)}).timeout_us, 9u);
}

TEST_F(AsyncHppHeldUp, WaitForWaitsForWhatWasBegunHoweverLate) {
  std::thread opener = opens_later();
  warpkem_completion c{};
  EXPECT_EQ(queue_->wait({&c, 1}), 1u);
  opener.join();
  gate_.close();
  Encaps begun(oracle_768(), 9, 7);  // too many for the waiting thread to run them itself
  draw(begun);
  opener = opens_later();
  c = wait_for(engine_, begun.batch, std::chrono::milliseconds(10));
  const bool was_open = gate_.is_open();
  opener.join();
  if (c.status == WARPKEM_OK) {
    EXPECT_TRUE(was_open) << "the engine was still writing to it";
    EXPECT_TRUE(agrees(begun));
  } else {  // the executor came to it only after the time was over
    EXPECT_EQ(c.status, WARPKEM_CANCELLED);
    EXPECT_TRUE(begun.is_zero());
  }
}

Detached await(const warpkem::Engine& engine, const Encaps& e, warpkem_request* request,
               std::atomic<warpkem_status>& status) {
  try {
    const warpkem_completion c = co_await async(engine, e.batch, {}, request);
    status = c.status;
  } catch (const warpkem::Error& error) {
    status = 1000 + error.status();
  }
}

constexpr warpkem_status unset = 999;

warpkem_status value_of(const std::atomic<warpkem_status>& status) {
  while (status == unset) std::this_thread::yield();
  return status;
}

TEST_F(AsyncHppHeldUp, AnAwaitedRequestCanBeCancelled) {
  Encaps awaited(oracle_768(), 3, 7);
  std::atomic<warpkem_status> status{unset};
  warpkem_request request = 0;
  await(engine_, awaited, &request, status);
  EXPECT_NE(request, 0u);
  EXPECT_EQ(status, unset);
  EXPECT_EQ(warpkem_cancel(engine_.get(), request), WARPKEM_OK);
  EXPECT_EQ(value_of(status), WARPKEM_CANCELLED);
  EXPECT_FALSE(gate_.is_open());
  EXPECT_TRUE(awaited.is_zero());
}

TEST_F(AsyncHppHeldUp, AbortResumesWhoAwaits) {
  Encaps awaited(oracle_768(), 3, 7), later(oracle_768(), 1, 8);
  std::atomic<warpkem_status> status{unset}, refused{unset};
  await(engine_, awaited, nullptr, status);
  std::thread opener([&] {
    EXPECT_EQ(value_of(status), WARPKEM_ABORTED);
    EXPECT_FALSE(gate_.is_open()) << "nobody waits for what was begun";
    gate_.open();
  });
  EXPECT_EQ(warpkem_shutdown(engine_.get(), WARPKEM_ABORT), WARPKEM_OK);
  opener.join();
  EXPECT_TRUE(awaited.is_zero());
  await(engine_, later, nullptr, refused);
  EXPECT_EQ(value_of(refused), 1000 + WARPKEM_ABORTED) << "thrown at once";
  warpkem_completion c{};
  EXPECT_EQ(queue_->poll({&c, 1}), 1u);
  EXPECT_EQ(c.status, WARPKEM_OK) << "what was begun is finished";
  EXPECT_TRUE(agrees(held_));
}

TEST_F(AsyncHppHeldUp, DrainFinishesWhatIsAwaited) {
  Encaps awaited(oracle_768(), 3, 7);
  std::atomic<warpkem_status> status{unset};
  await(engine_, awaited, nullptr, status);
  std::thread opener = opens_later();
  EXPECT_EQ(warpkem_shutdown(engine_.get(), WARPKEM_DRAIN), WARPKEM_OK);
  opener.join();
  EXPECT_EQ(status, WARPKEM_OK) << "the coroutine has gone on when the engine is down";
  EXPECT_TRUE(awaited.is_right());
}

// Lets the coroutine go on, and end, on the engine's thread while this thread is still suspending it.
struct Dawdling {
  warpkem::Awaitable awaitable;
  const std::atomic<warpkem_status>& status;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) noexcept {
    const std::atomic<warpkem_status>& outside = status;  // this may be gone below
    const bool suspended = awaitable.await_suspend(caller);
    value_of(outside);
    return suspended;
  }
  warpkem_completion await_resume() const { return awaitable.await_resume(); }
};

Detached dawdle(const warpkem::Engine& engine, const Encaps& e, std::atomic<warpkem_status>& status) {
  warpkem_status seen = 0;
  {
    const warpkem_completion c = co_await Dawdling{async(engine, e.batch), status};
    seen = c.status;
  }
  status = seen;
}

TEST(AsyncHpp, TheCompletionMayComeBeforeTheCoroutineIsSuspended) {
  const warpkem::Engine engine({.backend = "portable"});
  for (std::uint32_t i = 0; i < 20; ++i) {
    Encaps e(oracle_768(), 1, i);
    std::atomic<warpkem_status> status{unset};
    dawdle(engine, e, status);
    EXPECT_EQ(status, WARPKEM_OK);
    EXPECT_TRUE(e.is_right());
  }
}

TEST(AsyncHpp, ManyThreadsAwaitManyRequests) {
  const warpkem::Engine engine({.backend = "portable"});
  constexpr std::uint32_t threads = 4, each = 200;
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < threads * each; ++i) requests.emplace_back(oracle_768(), 1, i);
  std::deque<std::atomic<warpkem_status>> statuses(threads * each);
  for (auto& status : statuses) status = unset;
  std::vector<std::thread> submitters;
  for (std::uint32_t t = 0; t < threads; ++t) {
    submitters.emplace_back([&, t] {
      for (std::uint32_t i = t; i < threads * each; i += threads) await(engine, requests[i], nullptr, statuses[i]);
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    ASSERT_EQ(value_of(statuses[i]), WARPKEM_OK);
    if (i % 40 == 0) {
      ASSERT_TRUE(requests[i].is_right());
    }
  }
}

// A coroutine whose exceptions go to who asks for them.
struct Throwing {
  struct promise_type {
    std::shared_ptr<std::atomic<std::exception_ptr*>> thrown =
        std::make_shared<std::atomic<std::exception_ptr*>>(nullptr);
    Throwing get_return_object() { return {thrown}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { *thrown = new std::exception_ptr(std::current_exception()); }
  };
  void get() {
    while (thrown->load() == nullptr) std::this_thread::yield();
    const std::unique_ptr<std::exception_ptr> exception(thrown->exchange(nullptr));
    std::rethrow_exception(*exception);
  }
  std::shared_ptr<std::atomic<std::exception_ptr*>> thrown;
};

TEST(AsyncHpp, ExceptionsLeaveACoroutineOnAnEngineThreadAsAnywhere) {
  const warpkem::Engine engine({.backend = "portable"});
  Encaps first(oracle_768(), 1, 1), second(oracle_768(), 1, 2);
  const auto throws = [](const warpkem::Engine& e, const Encaps& request) -> Throwing {
    static_cast<void>(co_await async(e, request.batch));
    throw std::runtime_error("after the completion");
  };
  EXPECT_THROW(throws(engine, first).get(), std::runtime_error);
  EXPECT_TRUE(first.is_right());
  EXPECT_EQ(wait(engine, second.batch).status, WARPKEM_OK) << "the engine goes on";
}

TEST(AsyncHpp, WaitingInACallbackIsRefusedBeforeAnythingIsSubmitted) {
  const warpkem::Engine engine({.backend = "portable"});
  Encaps first(oracle_768(), 1, 1), second(oracle_768(), 1, 2);
  EXPECT_EQ(warpkem_in_callback(), 0);
  const auto waits = [](const warpkem::Engine& e, const Encaps& a, const Encaps& b) -> Throwing {
    static_cast<void>(co_await async(e, a.batch));
    EXPECT_EQ(warpkem_in_callback(), 1);
    static_cast<void>(wait_for(e, b.batch, std::chrono::seconds(1)));
  };
  try {
    waits(engine, first, second).get();
    ADD_FAILURE() << "it waited";
  } catch (const warpkem::Error& error) {
    EXPECT_EQ(error.status(), WARPKEM_WOULD_DEADLOCK);
  }
  EXPECT_EQ(warpkem_shutdown(engine.get(), WARPKEM_DRAIN), WARPKEM_OK);
  EXPECT_EQ(second.statuses[0], 0xEE) << "nobody has touched it";
  warpkem_counters counters{};
  counters.struct_size = sizeof counters;
  EXPECT_EQ(warpkem_metrics(engine.get(), &counters, nullptr, 0, nullptr), WARPKEM_OK);
  EXPECT_EQ(counters.submitted, 1u);
}

TEST(AsyncHpp, AWaitThatIsNotTakenThrowsAndLeavesNothing) {
  const warpkem::Engine engine({.backend = "portable"});
  Encaps wrong(oracle_768(), 1, 1), good(oracle_768(), 1, 2);
  wrong.batch.K_out.bytes = 1;
  for (int i = 0; i < 3; ++i) {
    try {
      static_cast<void>(wait(engine, wrong.batch));
      ADD_FAILURE() << "it was taken";
    } catch (const warpkem::Error& error) {
      EXPECT_EQ(error.status(), WARPKEM_INVALID_ARGUMENT);
    }
    EXPECT_EQ(wrong.statuses[0], 0xEE);
  }
  EXPECT_EQ(wait(engine, good.batch).status, WARPKEM_OK);
}

TEST(AsyncHpp, AQueueTakesManyAtOnce) {
  const warpkem::Engine engine({.backend = "portable"});
  const warpkem::Queue typed(engine);
  std::deque<Encaps> requests;
  std::vector<warpkem_batch> batches;
  for (std::uint32_t i = 0; i < 50; ++i) batches.push_back(requests.emplace_back(oracle_768(), 1, i).batch);
  EXPECT_EQ(submit(engine, typed, batches), 50u);
  EXPECT_GE(typed.fd(), 0);
  std::vector<warpkem_completion> completions(50);
  for (std::size_t n = 0; n < 50;) n += typed.wait(completions);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
  EXPECT_EQ(typed.poll(completions), 0u);
  EXPECT_EQ(typed.wait_for(completions, std::chrono::microseconds(10)), 0u);
}

}  // namespace
}  // namespace warpkem::testing
