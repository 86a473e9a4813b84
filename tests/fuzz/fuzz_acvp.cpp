// Prompts of ACVP: the fuzzer's own text, or a good prompt with edits of its text. What is answered has as many groups
// and tests as were asked; what is not is refused in words.
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.hpp"
#include "tools/warpkem/acvp_answer.hpp"
#include "tools/warpkem/error.hpp"

using namespace warpkem::fuzz;
using Json = nlohmann::ordered_json;

namespace {

std::string hex(const Bytes& records, std::size_t item, std::size_t bytes) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string text;
  for (std::size_t i = item * bytes; i < (item + 1) * bytes; ++i) {
    text += {digits[records[i] >> 4], digits[records[i] & 15]};
  }
  return text;
}

std::string good_prompt(std::uint8_t shape, std::size_t count) {
  const Good& g = good(shape % 3);
  constexpr const char* functions[] = {"keyGen", "encapsulation", "decapsulation", "encapsulationKeyCheck",
                                       "decapsulationKeyCheck"};
  const std::size_t function = shape / 3 % 5;
  const std::size_t half = g.dk_bytes[WARPKEM_DK_SEED] / 2;
  Json tests = Json::array();
  for (std::size_t i = 0; i < count; ++i) {
    tests.push_back({{"tcId", i},
                     {"d", hex(g.dk[WARPKEM_DK_SEED], 2 * i, half)},
                     {"z", hex(g.dk[WARPKEM_DK_SEED], 2 * i + 1, half)},
                     {"ek", hex(g.ek, i, g.ek_bytes)},
                     {"dk", hex(g.dk[WARPKEM_DK_EXPANDED], i, g.dk_bytes[WARPKEM_DK_EXPANDED])},
                     {"m", hex(g.m, i, g.m_bytes)},
                     {"c", hex(g.c, i, g.c_bytes)}});
  }
  const Json set{{"algorithm", "ML-KEM"},
                 {"mode", function == 0 ? "keyGen" : "encapDecap"},
                 {"testGroups",
                  {{{"tgId", 1},
                    {"parameterSet", warpkem_algorithm_name(g.algorithm)},
                    {"function", functions[function]},
                    {"keyFormat", shape & 0x40 ? "seed" : "expanded"},
                    {"tests", tests}}}}};
  return shape & 0x20 ? Json{{{"acvVersion", "1.0"}}, set}.dump() : set.dump();
}

std::size_t num_tests(const Json& prompt) {
  std::size_t count = 0;
  for (const Json& set : prompt.is_array() ? prompt : Json{prompt}) {
    if (!set.contains("testGroups")) continue;
    for (const Json& group : set.at("testGroups")) count += group.at("tests").size();
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  const std::uint8_t shape = input.byte();
  std::string prompt;
  if ((shape & 0x80) != 0) {
    prompt.assign(reinterpret_cast<const char*>(data + 1), bytes - 1);
  } else {
    const std::string text = good_prompt(shape, 1 + input.byte() % 2);
    Bytes edited(text.begin(), text.end());
    input.edit(edited);
    prompt.assign(edited.begin(), edited.end());
  }
  try {
    const Json response = Json::parse(warpkem::tool::acvp_response(backends().front().engine, prompt));
    if (num_tests(response) != num_tests(Json::parse(prompt))) die("tests are lost");
  } catch (const warpkem::tool::Error& error) {
    if (*error.what() == 0) die("refused without a reason");
  }
  return 0;
}
