// Arithmetic modulo q = 3329, for the host and the device.
//
// The integer functions build tables and serve tests. The device computes in FP32: integers below 2^24 are exact there,
// and the FP32 pipes are idle while Keccak fills the integer ones. Every FP32 value is an integer (or that times a
// power of two); a function's bounds are part of its contract.
#pragma once

#include <cstdint>

#include "warpkem/params.hpp"

#ifdef __CUDACC__
#define WARPKEM_HD __host__ __device__
#define WARPKEM_FN __device__ __forceinline__
#else
#define WARPKEM_HD
#endif

namespace warpkem::kernels {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr int n = MlKem768::n, q = MlKem768::q;  // of every parameter set
inline constexpr u32 all_lanes = 0xFFFFFFFF;            // of a warp, for shuffles and votes

// -1664 <= result <= 1664.
WARPKEM_HD constexpr int centered(int x) noexcept {
  const int r = ((x % q) + q) % q;
  return r > q / 2 ? r - q : r;
}

WARPKEM_HD constexpr int power(int base, int exponent) noexcept {
  int result = 1;
  for (int i = 0; i < exponent; ++i) result = result * base % q;
  return result;
}

inline constexpr int inverse_of_128 = 3303;  // FIPS 203, Algorithm 10, line 14
static_assert(inverse_of_128 * 128 % q == 1);

// Adding it to |x| < 2^22 leaves the nearest integer, ties to even, in the low mantissa bits (two's complement).
inline constexpr float rounder = 12582912.0f;         // 1.5 * 2^23, bits 0x4B400000
inline constexpr float integer_base = 8388608.0f;     // 2^23: its bits or-ed with x < 2^23 are the float 2^23 + x
inline constexpr u32 integer_base_bits = 0x4B000000;  // the bits of integer_base

// The largest |f| whose product with a centered factor, plus another f, stays below 2^24.
inline constexpr int max_factor = 10'070;
static_assert((max_factor + 1) * 1664 + max_factor < (1 << 24));

#ifdef __CUDACC__

// x mod q for |x| < 2^24: |result| <= 1665 (the rounded quotient may miss the nearest by a hair).
WARPKEM_FN float reduce(float x) {
  const float r = __fadd_rn(__fmaf_rn(x, 1.0f / q, rounder), -rounder);
  return __fmaf_rn(r, -float(q), x);
}

// As reduce(), for x = scale * integer; the result is not scaled.
template <int scale>
WARPKEM_FN float reduce_scaled(float x) {
  const float r = __fadd_rn(__fmaf_rn(x, 1.0f / (scale * q), rounder), -rounder);
  return __fmaf_rn(r, -float(q), __fmul_rn(x, 1.0f / scale));
}

// x mod q for |x| <= 2^20: 0 <= result < q. Exact: the quotient's distance from a tie is at least 0.5 / q = 1.5e-4, the
// error of |x| / q is below 320 * 2^-24 = 2e-5.
WARPKEM_FN float canonical(float x) {
  const float r = __fadd_rn(__fmaf_rn(__fadd_rn(x, -1664.0f), 1.0f / q, rounder), -rounder);
  return __fmaf_rn(r, -float(q), x);
}

// A constant factor z, |z| <= 1664, and z / q.
struct Factor {
  float z, z_over_q;
};

// f * z mod q for |f| <= max_factor: |result| <= 1665.
WARPKEM_FN float multiply(float f, Factor w) {
  const float r = __fadd_rn(__fmaf_rn(f, w.z_over_q, rounder), -rounder);
  return __fmaf_rn(r, -float(q), __fmul_rn(f, w.z));
}

#endif

constexpr float over_q(int z) noexcept { return static_cast<float>(static_cast<double>(z) / q); }

}  // namespace warpkem::kernels
