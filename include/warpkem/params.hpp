// The parameter sets of ML-KEM as types: FIPS 203, Tables 2 and 3. And the sizes of hybrids, see warpkem.h. Every layer
// may include this.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 201709L  // gcc 10 says that of its C++20
#error "warpkem/params.hpp needs C++20, as with -std=c++20"
#else

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace warpkem {

template <int K, int Eta1, int Du, int Dv>
struct MlKemParams {
  static constexpr int n = 256, q = 3329;
  static constexpr int k = K, eta1 = Eta1, eta2 = 2, du = Du, dv = Dv;
  static constexpr std::size_t poly_bytes = 384;  // ByteEncode_12 of one polynomial
  static constexpr std::size_t seed_bytes = 64;   // d || z
  static constexpr std::size_t m_bytes = 32;
  static constexpr std::size_t K_bytes = 32;
  static constexpr std::size_t dk_pke_bytes = poly_bytes * K;
  static constexpr std::size_t ek_bytes = poly_bytes * K + 32;
  static constexpr std::size_t dk_bytes = dk_pke_bytes + ek_bytes + 64;
  static constexpr std::size_t u_bytes = 32 * Du * K;
  static constexpr std::size_t v_bytes = 32 * Dv;
  static constexpr std::size_t c_bytes = u_bytes + v_bytes;
  // Where the parts of an expanded dk begin: dk_PKE || ek || H(ek) || z.
  static constexpr std::size_t dk_ek_offset = dk_pke_bytes;
  static constexpr std::size_t dk_h_offset = dk_pke_bytes + ek_bytes;
  static constexpr std::size_t dk_z_offset = dk_pke_bytes + ek_bytes + 32;
};

struct MlKem512 : MlKemParams<2, 3, 10, 4> {
  static constexpr std::uint32_t id = 1;
};
struct MlKem768 : MlKemParams<3, 2, 10, 4> {
  static constexpr std::uint32_t id = 2;
};
struct MlKem1024 : MlKemParams<4, 2, 11, 5> {
  static constexpr std::uint32_t id = 3;
};
static_assert(MlKem512::ek_bytes == 800 && MlKem512::dk_bytes == 1632 && MlKem512::c_bytes == 768);
static_assert(MlKem768::ek_bytes == 1184 && MlKem768::dk_bytes == 2400 && MlKem768::c_bytes == 1088);
static_assert(MlKem1024::ek_bytes == 1568 && MlKem1024::dk_bytes == 3168 && MlKem1024::c_bytes == 1568);

template <class P>
concept ParameterSet = requires {
  typename std::integral_constant<int, P::k>;
  typename std::integral_constant<std::size_t, P::ek_bytes>;
  { P::id } -> std::convertible_to<std::uint32_t>;
};

// Hybrids, groups of TLS (RFC 10024): Element, Scalar and Secret are bytes of the curve's records, and a scalar is read
// from Randomness bytes.
template <ParameterSet P, std::uint32_t Id, std::size_t Element, std::size_t Scalar, std::size_t Randomness>
struct TlsHybrid {
  static constexpr std::uint32_t id = Id;
  static constexpr std::size_t ek_bytes = P::ek_bytes + Element, c_bytes = P::c_bytes + Element;
  static constexpr std::size_t dk_bytes = P::dk_bytes + Scalar, K_bytes = P::K_bytes + Scalar;
  static constexpr std::size_t seed_bytes = P::seed_bytes + Randomness, m_bytes = P::m_bytes + Randomness;
};
struct X25519MlKem768 : TlsHybrid<MlKem768, 4, 32, 32, 32> {};
struct SecP256r1MlKem768 : TlsHybrid<MlKem768, 5, 65, 32, 128> {};
struct SecP384r1MlKem1024 : TlsHybrid<MlKem1024, 6, 97, 48, 48> {};

// Hybrids for every use (draft-irtf-cfrg-concrete-hybrid-kems). A dk is a seed, or a composite.
template <ParameterSet P, std::uint32_t Id, std::size_t Element, std::size_t Key, std::size_t Randomness>
struct CombinedHybrid {
  static constexpr std::uint32_t id = Id;
  static constexpr std::size_t ek_bytes = P::ek_bytes + Element, c_bytes = P::c_bytes + Element;
  static constexpr std::size_t dk_bytes = 0, K_bytes = 32, seed_bytes = 32, m_bytes = P::m_bytes + Randomness;
  static constexpr std::size_t composite_dk_bytes = P::seed_bytes + Key;
  static constexpr std::size_t composite_seed_bytes = P::seed_bytes + Randomness;
};
struct MlKem768X25519 : CombinedHybrid<MlKem768, 7, 32, 32, 32> {};  // X-Wing
struct MlKem768P256 : CombinedHybrid<MlKem768, 8, 65, 51, 128> {};
struct MlKem1024P384 : CombinedHybrid<MlKem1024, 9, 97, 64, 48> {};
using XWing = MlKem768X25519;

// The run-time number of a parameter set becomes a type: calls f(P()). False: there is no such set, and f was not
// called. Always inline, since it is compiled for several instruction sets.
template <class F>
[[gnu::always_inline]] constexpr bool with_params(std::uint32_t id, F&& f) {
  switch (id) {
    case MlKem512::id:
      f(MlKem512());
      return true;
    case MlKem768::id:
      f(MlKem768());
      return true;
    case MlKem1024::id:
      f(MlKem1024());
      return true;
    default:
      return false;
  }
}

}  // namespace warpkem

#endif
