#include "tests/support/backends.hpp"

#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

namespace warpkem::test {

Set::Set(warpkem_algorithm id)
    : algorithm(id),
      name(warpkem_algorithm_name(id)),
      ek(warpkem_size(id, WARPKEM_SIZE_EK)),
      dk(warpkem_size(id, WARPKEM_SIZE_DK)),
      c(warpkem_size(id, WARPKEM_SIZE_C)),
      k(ek / 384) {}

namespace {

struct FreeEngine {
  void operator()(warpkem_engine* engine) const { warpkem_engine_free(engine); }
};

struct Forced {
  std::unique_ptr<warpkem_engine, FreeEngine> engine;
  std::string reason;
};

Forced force(const std::string& backend) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend.c_str();
  options.threads = 0;
  options.flags = WARPKEM_NO_FAIL_OVER;
  warpkem_engine* engine = nullptr;
  Forced forced;
  if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) forced.reason = warpkem_last_error();
  forced.engine.reset(engine);
  return forced;
}

}  // namespace

warpkem_engine* engine_of(const std::string& backend, std::string* reason) {
  static std::map<std::string, Forced> engines;
  auto found = engines.find(backend);
  if (found == engines.end()) found = engines.emplace(backend, force(backend)).first;
  if (reason != nullptr) *reason = found->second.reason;
  return found->second.engine.get();
}

namespace {

std::vector<std::string> all_backends() {
  std::vector<std::string> names;
  for (std::size_t i = 0;; ++i) {
    warpkem_backend_info info{};
    info.struct_size = sizeof info;
    if (warpkem_engine_backend(engine_of("portable"), i, &info) != WARPKEM_OK) return names;
    names.emplace_back(info.name);
  }
}

class BackendOfThisMachine : public testing::TestWithParam<std::string> {};

TEST_P(BackendOfThisMachine, IsTested) {
  std::string reason;
  if (engine_of(GetParam(), &reason) != nullptr) return;
  const char* required = std::getenv("WARPKEM_TEST_REQUIRE");
  std::istringstream names(required != nullptr ? required : "");
  for (std::string name; std::getline(names, name, ',');) ASSERT_NE(name, GetParam()) << reason;
  GTEST_SKIP() << reason;
}

INSTANTIATE_TEST_SUITE_P(Every, BackendOfThisMachine, testing::ValuesIn(all_backends()),
                         [](const auto& test) { return test.param; });

}  // namespace

std::vector<std::string> usable_backends() {
  std::vector<std::string> names = all_backends();
  std::erase_if(names, [](const std::string& name) { return engine_of(name) == nullptr; });
  return names;
}

bool small_tests() {
  const char* value = std::getenv("WARPKEM_TEST_SMALL");
  return value != nullptr && *value != '\0' && std::string(value) != "0";
}

std::string name_of_case(const std::tuple<std::string, warpkem_algorithm>& param) {
  std::string name = std::get<0>(param) + "_" + warpkem_algorithm_name(std::get<1>(param));
  for (char& letter : name) {
    if (letter == '-') letter = '_';
  }
  return name;
}

Answer run(warpkem_engine* engine, warpkem_batch batch) {
  Answer answer{WARPKEM_OK, Bytes(batch.count, 0xee), ~std::size_t{0}};
  batch.struct_size = sizeof batch;
  batch.statuses = answer.statuses.data();
  batch.failed = &answer.failed;
  answer.status = warpkem_run(engine, &batch);
  return answer;
}

testing::AssertionResult all_good(const Answer& answer) {
  if (answer.status != WARPKEM_OK) {
    return testing::AssertionFailure() << warpkem_status_name(answer.status) << ": " << warpkem_last_error();
  }
  if (answer.failed != 0) return testing::AssertionFailure() << answer.failed << " items failed";
  for (std::size_t i = 0; i < answer.statuses.size(); ++i) {
    if (answer.statuses[i] != WARPKEM_OK) {
      return testing::AssertionFailure() << "item " << i << ": " << warpkem_status_name(answer.statuses[i]);
    }
  }
  return testing::AssertionSuccess();
}

// splitmix64.
std::uint64_t Random::next() {
  state_ += 0x9e3779b97f4a7c15;
  std::uint64_t x = state_;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

Bytes Random::bytes(std::size_t count) {
  Bytes result(count);
  for (std::uint8_t& byte : result) byte = static_cast<std::uint8_t>(next() >> 56);
  return result;
}

}  // namespace warpkem::test
