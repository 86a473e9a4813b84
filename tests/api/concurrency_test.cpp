// Many threads on one engine, with every operation at once; meant for ThreadSanitizer, and right without it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>
#include <warpkem/warpkem.hpp>

namespace {

using namespace warpkem;

int rounds() {
  const char* value = std::getenv("WARPKEM_STRESS_ROUNDS");
  return value != nullptr ? std::atoi(value) : 20;
}

template <class P>
void work(const Engine& engine, const Keys<P>& ek_set, const Keys<P>& dk_set, unsigned seed, std::atomic<int>& wrong) {
  std::minstd_rand random(seed);
  const auto same = [](const auto& a, const auto& b) {
    return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin(), b.bytes().end());
  };
  for (int round = 0; round < rounds(); ++round) {
    const std::size_t n = random() % 24;
    const auto pairs = engine.keygen<P>(n).value();
    const auto e = engine.encaps<P>(pairs.ek).value();
    wrong += !same(engine.decaps<P>(pairs.dk, e.c).value(), e.K);

    std::vector<std::uint32_t> index(n);
    for (std::uint32_t& i : index) i = static_cast<std::uint32_t>(random() % ek_set.size());
    const auto prepared = engine.encaps<P>(ek_set, index).value();
    wrong += !same(engine.decaps(dk_set, index, prepared.c.bytes()).value(), prepared.K);

    // A set of this thread's own, made, used, and released while others make theirs; and one bad key.
    std::vector<std::uint8_t> ek(pairs.ek.bytes().begin(), pairs.ek.bytes().end());
    if (n != 0) {
      const std::size_t bad = random() % n;
      ek[bad * P::ek_bytes] = ek[bad * P::ek_bytes + 1] = 0xff;
      const auto own = engine.prepare_ek<P>(ek);
      const auto result =
          engine.encaps<P>(own.value_with_statuses(), std::vector<std::uint32_t>{static_cast<std::uint32_t>(bad)});
      wrong += own.failed() != 1 || result.status(0) != WARPKEM_INVALID_EK;
      wrong += engine.encaps<P>(ek).status(bad) != WARPKEM_INVALID_EK;
      if (std::string(warpkem_last_error()).find("item " + std::to_string(bad)) == std::string::npos) ++wrong;
    }
    warpkem_backend_info info{};
    info.struct_size = sizeof info;
    for (std::size_t i = 0; warpkem_engine_backend(engine.get(), i, &info) == WARPKEM_OK; ++i) {
    }
  }
}

template <class P>
struct Sets {
  explicit Sets(const Engine& engine, std::size_t n) : pairs(engine.keygen<P>(n).value()) {
    ek.push_back(engine.prepare_ek<P>(pairs.ek.bytes()).value());
    dk.push_back(engine.prepare_dk<P>(pairs.dk.bytes()).value());
  }
  KeyPairs<P> pairs;
  std::vector<Keys<P>> ek, dk;
};

TEST(Concurrency, ManyThreadsShareAnEngine) {
  for (const std::uint32_t threads : {0u, 3u}) {
    const Engine engine({.threads = threads});
    const Sets<MlKem512> s512(engine, 5);
    const Sets<MlKem768> s768(engine, 3);
    const Sets<MlKem1024> s1024(engine, 2);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (unsigned t = 0; t < 2; ++t) {
      callers.emplace_back([&, t] { work<MlKem512>(engine, s512.ek[0], s512.dk[0], 10 + t, wrong); });
      callers.emplace_back([&, t] { work<MlKem768>(engine, s768.ek[0], s768.dk[0], 20 + t, wrong); });
      callers.emplace_back([&, t] { work<MlKem1024>(engine, s1024.ek[0], s1024.dk[0], 30 + t, wrong); });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST(Concurrency, EnginesComeAndGoAtOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        const Engine engine({.threads = 2});
        const auto pairs = engine.keygen<MlKem768>(20).value();
        const auto e = engine.encaps<MlKem768>(pairs.ek).value();
        wrong += !engine.decaps<MlKem768>(pairs.dk, e.c).all_ok();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Concurrency, TheLastReferenceMayGoOnAnyThread) {
  for (int round = 0; round < 10; ++round) {
    warpkem_keys* keys = nullptr;
    {
      const Engine engine({.threads = 2});
      const auto pairs = engine.keygen<MlKem512>(40).value();
      ASSERT_EQ(warpkem_prepare_dk(engine.get(), WARPKEM_ML_KEM_512, 0, 40,
                                   {pairs.dk.bytes().data(), pairs.dk.bytes().size(), 0}, nullptr, nullptr, &keys),
                WARPKEM_OK);
    }
    warpkem_keys_retain(keys);
    std::thread first([keys] { warpkem_keys_release(keys); }), second([keys] { warpkem_keys_release(keys); });
    first.join();
    second.join();
  }
}

}  // namespace
