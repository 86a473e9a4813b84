// Keys as DER (RFC 9935 and the composite keys of LAMPS) in their usual encodings, which have fixed sizes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "host/core/batch.hpp"

namespace warpkem::host {

// The numbers are those of keyfile.h.
enum class KeyEncoding : std::uint32_t {
  none = 0,
  spki = 1,
  spki_xwing = 2,
  seed = 3,
  expanded = 4,
  both = 5,
  composite = 6,
  certificate = 7,
  encrypted = 8
};

// An encoding of one algorithm's keys: a prefix, the key, and of `both` a header and the expanded key. What lies around
// the keys is the same for all.
struct FixedEncoding {
  std::uint32_t algorithm;
  KeyEncoding encoding;
  const char* oid;
  std::array<std::uint8_t, 32> prefix_room;  // the prefix is at its end
  std::size_t prefix_bytes, first_bytes;
  std::array<std::uint8_t, 4> middle;
  std::size_t second_bytes;  // 0: there is neither a middle nor a second part

  constexpr std::span<const std::uint8_t> prefix() const noexcept { return std::span(prefix_room).last(prefix_bytes); }
  constexpr std::size_t middle_bytes() const noexcept { return second_bytes != 0 ? middle.size() : 0; }
  constexpr std::size_t second_at() const noexcept { return prefix_bytes + first_bytes + middle_bytes(); }
  constexpr std::size_t bytes() const noexcept { return second_at() + second_bytes; }
};

std::span<const FixedEncoding> all_fixed_encodings() noexcept;
// Null: the algorithm has no such encoding, or it has no fixed size.
const FixedEncoding* find_fixed_encoding(std::uint32_t algorithm, KeyEncoding encoding) noexcept;

// What was found in an object. Pointers lead into it; null: it does not hold that.
struct DecodedKey {
  std::uint32_t algorithm = 0;
  KeyEncoding encoding = KeyEncoding::none;
  const std::uint8_t *ek = nullptr, *seed = nullptr, *expanded = nullptr, *composite = nullptr;
};

// Encodes item by item; `expanded` is of KeyEncoding::both.
void encode_keys(const FixedEncoding& encoding, std::size_t count, const In& key, const In& expanded,
                 const Out& der) noexcept;

// Decodes an object of a fixed encoding. False: it is something else.
bool decode_fixed(std::span<const std::uint8_t> der, DecodedKey& key) noexcept;

}  // namespace warpkem::host
