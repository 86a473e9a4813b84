#include "host/serving/metrics.hpp"

#include <algorithm>
#include <new>

#include "host/core/thread_number.hpp"

namespace warpkem::host {

Metrics::Metrics(const Kinds& kinds) : kinds_(kinds) {
  for (Shard& s : shards_) s.rows = std::vector<std::atomic<Row*>>((no_backend + 1) * kinds_.size());
}

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

void Metrics::record(std::size_t slot, const Kind& kind, Phase phase, std::uint64_t n, std::uint64_t sum_ns,
                     std::uint64_t max_ns) noexcept {
  if (slot > no_backend) return;
  std::atomic<Row*>& made_at = shard().rows[place(slot, kind.operation, kind.algorithm)];
  Row* row = made_at.load(std::memory_order_acquire);
  if (row == nullptr) {
    Row* const made = new (std::nothrow) Row;
    if (made == nullptr) return;
    if (made_at.compare_exchange_strong(row, made, std::memory_order_acq_rel)) {
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

void Metrics::read(std::size_t slot, Operation operation, std::uint32_t algorithm, Phase phase,
                   Histogram& into) const noexcept {
  if (slot > no_backend) return;
  for (const Shard& s : shards_) {
    const Row* const found = s.rows[place(slot, operation, algorithm)].load(std::memory_order_acquire);
    if (found == nullptr) continue;
    const SharedHistogram& h = found->histograms[static_cast<std::size_t>(phase)];
    into.sum_ns += h.sum_ns.load(std::memory_order_relaxed);
    into.max_ns = std::max(into.max_ns, h.max_ns.load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < histogram_buckets; ++i) {
      const std::uint64_t n = h.buckets[i].load(std::memory_order_relaxed);
      into.buckets[i] += n;
      into.count += n;  // so that a snapshot taken in the middle of a record is consistent in itself
    }
  }
}

}  // namespace warpkem::host
