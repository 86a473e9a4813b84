// The cost model: what it guesses, and what batches teach it.
#include "host/serving/cost_model.hpp"

#include <gtest/gtest.h>

#include "warpkem/warpkem.h"

namespace warpkem::testing {
namespace {

TEST(CostModel, WhatSizesToldIsKeptWhileTheyAreAllTheSame) {
  host::CostModel model({150'000, 100});
  const auto service = [](std::size_t items) { return 20'000 + 500 * items; };
  const auto observe = [&](std::size_t items) {
    model.observe({host::Operation::encaps, WARPKEM_ML_KEM_768}, items, service(items));
  };
  const auto expected = [&](std::size_t items) {
    return static_cast<double>(model.cost({host::Operation::encaps, WARPKEM_ML_KEM_768}).of(items));
  };
  for (int i = 0; i < 10; ++i) observe(100), observe(1000);
  EXPECT_NEAR(expected(3000), static_cast<double>(service(3000)), 2);
  for (int i = 0; i < 200; ++i) observe(1000);
  EXPECT_NEAR(expected(3000), static_cast<double>(service(3000)), 2);
  EXPECT_NEAR(expected(1), static_cast<double>(service(1)), 2);
}

TEST(CostModel, KindsAreGuessedFromOneAndLearnApart) {
  host::CostModel model({1000, 100});
  const host::Kind encaps{host::Operation::encaps, WARPKEM_ML_KEM_768},
      decaps{host::Operation::decaps, WARPKEM_ML_KEM_768};
  host::Kind prepared = encaps;
  prepared.prepared = true;
  EXPECT_EQ(model.cost(encaps).item_ns, 100);
  EXPECT_GT(model.cost(decaps).item_ns, model.cost(encaps).item_ns);    // it encrypts as well
  EXPECT_LT(model.cost(prepared).item_ns, model.cost(encaps).item_ns);  // less is left to do
  const double before = model.cost(decaps).item_ns;
  for (int i = 0; i < 100; ++i) model.observe(encaps, 1000, 1'000'000);
  EXPECT_NEAR(static_cast<double>(model.cost(encaps).of(1000)), 1e6, 1e4);
  EXPECT_EQ(model.cost(decaps).item_ns, before);
}

TEST(CostModel, ABatchThatTookFarTooLongSaysLittle) {
  host::CostModel model({0, 100});
  const host::Kind encaps{host::Operation::encaps, WARPKEM_ML_KEM_768};
  for (int i = 0; i < 100; ++i) model.observe(encaps, 100, 10'000);
  model.observe(encaps, 100, 10'000'000);  // a thousand times what was expected
  EXPECT_LT(model.cost(encaps).of(100), 20'000u);
}

}  // namespace
}  // namespace warpkem::testing
