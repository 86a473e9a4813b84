// The scheduler, step by step: a manual clock, and backends that do as they are told.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

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

}  // namespace
}  // namespace warpkem::testing
