// What this build contains of cryptography and may use, for inventories.
#pragma once

#include <nlohmann/json.hpp>

#include "tools/warpkem/engine.hpp"

namespace warpkem::tool {

// CycloneDX 1.6. The same build on the same machine always gives the same one: no serial number, no time.
nlohmann::ordered_json cbom(const Engine& engine);

}  // namespace warpkem::tool
