// The loops over bytes are for the compiler to make vector code of (CMake gives this file -O3).
#include "tools/warpkem/keys/base64.hpp"

#include <algorithm>

namespace warpkem::tool {
namespace {

constexpr std::size_t line = 64;

// 0xff if `c` is from `first` to `last`, else 0.
constexpr std::uint8_t is_in(std::uint8_t c, std::uint8_t first, std::uint8_t last) {
  const auto from_first = static_cast<std::uint8_t>(c - first), range = static_cast<std::uint8_t>(last - first);
  return static_cast<std::uint8_t>(-static_cast<int>(from_first <= range));
}

// The values of a line's characters. Returns what is not 0 if one has none.
std::uint8_t values_of(const char* text, std::size_t chars, std::uint8_t* values) {
  std::uint8_t wrong = 0;
  for (std::size_t i = 0; i < chars; ++i) {
    const auto c = static_cast<std::uint8_t>(text[i]);
    const std::uint8_t upper = is_in(c, 'A', 'Z'), lower = is_in(c, 'a', 'z'), digit = is_in(c, '0', '9'),
                       plus = is_in(c, '+', '+'), slash = is_in(c, '/', '/');
    values[i] = static_cast<std::uint8_t>((upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
                                          (plus & 62) | (slash & 63));
    wrong = static_cast<std::uint8_t>(wrong | ~(upper | lower | digit | plus | slash));
  }
  return wrong;
}

// Of a value below 64.
constexpr char character_of(std::uint8_t v) {
  const std::uint8_t upper = is_in(v, 0, 25), lower = is_in(v, 26, 51), digit = is_in(v, 52, 61),
                     plus = is_in(v, 62, 62), slash = is_in(v, 63, 63);
  return static_cast<char>((upper & (v + 'A')) | (lower & (v + 'a' - 26)) | (digit & (v + '0' - 52)) | (plus & '+') |
                           (slash & '/'));
}

}  // namespace

bool decode_base64(const char* text, std::size_t chars, std::uint8_t* out) {
  std::uint8_t values[line], wrong = 0;
  for (; chars > 0; text += line) {
    const std::size_t here = std::min(chars, line);
    wrong |= values_of(text, here, values);
    for (std::size_t i = 0; i < here; i += 4, out += 3) {
      const std::uint32_t bits = std::uint32_t{values[i]} << 18 | std::uint32_t{values[i + 1]} << 12 |
                                 std::uint32_t{values[i + 2]} << 6 | values[i + 3];
      out[0] = static_cast<std::uint8_t>(bits >> 16);
      out[1] = static_cast<std::uint8_t>(bits >> 8);
      out[2] = static_cast<std::uint8_t>(bits);
    }
    chars -= here;
  }
  std::fill_n(static_cast<volatile std::uint8_t*>(values), line, std::uint8_t{0});
  return wrong == 0;
}

std::size_t encode_base64(const std::uint8_t* data, std::size_t bytes, char* out) {
  const char* const begin = out;
  std::uint8_t values[line];
  while (bytes > 0) {
    const std::size_t here = std::min<std::size_t>(bytes, line / 4 * 3), groups = (here + 2) / 3;
    const auto byte = [&](std::size_t i) { return std::uint32_t{i < here ? data[i] : std::uint8_t{0}}; };
    for (std::size_t g = 0; g < groups; ++g) {
      const std::uint32_t bits = byte(3 * g) << 16 | byte(3 * g + 1) << 8 | byte(3 * g + 2);
      for (std::size_t k = 0; k < 4; ++k) values[4 * g + k] = bits >> (18 - 6 * k) & 63;
    }
    for (std::size_t i = 0; i < 4 * groups; ++i) out[i] = character_of(values[i]);
    out += 4 * groups;
    for (std::size_t pad = 3 * groups - here; pad > 0; --pad) out[-static_cast<std::ptrdiff_t>(pad)] = '=';
    data += here, bytes -= here;
  }
  std::fill_n(static_cast<volatile std::uint8_t*>(values), line, std::uint8_t{0});
  return static_cast<std::size_t>(out - begin);
}

}  // namespace warpkem::tool
