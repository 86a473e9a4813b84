// What the fuzz targets share: engines forced to each backend of this machine, good records, and inputs made of good
// records and the edits that the fuzzer asks for, so that it need not find a hash before it gets anywhere.
#pragma once

#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace warpkem::fuzz {

using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t most_items = 10;

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "%s; %s\n", what.c_str(), warpkem_last_error());
  std::abort();
}

struct Backend {
  std::string name;
  warpkem_engine* engine;
};

// Every usable CPU backend; portable, the oracle, is the last.
inline const std::vector<Backend>& backends() {
  static const std::vector<Backend>& all = *[] {  // for as long as the process lives
    auto& found = *new std::vector<Backend>;
    for (const char* name : {"avx512", "avx2", "portable"}) {
      warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
      options.backend = name;
      options.threads = 0;
      options.flags = WARPKEM_NO_FAIL_OVER;
      warpkem_engine* engine = nullptr;
      if (warpkem_engine_new(&options, &engine) == WARPKEM_OK) found.push_back({name, engine});
    }
    return &found;
  }();
  return all;
}

// Good records of one parameter set.
struct Good {
  explicit Good(warpkem_algorithm a)
      : algorithm(a),
        ek_bytes(warpkem_size(a, WARPKEM_SIZE_EK)),
        c_bytes(warpkem_size(a, WARPKEM_SIZE_C)),
        K_bytes(warpkem_size(a, WARPKEM_SIZE_K)),
        m_bytes(warpkem_size(a, WARPKEM_SIZE_M)),
        dk_bytes{warpkem_size(a, WARPKEM_SIZE_DK), warpkem_size(a, WARPKEM_SIZE_DK_SEED),
                 warpkem_size(a, WARPKEM_SIZE_DK_COMPOSITE)},
        seeds(most_items * warpkem_size(a, WARPKEM_SIZE_SEED)),
        m(most_items * m_bytes),
        ek(most_items * ek_bytes),
        c(most_items * c_bytes) {
    for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::uint8_t>(i * 31 + a);
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = static_cast<std::uint8_t>(i * 17 + a);
    Bytes K(most_items * K_bytes);
    warpkem_engine* engine = backends().back().engine;
    for (const std::uint32_t format : {WARPKEM_DK_COMPOSITE, WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED}) {
      if (dk_bytes[format] == 0) continue;
      Bytes from = seeds;
      if (format == WARPKEM_DK_COMPOSITE) {
        from.assign(most_items * warpkem_size(a, WARPKEM_SIZE_SEED_COMPOSITE), 0x11);
      }
      dk[format].resize(most_items * dk_bytes[format]);
      if (warpkem_keygen_derand(engine, a, format, most_items, {from.data(), from.size(), 0}, {ek.data(), ek.size(), 0},
                                {dk[format].data(), dk[format].size(), 0}, nullptr, nullptr) != WARPKEM_OK) {
        die("no good keys");
      }
      formats.push_back(format);
    }
    if (warpkem_encaps_derand(engine, a, most_items, {ek.data(), ek.size(), 0}, {m.data(), m.size(), 0},
                              {c.data(), c.size(), 0}, {K.data(), K.size(), 0}, nullptr, nullptr) != WARPKEM_OK) {
      die("no good records");
    }
  }
  warpkem_algorithm algorithm;
  std::size_t ek_bytes, c_bytes, K_bytes, m_bytes;
  std::size_t dk_bytes[3];  // by format; 0: there is none
  Bytes seeds, m, ek, c;
  Bytes dk[3];
  std::vector<std::uint32_t> formats;
};

inline const Good& good(std::uint8_t choice) {
  static const std::vector<Good>& sets = *[] {
    auto& all = *new std::vector<Good>;
    for (warpkem_algorithm a = 1; warpkem_algorithm_name(a) != nullptr; ++a) all.emplace_back(a);
    return &all;
  }();
  return sets[choice % sets.size()];
}

// The fuzzer's bytes, read one after the other; zeros at the end.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t bytes) : rest_(data, bytes) {}
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  std::size_t word() { return byte() | std::size_t{byte()} << 8; }
  bool empty() const { return rest_.empty(); }

  // Some edits of `bytes`: a value at a place, or a run of one value.
  void edit(Bytes& bytes) {
    for (std::size_t edits = byte() % 16; edits != 0 && !empty() && !bytes.empty(); --edits) {
      const std::size_t at = word() * 3 % bytes.size();
      const std::uint8_t value = byte(), run = byte();
      for (std::size_t i = at; i < bytes.size() && i <= at + (run > 200 ? run : 0); ++i) bytes[i] = value;
    }
  }

 private:
  std::span<const std::uint8_t> rest_;
};

// What one backend made of an input.
struct Outcome {
  warpkem_status status = 0;
  std::size_t failed = 0;
  Bytes statuses, first, second;
  bool operator==(const Outcome&) const = default;
};

// Runs `work(engine, outcome)` on every backend and compares with portable; checks what holds of every outcome.
template <class Work>
void compare(std::size_t count, Work work) {
  Outcome right;
  for (auto backend = backends().rbegin(); backend != backends().rend(); ++backend) {
    Outcome outcome;
    outcome.statuses.assign(count, 0xee);
    work(backend->engine, outcome);
    std::size_t failed = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t status = outcome.statuses[i];
      if (status != WARPKEM_OK && status != WARPKEM_INVALID_EK && status != WARPKEM_INVALID_DK &&
          status != WARPKEM_INVALID_KEY_INDEX && status != WARPKEM_INVALID_C && status != WARPKEM_INVALID_RANDOMNESS) {
        die(backend->name + ": an item has status " + std::to_string(status));
      }
      failed += status != WARPKEM_OK;
      for (const Bytes* output : {&outcome.first, &outcome.second}) {
        if (status == WARPKEM_OK || output->empty()) continue;
        const std::size_t record = output->size() / count;
        for (std::size_t b = 0; b < record; ++b) {
          if ((*output)[i * record + b] != 0) die(backend->name + ": outputs of a failed item are not zero");
        }
      }
    }
    if (outcome.failed != failed || outcome.status != (failed != 0 ? WARPKEM_ITEM_FAILED : WARPKEM_OK)) {
      die(backend->name + ": the call answers " + warpkem_status_name(outcome.status));
    }
    if (backend == backends().rbegin()) {
      right = outcome;
    } else if (!(outcome == right)) {
      die(backend->name + " differs from portable");
    }
  }
}

inline warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
inline warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
inline Bytes head(const Bytes& bytes, std::size_t count) {
  return Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace warpkem::fuzz
