// Records of one kind as keys in PEM or DER.
#pragma once

#include <warpkem/keyfile.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/keys/key_stream.hpp"

namespace warpkem::tool {

struct KeyEncodingOptions {
  std::uint32_t private_form = 0;  // WARPKEM_ENCODING_*; 0: what the records are
  bool x_wing_oid = false;
};
void add_key_encoding(Arguments& arguments, KeyEncodingOptions& options);
void add_private_form(Arguments& arguments, KeyEncodingOptions& options);

// The encoding that records become. Throws Error where they cannot.
std::uint32_t encoding_of(warpkem_algorithm algorithm, bool is_public, std::uint32_t dk_format,
                          const KeyEncodingOptions& options);
// "public", "seed", "expanded", "both" and so on.
const char* name_of_encoding(std::uint32_t encoding);

class KeyWriter {
 public:
  // `dk_format` is that of the records of private keys: seeds become every private form.
  KeyWriter(warpkem_engine* engine, warpkem_algorithm algorithm, std::uint32_t encoding, std::uint32_t dk_format,
            KeyFormat format, std::uint32_t threads);

  // Checks the records of keys and encodes those that are good. `statuses` gets one for each. The text is valid until
  // the next call.
  std::span<const std::uint8_t> write(const Buffer& records, std::size_t count, std::vector<std::uint8_t>& statuses);
  // The same of records that are known to be good where their status, if there are any, is OK.
  std::span<const std::uint8_t> encode(const Buffer& records, std::size_t count, const std::uint8_t* statuses);

 private:
  warpkem_engine* engine_;
  warpkem_algorithm algorithm_;
  std::uint32_t encoding_, dk_format_;
  KeyFormat format_;
  unsigned threads_;
  std::size_t record_bytes_, der_bytes_;
  Buffer expanded_, ek_, der_, text_;
};

}  // namespace warpkem::tool
