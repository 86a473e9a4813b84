// The C++20 face of submission: wait, wait_for, queues, coroutines.
#include <atomic>
#include <coroutine>
#include <deque>
#include <exception>
#include <thread>

#include "tests/host/serving.hpp"
#include "warpkem/warpkem.hpp"

namespace warpkem::testing {
namespace {

const Oracle& oracle() {
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
  for (std::uint32_t i = 0; i < 40; ++i) requests.emplace_back(oracle(), 1, i);
  for (std::size_t i = 0; i < 40; i += 2) agree(engine, requests[i], requests[i + 1], done);
  while (done != 20) std::this_thread::yield();
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
  EXPECT_EQ(warpkem_shutdown(engine.get(), WARPKEM_DRAIN), WARPKEM_OK);
}

TEST(AsyncHpp, AnAwaitableThatIsNotTakenThrows) {
  const warpkem::Engine engine({.backend = "portable"});
  Encaps wrong(oracle(), 1, 1);
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
  Encaps a(oracle(), 2, 1), b(oracle(), 1, 2);
  EXPECT_EQ(wait(engine, a.batch).status, WARPKEM_OK);
  EXPECT_TRUE(a.is_right());
  EXPECT_EQ(wait_for(engine, b.batch, std::chrono::seconds(30)).status, WARPKEM_OK);
  EXPECT_TRUE(b.is_right());
  Encaps late(oracle(), 3000, 3);
  const warpkem_completion c = wait_for(engine, late.batch, std::chrono::microseconds(1));
  EXPECT_EQ(c.status, WARPKEM_CANCELLED);
  EXPECT_TRUE(late.is_zero());
}

TEST(AsyncHpp, AQueueTakesManyAtOnce) {
  const warpkem::Engine engine({.backend = "portable"});
  const warpkem::Queue typed(engine);
  std::deque<Encaps> requests;
  std::vector<warpkem_batch> batches;
  for (std::uint32_t i = 0; i < 50; ++i) batches.push_back(requests.emplace_back(oracle(), 1, i).batch);
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
