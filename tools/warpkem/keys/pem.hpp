// PEM (RFC 7468): blocks of Base64 between BEGIN and END lines, with any text between the blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace warpkem::tool {

inline constexpr std::string_view pem_begin = "-----BEGIN ", pem_end = "-----END ", pem_dashes = "-----";
inline constexpr auto npos = std::string_view::npos;

// Where the next block begins at or after `from`; npos: nowhere. Not only at the start of a line: files that have no
// line end at their end get joined, and what is no block after all should be listed rather than lost.
std::size_t next_pem_block(std::string_view text, std::size_t from);

struct PemBlock {
  std::string_view label;    // "PUBLIC KEY"
  std::size_t end = 0;       // in the text, behind the block
  std::size_t bytes = 0;     // decoded
  std::size_t error_at = 0;  // in the text
  std::string error;         // the rule that it breaks, "" if it is good
};

// Reads the block at `at`, where a BEGIN line starts, and decodes it to `out`, which has room for as many bytes as the
// text. A block without an END line ends where the next one begins, or with the text.
PemBlock read_pem_block(std::string_view text, std::size_t at, std::uint8_t* out);

// Characters of a block that holds so many bytes; writes one.
std::size_t pem_block_chars(std::string_view label, std::size_t bytes);
void write_pem_block(std::string_view label, const std::uint8_t* data, std::size_t bytes, char* out);

}  // namespace warpkem::tool
