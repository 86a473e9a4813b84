// Engines with faults, and one that computes nothing, for serve-bench.
#pragma once

#include <string>

#include "tools/warpkem/serve/load.hpp"

namespace warpkem::bench {

// Loads an engine over scripted backends. Its --backend may also be "null" or "lying:P"; `faults` are those of the
// first backend: "error:P" and "slow:US", with commas. Throws tool::Error.
tool::ServeReport serve_with_faults(const tool::ServeOptions& options, const std::string& faults,
                                    const tool::Running& running);

}  // namespace warpkem::bench
