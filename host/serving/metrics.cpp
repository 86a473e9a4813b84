#include "host/serving/metrics.hpp"

#include <algorithm>
#include <new>

#include "host/core/thread_number.hpp"

namespace warpkem::host {

Metrics::Shard& Metrics::shard() noexcept { return shards_[this_thread_number() % num_shards]; }

std::uint64_t Metrics::value(Counter counter) const noexcept {
  std::uint64_t sum = 0;
  for (const Shard& s : shards_) sum += s.counters[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
  return sum;
}

std::vector<BatchSizes::Size> BatchSizes::sizes() const {
  std::vector<Size> all;
  for (std::size_t i = 0; i < num_buckets; ++i) {
    const std::uint64_t batches = buckets_[i].load(std::memory_order_relaxed);
    if (batches != 0) all.push_back({last_of(i), batches});
  }
  if (!all.empty()) all.back().items = most_.load(std::memory_order_relaxed);
  return all;
}

void Metrics::record(std::size_t slot, std::uint32_t operation, Phase phase, std::uint64_t n, std::uint64_t sum_ns,
                     std::uint64_t max_ns) noexcept {
  if (operation >= max_operations || slot > no_backend) return;
  std::atomic<Row*>& place = shard().rows[slot][operation];
  Row* row = place.load(std::memory_order_acquire);
  if (row == nullptr) {
    Row* const made = new (std::nothrow) Row;
    if (made == nullptr) return;
    if (place.compare_exchange_strong(row, made, std::memory_order_acq_rel)) {
      row = made;
    } else {
      delete made;
    }
  }
  SharedHistogram& h = row->histograms[static_cast<std::size_t>(phase)];
  h.sum_ns.fetch_add(sum_ns, std::memory_order_relaxed);
  h.buckets[bucket_of(max_ns)].fetch_add(n, std::memory_order_relaxed);
  std::uint64_t most = h.max_ns.load(std::memory_order_relaxed);
  while (max_ns > most && !h.max_ns.compare_exchange_weak(most, max_ns, std::memory_order_relaxed)) {
  }
}

Histogram Metrics::histogram(std::size_t slot, std::uint32_t operation, Phase phase) const noexcept {
  Histogram sum;
  if (operation >= max_operations || slot > no_backend) return sum;
  for (const Shard& s : shards_) {
    const Row* const row = s.rows[slot][operation].load(std::memory_order_acquire);
    if (row == nullptr) continue;
    const SharedHistogram& h = row->histograms[static_cast<std::size_t>(phase)];
    sum.sum_ns += h.sum_ns.load(std::memory_order_relaxed);
    sum.max_ns = std::max(sum.max_ns, h.max_ns.load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < histogram_buckets; ++i) {
      const std::uint64_t n = h.buckets[i].load(std::memory_order_relaxed);
      sum.buckets[i] += n;
      sum.count += n;  // so that a snapshot taken in the middle of a record is consistent in itself
    }
  }
  return sum;
}

}  // namespace warpkem::host
