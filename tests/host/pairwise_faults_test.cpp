// The pairwise consistency test over backends that make wrong keys, or wrong secrets of right ones: every wrong pair
// that is tested is caught, blocking and submitted, and nothing else fails.
#include <gtest/gtest.h>
#include <string.h>

#include "host/core/outputs.hpp"
#include "host/engine/waiter.hpp"
#include "tests/host/serving.hpp"
#include "tests/support/keygen.hpp"

namespace warpkem::testing {
namespace {

using host::Operation;
using test::Keygen;

// A backend with a fault in one operation: it flips a bit in the first byte of dk, or of K, of each item i for which
// wrong(i) is true.
scripted::Behaviour faulty(Operation operation, std::function<bool(std::size_t)> wrong) {
  return [=](host::Backend& inner, const host::Batch& batch, host::Completion done) {
    host::Waiter waiter;
    inner.submit(batch, waiter.completion());
    waiter.wait();
    const host::Out& out = batch.operation == Operation::keygen ? batch.dk_out : batch.K_out;
    for (std::size_t i = 0; batch.operation == operation && i < batch.count; ++i) {
      if (wrong(i)) out[i][0] ^= 1;
    }
    done.call(done.context, {});
  };
}

bool is_zero(const Keygen& keygen, std::size_t i) {
  const auto zero = [&](const std::vector<std::uint8_t>& all) {
    const std::size_t bytes = all.size() / keygen.batch.count;
    return std::all_of(all.begin() + static_cast<std::ptrdiff_t>(i * bytes),
                       all.begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes),
                       [](std::uint8_t byte) { return byte == 0; });
  };
  EXPECT_EQ(zero(keygen.ek), zero(keygen.dk));
  return zero(keygen.ek);
}

warpkem_status run(TestEngine& engine, const Keygen& keygen, bool submitted) {
  if (!submitted) return warpkem_run(engine.get(), &keygen.batch);
  Queue queue(engine);
  const auto options = to(queue);
  check(warpkem_submit(engine.get(), &keygen.batch, 1, &options, nullptr, nullptr));
  const auto done = queue.wait();
  EXPECT_EQ(done.size(), 1u);
  return done.empty() ? WARPKEM_ABORTED : done[0].status;
}

host::EngineOptions every(std::size_t n) {
  host::EngineOptions options;
  options.threads = 1;  // else a batch may be cut, and its items counted anew
  options.pairwise_every = n;
  return options;
}

// How the batch went, where these items were wrong.
void expect_failed(const Keygen& keygen, warpkem_status status, std::function<bool(std::size_t)> wrong) {
  std::size_t bad = 0;
  for (std::size_t i = 0; i < keygen.batch.count; ++i) {
    EXPECT_EQ(keygen.statuses[i], wrong(i) ? WARPKEM_PAIRWISE_FAILED : WARPKEM_OK) << "item " << i;
    EXPECT_EQ(is_zero(keygen, i), wrong(i)) << "item " << i;
    bad += wrong(i);
  }
  EXPECT_EQ(keygen.failed, bad);
  EXPECT_EQ(status, bad != 0 ? WARPKEM_ITEM_FAILED : WARPKEM_OK);
}

class PairwiseFaults : public ::testing::TestWithParam<bool> {
 protected:
  const bool submitted = GetParam();
};

TEST_P(PairwiseFaults, WrongKeysOfEveryAlgorithmAndForm) {
  const auto wrong = [](std::size_t i) { return i == 1 || i >= 4; };
  TestEngine engine({{.name = "faulty", .behaviour = faulty(Operation::keygen, wrong)}}, threaded(), every(1));
  for (warpkem_algorithm algorithm = 1; warpkem_algorithm_name(algorithm) != nullptr; ++algorithm) {
    for (const std::uint32_t format : {WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED, WARPKEM_DK_COMPOSITE}) {
      Keygen keygen(algorithm, format, 6);
      if (keygen.dk.empty()) continue;  // there is no such form
      SCOPED_TRACE(::testing::Message() << warpkem_algorithm_name(algorithm) << ", format " << format);
      expect_failed(keygen, run(engine, keygen, submitted), wrong);
    }
  }
}

TEST_P(PairwiseFaults, WrongSecretsOfEitherSide) {
  const auto wrong = [](std::size_t i) { return i == 0 || i == 3; };
  for (const Operation operation : {Operation::encaps, Operation::decaps}) {
    TestEngine engine({{.name = "faulty", .behaviour = faulty(operation, wrong)}}, threaded(), every(1));
    Keygen keygen(WARPKEM_ML_KEM_768, WARPKEM_DK_SEED, 5);
    expect_failed(keygen, run(engine, keygen, submitted), wrong);
  }
}

TEST_P(PairwiseFaults, OneOfSoManyIsCountedOverCalls) {
  const auto all = [](std::size_t) { return true; };
  TestEngine engine({{.name = "faulty", .behaviour = faulty(Operation::keygen, all)}}, threaded(), every(3));
  Keygen five(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 5), four(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 4);
  expect_failed(five, run(engine, five, submitted), [](std::size_t i) { return i % 3 == 0; });
  expect_failed(four, run(engine, four, submitted), [](std::size_t i) { return (i + 5) % 3 == 0; });
  Keygen one(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 1);
  const warpkem_status status = run(engine, one, submitted);  // number 9
  EXPECT_EQ(status, submitted ? WARPKEM_PAIRWISE_FAILED : WARPKEM_ITEM_FAILED);
  EXPECT_TRUE(is_zero(one, 0));
}

TEST_P(PairwiseFaults, GivenSeedsAreTestedToo) {
  const auto wrong = [](std::size_t i) { return i == 2; };
  TestEngine engine({{.name = "faulty", .behaviour = faulty(Operation::keygen, wrong)}}, threaded(), every(1));
  Keygen keygen(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 4);
  const std::vector<std::uint8_t> seeds(4 * 64, 7);
  keygen.batch.flags = WARPKEM_DERAND;
  keygen.batch.seeds = {seeds.data(), seeds.size(), 0, nullptr};
  expect_failed(keygen, run(engine, keygen, submitted), wrong);
}

// A backend that fails to do the test is no judge: another one is.
TEST_P(PairwiseFaults, AnotherBackendTestsWhereOneFailsTo) {
  const auto fails = [](host::Backend& inner, const host::Batch& batch, host::Completion done) {
    if (batch.operation == Operation::keygen) return inner.submit(batch, done);
    done.call(done.context, {host::Status::backend_failed, "told to fail"});
  };
  TestEngine engine({{.name = "fails", .behaviour = fails}, {.name = "honest", .behaviour = scripted::honest()}},
                    threaded(), every(1));
  Keygen keygen(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 4);
  expect_failed(keygen, run(engine, keygen, submitted), [](std::size_t) { return false; });
}

// Untested pairs are not given away.
TEST_P(PairwiseFaults, WhatCannotBeTestedFails) {
  const auto lacks = [](Operation operation, std::uint32_t, host::DkFormat) { return operation == Operation::decaps; };
  TestEngine engine({{.name = "lacking", .behaviour = scripted::honest(), .lacks = lacks}}, threaded(), every(2));
  Keygen keygen(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 4);
  const warpkem_status status = run(engine, keygen, submitted);
  EXPECT_TRUE(status == WARPKEM_UNSUPPORTED || status == WARPKEM_BACKEND_FAILED) << status;
  for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(is_zero(keygen, i)) << i;
  EXPECT_EQ(keygen.failed, 4u);
}

TEST_P(PairwiseFaults, WithoutRandomnessForTheTestThereAreNoKeys) {
  host::EngineOptions options = every(1);
  std::atomic<int> left{1};  // for the seeds
  options.random_context = &left;
  options.random = [](void* context, std::uint8_t* out, std::size_t bytes) -> int {
    memset(out, 3, bytes);
    return static_cast<std::atomic<int>*>(context)->fetch_sub(1) > 0 ? 0 : 1;
  };
  TestEngine engine({{.name = "honest", .behaviour = scripted::honest()}}, threaded(), options);
  Keygen keygen(WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 3);
  left = 1;  // the engine may have tried it
  EXPECT_EQ(run(engine, keygen, submitted), WARPKEM_RNG_FAILED);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(is_zero(keygen, i)) << i;
}

INSTANTIATE_TEST_SUITE_P(Calls, PairwiseFaults, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Submitted" : "Blocking"; });

TEST(PairwiseOfRequests, OnlyTheRequestWithTheWrongPairFails) {
  const auto wrong = [](std::size_t i) { return i == 2; };
  host::SchedulerOptions options = threaded();
  options.threads = false;  // one batch of all
  TestEngine engine({{.name = "faulty", .behaviour = faulty(Operation::keygen, wrong)}}, options, every(1));
  Queue queue(engine);
  const auto to_queue = to(queue);
  std::vector<std::unique_ptr<Keygen>> requests;
  for (std::size_t i = 0; i < 5; ++i) {
    requests.push_back(std::make_unique<Keygen>(WARPKEM_ML_KEM_512, WARPKEM_DK_SEED, 1));
    requests.back()->batch.user_data = requests.back().get();
    check(warpkem_submit(engine.get(), &requests.back()->batch, 1, &to_queue, nullptr, nullptr));
  }
  engine.settle();
  const auto done = queue.poll();
  ASSERT_EQ(done.size(), 5u);
  std::size_t failed = 0;
  for (const auto& completion : done) {
    const auto& keygen = *static_cast<Keygen*>(completion.user_data);
    EXPECT_EQ(is_zero(keygen, 0), completion.status == WARPKEM_PAIRWISE_FAILED);
    failed += completion.status == WARPKEM_PAIRWISE_FAILED;
    EXPECT_TRUE(completion.status == WARPKEM_OK || completion.status == WARPKEM_PAIRWISE_FAILED);
  }
  EXPECT_EQ(failed, 1u);
}

}  // namespace
}  // namespace warpkem::testing
