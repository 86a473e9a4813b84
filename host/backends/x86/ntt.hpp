// Arithmetic in R_q and T_q, 16 coefficients to a vector, in the order of FIPS 203 in both domains, so that sampled,
// encoded and computed polynomials meet without a permutation.
//
// Coefficients are int16, congruent mod q, reduced only where the bounds below demand it:
//
//   multiply(x, f)      |result| <= |x| * 1664 / 2^16 + 1665             any x
//   NTT                 |f_i| <= 3329 in, < 16600 out                    each of 7 layers adds at most |b| / 39 + 1665
//   MultiplyNTTs        |a_i| <= 4095, |b_i| < 16600 in; k = 4 products sum to < 5.5e8 before, < 10000 after reduction
//   InverseNTT          |f_i| <= 16383 in, <= 2110 out                   reduced after layers 1 and 4
//   reduce              |result| <= 2160                                 any x
#pragma once

#include <immintrin.h>

#include "host/backends/x86/tables.hpp"

namespace warpkem::simd {
namespace {

struct alignas(64) Poly {  // R_q
  i16 c[n];
};
struct alignas(64) NttPoly {  // T_q: c[2i] + c[2i + 1] X mod X^2 - gamma_i
  i16 c[n];
};

using Vector = __m256i;

[[gnu::always_inline]] inline Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const Vector*>(p)); }
[[gnu::always_inline]] inline void store(void* p, Vector v) { _mm256_storeu_si256(static_cast<Vector*>(p), v); }
[[gnu::always_inline]] inline Vector all(int x) { return _mm256_set1_epi16(static_cast<i16>(x)); }

// x * f mod q, up to the sign: the low halves of x * f*R and of (x * f*R / q mod 2^16) * q are equal and cancel.
[[gnu::always_inline]] inline Vector multiply(Vector x, Vector value, Vector times_q_inverse) {
  const Vector quotient = _mm256_mullo_epi16(x, times_q_inverse);
  Vector r = _mm256_sub_epi16(_mm256_mulhi_epi16(x, value), _mm256_mulhi_epi16(quotient, all(q)));
  asm("" : "+v"(r));  // else gcc turns a +- (b - c) into one operation more
  return r;
}
[[gnu::always_inline]] inline Vector multiply(Vector x, Factor f) {
  return multiply(x, all(f.value), all(f.times_q_inverse));
}
[[gnu::always_inline]] inline Vector multiply(Vector x, const FactorVector& f) {
  return multiply(x, load(f.value), load(f.times_q_inverse));
}

// x - q * round(10 x / 2^15): 10 is 2^15 / q rounded, so at most half of q and 52.2 for each multiple taken away
// remain.
[[gnu::always_inline]] inline Vector reduce(Vector x) {
  return _mm256_sub_epi16(x, _mm256_mullo_epi16(_mm256_mulhrs_epi16(x, all(10)), all(q)));
}

// The representative from 0 to q - 1.
[[gnu::always_inline]] inline Vector canonical(Vector x) {
  const Vector r = reduce(x);
  return _mm256_min_epu16(r, _mm256_add_epi16(r, all(q)));  // as unsigned numbers, whichever is not negative
}

// Cooley and Tukey's butterfly; f as multiply() takes it.
template <class F>
[[gnu::always_inline]] inline void butterfly(Vector& a, Vector& b, const F& f) {
  const Vector t = multiply(b, f);
  b = _mm256_sub_epi16(a, t);
  a = _mm256_add_epi16(a, t);
}

// Gentleman and Sande's.
template <class F>
[[gnu::always_inline]] inline void inverse_butterfly(Vector& a, Vector& b, const F& f) {
  const Vector difference = _mm256_sub_epi16(a, b);
  a = _mm256_add_epi16(a, b);
  b = multiply(difference, f);
}

// Two neighbouring vectors r0, r1 = coefficients 0-15, 16-31 of 32, regrouped so that each layer's partners share a
// lane. Length 8: halves.            (0-7, 16-23)                          (8-15, 24-31)
[[gnu::always_inline]] inline void exchange_8(Vector& r0, Vector& r1) {
  const Vector low = _mm256_permute2x128_si256(r0, r1, 0x20);
  r1 = _mm256_permute2x128_si256(r0, r1, 0x31);
  r0 = low;
}
// Length 4: quarters.          (0-3, 8-11, 16-19, 24-27)             (4-7, 12-15, 20-23, 28-31)
[[gnu::always_inline]] inline void exchange_4(Vector& r0, Vector& r1) {
  const Vector low = _mm256_unpacklo_epi64(r0, r1);
  r1 = _mm256_unpackhi_epi64(r0, r1);
  r0 = low;
}
// Length 2: pairs.             (0-1, 8-9, 4-5, 12-13, 16-17, ...)    (2-3, 10-11, 6-7, 14-15, 18-19, ...)
[[gnu::always_inline]] inline void exchange_2(Vector& r0, Vector& r1) {
  const __m256 a = _mm256_castsi256_ps(r0), b = _mm256_castsi256_ps(r1);
  r0 = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
  r1 = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
}
[[gnu::always_inline]] inline void undo_exchange_2(Vector& r0, Vector& r1) {  // the other two undo themselves
  const Vector low = _mm256_unpacklo_epi32(r0, r1);
  r1 = _mm256_unpackhi_epi32(r0, r1);
  r0 = low;
}

// NTT, FIPS 203 Algorithm 9. Two passes over four vectors at a time, so that enough independent butterflies are under
// way to hide the latency of their multiplications.
[[gnu::noinline]] void NTT(const Poly& f, NttPoly& f_hat) {
  for (int v = 0; v < 4; ++v) {
    Vector r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) r[i] = load(f.c + 16 * (v + 4 * i));
    butterfly(r[0], r[2], vector_tables.zetas[1]);
    butterfly(r[1], r[3], vector_tables.zetas[1]);
    butterfly(r[0], r[1], vector_tables.zetas[2]);
    butterfly(r[2], r[3], vector_tables.zetas[3]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) store(f_hat.c + 16 * (v + 4 * i), r[i]);
  }
  for (int quarter = 0; quarter < 4; ++quarter) {
    i16* c = f_hat.c + 64 * quarter;
    Vector r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) r[i] = load(c + 16 * i);
    butterfly(r[0], r[2], vector_tables.zetas[4 + quarter]);
    butterfly(r[1], r[3], vector_tables.zetas[4 + quarter]);
    butterfly(r[0], r[1], vector_tables.zetas[8 + 2 * quarter]);
    butterfly(r[2], r[3], vector_tables.zetas[9 + 2 * quarter]);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const FactorVector(&factors)[3] = vector_tables.ntt[2 * quarter + i];
      Vector &r0 = r[2 * i], &r1 = r[2 * i + 1];
      exchange_8(r0, r1);
      butterfly(r0, r1, factors[0]);
      exchange_4(r0, r1);
      butterfly(r0, r1, factors[1]);
      exchange_2(r0, r1);
      butterfly(r0, r1, factors[2]);
      undo_exchange_2(r0, r1);
      exchange_4(r0, r1);
      exchange_8(r0, r1);
      store(c + 32 * i, r0);
      store(c + 32 * i + 16, r1);
    }
  }
}

// NTT^-1, FIPS 203 Algorithm 10, of f_hat * R: takes back the R^-1 that MultiplyNTTs leaves.
[[gnu::noinline]] void InverseNTT(const NttPoly& f_hat, Poly& f) {
  constexpr Factor scale = factor(power(128, q - 2) * R_mod_q);
  constexpr Factor scaled_zeta = factor(power(zeta(1), q - 2) * power(128, q - 2) % q * R_mod_q);
  for (int quarter = 0; quarter < 4; ++quarter) {
    const i16* c = f_hat.c + 64 * quarter;
    Vector r[4];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const FactorVector(&factors)[3] = vector_tables.inverse_ntt[2 * quarter + i];
      Vector r0 = load(c + 32 * i), r1 = load(c + 32 * i + 16);
      exchange_8(r0, r1);
      exchange_4(r0, r1);
      exchange_2(r0, r1);
      inverse_butterfly(r0, r1, factors[2]);
      r0 = reduce(r0);
      undo_exchange_2(r0, r1);
      inverse_butterfly(r0, r1, factors[1]);
      exchange_4(r0, r1);
      inverse_butterfly(r0, r1, factors[0]);
      exchange_8(r0, r1);
      inverse_butterfly(r0, r1, vector_tables.inverse_zetas[8 + 2 * quarter + i]);
      r[2 * i] = reduce(r0), r[2 * i + 1] = r1;
    }
    inverse_butterfly(r[0], r[2], vector_tables.inverse_zetas[4 + quarter]);
    inverse_butterfly(r[1], r[3], vector_tables.inverse_zetas[4 + quarter]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) store(f.c + 64 * quarter + 16 * i, r[i]);
  }
  for (int v = 0; v < 4; ++v) {
    Vector r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) r[i] = load(f.c + 16 * (v + 4 * i));
    inverse_butterfly(r[0], r[1], vector_tables.inverse_zetas[2]);
    inverse_butterfly(r[2], r[3], vector_tables.inverse_zetas[3]);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      store(f.c + 16 * (v + 4 * i), multiply(_mm256_add_epi16(r[i], r[i + 2]), scale));
      store(f.c + 16 * (v + 4 * i + 8), multiply(_mm256_sub_epi16(r[i], r[i + 2]), scaled_zeta));
    }
  }
}

// f = R f + g: takes back the R^-1 that MultiplyNTTs leaves where no InverseNTT follows.
[[gnu::noinline]] void scale_and_add(NttPoly& f, const NttPoly& g) {
  for (int v = 0; v < num_vectors; ++v) {
    const Vector scaled = multiply(load(f.c + 16 * v), factor(R_mod_q));
    store(f.c + 16 * v, _mm256_add_epi16(scaled, load(g.c + 16 * v)));
  }
}

// b as MultiplyNTTs wants it beside itself: (b_0, gamma b_1) in each pair.
[[gnu::noinline]] void times_gamma(const NttPoly& b, NttPoly& b_gamma) {
  for (int v = 0; v < num_vectors; ++v)
    store(b_gamma.c + 16 * v, multiply(load(b.c + 16 * v), vector_tables.gammas[v]));
}

// BaseCaseMultiply, FIPS 203 Algorithm 12, of eight pairs side by side, added to the even and the odd coefficients.
[[gnu::always_inline]] inline void BaseCaseMultiply(Vector a, Vector a_swapped, Vector b, Vector b_gamma, Vector& even,
                                                    Vector& odd) {
  even = _mm256_add_epi32(even, _mm256_madd_epi16(a, b_gamma));
  odd = _mm256_add_epi32(odd, _mm256_madd_epi16(a_swapped, b));
}

// The sum of k products MultiplyNTTs(a_j, b_j), FIPS 203 Algorithm 11, times R^-1. Consecutive a_j lie `stride`
// coefficients apart. Each product is summed as int32, two instructions for 16 coefficients, and reduced once at the
// end.
template <int k>
[[gnu::noinline]] void inner_product(const i16* a, int stride, const NttPoly* b, const NttPoly* b_gamma, NttPoly& sum) {
  const Vector swap_pairs =
      _mm256_broadcastsi128_si256(_mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
  for (int v = 0; v < num_vectors; ++v) {
    Vector even = _mm256_setzero_si256(), odd = even;
#pragma GCC unroll 4
    for (int j = 0; j < k; ++j) {
      const Vector x = load(a + j * stride + 16 * v);
      BaseCaseMultiply(x, _mm256_shuffle_epi8(x, swap_pairs), load(b[j].c + 16 * v), load(b_gamma[j].c + 16 * v), even,
                       odd);
    }
    const Vector low = _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa);
    const Vector high = _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa);
    const Vector quotient = _mm256_mullo_epi16(low, all(static_cast<i16>(q_inverse)));
    store(sum.c + 16 * v, _mm256_sub_epi16(high, _mm256_mulhi_epi16(quotient, all(q))));
  }
}

}  // namespace
}  // namespace warpkem::simd
