// What kernels say of an item.
#pragma once

#include <cstdint>

namespace warpkem::kernels {

// Written to `statuses`, one byte per item; the numbers are the public ones.
enum class ItemStatus : std::uint8_t { ok = 0, invalid_ek = 3, invalid_dk = 4, invalid_key_index = 9, invalid_c = 16 };

}  // namespace warpkem::kernels
