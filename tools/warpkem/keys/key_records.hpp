// Records of one kind, as all other commands take them, from a file of keys in PEM or DER.
#pragma once

#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/keys/key_stream.hpp"

namespace warpkem::tool {

// What the records are to be.
struct KeyWish {
  warpkem_algorithm algorithm = 0;  // 0: that of the first key
  bool is_public = true;            // ek, else dk
  std::uint32_t dk_format = dk_format_by_default;
};

// An object of the file that gives no record.
struct KeyFailure {
  std::uint64_t number, offset;
  std::uint8_t status;
  std::string rule;

  // "object 3 at byte offset 5123: WARPKEM_INVALID_ENCODING (18): ..."
  std::string text() const;
};

class KeyRecords {
 public:
  // Reads as far as the first key that fits, which tells what the wish leaves open; see wish(). Throws Error where
  // nothing tells it, or where the input is compressed.
  KeyRecords(Input& input, KeyFormat format, std::uint32_t threads, Passphrase& passphrase, const KeyWish& wish);

  // Whether there is no object at all. Before the first read().
  bool is_empty() const noexcept { return stream_.count() == 0; }
  // Whether one of the first objects fits the wish; else, why the first does not. Before the first read().
  bool begins_well();
  std::string fault_of_first();
  const KeyWish& wish() const noexcept { return wish_; }
  std::size_t record_bytes() const noexcept { return record_bytes_; }

  // The next objects, up to `count`; fewer only at the end. Each has a record and a status: the record of one that
  // failed is none that any operation takes. The library checks the keys, and makes expanded ones of seeds.
  std::size_t read(warpkem_engine* engine, Buffer& records, std::vector<std::uint8_t>& statuses, std::size_t count,
                   const std::function<void(const KeyFailure&)>& failed);

  // How many objects there will be in all, by the lengths of those that were read.
  std::optional<std::uint64_t> expected() const;

 private:
  bool fits(const warpkem_decoded_key& key) const;
  const std::uint8_t* part_of(const warpkem_decoded_key& key) const;
  std::string why_it_does_not_fit(const warpkem_decoded_key& key) const;
  void check_keys(warpkem_engine* engine, const std::vector<KeyObject*>& objects);
  void expand(warpkem_engine* engine, const std::vector<const std::uint8_t*>& seeds,
              const std::vector<std::uint8_t*>& to);

  KeyStream stream_;
  KeyWish wish_;
  std::size_t record_bytes_ = 0;
  std::size_t next_ = 0;  // of the stream's objects at hand
  std::uint64_t objects_read_ = 0;
};

}  // namespace warpkem::tool
