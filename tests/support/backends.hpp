// The backends that a test runs over, and engines forced to one of them.
#pragma once

#include <gtest/gtest.h>
#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace warpkem::test {

using Bytes = std::vector<std::uint8_t>;

// Sizes of one parameter set, as the library tells them.
struct Set {
  explicit Set(warpkem_algorithm algorithm);

  warpkem_algorithm algorithm;
  std::string name;
  std::size_t ek, dk, c;
  std::size_t k;

  std::size_t dk_bytes(std::uint32_t format) const { return format == WARPKEM_DK_SEED ? 64 : dk; }
};

// The backends that this machine can run, best first. The others are in the output as skipped cases of the suite
// BackendOfThisMachine, with their reasons; those named in WARPKEM_TEST_REQUIRE (with commas) fail there.
std::vector<std::string> usable_backends();

// The engine forced to a backend, without fail-over and without threads of its own; made once. Null: this machine
// cannot, for `reason`.
warpkem_engine* engine_of(const std::string& backend, std::string* reason = nullptr);

// True if WARPKEM_TEST_SMALL is set to anything but 0: for emulated devices and sanitizers.
bool small_tests();

// A suite over every usable backend and parameter set.
class BackendTest : public testing::TestWithParam<std::tuple<std::string, warpkem_algorithm>> {
 protected:
  BackendTest() : set(std::get<1>(GetParam())), engine(engine_of(std::get<0>(GetParam()))) {}

  Set set;
  warpkem_engine* engine;
};

#define WARPKEM_TEST_EVERY_BACKEND(suite)                                                             \
  INSTANTIATE_TEST_SUITE_P(                                                                           \
      Every, suite,                                                                                   \
      testing::Combine(testing::ValuesIn(::warpkem::test::usable_backends()),                         \
                       testing::Values(WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024)), \
      [](const auto& test) { return ::warpkem::test::name_of_case(test.param); })

std::string name_of_case(const std::tuple<std::string, warpkem_algorithm>& param);

// What warpkem_run() answered.
struct Answer {
  warpkem_status status;
  Bytes statuses;
  std::size_t failed;
};

// Runs the batch; struct_size, statuses and failed are filled in here.
Answer run(warpkem_engine* engine, warpkem_batch batch);

// True if every item is good.
testing::AssertionResult all_good(const Answer& answer);

struct ReleaseKeys {
  void operator()(warpkem_keys* keys) const { warpkem_keys_release(keys); }
};
using Keys = std::unique_ptr<warpkem_keys, ReleaseKeys>;

// The same bytes in every run.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
  Bytes bytes(std::size_t count);

 private:
  std::uint64_t state_;
};

}  // namespace warpkem::test
