// What waits, by kind, and whose turn it is: a batch former, stepped by hand.
#include "host/serving/batch_former.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "host/serving/completion_queue.hpp"
#include "host/serving/prepared_set.hpp"
#include "tests/host/serving.hpp"

namespace warpkem::testing {
namespace {

using host::BatchFormer;
using host::Bucket;
using host::Piece;
using host::Request;
using host::RequestChain;
using host::RequestClass;
using host::Status;

constexpr warpkem_algorithm kind_a = WARPKEM_ML_KEM_512, kind_b = WARPKEM_ML_KEM_1024, kind_c = WARPKEM_ML_KEM_768;

class BatchFormerTest : public ::testing::Test {
 protected:
  struct Batch {
    warpkem_algorithm algorithm = 0;  // 0: there was none
    RequestClass request_class{};
    std::vector<Piece> pieces;
    std::size_t items() const {
      std::size_t sum = 0;
      for (const Piece& piece : pieces) sum += piece.count;
      return sum;
    }
    // Which requests it has items of.
    std::vector<const Request*> requests() const {
      std::vector<const Request*> all;
      for (const Piece& piece : pieces) all.push_back(piece.request);
      return all;
    }
  };

  PlainRequest& make(warpkem_algorithm kind, std::size_t count = 1, RequestClass of_class = RequestClass::interactive) {
    host::Batch batch;
    batch.operation = host::Operation::encaps;
    batch.algorithm = kind;
    batch.count = count;
    return requests.emplace_back(batch, of_class);
  }
  PlainRequest& add(warpkem_algorithm kind, std::size_t count = 1, RequestClass of_class = RequestClass::interactive,
                    bool is_large = false) {
    PlainRequest& r = make(kind, count, of_class);
    former.add(&r, is_large);
    return r;
  }
  PlainRequest& add_large(std::size_t count) { return add(kind_a, count, RequestClass::interactive, true); }

  // The batch whose turn it is. Each takes a backend as long as any other.
  Batch take(std::size_t most = 1, std::size_t slack = 0) {
    Batch batch;
    Bucket* const bucket = former.next([](const Bucket&) { return true; });
    if (bucket == nullptr) return batch;
    batch.algorithm = bucket->kind.algorithm;
    batch.request_class = bucket->request_class;
    former.take(*bucket, most, slack, now_ns, batch.pieces, ended);
    former.charge(*bucket, 20'000);
    return batch;
  }
  // How many batches are taken until one is of that kind, itself included; `most` at the most.
  int until(warpkem_algorithm kind, int most = 10) {
    for (int batches = 1; batches < most; ++batches) {
      if (take().algorithm == kind) return batches;
    }
    return most;
  }
  void take_all() {
    while (former.items() != 0) take();
  }
  // What was ended since the last call, with that status.
  std::vector<const Request*> ended_with(Status fatal) {
    std::vector<const Request*> all;
    for (const Request* r = ended.first; r != nullptr; r = r->next) {
      EXPECT_EQ(static_cast<Status>(r->fatal.load()), fatal);
      all.push_back(r);
    }
    ended = {};
    return all;
  }

  BatchFormer former;
  std::uint64_t now_ns = 1'000'000;
  RequestChain ended;
  std::deque<PlainRequest> requests;
};

TEST_F(BatchFormerTest, NoKindStarvesAnother) {
  for (int i = 0; i < 40; ++i) add(kind_a);
  take();
  add(kind_b);
  EXPECT_LE(until(kind_b), 2);
}

TEST_F(BatchFormerTest, AKindThatWasServedForLongWaitsForNobodysArrears) {
  for (int i = 0; i < 40; ++i) add(kind_a);
  take_all();
  // Nothing waits. Then another kind comes first, and more of it than the first one was served.
  for (int i = 0; i < 40; ++i) add(kind_b);
  take();
  add(kind_a);
  EXPECT_LE(until(kind_a), 2);
}

TEST_F(BatchFormerTest, KindsThatAreNotAcceptedKeepTheirTurn) {
  add(kind_a), add(kind_b), add(kind_c);
  const auto first_of = [&](std::initializer_list<warpkem_algorithm> accepted) {
    const Bucket* const bucket =
        former.next([&](const Bucket& b) { return std::ranges::find(accepted, b.kind.algorithm) != accepted.end(); });
    return bucket != nullptr ? bucket->kind.algorithm : 0;
  };
  EXPECT_EQ(first_of({}), 0u);
  EXPECT_EQ(first_of({kind_c}), kind_c);
  EXPECT_EQ(first_of({kind_b, kind_c}), kind_b);
  EXPECT_EQ(take().algorithm, kind_a);
}

// Neither of two kinds that come upon a bulk batch waits for two.
TEST_F(BatchFormerTest, BulkGoesOnOnlyAfterAllThatIsInteractive) {
  for (int i = 0; i < 3; ++i) add(kind_a, 1, RequestClass::bulk);
  EXPECT_EQ(take().algorithm, kind_a);
  add(kind_b), add(kind_c);
  EXPECT_NE(take().algorithm, kind_a);
  EXPECT_NE(take().algorithm, kind_a);
  EXPECT_EQ(take().algorithm, kind_a);
}

TEST_F(BatchFormerTest, BulkHasItsTurnAlsoWhenEveryBatchTakesAllThatIsInteractive) {
  add(kind_a);
  take();
  // Some turns that interactive work has had while both wait.
  add(kind_b, 1, RequestClass::bulk);
  int batches = 0;
  for (warpkem_algorithm taken = 0; batches < 40 && taken != kind_b; ++batches) {
    add(kind_a);
    taken = take().algorithm;
  }
  EXPECT_LE(batches, static_cast<int>(BatchFormer::bulk_share) + 1);
}

TEST_F(BatchFormerTest, WhileBothClassesWaitBulkHasItsShareOfTheTime) {
  constexpr int turns = 20;
  constexpr int num_batches = turns * static_cast<int>(BatchFormer::bulk_share + 1);
  for (int i = 0; i <= num_batches; ++i) add(kind_a), add(kind_a, 1, RequestClass::bulk);
  int bulk = 0;
  for (int i = 0; i < num_batches; ++i) bulk += take().request_class == RequestClass::bulk ? 1 : 0;
  EXPECT_NEAR(bulk, turns, 1);
}

TEST_F(BatchFormerTest, NewPreparedSetsDoNotStarveOthers) {
  const host::ForkGuard fork_guard;
  std::vector<std::unique_ptr<host::PreparedSet>> sets;
  const auto add_with_new_set = [&] {
    const std::uint8_t record[1] = {};
    host::Batch batch;
    batch.operation = host::Operation::prepare_ek;
    batch.algorithm = kind_a;
    batch.count = 1;
    batch.ek = {record, 1, nullptr};
    sets.push_back(std::make_unique<host::PreparedSet>(nullptr, fork_guard, batch, sizeof record));
    PlainRequest& r = make(kind_a);
    r.work.keys = sets.back().get();
    former.add(&r, false);
    EXPECT_EQ(r.bucket, sets.back()->buckets.data());
    EXPECT_TRUE(r.bucket->kind.prepared);
  };
  add_with_new_set(), add_with_new_set();
  take();
  add(kind_b), add(kind_b);
  for (const char* const which : {"new", "after a turn"}) {
    int batches = 0;
    for (warpkem_algorithm taken = 0; batches < 20 && taken != kind_b; ++batches) {
      add_with_new_set();
      taken = take().algorithm;
    }
    EXPECT_LE(batches, 3) << which;
  }
  take_all();
}

TEST_F(BatchFormerTest, ARequestThatIsNotTakenWholeStaysAtTheHead) {
  const PlainRequest &first = add(kind_a, 5), &second = add(kind_a, 2);
  Batch batch = take(3);
  ASSERT_EQ(batch.requests(), std::vector<const Request*>{&first});
  EXPECT_EQ(batch.pieces[0].first, 0u);
  EXPECT_EQ(batch.pieces[0].count, 3u);
  EXPECT_EQ(former.items(), 4u);
  batch = take(3);
  ASSERT_EQ(batch.requests(), (std::vector<const Request*>{&first, &second}));
  EXPECT_EQ(batch.pieces[0].first, 3u);
  EXPECT_EQ(batch.pieces[0].count, 2u);
  EXPECT_EQ(batch.pieces[1].first, 0u);
  EXPECT_EQ(batch.pieces[1].count, 1u);
  batch = take(3);
  ASSERT_EQ(batch.requests(), std::vector<const Request*>{&second});
  EXPECT_EQ(batch.pieces[0].first, 1u);
  EXPECT_EQ(former.items(), 0u);
  EXPECT_EQ(former.first_active(), nullptr);
}

TEST_F(BatchFormerTest, ABatchGoesOnALittleForTheQueueThatItEndsWith) {
  const auto store = std::make_shared<host::RequestStore>();
  const auto link = std::make_shared<host::SchedulerLink>(nullptr);
  host::CompletionQueue first(store, link), second(store, link), third(store, link);
  constexpr std::size_t most = 256, slack = most / 2;
  add(kind_a, 200).queue = &first;
  add(kind_a, 50).queue = &second;
  add(kind_a, 50).queue = &second;
  add(kind_a, 10).queue = &third;
  EXPECT_EQ(take(most, slack).items(), 300u) << "256 and the rest of the third";
  EXPECT_EQ(take(most, slack).items(), 10u);
  // A request that is longer than the slack does not join, nor does one with a callback.
  add(kind_a, most).queue = &first;
  add(kind_a, slack + 1).queue = &first;
  EXPECT_EQ(take(most, slack).items(), most);
  EXPECT_EQ(take(most, slack).items(), slack + 1);
  add(kind_a, most), add(kind_a, 1);
  EXPECT_EQ(take(most, slack).items(), most);
}

TEST_F(BatchFormerTest, WhatWasCancelledOrHasExpiredIsEndedInPlaceOfTaken) {
  PlainRequest &cancelled = add(kind_a, 2), &expired = add(kind_a, 2), &in_time = add(kind_a, 2);
  cancelled.state = Request::live | Request::cancel_asked;
  expired.deadline_ns = now_ns;
  in_time.deadline_ns = now_ns + 1;
  const Batch batch = take(6);
  EXPECT_EQ(batch.requests(), std::vector<const Request*>{&in_time});
  EXPECT_EQ(static_cast<Status>(cancelled.fatal.load()), Status::cancelled);
  EXPECT_EQ(static_cast<Status>(expired.fatal.load()), Status::expired);
  EXPECT_EQ(ended.size, 2u);
  EXPECT_EQ(cancelled.left, 0u);
  EXPECT_EQ(in_time.left, 2u) << "a batch has its items";
  EXPECT_EQ(former.items(), 0u);
}

TEST_F(BatchFormerTest, WhatWasBegunDoesNotExpireAndIsEndedByWhoHasTheRest) {
  PlainRequest& r = add(kind_a, 5);
  r.deadline_ns = now_ns + 1;
  EXPECT_EQ(take(2).items(), 2u);
  now_ns += 1'000;
  EXPECT_EQ(take(2).items(), 2u);
  r.state = Request::live | Request::cancel_asked;
  EXPECT_EQ(take(2).items(), 0u);
  EXPECT_TRUE(ended.empty()) << "batches have four of its items";
  EXPECT_EQ(r.left, 4u);
  EXPECT_EQ(static_cast<Status>(r.fatal.load()), Status::cancelled);
  EXPECT_EQ(former.first_active(), nullptr);
}

TEST_F(BatchFormerTest, LargeOnesStandBehindTheOthersAndTakeTurns) {
  const PlainRequest &x = add_large(30), &y = add_large(30), &small = add(kind_a, 2);
  const Request* const expected[] = {&x, &y, &x, &y};
  EXPECT_EQ(take(2).requests().front(), &small);
  EXPECT_FALSE(former.has_small(RequestClass::interactive));
  for (const Request* large : expected) {
    const Batch batch = take(10);
    EXPECT_EQ(batch.requests(), std::vector<const Request*>{large});
    EXPECT_EQ(batch.items(), 10u) << "alone they fill a batch";
  }
}

TEST_F(BatchFormerTest, InTheLongRunLargeOnesHaveTheirShareOfTheItems) {
  constexpr std::size_t most = 3, num_batches = 40;  // not a multiple of the share
  const PlainRequest& large = add_large(most * num_batches);
  for (std::size_t i = 0; i < num_batches; ++i) {
    for (std::size_t k = 0; k < most; ++k) add(kind_a);
    EXPECT_EQ(take(most).items(), most);
  }
  EXPECT_TRUE(former.has_small(RequestClass::interactive));
  EXPECT_NEAR(static_cast<double>(large.taken), double(most * num_batches) / BatchFormer::large_share, 1);
}

TEST_F(BatchFormerTest, RefusingEndsTheRequestsThatHaveTheFirstItems) {
  const PlainRequest &a = add(kind_a, 2), &b = add(kind_a, 3), &c = add(kind_a, 1);
  former.refuse(*former.first_active(), 3, Status::out_of_memory, ended);
  EXPECT_EQ(ended_with(Status::out_of_memory), (std::vector<const Request*>{&a, &b}));
  EXPECT_EQ(former.items(), 1u);
  former.refuse(*former.first_active(), 100, Status::out_of_memory, ended);
  EXPECT_EQ(ended_with(Status::out_of_memory), std::vector<const Request*>{&c});
  EXPECT_EQ(former.first_active(), nullptr);
}

TEST_F(BatchFormerTest, ASweepEndsWhatItIsToldToInEveryBucket) {
  std::vector<const Request*> gone;
  for (const warpkem_algorithm kind : {kind_a, kind_b}) {
    for (const RequestClass of_class : {RequestClass::interactive, RequestClass::bulk}) {
      gone.push_back(&add(kind, 2, of_class));
      add(kind, 3, of_class).user_data = this;
    }
  }
  gone.push_back(&add(kind_c));  // whose bucket is empty then
  former.sweep(ended, [](const Request& r) { return r.user_data == nullptr ? Status::expired : Status::ok; });
  EXPECT_EQ(ended_with(Status::expired), gone);
  EXPECT_EQ(former.items(), 4 * 3u);
  EXPECT_EQ(former.items(RequestClass::bulk), 2 * 3u);
  std::size_t buckets = 0;
  for (const Bucket* b = former.first_active(); b != nullptr; b = b->next_active) ++buckets;
  EXPECT_EQ(buckets, 4u);
}

TEST_F(BatchFormerTest, TheFirstStatusThatEndsARequestStands) {
  PlainRequest& r = make(kind_a, 3);
  r.fatal = static_cast<std::uint8_t>(Status::expired);
  EXPECT_TRUE(BatchFormer::end(&r, Status::aborted));
  EXPECT_EQ(static_cast<Status>(r.fatal.load()), Status::expired);
  EXPECT_EQ(r.left, 0u);
}

TEST_F(BatchFormerTest, ABucketClosesWithTheMostUrgentOfItsRequests) {
  const auto add_until = [&](std::uint64_t close_ns, bool is_hasty) -> PlainRequest& {
    PlainRequest& r = make(kind_a);
    r.close_ns = close_ns;
    r.is_hasty = is_hasty;
    former.add(&r, false);
    return r;
  };
  add_until(50, false);
  const Bucket& bucket = *former.first_active();
  EXPECT_EQ(bucket.close_ns, 50u);
  EXPECT_EQ(bucket.hasty_ns, host::never);
  add_until(60, false);
  add_until(20, true);
  EXPECT_EQ(bucket.close_ns, 20u);
  EXPECT_EQ(bucket.hasty_ns, 20u);
  take_all();
  // Patient ones alone: each waits for no longer than itself.
  add_until(70, false), add_until(80, false);
  EXPECT_EQ(bucket.close_ns, 70u);
  EXPECT_EQ(bucket.hasty_ns, host::never);
  take();
  EXPECT_EQ(bucket.close_ns, 80u);
}

}  // namespace
}  // namespace warpkem::testing
