// Comparing secrets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/core/ct.hpp"

namespace warpkem::host {

// Whether secrets of a key pair differ, in time that does not depend on where.
inline bool differ(const std::uint8_t* a, const std::uint8_t* b, std::size_t bytes) noexcept {
  unsigned difference = 0;
  for (std::size_t i = 0; i < bytes; ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  declassify(&difference, sizeof difference);  // the status of the pair says so
  return difference != 0;
}

}  // namespace warpkem::host
