// NTT, its inverse and MultiplyNTTs (Algorithms 9 to 12) in FP32, by 16 lanes with 16 coefficients each.
//
// A butterfly takes 5 (NTT) or 6 (inverse) FP32 instructions and none of the integer pipes. Layers 128 to 16 combine
// coefficients t + 16 i of lane t, with factors that are constants of the code; layers 8 to 2 combine 16 t + i, with
// factors of the lane. Between them lies one exchange through shared memory. Two polynomials of a warp go side by side.
#pragma once

#include <type_traits>
#include <utility>

#include "kernels/tables.hpp"

namespace warpkem::kernels::halfwarp {

// An element of R_q: lane t holds coefficients t + 16 i.
struct Poly {
  float c[16];
};

// An element of T_q: lane t holds coefficients 16 t + i.
struct NttPoly {
  float c[16];
};

// Floats of shared memory for a half-warp's exchange. 16 coefficients take 20 places, so that rows of 16 lanes and
// quads of 8 lanes meet every bank once; 336 is 16 modulo 32, so that the two halves of a warp do not collide.
inline constexpr int exchange_floats = 336;

WARPKEM_FN u32 lane() { return threadIdx.x % 16; }
// Whether it is so for a lane of this half. All lanes of the warp call.
WARPKEM_FN bool any(bool it_is) { return (__ballot_sync(all_lanes, it_is) >> (threadIdx.x & 16) & 0xFFFF) != 0; }

static __device__ const LaneFactors forward_factors = make_lane_factors(false);
static __device__ const LaneFactors inverse_factors = make_lane_factors(true);

struct Factors {
  Factor f[8];
};
WARPKEM_FN Factors load_factors(const LaneFactors& table) {
  Factors factors;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float4 v = reinterpret_cast<const float4*>(table.quad[i])[lane()];
    factors.f[2 * i] = {v.x, v.y};
    factors.f[2 * i + 1] = {v.z, v.w};
  }
  return factors;
}

// (a, b) becomes (a + z b, a - z b), the product reduced: |a'|, |b'| <= |a| + 1665. |b| <= max_factor, |a| < 2^20.
WARPKEM_FN void butterfly(float& a, float& b, Factor w) {
  const float r = __fadd_rn(__fmaf_rn(b, w.z_over_q, rounder), -rounder);
  const float sum = __fmaf_rn(r, -float(q), __fmaf_rn(b, w.z, a));
  b = __fmaf_rn(2.0f, a, -sum);
  a = sum;
}

// (a, b) becomes (a + b, z (b - a)), the product reduced. |a| + |b| <= max_factor.
WARPKEM_FN void inverse_butterfly(float& a, float& b, Factor w) {
  const float difference = __fadd_rn(b, -a);
  a = __fadd_rn(a, b);
  b = multiply(difference, w);
}

constexpr Factor constant_factor(int z) { return {static_cast<float>(z), over_q(z)}; }

// f(0), ..., f(count - 1), each with its argument as a constant expression.
template <int count, class F>
WARPKEM_FN void static_for(F&& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (f(std::integral_constant<int, i>{}), ...); }
  (std::make_integer_sequence<int, count>{});
}

WARPKEM_FN void to_contiguous(const float (&in)[16], float (&out)[16], float* exchange) {
  const u32 t = lane();
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 16; ++i) exchange[20 * i + t] = in[i];
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float4 v = reinterpret_cast<const float4*>(exchange)[5 * t + i];
    out[4 * i] = v.x, out[4 * i + 1] = v.y, out[4 * i + 2] = v.z, out[4 * i + 3] = v.w;
  }
}

WARPKEM_FN void to_strided(const float (&in)[16], float (&out)[16], float* exchange) {
  const u32 t = lane();
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    reinterpret_cast<float4*>(exchange)[5 * t + i] =
        make_float4(in[4 * i], in[4 * i + 1], in[4 * i + 2], in[4 * i + 3]);
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 16; ++i) out[i] = exchange[20 * i + t];
}

// |f_i| <= bound in, |f_i| <= bound + 7 * 1665 out. `factors` are the forward ones of this lane.
template <int bound>
WARPKEM_FN NttPoly NTT(Poly f, float* exchange, const Factors& factors) {
  static_assert(bound + 5 * 1665 <= max_factor);  // factors of layer 4
  static_for<4>([&](auto layer) {
    constexpr int half = 8 >> layer;
    static_for<16>([&](auto i) {
      if constexpr ((i & half) == 0) {
        constexpr Factor w = constant_factor(zetas[(1 << layer) + i / (2 * half)]);
        butterfly(f.c[i], f.c[i + half], w);
      }
    });
  });
  NttPoly g;
  to_contiguous(f.c, g.c, exchange);
#pragma unroll
  for (int i = 0; i < 8; ++i) butterfly(g.c[i], g.c[i + 8], factors.f[0]);
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if ((i & 4) == 0) butterfly(g.c[i], g.c[i + 4], factors.f[1 + i / 8]);
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if ((i & 2) == 0) {
      if constexpr (bound + 6 * 1665 > max_factor) g.c[i + 2] = reduce(g.c[i + 2]);
      butterfly(g.c[i], g.c[i + 2], factors.f[3 + i / 4]);
    }
  }
  return g;
}

// |f_i| <= 1665 in and out. `factors` are the inverse ones of this lane. A sum doubles its bound; `reduced` are the
// sums that would let a difference exceed max_factor = 6.04 * 1665. In multiples of 1665, by bits of the index: before
// layer 8: 4 (00x reduced), 2; after it, with 01x reduced: 2 at most; before layer 32: 4 (0xxx reduced to 1), 1; before
// layer 128: 4 (x00x reduced), 2, 1.
WARPKEM_FN Poly InverseNTT(NttPoly f, float* exchange, const Factors& factors) {
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if ((i & 2) == 0) inverse_butterfly(f.c[i], f.c[i + 2], factors.f[i / 4]);
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if ((i & 4) == 0) inverse_butterfly(f.c[i], f.c[i + 4], factors.f[4 + i / 8]);
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if ((i & 6) == 0) f.c[i] = reduce(f.c[i]);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) inverse_butterfly(f.c[i], f.c[i + 8], factors.f[6]);
  f.c[2] = reduce(f.c[2]);
  f.c[3] = reduce(f.c[3]);

  Poly g;
  to_strided(f.c, g.c, exchange);
  static_for<3>([&](auto layer) {
    constexpr int half = 1 << layer;
    static_for<16>([&](auto i) {
      if constexpr ((i & half) == 0) {
        constexpr Factor w = constant_factor(zetas[(16 >> layer) - 1 - i / (2 * half)]);
        inverse_butterfly(g.c[i], g.c[i + half], w);
      }
    });
    static_for<16>([&](auto i) {
      if constexpr ((layer == 0 && i % 2 == 0) || (layer == 2 && (i & 6) == 0)) g.c[i] = reduce(g.c[i]);
    });
  });
  // Layer 128 and line 14: the factor 128^-1 goes into both outputs.
  constexpr Factor scale = constant_factor(centered(inverse_of_128));
  constexpr Factor scaled_zeta = constant_factor(centered(inverse_of_128 * zetas[1]));
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float sum = __fadd_rn(g.c[i], g.c[i + 8]);
    const float difference = __fadd_rn(g.c[i + 8], -g.c[i]);
    g.c[i] = multiply(sum, scale);
    g.c[i + 8] = multiply(difference, scaled_zeta);
  }
  return g;
}

// The second operand of MultiplyNTTs, ready for many products: b reduced to |b_i| <= 1665, and b_odd * gamma.
struct Multiplicand {
  float c[16];
  float odd_gamma[8];
};

WARPKEM_FN Multiplicand multiplicand(const NttPoly& b, const Factors& forward) {
  Multiplicand m;
#pragma unroll
  for (int i = 0; i < 16; ++i) m.c[i] = reduce(b.c[i]);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float product = multiply(m.c[2 * i + 1], forward.f[3 + i / 2]);  // gamma is zeta, -zeta in turn
    m.odd_gamma[i] = i % 2 == 0 ? product : -product;
  }
  return m;
}

// BaseCaseMultiply, FIPS 203 Algorithm 12, added to (c_0, c_1).
WARPKEM_FN void BaseCaseMultiply(float a_0, float a_1, float b_0, float b_1, float b_1_gamma, float& c_0, float& c_1) {
  c_0 = __fmaf_rn(a_1, b_1_gamma, __fmaf_rn(a_0, b_0, c_0));
  c_1 = __fmaf_rn(a_1, b_0, __fmaf_rn(a_0, b_1, c_1));
}

// MultiplyNTTs, FIPS 203 Algorithm 11, added to `sum` (scaled as a is). Exact: each call adds at most
// 2 * 1665 * |a_i|, and |sum| must stay below 2^24 (times the scale).
WARPKEM_FN void MultiplyNTTs(const NttPoly& a, const Multiplicand& b, NttPoly& sum) {
#pragma unroll
  for (int i = 0; i < 16; i += 2) {
    BaseCaseMultiply(a.c[i], a.c[i + 1], b.c[i], b.c[i + 1], b.odd_gamma[i / 2], sum.c[i], sum.c[i + 1]);
  }
}

}  // namespace warpkem::kernels::halfwarp
