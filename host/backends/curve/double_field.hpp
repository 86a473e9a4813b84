// Elements of GF(2^255 - 19) in lanes of double precision: five balanced limbs of 51 bits, each an integer in a double.
//
// A product of two limbs is split without error by two fused multiply-additions. With c = 1.5 * 2^103, whose last place
// is 2^51, high = fma(a, b, c) is c and the multiple of 2^51 nearest to a b; fma(a, b, (c + 1.5 * 2^52) - high) is
// 1.5 * 2^52 and the rest. Both are then added as integers by their bit patterns: within a binade a pattern grows by
// one for each last place, and the patterns of the constants are folded into the start values of the sums.
//
// It holds for |a b| <= 2^102: then `high` stays within 2^103 and 2^104. The caller sees to the rounding mode "to
// nearest" and to masked exceptions (`high` is inexact). No value is a denormal, an infinity or a NaN, so the time that
// the processor takes does not depend on data.
//
// `V` has the vector operations; see Avx2Doubles in x86/avx2.cpp.
#pragma once

#include <bit>

#include "host/backends/curve/lanes.hpp"

#ifdef __FAST_MATH__
#error "these doubles are integers: nothing may be reassociated"
#endif

namespace warpkem::curve {
namespace {

template <class V>
struct DoubleField {
  using D = typename V::D;
  using I = typename V::I;
  using Mask = typename V::Mask;
  static constexpr int lanes = V::lanes;

  // Reduced: |v[i]| <= reduced_bound.
  struct Element {
    D v[5];
  };
  struct Columns {
    I c[10];
  };

  static constexpr double exp2(int e) noexcept { return std::bit_cast<double>(static_cast<u64>(1023 + e) << 52); }

  static constexpr double high_anchor = 1.5 * exp2(103), low_anchor = 1.5 * exp2(52);
  static constexpr u64 high_anchor_bits = std::bit_cast<u64>(high_anchor),
                       low_anchor_bits = std::bit_cast<u64>(low_anchor);
  static constexpr u64 exponent_52 = std::bit_cast<u64>(exp2(52));

  // ---- Bounds
  static constexpr double reduced_bound = exp2(50) + exp2(14);
  static constexpr double difference_bound = exp2(50) + exp2(6);  // what difference() leaves, of two reduced elements
  static constexpr double plus_a24_bound = exp2(51) + exp2(23);   // what plus_a24() leaves
  static constexpr double product_bound = exp2(102);              // of two limbs
  static_assert(2 * reduced_bound * reduced_bound <= product_bound);  // a square doubles a limb
  static_assert(difference_bound * plus_a24_bound <= product_bound);
  static_assert(reduced_bound * (2 * reduced_bound) <=
                product_bound);  // F G of the comb: one is carried, one a plain sum
  // A column is up to five high halves and five low ones, of two products that are added; 19 times another is folded
  // onto it. The bias keeps it positive, and its carry within 12 bits.
  static constexpr double column_bound = 2 * (5 * exp2(51) + 5 * exp2(50)), folded_bound = 20 * column_bound;
  static constexpr u64 limb_bias = (u64{1} << 60) + (u64{1} << 50);
  static_assert(folded_bound + exp2(50) < exp2(60));
  // The bias's carry goes again with the constant that is subtracted at last; it must stay below 2^52.
  static constexpr u64 carry_bias = limb_bias >> 51;
  static_assert(exp2(51) + 19 * exp2(10) < exp2(52));
  static_assert(exp2(50) + 19 * (folded_bound / exp2(51) + 1) <= reduced_bound);

  // How many high and low halves column k gets; `square`: products of limbs i <= j only.
  static constexpr u64 lows(int k, bool square) noexcept {
    u64 n = 0;
    for (int i = 0; i < 5; ++i) {
      for (int j = square ? i : 0; j < 5; ++j) n += i + j == k ? 1 : 0;
    }
    return n;
  }
  struct Starts {
    u64 c[10];
  };
  static constexpr Starts starts(bool square, bool bias) noexcept {
    Starts s{};
    for (int k = 0; k < 10; ++k) {
      s.c[k] = u64{0} - lows(k, square) * low_anchor_bits - (k == 0 ? 0 : lows(k - 1, square) * high_anchor_bits);
      if (bias && k < 5) s.c[k] += limb_bias;
    }
    return s;
  }

  WARPKEM_CURVE_INLINE static void multiply_add(Columns& s, int k, D a, D b) noexcept {
    const D high = V::fma(a, b, V::set(high_anchor));
    const D low = V::fma(a, b, V::sub(V::set(high_anchor + low_anchor), high));
    s.c[k] = V::add(s.c[k], V::bits(low));
    s.c[k + 1] = V::add(s.c[k + 1], V::bits(high));
  }

  template <bool bias>
  WARPKEM_CURVE_INLINE static Columns product(const Element& a, const Element& b) noexcept {
    constexpr Starts start = starts(false, bias);
    Columns s;
    unroll<10>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::set(start.c[k]); });
    unroll<9>([&](auto k) __attribute__((always_inline)) {
      unroll<5>([&](auto i) __attribute__((always_inline)) {
        constexpr int j = k - i;
        if constexpr (j >= 0 && j < 5) multiply_add(s, k, a.v[i], b.v[j]);
      });
    });
    return s;
  }
  template <bool bias>
  WARPKEM_CURVE_INLINE static Columns square(const Element& a) noexcept {
    constexpr Starts start = starts(true, bias);
    Columns s;
    D twice[4];
    unroll<10>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::set(start.c[k]); });
    unroll<4>([&](auto i) __attribute__((always_inline)) { twice[i] = V::add(a.v[i], a.v[i]); });
    unroll<9>([&](auto k) __attribute__((always_inline)) {
      unroll<5>([&](auto i) __attribute__((always_inline)) {
        constexpr int j = k - i;
        if constexpr (j == i) multiply_add(s, k, a.v[i], a.v[i]);
        if constexpr (j > i && j < 5) multiply_add(s, k, twice[i], a.v[j]);
      });
    });
    return s;
  }

  using Square = Element;
  WARPKEM_CURVE_INLINE static Square minuend(const Element& a) noexcept { return reduce(square<true>(a)); }
  WARPKEM_CURVE_INLINE static Square subtrahend(const Element& a) noexcept { return reduce(square<true>(a)); }
  WARPKEM_CURVE_INLINE static const Element& reduce(const Square& s) noexcept { return s; }

  using Multiples = Element;
  WARPKEM_CURVE_INLINE static void multiples(const Element& x, Multiples& m) noexcept { m = x; }
  WARPKEM_CURVE_INLINE static Columns multiple_of(const Multiples& x, const Element& a) noexcept {
    return product<false>(x, a);
  }

  WARPKEM_CURVE_INLINE static Columns plus(const Columns& p, const Columns& q) noexcept {
    Columns s;
    unroll<10>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::add(p.c[k], q.c[k]); });
    return s;
  }
  WARPKEM_CURVE_INLINE static Columns minus(const Columns& p, const Columns& q) noexcept {
    Columns s;
    unroll<10>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::sub(p.c[k], q.c[k]); });
    return s;
  }

  // All carries at once: each column gives what is above its 51 bits to the next, and that is little enough.
  WARPKEM_CURVE_INLINE static Element reduce(const Columns& s) noexcept {
    I low[5], carry[5];
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      const I x = s.c[k + 5], x_2 = V::add(x, x), x_16 = V::hidden(V::template shift_left<4>(x));
      const I folded = V::add(V::add(s.c[k], x), V::add(x_2, x_16));
      carry[k] = V::template shift_right<51>(folded);
      low[k] = V::bit_or(V::bit_and(folded, V::set(mask_51)), V::set(exponent_52));
    });
    carry[4] = V::multiply_u32(carry[4], V::set(u64{19}));
    Element e;
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      constexpr double carried = static_cast<double>((k == 0 ? 19 : 1) * carry_bias);
      e.v[k] = V::sub(V::as_double(V::add(low[k], carry[(k + 4) % 5])), V::set(exp2(52) + exp2(50) + carried));
    });
    return e;
  }
  WARPKEM_CURVE_INLINE static Element reduce_exactly(const Columns& s) noexcept { return reduce(s); }

  // Balances limbs of up to 2^52: to difference_bound.
  WARPKEM_CURVE_INLINE static Element carry(const Element& a) noexcept {
    D high[5], low[5];
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      high[k] = V::sub(V::add(a.v[k], V::set(high_anchor)), V::set(high_anchor));
      low[k] = V::sub(a.v[k], high[k]);
    });
    Element e;
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      constexpr double unit = (k == 0 ? 19 : 1) * exp2(-51);
      e.v[k] = V::fma(high[(k + 4) % 5], V::set(unit), low[k]);
    });
    return e;
  }
  // Of reduced elements, and reduced as well.
  WARPKEM_CURVE_INLINE static Element difference(const Element& a, const Element& b) noexcept {
    Element d;
    unroll<5>([&](auto k) __attribute__((always_inline)) { d.v[k] = V::sub(a.v[k], b.v[k]); });
    return carry(d);
  }
  WARPKEM_CURVE_INLINE static Element sum_of(const Element& a, const Element& b) noexcept {
    Element s;
    unroll<5>([&](auto k) __attribute__((always_inline)) { s.v[k] = V::add(a.v[k], b.v[k]); });
    return carry(s);
  }

  // AA + a24 E, of what difference() left: not reduced, but good for a product with E.
  static_assert(reduced_bound + exp2(50) + 19 * (double{curve_a24} * difference_bound / exp2(51) + 1) <=
                plus_a24_bound);
  WARPKEM_CURVE_INLINE static Element plus_a24(const Element& AA, const Element& E) noexcept {
    const D a24 = V::set(double{curve_a24});
    D high[5], low[5];
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      high[k] = V::sub(V::fma(E.v[k], a24, V::set(high_anchor)), V::set(high_anchor));
      low[k] = V::add(V::fma(E.v[k], a24, V::negate(high[k])), AA.v[k]);
    });
    Element e;
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      constexpr double unit = (k == 0 ? 19 : 1) * exp2(-51);
      e.v[k] = V::fma(high[(k + 4) % 5], V::set(unit), low[k]);
    });
    return e;
  }

  WARPKEM_CURVE_INLINE static Element select(Mask mask, const Element& a, const Element& b) noexcept {
    Element e;
    unroll<5>([&](auto k) __attribute__((always_inline)) { e.v[k] = V::select(mask, a.v[k], b.v[k]); });
    return e;
  }
  WARPKEM_CURVE_INLINE static Element small(int x) noexcept {
    return {{V::set(static_cast<double>(x)), V::set(0.0), V::set(0.0), V::set(0.0), V::set(0.0)}};
  }

  // ---- Bits of scalars, a word of 64 to a lane
  using Bits = I;
  WARPKEM_CURVE_INLINE static Bits load_word(const u64 (&w)[lanes]) noexcept { return V::load(w); }
  WARPKEM_CURVE_INLINE static Bits next_bit(Bits bits) noexcept { return V::add(bits, bits); }
  WARPKEM_CURVE_INLINE static Mask top_bit(Bits bits) noexcept { return V::top_bit(bits); }
  WARPKEM_CURVE_INLINE static Bits next_window(Bits bits) noexcept {
    return V::template shift_right<window_bits>(bits);
  }

  // ---- In and out

  // Of 256-bit numbers below 2^255: balanced.
  WARPKEM_CURVE_INLINE static Element load(const u64 (&w)[5][lanes]) noexcept {
    const I w0 = V::load(w[0]), w1 = V::load(w[1]), w2 = V::load(w[2]), w3 = V::load(w[3]);
    const I limbs[5] = {w0, V::bit_or(V::template shift_right<51>(w0), V::template shift_left<13>(w1)),
                        V::bit_or(V::template shift_right<38>(w1), V::template shift_left<26>(w2)),
                        V::bit_or(V::template shift_right<25>(w2), V::template shift_left<39>(w3)),
                        V::template shift_right<12>(w3)};
    Element e;
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      const I pattern = V::bit_or(V::bit_and(limbs[k], V::set(mask_51)), V::set(exponent_52));
      e.v[k] = V::sub(V::as_double(pattern), V::set(exp2(52)));
    });
    return carry(e);
  }
  // Of a reduced element: limbs of 51 bits that are not negative, for 4 p is added.
  WARPKEM_CURVE_INLINE static void store(const Element& a, u64 (&limbs)[5][lanes]) noexcept {
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      constexpr u64 start = 4 * mask_51 - (k == 0 ? 72 : 0) - low_anchor_bits;
      V::store(limbs[k], V::add(V::bits(V::add(a.v[k], V::set(low_anchor))), V::set(start)));
    });
  }
  WARPKEM_CURVE_INLINE static void plus_minus_one(const Element& a, Element& plus, Element& minus) noexcept {
    plus = minus = a;
    plus.v[0] = V::add(a.v[0], V::set(1.0));
    minus.v[0] = V::sub(a.v[0], V::set(1.0));
  }

  // ---- The comb

  struct Point {
    Element plus, minus, product;
  };
  using Digit = typename V::Digit;
  WARPKEM_CURVE_INLINE static Digit digit(Bits bits) noexcept { return V::digit(bits); }

  // Three elements' five limbs, each of 16 points.
  struct alignas(64) TableEntry {
    double limbs[3][5][window_entries];
  };
  struct Table {
    TableEntry entries[num_windows];

    Table() noexcept {
      for (int i = 0; i < num_windows; ++i) {
        for (int e = 0; e < window_entries; ++e) {
          u8 point[3][x25519_bytes];
          comb_entry(i, e, point);
          for (int c = 0; c < 3; ++c) {
            const Limbs51 limbs = limbs_of(load_words(point[c]));
            i64 carry = 0;
            for (int k = 0; k < 5; ++k) {
              const i64 limb = static_cast<i64>(limbs.v[k]) + carry;
              carry = (limb + (i64{1} << 50)) >> 51;
              entries[i].limbs[c][k][e] = static_cast<double>(limb - carry * (i64{1} << 51));
            }
            entries[i].limbs[c][0][e] += static_cast<double>(19 * carry);
          }
        }
      }
    }
  };

  // The point of a digit; a negative one has y + x and y - x exchanged, and the product negated.
  WARPKEM_CURVE_INLINE static Point look_up(const TableEntry& table, const Digit& digit) noexcept {
    Point q;
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      const D plus = V::look_up(table.limbs[0][k], digit), minus = V::look_up(table.limbs[1][k], digit);
      q.plus.v[k] = V::select(V::negative(digit), plus, minus);
      q.minus.v[k] = V::select(V::negative(digit), minus, plus);
      q.product.v[k] = V::negate_if(digit, V::look_up(table.limbs[2][k], digit));
    });
    return q;
  }

  // F = Z - T q and G = Z + T q. F is carried, so that F G is within bounds.
  WARPKEM_CURVE_INLINE static void minus_and_plus(const Element& Z, const Element& T, const Point& q, Element& minus,
                                                  Element& plus) noexcept {
    const Element C = reduce(product<true>(T, q.product));
    minus = difference(Z, C);
    unroll<5>([&](auto k) __attribute__((always_inline)) { plus.v[k] = V::add(Z.v[k], C.v[k]); });
  }
};

}  // namespace
}  // namespace warpkem::curve
