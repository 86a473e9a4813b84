// From options of the C ABI to those of the engine and its scheduler.
#pragma once

#include "host/engine/engine.hpp"
#include "host/serving/scheduler.hpp"
#include "warpkem/async.h"
#include "warpkem/warpkem.h"

namespace warpkem::host {

// Those given (null: the defaults), and what the environment says. Throws Error.
EngineOptions engine_options(const warpkem_options* given);
SchedulerOptions scheduler_options(const warpkem_scheduler_options* options);

}  // namespace warpkem::host
