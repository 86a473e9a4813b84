#include "host/api/metrics_text.hpp"

#include <stdio.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>
#include <utility>

#include "host/core/algorithms.hpp"
#include "host/core/operation.hpp"

namespace warpkem::host {

namespace {

constexpr CounterFamily families[] = {
    {&warpkem_counters::submitted, Counter::submitted, "warpkem_requests_submitted_total", "Requests taken."},
    {&warpkem_counters::refused, Counter::refused, "warpkem_requests_refused_total",
     "Requests refused because the queue was full."},
    {&warpkem_counters::completed, Counter::completed, "warpkem_requests_completed_total",
     "Requests completed, however."},
    {&warpkem_counters::failed, Counter::failed, "warpkem_requests_failed_total",
     "Completed requests with an item that is not ok."},
    {&warpkem_counters::cancelled, Counter::cancelled, "warpkem_requests_cancelled_total", "Requests cancelled."},
    {&warpkem_counters::expired, Counter::expired, "warpkem_requests_expired_total",
     "Requests that no backend had begun by their deadline."},
    {&warpkem_counters::aborted, Counter::aborted, "warpkem_requests_aborted_total", "Requests ended by a shutdown."},
    {&warpkem_counters::batches, Counter::batches, "warpkem_batches_total", "Batches formed."},
    {&warpkem_counters::batch_items, Counter::batch_items, "warpkem_batch_items_total", "Items in the batches formed."},
    {&warpkem_counters::redone, Counter::redone, "warpkem_items_redone_total", "Items sent to another backend."},
    {&warpkem_counters::helped, Counter::helped, "warpkem_requests_helped_total",
     "Requests run by the thread that waited for them."},
    {&warpkem_counters::checked, Counter::checked, "warpkem_items_checked_total", "Items recomputed by the sentinel."},
    {&warpkem_counters::mismatched, Counter::mismatched, "warpkem_items_mismatched_total",
     "Recomputed items with a different result."},
    {&warpkem_counters::unchecked, Counter::unchecked, "warpkem_items_unchecked_total",
     "Items that no other backend could recompute."},
    {&warpkem_counters::quarantines, Counter::quarantines, "warpkem_quarantines_total",
     "Backends put into quarantine."},
};
static_assert(std::size(families) == num_counters);

struct PhaseFamily {
  const char* name;
  const char* help;
};
constexpr PhaseFamily phases[] = {
    {"warpkem_request_wait_seconds", "From submission to being in a batch."},
    {"warpkem_request_service_seconds", "What backends took for a request's batch."},
    {"warpkem_request_total_seconds", "From submission to completion."},
};

// As printf's %.9g and %.9f do in the C locale; those of the host program's locale may have a comma, which Prometheus
// does not read.
std::string number(double value, std::chars_format format) {
  char digits[64];  // enough for 2^64 ns in seconds
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, value, format, 9);
  return std::string(digits, end.ptr);
}

std::string seconds(std::uint64_t ns) { return number(static_cast<double>(ns) * 1e-9, std::chars_format::fixed); }

template <class... Values>
void append(std::string& text, const char* format, Values... values) {
  char line[512];
  const int length = snprintf(line, sizeof line, format, values...);
  if (length > 0) text.append(line, std::min(sizeof line - 1, static_cast<std::size_t>(length)));
}

void append_head(std::string& text, const char* name, const char* type, const char* help) {
  append(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

}  // namespace

std::span<const CounterFamily> counter_families() noexcept { return families; }

std::string prometheus_text(const MetricsSnapshot& metrics) {
  std::string text;
  const auto one = [&](const char* name, const char* type, const char* help, std::uint64_t value) {
    append_head(text, name, type, help);
    append(text, "%s %llu\n", name, static_cast<unsigned long long>(value));
  };
  for (const CounterFamily& f : families) one(f.name, "counter", f.help, metrics.counters.*f.member);
  one("warpkem_queue_items", "gauge", "Items submitted and not yet delivered.", metrics.counters.items);
  one("warpkem_queue_bytes", "gauge", "Bytes of their records.", metrics.counters.bytes);

  append_head(text, "warpkem_backend_items_total", "counter", "Items completed by a backend.");
  for (const BackendMetrics& b : metrics.backends) {
    append(text, "warpkem_backend_items_total{backend=\"%s\"} %llu\n", b.name,
           static_cast<unsigned long long>(b.items));
  }
  append_head(text, "warpkem_backend_kept_bytes", "gauge",
              "Memory kept until the process ends because secrets in it could not be wiped.");
  for (const BackendMetrics& b : metrics.backends) {
    append(text, "warpkem_backend_kept_bytes{backend=\"%s\"} %llu\n", b.name,
           static_cast<unsigned long long>(b.kept_bytes));
  }

  // A family without samples is left out: it has nothing to say, and its head would not say of what.
  const auto of_usage = [&](const char* name, const char* help, std::uint64_t warpkem_usage::*value) {
    if (metrics.usages.empty()) return;
    append_head(text, name, "counter", help);
    for (const warpkem_usage& u : metrics.usages) {
      append(text, "%s{backend=\"%s\",algorithm=\"%s\",operation=\"%s\"} %llu\n", name, u.backend,
             find_algorithm(u.algorithm)->name, spec_of(static_cast<Operation>(u.operation)).name,
             static_cast<unsigned long long>(u.*value));
    }
  };
  of_usage("warpkem_items_total", "Items done, of synchronous calls and of requests.", &warpkem_usage::items);
  of_usage("warpkem_items_batches_total", "Batches in which a backend did them.", &warpkem_usage::batches);
  if (!metrics.requests.empty()) {
    append_head(text, "warpkem_algorithm_request_seconds", "summary", "From submission to completion.");
    for (const RequestMetrics& r : metrics.requests) {
      const std::string sum = seconds(r.total.sum_ns);
      append(text, "warpkem_algorithm_request_seconds_sum{algorithm=\"%s\",operation=\"%s\"} %s\n", r.algorithm,
             r.operation, sum.c_str());
      append(text, "warpkem_algorithm_request_seconds_count{algorithm=\"%s\",operation=\"%s\"} %llu\n", r.algorithm,
             r.operation, static_cast<unsigned long long>(r.total.count));
    }
  }

  for (std::uint32_t phase = 0; phase < num_phases; ++phase) {
    const PhaseFamily& family = phases[phase];
    bool first = true;
    for (const warpkem_histogram& h : metrics.histograms) {
      if (h.phase != phase) continue;
      if (std::exchange(first, false)) append_head(text, family.name, "histogram", family.help);
      char labels[128];
      snprintf(labels, sizeof labels, "backend=\"%s\",operation=\"%s\"", h.backend,
               spec_of(static_cast<Operation>(h.operation)).name);
      std::uint64_t below = 0;
      for (std::size_t i = 0; i + 1 < histogram_buckets; ++i) {
        below += h.buckets[i];
        if (i % 4 != 3) continue;  // one bound an octave is enough for a dashboard
        const std::string bound = number(static_cast<double>(bucket_end(i)) * 1e-9, std::chars_format::general);
        append(text, "%s_bucket{%s,le=\"%s\"} %llu\n", family.name, labels, bound.c_str(),
               static_cast<unsigned long long>(below));
      }
      append(text, "%s_bucket{%s,le=\"+Inf\"} %llu\n", family.name, labels, static_cast<unsigned long long>(h.count));
      const std::string sum = seconds(h.sum_ns);
      append(text, "%s_sum{%s} %s\n", family.name, labels, sum.c_str());
      append(text, "%s_count{%s} %llu\n", family.name, labels, static_cast<unsigned long long>(h.count));
    }
  }
  return text;
}

}  // namespace warpkem::host
