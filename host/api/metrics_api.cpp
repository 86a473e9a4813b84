// The C ABI of the metrics (warpkem/async.h).
#include <stddef.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

#include "host/api/arguments.hpp"
#include "host/api/metrics_text.hpp"
#include "host/api/seam.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/operation.hpp"
#include "host/serving/metrics.hpp"
#include "host/serving/scheduler.hpp"
#include "warpkem/async.h"

namespace {

using namespace warpkem::host;

static_assert(WARPKEM_HISTOGRAM_BUCKETS == histogram_buckets);

// The metrics of an engine that has begun to serve requests, else null.
const Metrics* metrics_of(const warpkem_engine& handle) noexcept {
  Scheduler* const scheduler = handle.lazy_scheduler.started();
  return scheduler != nullptr ? &scheduler->metrics() : nullptr;
}

void read_counters(const warpkem_engine& handle, warpkem_counters& out) {
  Scheduler* const scheduler = handle.lazy_scheduler.started();
  if (scheduler == nullptr) return;
  for (const CounterFamily& f : counter_families()) out.*f.member = scheduler->metrics().value(f.counter);
  out.items = scheduler->store()->admission.items();
  out.bytes = scheduler->store()->admission.bytes();
}

// The histograms that are not empty, each over all of `algorithms`.
std::vector<warpkem_histogram> read_histograms(const warpkem_engine& handle, std::span<const Algorithm> algorithms) {
  std::vector<warpkem_histogram> histograms;
  const Metrics* const metrics = metrics_of(handle);
  if (metrics == nullptr) return histograms;
  const auto slots = handle.engine->slots();
  const auto read = [&](std::size_t slot, const char* backend) {
    for (const OperationSpec& spec : all_operations()) {
      for (std::uint32_t phase = 0; phase < num_phases; ++phase) {
        Histogram h;
        for (const Algorithm& a : algorithms) {
          metrics->read(slot, spec.operation, a.id, static_cast<Phase>(phase), h);
        }
        if (h.count == 0) continue;
        warpkem_histogram out{backend, static_cast<std::uint32_t>(spec.operation), phase, h.count, h.sum_ns, h.max_ns,
                              {}};
        std::ranges::copy(h.buckets, out.buckets);
        histograms.push_back(out);
      }
    }
  };
  for (const Engine::Slot& slot : slots) read(slot.number, slot.entry->name);
  read(no_backend, "");
  return histograms;
}

std::vector<warpkem_usage> read_usages(const Engine& engine) {
  std::vector<warpkem_usage> usages;
  for (const Engine::Slot& slot : engine.slots()) {
    for (const Algorithm& a : all_algorithms()) {
      for (const OperationSpec& spec : all_operations()) {
        const ItemCounters::Row& row = slot.done.of(spec.operation, a.id);
        const std::uint64_t items = row.items.load(std::memory_order_relaxed);
        if (items == 0) continue;
        usages.push_back({slot.entry->name, a.id, static_cast<std::uint32_t>(spec.operation), items,
                          row.batches.load(std::memory_order_relaxed)});
      }
    }
  }
  return usages;
}

std::vector<RequestMetrics> read_requests(const warpkem_engine& handle) {
  std::vector<RequestMetrics> requests;
  const Metrics* const metrics = metrics_of(handle);
  if (metrics == nullptr) return requests;
  for (const Algorithm& a : all_algorithms()) {
    for (const OperationSpec& spec : all_operations()) {
      Histogram total;
      for (std::size_t slot = 0; slot <= no_backend; ++slot) {
        metrics->read(slot, spec.operation, a.id, Phase::total, total);
      }
      if (total.count != 0) requests.push_back({a.name, spec.name, total});
    }
  }
  return requests;
}

// What a query gives: up to `capacity` of what was read, and how many there are.
template <class T>
void give(const std::vector<T>& read, T* to, std::size_t capacity, std::size_t* count) noexcept {
  if (to != nullptr) std::copy_n(read.begin(), std::min(capacity, read.size()), to);
  if (count != nullptr) *count = read.size();
}

}  // namespace

extern "C" {

warpkem_status warpkem_metrics(warpkem_engine* engine, warpkem_counters* counters, warpkem_histogram* histograms,
                               size_t capacity, size_t* count) {
  return guarded([&] {
    static_cast<void>(usable(engine));
    if (counters != nullptr) {
      clear_out_struct(counters, "counters");
      read_counters(*engine, *counters);
    }
    if (histograms == nullptr && count == nullptr) return WARPKEM_OK;
    give(read_histograms(*engine, all_algorithms()), histograms, capacity, count);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_algorithm_histograms(warpkem_engine* engine, warpkem_algorithm algorithm,
                                            warpkem_histogram* histograms, size_t capacity, size_t* count) {
  return guarded([&] {
    static_cast<void>(usable(engine));
    const Algorithm* const found = find_algorithm(algorithm);
    if (found == nullptr) throw Error(Status::invalid_argument, "algorithm: there is no " + std::to_string(algorithm));
    give(read_histograms(*engine, {found, 1}), histograms, capacity, count);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_usages(warpkem_engine* engine, warpkem_usage* usages, size_t capacity, size_t* count) {
  return guarded([&] {
    give(read_usages(usable(engine)), usages, capacity, count);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_batch_sizes(warpkem_engine* engine, warpkem_batch_size* sizes, size_t capacity, size_t* count) {
  return guarded([&] {
    static_cast<void>(usable(engine));
    std::vector<warpkem_batch_size> read;
    if (const Metrics* const metrics = metrics_of(*engine)) {
      for (const BatchSizes::Size& size : metrics->batch_sizes.sizes()) read.push_back({size.items, size.batches});
    }
    give(read, sizes, capacity, count);
    return WARPKEM_OK;
  });
}

void warpkem_histogram_add(warpkem_histogram* into, const warpkem_histogram* from) {
  if (into == nullptr || from == nullptr) return;
  into->count += from->count;
  into->sum_ns += from->sum_ns;
  into->max_ns = std::max(into->max_ns, from->max_ns);
  for (std::size_t i = 0; i < histogram_buckets; ++i) into->buckets[i] += from->buckets[i];
}

uint64_t warpkem_histogram_bound(size_t bucket) { return bucket_end(bucket); }

uint64_t warpkem_histogram_quantile(const warpkem_histogram* histogram, double quantile) {
  if (histogram == nullptr || histogram->count == 0) return 0;
  const double wanted = std::clamp(quantile, 0.0, 1.0) * static_cast<double>(histogram->count);
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < histogram_buckets; ++i) {
    below += histogram->buckets[i];
    if (below != 0 && static_cast<double>(below) >= wanted) return std::min(bucket_end(i), histogram->max_ns);
  }
  return histogram->max_ns;
}

warpkem_status warpkem_metrics_text(warpkem_engine* engine, char* text, size_t capacity, size_t* needed) {
  return guarded([&] {
    Engine& e = usable(engine);
    MetricsSnapshot metrics{{}, {}, read_usages(e), read_requests(*engine), read_histograms(*engine, all_algorithms())};
    read_counters(*engine, metrics.counters);
    for (const Engine::Slot& slot : e.slots()) {
      if (slot.backend) metrics.backends.push_back({slot.entry->name, slot.done.items(), slot.backend->kept_bytes()});
    }
    const std::string all = prometheus_text(metrics);
    if (needed != nullptr) *needed = all.size() + 1;
    if (text == nullptr || capacity <= all.size()) {
      if (text != nullptr && capacity != 0) *text = '\0';
      throw Error(Status::out_of_memory, "the text needs " + std::to_string(all.size() + 1) + " bytes");
    }
    memcpy(text, all.c_str(), all.size() + 1);
    return WARPKEM_OK;
  });
}

}  // extern "C"
