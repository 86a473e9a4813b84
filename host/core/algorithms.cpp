#include "host/core/algorithms.hpp"

#include <algorithm>
#include <array>

#include "host/core/hybrids.hpp"
#include "host/core/oids.hpp"
#include "warpkem/params.hpp"

namespace warpkem::host {

namespace {

template <ParameterSet P>
constexpr Algorithm ml_kem(const char* name, const char* alias, const char* oid) {
  // Time goes with the matrix, which goes with the square of the key's length.
  constexpr double length = static_cast<double>(P::ek_bytes) / static_cast<double>(MlKem768::ek_bytes);
  return {.id = P::id,
          .name = name,
          .aliases = {alias, nullptr},
          .oid = oid,
          .ek_bytes = P::ek_bytes,
          .dk_bytes = {P::dk_bytes, P::seed_bytes},
          .c_bytes = P::c_bytes,
          .K_bytes = P::K_bytes,
          .m_bytes = P::m_bytes,
          .seed_bytes = {P::seed_bytes, P::seed_bytes},
          .cost = length * length};
}

constexpr Algorithm hybrid(std::uint32_t id, double cost, const char* name, std::array<const char*, 2> aliases,
                           const char* oid) {
  const Hybrid& h = *find_hybrid(id);
  const std::size_t material = h.material().bytes;
  std::array<std::size_t, max_dk_formats> dk{h.expanded_dk().bytes, material}, seed{material, material};
  if (h.combines()) {  // a key is the seed from which all else comes, or a composite
    dk = {0, Hybrid::short_seed_bytes, h.composite_dk().bytes};
    seed = {Hybrid::short_seed_bytes, Hybrid::short_seed_bytes, material};
  }
  return {.id = id,
          .name = name,
          .aliases = aliases,
          .oid = oid,
          .ek_bytes = h.ek().bytes,
          .dk_bytes = dk,
          .c_bytes = h.c().bytes,
          .K_bytes = h.K().bytes,
          .m_bytes = h.m().bytes,
          .seed_bytes = seed,
          .cost = cost};
}

// Aliases: numbers of TLS groups (RFC 10024) and of HPKE KEMs.
constexpr std::array algorithms{
    ml_kem<MlKem512>("ML-KEM-512", "MLKEM512", oids::ml_kem_512),
    ml_kem<MlKem768>("ML-KEM-768", "MLKEM768", oids::ml_kem_768),
    ml_kem<MlKem1024>("ML-KEM-1024", "MLKEM1024", oids::ml_kem_1024),
    hybrid(4, 4, "X25519MLKEM768", {"4588", nullptr}, nullptr),
    hybrid(5, 8, "SecP256r1MLKEM768", {"4587", nullptr}, nullptr),
    hybrid(6, 100, "SecP384r1MLKEM1024", {"4589", nullptr}, nullptr),
    hybrid(7, 4, "MLKEM768-X25519", {"X-Wing", "0x647a"}, oids::mlkem768_x25519),
    hybrid(8, 8, "MLKEM768-P256", {"0x0050", nullptr}, oids::mlkem768_p256),
    hybrid(9, 100, "MLKEM1024-P384", {"0x0051", nullptr}, oids::mlkem1024_p384),
};
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
    return is_text(a.name) || is_text(a.oid) || std::ranges::any_of(a.aliases, is_text);
  });
  return found != algorithms.end() ? found : nullptr;
}

}  // namespace warpkem::host
