// The metrics as Prometheus text, exposition format 0.0.4.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host/serving/metrics.hpp"
#include "warpkem/async.h"

namespace warpkem::host {

// A member of warpkem_counters: which counter it shows, and how the text names it.
struct CounterFamily {
  std::uint64_t warpkem_counters::*member;
  Counter counter;
  const char* name;
  const char* help;
};
std::span<const CounterFamily> counter_families() noexcept;

struct BackendMetrics {
  const char* name;
  std::uint64_t items;       // completed
  std::uint64_t kept_bytes;  // see Backend::kept_bytes()
};

// Submitted requests of one operation with one algorithm, on whatever backend.
struct RequestMetrics {
  const char* algorithm;
  const char* operation;
  Histogram total;
};

struct MetricsSnapshot {
  warpkem_counters counters;
  std::vector<BackendMetrics> backends;
  std::vector<warpkem_usage> usages;
  std::vector<RequestMetrics> requests;
  std::vector<warpkem_histogram> histograms;
};

std::string prometheus_text(const MetricsSnapshot& metrics);

}  // namespace warpkem::host
