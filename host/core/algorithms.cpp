#include "host/core/algorithms.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "host/core/hybrids.hpp"
#include "warpkem/params.hpp"

namespace warpkem::host {

namespace {

template <ParameterSet P>
constexpr Algorithm ml_kem(const AlgorithmNames& names) {
  // Time goes with the matrix, which goes with the square of the key's length.
  constexpr double length = static_cast<double>(P::ek_bytes) / static_cast<double>(MlKem768::ek_bytes);
  return {.id = P::id,
          .name = names.name,
          .alias = names.alias,
          .oid = names.oid,
          .tls_number = names.tls_number,
          .hpke_number = names.hpke_number,
          .ek_bytes = P::ek_bytes,
          .dk_bytes = {P::dk_bytes, P::seed_bytes},
          .c_bytes = P::c_bytes,
          .K_bytes = P::K_bytes,
          .m_bytes = P::m_bytes,
          .seed_bytes = {P::seed_bytes, P::seed_bytes},
          .cost = length * length};
}

constexpr Algorithm hybrid(const Hybrid& h) {
  const std::size_t material = h.material().bytes;
  std::array<std::size_t, max_dk_formats> dk{h.expanded_dk().bytes, material}, seed{material, material};
  if (h.combines()) {  // a key is the seed from which all else comes, or a composite
    dk = {0, Hybrid::short_seed_bytes, h.composite_dk().bytes};
    seed = {Hybrid::short_seed_bytes, Hybrid::short_seed_bytes, material};
  }
  return {.id = h.algorithm,
          .name = h.names.name,
          .alias = h.names.alias,
          .oid = h.names.oid,
          .tls_number = h.names.tls_number,
          .hpke_number = h.names.hpke_number,
          .ek_bytes = h.ek().bytes,
          .dk_bytes = dk,
          .c_bytes = h.c().bytes,
          .K_bytes = h.K().bytes,
          .m_bytes = h.m().bytes,
          .seed_bytes = seed,
          .cost = h.cost};
}

// Those of ML-KEM, then all hybrids.
constexpr auto algorithms = [] {
  std::array<Algorithm, 3 + hybrids::table.size()> rows{ml_kem<MlKem512>(names_of_ml_kem[0]),
                                                        ml_kem<MlKem768>(names_of_ml_kem[1]),
                                                        ml_kem<MlKem1024>(names_of_ml_kem[2])};
  std::ranges::transform(hybrids::table, rows.begin() + 3, hybrid);
  return rows;
}();
static_assert(MlKem768::id == reference_algorithm);
static_assert([] {
  for (const Algorithm& a : algorithms) {
    if (&algorithms[a.id - 1] != &a) return false;
  }
  return true;
}());
// RFC 10024, Sections 3.1 to 3.3; draft-irtf-cfrg-concrete-hybrid-kems, Section 5; the composites' keys.
static_assert(algorithms[3].ek_bytes == 1216 && algorithms[3].c_bytes == 1120 && algorithms[3].K_bytes == 64);
static_assert(algorithms[4].ek_bytes == 1249 && algorithms[4].c_bytes == 1153 && algorithms[4].K_bytes == 64);
static_assert(algorithms[5].ek_bytes == 1665 && algorithms[5].c_bytes == 1665 && algorithms[5].K_bytes == 80);
static_assert(algorithms[3].dk_bytes[0] == 2432 && algorithms[4].dk_bytes[0] == 2432 &&
              algorithms[5].dk_bytes[0] == 3216);
static_assert(algorithms[6].dk_bytes[2] == 96 && algorithms[7].dk_bytes[2] == 115 && algorithms[8].dk_bytes[2] == 128);
static_assert(algorithms[6].m_bytes == 64 && algorithms[7].m_bytes == 160 && algorithms[8].m_bytes == 80);

// By id; null: there is none.
constexpr auto by_id = [] {
  std::array<const Algorithm*, max_algorithms> pointers{};
  for (const Algorithm& a : algorithms) pointers[a.id] = &a;
  return pointers;
}();

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::span<const Algorithm> all_algorithms() noexcept { return algorithms; }

const Algorithm* find_algorithm(std::uint32_t id) noexcept { return id < max_algorithms ? by_id[id] : nullptr; }

const Algorithm* find_algorithm(std::string_view text) noexcept {
  const auto* found = std::ranges::find_if(algorithms, [text](const Algorithm& a) {
    const auto is_text = [text](const char* name) { return name != nullptr && equal_ignoring_case(text, name); };
    char tls[8], hpke[8];  // as IANA's registries write them
    std::snprintf(tls, sizeof tls, "%u", unsigned{a.tls_number});
    std::snprintf(hpke, sizeof hpke, "0x%04x", unsigned{a.hpke_number});
    return is_text(a.name) || is_text(a.alias) || is_text(a.oid) || (a.tls_number != 0 && is_text(tls)) ||
           (a.hpke_number != 0 && is_text(hpke));
  });
  return found != algorithms.end() ? found : nullptr;
}

}  // namespace warpkem::host
