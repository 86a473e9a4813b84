// The choice between a warp and a thread for a Keccak state, and what multiprocessors hold.
#include "kernels/policy.hpp"

#include <gtest/gtest.h>

namespace warpkem::kernels::policy {
namespace {

constexpr int devices[] = {108, 132, 142, 148, 170};  // multiprocessors: A100, H100, L40, B200, RTX 5090

TEST(Policy, FewStatesGetAWarpEachAndManyAThread) {
  for (const int multiprocessors : devices) {
    EXPECT_TRUE(warps_are_better(1, multiprocessors));
    EXPECT_TRUE(warps_are_better(32, multiprocessors));
    EXPECT_TRUE(warps_are_better(32 * 9, multiprocessors));  // the matrices of 32 items of ML-KEM-768
    EXPECT_FALSE(warps_are_better(1024, multiprocessors));
    EXPECT_FALSE(warps_are_better(65'536, multiprocessors));
    EXPECT_FALSE(warps_are_better(std::uint64_t{65'536} * 16, multiprocessors));
  }
}

TEST(Policy, ALargerDeviceGivesWarpsToMoreStates) {
  std::uint64_t before = 0;
  for (const int multiprocessors : {1, 40, 108, 132, 142, 148, 170, 192}) {
    std::uint64_t states = 1;
    while (warps_are_better(states, multiprocessors)) ++states;
    EXPECT_GT(states, before);
    // About as many as there are schedulers: beyond, warps would wait for each other.
    if (multiprocessors >= 108) {
      EXPECT_GT(states, static_cast<std::uint64_t>(3 * multiprocessors));
      EXPECT_LT(states, static_cast<std::uint64_t>(5 * multiprocessors));
    }
    before = states;
  }
}

TEST(Policy, CostNeverFallsAsStatesAreAdded) {
  for (const Permutation& permutation : {by_thread, by_warp}) {
    std::uint64_t before = 0;
    for (std::uint64_t states = 1; states < 20'000; ++states) {
      const std::uint64_t cost = hashing_cost(permutation, states, 132, batches_in_flight);
      EXPECT_GE(cost, before);
      before = cost;
    }
  }
}

TEST(Policy, ABatchThatIsAloneHashesByWarpForLonger) {
  EXPECT_FALSE(warps_are_better(1024, 132));
  EXPECT_TRUE(warps_are_better(1024, 132, 1));
  EXPECT_FALSE(warps_are_better(4096, 132, 1));
}

TEST(Policy, OnlyLargeMatricesAreCompletedApart) {
  for (const std::uint64_t batches : {std::uint64_t{1}, batches_in_flight}) {
    EXPECT_FALSE(matrix_completes_apart(9 * 1024, 0, 132, batches));
    EXPECT_TRUE(matrix_completes_apart(9 * 65'536, 0, 132, batches));
  }
  EXPECT_FALSE(matrix_completes_apart(9 * 16'384, 0, 132, 1));
  EXPECT_TRUE(matrix_completes_apart(9 * 16'384, 7 * 16'384, 132, 1));
  EXPECT_TRUE(matrix_completes_apart(9 * 16'384, 0, 132, batches_in_flight));
  EXPECT_TRUE(matrix_completes_apart(9 * 65'536, 0, 0, 1));
}

TEST(Policy, MixedLaunchesAreForMultiprocessorsWithMuchSharedMemory) {
  EXPECT_TRUE(mixes(228 * 1024));
  EXPECT_TRUE(mixes(164 * 1024));
  EXPECT_FALSE(mixes(100 * 1024));
}

TEST(Policy, X25519SharesInversionsOnlyWhenEverySchedulerHasAWarp) {
  EXPECT_EQ(x25519_threads(1, 132), 32);
  EXPECT_EQ(x25519_threads(132 * 128, 132), 32);
  EXPECT_EQ(x25519_threads(132 * 128 + 1, 132), x25519.threads);
  EXPECT_EQ(x25519_threads(1, 0), x25519.threads);
}

TEST(Policy, ADeviceThatSaysNothingOfItselfIsNoDivisionByZero) { EXPECT_TRUE(warps_are_better(1, 0)); }

TEST(Policy, ACapabilityWithoutARowTakesTheLastOneBeforeIt) {
  EXPECT_EQ(multiprocessor(75).capability, 75);
  EXPECT_EQ(multiprocessor(87).capability, 86);
  EXPECT_EQ(multiprocessor(103).capability, 100);
  EXPECT_EQ(multiprocessor(121).capability, 120);
  EXPECT_EQ(multiprocessor(60).capability, 75);
}

}  // namespace
}  // namespace warpkem::kernels::policy
