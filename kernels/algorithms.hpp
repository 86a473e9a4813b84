// What the device computes: the parameter sets of ML-KEM, and its hybrids with X25519. Plain C++.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/batch.hpp"
#include "warpkem/params.hpp"

namespace warpkem::kernels {

inline constexpr std::size_t x25519_bytes = 32;  // of a scalar, of an element and of a secret

// An algorithm's records. Those of a hybrid are ML-KEM's, and X25519's after them: of m, of d || z, of ek, of c and of
// an expanded dk alike. K is both secrets, one after the other, or `combines` says that it is their hash.
template <class A, ParameterSet P, bool hybrid, bool hashes>
struct Described {
  using MlKem = P;
  static constexpr bool is_hybrid = hybrid, combines = hashes;
  static constexpr std::size_t ek_bytes = A::ek_bytes, c_bytes = A::c_bytes, K_bytes = A::K_bytes, m_bytes = A::m_bytes;

  // 0: there is no such dk.
  static constexpr std::size_t dk_bytes(DkFormat format) noexcept {
    if (format == DkFormat::expanded) return A::dk_bytes;
    if (format == DkFormat::seed) return A::seed_bytes;
    if constexpr (combines) return format == DkFormat::composite ? A::composite_dk_bytes : 0;
    return 0;
  }
  // Whether its d || z and scalar are made of a shorter seed.
  static constexpr bool expands(DkFormat format) noexcept { return combines && format == DkFormat::seed; }
  // What a key pair is made from; where dk is not expanded, that is dk.
  static constexpr std::size_t seeds_bytes(DkFormat format) noexcept {
    return format == DkFormat::expanded ? A::seed_bytes : dk_bytes(format);
  }
  // d || z and the scalar.
  static constexpr std::size_t material_bytes = P::seed_bytes + (hybrid ? x25519_bytes : 0);
};

// Calls f() with the description of that algorithm. False: the device does not have it, and f was not called.
template <class F>
constexpr bool with_algorithm(std::uint32_t id, F&& f) {
  switch (id) {
    case X25519MlKem768::id:
      f(Described<X25519MlKem768, MlKem768, true, false>());
      return true;
    case MlKem768X25519::id:
      f(Described<MlKem768X25519, MlKem768, true, true>());
      return true;
    default:
      return with_params(id, [&f]<class P>(P) { f(Described<P, P, false, false>()); });
  }
}

}  // namespace warpkem::kernels
