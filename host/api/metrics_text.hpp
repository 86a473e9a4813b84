// The metrics as Prometheus text, exposition format 0.0.4.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "warpkem/async.h"

namespace warpkem::host {

struct BackendMetrics {
  const char* name;
  std::uint64_t items;       // completed
  std::uint64_t kept_bytes;  // see Backend::kept_bytes()
};

std::string prometheus_text(const warpkem_counters& counters, std::span<const warpkem_histogram> histograms,
                            std::span<const BackendMetrics> backends);

}  // namespace warpkem::host
