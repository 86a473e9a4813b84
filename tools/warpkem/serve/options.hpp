// What serve-bench is asked for, and what it reports.
#pragma once

#include <warpkem/warpkem.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/warpkem/serve/histogram.hpp"

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
  std::string backend;         // empty: the best
  std::uint64_t seed = 1;
  bool verify = false;  // every result, against portable
  double drawn = -1;  // fraction of keygens and encapsulations whose randomness the engine draws; negative: the default
  double bad = 0;     // fraction of encapsulations and decapsulations whose key is bad
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  bool free_threads = false;    // the kernel may move the engine's threads from core to core
  std::size_t hand_over = 256;  // requests of one submission and completions of one poll at the most
  std::size_t max_items = 0;    // of the engine's queue; 0: fits the load
  std::uint32_t max_delay_us = 50;
  double sentinel = 0;
  std::uint64_t deadline_us = 0;
  double cancel = 0;      // fraction of requests that are cancelled at once
  double bulk = 0;        // fraction of requests of class bulk
  int metrics_port = -1;  // negative: none

  bool verifies() const { return verify || bad > 0; }
  // The bound of the engine's queue. In an open loop it limits how long accepted requests wait in an overload, and
  // holds what a stall of milliseconds leaves due.
  std::size_t queue_items() const {
    if (max_items != 0) return max_items;
    return rate > 0 ? 2048 : std::max<std::size_t>(4096, 2 * producers * outstanding);
  }
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
  std::uint64_t lies = 0;  // wrong items that a lying backend gave
  FineHistogram latency_ns, stall_ns;
  std::vector<std::uint64_t> rss_bytes;  // once a second
  std::map<std::string, std::uint64_t> items_by_backend;
  std::vector<warpkem_usage> usages;
  double cpu_seconds = 0;
  double bound_us = 0;  // simulated time: max_delay and, as kinds take turns, two of the longest batch of each
  warpkem_counters counters{};
  std::vector<warpkem_batch_size> batch_sizes;
};

}  // namespace warpkem::tool
