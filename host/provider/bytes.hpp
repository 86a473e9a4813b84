// Octets that are borrowed.
#pragma once

#include <cstdint>
#include <span>

namespace warpkem::provider {

using Bytes = std::span<const std::uint8_t>;

}  // namespace warpkem::provider
