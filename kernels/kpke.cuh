// K-PKE (Algorithms 13 to 15) from expanded randomness on: half a warp per item. Coefficients of A and of decoded
// polynomials arrive as a - 1664, small enough for exact sums; `Operand` keeps what 1664 contributes.
#pragma once

#include "kernels/codec.cuh"
#include "kernels/sample.cuh"
#include "kernels/steps.hpp"

namespace warpkem::kernels::halfwarp {

// Products of centered operands (1664 * 1665 each, two a call) that fit into 24 bits with something to spare; decoded
// coefficients may be 4095 - 1664.
inline constexpr int products_of_entries = 3, products_of_decoded = 2;
static_assert(products_of_entries * 2 * 1664 * 1665 + 20'000 < (1 << 24));
static_assert(products_of_decoded * 2 * 2431 * 1665 + 20'000 < (1 << 24));

// What the shift of the other operands by 1664 takes from a sum of products with b_0, ..., b_{k-1}, reduced.
template <int k>
WARPKEM_FN NttPoly finish_correction(NttPoly sum) {
  constexpr Factor shift = constant_factor(1664);
  NttPoly correction;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    correction.c[i] = multiply(2 * k * 1665 > max_factor ? reduce(sum.c[i]) : sum.c[i], shift);
  }
  return correction;
}
WARPKEM_FN void add_to_correction(const Multiplicand& b, NttPoly& sum) {
#pragma unroll
  for (int i = 0; i < 16; i += 2) {
    sum.c[i] = __fadd_rn(sum.c[i], __fadd_rn(b.c[i], b.odd_gamma[i / 2]));
    sum.c[i + 1] = __fadd_rn(sum.c[i + 1], __fadd_rn(b.c[i], b.c[i + 1]));
  }
}

template <int k>
struct Operand {
  Multiplicand b[k];
  NttPoly correction;

  WARPKEM_FN void complete() {
    NttPoly sum{};
#pragma unroll
    for (int j = 0; j < k; ++j) add_to_correction(b[j], sum);
    correction = finish_correction<k>(sum);
  }
};

// sum_j entry(j) * b_j in 16ths: |result| <= 16 * (2^24 - 20000). entry(j) is a shifted entry of A.
template <int k, class Entry>
WARPKEM_FN NttPoly inner_product_of_entries(const Operand<k>& x, Entry&& entry) {
  NttPoly sum;
#pragma unroll
  for (int i = 0; i < 16; ++i) sum.c[i] = __fmul_rn(x.correction.c[i], 16.0f);
#pragma unroll
  for (int j = 0; j < k; ++j) {
    if (j > 0 && j % products_of_entries == 0) {
#pragma unroll
      for (int i = 0; i < 16; ++i) sum.c[i] = __fmul_rn(reduce_scaled<16>(sum.c[i]), 16.0f);
    }
    MultiplyNTTs(load_entry(entry(j)), x.b[j], sum);
  }
  return sum;
}

// sum_j ByteDecode_12(bytes + 384 j) * b_j, |result| < 2^24. Says whether one of this lane's coefficients is not below
// q.
template <int k>
WARPKEM_FN NttPoly inner_product_of_decoded(const Operand<k>& x, const u8* bytes, bool& too_large, float* exchange) {
  NttPoly sum = x.correction;
#pragma unroll
  for (int j = 0; j < k; ++j) {
    if (j > 0 && j % products_of_decoded == 0) {
#pragma unroll
      for (int i = 0; i < 16; ++i) sum.c[i] = reduce(sum.c[i]);
    }
    const NttPoly a = ByteDecode<12, 1664>(bytes + 384 * j, exchange);
#pragma unroll
    for (int i = 0; i < 16; ++i) too_large |= a.c[i] > q - 1 - 1664;
    MultiplyNTTs(a, x.b[j], sum);
  }
  return sum;
}

}  // namespace warpkem::kernels::halfwarp

namespace warpkem::kernels::kpke {

using namespace halfwarp;

// FIPS 203 Algorithm 13, lines 8 to 20, for one item. `dk_pke` may be null.
template <class P>
WARPKEM_FN void KeyGen(const u8* A, const u8* noise, u8* ek, u8* dk_pke, bool store, float* exchange) {
  const Factors factors = load_factors(forward_factors);
  constexpr int noise_bytes = 64 * P::eta1;
  Operand<P::k> s_hat;
#pragma unroll
  for (int i = 0; i < P::k; ++i) {
    const NttPoly f = NTT<P::eta1>(SamplePolyCBD<P::eta1>(noise + noise_bytes * i, exchange), exchange, factors);
    s_hat.b[i] = multiplicand(f, factors);
    if (dk_pke != nullptr) {
      NttPoly s;
#pragma unroll
      for (int n = 0; n < 16; ++n) s.c[n] = canonical(f.c[n]);
      store_packed(ByteEncode<12>(s), dk_pke + 384 * i, store, exchange);
    }
  }
  s_hat.complete();
#pragma unroll 1
  for (int i = 0; i < P::k; ++i) {
    const NttPoly e_hat =
        NTT<P::eta1>(SamplePolyCBD<P::eta1>(noise + noise_bytes * (P::k + i), exchange), exchange, factors);
    NttPoly t_hat = inner_product_of_entries<P::k>(s_hat, [&](int j) { return A + 512 * (P::k * i + j); });
#pragma unroll
    for (int n = 0; n < 16; ++n) t_hat.c[n] = canonical(__fadd_rn(reduce_scaled<16>(t_hat.c[n]), e_hat.c[n]));
    store_packed(ByteEncode<12>(t_hat), ek + 384 * i, store, exchange);
  }
}

// FIPS 203 Algorithm 14, lines 9 to 23, for one item. Hands the words of c to emit(moved words, offset of the
// polynomial). Returns whether one of this lane's coefficients of t_hat is not below q (7.2).
template <class P, class Emit>
WARPKEM_FN bool Encrypt(const u8* A, const u8* t_hat, const u8* noise1, const u8* noise2, const u8* m, float* exchange,
                        Emit&& emit) {
  Operand<P::k> y_hat;
  {
    const Factors factors = load_factors(forward_factors);
#pragma unroll
    for (int i = 0; i < P::k; ++i) {
      const Poly y = SamplePolyCBD<P::eta1>(noise1 + 64 * P::eta1 * i, exchange);
      y_hat.b[i] = multiplicand(NTT<P::eta1>(y, exchange, factors), factors);
    }
    y_hat.complete();
  }
  bool too_large = false;
  const Factors factors = load_factors(inverse_factors);
#pragma unroll 1
  for (int i = 0; i <= P::k; ++i) {
    const bool is_u = i < P::k;
    NttPoly sum;
    if (is_u) {  // row i of the transposed matrix
      sum = inner_product_of_entries<P::k>(y_hat, [&](int j) { return A + 512 * (P::k * j + i); });
#pragma unroll
      for (int n = 0; n < 16; ++n) sum.c[n] = reduce_scaled<16>(sum.c[n]);
    } else {
      sum = inner_product_of_decoded<P::k>(y_hat, t_hat, too_large, exchange);
#pragma unroll
      for (int n = 0; n < 16; ++n) sum.c[n] = reduce(sum.c[n]);
    }
    Poly f = InverseNTT(sum, exchange, factors);
    const Poly e = SamplePolyCBD<P::eta2>(noise2 + 64 * P::eta2 * i, exchange);
#pragma unroll
    for (int n = 0; n < 16; ++n) f.c[n] = __fadd_rn(f.c[n], e.c[n]);
    if (is_u) {
      emit(spread(compress_and_pack<P::du>(f, exchange), exchange), 32 * P::du * i);
    } else {
      const Poly mu = Decompress<1>(m);
#pragma unroll
      for (int n = 0; n < 16; ++n) f.c[n] = __fadd_rn(f.c[n], mu.c[n]);
      emit(spread(compress_and_pack<P::dv>(f, exchange), exchange), 32 * P::du * P::k);
    }
  }
  return too_large;
}

// FIPS 203 Algorithm 15 for one item: lane t < 8 gets word t of m.
template <class P>
WARPKEM_FN u32 Decrypt(const u8* dk_pke, const u8* c, float* exchange) {
  NttPoly products{}, correction{};
  {
    const Factors factors = load_factors(forward_factors);
#pragma unroll 1
    for (int i = 0; i < P::k; ++i) {
      Poly u;
      to_strided(Decompress<P::du>(c + 32 * P::du * i, exchange).c, u.c, exchange);
      const Multiplicand u_hat = multiplicand(NTT<1664>(u, exchange, factors), factors);
      add_to_correction(u_hat, correction);
#pragma unroll
      for (int n = 0; n < 16; ++n) products.c[n] = reduce(products.c[n]);
      MultiplyNTTs(ByteDecode<12, 1664>(dk_pke + 384 * i, exchange), u_hat, products);
    }
  }
  correction = finish_correction<P::k>(correction);
#pragma unroll
  for (int n = 0; n < 16; ++n) products.c[n] = reduce(__fadd_rn(products.c[n], correction.c[n]));
  const Poly su = InverseNTT(products, exchange, load_factors(inverse_factors));
  Poly w;
  to_strided(Decompress<P::dv>(c + 32 * P::du * P::k, exchange).c, w.c, exchange);
#pragma unroll
  for (int n = 0; n < 16; ++n) w.c[n] = __fadd_rn(w.c[n], -su.c[n]);
  return compress_to_message(w);
}

}  // namespace warpkem::kernels::kpke
