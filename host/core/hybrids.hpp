// The table of hybrid KEMs: of which ML-KEM and which group each is made, where the two halves lie in its records, how
// its secret comes about, and how others call it. RFC 10024 (TLS), draft-irtf-cfrg-concrete-hybrid-kems (HPKE) and
// draft-ietf-lamps-pq-composite-kem (OIDs). A later hybrid of these groups is one more row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "host/core/algorithm_names.hpp"
#include "host/core/batch.hpp"
#include "warpkem/params.hpp"

namespace warpkem::host {

enum class Group : std::uint8_t { x25519, p256, p384 };

// Bytes of a group's records.
struct GroupSizes {
  std::size_t scalar, element, secret;
  std::size_t randomness;  // that a scalar is read from
};
constexpr GroupSizes sizes_of(Group group) noexcept {
  switch (group) {
    case Group::x25519:
      return {32, 32, 32, 32};
    case Group::p256:
      return {32, 65, 32, 128};
    case Group::p384:
      return {48, 97, 48, 48};
  }
  return {};
}

// How draft-ietf-lamps-pq-composite-kem encodes a scalar: as it is, or as an ECPrivateKey with the curve's name.
struct ScalarEncoding {
  std::string_view before, after;
};
constexpr ScalarEncoding encoding_of(Group group) noexcept {
  using namespace std::string_view_literals;
  switch (group) {
    case Group::x25519:
      return {"", ""};
    case Group::p256:
      return {"\x30\x31\x02\x01\x01\x04\x20"sv, "\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv};
    case Group::p384:
      return {"\x30\x3e\x02\x01\x01\x04\x30"sv, "\xa0\x07\x06\x05\x2b\x81\x04\x00\x22"sv};
  }
  return {};
}

constexpr const char* name_of(Group group) noexcept {
  switch (group) {
    case Group::x25519:
      return "X25519";
    case Group::p256:
      return "P-256";
    case Group::p384:
      return "P-384";
  }
  return nullptr;
}

// Where the halves of a record begin, and its length.
struct Halves {
  std::size_t ml_kem, group, bytes;
};

struct Hybrid {
  static constexpr std::size_t short_seed_bytes = 32;  // of those that combine

  std::uint32_t algorithm, ml_kem;
  Group group;
  bool group_first;        // in ek, c, K and the expanded dk
  std::string_view label;  // of the combiner; empty: K is both secrets, one after the other
  AlgorithmNames names;
  double cost;  // of an item, relative to ML-KEM-768: a first guess
  std::size_t ml_kem_ek_bytes, ml_kem_dk_bytes, ml_kem_c_bytes;

  constexpr GroupSizes sizes() const noexcept { return sizes_of(group); }
  constexpr bool combines() const noexcept { return !label.empty(); }
  constexpr Halves halves(std::size_t ml_kem_bytes, std::size_t group_bytes) const noexcept {
    return {group_first ? group_bytes : 0, group_first ? 0 : ml_kem_bytes, ml_kem_bytes + group_bytes};
  }
  constexpr Halves ek() const noexcept { return halves(ml_kem_ek_bytes, sizes().element); }
  constexpr Halves c() const noexcept { return halves(ml_kem_c_bytes, sizes().element); }
  constexpr Halves K() const noexcept { return combines() ? Halves{0, 0, 32} : halves(32, sizes().secret); }
  constexpr Halves expanded_dk() const noexcept { return halves(ml_kem_dk_bytes, sizes().scalar); }
  // The group's half begins with what is before the scalar.
  constexpr Halves composite_dk() const noexcept {
    const ScalarEncoding e = encoding_of(group);
    return {0, 64, 64 + e.before.size() + sizes().scalar + e.after.size()};
  }
  // What both key generations read: d || z, then the group's randomness.
  constexpr Halves material() const noexcept { return {0, 64, 64 + sizes().randomness}; }
  constexpr Halves m() const noexcept { return {0, 32, 32 + sizes().randomness}; }
};

// Options of the engine that only hybrids read.
struct HybridOptions {
  bool refuse_zero = false;  // WARPKEM_REFUSE_ZERO: X25519's, also where the KEM's documents do not ask for it
};

namespace hybrids {

template <ParameterSet P>
constexpr Hybrid hybrid(std::uint32_t algorithm, Group group, bool group_first, double cost,
                        const AlgorithmNames& names, std::string_view label = {}) noexcept {
  return {algorithm, P::id, group, group_first, label, names, cost, P::ek_bytes, P::dk_bytes, P::c_bytes};
}

inline constexpr std::array table{
    hybrid<MlKem768>(4, Group::x25519, false, 4, {.name = "X25519MLKEM768", .tls_number = 4588}),
    hybrid<MlKem768>(5, Group::p256, true, 8, {.name = "SecP256r1MLKEM768", .tls_number = 4587}),
    hybrid<MlKem1024>(6, Group::p384, true, 100, {.name = "SecP384r1MLKEM1024", .tls_number = 4589}),
    hybrid<MlKem768>(7, Group::x25519, false, 4,
                     {.name = "MLKEM768-X25519", .alias = "X-Wing", .oid = "1.3.6.1.5.5.7.6.58", .hpke_number = 0x647a},
                     "\\.//^\\"),
    hybrid<MlKem768>(8, Group::p256, false, 8,
                     {.name = "MLKEM768-P256", .oid = "1.3.6.1.5.5.7.6.59", .hpke_number = 0x0050}, "MLKEM768-P256"),
    hybrid<MlKem1024>(9, Group::p384, false, 100,
                      {.name = "MLKEM1024-P384", .oid = "1.3.6.1.5.5.7.6.63", .hpke_number = 0x0051}, "MLKEM1024-P384"),
};

}  // namespace hybrids

constexpr std::span<const Hybrid> all_hybrids() noexcept { return hybrids::table; }

// Null: the algorithm is none.
constexpr const Hybrid* find_hybrid(std::uint32_t algorithm) noexcept {
  constexpr std::uint32_t first = hybrids::table[0].algorithm;
  return algorithm - first < hybrids::table.size() ? &hybrids::table[algorithm - first] : nullptr;
}
static_assert([] {
  for (const Hybrid& hybrid : hybrids::table) {
    if (find_hybrid(hybrid.algorithm) != &hybrid) return false;
  }
  return true;
}());

}  // namespace warpkem::host
