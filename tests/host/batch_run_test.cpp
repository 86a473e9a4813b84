// One batch, stage by stage: what backends get of it, and what requests get of what backends did.
#include "host/serving/batch_run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <numeric>
#include <vector>

#include "host/api/arguments.hpp"
#include "host/engine/key_set.hpp"
#include "host/engine/waiter.hpp"
#include "tests/host/held.hpp"
#include "tests/support/keygen.hpp"

namespace warpkem::testing {
namespace {

using host::Batch;
using host::BatchRun;
using host::item_ok;
using host::item_pending;
using host::Operation;
using host::Request;
using host::Status;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t every_item = UINT32_MAX;  // the chance that choose() takes

bool is_zero(const std::uint8_t* data, std::size_t bytes) {
  return std::all_of(data, data + bytes, [](std::uint8_t b) { return b == 0; });
}

class BatchRunTest : public ::testing::Test {
 protected:
  // A request of this batch, all of it in the run or items [first, first + count).
  PlainRequest& add(const warpkem_batch& given) {
    return requests.emplace_back(host::checked_batch(engine.engine(), given, static_cast<Operation>(given.operation)));
  }
  PlainRequest& add_whole(const warpkem_batch& given) {
    PlainRequest& r = add(given);
    run.pieces.push_back({&r, 0, r.count});
    return r;
  }
  // The backend of that number does the first `items` of what it gets; returns how many are undone then.
  std::size_t compute(std::size_t backend, std::size_t items = SIZE_MAX) {
    run.slot = engine.engine().order()[backend];
    Batch batch = run.batch();
    batch = slice(batch, 0, std::min(items, batch.count));
    host::Waiter waiter;
    host::Backend& b = *run.slot->backend;
    if (host::give_form(batch, b, waiter.completion())) b.submit(batch, waiter.completion());
    waiter.wait();
    EXPECT_EQ(waiter.status(), Status::ok) << waiter.text();
    return run.collect();
  }
  std::vector<const Request*> scatter() {
    std::vector<const Request*> finished;
    run.scatter([&](const Request* r) { finished.push_back(r); });
    return finished;
  }

  Manual manual;
  TestEngine engine{
      {{"a", true, 1, scripted::honest()}, {"b", true, 1, scripted::honest()}}, manual.options(), one_thread()};
  host::Random& random = engine.engine().random();
  std::deque<PlainRequest> requests;
  BatchRun run;
};

TEST_F(BatchRunTest, ItsItemsAreThoseOfThePiecesInOrder) {
  Encaps x(oracle(), 3, 1), y(oracle(), 4, 2);
  const PlainRequest& whole = add_whole(x.batch);
  PlainRequest& part = add(y.batch);
  run.pieces.push_back({&part, 2, 2});
  EXPECT_FALSE(run.built());
  ASSERT_TRUE(run.build(random));
  EXPECT_TRUE(run.built());
  const Batch batch = run.batch();
  ASSERT_EQ(batch.count, 5u);
  EXPECT_EQ(batch.operation, Operation::encaps);
  EXPECT_EQ(batch.algorithm, oracle().algorithm);
  const std::size_t c_bytes = x.c.size() / 3;
  for (std::size_t i = 0; i < batch.count; ++i) {
    Encaps& of = i < 3 ? x : y;
    const std::size_t item = i < 3 ? i : i - 1;
    EXPECT_EQ(batch.m[i], of.m.data() + 32 * item);
    EXPECT_EQ(batch.ek[i], of.eks[item]);
    EXPECT_EQ(batch.c_out[i], of.c.data() + c_bytes * item);
    EXPECT_EQ(batch.K_out[i], of.K.data() + 32 * item);
    EXPECT_EQ(batch.statuses[i], item_pending);
  }
  EXPECT_EQ(compute(0), 0u);
  EXPECT_EQ(scatter(), std::vector<const Request*>{&whole}) << "two items of the other are still to come";
  EXPECT_TRUE(x.is_right());
  EXPECT_EQ(x.statuses, Bytes(3, WARPKEM_OK));
  EXPECT_EQ(y.statuses, (Bytes{0xEE, 0xEE, WARPKEM_OK, WARPKEM_OK}));
  EXPECT_EQ(part.left, 2u);
  run.reset();
  EXPECT_FALSE(run.built());
  run.pieces.push_back({&part, 0, 2});
  ASSERT_TRUE(run.build(random));
  EXPECT_EQ(compute(1), 0u);
  EXPECT_EQ(scatter(), std::vector<const Request*>{&part});
  EXPECT_TRUE(y.is_right());
}

TEST_F(BatchRunTest, WhatABackendLeavesUndoneGoesOnWithTheSameSeeds) {
  Encaps e(oracle(), 5, 1);
  e.batch.flags = 0, e.batch.m = {};
  std::uint64_t by_backend[WARPKEM_MAX_BACKENDS] = {};
  add_whole(e.batch).items_by_backend = by_backend;
  ASSERT_TRUE(run.build(random));
  const Batch first = run.batch();
  for (std::size_t i = 0; i < 5; ++i) std::copy_n(first.m[i], 32, e.m.begin() + static_cast<std::ptrdiff_t>(32 * i));
  for (std::size_t i = 1; i < 5; ++i) EXPECT_NE(memcmp(first.m[0], first.m[i], 32), 0);
  EXPECT_EQ(compute(0, 2), 3u);
  run.retry();
  EXPECT_EQ(run.batch_items(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(run.batch().m[i], first.m[2 + i]);
    EXPECT_EQ(run.batch().c_out[i], first.c_out[2 + i]);
  }
  EXPECT_EQ(compute(1), 0u);
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_EQ(by_backend[0], 2u);
  EXPECT_EQ(by_backend[1], 3u);
  e.batch.flags = WARPKEM_DERAND;
  e.batch.m = {e.m.data(), e.m.size(), 0, nullptr};
  EXPECT_TRUE(e.is_right());
}

TEST_F(BatchRunTest, WithoutRandomnessOnlyRequestsThatWantSomeFail) {
  Encaps given(oracle(), 3, 2), drawn(oracle(), 2, 3);
  drawn.batch.flags = 0, drawn.batch.m = {};
  const PlainRequest& has_m = add_whole(given.batch);
  const PlainRequest& wants_m = add_whole(drawn.batch);
  host::Random fails([](void*, std::uint8_t*, std::size_t) { return -1; }, nullptr);
  EXPECT_FALSE(run.build(fails));
  EXPECT_EQ(run.batch().count, 3u) << "they share a batch";
  EXPECT_EQ(compute(0), 0u);
  EXPECT_EQ(scatter(), (std::vector<const Request*>{&has_m, &wants_m}));
  EXPECT_TRUE(given.is_right());
  EXPECT_TRUE(drawn.is_zero());
  EXPECT_EQ(drawn.statuses, Bytes(2, WARPKEM_RNG_FAILED));
  EXPECT_EQ(static_cast<Status>(wants_m.fatal.load()), Status::rng_failed);
  EXPECT_EQ(has_m.fatal, 0u);
}

TEST_F(BatchRunTest, ABackendNeverGetsABadKeyIndexAndItsItemFailsAlone) {
  Bytes eks;
  for (int i = 0; i < 3; ++i) eks.insert(eks.end(), oracle().ek.begin(), oracle().ek.end());
  memset(eks.data() + oracle().ek.size(), 0xff, 3);
  warpkem_keys* keys = nullptr;
  EXPECT_EQ(
      warpkem_prepare_ek(engine.get(), WARPKEM_ML_KEM_512, 3, {eks.data(), eks.size(), 0}, nullptr, nullptr, &keys),
      WARPKEM_ITEM_FAILED);
  ASSERT_NE(keys, nullptr);
  const std::uint32_t index[] = {0, 1, 2, 3};
  Encaps e(oracle(), 4, 1);
  e.batch.ek = {}, e.batch.keys = keys, e.batch.index = index;
  const PlainRequest& r = add_whole(e.batch);
  ASSERT_TRUE(run.build(random));
  EXPECT_TRUE(run.kind().prepared);
  ASSERT_EQ(run.batch().count, 2u);
  EXPECT_EQ(run.batch().index[0], 0u);
  EXPECT_EQ(run.batch().index[1], 2u);
  EXPECT_EQ(compute(0), 0u);
  run.distrust();
  run.retry();
  EXPECT_EQ(run.batch().count, 2u) << "what the key decided stands";
  EXPECT_EQ(compute(1), 0u);
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_EQ(e.statuses, (Bytes{WARPKEM_OK, WARPKEM_INVALID_EK, WARPKEM_OK, WARPKEM_INVALID_KEY_INDEX}));
  EXPECT_EQ(r.fatal, 0u);
  EXPECT_EQ(r.failed, 2u);
  for (const std::size_t i : {1u, 3u}) EXPECT_TRUE(is_zero(&e.K[32 * i], 32));
  EXPECT_FALSE(is_zero(&e.K[64], 32));
  warpkem_keys_release(keys);
}

TEST_F(BatchRunTest, WhatABackendSaysOfAnItemIsThatItems) {
  Bytes bad(oracle().ek.size(), 0xff);
  Encaps mixed(oracle(), 3, 1), lone(oracle(), 1, 2);
  mixed.eks[1] = lone.eks[0] = bad.data();
  const PlainRequest &of_three = add_whole(mixed.batch), &of_one = add_whole(lone.batch);
  ASSERT_TRUE(run.build(random));
  EXPECT_EQ(compute(0), 0u);
  EXPECT_EQ(scatter().size(), 2u);
  EXPECT_EQ(mixed.statuses, (Bytes{WARPKEM_OK, WARPKEM_INVALID_EK, WARPKEM_OK}));
  EXPECT_TRUE(is_zero(&mixed.K[32], 32));
  EXPECT_TRUE(lone.is_zero());
  EXPECT_EQ(of_three.failed, 1u);
  EXPECT_EQ(of_one.last_failure, WARPKEM_INVALID_EK);
  EXPECT_EQ(of_three.fatal, 0u);
  EXPECT_EQ(of_one.fatal, 0u);
}

TEST_F(BatchRunTest, WhatNobodyDidEndsItsRequestAsAWhole) {
  Encaps done(oracle(), 2, 1), lost(oracle(), 2, 2);
  const PlainRequest &first = add_whole(done.batch), &second = add_whole(lost.batch);
  ASSERT_TRUE(run.build(random));
  EXPECT_EQ(compute(0, 3), 1u);
  run.fail_pending(Status::backend_failed);
  EXPECT_EQ(scatter().size(), 2u);
  EXPECT_TRUE(done.is_right());
  EXPECT_EQ(first.fatal, 0u);
  EXPECT_EQ(lost.statuses, (Bytes{WARPKEM_OK, WARPKEM_BACKEND_FAILED}));
  EXPECT_EQ(static_cast<Status>(second.fatal.load()), Status::backend_failed);
  EXPECT_TRUE(is_zero(&lost.K[32], 32));
}

TEST_F(BatchRunTest, WithoutTablesEveryItemGetsTheFailure) {
  Encaps e(oracle(), 2, 1);
  const PlainRequest& r = add_whole(e.batch);
  run.failure = Status::out_of_memory;
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_EQ(e.statuses, Bytes(2, WARPKEM_OUT_OF_MEMORY));
  EXPECT_TRUE(e.is_zero());
  EXPECT_EQ(static_cast<Status>(r.fatal.load()), Status::out_of_memory);
  run.reset();
  EXPECT_EQ(run.failure, Status::backend_failed);
}

TEST_F(BatchRunTest, ASampleIsRecomputedApartAndEveryDifferenceCounts) {
  Encaps e(oracle(), 4, 1);
  add_whole(e.batch);
  ASSERT_TRUE(run.build(random));
  EXPECT_EQ(compute(0), 0u);
  std::uint64_t dice = 1;
  ASSERT_TRUE(run.choose(every_item, dice));
  EXPECT_EQ(run.stage, BatchRun::Stage::check);
  const Batch sample = run.batch();
  ASSERT_EQ(sample.count, 4u);
  const auto is_inside = [](const Bytes& bytes, const std::uint8_t* p) {
    return std::less_equal<>()(bytes.data(), p) && std::less<>()(p, bytes.data() + bytes.size());
  };
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(sample.m[i], e.m.data() + 32 * i);
    EXPECT_FALSE(is_inside(e.K, sample.K_out[i]) || is_inside(e.c, sample.c_out[i]));
  }
  EXPECT_EQ(compute(1, 2), 2u);
  run.check_again();
  EXPECT_EQ(std::count(sample.statuses, sample.statuses + 4, item_pending), 4);
  EXPECT_EQ(compute(1), 0u);
  EXPECT_EQ(run.compare(), 0u);
  const std::size_t c_bytes = e.c.size() / 4;
  e.K[31] ^= 1;                             // of item 0, the last byte
  e.c[c_bytes] ^= 0x80;                     // of item 1, the first
  sample.statuses[2] = WARPKEM_INVALID_EK;  // of item 2
  EXPECT_EQ(run.compare(), 3u);
  e.K[32] ^= 1;  // one item that differs twice
  EXPECT_EQ(run.compare(), 3u);
  run.distrust();
  run.retry();
  EXPECT_EQ(compute(1), 0u);
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_TRUE(e.is_right());
}

TEST_F(BatchRunTest, OutputsOfFailedItemsAreNotCompared) {
  Bytes bad(oracle().ek.size(), 0xff);
  Encaps e(oracle(), 2, 1);
  e.eks[1] = bad.data();
  add_whole(e.batch);
  ASSERT_TRUE(run.build(random));
  EXPECT_EQ(compute(0), 0u);
  std::uint64_t dice = 1;
  ASSERT_TRUE(run.choose(every_item, dice));
  EXPECT_EQ(compute(1), 0u);
  e.K[32] ^= 1, e.c.back() ^= 1;
  EXPECT_EQ(run.compare(), 0u);
}

TEST_F(BatchRunTest, ASampleIsAboutAsLargeAsItsChance) {
  Encaps e(oracle(), 400, 1);
  add_whole(e.batch);
  ASSERT_TRUE(run.build(random));
  std::uint64_t dice = 0x9E3779B97F4A7C15;
  ASSERT_TRUE(run.choose(every_item / 4, dice));
  EXPECT_NEAR(static_cast<double>(run.chosen_items()), 100, 40);
  const std::size_t once = run.chosen_items();
  std::size_t sum = once;
  for (int i = 0; i < 9; ++i) sum += run.choose(every_item / 4, dice) ? run.chosen_items() : 0;
  EXPECT_NE(sum, 10 * once) << "the dice go on";
  std::size_t none = 0;
  for (int i = 0; i < 9; ++i) none += run.choose(0, dice) ? 0 : 1;
  EXPECT_EQ(none, 9u);
}

TEST_F(BatchRunTest, ItsSecretsAreWipedBeforeItIsSpare) {
  Encaps e(oracle(), 3, 1);
  e.batch.flags = 0, e.batch.m = {};
  add_whole(e.batch);
  ASSERT_TRUE(run.build(random));
  const std::uint8_t* const m = run.batch().m[0];
  EXPECT_EQ(compute(0), 0u);
  std::uint64_t dice = 1;
  ASSERT_TRUE(run.choose(every_item, dice));
  EXPECT_EQ(compute(1), 0u);
  const std::uint8_t *const c = run.batch().c_out[0], *const K = run.batch().K_out[0];
  EXPECT_FALSE(is_zero(m, 3 * 32) || is_zero(c, e.c.size()) || is_zero(K, 3 * 32));
  run.reset_secrets();
  EXPECT_TRUE(is_zero(m, 3 * 32) && is_zero(c, e.c.size()) && is_zero(K, 3 * 32));
}

class PairsOfABatchRun : public BatchRunTest {
 protected:
  // Four pairs, numbered from 1 on, of which every second is tested: items 1 and 3.
  void SetUp() override {
    add_whole(keygen.batch);
    ASSERT_TRUE(run.build(random));
    EXPECT_EQ(compute(0), 0u);
    run.expect_pairs(1);
    EXPECT_TRUE(run.tests_pairs());
    EXPECT_FALSE(run.are_pairs_prepared());
  }
  void test_pairs() {
    run.prepare_pairs(choice, random);
    EXPECT_EQ(run.stage_kind().operation, Operation::encaps);
    EXPECT_EQ(run.batch().count, 2u);
    EXPECT_EQ(run.batch().ek[0], keygen.ek.data() + oracle().ek.size());
    EXPECT_EQ(compute(1), 0u);
    run.go_on_with_decaps();
    EXPECT_EQ(run.stage_kind().operation, Operation::decaps);
    K_prime = run.batch().K_out[1];
    EXPECT_EQ(compute(1), 0u);
  }

  test::Keygen keygen{WARPKEM_ML_KEM_512, WARPKEM_DK_EXPANDED, 4};
  const host::PairwiseChoice choice{2};
  std::uint8_t* K_prime = nullptr;  // of the second pair that is tested
};

TEST_F(PairsOfABatchRun, RightOnesPass) {
  test_pairs();
  EXPECT_EQ(run.judge_pairs(), 0u);
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_EQ(keygen.statuses, Bytes(4, WARPKEM_OK));
}

TEST_F(PairsOfABatchRun, AWrongOneFailsAlone) {
  test_pairs();
  K_prime[0] ^= 1;
  EXPECT_EQ(run.judge_pairs(), 1u);
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_EQ(keygen.statuses, (Bytes{WARPKEM_OK, WARPKEM_OK, WARPKEM_OK, WARPKEM_PAIRWISE_FAILED}));
  EXPECT_TRUE(is_zero(&keygen.dk[3 * oracle().dk.size()], oracle().dk.size()));
  EXPECT_EQ(requests.front().fatal, 0u);
}

TEST_F(PairsOfABatchRun, ThoseThatCouldNotBeTestedEndTheirRequest) {
  run.fail_pairs(choice, Status::rng_failed);
  EXPECT_EQ(scatter().size(), 1u);
  EXPECT_EQ(keygen.statuses, (Bytes{WARPKEM_OK, WARPKEM_RNG_FAILED, WARPKEM_OK, WARPKEM_RNG_FAILED}));
  EXPECT_EQ(static_cast<Status>(requests.front().fatal.load()), Status::rng_failed);
}

}  // namespace
}  // namespace warpkem::testing
