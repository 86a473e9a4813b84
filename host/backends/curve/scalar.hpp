// X25519 one item at a time: the specification that the lanes are compared with, and what they leave to it (a batch of
// one). Everything is in an anonymous namespace: each file that includes this is compiled for another CPU.
#pragma once

#include "host/backends/curve/bytes.hpp"
#include "host/backends/curve/x25519.hpp"
#include "host/core/ct.hpp"
#include "host/core/secure.hpp"

namespace warpkem::curve {
namespace {

#ifdef __SIZEOF_INT128__

// Limbs of 51 bits. Products take limbs below 2^54 and leave limbs below 2^51, or 2^51 + 2^13 for limb 1.
struct Field {
  __extension__ typedef unsigned __int128 Wide;

  struct Element {
    u64 v[5];
  };

  static constexpr u64 product_limit = u64{1} << 54;
  static constexpr u64 reduced_limit = (u64{1} << 51) + (u64{1} << 13);
  // A column is at most (1 + 4 * 19) products, and must leave room for a carry.
  static_assert(Wide{product_limit} * product_limit <= ~Wide{0} / 78);
  // What add() and subtract() make of reduced elements may be multiplied.
  static_assert(2 * reduced_limit <= product_limit && reduced_limit + (u64{1} << 53) <= product_limit);

  WARPKEM_CURVE_INLINE static Element decode(const Words& x) noexcept {
    const Limbs51 limbs = limbs_of(x);
    Element e;
    for (int i = 0; i < 5; ++i) e.v[i] = limbs.v[i];
    return e;
  }
  WARPKEM_CURVE_INLINE static Words encode(const Element& a) noexcept {
    Limbs51 limbs;
    for (int i = 0; i < 5; ++i) limbs.v[i] = a.v[i];
    return canonical(limbs);
  }
  static constexpr Element small(u32 x) noexcept { return {{x, 0, 0, 0, 0}}; }

  WARPKEM_CURVE_INLINE static Element add(const Element& a, const Element& b) noexcept {
    Element s;
    for (int i = 0; i < 5; ++i) s.v[i] = a.v[i] + b.v[i];
    return s;
  }
  // b is reduced: 4 p is added, whose limbs are at least 2^53 - 76.
  WARPKEM_CURVE_INLINE static Element subtract(const Element& a, const Element& b) noexcept {
    Element d;
    for (int i = 0; i < 5; ++i) d.v[i] = a.v[i] + (4 * mask_51 - (i == 0 ? 72 : 0)) - b.v[i];
    return d;
  }

  WARPKEM_CURVE_INLINE static Element carry(Wide c0, Wide c1, Wide c2, Wide c3, Wide c4) noexcept {
    c1 += static_cast<u64>(c0 >> 51);
    c2 += static_cast<u64>(c1 >> 51);
    c3 += static_cast<u64>(c2 >> 51);
    c4 += static_cast<u64>(c3 >> 51);
    // Column 4 has no wrapped product: it is below 5 * 2^108 + 2^64, so 19 times its carry is below 2^63.6.
    const u64 low = (static_cast<u64>(c0) & mask_51) + 19 * static_cast<u64>(c4 >> 51);
    Element e;
    e.v[0] = low & mask_51;
    e.v[1] = (static_cast<u64>(c1) & mask_51) + (low >> 51);
    e.v[2] = static_cast<u64>(c2) & mask_51;
    e.v[3] = static_cast<u64>(c3) & mask_51;
    e.v[4] = static_cast<u64>(c4) & mask_51;
    return e;
  }
  WARPKEM_CURVE_INLINE static Element multiply(const Element& a, const Element& b) noexcept {
    const u64 a0 = a.v[0], a1 = a.v[1], a2 = a.v[2], a3 = a.v[3], a4 = a.v[4];
    const u64 b0 = b.v[0], b1 = b.v[1], b2 = b.v[2], b3 = b.v[3], b4 = b.v[4];
    const u64 w1 = 19 * b1, w2 = 19 * b2, w3 = 19 * b3, w4 = 19 * b4;
    return carry(Wide{a0} * b0 + Wide{a1} * w4 + Wide{a2} * w3 + Wide{a3} * w2 + Wide{a4} * w1,
                 Wide{a0} * b1 + Wide{a1} * b0 + Wide{a2} * w4 + Wide{a3} * w3 + Wide{a4} * w2,
                 Wide{a0} * b2 + Wide{a1} * b1 + Wide{a2} * b0 + Wide{a3} * w4 + Wide{a4} * w3,
                 Wide{a0} * b3 + Wide{a1} * b2 + Wide{a2} * b1 + Wide{a3} * b0 + Wide{a4} * w4,
                 Wide{a0} * b4 + Wide{a1} * b3 + Wide{a2} * b2 + Wide{a3} * b1 + Wide{a4} * b0);
  }
  WARPKEM_CURVE_INLINE static Element square(const Element& a) noexcept {
    const u64 a0 = a.v[0], a1 = a.v[1], a2 = a.v[2], a3 = a.v[3], a4 = a.v[4];
    const u64 d0 = 2 * a0, d1 = 2 * a1, d2 = 2 * a2, w3 = 19 * a3, w4 = 19 * a4;
    return carry(Wide{a0} * a0 + Wide{d1} * w4 + Wide{d2} * w3, Wide{d0} * a1 + Wide{d2} * w4 + Wide{a3} * w3,
                 Wide{d0} * a2 + Wide{a1} * a1 + Wide{2 * a3} * w4, Wide{d0} * a3 + Wide{d1} * a2 + Wide{a4} * w4,
                 Wide{d0} * a4 + Wide{d1} * a3 + Wide{a2} * a2);
  }
  WARPKEM_CURVE_INLINE static Element times_a24(const Element& a) noexcept {  // (A - 2) / 4, A = 486662
    constexpr u64 a24 = 121665;
    return carry(Wide{a.v[0]} * a24, Wide{a.v[1]} * a24, Wide{a.v[2]} * a24, Wide{a.v[3]} * a24, Wide{a.v[4]} * a24);
  }

  // `mask` is all ones or zero.
  WARPKEM_CURVE_INLINE static void swap(u64 mask, Element& a, Element& b) noexcept {
    for (int i = 0; i < 5; ++i) {
      const u64 difference = (a.v[i] ^ b.v[i]) & mask;
      a.v[i] ^= difference, b.v[i] ^= difference;
    }
  }
  WARPKEM_CURVE_INLINE static void add_masked(u64 mask, const Element& a, Element& sum) noexcept {
    for (int i = 0; i < 5; ++i) sum.v[i] |= a.v[i] & mask;
  }
};

#else

// For machines whose largest product has 64 bits: ten signed limbs of 26 and 25 bits in turn, at bits 0, 26, 51, 77 ...
// Products take limbs up to 2^26.6 (2^25.6 for odd ones), and leave them up to 2^25 (2^24) and a little.
struct Field {
  using i32 = std::int32_t;

  struct Element {
    i32 v[10];
  };

  static constexpr int bits(int i) noexcept { return i % 2 == 0 ? 26 : 25; }

  static Element decode(const Words& x) noexcept {
    i64 h[10];
    const Limbs51 limbs = limbs_of(x);
    for (int i = 0; i < 5; ++i) {
      h[2 * i] = static_cast<i64>(limbs.v[i] & ((u64{1} << 26) - 1));
      h[2 * i + 1] = static_cast<i64>(limbs.v[i] >> 26);
    }
    return carry(h);
  }
  static Words encode(const Element& a) noexcept {
    Limbs51 limbs;
    for (int i = 0; i < 5; ++i) {  // 4 p keeps the sums positive
      const i64 limb = i64{a.v[2 * i]} + (i64{a.v[2 * i + 1]} * (1 << 26));
      limbs.v[i] = static_cast<u64>(limb + static_cast<i64>(4 * mask_51 - (i == 0 ? 72 : 0)));
    }
    return canonical(limbs);
  }
  static constexpr Element small(u32 x) noexcept { return {{static_cast<i32>(x)}}; }

  static Element add(const Element& a, const Element& b) noexcept {
    Element s;
    for (int i = 0; i < 10; ++i) s.v[i] = a.v[i] + b.v[i];
    return s;
  }
  static Element subtract(const Element& a, const Element& b) noexcept {
    Element d;
    for (int i = 0; i < 10; ++i) d.v[i] = a.v[i] - b.v[i];
    return d;
  }

  // Rounds to the nearest multiple, so that limbs are balanced. The limbs that begin are far from each other: two
  // chains of carries, then the two limbs that got the last ones. |h| < 2^62.
  static Element carry(i64 (&h)[10]) noexcept {
    const auto step = [&h](int i) {
      const i64 c = (h[i] + (i64{1} << (bits(i) - 1))) >> bits(i);
      h[i] -= c * (i64{1} << bits(i));
      h[(i + 1) % 10] += i == 9 ? 19 * c : c;
    };
    for (int i = 0; i < 10; ++i) step(i);
    step(0);
    step(1);
    Element e;
    for (int i = 0; i < 10; ++i) e.v[i] = static_cast<i32>(h[i]);
    return e;
  }
  // Limbs i and j meet at bit ceil(25.5 i) + ceil(25.5 j), one above limb i + j if both are odd.
  static Element multiply(const Element& a, const Element& b) noexcept {
    i64 h[10] = {};
    for (int i = 0; i < 10; ++i) {
      for (int j = 0; j < 10; ++j) {
        const i32 factor = (i % 2 != 0 && j % 2 != 0 ? 2 : 1) * (i + j >= 10 ? 19 : 1);
        h[(i + j) % 10] += i64{a.v[i]} * (i64{b.v[j]} * factor);
      }
    }
    return carry(h);
  }
  static Element square(const Element& a) noexcept { return multiply(a, a); }
  static Element times_a24(const Element& a) noexcept {
    i64 h[10];
    for (int i = 0; i < 10; ++i) h[i] = i64{a.v[i]} * 121665;
    return carry(h);
  }

  static void swap(u64 mask, Element& a, Element& b) noexcept {
    for (int i = 0; i < 10; ++i) {
      const i32 difference = (a.v[i] ^ b.v[i]) & static_cast<i32>(mask);
      a.v[i] ^= difference, b.v[i] ^= difference;
    }
  }
  static void add_masked(u64 mask, const Element& a, Element& sum) noexcept {
    for (int i = 0; i < 10; ++i) sum.v[i] |= a.v[i] & static_cast<i32>(mask);
  }
};

#endif

using Element = Field::Element;

// What invert() needs.
struct FieldPowers {
  [[gnu::noinline]] static void square(Element& a, int times) noexcept {
    Element s = a;
    do s = Field::square(s);
    while (--times != 0);
    a = s;
  }
  [[gnu::noinline]] static void multiply(Element& product, const Element& a, const Element& b) noexcept {
    product = Field::multiply(a, b);
  }
};

[[gnu::noinline]] inline Element inverse(Element z) noexcept {
  invert<FieldPowers>(z);
  return z;
}

// X25519, RFC 7748, Section 5. Only the inputs of AA and BB are swapped: an exchange of (x_2, z_2) and (x_3, z_3)
// leaves DA + CB as it is, and changes DA - CB by a sign that is squared away.
[[gnu::noinline]] inline Words X25519(const u8* k, const u8* u) noexcept {
  const Words swaps = swaps_of(DecodeScalar25519(k));
  const Element x_1 = Field::decode(DecodeUCoordinate(u));
  Element x_2 = Field::small(1), z_2 = Field::small(0), x_3 = x_1, z_3 = Field::small(1);
  for (int t = 254; t >= 0; --t) {
    Element A = Field::add(x_2, z_2), B = Field::subtract(x_2, z_2);
    Element C = Field::add(x_3, z_3), D = Field::subtract(x_3, z_3);
    const Element DA = Field::multiply(D, A), CB = Field::multiply(C, B);
    const u64 mask = value_barrier(u64{0} - (swaps.w[t / 64] >> (t % 64) & 1));
    Field::swap(mask, A, C);
    Field::swap(mask, B, D);
    const Element AA = Field::square(A), BB = Field::square(B), E = Field::subtract(AA, BB);
    x_3 = Field::square(Field::add(DA, CB));
    z_3 = Field::multiply(x_1, Field::square(Field::subtract(DA, CB)));
    x_2 = Field::multiply(AA, BB);
    z_2 = Field::multiply(E, Field::add(AA, Field::times_a24(E)));
  }
  return Field::encode(Field::multiply(x_2, inverse(z_2)));  // the scalar's last bit is 0: nothing is left to swap
}

// ---- The base point's multiples, on the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2 whose y is
// (u - 1) / (u + 1). All is halved, which changes no ratio and saves a doubling: (y + x) / 2, (y - x) / 2, d x y.

struct CombPoint {
  Element plus, minus, product;
};
struct CombTable {
  CombPoint points[num_windows][window_entries];
};

// A point (X : Y : Z) with X Y = Z T, as sum Y + X, difference Y - X, Z and T.
struct CombSum {
  Element sum, difference, Z, T;

  static CombSum neutral() noexcept { return {Field::small(1), Field::small(1), Field::small(1), Field::small(0)}; }

  // Complete: right for all points, equal ones and the neutral one included. Leaves Z and T, and gives X and Y, of
  // which the caller makes `sum` and `difference`.
  WARPKEM_CURVE_INLINE void add(const CombPoint& q, Element& X, Element& Y) noexcept {
    const Element A = Field::multiply(difference, q.minus), B = Field::multiply(sum, q.plus);
    const Element C = Field::multiply(T, q.product);
    const Element E = Field::subtract(B, A), H = Field::add(B, A);
    const Element F = Field::subtract(Z, C), G = Field::add(Z, C);
    X = Field::multiply(E, F);
    Y = Field::multiply(G, H);
    Z = Field::multiply(F, G);
    T = Field::multiply(E, H);
  }
};

// k B, u = (Z + Y) / (Z - Y). Z = Y for the neutral element only, which no clamped scalar gives: it would be a multiple
// of 8 L, and 8 L is above 2^255.
[[gnu::noinline]] inline Words public_key_of(const u8* k, const CombTable& table) noexcept {
  const CombDigits digits = comb_digits(DecodeScalar25519(k));
  CombSum point = CombSum::neutral();
  Element Y;
  for (int i = 0; i < num_windows; ++i) {
    const u64 w = digits.w[i / windows_in_word] >> (window_bits * (i % windows_in_word)) & 31;
    const u64 negative = value_barrier((w >> 4) - 1);  // all ones if the digit is below 0
    const u64 entry = (w ^ negative) & 15;
    CombPoint q = {};
    for (u64 e = 0; e < window_entries; ++e) {  // reads all of them
      const u64 mask = value_barrier(((e ^ entry) - 1) >> 63);
      const CombPoint& from = table.points[i][e];
      Field::add_masked(u64{0} - mask, from.plus, q.plus);
      Field::add_masked(u64{0} - mask, from.minus, q.minus);
      Field::add_masked(u64{0} - mask, from.product, q.product);
    }
    Field::swap(negative, q.plus, q.minus);
    Element negated = Field::subtract(Field::small(0), q.product);
    Field::swap(negative, q.product, negated);
    Element X;
    point.add(q, X, Y);
    point.sum = Field::add(Y, X);
    point.difference = Field::subtract(Y, X);
  }
  return Field::encode(Field::multiply(Field::add(point.Z, Y), inverse(Field::subtract(point.Z, Y))));
}

// ---- Batches

// Overwrites the part of the stack that was used by functions that the caller has called.
[[gnu::noinline]] inline void clear_stack() noexcept {
  u8 below[6144];
  host::wipe(below, sizeof below);
}

[[gnu::noinline]] inline void derive_items(const Derive& b, std::size_t first, std::size_t last) noexcept {
  for (std::size_t i = first; i < last; ++i) {
    const Words result = X25519(b.k[i], b.u[i]);
    if (b.is_zero != nullptr) b.is_zero[i] = static_cast<u8>(zero_mask(result) & 1);
    store_words(result, b.result[i]);
  }
}

[[gnu::noinline]] inline void public_key_items(const PublicKey& b, std::size_t first, std::size_t last,
                                               const CombTable& table) noexcept {
  for (std::size_t i = first; i < last; ++i) store_words(public_key_of(b.k[i], table), b.result[i]);
}

}  // namespace
}  // namespace warpkem::curve
