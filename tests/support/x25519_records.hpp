// Records of X25519 that are worth a test.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace warpkem::test_x25519 {

using Record = std::array<std::uint8_t, 32>;

inline Record from_hex(std::string_view text) {
  Record record{};
  for (std::size_t i = 0; i < 32; ++i) {
    record[i] = static_cast<std::uint8_t>(std::stoi(std::string(text.substr(2 * i, 2)), nullptr, 16));
  }
  return record;
}

// p plus a small number, little-endian.
inline Record p_plus(int x) {
  Record record;
  record.fill(0xff);
  record[0] = static_cast<std::uint8_t>(0xed + x);
  record[31] = 0x7f;
  return record;
}

inline Record small_number(std::uint8_t x) {
  Record record{};
  record[0] = x;
  return record;
}

}  // namespace warpkem::test_x25519
