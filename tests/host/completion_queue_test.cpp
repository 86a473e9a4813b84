// A completion queue without a scheduler. Each announced completion comes out once, in the order of the pushes. A
// thread that waits is woken, helps, or is told that nothing can come.
#include "host/serving/completion_queue.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/host/serving.hpp"

namespace warpkem::testing {
namespace {

using host::CompletionQueue;
using host::CompletionRecord;
using host::Request;
using host::RequestChain;
using host::Status;

constexpr std::uint64_t for_ever_us = UINT64_MAX;

struct Server final : host::QueueServer {
  bool help(const CompletionQueue&) override { return ++asked_to_help, helps(); }
  void wake_executor() noexcept override { ++woken; }
  void cancel_all(const CompletionQueue&) override { ++cancelled, cancels(); }

  int asked_to_help = 0, woken = 0, cancelled = 0;
  std::function<bool()> helps = [] { return false; };
  std::function<void()> cancels = [] {};
};

bool is_readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

class CompletionQueueTest : public ::testing::Test {
 protected:
  // Requests under way, which have as their user_data their places in the order.
  void announce(std::size_t n) { announce(n, *queue); }
  void announce(std::size_t n, CompletionQueue& to) {
    RequestChain chain = store->pool.get(n);
    for (Request* r = chain.first; r != nullptr; r = r->next) {
      r->count = 1;
      r->bytes = 10;
      r->user_data = &places[announced++];
    }
    EXPECT_EQ(store->admission.admit(chain), n);
    to.announce(n);
    while (!chain.empty()) under_way.push_back(chain.pop_front());
  }
  RequestChain finished(std::size_t n) {
    RequestChain chain;
    for (; n != 0; --n) chain.push_back(std::exchange(under_way.front(), nullptr)), under_way.erase(under_way.begin());
    return chain;
  }
  void push(std::size_t n) { queue->push(finished(n)); }
  // The places of what comes out.
  std::vector<std::ptrdiff_t> poll(std::size_t most = 100) { return places_of(queue->poll(span(most))); }
  std::vector<std::ptrdiff_t> wait(std::size_t least, std::uint64_t timeout_us, std::size_t most = 100) {
    return places_of(queue->wait(span(most), least, timeout_us));
  }

  std::span<CompletionRecord> span(std::size_t most) { return std::span(out).first(most); }
  std::vector<std::ptrdiff_t> places_of(std::size_t n) {
    std::vector<std::ptrdiff_t> all;
    for (const CompletionRecord& c : span(n)) all.push_back(static_cast<const char*>(c.user_data) - places.data());
    return all;
  }

  std::array<char, 100> places{};
  std::array<CompletionRecord, 100> out{};
  std::size_t announced = 0;
  std::vector<Request*> under_way;
  Server server;
  const std::shared_ptr<host::RequestStore> store = std::make_shared<host::RequestStore>();
  const std::shared_ptr<host::SchedulerLink> link = std::make_shared<host::SchedulerLink>(&server);
  std::unique_ptr<CompletionQueue> queue = std::make_unique<CompletionQueue>(store, link);
};

using Places = std::vector<std::ptrdiff_t>;

TEST_F(CompletionQueueTest, CompletionsComeOutOldestFirstAndOnce) {
  announce(6);
  EXPECT_TRUE(poll().empty());
  push(2), push(3);
  EXPECT_TRUE(poll(0).empty());
  EXPECT_EQ(poll(1), Places{0});
  EXPECT_EQ(poll(3), (Places{1, 2, 3}));
  push(1);
  EXPECT_EQ(poll(), (Places{4, 5}));
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(queue->unfinished(), 0u);
}

TEST_F(CompletionQueueTest, ACompletionSaysHowItsRequestEnded) {
  announce(2);
  const std::uint64_t handle = under_way[1]->handle();
  under_way[1]->status = Status::item_failed;
  under_way[1]->failed = 7;
  push(2);
  EXPECT_EQ(poll().size(), 2u);
  EXPECT_EQ(out[0].status, static_cast<std::uint32_t>(Status::ok));
  EXPECT_EQ(out[1].request, handle);
  EXPECT_EQ(out[1].status, static_cast<std::uint32_t>(Status::item_failed));
  EXPECT_EQ(out[1].failed, 7u);
}

TEST_F(CompletionQueueTest, WhatIsFetchedGivesItsRoomAndItsRequestBack) {
  announce(3);
  const std::uint64_t handle = under_way[0]->handle();
  push(3);
  EXPECT_EQ(store->admission.items(), 3u) << "what nobody fetched still counts";
  EXPECT_EQ(poll(2).size(), 2u);
  EXPECT_EQ(store->admission.items(), 1u);
  EXPECT_EQ(store->admission.bytes(), 10u);
  EXPECT_EQ(store->pool.ask_cancel(handle).get(), nullptr);
  queue.reset();
  EXPECT_EQ(store->admission.items(), 0u) << "also what was never fetched";
}

TEST_F(CompletionQueueTest, TheDescriptorIsReadableWhileThereIsSomething) {
  const int fd = queue->event_fd();
  EXPECT_EQ(queue->event_fd(), fd);
  EXPECT_FALSE(is_readable(fd));
  announce(3);
  EXPECT_FALSE(is_readable(fd));
  push(2);
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(poll(1).size(), 1u);
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(poll(1).size(), 1u);
  EXPECT_FALSE(is_readable(fd));
  push(1);
  EXPECT_TRUE(is_readable(fd));
}

TEST_F(CompletionQueueTest, ADescriptorThatIsAskedForLateIsReadableAtOnce) {
  announce(1);
  push(1);
  EXPECT_TRUE(is_readable(queue->event_fd()));
}

TEST_F(CompletionQueueTest, AWaitEndsWithEnoughWithAllOrWithItsTime) {
  EXPECT_TRUE(wait(1, 0).empty());
  EXPECT_TRUE(wait(1, 1'000).empty());
  announce(5);
  push(2);
  EXPECT_EQ(wait(3, 1'000), (Places{0, 1})) << "what there is when the time is over";
  push(2);
  EXPECT_EQ(wait(2, for_ever_us), (Places{2, 3}));
  push(1);
  EXPECT_EQ(wait(9, for_ever_us), Places{4}) << "nothing else can come";
  announce(2);
  queue->withdraw(1);
  store->recycle(finished(1));
  push(1);
  EXPECT_EQ(wait(2, for_ever_us), Places{6}) << "what was not submitted after all does not come";
}

TEST_F(CompletionQueueTest, WhoWaitsForManyIsWokenWhenTheyAreThere) {
  announce(6);
  push(2);
  EXPECT_EQ(poll(1), Places{0});
  std::thread pushes([&] {
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      push(1);
    }
  });
  EXPECT_EQ(wait(4, for_ever_us), (Places{1, 2, 3, 4}));
  pushes.join();
  push(1);
}

TEST_F(CompletionQueueTest, TwoWaitersShareWhatComes) {
  announce(2);
  std::array<std::size_t, 2> fetched{};
  std::vector<std::thread> waiters;
  waiters.reserve(fetched.size());
  for (std::size_t& n : fetched) {
    waiters.emplace_back([&] {
      CompletionRecord one;
      n = queue->wait({&one, 1}, 1, for_ever_us);
    });
  }
  push(2);
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(fetched, (std::array<std::size_t, 2>{1, 1}));
}

TEST_F(CompletionQueueTest, AWaiterOffersItsThreadForTheOnlyRequest) {
  announce(1);
  server.helps = [this] { return push(1), true; };
  queue->owe_wake();
  EXPECT_EQ(wait(1, for_ever_us), Places{0});
  EXPECT_EQ(server.asked_to_help, 1);
  EXPECT_EQ(server.woken, 0) << "it has done what an executor would have been woken for";
  server.helps = [] { return false; };
  announce(2);
  EXPECT_TRUE(wait(1, 1).empty());
  EXPECT_EQ(server.asked_to_help, 1) << "executors make better batches of two";
  push(2);
}

TEST_F(CompletionQueueTest, AWakeThatIsOwedIsPaidOnceByWhoComesNext) {
  announce(2);
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(server.woken, 0);
  queue->owe_wake();
  EXPECT_TRUE(poll().empty());
  EXPECT_TRUE(poll().empty());
  EXPECT_EQ(server.woken, 1);
  push(1);
  queue->owe_wake();
  EXPECT_EQ(poll().size(), 1u);
  EXPECT_EQ(server.woken, 2) << "also by who finds something older";
  queue->owe_wake();
  EXPECT_TRUE(wait(1, 1).empty());
  EXPECT_EQ(server.asked_to_help, 1);
  EXPECT_EQ(server.woken, 3) << "and by a waiter who could not help";
  push(1);
}

TEST_F(CompletionQueueTest, NobodyWaitsForWhatCannotCome) {
  announce(1);
  link->cut();
  EXPECT_TRUE(link->is_cut());
  std::thread pushes([&] { push(1); });
  EXPECT_EQ(wait(1, for_ever_us), Places{0}) << "what is under way still comes";
  pushes.join();
  EXPECT_TRUE(wait(1, 1'000).empty());
  try {
    wait(1, for_ever_us);
    ADD_FAILURE();
  } catch (const host::Error& error) {
    EXPECT_EQ(error.status(), Status::aborted);
  }
  EXPECT_EQ(server.asked_to_help, 0) << "the scheduler is gone";
}

TEST_F(CompletionQueueTest, WhoWaitsWhenTheEngineGoesIsTold) {
  CompletionQueue other(store, link);
  std::atomic<int> told{0};
  std::vector<std::thread> waiters;
  for (CompletionQueue* q : {queue.get(), &other}) {
    waiters.emplace_back([&told, q] {
      CompletionRecord one;
      EXPECT_THROW(q->wait({&one, 1}, 1, for_ever_us), host::Error);
      ++told;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // until they wait, mostly
  link->cut();
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(told, 2);
}

TEST_F(CompletionQueueTest, FinishingCancelsAndWaitsForTheRest) {
  announce(3);
  std::thread finishes_later;
  server.cancels = [&] {
    push(2);
    finishes_later = std::thread([&] { push(1); });
  };
  queue->owe_wake();
  queue->finish();
  EXPECT_EQ(queue->unfinished(), 0u);
  EXPECT_EQ(server.cancelled, 1);
  EXPECT_EQ(server.woken, 1);
  finishes_later.join();
}

struct Watched final : CompletionQueue {
  Watched(std::shared_ptr<host::RequestStore> s, std::shared_ptr<host::SchedulerLink> l, bool& is_gone)
      : CompletionQueue(std::move(s), std::move(l)), gone(is_gone) {}
  ~Watched() override { gone = true; }
  bool& gone;
};

TEST_F(CompletionQueueTest, OneThatIsLeftGoesWithTheLastOfItsRequests) {
  bool gone = false;
  auto* const left = new Watched(store, link, gone);
  announce(2, *left);
  left->finish_later();
  EXPECT_EQ(server.cancelled, 1);
  EXPECT_FALSE(gone);
  left->push(finished(1));
  EXPECT_FALSE(gone);
  left->push(finished(1));
  EXPECT_TRUE(gone);
  EXPECT_EQ(store->admission.items(), 0u);
  link->cut();  // which tells every queue that there is
}

TEST_F(CompletionQueueTest, OneThatHasNothingUnderWayGoesAtOnce) {
  bool gone = false;
  (new Watched(store, link, gone))->finish_later();
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace warpkem::testing
