#include "host/api/metrics_text.hpp"

#include <stdio.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "host/serving/metrics.hpp"

namespace warpkem::host {

namespace {

struct Family {
  const char* name;
  const char* type;
  const char* help;
  std::uint64_t warpkem_counters::*value;
};
constexpr Family families[] = {
    {"warpkem_requests_submitted_total", "counter", "Requests taken.", &warpkem_counters::submitted},
    {"warpkem_requests_refused_total", "counter", "Requests refused because the queue was full.",
     &warpkem_counters::refused},
    {"warpkem_requests_completed_total", "counter", "Requests completed, however.", &warpkem_counters::completed},
    {"warpkem_requests_failed_total", "counter", "Completed requests with an item that is not ok.",
     &warpkem_counters::failed},
    {"warpkem_requests_cancelled_total", "counter", "Requests cancelled.", &warpkem_counters::cancelled},
    {"warpkem_requests_expired_total", "counter", "Requests that no backend had begun by their deadline.",
     &warpkem_counters::expired},
    {"warpkem_requests_aborted_total", "counter", "Requests ended by a shutdown.", &warpkem_counters::aborted},
    {"warpkem_batches_total", "counter", "Batches formed.", &warpkem_counters::batches},
    {"warpkem_batch_items_total", "counter", "Items in the batches formed.", &warpkem_counters::batch_items},
    {"warpkem_items_redone_total", "counter", "Items sent to another backend.", &warpkem_counters::redone},
    {"warpkem_requests_helped_total", "counter", "Requests run by the thread that waited for them.",
     &warpkem_counters::helped},
    {"warpkem_items_checked_total", "counter", "Items recomputed by the sentinel.", &warpkem_counters::checked},
    {"warpkem_items_mismatched_total", "counter", "Recomputed items with a different result.",
     &warpkem_counters::mismatched},
    {"warpkem_items_unchecked_total", "counter", "Items that no other backend could recompute.",
     &warpkem_counters::unchecked},
    {"warpkem_quarantines_total", "counter", "Backends put into quarantine.", &warpkem_counters::quarantines},
    {"warpkem_queue_items", "gauge", "Items submitted and not yet delivered.", &warpkem_counters::items},
    {"warpkem_queue_bytes", "gauge", "Bytes of their records.", &warpkem_counters::bytes},
};

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

std::string prometheus_text(const warpkem_counters& counters, std::span<const warpkem_histogram> histograms,
                            std::span<const BackendMetrics> backends) {
  std::string text;
  for (const Family& f : families) {
    append_head(text, f.name, f.type, f.help);
    append(text, "%s %llu\n", f.name, static_cast<unsigned long long>(counters.*f.value));
  }
  append_head(text, "warpkem_backend_items_total", "counter", "Items completed by a backend.");
  for (const BackendMetrics& b : backends) {
    append(text, "warpkem_backend_items_total{backend=\"%s\"} %llu\n", b.name,
           static_cast<unsigned long long>(b.items));
  }
  append_head(text, "warpkem_backend_kept_bytes", "gauge",
              "Memory kept until the process ends because secrets in it could not be wiped.");
  for (const BackendMetrics& b : backends) {
    append(text, "warpkem_backend_kept_bytes{backend=\"%s\"} %llu\n", b.name,
           static_cast<unsigned long long>(b.kept_bytes));
  }
  for (std::uint32_t phase = 0; phase < num_phases; ++phase) {
    const PhaseFamily& family = phases[phase];
    bool first = true;
    for (const warpkem_histogram& h : histograms) {
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
      const std::string sum = number(static_cast<double>(h.sum_ns) * 1e-9, std::chars_format::fixed);
      append(text, "%s_sum{%s} %s\n", family.name, labels, sum.c_str());
      append(text, "%s_count{%s} %llu\n", family.name, labels, static_cast<unsigned long long>(h.count));
    }
  }
  return text;
}

}  // namespace warpkem::host
