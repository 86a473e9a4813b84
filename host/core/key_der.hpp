// Keys in any DER that is valid (RFC 5280, 5958 and 9935), by OpenSSL's libcrypto. Nothing is copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "host/core/key_encoding.hpp"
#include "host/core/status.hpp"

namespace warpkem::host {

// A rule that an object breaks, and where.
class EncodingError : public Error {
 public:
  EncodingError(Status status, std::size_t at, const std::string& rule)
      : Error(status, "byte offset " + std::to_string(at) + ": " + rule), at_(at) {}
  std::size_t at() const noexcept { return at_; }

 private:
  std::size_t at_;
};

// Decodes one object, which is all of `der`. Throws EncodingError or std::bad_alloc. Where there is no OpenSSL it knows
// the fixed encodings alone.
DecodedKey decode_key(std::span<const std::uint8_t> der);

}  // namespace warpkem::host
