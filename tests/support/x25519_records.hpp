// Records of X25519 that are worth a test.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

// Without the top bit, which is ignored, and with it.
inline std::vector<Record> low_order_elements() {
  std::vector<Record> low{small_number(0),
                          small_number(1),
                          from_hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
                          from_hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
                          p_plus(-1),
                          p_plus(0),
                          p_plus(1)};
  const std::size_t without_top_bit = low.size();
  for (std::size_t i = 0; i < without_top_bit; ++i) {
    low.push_back(low[i]);
    low.back()[31] |= 0x80;
  }
  return low;
}

}  // namespace warpkem::test_x25519
