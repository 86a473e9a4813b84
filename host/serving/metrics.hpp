// Counters and latency histograms. Written from many threads without a lock, read as a sum; nothing secret is in them.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "host/core/kinds.hpp"

namespace warpkem::host {

inline constexpr std::size_t histogram_buckets = 112;  // as WARPKEM_HISTOGRAM_BUCKETS
inline constexpr std::size_t no_backend = 16;          // the row of what no backend did

// Four buckets an octave from 256 ns on: a bucket's end is at most a quarter above its begin. The last is open.
constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
  if (ns < 256) return 0;
  const auto octave = static_cast<std::size_t>(std::bit_width(ns)) - 9;
  const std::size_t bucket = 4 * octave + ((ns >> (octave + 6)) & 3);
  return bucket < histogram_buckets ? bucket : histogram_buckets - 1;
}
// The first value above bucket `i`.
constexpr std::uint64_t bucket_end(std::size_t i) noexcept {
  return i + 1 < histogram_buckets ? (std::uint64_t{4} + (i + 1) % 4) << ((i + 1) / 4 + 6) : UINT64_MAX;
}
static_assert(bucket_of(255) == 0 && bucket_of(256) == 0 && bucket_of(bucket_end(0)) == 1);
static_assert(bucket_of(bucket_end(57) - 1) == 57 && bucket_of(bucket_end(57)) == 58);

struct Histogram {
  std::uint64_t count = 0, sum_ns = 0, max_ns = 0;
  std::array<std::uint64_t, histogram_buckets> buckets{};
};

// How many items batches had. Sizes below 64 are counted exactly, larger ones to a thirty-second.
class BatchSizes {
 public:
  struct Size {
    std::uint64_t items;  // the largest that is counted here
    std::uint64_t batches;
  };

  void add(std::uint64_t items) noexcept {
    buckets_[std::min(bucket_of(items), num_buckets - 1)].fetch_add(1, std::memory_order_relaxed);
    std::uint64_t most = most_.load(std::memory_order_relaxed);
    while (items > most && !most_.compare_exchange_weak(most, items, std::memory_order_relaxed)) {
    }
  }
  // Those that there were, smallest first. The last one is exact.
  std::vector<Size> sizes() const;

 private:
  static constexpr std::size_t num_buckets = 512;
  // The position of the highest five bits after the first, for each octave.
  static constexpr std::size_t bucket_of(std::uint64_t items) noexcept {
    if (items < 32) return static_cast<std::size_t>(items);
    const auto octave = static_cast<std::size_t>(std::bit_width(items)) - 6;
    return 32 * (octave + 1) + ((items >> octave) & 31);
  }
  static constexpr std::uint64_t last_of(std::size_t bucket) noexcept {
    if (bucket < 32) return bucket;
    const std::size_t octave = bucket / 32 - 1;
    return ((std::uint64_t{32} + bucket % 32 + 1) << octave) - 1;
  }

  std::array<std::atomic<std::uint64_t>, num_buckets> buckets_{};
  std::atomic<std::uint64_t> most_{0};
};

enum class Phase : std::uint32_t { wait, service, total };
inline constexpr std::size_t num_phases = 3;

enum class Counter : std::uint32_t {
  submitted,  // requests taken
  refused,    // requests answered WOULD_BLOCK
  completed,  // requests completed, by any status below or ok
  failed,     // with an item that failed, or as a whole
  cancelled,  // and so on: statuses
  expired,
  aborted,
  batches,  // sent to a backend for the first time
  batch_items,
  redone,      // items sent to another backend
  helped,      // requests that a waiting caller ran itself
  checked,     // items recomputed by the sentinel
  mismatched,  // items whose recomputation differed
  unchecked,   // items that the sentinel chose but no other backend could recompute
  quarantines,
};
inline constexpr std::size_t num_counters = 15;

class Metrics {
 public:
  // Tests pass kinds of their own.
  explicit Metrics(const Kinds& kinds = Kinds());

  void add(Counter counter, std::uint64_t n) noexcept {
    if (n != 0) shard().counters[static_cast<std::size_t>(counter)].fetch_add(n, std::memory_order_relaxed);
  }
  std::uint64_t value(Counter counter) const noexcept;

  // `n` requests of that kind on the backend of that slot took `sum_ns` together and `max_ns` at the most; all are of
  // one bucket of the histogram.
  void record(std::size_t slot, const Kind& kind, Phase phase, std::uint64_t n, std::uint64_t sum_ns,
              std::uint64_t max_ns) noexcept;
  // Adds what there is of an operation with an algorithm.
  void read(std::size_t slot, Operation operation, std::uint32_t algorithm, Phase phase,
            Histogram& into) const noexcept;

  BatchSizes batch_sizes;  // of the batches that were formed

 private:
  struct SharedHistogram {
    std::atomic<std::uint64_t> sum_ns{0}, max_ns{0};
    std::array<std::atomic<std::uint64_t>, histogram_buckets> buckets{};
  };
  struct Row {
    std::array<SharedHistogram, num_phases> histograms{};
  };
  static constexpr std::size_t num_shards = 4;
  struct alignas(64) Shard {
    std::array<std::atomic<std::uint64_t>, num_counters> counters{};
    // By slot, operation and algorithm, each made when it is first written.
    std::vector<std::atomic<Row*>> rows;
    ~Shard() {
      for (auto& row : rows) delete row.load(std::memory_order_relaxed);
    }
  };
  Shard& shard() noexcept;
  std::size_t place(std::size_t slot, Operation operation, std::uint32_t algorithm) const noexcept {
    return slot * kinds_.size() + kinds_.row(operation, algorithm);
  }

  const Kinds kinds_;
  std::array<Shard, num_shards> shards_;
};

// Gathers the latencies of one batch, which mostly fall into one bucket, so that they are written together.
class Tally {
 public:
  Tally(Metrics& metrics, std::size_t slot, const Kind& kind, Phase phase) noexcept
      : metrics_(metrics), slot_(slot), kind_(kind), phase_(phase) {}
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  ~Tally() { flush(); }

  void add(std::uint64_t ns) noexcept {
    const std::size_t bucket = bucket_of(ns);
    if (bucket != bucket_) flush();
    bucket_ = bucket;
    ++count_;
    sum_ns_ += ns;
    if (ns > max_ns_) max_ns_ = ns;
  }

 private:
  void flush() noexcept {
    if (count_ != 0) metrics_.record(slot_, kind_, phase_, count_, sum_ns_, max_ns_);
    count_ = sum_ns_ = max_ns_ = 0;
  }

  Metrics& metrics_;
  const std::size_t slot_;
  const Kind kind_;
  const Phase phase_;
  std::size_t bucket_ = 0;
  std::uint64_t count_ = 0, sum_ns_ = 0, max_ns_ = 0;
};

}  // namespace warpkem::host
