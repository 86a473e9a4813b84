// The parameter sets of ML-KEM as types: FIPS 203, Tables 2 and 3. Every layer may include this.
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
