// What a file of records holds, told from its length and its beginning: records of one kind look like nothing in
// particular, but some other things show what they are.
#pragma once

#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace warpkem::tool {

// dk: expanded; seed: also where it is the dk; ikm: of HPKE; bytes: no records, but keys in PEM or DER.
enum class RecordKind { ek, dk, seed, c, K, m, composite_dk, composite_seed, ikm, bytes };

struct Content {
  RecordKind kind;
  warpkem_algorithm algorithm;
  std::size_t ikm_bytes = 0;  // of ikm: as long as the user says

  std::size_t record_bytes() const;
  // "expanded dk of ML-KEM-768"; what has the same form in all sets is called without one.
  std::string name() const;
  bool operator==(const Content&) const = default;
};

// Where ML-KEM's parts are in the records of an algorithm, and their lengths.
struct MlKemPart {
  warpkem_algorithm algorithm;
  std::size_t ek_bytes, dk_bytes, c_bytes;  // dk: expanded
  std::size_t in_ek = 0, in_dk = 0, in_c = 0;
};
MlKemPart ml_kem_part(warpkem_algorithm algorithm);

// The beginning of an input, and its length where that is known.
struct Sample {
  const std::uint8_t* data;
  std::size_t bytes;
  std::optional<std::uint64_t> total;
};
// So much of an input is looked at.
inline constexpr std::size_t sample_bytes = 8192;

// What it is if not what is wanted, and how that shows; "" unless that is beyond doubt. Of a secret, time and memory
// accesses tell no more than the answer does.
std::string proven_other(const Sample& sample, const Content& wanted);

// What holds secrets, as far as the content shows: an expanded dk, or a private key in PEM or DER; else "".
std::string proven_secret(const Sample& sample);
// Whether the content shows that nothing is secret: an ek, or statuses.
bool is_proven_public(const Sample& sample);

// How many shared secrets (or seeds) a file of binary data may hold by its length, which is that of no public records;
// 0: none.
std::uint64_t likely_shared_secrets(const Sample& sample);

// What the content is for certain, if it is no records: PEM, DER, hexadecimal text, in words; else "".
std::string proven_encoding(const Sample& sample);
// Whether it is compressed, or text of 16 bits a character: in words, with what to do about it; else "".
std::string proven_wrapping(const Sample& sample);

// How keys come.
enum class KeyFormat { automatic, raw, pem, der };
// PEM, DER or else raw records; never automatic.
KeyFormat format_of_keys(const Sample& sample);
// What that is, of PEM or DER, in words.
std::string encoding_of_keys(const Sample& sample);
// Whether the sample tells that already. Of records their first bytes do.
bool tells_format_of_keys(const Sample& sample);
// The kinds of records that the content proves, ek or expanded dk.
std::vector<Content> proven_records(const Sample& sample);
// All kinds of records that a length is a multiple of.
std::vector<Content> fitting_records(std::uint64_t bytes);

// What an input whose length is wrong for `wanted` may be: what is proven, else what the length fits. "" or a sentence.
std::string likely_other(const Sample& sample, const Content& wanted);

}  // namespace warpkem::tool
