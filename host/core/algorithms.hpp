// The table of algorithms: numbers, names and record sizes. A later algorithm is one more row, here or in hybrids.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "host/core/batch.hpp"

namespace warpkem::host {

struct Algorithm {
  std::uint32_t id;
  const char* name;
  const char* alias;                      // or null
  const char* oid;                        // or null
  std::uint16_t tls_number, hpke_number;  // see AlgorithmNames
  std::size_t ek_bytes;
  std::array<std::size_t, max_dk_formats> dk_bytes;  // by format; 0: the algorithm has no dk of that format
  std::size_t c_bytes, K_bytes, m_bytes;
  std::array<std::size_t, max_dk_formats> seed_bytes;  // what a key pair with a dk of that format is made from
  double cost;                                         // of an item, relative to ML-KEM-768: a first guess

  // Bytes of a dk in that format; 0: there is none.
  constexpr std::size_t dk_record(DkFormat format) const noexcept {
    const auto number = static_cast<std::size_t>(format);
    return number < max_dk_formats ? dk_bytes[number] : 0;
  }
  constexpr std::size_t seed_record(DkFormat format) const noexcept {
    const auto number = static_cast<std::size_t>(format);
    return number < max_dk_formats ? seed_bytes[number] : 0;
  }
};

inline constexpr std::size_t max_algorithms = 32;        // ids are below this
inline constexpr std::uint32_t reference_algorithm = 2;  // ML-KEM-768: what `cost` is relative to

std::span<const Algorithm> all_algorithms() noexcept;
const Algorithm* find_algorithm(std::uint32_t id) noexcept;
// By name, alias, OID, number in TLS ("4588") or number in HPKE ("0x647a").
const Algorithm* find_algorithm(std::string_view text) noexcept;

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace warpkem::host
