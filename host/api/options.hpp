// From options of the C ABI to those of the engine and its scheduler.
#pragma once

#include <bitset>
#include <string_view>

#include "host/core/algorithms.hpp"
#include "host/engine/engine.hpp"
#include "host/serving/scheduler.hpp"
#include "warpkem/async.h"
#include "warpkem/warpkem.h"

namespace warpkem::host {

// The algorithms that a policy allows: its name, or algorithm names with commas. Throws Error.
std::bitset<max_algorithms> parse_policy(std::string_view policy);

// Those given (null: the defaults), and what the environment says. Throws Error.
EngineOptions engine_options(const warpkem_options* given);
SchedulerOptions scheduler_options(const warpkem_scheduler_options* options);

}  // namespace warpkem::host
