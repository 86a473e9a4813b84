// The multiples of the base point that combs add, computed once in a process.
#pragma once

#include <cstdint>

namespace warpkem::curve {

// Entry e of window i is (2 e + 1) 2^(5 i) B, and 0 <= i < 51, 0 <= e < 16. Three elements of 32 bytes, canonical:
// (y + x) / 2, (y - x) / 2, d x y. From a table that the first call computes.
void comb_entry(int window, int entry, std::uint8_t (&point)[3][32]) noexcept;

}  // namespace warpkem::curve
