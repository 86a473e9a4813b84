// The checks of decoded keys that take arithmetic, for a batch of any mix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "host/core/key_encoding.hpp"
#include "host/engine/engine.hpp"

namespace warpkem::host {

// Gives each key its status (of warpkem.h). The text is of the first key that failed. Throws Error or std::bad_alloc
// where no key was checked; then each has that status.
CallResult check_keys(Engine& engine, std::span<const DecodedKey> keys, std::uint8_t* statuses);

}  // namespace warpkem::host
