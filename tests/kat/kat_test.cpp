// Known answers, each through every backend: NIST's ACVP cases, the accumulated tests, the classic response files, and
// the instances with intermediate values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tuple>

#include "kat/accumulated.hpp"
#include "kat/acvp.hpp"
#include "kat/digest.hpp"
#include "kat/intermediate.hpp"
#include "kat/rsp.hpp"
#include "tests/support/backends.hpp"

namespace warpkem::test {
namespace {

// A folder: the environment says where, else what the build was told.
std::string folder(const char* variable, const char* of_build) {
  const char* from_environment = std::getenv(variable);
  return from_environment != nullptr ? from_environment : of_build;
}

std::string read_own(const std::string& name) {
  const std::string path = folder("WARPKEM_OWN_KAT_DIR", WARPKEM_OWN_KAT_DIR) + "/" + name;
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// ---- published vectors

std::string acvp_folder() { return folder("WARPKEM_KAT_DIR", WARPKEM_KAT_DIR) + "/acvp"; }

const std::vector<kat::AcvpCase>& acvp_cases() {
  static const std::vector<kat::AcvpCase> all = kat::read_acvp(acvp_folder());
  return all;
}

std::string no_cases() {
  return "no published vectors in " + acvp_folder() +
         "; WARPKEM_KAT_DIR names the folder above it, kat/README.md says where they come from";
}

class Acvp : public BackendTest {
 protected:
  void SetUp() override {
    if (acvp_cases().empty()) GTEST_SKIP() << no_cases();
  }

  // The cases of one operation, and of decaps those whose dk is a seed or not.
  std::vector<kat::AcvpCase> cases(const std::string& op, bool seed = false) const {
    std::vector<kat::AcvpCase> result;
    for (const kat::AcvpCase& one : acvp_cases()) {
      if (one.algorithm == set.algorithm && one.op == op && (op != "decaps" || one.in.contains("d") == seed)) {
        result.push_back(one);
      }
    }
    return result;
  }

  // One input or output of all cases, packed.
  static Bytes gather(const std::vector<kat::AcvpCase>& cases, std::map<std::string, Bytes> kat::AcvpCase::*side,
                      const std::string& name) {
    Bytes packed;
    for (const kat::AcvpCase& one : cases) {
      const Bytes& value = (one.*side).at(name);
      packed.insert(packed.end(), value.begin(), value.end());
    }
    return packed;
  }

  static Bytes seeds(const std::vector<kat::AcvpCase>& cases) {
    Bytes packed;
    for (const kat::AcvpCase& one : cases) {
      packed.insert(packed.end(), one.in.at("d").begin(), one.in.at("d").end());
      packed.insert(packed.end(), one.in.at("z").begin(), one.in.at("z").end());
    }
    return packed;
  }

  void expect_checked(const std::string& op, std::uint32_t operation, std::size_t bytes, warpkem_status bad) {
    const auto some = cases(op);
    ASSERT_GE(some.size(), 10u);
    const Bytes keys = gather(some, &kat::AcvpCase::in, op == "ek_check" ? "ek" : "dk");
    ASSERT_EQ(keys.size(), some.size() * bytes);
    warpkem_batch batch{};
    batch.operation = operation;
    batch.algorithm = set.algorithm;
    batch.count = some.size();
    warpkem_source& checked = op == "ek_check" ? batch.ek : batch.dk;
    checked = {keys.data(), keys.size(), 0, nullptr};
    const Answer answer = run(engine, batch);
    EXPECT_EQ(answer.status, WARPKEM_ITEM_FAILED);
    std::size_t rejected = 0;
    for (std::size_t i = 0; i < some.size(); ++i) {
      EXPECT_EQ(answer.statuses[i], some[i].reject ? bad : WARPKEM_OK) << some[i].id;
      rejected += some[i].reject;
    }
    EXPECT_EQ(answer.failed, rejected);
    EXPECT_GT(rejected, 0u);
    EXPECT_LT(rejected, some.size());
  }

  const kat::Kem kem{engine, set.algorithm};
};

TEST_P(Acvp, KeyGen) {
  const auto some = cases("keygen");
  ASSERT_GE(some.size(), 25u);
  const auto keys = kem.keygen(seeds(some));
  EXPECT_EQ(keys.ek, gather(some, &kat::AcvpCase::out, "ek"));
  EXPECT_EQ(keys.dk, gather(some, &kat::AcvpCase::out, "dk"));
}

TEST_P(Acvp, Encaps) {
  const auto some = cases("encaps");
  ASSERT_GE(some.size(), 25u);
  const auto encapsulated = kem.encaps(gather(some, &kat::AcvpCase::in, "ek"), gather(some, &kat::AcvpCase::in, "m"));
  EXPECT_EQ(encapsulated.c, gather(some, &kat::AcvpCase::out, "c"));
  EXPECT_EQ(encapsulated.K, gather(some, &kat::AcvpCase::out, "K"));
}

TEST_P(Acvp, DecapsWithExpandedKeys) {
  const auto some = cases("decaps");
  ASSERT_GE(some.size(), 10u);
  EXPECT_EQ(kem.decaps(gather(some, &kat::AcvpCase::in, "dk"), gather(some, &kat::AcvpCase::in, "c")),
            gather(some, &kat::AcvpCase::out, "K"));
}

TEST_P(Acvp, DecapsWithSeeds) {
  const auto some = cases("decaps", true);
  if (some.empty()) GTEST_SKIP() << "no seeds in " << acvp_folder() << ": they came with revision tr1";
  EXPECT_EQ(kem.decaps_seed(seeds(some), gather(some, &kat::AcvpCase::in, "c")),
            gather(some, &kat::AcvpCase::out, "K"));
}

TEST_P(Acvp, EncapsulationKeyCheck) { expect_checked("ek_check", WARPKEM_OP_CHECK_EK, set.ek, WARPKEM_INVALID_EK); }

TEST_P(Acvp, DecapsulationKeyCheck) { expect_checked("dk_check", WARPKEM_OP_CHECK_DK, set.dk, WARPKEM_INVALID_DK); }

WARPKEM_TEST_EVERY_BACKEND(Acvp);

TEST(AcvpFiles, HoldNothingThatNoTestAboveTakes) {
  if (acvp_cases().empty()) GTEST_SKIP() << no_cases();
  EXPECT_GE(acvp_cases().size(), 240u);  // the release without revision tr1
  for (const kat::AcvpCase& one : acvp_cases()) {
    EXPECT_NE(one.algorithm, 0u) << one.id;
    const bool known =
        one.op == "keygen" || one.op == "encaps" || one.op == "decaps" || one.op == "ek_check" || one.op == "dk_check";
    EXPECT_TRUE(known) << one.id << ": " << one.op;
  }
}

TEST(AcvpFiles, AreTheSameInBothForms) {
  const std::string lines = acvp_folder() + "/cases.jsonl.gz";
  std::vector<kat::AcvpCase> nist = kat::read_acvp_projections(acvp_folder());
  if (nist.empty() || !std::filesystem::exists(lines)) GTEST_SKIP() << acvp_folder() << " does not hold both forms";
  std::vector<kat::AcvpCase> ours = kat::read_acvp_lines(lines);
  ASSERT_EQ(nist.size(), ours.size());
  const auto content = [](const kat::AcvpCase& one) {
    return std::tie(one.algorithm, one.op, one.in, one.out, one.reject);
  };
  const auto before = [&](const auto& a, const auto& b) { return content(a) < content(b); };
  std::sort(nist.begin(), nist.end(), before);
  std::sort(ours.begin(), ours.end(), before);
  for (std::size_t i = 0; i < nist.size(); ++i) EXPECT_TRUE(content(nist[i]) == content(ours[i])) << nist[i].id;
}

// ---- published digests

class PublishedDigests : public BackendTest {
 protected:
  std::vector<nlohmann::json> digests(const std::string& kind) const {
    const auto all = nlohmann::json::parse(read_own("digests.json"));
    std::vector<nlohmann::json> result;
    for (const auto& one : all.at(kind)) {
      if (one.at("set").get<std::string>() == set.name) result.push_back(one);
    }
    return result;
  }

  const kat::Kem kem{engine, set.algorithm};
};

TEST_P(PublishedDigests, AccumulatedOver100Instances) {
  std::size_t checked = 0;
  for (const auto& one : digests("accumulated")) {
    if (one.at("form").get<std::string>() != "go") continue;
    EXPECT_EQ(kat::accumulated_digest(kem, kat::AccumulatedForm::go, one.at("iterations").get<std::size_t>()),
              one.at("digest").get<std::string>());
    ++checked;
  }
  EXPECT_EQ(checked, 1u);
}

TEST_P(PublishedDigests, AccumulatedOver10000Instances) {
  if (small_tests()) GTEST_SKIP() << "WARPKEM_TEST_SMALL is set";
  std::size_t checked = 0;
  for (const auto& one : digests("accumulated")) {
    if (one.at("form").get<std::string>() != "tvecs") continue;
    EXPECT_EQ(kat::accumulated_digest(kem, kat::AccumulatedForm::tvecs, one.at("iterations").get<std::size_t>()),
              one.at("digest").get<std::string>());
    ++checked;
  }
  EXPECT_EQ(checked, 1u);
}

TEST_P(PublishedDigests, ClassicResponseFiles) {
  const auto all = digests("rsp");
  ASSERT_EQ(all.size(), 2u);
  for (const auto& one : all) {
    EXPECT_EQ(kat::hex(kat::sha256(kat::rsp_text(kem, one.at("vectors").get<std::size_t>()))),
              one.at("sha256").get<std::string>())
        << one;
  }
}

WARPKEM_TEST_EVERY_BACKEND(PublishedDigests);

// ---- our own vectors

class IntermediateValues : public BackendTest {
 protected:
  std::map<std::string, std::string> values() const {
    return kat::parse_intermediate(read_own("vectors/" + set.name + ".txt"));
  }
  const kat::Kem kem{engine, set.algorithm};
};

TEST_P(IntermediateValues, BeginAndEndAsTheBackendHasThem) {
  auto values = this->values();
  const auto bytes = [&](const std::string& name) { return kat::from_hex(values.at(name)); };
  Bytes seed = bytes("d");
  const Bytes z = bytes("z"), m = bytes("m");
  seed.insert(seed.end(), z.begin(), z.end());
  const auto keys = kem.keygen(seed);
  EXPECT_EQ(keys.ek, bytes("ek"));
  EXPECT_EQ(keys.dk, bytes("dk"));
  const auto encapsulated = kem.encaps(keys.ek, m);
  EXPECT_EQ(encapsulated.c, bytes("c"));
  EXPECT_EQ(encapsulated.K, bytes("K"));
  EXPECT_EQ(kem.decaps(keys.dk, bytes("c")), bytes("K"));
  EXPECT_EQ(kem.decaps(keys.dk, bytes("changed c")), bytes("K_bar"));
  EXPECT_EQ(kem.decaps_seed(seed, bytes("changed c")), bytes("K_bar"));
}

WARPKEM_TEST_EVERY_BACKEND(IntermediateValues);

TEST(IntermediateValuesOfPortable, AreThoseCommitted) {
  for (const warpkem_algorithm algorithm : {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024}) {
    const std::string name = "vectors/" + std::string(warpkem_algorithm_name(algorithm)) + ".txt";
    const std::string text = kat::intermediate_text(algorithm);
    EXPECT_TRUE(text == read_own(name)) << name << ": made again with warpkem-kat intermediate, it differs";
  }
}

TEST(CtrDrbg, DrawsDependOnHowTheyAreCut) {
  std::uint8_t entropy[48] = {1};
  kat::CtrDrbg one(entropy), two(entropy);
  const Bytes together = one.generate(64);
  Bytes apart = two.generate(32);
  EXPECT_TRUE(std::equal(apart.begin(), apart.end(), together.begin()));
  const Bytes rest = two.generate(32);
  EXPECT_FALSE(std::equal(rest.begin(), rest.end(), together.begin() + 32));
}

}  // namespace
}  // namespace warpkem::test
