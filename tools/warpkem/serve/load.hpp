// What serve-bench does to an engine, and what it sees: load from producer threads, checked results, latencies.
#pragma once

#include <warpkem/warpkem.h>

#include <functional>

#include "tools/warpkem/serve/options.hpp"

namespace warpkem::tool {

// Is called with the engine before the load begins, and with NULL before the engine goes.
using Running = std::function<void(warpkem_engine*)>;

// Loads an engine of the library that `options` describes. Throws Error.
ServeReport serve(const ServeOptions& options, const Running& running);

// Loads an engine that is configured already, and shuts it down. `computes`: its results mean something. Throws Error.
// If the report says that requests were lost, the engine runs on, for it may still write to their memory: the caller
// must not free it.
ServeReport load(warpkem_engine* engine, bool computes, const ServeOptions& options, const Running& running);

// Writes what the engine counted into the report.
void read_metrics(warpkem_engine* engine, ServeReport& report);

// The engine's scheduler, as `options` want it.
void configure(warpkem_engine* engine, const ServeOptions& options);

}  // namespace warpkem::tool
