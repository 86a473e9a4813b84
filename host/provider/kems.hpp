// The table of what the provider offers: names as OpenSSL 3.5 has them, so that both can stand for each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "warpkem/warpkem.h"

namespace warpkem::provider {

struct Kem {
  warpkem_algorithm id;
  const char* names;     // for OpenSSL: the first is the name, then aliases and the OID, with colons
  const char* name;      // the first of them
  const char* oid_name;  // OpenSSL's short name of the OID; null: keys have no files here
  const char* group;     // of TLS 1.3, or null
  unsigned group_id;     // IANA's number
  unsigned ml_kem;       // 512, 768 or 1024
  bool is_hybrid;
  std::uint32_t dk_format;  // how keys are kept, and what "priv" is

  std::size_t size(std::uint32_t what) const noexcept { return warpkem_size(id, what); }
  std::size_t ek_bytes() const noexcept { return size(WARPKEM_SIZE_EK); }
  std::size_t dk_bytes() const noexcept {
    return size(dk_format == WARPKEM_DK_EXPANDED ? WARPKEM_SIZE_DK : WARPKEM_SIZE_DK_SEED);
  }
  std::size_t c_bytes() const noexcept { return size(WARPKEM_SIZE_C); }
  std::size_t K_bytes() const noexcept { return size(WARPKEM_SIZE_K); }
  std::size_t m_bytes() const noexcept { return size(WARPKEM_SIZE_M); }
  std::size_t seed_bytes() const noexcept { return size(WARPKEM_SIZE_SEED); }
  // Keys of ML-KEM alone remember the seed that they were made from: files of keys hold it (RFC 9935).
  bool keeps_seed() const noexcept { return !is_hybrid; }

  // As OpenSSL counts them: those of the ML-KEM half.
  int security_bits() const noexcept { return static_cast<int>(ml_kem / 4); }
  int security_category() const noexcept { return ml_kem == 512 ? 1 : ml_kem == 768 ? 3 : 5; }
};

// Where the parts of an expanded dk of `kem` are, and ML-KEM's part of its ek.
struct Halves {
  std::size_t scalar, scalar_bytes;  // of hybrids
  std::size_t ml_kem_ek_in_dk, ml_kem_in_ek, ml_kem_ek_bytes;
};
Halves halves_of(const Kem& kem) noexcept;

inline constexpr std::size_t num_kems = 7;
std::span<const Kem, num_kems> all_kems() noexcept;
std::size_t index_of(const Kem& kem) noexcept;  // in that table

}  // namespace warpkem::provider
