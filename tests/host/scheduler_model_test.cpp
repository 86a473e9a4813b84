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

#include "tests/host/serving.hpp"

namespace warpkem::testing {
namespace {

constexpr std::size_t num_answers = 40, most_items = 24;

// Encapsulations to one key with known results; a request takes a run of them.
struct Answers {
  Answers() : oracle(WARPKEM_ML_KEM_512), all(oracle, num_answers + most_items, 5) {
    EXPECT_EQ(warpkem_run(oracle.engine, &all.batch), WARPKEM_OK);
  }
  Oracle oracle;
  Encaps all;
};
Answers& answers() {
  static Answers a;
  return a;
}

struct Slot {
  std::size_t answer = 0, count = 0;
  bool bad_key = false;  // item 0 has one
  std::atomic<int> completions{0};
  warpkem_completion completion{};
  std::vector<std::uint8_t> c, K, statuses;
  std::vector<const std::uint8_t*> eks, ms;
  std::size_t failed = 0;
  warpkem_batch batch{};

  void ask(std::mt19937_64& random, const std::vector<std::uint8_t>& bad_ek) {
    const Answers& a = answers();
    const std::size_t c_bytes = warpkem_size(WARPKEM_ML_KEM_512, WARPKEM_SIZE_C);
    count = random() % 4 != 0 ? 1 : random() % most_items;
    answer = random() % num_answers;
    bad_key = count != 0 && random() % 16 == 0;
    c.assign(c_bytes * count, 0xEE), K.assign(32 * count, 0xEE), statuses.assign(count, 0xEE);
    eks.assign(count, a.oracle.ek.data());
    if (bad_key) eks[0] = bad_ek.data();
    ms.clear();
    for (std::size_t i = 0; i < count; ++i) ms.push_back(a.all.m.data() + 32 * (answer + i));
    failed = 99;
    batch = {};
    batch.struct_size = sizeof batch;
    batch.operation = WARPKEM_OP_ENCAPS;
    batch.algorithm = WARPKEM_ML_KEM_512;
    batch.flags = WARPKEM_DERAND;
    batch.count = count;
    batch.user_data = this;
    if (count == 0) return;
    batch.ek.table = eks.data();
    batch.m.table = ms.data();
    batch.c_out = {c.data(), c.size(), 0, nullptr};
    batch.K_out = {K.data(), K.size(), 0, nullptr};
    batch.statuses = statuses.data();
    batch.failed = &failed;
  }

  void check() const {
    const Answers& a = answers();
    const std::size_t c_bytes = warpkem_size(WARPKEM_ML_KEM_512, WARPKEM_SIZE_C);
    const warpkem_status s = completion.status;
    const bool whole = s == WARPKEM_CANCELLED || s == WARPKEM_EXPIRED || s == WARPKEM_ABORTED;
    ASSERT_TRUE(whole || s == WARPKEM_OK || s == WARPKEM_ITEM_FAILED || s == WARPKEM_INVALID_EK)
        << warpkem_status_name(s);
    std::size_t bad = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const bool good = !whole && !(bad_key && i == 0);
      ASSERT_EQ(statuses[i], whole ? s : good ? WARPKEM_OK : WARPKEM_INVALID_EK);
      bad += good ? 0 : 1;
      const std::vector<std::uint8_t> zeros(c_bytes);
      ASSERT_EQ(memcmp(&c[i * c_bytes], good ? &a.all.c[(answer + i) * c_bytes] : zeros.data(), c_bytes), 0);
      ASSERT_EQ(memcmp(&K[i * 32], good ? &a.all.K[(answer + i) * 32] : zeros.data(), 32), 0);
    }
    if (count != 0) {
      ASSERT_EQ(failed, bad);
    }
    ASSERT_EQ(completion.failed, bad);
    if (!whole) {
      ASSERT_EQ(s, bad == 0 ? WARPKEM_OK : count == 1 ? WARPKEM_INVALID_EK : WARPKEM_ITEM_FAILED);
    }
  }
};

struct Totals {
  std::atomic<std::uint64_t> requests{0}, cancelled{0}, expired{0}, aborted{0}, refused{0};
};

class Client {
 public:
  Client(TestEngine& engine, std::uint64_t seed, std::size_t slots, Totals& totals)
      : engine_(engine), random_(seed), slots_(slots), totals_(totals), bad_ek_(answers().oracle.ek.size(), 0xff) {
    ::warpkem::testing::check(warpkem_queue_new(engine.get(), &queue_));
    for (Slot& s : slots_) free_.push_back(&s);
  }
  ~Client() { EXPECT_EQ(warpkem_queue_free(queue_), WARPKEM_OK); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void run(std::size_t requests) {
    while (requests != 0) {
      collect(free_.empty() ? 100'000 : random_() % 8 == 0 ? random_() % 200 : 0);
      const std::size_t n = std::min({free_.size(), requests, std::size_t{1} + random_() % 6});
      if (n == 0) continue;
      requests -= n;
      if (!submit(n)) break;
    }
  }
  void finish() {
    while (free_.size() != slots_.size()) {
      if (collect(20'000'000) == 0) break;
    }
    ASSERT_EQ(free_.size(), slots_.size()) << "lost";
  }

 private:
  bool submit(std::size_t n) {
    std::vector<warpkem_batch> batches;
    std::vector<Slot*> asked(free_.end() - static_cast<std::ptrdiff_t>(n), free_.end());
    free_.resize(free_.size() - n);
    for (Slot* s : asked) {
      s->ask(random_, bad_ek_);
      s->completions = 0;
      batches.push_back(s->batch);
    }
    warpkem_submit_options o{};
    o.struct_size = sizeof o;
    o.queue = queue_;
    o.request_class = random_() % 4 == 0;
    if (random_() % 8 == 0) o.deadline_us = 1 + random_() % 2000;
    if (random_() % 4 == 0) o.timeout_us = random_() % 3000;
    if (random_() % 4 == 0) o.max_delay_us = static_cast<std::uint32_t>(1 + random_() % 100);
    const bool will_wait = random_() % 4 == 0;
    if (will_wait) o.flags = WARPKEM_WILL_WAIT;
    std::vector<warpkem_request> handles(n);
    std::size_t taken = 0;
    const warpkem_status status = warpkem_submit(engine_.get(), batches.data(), n, &o, handles.data(), &taken);
    EXPECT_TRUE(status == WARPKEM_OK || status == WARPKEM_WOULD_BLOCK || status == WARPKEM_ABORTED) << status;
    totals_.requests += taken;
    totals_.refused += n - taken;
    for (std::size_t i = taken; i < n; ++i) free_.push_back(asked[i]);
    for (std::size_t i = 0; i < taken; ++i) {
      if (random_() % 8 == 0) ::warpkem::testing::check(warpkem_cancel(engine_.get(), handles[i]));
    }
    if (will_wait) collect(1'000);
    return status != WARPKEM_ABORTED;
  }

  std::size_t collect(std::uint64_t timeout_us) {
    warpkem_completion completions[32];
    std::size_t n = 0;
    if (timeout_us == 0) {
      ::warpkem::testing::check(warpkem_queue_poll(queue_, completions, 32, &n));
    } else {
      ::warpkem::testing::check(warpkem_queue_wait(queue_, completions, 32, timeout_us, &n));
    }
    for (std::size_t i = 0; i < n; ++i) {
      Slot& s = *static_cast<Slot*>(completions[i].user_data);
      EXPECT_EQ(s.completions.fetch_add(1), 0) << "completed twice";
      s.completion = completions[i];
      s.check();
      totals_.cancelled += s.completion.status == WARPKEM_CANCELLED;
      totals_.expired += s.completion.status == WARPKEM_EXPIRED;
      totals_.aborted += s.completion.status == WARPKEM_ABORTED;
      free_.push_back(&s);
    }
    return n;
  }

  TestEngine& engine_;
  std::mt19937_64 random_;
  std::deque<Slot> slots_;
  std::vector<Slot*> free_;
  warpkem_queue* queue_ = nullptr;
  Totals& totals_;
  std::vector<std::uint8_t> bad_ek_;
};

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
