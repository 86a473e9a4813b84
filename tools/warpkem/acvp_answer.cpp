#include "tools/warpkem/acvp_answer.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/error.hpp"

namespace warpkem::tool {
namespace {

using Json = nlohmann::ordered_json;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) break;
    bytes.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  if (2 * bytes.size() != text.size()) throw Error("'" + text.substr(0, 20) + "...' is not hexadecimal");
  return bytes;
}

// One of ACVP's groups: tests of the same parameter set and function.
class Group {
 public:
  Group(warpkem_engine* engine, const Json& group, const std::string& mode)
      : engine_(engine),
        tests_(group.at("tests")),
        algorithm_(warpkem_algorithm_by_name(group.at("parameterSet").get<std::string>().c_str())),
        function_(mode == "keyGen" ? mode : group.at("function").get<std::string>()),
        dk_format_(group.value("keyFormat", "expanded") == "seed" ? WARPKEM_DK_SEED : WARPKEM_DK_EXPANDED) {
    if (algorithm_ == 0 || is_hybrid(algorithm_)) throw Error("parameterSet is none of ML-KEM");
    if (!tests_.is_array() || tests_.empty()) throw Error("a group without tests");
    for (const Json& test : tests_) answers_.push_back({{"tcId", test.at("tcId")}});
  }

  Json answers() {
    if (function_ == "keyGen") {
      key_gen();
    } else if (function_ == "encapsulation") {
      encapsulation();
    } else if (function_ == "decapsulation") {
      decapsulation();
    } else if (function_ == "encapsulationKeyCheck") {
      key_check("ek", WARPKEM_SIZE_EK, warpkem_check_ek);
    } else if (function_ == "decapsulationKeyCheck") {
      key_check("dk", WARPKEM_SIZE_DK, warpkem_check_dk);
    } else {
      throw Error("function '" + function_ + "' is none of ML-KEM's");
    }
    return answers_;
  }

 private:
  std::size_t size(std::uint32_t what) const { return warpkem_size(algorithm_, what); }
  std::size_t count() const { return tests_.size(); }

  // A record of each test: its members, one after the other.
  std::vector<std::uint8_t> records(std::initializer_list<const char*> members, std::size_t record_bytes) const {
    std::vector<std::uint8_t> all;
    for (const Json& test : tests_) {
      const std::size_t begin = all.size();
      for (const char* const member : members) {
        const auto bytes = from_hex(test.at(member).get<std::string>());
        all.insert(all.end(), bytes.begin(), bytes.end());
      }
      if (all.size() - begin != record_bytes) {
        throw Error(fmt::format("test case {}: {} has {} bytes in place of {}", test.at("tcId").dump(),
                                *members.begin(), all.size() - begin, record_bytes));
      }
    }
    return all;
  }
  std::vector<std::uint8_t> room(std::size_t record_bytes) const {
    return std::vector<std::uint8_t>(count() * record_bytes);
  }
  static warpkem_in in(const std::vector<std::uint8_t>& records) { return {records.data(), records.size(), 0}; }
  static warpkem_out out(std::vector<std::uint8_t>& records) { return {records.data(), records.size(), 0}; }

  void add(const char* member, const std::vector<std::uint8_t>& records) {
    const std::size_t bytes = records.size() / count();
    for (std::size_t i = 0; i < count(); ++i) {
      std::string text;
      for (std::size_t j = 0; j < bytes; ++j) text += fmt::format("{:02X}", records[i * bytes + j]);
      answers_[i][member] = text;
    }
  }
  // Every item has to come out: only key checks have a verdict.
  static void all_good(warpkem_status status) {
    if (status == WARPKEM_ITEM_FAILED) throw Error(warpkem_last_error());
    check(status);
  }

  void key_gen() {
    const auto seeds = records({"d", "z"}, size(WARPKEM_SIZE_SEED));
    auto ek = room(size(WARPKEM_SIZE_EK)), dk = room(size(WARPKEM_SIZE_DK));
    all_good(warpkem_keygen_derand(engine_, algorithm_, WARPKEM_DK_EXPANDED, count(), in(seeds), out(ek), out(dk),
                                   nullptr, nullptr));
    add("ek", ek);
    add("dk", dk);
  }

  void encapsulation() {
    const auto ek = records({"ek"}, size(WARPKEM_SIZE_EK)), m = records({"m"}, size(WARPKEM_SIZE_M));
    auto c = room(size(WARPKEM_SIZE_C)), K = room(size(WARPKEM_SIZE_K));
    all_good(warpkem_encaps_derand(engine_, algorithm_, count(), in(ek), in(m), out(c), out(K), nullptr, nullptr));
    add("c", c);
    add("k", K);
  }

  void decapsulation() {
    const auto dk = dk_format_ == WARPKEM_DK_SEED ? records({"d", "z"}, size(WARPKEM_SIZE_DK_SEED))
                                                  : records({"dk"}, size(WARPKEM_SIZE_DK));
    const auto c = records({"c"}, size(WARPKEM_SIZE_C));
    auto K = room(size(WARPKEM_SIZE_K));
    all_good(warpkem_decaps(engine_, algorithm_, dk_format_, count(), in(dk), in(c), out(K), nullptr, nullptr));
    add("k", K);
  }

  // FIPS 203, Sections 7.2 and 7.3. A key of another length fails the first of the checks.
  template <class Check>
  void key_check(const char* member, std::uint32_t what, Check* checks) {
    auto keys = room(size(what));
    std::vector<bool> fits;
    for (std::size_t i = 0; i < count(); ++i) {
      const auto key = from_hex(tests_[i].at(member).get<std::string>());
      fits.push_back(key.size() == size(what));
      if (fits.back()) std::copy(key.begin(), key.end(), keys.begin() + static_cast<std::ptrdiff_t>(i * key.size()));
    }
    std::vector<std::uint8_t> statuses(count());
    check(checks(engine_, algorithm_, count(), in(keys), statuses.data(), nullptr));
    for (std::size_t i = 0; i < count(); ++i) {
      if (statuses[i] != WARPKEM_OK && statuses[i] != WARPKEM_INVALID_EK && statuses[i] != WARPKEM_INVALID_DK)
        throw Error(meaning_of(statuses[i]));
      answers_[i]["testPassed"] = fits[i] && statuses[i] == WARPKEM_OK;
    }
  }

  warpkem_engine* engine_;
  const Json& tests_;
  warpkem_algorithm algorithm_;
  std::string function_;
  std::uint32_t dk_format_;
  Json answers_ = Json::array();
};

// A vector set with its groups answered; all else that it says of itself stays.
Json answer(warpkem_engine* engine, const Json& vectors) {
  const std::string mode = vectors.at("mode").get<std::string>();
  if (vectors.at("algorithm") != "ML-KEM" || (mode != "keyGen" && mode != "encapDecap"))
    throw Error("is for " + vectors.at("algorithm").get<std::string>() + " " + mode +
                ", not ML-KEM keyGen or encapDecap");
  Json response = vectors;
  response["testGroups"] = Json::array();
  for (const Json& group : vectors.at("testGroups"))
    response["testGroups"].push_back({{"tgId", group.at("tgId")}, {"tests", Group(engine, group, mode).answers()}});
  return response;
}

// A prompt has six levels. Json copies and writes by recursion, which so stays far from the end of the stack.
constexpr int most_levels = 64;

Json parsed(const std::string& text) {
  return Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
    if (depth > most_levels) throw Error(fmt::format("more than {} levels of JSON", most_levels));
    return true;
  });
}

}  // namespace

std::string acvp_response(warpkem_engine* engine, const std::string& text) {
  try {
    // ACVP's servers send an array of a version and a vector set; NIST's published files are the set alone.
    Json prompt = parsed(text);
    if (!prompt.is_array()) return answer(engine, prompt).dump(2) + "\n";
    bool is_answered = false;
    for (Json& part : prompt) {
      if (!part.contains("testGroups")) continue;
      part = answer(engine, part);
      is_answered = true;
    }
    if (!is_answered) throw Error("no vector set in the array");
    return prompt.dump(2) + "\n";
  } catch (const Json::exception& error) {
    throw Error(std::string("no prompt of ACVP for ML-KEM: ") + error.what());
  }
}

}  // namespace warpkem::tool
