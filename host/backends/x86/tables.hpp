// Constants of ML-KEM in the shapes that 16-lane 16-bit arithmetic wants. All computed at compile time from zeta = 17.
//
// Like everything in host/backends/simd, this is in an anonymous namespace: each of the two
// objects has its own copy, compiled with its own flags, and the linker never has to choose between them.
#pragma once

#include <cstdint>

#include "warpkem/params.hpp"

namespace warpkem::simd {
namespace {

using i16 = std::int16_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr int n = MlKem768::n, q = MlKem768::q;  // of every parameter set
constexpr int num_vectors = n / 16;              // __m256i of one polynomial

// x reduced to the representative of least magnitude.
constexpr i16 centered(std::int64_t x) {
  const std::int64_t r = ((x % q) + q) % q;
  return static_cast<i16>(r > q / 2 ? r - q : r);
}

constexpr std::int64_t power(std::int64_t base, int exponent) {
  std::int64_t r = 1;
  for (; exponent != 0; exponent >>= 1, base = base * base % q) {
    if ((exponent & 1) != 0) r = r * base % q;
  }
  return r;
}

constexpr int bit_reverse_7(int x) {
  int r = 0;
  for (int i = 0; i < 7; ++i) r |= ((x >> i) & 1) << (6 - i);
  return r;
}

// Montgomery arithmetic: R = 2^16.
constexpr std::int64_t R_mod_q = 65536 % q;
constexpr u16 inverse_of_q() {  // Newton: each step doubles the bits that are right
  u32 x = 1;
  for (int i = 0; i < 4; ++i) x *= 2 - static_cast<u32>(q) * x;
  return static_cast<u16>(x);
}
constexpr u16 q_inverse = inverse_of_q();
static_assert(static_cast<u16>(q_inverse * q) == 1);

// A constant factor f as multiply(): f*R mod q, and that times q^-1 mod 2^16.
struct Factor {
  i16 value, times_q_inverse;
};
constexpr Factor factor(std::int64_t f) {
  const i16 value = centered(f % q * R_mod_q);
  return {value, static_cast<i16>(static_cast<u32>(value) * q_inverse)};
}

constexpr std::int64_t zeta(int i) { return power(17, bit_reverse_7(i)); }  // FIPS 203, Appendix A
static_assert(zeta(1) == 1729 && zeta(2) == 2580 && zeta(127) == 2154);

// One factor for each lane of a vector.
struct FactorVector {
  alignas(32) i16 value[16];
  alignas(32) i16 times_q_inverse[16];
  constexpr void set(int lane, Factor f) { value[lane] = f.value, times_q_inverse[lane] = f.times_q_inverse; }
};

struct Tables {
  // Layers of length 128 to 16: one factor for whole vectors, index 1 to 15 in the order of FIPS 203.
  Factor zetas[16];
  Factor inverse_zetas[16];
  // Layers of length 8, 4, 2 of vectors 2p and 2p + 1; ntt.hpp says which block of coefficients sits in which lane.
  FactorVector ntt[8][3];
  FactorVector inverse_ntt[8][3];
  // (1, gamma) for each pair of coefficients: the multiplier of MultiplyNTTs' second operand, FIPS 203 Algorithm 12.
  FactorVector gammas[num_vectors];
  // SampleNTT: from the bits that say which of 8 candidates are below q to the byte shuffle that moves those to the
  // front.
  alignas(64) u8 compact[256][16];
};

constexpr Tables make_tables() {
  Tables t{};
  const auto inverse = [](std::int64_t x) { return power(x, q - 2); };
  for (int i = 1; i < 16; ++i) {
    t.zetas[i] = factor(zeta(i));
    t.inverse_zetas[i] = factor(inverse(zeta(i)));
  }
  constexpr int order_of_length_2[8] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int p = 0; p < 8; ++p) {
    for (int lane = 0; lane < 16; ++lane) {
      const std::int64_t z[3] = {zeta(16 + 2 * p + lane / 8), zeta(32 + 4 * p + lane / 4),
                                 zeta(64 + 8 * p + order_of_length_2[lane / 2])};
      for (int layer = 0; layer < 3; ++layer) {
        t.ntt[p][layer].set(lane, factor(z[layer]));
        t.inverse_ntt[p][layer].set(lane, factor(inverse(z[layer])));
      }
    }
  }
  for (int pair = 0; pair < n / 2; ++pair) {
    const std::int64_t gamma = pair % 2 == 0 ? zeta(64 + pair / 2) : q - zeta(64 + pair / 2);
    t.gammas[pair / 8].set(2 * (pair % 8), factor(1));
    t.gammas[pair / 8].set(2 * (pair % 8) + 1, factor(gamma));
  }
  for (int mask = 0; mask < 256; ++mask) {
    int to = 0;
    for (int i = 0; i < 8; ++i) {
      if ((mask >> i & 1) != 0) {
        t.compact[mask][to++] = static_cast<u8>(2 * i);
        t.compact[mask][to++] = static_cast<u8>(2 * i + 1);
      }
    }
  }
  return t;
}

constexpr Tables vector_tables = make_tables();

}  // namespace
}  // namespace warpkem::simd
