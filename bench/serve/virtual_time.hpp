// serve-bench on a simulated clock: one device that takes a modelled time and computes nothing, and no threads.
#pragma once

#include "tools/warpkem/serve/load.hpp"

namespace warpkem::bench {

tool::ServeReport serve_virtually(const tool::ServeOptions& options);

}  // namespace warpkem::bench
