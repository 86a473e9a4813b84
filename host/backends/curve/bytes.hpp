// Scalars and u-coordinates as RFC 7748, Section 5 reads them, and what a fixed-base comb needs of a scalar. Everything
// is in an anonymous namespace: each file that includes this is compiled for another CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace warpkem::curve {
namespace {

using i64 = std::int64_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using u8 = std::uint8_t;

#define WARPKEM_CURVE_INLINE [[gnu::always_inline]] inline

// Stops the compiler from deriving facts about x, with which it could turn masks into branches.
WARPKEM_CURVE_INLINE u64 value_barrier(u64 x) noexcept {
  asm("" : "+r"(x));
  return x;
}

// A number of 256 bits, least significant word first.
struct Words {
  u64 w[4];
};

WARPKEM_CURVE_INLINE Words load_words(const u8* bytes) noexcept {
  Words words;
  std::memcpy(words.w, bytes, sizeof words.w);
  return words;
}
WARPKEM_CURVE_INLINE void store_words(const Words& words, u8* bytes) noexcept {
  std::memcpy(bytes, words.w, sizeof words.w);
}

// decodeScalar25519: the scalar is 2^254 + 8 * (0 .. 2^251 - 1).
WARPKEM_CURVE_INLINE Words DecodeScalar25519(const u8* k) noexcept {
  Words words = load_words(k);
  words.w[0] &= ~u64{7};
  words.w[3] = (words.w[3] & (~u64{0} >> 1)) | u64{1} << 62;
  return words;
}

// decodeUCoordinate: below 2^255, not necessarily below p.
WARPKEM_CURVE_INLINE Words DecodeUCoordinate(const u8* u) noexcept {
  Words words = load_words(u);
  words.w[3] &= ~u64{0} >> 1;
  return words;
}

WARPKEM_CURVE_INLINE Words half_of(const Words& x) noexcept {
  Words half;
  for (int i = 0; i < 4; ++i) half.w[i] = x.w[i] >> 1 | (i < 3 ? x.w[i + 1] << 63 : 0);
  return half;
}

// Where the ladder swaps: bit t of k ^ (k >> 1) says whether bits t and t + 1 of the scalar differ.
WARPKEM_CURVE_INLINE Words swaps_of(const Words& k) noexcept {
  Words swaps = half_of(k);
  for (int i = 0; i < 4; ++i) swaps.w[i] ^= k.w[i];
  return swaps;
}

// ---- The comb: 51 windows of 5 bits.
//
// A clamped scalar k is even, and the base point B has the odd order L; so k B = n B with n = k - L, which is odd and
// between 0 and 2^255. Such an n is the sum of (2 m_j - 1) 2^j over the bits m_j of m = (n - 1) / 2 + 2^254. Five bits
// of m are a number w. Its digit is 2 w - 31: odd, from -31 to 31. No digit is zero, so the table has no entry for
// zero.

constexpr int num_windows = 51, window_bits = 5, window_entries = 16;  // entry e of window i: (2 e + 1) 2^(5 i) B

// 2^254 - (L + 1) / 2, with L = 2^252 + 27742317777372353535851937790883648493.
constexpr Words comb_scalar = {{0xd3f6ce72d1851609, 0xf5908310ae843194, 0xffffffffffffffff, 0x37ffffffffffffff}};
constexpr Words group_order = {{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000}};

constexpr Words sum(const Words& a, const Words& b, u64 carry = 0) noexcept {
  Words s{};
  for (int i = 0; i < 4; ++i) {
    const u64 half = a.w[i] + carry;
    s.w[i] = half + b.w[i];
    carry = static_cast<u64>(half < carry) + static_cast<u64>(s.w[i] < half);
  }
  return s;
}

// 2 comb_scalar + L + 1 = 2^255
constexpr Words comb_check = sum(sum(comb_scalar, comb_scalar), group_order, 1);
static_assert(comb_check.w[0] == 0 && comb_check.w[1] == 0 && comb_check.w[2] == 0 && comb_check.w[3] == u64{1} << 63);

// The windows of m, twelve to a word: window i is bits 5 (i % 12) and on of word i / 12.
constexpr int windows_in_word = 12, window_words = 5;
struct CombDigits {
  u64 w[window_words];
};

WARPKEM_CURVE_INLINE CombDigits comb_digits(const Words& k) noexcept {
  const Words m = sum(half_of(k), comb_scalar);
  constexpr u64 mask = (u64{1} << 60) - 1;
  return {{m.w[0] & mask, (m.w[0] >> 60 | m.w[1] << 4) & mask, (m.w[1] >> 56 | m.w[2] << 8) & mask,
           (m.w[2] >> 52 | m.w[3] << 12) & mask, m.w[3] >> 48}};
}

// ---- Elements of GF(p), p = 2^255 - 19, in five limbs of 51 bits

constexpr u64 mask_51 = (u64{1} << 51) - 1;

struct Limbs51 {
  u64 v[5];
};

WARPKEM_CURVE_INLINE Limbs51 limbs_of(const Words& x) noexcept {
  return {{x.w[0] & mask_51, (x.w[0] >> 51 | x.w[1] << 13) & mask_51, (x.w[1] >> 38 | x.w[2] << 26) & mask_51,
           (x.w[2] >> 25 | x.w[3] << 39) & mask_51, x.w[3] >> 12}};
}

// The residue of a number whose limbs are below 2^63.
WARPKEM_CURVE_INLINE Words canonical(Limbs51 x) noexcept {
  for (int pass = 0; pass < 2; ++pass) {  // after the first all but limb 0 fit, which is below 2^51 + 2^17
    for (int i = 0; i < 4; ++i) x.v[i + 1] += x.v[i] >> 51, x.v[i] &= mask_51;
    x.v[0] += 19 * (x.v[4] >> 51), x.v[4] &= mask_51;
  }
  // Now x < 2^255 + 2^17 at most, with limbs that may overlap by a carry: x + 19 has bit 255 if and only if x >= p.
  u64 carry = (x.v[0] + 19) >> 51;
  for (int i = 1; i < 5; ++i) carry = (x.v[i] + carry) >> 51;
  x.v[0] += 19 * carry;
  for (int i = 0; i < 4; ++i) x.v[i + 1] += x.v[i] >> 51, x.v[i] &= mask_51;
  x.v[4] &= mask_51;
  return {
      {x.v[0] | x.v[1] << 51, x.v[1] >> 13 | x.v[2] << 38, x.v[2] >> 26 | x.v[3] << 25, x.v[3] >> 39 | x.v[4] << 12}};
}

// All ones if x is zero, else zero.
WARPKEM_CURVE_INLINE u64 zero_mask(const Words& x) noexcept {
  const u64 any = value_barrier(x.w[0] | x.w[1] | x.w[2] | x.w[3]);
  return ((any | (u64{0} - any)) >> 63) - 1;
}

// Hides a constant, so that no copy of a function is made for it.
WARPKEM_CURVE_INLINE int opaque(int n) noexcept {
  asm("" : "+r"(n));
  return n;
}

// Makes z^(p - 2) of z, which is 1 / z, and 0 for 0. `G` has square(a, n), which squares n times, and
// multiply(product, a, b). In few variables, for elements in lanes are large; the comments say z to the power of what.
template <class G, class Element>
WARPKEM_CURVE_INLINE void invert(Element& z) noexcept {
  Element a = z, b, c, d;
  G::square(a, opaque(1));  // 2
  b = a;
  G::square(b, opaque(2));
  G::multiply(b, b, z);  // 9
  G::multiply(a, a, b);  // 11, and stays
  c = a;
  G::square(c, opaque(1));
  G::multiply(b, c, b);  // 2^5 - 1
  c = b;
  G::square(c, opaque(5));
  G::multiply(b, c, b);  // 2^10 - 1
  c = b;
  G::square(c, opaque(10));
  G::multiply(c, c, b);  // 2^20 - 1
  d = c;
  G::square(d, opaque(20));
  G::multiply(c, d, c);  // 2^40 - 1
  G::square(c, opaque(10));
  G::multiply(b, c, b);  // 2^50 - 1
  c = b;
  G::square(c, opaque(50));
  G::multiply(c, c, b);  // 2^100 - 1
  d = c;
  G::square(d, opaque(100));
  G::multiply(c, d, c);  // 2^200 - 1
  G::square(c, opaque(50));
  G::multiply(b, c, b);  // 2^250 - 1
  G::square(b, opaque(5));
  G::multiply(z, b, a);  // 2^255 - 2^5 + 11 = p - 2
}

}  // namespace
}  // namespace warpkem::curve
