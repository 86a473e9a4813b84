// Threads that use an engine as servers do, at random: they submit all operations, alone and in runs, to a queue or
// with a callback, cancel, let expire, give bad keys, and check that every request completes exactly once, with a
// status that it may have, and right results or zeros.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "tests/host/serving.hpp"

namespace warpkem::testing {

inline constexpr std::size_t num_answers = 40, most_items = 24;

// Questions with known answers; a request takes a run of them.
struct Answers {
  using Bytes = std::vector<std::uint8_t>;
  static constexpr warpkem_algorithm algorithm = WARPKEM_ML_KEM_512;
  static constexpr std::size_t count = num_answers + most_items;

  // What operation, keygen to decaps, has as its input beside a key, as its key, and as its outputs; record by record.
  struct Question {
    Bytes input, key, bad_key, first, second;
    std::size_t input_bytes, first_bytes, second_bytes;
  };

  Answers() : oracle(algorithm), encaps(oracle, count, 5) {
    const std::size_t ek_bytes = oracle.ek.size(), dk_bytes = oracle.dk.size();
    Bytes seeds(64 * count), ek(ek_bytes * count), dk(dk_bytes * count), c, K(32 * count);
    for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::uint8_t>(i * 13 + (i >> 8));
    check(warpkem_keygen_derand(oracle.engine, algorithm, WARPKEM_DK_EXPANDED, count, {seeds.data(), seeds.size(), 0},
                                {ek.data(), ek.size(), 0}, {dk.data(), dk.size(), 0}, nullptr, nullptr));
    questions[0] = {seeds, {}, {}, ek, dk, 64, ek_bytes, dk_bytes};
    check(warpkem_run(oracle.engine, &encaps.batch));
    c = encaps.c;
    const std::size_t c_bytes = c.size() / count;
    questions[1] = {encaps.m, oracle.ek, Bytes(ek_bytes, 0xff), c, encaps.K, 32, c_bytes, 32};
    for (std::size_t i = 0; i < count; i += 5) c[i * c_bytes + i] ^= 1;  // is rejected
    Bytes dks, bad_dk = oracle.dk;
    for (std::size_t i = 0; i < count; ++i) dks.insert(dks.end(), oracle.dk.begin(), oracle.dk.end());
    bad_dk[dk_bytes - 40] ^= 1;
    check(warpkem_decaps(oracle.engine, algorithm, WARPKEM_DK_EXPANDED, count, {dks.data(), dks.size(), 0},
                         {c.data(), c.size(), 0}, {K.data(), K.size(), 0}, nullptr, nullptr));
    questions[2] = {c, oracle.dk, bad_dk, K, {}, c_bytes, 32, 0};
  }

  Oracle oracle;
  Encaps encaps;
  Question questions[3];
};
inline const Answers& answers() {
  static const Answers a;
  return a;
}

struct ClientSlot {
  const Answers::Question* question = nullptr;
  std::size_t answer = 0, count = 0;
  bool bad_key = false;  // item 0 has one
  std::atomic<int> completions{0};
  warpkem_completion completion{};
  std::vector<std::uint8_t> first, second, statuses;
  std::vector<const std::uint8_t*> inputs, keys;
  std::size_t failed = 0;
  warpkem_batch batch{};

  void ask(std::mt19937_64& random) {
    const std::size_t operation = random() % 4 % 3;  // more keygens than others
    question = &answers().questions[operation];
    count = random() % 4 != 0 ? 1 : random() % most_items;
    answer = random() % num_answers;
    bad_key = count != 0 && operation != 0 && random() % 16 == 0;
    first.assign(question->first_bytes * count, 0xEE), second.assign(question->second_bytes * count, 0xEE);
    statuses.assign(count, 0xEE);
    keys.assign(count, question->key.data());
    if (bad_key) keys[0] = question->bad_key.data();
    inputs.clear();
    for (std::size_t i = 0; i < count; ++i)
      inputs.push_back(question->input.data() + question->input_bytes * (answer + i));
    failed = 99;
    batch = {};
    batch.struct_size = sizeof batch;
    batch.operation = static_cast<std::uint32_t>(WARPKEM_OP_KEYGEN + operation);
    batch.algorithm = Answers::algorithm;
    batch.flags = batch.operation == WARPKEM_OP_DECAPS ? 0 : WARPKEM_DERAND;
    batch.count = count;
    batch.user_data = this;
    if (count == 0) return;
    const warpkem_target to_first{first.data(), first.size(), 0, nullptr},
        to_second{second.data(), second.size(), 0, nullptr};
    if (batch.operation == WARPKEM_OP_KEYGEN) {
      batch.seeds.table = inputs.data();
      batch.ek_out = to_first, batch.dk_out = to_second;
    } else if (batch.operation == WARPKEM_OP_ENCAPS) {
      batch.m.table = inputs.data(), batch.ek.table = keys.data();
      batch.c_out = to_first, batch.K_out = to_second;
    } else {
      batch.c.table = inputs.data(), batch.dk.table = keys.data();
      batch.K_out = to_first;
    }
    batch.statuses = statuses.data();
    batch.failed = &failed;
  }

  void check() const {
    const auto refusal =
        static_cast<warpkem_status>(batch.operation == WARPKEM_OP_ENCAPS ? WARPKEM_INVALID_EK : WARPKEM_INVALID_DK);
    const warpkem_status s = completion.status;
    const bool whole = s == WARPKEM_CANCELLED || s == WARPKEM_EXPIRED || s == WARPKEM_ABORTED;
    ASSERT_TRUE(whole || s == WARPKEM_OK || (bad_key && (s == WARPKEM_ITEM_FAILED || s == refusal)))
        << warpkem_status_name(s);
    std::size_t bad = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const bool good = !whole && !(bad_key && i == 0);
      ASSERT_EQ(statuses[i], whole ? s : good ? WARPKEM_OK : refusal);
      bad += good ? 0 : 1;
      const auto is_right = [&](const std::vector<std::uint8_t>& out, const std::vector<std::uint8_t>& expected,
                                std::size_t bytes) {
        const std::vector<std::uint8_t> zeros(bytes);
        return memcmp(out.data() + i * bytes, good ? &expected[(answer + i) * bytes] : zeros.data(), bytes) == 0;
      };
      ASSERT_TRUE(is_right(first, question->first, question->first_bytes)) << "operation " << batch.operation;
      if (question->second_bytes != 0) {
        ASSERT_TRUE(is_right(second, question->second, question->second_bytes)) << "operation " << batch.operation;
      }
    }
    if (count != 0) {
      ASSERT_EQ(failed, bad);
    }
    ASSERT_EQ(completion.failed, bad);
    if (!whole) {
      ASSERT_EQ(s, bad == 0 ? WARPKEM_OK : count == 1 ? refusal : WARPKEM_ITEM_FAILED);
    }
  }
};

struct Totals {
  std::atomic<std::uint64_t> requests{0}, cancelled{0}, expired{0}, aborted{0}, refused{0};
};

class Client {
 public:
  // One in four is called back, the others have a queue.
  Client(TestEngine& engine, std::uint64_t seed, std::size_t slots, Totals& totals)
      : engine_(engine), random_(seed), called_back_(random_() % 4 == 0), slots_(slots), totals_(totals) {
    ::warpkem::testing::check(warpkem_queue_new(engine.get(), &queue_));
    for (ClientSlot& s : slots_) free_.push_back(&s);
  }
  ~Client() { EXPECT_EQ(warpkem_queue_free(queue_), WARPKEM_OK); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Until so many requests are taken, or the engine takes no more.
  void run(std::size_t requests) {
    while (requests != 0 && !closed_) {
      collect(free_.empty() ? 100'000 : random_() % 8 == 0 ? random_() % 200 : 0);
      const std::size_t n = std::min({free_.size(), requests, std::size_t{1} + random_() % 6});
      if (n != 0) requests -= submit(n);
    }
    if (!closed_) finish();  // what nobody fetches takes the others' room
  }
  void finish() {
    while (free_.size() != slots_.size()) {
      if (collect(60'000'000) == 0) break;
    }
    ASSERT_EQ(free_.size(), slots_.size()) << "lost";
  }

 private:
  std::size_t submit(std::size_t n) {
    std::vector<warpkem_batch> batches;
    std::vector<ClientSlot*> asked(free_.end() - static_cast<std::ptrdiff_t>(n), free_.end());
    free_.resize(free_.size() - n);
    for (ClientSlot* s : asked) {
      s->ask(random_);
      s->completions = 0;
      batches.push_back(s->batch);
    }
    warpkem_submit_options o{};
    o.struct_size = sizeof o;
    if (called_back_) {
      o.context = this;
      o.callback = [](void* context, const warpkem_completion* completion) {
        Client& self = *static_cast<Client*>(context);
        const std::scoped_lock lock(self.mutex_);
        self.called_.push_back(*completion);
        self.changed_.notify_one();
      };
    } else {
      o.queue = queue_;
    }
    o.request_class = random_() % 4 == 0;
    if (random_() % 8 == 0) o.deadline_us = 1 + random_() % 2000;
    if (random_() % 4 == 0) o.timeout_us = random_() % 3000;
    if (random_() % 4 == 0) o.max_delay_us = static_cast<std::uint32_t>(1 + random_() % 100);
    const bool will_wait = !called_back_ && random_() % 4 == 0;
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
    if (will_wait || taken != n) collect(1'000);  // or until there is room
    closed_ = status == WARPKEM_ABORTED;
    return taken;
  }

  std::size_t collect(std::uint64_t timeout_us) {
    std::vector<warpkem_completion> completions(32);
    std::size_t n = 0;
    if (called_back_) {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::microseconds(timeout_us), [&] { return !called_.empty(); });
      completions = std::exchange(called_, {});
      n = completions.size();
    } else if (timeout_us == 0) {
      ::warpkem::testing::check(warpkem_queue_poll(queue_, completions.data(), completions.size(), &n));
    } else {
      ::warpkem::testing::check(warpkem_queue_wait(queue_, completions.data(), completions.size(), timeout_us, &n));
    }
    for (std::size_t i = 0; i < n; ++i) {
      ClientSlot& s = *static_cast<ClientSlot*>(completions[i].user_data);
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
  const bool called_back_;
  bool closed_ = false;  // the engine was shut down
  std::mutex mutex_;     // guards called_
  std::condition_variable changed_;
  std::vector<warpkem_completion> called_;
  std::deque<ClientSlot> slots_;
  std::vector<ClientSlot*> free_;
  warpkem_queue* queue_ = nullptr;
  Totals& totals_;
};

}  // namespace warpkem::testing
