// The pool of requests: what it lends, that a handle names one use of a place for ever, and that memory which is not
// needed any more goes back. Memory is counted, not timed.
#include "host/serving/request_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <thread>
#include <unordered_set>
#include <vector>

#include "tests/host/serving.hpp"

namespace warpkem::testing {
namespace {

using host::Request;
using host::RequestChain;
using host::RequestPool;

// What may stay when nothing is in use: what is kept in any case, and slabs of which a shard still holds a request.
constexpr std::size_t small =
    (4 * RequestPool::keep_least + RequestPool::num_shards * RequestPool::slab_requests) * RequestPool::slab_requests;

std::vector<Request*> get(RequestPool& pool, std::size_t n) {
  std::vector<Request*> requests;
  for (Request* r = pool.get(n).first; r != nullptr; r = r->next) requests.push_back(r);
  return requests;
}

void put(RequestPool& pool, const std::vector<Request*>& requests, std::size_t at_once = 64) {
  for (std::size_t i = 0; i < requests.size();) {
    RequestChain chain;
    for (; i < requests.size() && chain.size < at_once; ++i) chain.push_back(requests[i]);
    pool.put(chain);
  }
}

TEST(RequestPool, ItsRequestsAreDifferentOnes) {
  RequestPool pool;
  const std::vector<Request*> requests = get(pool, 10'000);
  EXPECT_EQ(std::set<Request*>(requests.begin(), requests.end()).size(), requests.size());
  put(pool, requests);
}

TEST(RequestPool, ManyAtOnceLeaveLittleBehind) {
  for (const bool in_order : {true, false}) {
    for (const std::size_t at_once : {std::size_t{1}, std::size_t{100}, std::size_t{1'000'000}}) {
      RequestPool pool;
      std::vector<Request*> requests = get(pool, 200'000);
      EXPECT_GE(pool.capacity(), requests.size());
      if (!in_order) std::ranges::shuffle(requests, std::mt19937_64(1));
      put(pool, requests, at_once);
      EXPECT_LE(pool.capacity(), small) << (in_order ? "in order, " : "in any order, ") << at_once << " at once";
    }
  }
}

TEST(RequestPool, WhatIsInUseIsLeftAloneWhateverGoes) {
  RequestPool pool;
  std::vector<Request*> requests = get(pool, 200'000), stay;
  for (std::size_t i = 0; i < requests.size(); i += 1000) {
    stay.push_back(requests[i]);
    requests[i]->user_data = &stay;
    requests[i]->count = static_cast<std::uint32_t>(i);
  }
  std::erase_if(requests, [](const Request* r) { return r->user_data != nullptr; });
  put(pool, requests);
  EXPECT_LE(pool.capacity(), small + stay.size() * RequestPool::slab_requests);
  // Others come and go meanwhile, and never get what is in use.
  for (int round = 0; round < 5; ++round) {
    const std::vector<Request*> others = get(pool, 100'000);
    for (Request* r : others) r->count = 7;
    put(pool, others);
  }
  for (std::size_t i = 0; i < stay.size(); ++i) {
    ASSERT_EQ(stay[i]->count, i * 1000);
    ASSERT_NE(stay[i]->state.load() & Request::live, 0u);
    stay[i]->user_data = nullptr;
  }
  put(pool, stay);
  EXPECT_LE(pool.capacity(), small);
}

TEST(RequestPool, ALoadThatComesAgainAndAgainIsServedWithoutNewMemory) {
  RequestPool pool;
  for (const std::size_t burst : {1'000u, 4'000u, 20'000u, 60'000u}) {
    std::size_t made = 0;
    for (int round = 0; round < 12; ++round) {
      put(pool, get(pool, burst));
      if (round == 3) made = pool.slabs_made();
    }
    EXPECT_EQ(pool.slabs_made(), made) << burst;
  }
  // And one that goes up and down around a mean.
  std::vector<Request*> in_use = get(pool, 200'000);
  std::mt19937_64 random(1);
  const std::size_t made = pool.slabs_made();
  for (int round = 0; round < 400; ++round) {
    const std::size_t n = 1 + random() % 2'000;
    put(pool, {in_use.end() - static_cast<std::ptrdiff_t>(n), in_use.end()});
    in_use.resize(in_use.size() - n);
    const std::vector<Request*> more = get(pool, n);
    in_use.insert(in_use.end(), more.begin(), more.end());
  }
  EXPECT_LE(pool.slabs_made() - made, 8u);
  put(pool, in_use);
}

TEST(RequestPool, AHandleNamesOneUseAlsoWhenItsMemoryWasGivenBack) {
  RequestPool pool;
  std::unordered_set<std::uint64_t> handles;
  std::vector<std::uint64_t> old;
  std::size_t uses = 0;
  for (int round = 0; round < 4; ++round) {
    const std::vector<Request*> requests = get(pool, 100'000);
    for (const Request* r : requests) {
      handles.insert(r->handle());
      if (r->slot_in_pool % 97 == 0) old.push_back(r->handle());
    }
    uses += requests.size();
    put(pool, requests);
    EXPECT_LE(pool.capacity(), small);
    for (const std::uint64_t handle : old) EXPECT_EQ(pool.ask_cancel(handle).get(), nullptr);
  }
  EXPECT_EQ(handles.size(), uses);
  const std::vector<Request*> requests = get(pool, 100'000);
  for (const std::uint64_t handle : old) ASSERT_EQ(pool.ask_cancel(handle).get(), nullptr);
  for (const Request* r : requests) ASSERT_FALSE(r->cancel_is_asked());
  EXPECT_EQ(pool.ask_cancel(requests[5]->handle()).get(), requests[5]);
  EXPECT_TRUE(requests[5]->cancel_is_asked());
  put(pool, requests);
}

TEST(RequestPool, WhatIsLookedAtStays) {
  RequestPool pool;
  const std::vector<Request*> requests = get(pool, 200'000);
  {
    const RequestPool::Found found = pool.ask_cancel(requests[70'000]->handle());
    ASSERT_EQ(found.get(), requests[70'000]);
    put(pool, requests);
    EXPECT_EQ(found.get()->state.load() & Request::live, 0u);
    EXPECT_GE(pool.capacity(), 200'000u);
  }
  put(pool, get(pool, 200));
  EXPECT_LE(pool.capacity(), small);
}

TEST(RequestPool, ThreadsMayDoAllThatAtOnce) {
  RequestPool pool;
  std::atomic<std::uint64_t> handle{1};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(i);
      for (int round = 0; round < 40; ++round) {
        std::vector<Request*> requests = get(pool, 1 + random() % (round % 4 == 0 ? 50'000 : 500));
        for (Request* r : requests) {
          ASSERT_EQ(r->context, nullptr) << "somebody else's";
          r->context = r;
        }
        handle = requests[random() % requests.size()]->handle();
        if (round % 2 == 0) std::ranges::shuffle(requests, random);
        for (Request* r : requests) r->context = nullptr;
        put(pool, requests, 1 + random() % 300);
      }
    });
  }
  std::thread canceller([&] {
    while (!over) {
      const RequestPool::Found found = pool.ask_cancel(handle);
      if (found.get() != nullptr) static_cast<void>(found.get()->state.load());
    }
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  canceller.join();
  for (int i = 0; i < 3; ++i) put(pool, get(pool, 1'000));
  EXPECT_LE(pool.capacity(), 2 * small);
}

TEST(RequestPool, AnEngineKeepsLittleOfAMillionRequests) {
  host::SchedulerOptions options;
  options.most_items = 1'000'000;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, options);
  Queue queue(engine);
  warpkem_batch nothing{};
  nothing.struct_size = sizeof nothing;
  nothing.operation = WARPKEM_OP_ENCAPS;
  nothing.algorithm = WARPKEM_ML_KEM_512;
  const std::vector<warpkem_batch> batches(100'000, nothing);
  const warpkem_submit_options o = to(queue);
  for (int i = 0; i < 10; ++i)
    check(warpkem_submit(engine.get(), batches.data(), batches.size(), &o, nullptr, nullptr));
  RequestPool& pool = engine.scheduler().store()->pool;
  EXPECT_GE(pool.capacity(), 1'000'000u) << "what nobody fetched still counts";
  for (std::size_t n = 0; n < 1'000'000;) {
    const std::size_t more = queue.wait(30'000'000, 50'000).size();
    ASSERT_NE(more, 0u);
    n += more;
  }
  EXPECT_LE(pool.capacity(), small);
}

}  // namespace
}  // namespace warpkem::testing
