#include "tests/cuda/workload.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <tuple>

namespace warpkem::test {

Bytes pseudo_random(std::size_t bytes, std::uint64_t seed) {
  Bytes out(bytes);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (std::uint8_t& byte : out) {  // xorshift64*
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    byte = static_cast<std::uint8_t>(state * 0x2545f4914f6cdd1du >> 56);
  }
  return out;
}

Engine Engine::strict(const char* backend, warpkem_options options) {
  options.backend = backend;
  options.flags |= WARPKEM_NO_FAIL_OVER;
  return Engine(options);
}

Engine::Engine(const warpkem_options& options) {
  if (warpkem_engine_new(&options, &engine_) != WARPKEM_OK) why_not_ = warpkem_last_error();
}

namespace {

warpkem_engine* reference() {
  static Engine engine = Engine::strict("portable");
  if (engine.get() == nullptr) throw std::runtime_error(engine.why_not());
  return engine.get();
}

void must(warpkem_status status) {
  if (status != WARPKEM_OK) throw std::runtime_error(warpkem_last_error());
}

warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }

}  // namespace

Inputs::Inputs(warpkem_algorithm a, std::size_t n, std::uint64_t s)
    : algorithm(a),
      seed(s),
      count(n),
      num_keys(std::min<std::size_t>(n, 7)),
      ek_bytes(warpkem_size(a, WARPKEM_SIZE_EK)),
      dk_bytes(warpkem_size(a, WARPKEM_SIZE_DK)),
      c_bytes(warpkem_size(a, WARPKEM_SIZE_C)),
      seeds(pseudo_random(64 * n, seed)),
      m(pseudo_random(32 * n, seed + 1)),
      ek(ek_bytes * n),
      dk(dk_bytes * n),
      dk_seed(seeds),
      c(c_bytes * n),
      index(n) {
  Bytes K(32 * n);
  must(warpkem_keygen_derand(reference(), a, WARPKEM_DK_EXPANDED, n, in(seeds), out(ek), out(dk), nullptr, nullptr));
  must(warpkem_encaps_derand(reference(), a, n, in(ek), in(m), out(c), out(K), nullptr, nullptr));
  good_ek = ek;
  good_dk = dk;
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 5 == 2 || i + 1 == n) {
      ek[i * ek_bytes + 1] |= 0x0f, ek[i * ek_bytes] = 0xff;  // the first coefficient is 4095
      dk[(i + 1) * dk_bytes - 64] ^= 1;                       // a bit of H(ek)
    }
    if (i % 3 == 1) c[i * c_bytes + i % c_bytes] ^= 0x10;
    index[i] = static_cast<std::uint32_t>(i % 11 == 10 ? num_keys + i : (i * 5) % num_keys);
  }
}

bool Answer::agrees(const Answer& expected, bool error_allowed) const {
  if (status == expected.status) {
    return failed == expected.failed && statuses == expected.statuses && first == expected.first &&
           second == expected.second;
  }
  const auto zero = [](const Bytes& bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
  };
  const bool error = status == WARPKEM_BACKEND_FAILED || status == WARPKEM_OUT_OF_MEMORY;
  return error_allowed && error && !text.empty() && zero(first) && zero(second);
}

Answer ask(warpkem_engine* engine, const Inputs& x, std::size_t operation) {
  Answer answer;
  answer.statuses.assign(x.count, 0xee);
  const std::string name = operation_names[operation];
  const bool is_decaps = name.starts_with("decaps");
  if (name.starts_with("keygen")) {
    answer.first.assign(x.ek_bytes * x.count, 0xee);
    answer.second.assign((name == "keygen" ? x.dk_bytes : 64) * x.count, 0xee);
  } else if (name.starts_with("encaps")) {
    answer.first.assign(x.c_bytes * x.count, 0xee);
    answer.second.assign(32 * x.count, 0xee);
  } else if (is_decaps) {
    answer.first.assign(32 * x.count, 0xee);
  }
  std::uint8_t* const statuses = answer.statuses.data();
  std::size_t* const failed = &answer.failed;
  if (name == "keygen" || name == "keygen seed") {
    const std::uint32_t format = name == "keygen" ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED;
    answer.status = warpkem_keygen_derand(engine, x.algorithm, format, x.count, in(x.seeds), out(answer.first),
                                          out(answer.second), statuses, failed);
  } else if (name == "encaps") {
    answer.status = warpkem_encaps_derand(engine, x.algorithm, x.count, in(x.ek), in(x.m), out(answer.first),
                                          out(answer.second), statuses, failed);
  } else if (name == "decaps") {
    answer.status = warpkem_decaps(engine, x.algorithm, WARPKEM_DK_EXPANDED, x.count, in(x.dk), in(x.c),
                                   out(answer.first), statuses, failed);
  } else if (name == "decaps seed") {
    answer.status = warpkem_decaps(engine, x.algorithm, WARPKEM_DK_SEED, x.count, in(x.dk_seed), in(x.c),
                                   out(answer.first), statuses, failed);
  } else if (name == "check_ek") {
    answer.status = warpkem_check_ek(engine, x.algorithm, x.count, in(x.ek), statuses, failed);
  } else if (name == "check_dk") {
    answer.status = warpkem_check_dk(engine, x.algorithm, x.count, in(x.dk), statuses, failed);
  } else {
    warpkem_keys* keys = nullptr;
    const bool seed = name == "decaps prepared seed";
    const Bytes& encoded = is_decaps ? (seed ? x.dk_seed : x.dk) : x.ek;
    const warpkem_in records{encoded.data(), encoded.size(), 0};
    const warpkem_status prepared =
        is_decaps ? warpkem_prepare_dk(engine, x.algorithm, seed ? WARPKEM_DK_SEED : WARPKEM_DK_EXPANDED, x.num_keys,
                                       records, nullptr, nullptr, &keys)
                  : warpkem_prepare_ek(engine, x.algorithm, x.num_keys, records, nullptr, nullptr, &keys);
    if (keys == nullptr) {
      answer.status = prepared;
      answer.text = warpkem_last_error();
      answer.first.assign(answer.first.size(), 0);
      answer.second.assign(answer.second.size(), 0);
      return answer;
    }
    const std::uint32_t* const index = name == "encaps prepared key 0" ? nullptr : x.index.data();
    answer.status =
        is_decaps ? warpkem_decaps_prepared(engine, keys, index, x.count, in(x.c), out(answer.first), statuses, failed)
                  : warpkem_encaps_prepared_derand(engine, keys, index, x.count, in(x.m), out(answer.first),
                                                   out(answer.second), statuses, failed);
    if (answer.status != WARPKEM_OK) answer.text = warpkem_last_error();
    warpkem_keys_release(keys);
    return answer;
  }
  if (answer.status != WARPKEM_OK) answer.text = warpkem_last_error();
  return answer;
}

const Answer& expected_answer(const Inputs& inputs, std::size_t operation) {
  static std::mutex mutex;
  static std::map<std::tuple<warpkem_algorithm, std::size_t, std::uint64_t, std::size_t>, Answer> answers;
  const std::scoped_lock lock(mutex);
  Answer& answer = answers[{inputs.algorithm, inputs.count, inputs.seed, operation}];
  if (answer.statuses.empty()) answer = ask(reference(), inputs, operation);
  return answer;
}

}  // namespace warpkem::test
