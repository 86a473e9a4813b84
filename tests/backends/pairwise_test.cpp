// The pairwise consistency test after key generation, on every backend and for every algorithm: good pairs pass it, and
// it is really done, on the backend that made them. tests/host/pairwise_faults_test.cpp has what it must catch.
#include <gtest/gtest.h>

#include <set>
#include <warpkem/warpkem.hpp>

#include "tests/support/backends.hpp"
#include "tests/support/keygen.hpp"

namespace warpkem::test {
namespace {

struct Engine {
  Engine(const std::string& backend, std::size_t every) {
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.backend = backend.c_str();
    options.threads = 2;
    options.flags = WARPKEM_NO_FAIL_OVER;
    options.pairwise_every = every;
    EXPECT_EQ(warpkem_engine_new(&options, &engine), WARPKEM_OK) << warpkem_last_error();
  }
  ~Engine() { warpkem_engine_free(engine); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  warpkem_engine* engine = nullptr;
};

// What the backend has done for the engine.
std::uint64_t items_of(warpkem_engine* engine, const std::string& backend) {
  warpkem_backend_info info{};
  info.struct_size = sizeof info;
  for (std::size_t i = 0; warpkem_engine_backend(engine, i, &info) == WARPKEM_OK; ++i) {
    if (info.name == backend) return info.items;
  }
  return 0;
}

using Case = std::tuple<std::string, warpkem_algorithm>;
class Pairwise : public testing::TestWithParam<Case> {};

TEST_P(Pairwise, GoodPairsPassOnTheBackendThatMadeThem) {
  const auto& [backend, algorithm] = GetParam();
  const std::size_t count = 9;
  for (const std::uint32_t format : {WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED, WARPKEM_DK_COMPOSITE}) {
    for (const std::size_t every : {std::size_t{1}, std::size_t{4}}) {
      SCOPED_TRACE(testing::Message() << "format " << format << ", every " << every);
      Keygen keygen(algorithm, format, count);
      if (keygen.dk.empty()) continue;  // there is no such form
      const Engine tested(backend, every);
      const std::size_t pairs = (count + every - 1) / every;
      ASSERT_EQ(warpkem_run(tested.engine, &keygen.batch), WARPKEM_OK) << warpkem_last_error();
      EXPECT_EQ(keygen.statuses, Bytes(count, WARPKEM_OK));
      EXPECT_EQ(items_of(tested.engine, backend), count + 2 * pairs);

      Keygen submitted(algorithm, format, every);  // one of these
      warpkem_queue* queue = nullptr;
      ASSERT_EQ(warpkem_queue_new(tested.engine, &queue), WARPKEM_OK);
      warpkem_submit_options options{};
      options.struct_size = sizeof options;
      options.queue = queue;
      const std::uint64_t before = items_of(tested.engine, backend);
      ASSERT_EQ(warpkem_submit(tested.engine, &submitted.batch, 1, &options, nullptr, nullptr), WARPKEM_OK);
      warpkem_completion completion{};
      std::size_t n = 0;
      ASSERT_EQ(warpkem_queue_wait(queue, &completion, 1, WARPKEM_FOREVER, &n), WARPKEM_OK);
      EXPECT_EQ(completion.status, WARPKEM_OK);
      EXPECT_EQ(submitted.statuses, Bytes(every, WARPKEM_OK));
      EXPECT_EQ(items_of(tested.engine, backend), before + every + 2);
      EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, Pairwise,
                         testing::Combine(testing::ValuesIn(usable_backends()),
                                          testing::Range(WARPKEM_ML_KEM_512, WARPKEM_MLKEM1024_P384 + 1)),
                         [](const auto& test) { return name_of_case(test.param); });

TEST(PairwiseOption, IsOffByDefaultAndInBothApis) {
  const Engine untested("portable", 0);
  Keygen keygen(WARPKEM_ML_KEM_512, WARPKEM_DK_SEED, 3);
  ASSERT_EQ(warpkem_run(untested.engine, &keygen.batch), WARPKEM_OK);
  EXPECT_EQ(items_of(untested.engine, "portable"), 3u);
  const warpkem::Engine engine({.backend = "portable", .pairwise_every = 1});
  EXPECT_TRUE(engine.keygen<MlKem512>(2).all_ok());
  EXPECT_EQ(items_of(engine.get(), "portable"), 6u);
}

}  // namespace
}  // namespace warpkem::test
