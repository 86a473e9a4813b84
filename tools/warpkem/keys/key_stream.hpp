// The objects of a file of keys, PEM or DER, one after the other and of any number: chunk by chunk, in memory that does
// not depend on the file's length.
#pragma once

#include <warpkem/keyfile.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/warpkem/io.hpp"
#include "tools/warpkem/keys/passphrase.hpp"

namespace warpkem::tool {

// One object of the file, and what was found in it.
struct KeyObject {
  std::uint64_t offset = 0;  // in the file
  std::uint8_t status = WARPKEM_OK;
  bool was_encrypted = false;
  warpkem_decoded_key key{};  // if it is OK; leads into memory that lives until the next chunk
  std::string error;          // if it is not: place and rule
};

class KeyStream {
 public:
  // `input` holds bytes. The passphrase, which must outlive the stream, is that of encrypted keys.
  KeyStream(Input& input, KeyFormat format, unsigned threads, Passphrase& passphrase);

  // These bytes of the input were read already. Before the first next().
  void begin_with(const std::uint8_t* data, std::size_t bytes);
  // Reads the next chunk; false at the end. Afterwards at() is about its objects.
  bool next();
  std::size_t count() const noexcept { return count_; }
  KeyObject& at(std::size_t i);
  // Calls f(object) for objects [first, last).
  template <class F>
  void each(std::size_t first, std::size_t last, F f) {
    std::size_t number = 0;
    for (std::size_t i = 0; i < num_pieces_ && number < last; ++i) {
      auto& objects = pieces_[i].objects;
      for (std::size_t k = first > number ? first - number : 0; k < objects.size() && number + k < last; ++k)
        f(objects[k]);
      number += objects.size();
    }
  }

  KeyFormat format() const noexcept { return format_; }
  // How many of the input's bytes are read when the objects at hand are done; all of them, where that is known.
  std::uint64_t bytes_done() const noexcept { return base_ + done_ - input_.offset(0); }
  std::optional<std::uint64_t> bytes_in_all() const noexcept { return input_.records(); }
  const std::string& label() const noexcept { return input_.label(); }

 private:
  // What one thread does of a chunk: a part of its text, the objects in it, and their bytes.
  struct Piece {
    std::string_view text;
    std::uint64_t offset = 0;  // of the text, in the file
    std::vector<KeyObject> objects;
    Buffer decoded;
  };

  bool fill();
  void cut_pem();
  void cut_der();
  void read_pem(Piece& piece);
  void read_der(Piece& piece);
  void decode(KeyObject& object, const std::uint8_t* der, std::size_t bytes, std::uint8_t* room,
              std::string_view label);
  void work(void (KeyStream::*read)(Piece&));
  Piece& piece(std::size_t i);
  KeyObject& add_failure(Piece& piece, std::uint64_t offset, std::string error);

  Input& input_;
  KeyFormat format_;
  const unsigned threads_;
  Passphrase& passphrase_;
  Buffer chunk_;
  std::uint64_t base_;                     // offset of the chunk in the file
  std::size_t have_ = 0, done_ = 0;        // bytes in the chunk, and those of them that the pieces cover
  std::uint64_t skip_ = 0;                 // bytes of an object that is too long
  bool at_end_ = false, is_over_ = false;  // of the file; of what can be read in it
  std::deque<Piece> pieces_;
  std::size_t num_pieces_ = 0, count_ = 0;
};

}  // namespace warpkem::tool
