// The metrics as Prometheus text, exposition format 0.0.4.
#pragma once

#include <span>
#include <string>

#include "warpkem/async.h"

namespace warpkem::host {

std::string prometheus_text(const warpkem_counters& counters, std::span<const warpkem_histogram> histograms,
                            std::span<const warpkem_backend_info> backends);

}  // namespace warpkem::host
