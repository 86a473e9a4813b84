// From the ABI's arguments to a checked batch: null pointers, sizes, overflow, overlap, what belongs to which
// operation.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "host/api/struct_versions.hpp"
#include "host/core/batch.hpp"
#include "host/core/key_encoding.hpp"
#include "host/engine/engine.hpp"
#include "warpkem/keyfile.h"
#include "warpkem/warpkem.h"

namespace warpkem::host {

// What warpkem_batch.operation says. Throws Error.
Operation public_operation(std::uint32_t number);

// Checks everything that can be checked before work begins. Throws Error, whose text names argument, item and rule.
// `operation` is a prepare_* when warpkem_prepare_*() asks. Arrays lie on the host, else, with Memory::device, where
// only their addresses can be looked at: what a table holds is then unchecked.
enum class Memory { host, device };
Batch checked_batch(const Engine& engine, const warpkem_batch& arguments, Operation operation,
                    Memory memory = Memory::host);

// Of messages; the prefix is one, and the first.
struct MessageParts {
  static constexpr std::size_t most = 8;
  std::array<Engine::MessagePart, 1 + most> array;
  std::size_t size = 0;

  std::span<const Engine::MessagePart> all() const noexcept { return {array.data(), size}; }
};

// The arrays of warpkem_shake256(), checked. Throws Error.
struct Messages {
  MessageParts parts;
  Out digests;
};
Messages checked_messages(std::size_t count, const std::uint8_t* prefix, std::size_t prefix_bytes,
                          std::size_t num_parts, const warpkem_in* parts, const std::size_t* part_bytes,
                          const warpkem_out& digests, std::size_t digest_bytes);

// Of warpkem_encaps_derived(), whose other arguments are a checked batch. Throws Error.
MessageParts checked_parts_of_m(const Batch& encaps, const std::uint8_t* prefix, std::size_t prefix_bytes,
                                std::size_t num_parts, const warpkem_in* parts, const std::size_t* part_bytes,
                                const std::size_t* failed);

// What warpkem_aes256_gcm_seal() or _open() gets, checked. Throws Error.
Engine::GcmBatch checked_gcm(bool seals, std::size_t count, const warpkem_in& key, const warpkem_in& nonce,
                             const warpkem_in& aad, std::size_t aad_bytes, const warpkem_in& from,
                             std::size_t text_bytes, const warpkem_out& to, std::uint8_t* statuses,
                             std::size_t* failed);

// The arrays of warpkem_hpke_derive_seeds(), checked. Throws Error.
struct Derivation {
  In ikm;
  Out seeds;
};
Derivation checked_derivation(const warpkem_in& ikm, std::size_t ikm_bytes, const warpkem_out& seeds,
                              std::size_t seed_bytes, std::size_t count);

// The arrays of warpkem_encode_keys(), checked. Throws Error.
struct Encoding {
  In key, expanded;
  Out der;
};
Encoding checked_encoding(const FixedEncoding& encoding, std::size_t count, const warpkem_in& key,
                          const warpkem_in& expanded, const warpkem_out& der);

// Key number `i` of those that warpkem_check_keys() gets. Throws Error.
DecodedKey checked_key(const warpkem_decoded_key* keys, std::size_t i);

// What is known of a struct of the ABI that begins with struct_size.
struct KnownStruct {
  std::size_t bytes, alignment;
  std::span<const std::size_t> ends;  // of its members
};
template <class Struct>
inline constexpr KnownStruct known_struct{sizeof(Struct), alignof(Struct), member_ends<Struct>};
// Of these a longer one may have any length, as it always could.
template <>
inline constexpr KnownStruct known_struct<warpkem_options>{sizeof(warpkem_options), 1, member_ends<warpkem_options>};

// Refuses a size that no version has: less than the known one and not the end of a member, or unaligned, or longer than
// any. Throws Error, like all here.
void check_struct_size(std::size_t given_bytes, const KnownStruct& known, const char* name);

// Copies a caller's struct over `to`, which holds the defaults: a shorter one leaves the rest as it is, a longer one
// must hold zeros there.
void copy_struct(void* to, const void* given, const KnownStruct& known, const char* name);
template <class Struct>
void copy_struct(Struct& to, const Struct* given, const char* name) {
  copy_struct(&to, given, known_struct<Struct>, name);
}

// Prepares a struct that the library fills: it is not shorter than the known one, and what follows the size is zeroed.
void clear_out_struct(void* given, const KnownStruct& known, const char* name);
template <class Struct>
void clear_out_struct(Struct* given, const char* name) {
  clear_out_struct(given, known_struct<Struct>, name);
}

}  // namespace warpkem::host
