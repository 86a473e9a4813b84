// Everything that a backend can be asked, as one deterministic workload: the same bytes are expected of every backend,
// device, chunk size and memory layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "warpkem/warpkem.h"

namespace warpkem::test {

using Bytes = std::vector<std::uint8_t>;

// A stream of bytes that depends on the seed alone.
Bytes pseudo_random(std::size_t bytes, std::uint64_t seed);

class Engine {
 public:
  // An engine that may use `backend` alone: what it loses is an error. `options` is completed.
  static Engine strict(const char* backend, warpkem_options options = WARPKEM_OPTIONS_DEFAULT);
  explicit Engine(const warpkem_options& options);
  Engine(Engine&& other) noexcept : engine_(other.engine_), why_not_(other.why_not_) { other.engine_ = nullptr; }
  Engine& operator=(Engine&&) = delete;
  ~Engine() { warpkem_engine_free(engine_); }
  warpkem_engine* get() const { return engine_; }
  const std::string& why_not() const { return why_not_; }  // if get() is null

 private:
  warpkem_engine* engine_ = nullptr;
  std::string why_not_;
};

// The arrays of one parameter set for `count` items; bad items are sprinkled in, the last one always.
struct Inputs {
  Inputs(warpkem_algorithm algorithm, std::size_t count, std::uint64_t seed);

  warpkem_algorithm algorithm;
  std::uint64_t seed;
  std::size_t count, num_keys;
  std::size_t ek_bytes, dk_bytes, c_bytes;
  Bytes seeds, m, ek, dk, dk_seed, c;  // ek and dk with bad records, c with tampered ones
  Bytes good_ek, good_dk;
  std::vector<std::uint32_t> index;  // into the first num_keys keys, some beyond
};

// What one operation answered.
struct Answer {
  warpkem_status status = WARPKEM_OK;
  std::size_t failed = 0;
  Bytes statuses;
  Bytes first, second;  // output arrays
  std::string text;

  // Whether it is right; or, with `error_allowed`, an error with nothing but zeros.
  bool agrees(const Answer& expected, bool error_allowed) const;
};

inline constexpr const char* operation_names[] = {"keygen",          "keygen seed",         "encaps",
                                                  "decaps",          "decaps seed",         "check_ek",
                                                  "check_dk",        "encaps prepared",     "encaps prepared key 0",
                                                  "decaps prepared", "decaps prepared seed"};
inline constexpr std::size_t num_operations = sizeof operation_names / sizeof *operation_names;

// How the caller's arrays lie in memory.
enum class Memory {
  pageable,    // packed
  registered,  // packed, and page-locked: copied without staging
  strided,     // gaps between the records, odd addresses
  tables,      // records at random places
};

Answer ask(warpkem_engine* engine, const Inputs& inputs, std::size_t operation, Memory memory = Memory::pageable);

// By the portable backend, computed once per arguments.
const Answer& expected_answer(const Inputs& inputs, std::size_t operation);

}  // namespace warpkem::test
