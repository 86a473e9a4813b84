#include "host/core/algorithms.hpp"

#include <algorithm>
#include <array>

#include "warpkem/params.hpp"

namespace warpkem::host {

namespace {

template <ParameterSet P>
constexpr Algorithm ml_kem(const char* name, const char* alias, const char* oid) {
  // Time goes with the matrix, which goes with the square of the key's length.
  constexpr double length = static_cast<double>(P::ek_bytes) / static_cast<double>(MlKem768::ek_bytes);
  return {.id = P::id,
          .name = name,
          .alias = alias,
          .oid = oid,
          .ek_bytes = P::ek_bytes,
          .dk_bytes = {P::dk_bytes, P::seed_bytes},
          .c_bytes = P::c_bytes,
          .K_bytes = P::K_bytes,
          .seed_bytes = P::seed_bytes,
          .m_bytes = P::m_bytes,
          .cost = length * length};
}

// OIDs: NIST Computer Security Objects Register, id-alg-ml-kem-*.
constexpr std::array table{
    ml_kem<MlKem512>("ML-KEM-512", "MLKEM512", "2.16.840.1.101.3.4.4.1"),
    ml_kem<MlKem768>("ML-KEM-768", "MLKEM768", "2.16.840.1.101.3.4.4.2"),
    ml_kem<MlKem1024>("ML-KEM-1024", "MLKEM1024", "2.16.840.1.101.3.4.4.3"),
};
static_assert(MlKem768::id == reference_algorithm);

// By id; null: there is none.
constexpr auto by_id = [] {
  std::array<const Algorithm*, max_algorithms> pointers{};
  for (const Algorithm& a : table) pointers[a.id] = &a;
  return pointers;
}();

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::span<const Algorithm> all_algorithms() noexcept { return table; }

const Algorithm* find_algorithm(std::uint32_t id) noexcept { return id < max_algorithms ? by_id[id] : nullptr; }

const Algorithm* find_algorithm(std::string_view text) noexcept {
  const auto* found = std::ranges::find_if(table, [text](const Algorithm& a) {
    return equal_ignoring_case(text, a.name) || equal_ignoring_case(text, a.alias) || text == a.oid;
  });
  return found != table.end() ? found : nullptr;
}

}  // namespace warpkem::host
