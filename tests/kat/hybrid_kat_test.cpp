// Published cases of hybrid KEMs, each through every backend: key generation, encapsulation and decapsulation, HPKE's
// DeriveKeyPair, and decapsulation by composite keys.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/backends.hpp"
#include "tests/support/records.hpp"

namespace warpkem::test {
namespace {

using Json = nlohmann::json;

std::string cases_file() {
  const char* const folder = std::getenv("WARPKEM_KAT_DIR");
  return std::string(folder != nullptr ? folder : WARPKEM_KAT_DIR) + "/hybrid/cases.jsonl";
}

std::vector<Json> cases_of(const std::string& operation) {
  std::vector<Json> result;
  std::ifstream file(cases_file());
  for (std::string line; std::getline(file, line);) {
    Json one = Json::parse(line);
    if (one["op"] == operation) result.push_back(std::move(one));
  }
  return result;
}

Bytes bytes_of(const Json& hex) {
  const std::string text = hex.get<std::string>();
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

warpkem_algorithm algorithm_of(const Json& one) {
  return warpkem_algorithm_by_name(one["set"].get<std::string>().c_str());
}

class HybridKat : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (cases_of("kem").empty()) GTEST_SKIP() << "no published cases: " << cases_file();
  }

  warpkem_batch batch_of(const Json& one, std::uint32_t operation, std::uint32_t format = 0) const {
    warpkem_batch batch{};
    batch.operation = operation;
    batch.algorithm = algorithm_of(one);
    batch.dk_format = format;
    batch.count = 1;
    return batch;
  }

  Bytes decaps(const Json& one, std::uint32_t format, const Bytes& dk, const Bytes& c) const {
    Bytes K(warpkem_size(algorithm_of(one), WARPKEM_SIZE_K));
    warpkem_batch batch = batch_of(one, WARPKEM_OP_DECAPS, format);
    batch.dk = source(dk), batch.c = source(c), batch.K_out = target(K);
    EXPECT_TRUE(all_good(run(engine, batch)));
    return K;
  }

  void expect_case(const Json& one, const Bytes& seed) const {
    const warpkem_algorithm algorithm = algorithm_of(one);
    Bytes ek(warpkem_size(algorithm, WARPKEM_SIZE_EK)), dk(seed.size()), c(warpkem_size(algorithm, WARPKEM_SIZE_C)),
        K(warpkem_size(algorithm, WARPKEM_SIZE_K)), m = bytes_of(one["in"]["m"]);
    m.resize(warpkem_size(algorithm, WARPKEM_SIZE_M));  // some have fewer bytes for the scalar, and do not need more
    warpkem_batch batch = batch_of(one, WARPKEM_OP_KEYGEN, WARPKEM_DK_SEED);
    batch.flags = WARPKEM_DERAND;
    batch.seeds = source(seed), batch.ek_out = target(ek), batch.dk_out = target(dk);
    EXPECT_TRUE(all_good(run(engine, batch)));
    EXPECT_EQ(ek, bytes_of(one["out"]["ek"]));
    batch = batch_of(one, WARPKEM_OP_ENCAPS);
    batch.flags = WARPKEM_DERAND;
    batch.ek = source(ek), batch.m = source(m), batch.c_out = target(c), batch.K_out = target(K);
    EXPECT_TRUE(all_good(run(engine, batch)));
    EXPECT_EQ(c, bytes_of(one["out"]["c"]));
    EXPECT_EQ(K, bytes_of(one["out"]["K"]));
    EXPECT_EQ(decaps(one, WARPKEM_DK_SEED, seed, c), K);
  }

  warpkem_engine* const engine = engine_of(GetParam());
};

TEST_P(HybridKat, Kem) {
  for (const Json& one : cases_of("kem")) {
    SCOPED_TRACE(one["set"]);
    expect_case(one, bytes_of(one["in"]["seed"]));
  }
}

TEST_P(HybridKat, HpkeDeriveKeyPair) {
  const std::vector<Json> cases = cases_of("hpke");
  ASSERT_GE(cases.size(), 4u);
  for (const Json& one : cases) {
    SCOPED_TRACE(one["set"]);
    constexpr std::size_t count = 19;
    const Bytes ikm = bytes_of(one["in"]["ikm"]), expected = bytes_of(one["out"]["seed"]);
    Bytes all, seeds(count * expected.size());
    for (std::size_t i = 0; i < count; ++i) {
      all.insert(all.end(), ikm.begin(), ikm.end());
      all[i * ikm.size()] ^= static_cast<std::uint8_t>(i);
    }
    ASSERT_EQ(warpkem_hpke_derive_seeds(engine, algorithm_of(one), count, {all.data(), all.size(), 0}, ikm.size(),
                                        {seeds.data(), seeds.size(), 0}),
              WARPKEM_OK)
        << warpkem_last_error();
    EXPECT_EQ(Bytes(seeds.begin(), seeds.begin() + static_cast<std::ptrdiff_t>(expected.size())), expected);
    for (std::size_t i = 1; i < count; ++i) {
      EXPECT_FALSE(std::equal(expected.begin(), expected.end(),
                              seeds.begin() + static_cast<std::ptrdiff_t>(i * expected.size())));
    }
    expect_case(one, expected);
  }
  Bytes ikm(64), seeds(96);
  EXPECT_EQ(
      warpkem_hpke_derive_seeds(engine, WARPKEM_X25519MLKEM768, 1, {ikm.data(), 64, 0}, 64, {seeds.data(), 96, 0}),
      WARPKEM_UNSUPPORTED);
}

TEST_P(HybridKat, CompositeKeys) {
  const std::vector<Json> cases = cases_of("composite-decaps");
  ASSERT_FALSE(cases.empty());
  for (const Json& one : cases) {
    SCOPED_TRACE(one["set"]);
    EXPECT_EQ(decaps(one, WARPKEM_DK_COMPOSITE, bytes_of(one["in"]["dk"]), bytes_of(one["in"]["c"])),
              bytes_of(one["out"]["K"]));
  }
}

INSTANTIATE_TEST_SUITE_P(Every, HybridKat, testing::ValuesIn(usable_backends()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace warpkem::test
