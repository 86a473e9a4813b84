// Base64 (RFC 4648, Section 4) of what may be secret: no branch and no address depends on what is encoded.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warpkem::tool {

// Decodes `chars` characters, a multiple of 4 without padding, to 3/4 as many bytes. False if one is of another
// alphabet; then what was written means nothing.
bool decode_base64(const char* text, std::size_t chars, std::uint8_t* out);

// Encodes `bytes` bytes, with padding. Returns how many characters were written.
std::size_t encode_base64(const std::uint8_t* data, std::size_t bytes, char* out);

}  // namespace warpkem::tool
