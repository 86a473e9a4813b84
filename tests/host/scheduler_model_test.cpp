// Randomised: threads that submit, cancel, let expire and abandon, over backends that fail and lie, until a shutdown in
// the middle of it. Every request completes exactly once, with a status that it may have, and right results or zeros.
// WARPKEM_MODEL_ROUNDS makes it longer: a round is some thousand requests.
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include "tests/host/clients.hpp"

namespace warpkem::testing {
namespace {

// A device: batches are finished by a thread of its own, not in the order in which they came.
class Device {
 public:
  Device() : thread_([this] { work(); }) {}
  ~Device() {
    {
      const std::scoped_lock lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  scripted::Behaviour behaviour(scripted::Behaviour then) {
    return [this, then](host::Backend& inner, const host::Batch& batch, host::Completion done) {
      {
        const std::scoped_lock lock(mutex_);
        work_.push_back([=, &inner] { then(inner, batch, done); });
      }
      changed_.notify_one();
    };
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return over_ || !work_.empty(); });
      if (work_.empty()) return;
      const auto next = std::move(work_.back());  // the newest first
      work_.pop_back();
      lock.unlock();
      next();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> work_;
  bool over_ = false;
  std::thread thread_;
};

void round(std::uint64_t seed, Totals& totals) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  auto lies = std::make_shared<std::atomic<std::uint64_t>>(0);
  Device device;
  const bool with_device = random() % 2 == 0, lying = random() % 3 == 0;
  host::SchedulerOptions options;
  options.most_items = 40 + random() % 200;
  options.batch_items = random() % 2 == 0 ? 0 : 1 + random() % 30;
  options.device_sentinel = options.cpu_sentinel = lying ? 1 : (random() % 3 == 0 ? 0.2 : 0);
  std::vector<scripted::Script> scripts;
  scripted::Behaviour first = lying ? scripted::lying(0.05, seed, lies) : scripted::honest();
  first = scripted::failing(0.1, seed, first);
  if (with_device) scripts.push_back({"device", false, 4, device.behaviour(first)});
  if (!with_device) scripts.push_back({"shaky", true, 1, first});
  scripts.push_back({"slow", true, 1, scripted::failing(0.05, seed + 1, scripted::slow(20, 1, scripted::honest()))});
  scripts.push_back({"good", true, 1, scripted::honest()});
  host::EngineOptions engine_options;
  engine_options.threads = static_cast<unsigned>(1 + random() % 3);
  auto engine = std::make_unique<TestEngine>(scripts, options, engine_options);
  const std::size_t num_clients = 1 + random() % 4;
  std::deque<Client> clients;
  for (std::size_t i = 0; i < num_clients; ++i)
    clients.emplace_back(*engine, seed * 100 + i, 8 + random() % 60, totals);
  std::vector<std::thread> threads;
  for (Client& client : clients) threads.emplace_back([&client] { client.run(1500); });
  const bool in_the_middle = random() % 2 == 0, drain = random() % 2 == 0;
  if (in_the_middle) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    check(warpkem_shutdown(engine->get(), drain ? WARPKEM_DRAIN : WARPKEM_ABORT));
  }
  for (std::thread& thread : threads) thread.join();
  if (random() % 2 == 0) engine.reset();  // the queues outlive it
  for (Client& client : clients) client.finish();
  if (engine) {
    EXPECT_EQ(engine->counters().items, 0u);
    EXPECT_EQ(engine->counters().bytes, 0u);
    EXPECT_EQ(engine->counters().submitted, engine->counters().completed);
  }
}

TEST(SchedulerModel, EveryRequestCompletesExactlyOnceAndRight) {
  const char* const given = getenv("WARPKEM_MODEL_ROUNDS");
  const std::uint64_t rounds = given != nullptr ? strtoull(given, nullptr, 10) : 12;
  Totals totals;
  for (std::uint64_t i = 1; i <= rounds && !HasFailure(); ++i) round(i, totals);
  EXPECT_GT(totals.cancelled, 0u);
  EXPECT_GT(totals.expired, 0u);
  EXPECT_GT(totals.refused, 0u);
  printf("%llu requests: %llu cancelled, %llu expired, %llu aborted, %llu refused\n",
         static_cast<unsigned long long>(totals.requests), static_cast<unsigned long long>(totals.cancelled),
         static_cast<unsigned long long>(totals.expired), static_cast<unsigned long long>(totals.aborted),
         static_cast<unsigned long long>(totals.refused));
}

}  // namespace
}  // namespace warpkem::testing
