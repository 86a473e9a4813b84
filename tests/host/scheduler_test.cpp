// The scheduler, step by step: a manual clock, and backends that do as they are told.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <string>

#include "host/engine/key_set.hpp"
#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

using scripted::Script;

// A set of the oracle's key alone, for the caller to release.
warpkem_keys* one_prepared_key(TestEngine& engine) {
  warpkem_keys* keys = nullptr;
  check(warpkem_prepare_ek(engine.get(), WARPKEM_ML_KEM_512, 1, {oracle().ek.data(), oracle().ek.size(), 0}, nullptr,
                           nullptr, &keys));
  return keys;
}

void name_keys(Encaps& e, warpkem_keys* keys, const std::uint32_t* index) {
  e.batch.ek = {};
  e.batch.keys = keys;
  e.batch.index = index;
}

TEST(Scheduler, ALoneRequestOnAnIdleEngineIsTakenAtOnce) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 1, 1);
  submit(engine, e, to(queue));
  EXPECT_TRUE(queue.poll().empty());
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  EXPECT_EQ(completions[0].user_data, &e);
  EXPECT_EQ(e.statuses[0], WARPKEM_OK);
  EXPECT_EQ(e.failed, 0u);
  EXPECT_TRUE(e.is_right());
}

// Records one after another, with gaps between them, or wherever a table says.
enum class Layout { packed, gaps, table };

class Records {
 public:
  static constexpr std::uint8_t untouched = 0xEE;

  Records(Layout layout, std::size_t record, std::size_t count)
      : layout_(layout),
        record_(record),
        stride_(layout == Layout::packed ? record : record + 24),
        memory_(stride_ * count, untouched) {
    for (std::size_t i = 0; i < count; ++i) table_.push_back((*this)[i]), in_table_.push_back((*this)[i]);
  }
  // Those of a table lie the other way round.
  std::uint8_t* operator[](std::size_t i) {
    return memory_.data() + (layout_ == Layout::table ? memory_.size() / stride_ - 1 - i : i) * stride_;
  }
  warpkem_source in() {
    if (layout_ == Layout::table) return {nullptr, 0, 0, in_table_.data()};
    return {memory_.data(), memory_.size(), layout_ == Layout::gaps ? stride_ : 0, nullptr};
  }
  warpkem_target out() {
    if (layout_ == Layout::table) return {nullptr, 0, 0, table_.data()};
    return {memory_.data(), memory_.size(), layout_ == Layout::gaps ? stride_ : 0, nullptr};
  }
  std::size_t record() const { return record_; }
  bool holds(std::size_t i, Records& other) { return memcmp((*this)[i], other[i], record_) == 0; }
  bool is_zero(std::size_t i) {
    return std::all_of((*this)[i], (*this)[i] + record_, [](std::uint8_t b) { return b == 0; });
  }
  bool gaps_are_untouched() const {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      if (i % stride_ >= record_ && memory_[i] != untouched) return false;
    }
    return true;
  }

 private:
  Layout layout_;
  std::size_t record_, stride_;
  std::vector<std::uint8_t> memory_;
  std::vector<std::uint8_t*> table_;
  std::vector<const std::uint8_t*> in_table_;
};

// Three items of an operation; the key of the second is bad where one can be.
struct Question {
  static constexpr std::size_t count = 3;

  Question(std::uint32_t operation, Layout layout, std::uint32_t format)
      : input(layout,
              size(operation == WARPKEM_OP_KEYGEN   ? WARPKEM_SIZE_SEED
                   : operation == WARPKEM_OP_ENCAPS ? WARPKEM_SIZE_M
                                                    : WARPKEM_SIZE_C),
              count),
        ek(layout, size(WARPKEM_SIZE_EK), count),
        dk(layout, size(format == WARPKEM_DK_SEED ? WARPKEM_SIZE_DK_SEED : WARPKEM_SIZE_DK), count),
        c(layout, size(WARPKEM_SIZE_C), count),
        K(layout, size(WARPKEM_SIZE_K), count) {
    const bool keygen = operation == WARPKEM_OP_KEYGEN, encaps = operation == WARPKEM_OP_ENCAPS,
               decaps = operation == WARPKEM_OP_DECAPS;
    batch.struct_size = sizeof batch;
    batch.operation = operation;
    batch.algorithm = oracle().algorithm;
    batch.dk_format = format;
    batch.flags = keygen || encaps ? WARPKEM_DERAND : 0;
    batch.count = count;
    batch.statuses = statuses;
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < input.record(); ++j) input[i][j] = static_cast<std::uint8_t>(i * 91 + j * 7);
    }
    if (keygen) {
      batch.seeds = input.in(), batch.ek_out = ek.out(), batch.dk_out = dk.out();
      outputs = {&ek, &dk};
      return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      std::ranges::copy(oracle().ek, ek[i]);
      if (format == WARPKEM_DK_SEED) {
        std::fill_n(dk[i], size(WARPKEM_SIZE_DK_SEED), static_cast<std::uint8_t>(i));
      } else {
        std::ranges::copy(oracle().dk, dk[i]);
      }
    }
    memset(ek[1], 0xff, 3);
    if (format != WARPKEM_DK_SEED) dk[1][size(WARPKEM_SIZE_DK) - 40] ^= 1;
    if (encaps)
      batch.m = input.in(), batch.ek = ek.in(), batch.c_out = c.out(), batch.K_out = K.out(), outputs = {&c, &K};
    if (decaps) batch.c = input.in(), batch.dk = dk.in(), batch.K_out = K.out(), outputs = {&K};
    if (operation == WARPKEM_OP_CHECK_EK) batch.ek = ek.in();
    if (operation == WARPKEM_OP_CHECK_DK) batch.dk = dk.in();
  }
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;

  static std::size_t size(std::uint32_t what) { return warpkem_size(oracle().algorithm, what); }

  Records input, ek, dk, c, K;
  std::vector<Records*> outputs;
  std::uint8_t statuses[count] = {0xEE, 0xEE, 0xEE};
  warpkem_batch batch{};
};

TEST(Scheduler, ArraysOfEveryLayoutComeOutAsFromASynchronousCall) {
  for (const std::uint32_t operation :
       {WARPKEM_OP_KEYGEN, WARPKEM_OP_ENCAPS, WARPKEM_OP_DECAPS, WARPKEM_OP_CHECK_EK, WARPKEM_OP_CHECK_DK}) {
    for (const Layout layout : {Layout::packed, Layout::gaps, Layout::table}) {
      for (const std::uint32_t format : {WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED}) {
        for (const bool cancels : {false, true}) {
          if (format == WARPKEM_DK_SEED && operation != WARPKEM_OP_KEYGEN && operation != WARPKEM_OP_DECAPS) continue;
          SCOPED_TRACE("operation " + std::to_string(operation) + ", layout " +
                       std::to_string(static_cast<int>(layout)) + ", dk_format " + std::to_string(format) +
                       (cancels ? ", cancelled" : ""));
          Manual manual;
          TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
          Queue queue(engine);
          const warpkem_submit_options options = to(queue);
          Question asked(operation, layout, format), expected(operation, Layout::packed, format);
          const warpkem_status whole = warpkem_run(oracle().engine, &expected.batch);
          warpkem_request request = 0;
          check(warpkem_submit(engine.get(), &asked.batch, 1, &options, &request, nullptr));
          if (cancels) check(warpkem_cancel(engine.get(), request));
          engine.settle();
          const auto completions = queue.poll();
          ASSERT_EQ(completions.size(), 1u);
          EXPECT_EQ(completions[0].status, cancels ? WARPKEM_CANCELLED : whole);
          for (std::size_t i = 0; i < Question::count; ++i) {
            EXPECT_EQ(asked.statuses[i], cancels ? WARPKEM_CANCELLED : expected.statuses[i]);
            for (std::size_t k = 0; k < asked.outputs.size(); ++k) {
              EXPECT_TRUE(cancels ? asked.outputs[k]->is_zero(i) : asked.outputs[k]->holds(i, *expected.outputs[k]));
            }
          }
          for (const Records* output : asked.outputs) EXPECT_TRUE(output->gaps_are_untouched());
        }
      }
    }
  }
}

TEST(Scheduler, ItsThreadsKeepToTheCoresOfTheOneThatMadeTheEngine) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  if (CPU_COUNT(&before) == 1) GTEST_SKIP() << "one core";
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int core = CPU_SETSIZE - 1; CPU_COUNT(&one) == 0; --core) {
    if (CPU_ISSET(core, &before)) CPU_SET(core, &one);
  }
  for (const bool pins : {false, true}) {
    host::EngineOptions engine_options;
    engine_options.pin_threads = pins;
    TestEngine engine({{"a", true, 1, scripted::honest()}}, {}, engine_options);
    // As a server does whose threads are pinned: the one that submits first starts the engine's.
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    std::atomic<int> cores{0};
    warpkem_submit_options options{};
    options.struct_size = sizeof options;
    options.callback = [](void* context, const warpkem_completion*) {
      cpu_set_t set;
      sched_getaffinity(0, sizeof set, &set);
      static_cast<std::atomic<int>*>(context)->store(CPU_COUNT(&set));
    };
    options.context = &cores;
    Encaps e(oracle(), 1, 1);
    submit(engine, e, options);
    engine.scheduler().shut_down(true);
    EXPECT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
    EXPECT_EQ(cores.load(), pins ? 1 : CPU_COUNT(&before));
  }
}

TEST(Scheduler, WhatComesWhileTheBackendIsBusyBecomesOneBatch) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, manual.options(), one_thread());
  Queue queue(engine);
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < 6; ++i) requests.emplace_back(oracle(), i == 3 ? 3 : 1, i);
  submit(engine, requests[0], to(queue));
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  for (std::uint32_t i = 1; i < 6; ++i) submit(engine, requests[i], to(queue));
  engine.settle();
  ASSERT_EQ(held.size(), 1u) << "the executor takes one batch at a time";
  held.finish();
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, 7u);
  held.finish();
  EXPECT_EQ(queue.poll().size(), 6u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
}

TEST(Scheduler, ABatchGoesOnALittleForTheQueueThatItEndsWith) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, manual.options(), one_thread());
  Queue first(engine), second(engine), third(engine);
  Encaps busy(oracle(), 1, 5), large(oracle(), 2000, 0);
  submit(engine, busy, to(first));
  engine.settle();
  held.finish();  // in no time: from now on a batch takes as many items as any
  submit(engine, large, to(first));
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  const std::size_t full = held.entries[0].batch.count;
  ASSERT_GT(full, 56u);
  ASSERT_LT(full, large.batch.count) << "all that a batch takes";
  while (held.size() != 0) held.finish(), engine.settle();
  Encaps a(oracle(), full - 56, 1), b(oracle(), 50, 2), c(oracle(), 50, 3), d(oracle(), 10, 4);
  submit(engine, busy, to(first));
  engine.settle();
  submit(engine, a, to(first));
  submit(engine, b, to(second));
  submit(engine, c, to(second));
  submit(engine, d, to(third));
  held.finish();
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, full - 56 + 100) << "a full batch and the rest of c";
  held.finish();
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, 10u);
  held.finish();
  EXPECT_EQ(first.poll().size() + second.poll().size() + third.poll().size(), 7u);
  for (const Encaps* e : {&large, &a, &b, &c, &d}) EXPECT_TRUE(e->is_right());
}

TEST(Scheduler, ABusyDeviceGetsASecondBatchThatIsFullOrLate) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.max_delay_ns = 50'000;
  options.batch_items = 4;
  TestEngine engine({{"device", false, 1, held.behaviour()}}, options);
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  model.calibrate({200'000, 1'000});
  const auto cost = [&](std::size_t items) {
    return model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).of(items);
  };
  Queue queue(engine);
  std::deque<Encaps> requests;
  const auto add = [&] {
    requests.emplace_back(oracle(), 1, static_cast<std::uint32_t>(requests.size()));
    submit(engine, requests.back(), to(queue));
    engine.settle();
  };
  // When what waits is looked at again. It is not taken a nanosecond before.
  const auto handed_over_at = [&] {
    std::uint64_t next = 0;
    engine.scheduler().step(next);
    manual.clock.advance(next - manual.clock.now_ns() - 1);
    engine.settle();
    EXPECT_EQ(held.size(), 1u);
    manual.clock.advance(1);
    engine.settle();
    EXPECT_EQ(held.size(), 2u);
    return next;
  };
  const std::uint64_t begin = manual.clock.now_ns();
  const std::uint64_t first = cost(1);
  add();
  ASSERT_EQ(held.size(), 1u) << "idle: at once";
  add(), add();
  EXPECT_EQ(held.size(), 1u) << "busy: two are not a full batch";
  EXPECT_EQ(handed_over_at(), begin + first - options.max_delay_ns)
      << "max_delay before the device is expected to be done";
  EXPECT_EQ(held.entries[1].batch.count, 2u);
  const std::uint64_t second = cost(2);
  manual.clock.advance(begin + first - manual.clock.now_ns());
  held.finish();
  add();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(handed_over_at(), begin + first + second - options.max_delay_ns) << "it has begun with the second one";
  manual.clock.advance(begin + first + second - manual.clock.now_ns());
  held.finish();
  EXPECT_NEAR(static_cast<double>(cost(2)), static_cast<double>(second), 2)
      << "the time that a batch waited there is not its own";
  for (int i = 0; i < 4; ++i) add();
  ASSERT_EQ(held.size(), 2u) << "four are a full batch";
  EXPECT_EQ(held.entries[1].batch.count, 4u);
  held.finish(), held.finish();
  add();
  manual.clock.advance_us(1000);
  add();
  ASSERT_EQ(held.size(), 1u) << "overdue, but this one has not waited its max_delay";
  const std::uint64_t close = manual.clock.now_ns() + options.max_delay_ns;
  EXPECT_EQ(handed_over_at(), close);
  held.finish(1), held.finish();
  EXPECT_EQ(queue.poll().size(), requests.size());
}

TEST(Scheduler, ARequestMayAskForLessDelay) {
  Manual manual;
  Held held;
  TestEngine engine({{"device", false, 64, held.behaviour()}}, manual.options());
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000'000, 100});
  Queue queue(engine);
  Encaps first(oracle(), 1, 1), patient(oracle(), 1, 2), hasty(oracle(), 1, 3), again(oracle(), 1, 4);
  submit(engine, first, to(queue));
  engine.settle();
  submit(engine, patient, to(queue));
  manual.clock.advance_us(100);
  warpkem_submit_options soon = to(queue);
  soon.max_delay_us = 10;
  submit(engine, hasty, soon);
  manual.clock.advance_us(9);
  engine.settle();
  EXPECT_EQ(held.size(), 1u);
  manual.clock.advance_us(1);
  engine.settle();
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held.entries[1].batch.count, 2u);
  // The next ones of its kind are patient again.
  held.finish();
  submit(engine, again, to(queue));
  manual.clock.advance_us(100);
  engine.settle();
  EXPECT_EQ(held.size(), 1u);
  held.finish();
  engine.settle();
  held.finish();
}

TEST(Scheduler, BatchesFinishInAnyOrder) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.batch_items = 1;
  TestEngine engine({{"device", false, 1, held.behaviour()}}, options);
  Queue queue(engine);
  Encaps a(oracle(), 1, 1), b(oracle(), 1, 2);
  submit(engine, a, to(queue));
  submit(engine, b, to(queue));
  engine.settle();
  ASSERT_EQ(held.size(), 2u);
  held.finish(1);
  auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].user_data, &b);
  held.finish(0);
  completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].user_data, &a);
}

// A device with a batch of 1,000 items for which it takes 1 ms.
struct OneUnderWay {
  OneUnderWay() {
    model.calibrate({0, 2'000});
    submit(engine, first, to(queue));
    engine.settle();
    manual.clock.advance_us(960);
  }
  double cost() {
    return static_cast<double>(model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).of(first.batch.count));
  }

  Manual manual;
  Held held;
  TestEngine engine{{{"device", false, 1, held.behaviour()}}, manual.options()};
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  Queue queue{engine};
  Encaps first{oracle(), 1000, 1};
};

TEST(Scheduler, ABatchThatIsOvertakenCostsWhatItTookAllTheSame) {
  OneUnderWay s;
  Encaps second(oracle(), 1, 2);
  submit(s.engine, second, to(s.queue));
  s.manual.clock.advance_us(50);
  s.engine.settle();
  ASSERT_EQ(s.held.size(), 2u);
  s.held.finish(1);
  s.manual.clock.advance_us(10);
  s.held.finish();
  EXPECT_NEAR(s.cost(), 1'020'000, 50'000);
}

TEST(Scheduler, ABatchThatNoBackendGetsChangesNobodysCost) {
  OneUnderWay s;
  warpkem_keys* const keys = one_prepared_key(s.engine);
  const std::uint32_t none_such = 3;
  Encaps bad(oracle(), 1, 2);
  name_keys(bad, keys, &none_such);
  submit(s.engine, bad, to(s.queue));
  warpkem_keys_release(keys);
  s.manual.clock.advance_us(50);
  s.engine.settle();
  EXPECT_EQ(s.queue.poll().size(), 1u);
  ASSERT_EQ(s.held.size(), 1u);
  s.manual.clock.advance_us(10);
  s.held.finish();
  EXPECT_NEAR(s.cost(), 1'020'000, 50'000);
}

TEST(Scheduler, WhatABackendLeavesUndoneIsDoneElsewhereWithTheSameSeeds) {
  Manual manual;
  Held held;
  TestEngine engine({{"bad", false, 1, held.behaviour()}, {"good", true, 1, scripted::honest()}}, manual.options(),
                    one_thread());
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({0, 1});  // so that all goes there first
  Queue queue(engine);
  // Randomness is the engine's own here: the results are right if both halves belong to one m, so decapsulation agrees.
  const std::size_t n = 5;
  std::vector<std::uint8_t> c(768 * n), K(32 * n), K2(32 * n);
  std::vector<const std::uint8_t*> eks(n, oracle().ek.data());
  warpkem_batch b{};
  b.struct_size = sizeof b;
  b.operation = WARPKEM_OP_ENCAPS;
  b.algorithm = WARPKEM_ML_KEM_512;
  b.count = n;
  b.ek.table = eks.data();
  b.c_out = {c.data(), c.size(), 0, nullptr};
  b.K_out = {K.data(), K.size(), 0, nullptr};
  std::uint64_t by_backend[WARPKEM_MAX_BACKENDS];
  b.items_by_backend = by_backend;
  const warpkem_submit_options options = to(queue);
  check(warpkem_submit(engine.get(), &b, 1, &options, nullptr, nullptr));
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  std::vector<std::uint8_t> seeds;
  for (std::size_t i = 0; i < n; ++i)
    seeds.insert(seeds.end(), held.entries[0].batch.m[i], held.entries[0].batch.m[i] + 32);
  held.fail(0, 2);
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  EXPECT_EQ(by_backend[0], 2u);
  EXPECT_EQ(by_backend[1], 3u);
  b.items_by_backend = nullptr;
  b.flags = WARPKEM_DERAND;
  b.m = {seeds.data(), seeds.size(), 0, nullptr};
  std::vector<std::uint8_t> c2(c.size());
  b.c_out.data = c2.data(), b.K_out.data = K2.data();
  ASSERT_EQ(warpkem_run(oracle().engine, &b), WARPKEM_OK);
  EXPECT_EQ(c, c2);
  EXPECT_EQ(K, K2);
  EXPECT_EQ(engine.counters().redone, 3u);
}

TEST(Scheduler, WithEveryBackendGoneEachRequestCompletesWithAnErrorAndZeros) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}, {"b", true, 1, held.behaviour()}}, manual.options(),
                    one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 3, 1), f(oracle(), 1, 2);
  submit(engine, e, to(queue));
  submit(engine, f, to(queue));
  engine.settle();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(held.size(), 1u);
    held.fail(0, 1);
    engine.settle();
  }
  EXPECT_EQ(held.size(), 0u);
  for (const auto& completion : queue.poll()) {
    EXPECT_EQ(completion.status, WARPKEM_BACKEND_FAILED);
    EXPECT_EQ(completion.failed, completion.user_data == &e ? 3u : 1u);
  }
  EXPECT_TRUE(e.is_zero());
  EXPECT_TRUE(f.is_zero());
  EXPECT_EQ(e.statuses, std::vector<std::uint8_t>(3, WARPKEM_BACKEND_FAILED));
}

TEST(Scheduler, ABadItemFailsAloneInItsBatch) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  std::vector<std::uint8_t> bad(oracle().ek.size(), 0xff);
  Encaps good(oracle(), 2, 1), mixed(oracle(), 3, 2), lone(oracle(), 1, 3);
  mixed.eks[1] = bad.data();
  lone.eks[0] = bad.data();
  for (const Encaps* e : {&good, &mixed, &lone}) submit(engine, *e, to(queue));
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 3u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  EXPECT_EQ(completions[1].status, WARPKEM_ITEM_FAILED);
  EXPECT_EQ(completions[1].failed, 1u);
  EXPECT_EQ(completions[2].status, WARPKEM_INVALID_EK);
  EXPECT_TRUE(good.is_right());
  EXPECT_TRUE(lone.is_zero());
  EXPECT_EQ(mixed.statuses, (std::vector<std::uint8_t>{WARPKEM_OK, WARPKEM_INVALID_EK, WARPKEM_OK}));
  EXPECT_TRUE(std::all_of(mixed.K.begin() + 32, mixed.K.begin() + 64, [](auto b) { return b == 0; }));
  EXPECT_FALSE(std::all_of(mixed.K.begin() + 64, mixed.K.end(), [](auto b) { return b == 0; }));
}

TEST(Scheduler, PreparedKeysAreHeldByTheirRequestsAndBadIndicesFailAlone) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  warpkem_keys* const keys = one_prepared_key(engine);
  Encaps e(oracle(), 4, 7), other(oracle(), 1, 8);
  const std::uint32_t index[] = {0, 1, 0, 0xffffffff}, only_bad[] = {3};
  name_keys(e, keys, index);
  name_keys(other, keys, only_bad);
  submit(engine, other, to(queue));
  engine.settle();
  submit(engine, e, to(queue));
  warpkem_keys_release(keys);
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 2u);
  EXPECT_EQ(completions[0].status, WARPKEM_INVALID_KEY_INDEX);
  EXPECT_EQ(completions[1].status, WARPKEM_ITEM_FAILED);
  EXPECT_EQ(e.statuses,
            (std::vector<std::uint8_t>{WARPKEM_OK, WARPKEM_INVALID_KEY_INDEX, WARPKEM_OK, WARPKEM_INVALID_KEY_INDEX}));
  EXPECT_TRUE(other.is_zero());
}

TEST(Scheduler, AnExpiredRequestCompletesAsExpiredAlsoWhileEveryBackendIsBusy) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, manual.options(), one_thread());
  Queue queue(engine);
  Encaps begun(oracle(), 1, 1), late(oracle(), 2, 2), patient(oracle(), 1, 3);
  warpkem_submit_options soon = to(queue);
  soon.deadline_us = 100;
  submit(engine, begun, soon);
  engine.settle();
  submit(engine, late, soon);
  submit(engine, patient, to(queue));
  manual.clock.advance_us(99);
  engine.settle();
  EXPECT_TRUE(queue.poll().empty());
  manual.clock.advance_us(5'000);
  engine.settle();
  auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].user_data, &late);
  EXPECT_EQ(completions[0].status, WARPKEM_EXPIRED);
  EXPECT_EQ(completions[0].failed, 2u);
  EXPECT_TRUE(late.is_zero());
  held.finish();
  engine.settle();
  held.finish();
  EXPECT_EQ(queue.poll().size(), 2u) << "what had begun in time completes";
  EXPECT_TRUE(begun.is_right());
}

TEST(Scheduler, ALargeRequestThatBeganInTimeIsFinishedHoweverLate) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.batch_items = 2;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options, one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 5, 1);
  warpkem_submit_options soon = to(queue);
  soon.deadline_us = 100;
  submit(engine, e, soon);
  engine.settle();
  while (held.size() != 0) {
    manual.clock.advance_us(5'000);
    engine.settle();
    held.finish();
    engine.settle();
  }
  expect_done(queue, e);
}

TEST(Scheduler, CancelIsARequestThatComesInTimeOrNot) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, manual.options(), one_thread());
  Queue queue(engine);
  Encaps begun(oracle(), 1, 1), waiting(oracle(), 1, 2);
  const warpkem_request first = submit(engine, begun, to(queue));
  engine.settle();
  const warpkem_request second = submit(engine, waiting, to(queue));
  EXPECT_NE(first, second);
  check(warpkem_cancel(engine.get(), first));
  check(warpkem_cancel(engine.get(), second));
  check(warpkem_cancel(engine.get(), second));
  auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_CANCELLED);
  EXPECT_EQ(completions[0].request, second);
  EXPECT_EQ(waiting.statuses[0], WARPKEM_CANCELLED);
  EXPECT_TRUE(waiting.is_zero());
  held.finish();
  engine.settle();
  completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  // A handle of the past finds nobody, also when its place was given to another.
  Encaps third(oracle(), 1, 3);
  submit(engine, third, to(queue));
  check(warpkem_cancel(engine.get(), first));
  check(warpkem_cancel(engine.get(), second));
  check(warpkem_cancel(engine.get(), 0));
  check(warpkem_cancel(engine.get(), ~std::uint64_t{0}));
  engine.settle();
  held.finish();
  EXPECT_EQ(queue.poll().at(0).status, WARPKEM_OK);
}

TEST(Scheduler, ALargeRequestGoesInPiecesAndIsCancelledWhole) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.batch_items = 2;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options, one_thread());
  Queue queue(engine);
  Encaps whole(oracle(), 5, 1);
  submit(engine, whole, to(queue));
  for (int i = 0; i < 3; ++i) {
    engine.settle();
    ASSERT_EQ(held.size(), 1u);
    EXPECT_EQ(held.entries[0].batch.count, i < 2 ? 2u : 1u);
    EXPECT_TRUE(queue.poll().empty());
    held.finish();
  }
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_TRUE(whole.is_right());

  Encaps cut(oracle(), 5, 2);
  const warpkem_request request = submit(engine, cut, to(queue));
  engine.settle();
  check(warpkem_cancel(engine.get(), request));
  EXPECT_TRUE(queue.poll().empty()) << "a backend still writes to it";
  held.finish();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_CANCELLED);
  EXPECT_EQ(completions[0].failed, 5u);
  EXPECT_TRUE(cut.is_zero());
  EXPECT_EQ(cut.statuses, std::vector<std::uint8_t>(5, WARPKEM_CANCELLED));
}

TEST(Scheduler, ARefusalCountsEveryRequestThatWasOffered) {
  Manual manual;
  Held held;
  std::deque<Encaps> requests;
  std::vector<warpkem_batch> batches;
  for (std::uint32_t i = 0; i < 5; ++i) batches.push_back(requests.emplace_back(oracle(), 1, i).batch);
  const Encaps& one = requests.front();
  host::SchedulerOptions options = manual.options();
  options.most_items = 3;
  options.most_bytes = 2 * (oracle().ek.size() + one.m.size() + one.c.size() + one.K.size());
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options, one_thread());
  Queue queue(engine);
  const warpkem_submit_options o = to(queue);
  std::size_t submitted = 99;
  EXPECT_EQ(warpkem_submit(engine.get(), batches.data(), 5, &o, nullptr, &submitted), WARPKEM_WOULD_BLOCK);
  EXPECT_EQ(submitted, 2u) << "bytes bind before items";
  EXPECT_EQ(engine.counters().refused, 3u);
  engine.settle();
  held.finish();
  EXPECT_EQ(queue.poll().size(), 2u);
}

TEST(Scheduler, AFullQueueRefusesAtOnceAndLosesNothing) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.most_items = 3;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options, one_thread());
  Queue queue(engine);
  std::deque<Encaps> requests;
  std::vector<warpkem_batch> batches;
  for (std::uint32_t i = 0; i < 5; ++i) batches.push_back(requests.emplace_back(oracle(), 1, i).batch);
  const warpkem_submit_options o = to(queue);
  std::size_t submitted = 99;
  std::vector<warpkem_request> handles(5, 0);
  EXPECT_EQ(warpkem_submit(engine.get(), batches.data(), 5, &o, handles.data(), &submitted), WARPKEM_WOULD_BLOCK);
  EXPECT_EQ(submitted, 3u);
  EXPECT_NE(handles[2], 0u);
  EXPECT_EQ(handles[3], 0u);
  EXPECT_EQ(engine.counters().refused, 2u);
  engine.settle();
  held.finish();
  EXPECT_EQ(warpkem_submit(engine.get(), &batches[3], 1, &o, nullptr, nullptr), WARPKEM_WOULD_BLOCK)
      << "what nobody fetched still counts";
  EXPECT_EQ(queue.poll().size(), 3u);
  check(warpkem_submit(engine.get(), &batches[3], 2, &o, nullptr, nullptr));
  engine.settle();
  held.finish();
  EXPECT_EQ(queue.poll().size(), 2u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
}

TEST(Scheduler, AFullQueueInBytesToo) {
  Manual manual;
  host::SchedulerOptions options = manual.options();
  options.most_bytes = 5'000;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, options, one_thread());
  Queue queue(engine);
  Encaps large(oracle(), 8, 1), a(oracle(), 1, 2);
  const warpkem_submit_options o = to(queue);
  submit(engine, large, o);  // alone it may be larger than the bound
  EXPECT_EQ(warpkem_submit(engine.get(), &a.batch, 1, &o, nullptr, nullptr), WARPKEM_WOULD_BLOCK);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  submit(engine, a, o);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_EQ(engine.counters().bytes, 0u);
}

const Oracle& other_kind() {
  static const Oracle o(WARPKEM_ML_KEM_1024);
  return o;
}

// A device that always has a full batch waiting.
TEST(Scheduler, FullBatchesDoNotKeepOthersFromADevice) {
  for (const bool bulk : {false, true}) {
    Manual manual;
    Held held;
    host::SchedulerOptions options = manual.options();
    options.batch_items = 4;
    TestEngine engine({{"device", false, 1, held.behaviour()}}, options);
    engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000'000, 100});
    Queue queue(engine);
    warpkem_submit_options many = to(queue);
    if (bulk) many.request_class = WARPKEM_BULK;
    Encaps large(oracle(), 200, 1), lone(other_kind(), 1, 2);
    submit(engine, large, many);
    engine.settle();
    submit(engine, lone, to(queue));
    int batches = 0;
    for (; batches < 40 && held.entries[0].batch.algorithm != other_kind().algorithm; ++batches) {
      manual.clock.advance_us(1000);
      held.finish();
      engine.settle();
    }
    EXPECT_LE(batches, 3) << (bulk ? "bulk" : "interactive");
    while (held.size() != 0) held.finish(), engine.settle();
    EXPECT_EQ(queue.poll().size(), 2u);
  }
}

// Whose requests always have waited their delay when a batch ends.
TEST(Scheduler, TheHastyDoNotKeepOthersFromADevice) {
  for (const bool bulk : {false, true}) {
    Manual manual;
    Held held;
    TestEngine engine({{"device", false, 1, held.behaviour()}}, manual.options());
    engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000'000, 100});
    Queue queue(engine);
    warpkem_submit_options hasty = to(queue);
    hasty.max_delay_us = 10;
    if (bulk) hasty.request_class = WARPKEM_BULK;
    std::deque<Encaps> requests;
    const auto add = [&] { submit(engine, requests.emplace_back(oracle(), 1, 1), hasty); };
    Encaps lone(other_kind(), 1, 2);
    add();
    engine.settle();
    submit(engine, lone, to(queue));
    int batches = 0;
    for (; batches < 40 && held.entries[0].batch.algorithm != other_kind().algorithm; ++batches) {
      add();
      manual.clock.advance_us(500);
      engine.settle();
      manual.clock.advance_us(500);
      held.finish();
      engine.settle();
    }
    EXPECT_LE(batches, 4) << (bulk ? "bulk" : "interactive");
    while (held.size() != 0) held.finish(), engine.settle();
    EXPECT_EQ(queue.poll().size(), requests.size() + 1);
  }
}

TEST(Scheduler, BulkWaitsForInteractiveIsCutAndStillHasItsTurn) {
  Manual manual;
  Held held;
  TestEngine engine({{"device", false, 1, held.behaviour()}}, manual.options(), one_thread());
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  model.calibrate({0, 100'000});  // 100 us an item of ML-KEM-768
  const double item_ns = model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).item_ns;
  const auto bulk_cut_ns = static_cast<double>(engine.scheduler().options().bulk_cut_ns);
  Queue queue(engine);
  warpkem_submit_options bulk = to(queue);
  bulk.request_class = WARPKEM_BULK;
  Encaps large(oracle(), 1000, 1), quick(oracle(), 1, 2);
  submit(engine, large, bulk);
  submit(engine, quick, to(queue));
  engine.settle();
  ASSERT_GE(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, 1u) << "interactive first";
  bool had_turn = false;
  std::deque<Encaps> more;
  for (std::uint32_t i = 0; i < 60; ++i) {
    submit(engine, more.emplace_back(oracle(), 1, 10 + i), to(queue));
    const std::size_t count = held.entries[0].batch.count;
    if (count > 1) {
      had_turn = true;
      EXPECT_LE(static_cast<double>(count) * item_ns, 1.005 * bulk_cut_ns);
    }
    manual.clock.advance_us(static_cast<std::uint64_t>(static_cast<double>(count) * item_ns / 1000));
    held.finish();
    engine.settle();
  }
  EXPECT_TRUE(had_turn);
  while (held.size() != 0) held.finish(), engine.settle();
  EXPECT_EQ(queue.poll().size(), 62u);
  EXPECT_TRUE(large.is_right());
}

TEST(Scheduler, ALyingBackendIsFoundOutQuarantinedAndTakenBack) {
  Manual manual;
  auto bad = std::make_shared<std::atomic<std::uint64_t>>(0);
  host::SchedulerOptions options = manual.options();
  options.cpu_sentinel = 1;
  std::string logged;
  options.log = [](void* context, std::uint32_t, const char* text) { *static_cast<std::string*>(context) += text; };
  options.log_context = &logged;
  TestEngine engine({{"liar", true, 1, scripted::lying(1, 1, bad)}, {"good", true, 1, scripted::honest()}}, options,
                    one_thread());
  Queue queue(engine);
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < 8; ++i) submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 8u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
  EXPECT_EQ(engine.counters().quarantines, 1u);
  EXPECT_GE(engine.counters().mismatched, 1u);
  EXPECT_NE(logged.find("quarantine"), std::string::npos);
  EXPECT_TRUE(engine.engine().slots()[0].quarantined.load());
  const std::uint64_t lies = bad->load();

  Encaps sync(oracle(), 1, 99);
  check(warpkem_run(engine.get(), &sync.batch));
  EXPECT_TRUE(sync.is_right()) << "synchronous calls do not go there either";
  EXPECT_EQ(bad->load(), lies);

  check(warpkem_take_back(engine.get(), "liar"));
  EXPECT_EQ(warpkem_take_back(engine.get(), "nobody"), WARPKEM_UNSUPPORTED);
  Encaps again(oracle(), 1, 100);
  submit(engine, again, to(queue));
  engine.settle();
  EXPECT_GT(bad->load(), lies);
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_TRUE(again.is_right());
  EXPECT_EQ(engine.counters().quarantines, 2u);
}

TEST(Scheduler, ALyingCheckerIsNotBelieved) {
  Manual manual;
  auto bad = std::make_shared<std::atomic<std::uint64_t>>(0);
  host::SchedulerOptions options = manual.options();
  options.cpu_sentinel = 1;
  host::EngineOptions engine_options = one_thread();
  engine_options.backend = "good";
  TestEngine engine({{"liar", true, 1, scripted::lying(1, 1, bad)}, {"good", true, 1, scripted::honest()}}, options,
                    engine_options);
  Queue queue(engine);
  Encaps e(oracle(), 3, 1);
  submit(engine, e, to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_TRUE(e.is_right());
  EXPECT_TRUE(engine.engine().slots()[0].quarantined.load());
  EXPECT_FALSE(engine.engine().slots()[1].quarantined.load());
  EXPECT_EQ(engine.counters().unchecked, 3u);
}

TEST(Scheduler, WhatAFailedCheckRecomputedIsWiped) {
  Manual manual;
  Held checker;
  host::SchedulerOptions options = manual.options();
  options.cpu_sentinel = 1;
  TestEngine engine({{"a", true, 1, scripted::honest()}, {"checker", true, 1, checker.behaviour()}}, options,
                    one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 2, 1);
  submit(engine, e, to(queue));
  engine.settle();
  ASSERT_EQ(checker.size(), 1u);
  const std::uint8_t* const K = checker.entries[0].batch.K_out[0];  // stays, for the next check
  checker.entries[0].inner->submit(slice(checker.entries[0].batch, 0, 1),
                                   {[](void*, const host::Outcome&) noexcept {}, nullptr});
  EXPECT_TRUE(std::equal(K, K + 32, e.K.begin()));
  checker.fail(0, 1);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_EQ(engine.counters().unchecked, 2u);
  EXPECT_TRUE(std::all_of(K, K + 32, [](std::uint8_t b) { return b == 0; }));
  EXPECT_EQ(engine.engine().slots()[0].done.items(), 2u);
  EXPECT_EQ(engine.engine().slots()[1].done.items(), 0u) << "what is recomputed is no work done";
}

TEST(Scheduler, WhatADeviceWillHaveDoneSoonerIsLeftToItAlsoWhenItIsDue) {
  Manual manual;
  Held cpu, device;
  TestEngine engine({{"device", false, 64, device.behaviour()}, {"cpu", true, 1, cpu.behaviour()}}, manual.options(),
                    one_thread());
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  model.calibrate({200'000, 100});
  engine.scheduler().cost_model(engine.engine().slots()[1]).calibrate({0, 20'000});
  const std::uint64_t busy = model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).of(1000);
  Queue queue(engine);
  Encaps first(oracle(), 1000, 1), second(oracle(), 1000, 2), small(oracle(), 2, 3);
  submit(engine, first, to(queue));
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  submit(engine, second, to(queue));
  manual.clock.advance(busy - engine.scheduler().options().max_delay_ns - 1);
  engine.settle();
  EXPECT_EQ(cpu.size() + device.size(), 1u) << "due since long, but done soonest by the device";
  manual.clock.advance(1);
  engine.settle();
  ASSERT_EQ(device.size(), 2u);
  EXPECT_EQ(device.entries[1].batch.count, 1000u);
  device.finish();
  submit(engine, small, to(queue));
  engine.settle();
  EXPECT_EQ(cpu.size(), 1u) << "sooner done than the device is free";
  cpu.finish();
  manual.clock.advance(10 * busy);
  Encaps third(oracle(), 1000, 4);
  submit(engine, third, to(queue));
  engine.settle();
  EXPECT_EQ(cpu.size(), 1u) << "the device is overdue";
  while (cpu.size() + device.size() != 0) {
    if (cpu.size() != 0) cpu.finish();
    if (device.size() != 0) device.finish();
    engine.settle();
  }
  EXPECT_EQ(queue.poll().size(), 4u);
}

TEST(Scheduler, SmallWorkGoesToTheCpuAndLargeToTheDevice) {
  Manual manual;
  Held cpu, device;
  TestEngine engine({{"device", false, 64, device.behaviour()}, {"cpu", true, 1, cpu.behaviour()}}, manual.options(),
                    one_thread());
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({100'000, 100});
  engine.scheduler().cost_model(engine.engine().slots()[1]).calibrate({0, 20'000});
  Queue queue(engine);
  Encaps small(oracle(), 1, 1), large(oracle(), 5000, 2);
  submit(engine, small, to(queue));
  engine.settle();
  EXPECT_EQ(cpu.size(), 1u);
  EXPECT_EQ(device.size(), 0u);
  cpu.finish();
  submit(engine, large, to(queue));
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  EXPECT_GT(device.entries[0].batch.count, 4000u);
  while (cpu.size() + device.size() != 0) {
    while (cpu.size() != 0) cpu.finish();
    while (device.size() != 0) device.finish();
    engine.settle();
  }
  EXPECT_EQ(queue.poll().size(), 2u);
}

TEST(Scheduler, WhatASuspendedBackendIsLeftWithIsTakenWhenItMayWorkAgain) {
  Manual manual;
  Held cpu, device;
  host::EngineOptions forced = one_thread();
  forced.backend = "device";
  TestEngine engine({{"device", false, 1, device.behaviour()}, {"cpu", true, 1, cpu.behaviour()}}, manual.options(),
                    forced);
  Queue queue(engine);
  Encaps first(oracle(), 1, 1), second(oracle(), 1, 2);
  submit(engine, first, to(queue));
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  device.fail();
  engine.settle();
  ASSERT_EQ(cpu.size(), 1u) << "the device is suspended, and the only core busy with what it failed";
  submit(engine, second, to(queue));
  std::uint64_t next = 0;
  EXPECT_FALSE(engine.scheduler().step(next));
  EXPECT_GT(next, manual.clock.now_ns());
  ASSERT_NE(next, host::never) << "somebody must look again when the suspension ends";
  manual.clock.advance_us((next - manual.clock.now_ns()) / 1000);
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  device.finish(), cpu.finish();
  EXPECT_EQ(queue.poll().size(), 2u);
  EXPECT_TRUE(second.is_right());
}

TEST(Scheduler, NothingIsSubmittedWrongly) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  Encaps good(oracle(), 1, 1), wrong(oracle(), 1, 2);
  wrong.batch.K_out.bytes = 31;
  const warpkem_batch batches[] = {good.batch, wrong.batch, good.batch};
  const warpkem_submit_options o = to(queue);
  std::size_t submitted = 9;
  EXPECT_EQ(warpkem_submit(engine.get(), batches, 3, &o, nullptr, &submitted), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(submitted, 1u);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  warpkem_submit_options neither{};
  neither.struct_size = sizeof neither;
  EXPECT_EQ(warpkem_submit(engine.get(), batches, 1, &neither, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(warpkem_submit(engine.get(), batches, 1, nullptr, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
  TestEngine other({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  EXPECT_EQ(warpkem_submit(other.get(), batches, 1, &o, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
  warpkem_batch nothing{};
  nothing.struct_size = sizeof nothing;
  nothing.operation = WARPKEM_OP_ENCAPS;
  nothing.algorithm = WARPKEM_ML_KEM_512;
  check(warpkem_submit(engine.get(), &nothing, 1, &o, nullptr, nullptr));
  engine.settle();
  EXPECT_EQ(queue.poll().at(0).status, WARPKEM_OK);
  host::SchedulerOptions late;
  EXPECT_THROW(engine.get()->lazy_scheduler.configure(late), host::Error);
}

TEST(Scheduler, ItemsAreCountedByTheBackendThatDidThem) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 3, 1);
  std::uint64_t by_backend[WARPKEM_MAX_BACKENDS];
  std::fill(std::begin(by_backend), std::end(by_backend), 77);
  e.batch.items_by_backend = by_backend;
  submit(engine, e, to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_EQ(by_backend[0], 3u);
  EXPECT_EQ(by_backend[1], 0u);
}

}  // namespace
}  // namespace warpkem::testing
