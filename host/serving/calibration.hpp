// What encapsulation costs on a backend, measured.
#pragma once

#include <optional>

#include "host/engine/engine.hpp"
#include "host/serving/clock.hpp"
#include "host/serving/cost_model.hpp"

namespace warpkem::host {

// Measures the reference operation, with a key that everybody may know. Nothing: the backend does not have it, or does
// not do it. Throws std::bad_alloc.
std::optional<Cost> measure(const Engine::Slot& slot, Clock& clock);

}  // namespace warpkem::host
