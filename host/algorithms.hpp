// The table of algorithms: numbers, names, OIDs and record sizes. A later algorithm (a hybrid) is one more row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "host/batch.hpp"

namespace warpkem::host {

struct Algorithm {
  std::uint32_t id;
  const char* name;
  const char* alias;
  const char* oid;
  std::size_t ek_bytes, dk_bytes, dk_seed_bytes, c_bytes, K_bytes, seed_bytes, m_bytes;

  // Bytes of a dk in that format.
  std::size_t dk_record(DkFormat format) const noexcept { return format == DkFormat::seed ? dk_seed_bytes : dk_bytes; }
};

inline constexpr std::size_t max_algorithms = 32;  // ids are below this

const Algorithm* find_algorithm(std::uint32_t id) noexcept;
const Algorithm* find_algorithm(std::string_view name_alias_or_oid) noexcept;

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace warpkem::host
