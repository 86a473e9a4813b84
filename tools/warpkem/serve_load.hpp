// What serve-bench does to an engine, and what it sees: load from producer threads, checked results, latencies.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "warpkem/warpkem.h"

namespace warpkem::tool {

// One kind of request in the mix.
struct ServeOp {
  std::uint32_t operation = WARPKEM_OP_ENCAPS;
  warpkem_algorithm algorithm = WARPKEM_ML_KEM_768;
  double weight = 1;
};

struct ServeOptions {
  std::vector<ServeOp> mix = {ServeOp{}};
  std::size_t producers = 8;
  std::size_t outstanding = 256;  // of each producer, closed loop
  double rate = 0;                // a second, all producers together; 0: closed loop
  double seconds = 0;
  std::uint64_t requests = 0;  // instead of seconds
  std::string backend;         // a real one's name, "null", "lying:P"; empty: the best
  std::string faults;          // error:P,slow:US with commas
  std::uint64_t seed = 1;
  bool verify = false;  // every result, against portable
  double drawn = -1;  // fraction of keygens and encapsulations whose randomness the engine draws; negative: the default
  double bad = 0;     // fraction of encapsulations and decapsulations whose key is bad
  bool virtual_clock = false;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  bool free_threads = false;    // the kernel may move the engine's threads from core to core
  std::size_t hand_over = 256;  // requests of one submission and completions of one poll at the most
  std::size_t max_items = 0;    // of the engine's queue; 0: fits the load
  std::uint32_t max_delay_us = 50;
  double sentinel = 0;
  std::uint64_t deadline_us = 0;
  double cancel = 0;  // fraction of requests that are cancelled at once
  double bulk = 0;    // fraction of requests of class bulk
};

// 32 buckets an octave: quantiles are good to 3 %.
class FineHistogram {
 public:
  void add(std::uint64_t value, std::uint64_t n = 1) {
    buckets_[index(value)] += n;
    count_ += n;
    if (value > max_) max_ = value;
  }
  void merge(const FineHistogram& other) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    if (other.max_ > max_) max_ = other.max_;
  }
  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  std::uint64_t quantile(double q) const {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      below += buckets_[i];
      if (below != 0 && static_cast<double>(below) >= q * static_cast<double>(count_))
        return value(i) < max_ ? value(i) : max_;
    }
    return max_;
  }
  // (largest value, how many) of each bucket that is not empty; a value below 64 has a bucket of its own.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] != 0) all.emplace_back(std::min(value(i), max_), buckets_[i]);
    }
    return all;
  }

 private:
  static std::size_t index(std::uint64_t v) {
    if (v < 32) return static_cast<std::size_t>(v);
    const auto octave = static_cast<std::size_t>(std::bit_width(v)) - 6;
    return 32 * (octave + 1) + static_cast<std::size_t>((v >> octave) & 31);
  }
  static std::uint64_t value(std::size_t i) {
    if (i < 32) return i;
    const std::size_t octave = i / 32 - 1;
    return ((std::uint64_t{32} + i % 32 + 1) << octave) - 1;
  }
  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>(32 * 60);
  std::uint64_t count_ = 0, max_ = 0;
};

struct ServeReport {
  double elapsed_seconds = 0;
  std::uint64_t offered = 0, accepted = 0, completed = 0;
  std::uint64_t refused = 0;            // answered WOULD_BLOCK
  std::uint64_t failed = 0;             // completed with an error that was not asked for
  std::uint64_t expected_failures = 0;  // bad keys that were refused as such
  std::uint64_t cancelled = 0, expired = 0;
  std::uint64_t verified = 0, verified_drawn = 0;  // requests; of those, with the engine's own randomness
  std::uint64_t lost = 0, duplicated = 0, wrong = 0;
  std::uint64_t lies = 0;  // wrong items that the lying backend gave
  FineHistogram latency_ns, batch_items, stall_ns;
  std::vector<std::uint64_t> rss_bytes;  // once a second
  std::map<std::string, std::uint64_t> items_by_backend;
  double cpu_seconds = 0;
  double bound_us = 0;  // virtual clock: max_delay and, as kinds take turns, two of the longest batch of each
  warpkem_counters counters{};
};

// The parts of a list with commas; of an empty list, none.
std::vector<std::string_view> split(std::string_view list);

// Throws Error. `running` is called with the engine before the load begins, and with NULL before the engine goes.
ServeReport serve(const ServeOptions& options, const std::function<void(warpkem_engine*)>& running);
ServeReport serve_virtually(const ServeOptions& options);

}  // namespace warpkem::tool
