#include "host/algorithms.hpp"

#include <algorithm>
#include <array>

#include "warpkem/params.hpp"

namespace warpkem::host {

namespace {

template <ParameterSet P>
constexpr Algorithm ml_kem(const char* name, const char* alias, const char* oid) {
  return {P::id,         name,       alias,      oid,           P::ek_bytes, P::dk_bytes,
          P::seed_bytes, P::c_bytes, P::K_bytes, P::seed_bytes, P::m_bytes};
}

// OIDs: NIST Computer Security Objects Register, id-alg-ml-kem-*.
constexpr std::array algorithms{
    ml_kem<MlKem512>("ML-KEM-512", "MLKEM512", "2.16.840.1.101.3.4.4.1"),
    ml_kem<MlKem768>("ML-KEM-768", "MLKEM768", "2.16.840.1.101.3.4.4.2"),
    ml_kem<MlKem1024>("ML-KEM-1024", "MLKEM1024", "2.16.840.1.101.3.4.4.3"),
};

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, lower, lower);
}

const Algorithm* find_algorithm(std::uint32_t id) noexcept {
  const auto* found = std::ranges::find(algorithms, id, &Algorithm::id);
  return found != algorithms.end() ? found : nullptr;
}

const Algorithm* find_algorithm(std::string_view text) noexcept {
  const auto* found = std::ranges::find_if(algorithms, [text](const Algorithm& a) {
    return equal_ignoring_case(text, a.name) || equal_ignoring_case(text, a.alias) || text == a.oid;
  });
  return found != algorithms.end() ? found : nullptr;
}

}  // namespace warpkem::host
