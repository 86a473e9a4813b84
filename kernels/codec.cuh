// ByteEncode_d, ByteDecode_d (Algorithms 5, 6), Compress_d and Decompress_d (4.7, 4.8), by 16 lanes.
//
// A lane encodes and decodes the 16 adjacent coefficients 16 t + i: 2 d bytes. Compression is one exact FFMA. Nothing
// divides, nothing branches, and every lane touches the same addresses whatever the values are.
#pragma once

#include "kernels/ntt.cuh"

namespace warpkem::kernels::halfwarp {

// 16 integers of d bits, adjacent coefficients, packed; for odd d the last half word is empty.
template <int d>
struct Packed {
  static constexpr int words = (d + 1) / 2;
  u32 w[words];
};

// Words of a polynomial of d-bit coefficients, and words that one of 16 lanes moves when lane t takes t, t + 16, ...
template <int d>
inline constexpr int poly_words = 8 * d;
template <int d>
inline constexpr int moved_words = (poly_words<d> + 15) / 16;
template <int d>
WARPKEM_FN bool moves(int i) {
  return 16 * (i + 1) <= poly_words<d> || 16 * i + lane() < poly_words<d>;
}

// This lane's 2 d bytes of the polynomial at `bytes`, a multiple of 4: by way of shared memory, for whole sectors. For
// odd d lanes start at half words, in turn. Leaves `exchange` in use: the next user synchronises first.
template <int d>
WARPKEM_FN Packed<d> load_packed(const u8* bytes, float* exchange) {
  const u32 t = lane();
  u32* words = reinterpret_cast<u32*>(exchange);
  __syncwarp();
#pragma unroll
  for (int i = 0; i < moved_words<d>; ++i) {
    if (moves<d>(i)) words[16 * i + t] = reinterpret_cast<const u32*>(bytes)[16 * i + t];
  }
  __syncwarp();
  Packed<d> p;
#pragma unroll
  for (int i = 0; i < p.words; ++i) p.w[i] = words[d * t / 2 + i];
  if constexpr (d % 2 == 1) {
    const u32 shift = 16 * (t % 2);
#pragma unroll
    for (int i = 0; i + 1 < p.words; ++i) p.w[i] = __funnelshift_r(p.w[i], p.w[i + 1], shift);
    p.w[p.words - 1] >>= shift;
  }
  return p;
}

// The way back: word(i) is what this lane moves to word 16 i + t of the polynomial, where moves<d>(i).
template <int d>
struct Moved {
  u32 w[moved_words<d>];
};
template <int d>
WARPKEM_FN Moved<d> spread(Packed<d> p, float* exchange) {
  const u32 t = lane();
  u32* words = reinterpret_cast<u32*>(exchange);
  __syncwarp();
  if constexpr (d % 2 == 0) {
#pragma unroll
    for (int i = 0; i < p.words; ++i) words[d * t / 2 + i] = p.w[i];
  } else {
    // Odd lanes give their first half word to the lane before, and have one word less.
    const u32 odd = t % 2;
    const u32 next = __shfl_down_sync(all_lanes, p.w[0], 1, 16);
#pragma unroll
    for (int i = 0; i + 1 < p.words; ++i) {
      words[(d * t + 1) / 2 + i] = __funnelshift_r(p.w[i], p.w[i + 1], 16 * odd);
    }
    if (odd == 0) words[d * t / 2 + p.words - 1] = (p.w[p.words - 1] & 0xFFFF) | (next << 16);
  }
  __syncwarp();
  Moved<d> moved;
#pragma unroll
  for (int i = 0; i < moved_words<d>; ++i) moved.w[i] = moves<d>(i) ? words[16 * i + t] : 0;
  return moved;
}

// Field i of d bits, xor-ed with `flip`, as the float 2^23 + field.
template <int d, u32 flip = 0>
WARPKEM_FN float field(const Packed<d>& p, int i) {
  const int bit = d * i, word = bit / 32, offset = bit % 32;
  u32 x = p.w[word];
  if (offset + d > 32) {
    x = __funnelshift_r(x, p.w[word + 1], offset);
  } else if (offset != 0) {
    x >>= offset;
  }
  return __uint_as_float((x & ((1u << d) - 1)) ^ (integer_base_bits | flip));
}

// ByteDecode_12, minus `shift`. Coefficients not below q stay so: 0 <= f_i + shift <= 4095.
template <int d, int shift>
WARPKEM_FN NttPoly ByteDecode(const u8* bytes, float* exchange) {
  static_assert(d == 12);
  const Packed<12> p = load_packed<12>(bytes, exchange);
  NttPoly f;
#pragma unroll
  for (int i = 0; i < 16; ++i) f.c[i] = __fadd_rn(field<12>(p, i), -(integer_base + shift));
  return f;
}

// Decompress_d(ByteDecode_d(bytes)), centered: |f_i| <= 1664, in the order 16 t + i. Fields are read as signed, which
// adds a multiple of q; the only tie, at -2^(d-1), then rounds to the even -1664 = 1665 - q, as the standard wants.
template <int d>
WARPKEM_FN NttPoly Decompress(const u8* bytes, float* exchange) {
  const Packed<d> p = load_packed<d>(bytes, exchange);
  constexpr u32 sign = 1u << (d - 1);
  NttPoly f;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const float y = __fadd_rn(field<d, sign>(p, i), -(integer_base + sign));
    f.c[i] = __fadd_rn(__fmaf_rn(y, float(q) / (1 << d), rounder), -rounder);
  }
  return f;
}

// Compress_d(f_i) in the low d bits of the result's bits, for |f| <= 4000. No tie exists, and the nearest one is 1.5e-4
// away, more than the error of f * 2^d / q.
template <int d>
WARPKEM_FN u32 Compress(float f) {
  return __float_as_uint(__fmaf_rn(f, static_cast<float>((1 << d) / static_cast<double>(q)), rounder));
}

// Compress_d of a polynomial, packed: through shared memory to the lanes of adjacent coefficients.
template <int d>
WARPKEM_FN Packed<d> compress_and_pack(const Poly& f, float* exchange) {
  const u32 t = lane();
  u16* halves = reinterpret_cast<u16*>(exchange);
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 16; ++i) halves[16 * i + t] = static_cast<u16>(Compress<d>(f.c[i]));
  __syncwarp();
  const uint4 v0 = reinterpret_cast<const uint4*>(exchange)[2 * t],
              v1 = reinterpret_cast<const uint4*>(exchange)[2 * t + 1];
  const u32 pairs[8] = {v0.x, v0.y, v0.z, v0.w, v1.x, v1.y, v1.z, v1.w};
  Packed<d> p;
#pragma unroll
  for (int i = 0; i < p.words; ++i) p.w[i] = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    constexpr u32 mask = (1u << d) - 1;
    const u32 both = pairs[i] & (mask | mask << 16);
    const u32 joined = both - (both >> 16) * (65536 - (1u << d));
    const int bit = 2 * d * i, word = bit / 32, offset = bit % 32;
    p.w[word] |= joined << offset;
    if (offset + 2 * d > 32) p.w[word + 1] |= joined >> (32 - offset);
  }
  return p;
}

// ByteEncode_12 of 0 <= f_i < q, which are this lane's 24 bytes of the polynomial at `bytes`. The words are sums of
// products, so that the multiplier packs them; the bits of 2^23 that come along are taken off at the end.
template <int d>
WARPKEM_FN Packed<12> ByteEncode(const NttPoly& f) {
  static_assert(d == 12);
  u32 x[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) x[i] = __float_as_uint(__fadd_rn(f.c[i], integer_base));
  constexpr u32 base = integer_base_bits;
  Packed<12> p;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const u32* y = x + 8 * i;
    p.w[3 * i] = y[0] + (y[1] << 12) + (y[2] << 24) - (base + (base << 12) + (base << 24));
    p.w[3 * i + 1] = (y[2] >> 8) + (y[3] << 4) + (y[4] << 16) + (y[5] << 28) -
                     ((base >> 8) + (base << 4) + (base << 16) + (base << 28));
    p.w[3 * i + 2] = (y[5] >> 4) + (y[6] << 8) + (y[7] << 20) - ((base >> 4) + (base << 8) + (base << 20));
  }
  return p;
}

WARPKEM_FN void store_packed(const Packed<12>& p, u8* bytes, bool store, float* exchange) {
  const Moved<12> moved = spread(p, exchange);
#pragma unroll
  for (int i = 0; i < moved_words<12>; ++i) {
    if (store) reinterpret_cast<u32*>(bytes)[16 * i + lane()] = moved.w[i];
  }
}

// An entry of A: 16 * coefficient as u16; the first halves of all lanes' 16 coefficients come first, so that each load
// of 16 bytes a lane is contiguous. The result is 16 * (coefficient - 1664).
WARPKEM_FN NttPoly load_entry(const u8* entry) {
  const uint4* source = reinterpret_cast<const uint4*>(entry) + lane();
  const uint4 v0 = source[0], v1 = source[16];
  const u32 pairs[8] = {v0.x, v0.y, v0.z, v0.w, v1.x, v1.y, v1.z, v1.w};
  NttPoly a;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    constexpr float shift = integer_base + 16 * 1664;
    a.c[2 * i] = __fadd_rn(__uint_as_float(__byte_perm(pairs[i], integer_base_bits, 0x7610)), -shift);
    a.c[2 * i + 1] = __fadd_rn(__uint_as_float(__byte_perm(pairs[i], integer_base_bits, 0x7632)), -shift);
  }
  return a;
}

// Decompress_1(ByteDecode_1(m)), 0 or 1665, in the order t + 16 i.
template <int d>
WARPKEM_FN Poly Decompress(const u8* m) {
  static_assert(d == 1);
  const uint4 v0 = reinterpret_cast<const uint4*>(m)[0], v1 = reinterpret_cast<const uint4*>(m)[1];
  const u32 words[8] = {v0.x, v0.y, v0.z, v0.w, v1.x, v1.y, v1.z, v1.w};
  const u32 t = lane();
  const u32 mask = 1u << t;
  const float scale = 1665.0f * __uint_as_float((127 - t) << 23);
  const float offset = -integer_base * scale;
  Poly f;
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const u32 half = i % 2 == 0 ? words[i / 2] : words[i / 2] >> 16;
    f.c[i] = __fmaf_rn(__uint_as_float((half & mask) | integer_base_bits), scale, offset);
  }
  return f;
}

// ByteEncode_1(Compress_1(f)): lane t < 8 gets word t. |f_i| <= 4000.
WARPKEM_FN u32 compress_to_message(const Poly& f) {
  const u32 shift = threadIdx.x & 16;  // which half of the warp
  u32 word = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const u32 low = __ballot_sync(all_lanes, (Compress<1>(f.c[2 * i]) & 1) != 0);
    const u32 high = __ballot_sync(all_lanes, (Compress<1>(f.c[2 * i + 1]) & 1) != 0);
    const u32 joined = ((low >> shift) & 0xFFFF) | ((high >> shift) << 16);
    word = lane() == i ? joined : word;
  }
  return word;
}

}  // namespace warpkem::kernels::halfwarp
