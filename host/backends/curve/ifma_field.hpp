// Elements of GF(2^255 - 19) in lanes of 52-bit integer multiply-additions (AVX-512 IFMA): five limbs, at bits 0, 52,
// 104, 156 and 208, of which the last has 47 bits and a little. The high half of a product of two limbs then belongs to
// the next limb as it is.
//
// Multiply-additions ignore what lies above bit 52 of their operands. So carries go up without a mask, and limbs 0 to 3
// may have anything there; what counts is their low 52 bits, which have to be exact. Only the last limb has slack.
//
// `V` has the vector operations; see Avx512Integers in x86/avx512_ifma.cpp.
#pragma once

#include "host/backends/curve/lanes.hpp"

namespace warpkem::curve {
namespace {

template <class V>
struct IfmaField {
  using I = typename V::I;
  using Mask = typename V::Mask;
  static constexpr int lanes = V::lanes;

  // Reduced: v[4] < top_bound. Exact: limbs 0 to 3 are below 2^52 as well.
  struct Element {
    I v[5];
  };
  // Five columns: those from 2^260 on are folded onto them.
  struct Columns {
    I c[5];
  };

  __extension__ typedef unsigned __int128 Wide;
  static constexpr Wide power(int e) noexcept { return Wide{1} << e; }
  static constexpr u64 mask_52 = (u64{1} << 52) - 1, mask_47 = (u64{1} << 47) - 1;

  static constexpr u64 four_p[5] = {2 * mask_52 - 74, 2 * mask_52, 2 * mask_52, 2 * mask_52, (u64{1} << 49) - 2};

  // ---- Bounds
  static constexpr Wide top_bound = power(47) + 64;
  // What a column of a product has at most, in units of 2^52: column 4 its 5 low and 4 high halves, and 2 of what
  // columns 8 and 9 give when they are folded; columns of multiple_of() 5, 5 and 1.
  static constexpr u64 units_bound = 11;
  // Column 9 has the high half of the last limbs' product, and a carry. Times 608 it has 52 bits still, so the low half
  // is all of that.
  static_assert(608 * ((top_bound * top_bound >> 52) + 16) < power(52));
  // What is added before another product's columns are subtracted: a multiple of p, each column of which is at least as
  // large as what a product can have there. Half of it is one as well: squares double it.
  struct Bias {
    u64 half[5], whole[5];
  };
  static constexpr Bias make_bias() noexcept {
    Bias bias{};
    Wide residue[5] = {};
    for (int k = 0; k < 5; ++k) residue[k] = bias.half[k] = (units_bound + 1) / 2 << 52;
    for (int pass = 0; pass < 3; ++pass) {
      for (int k = 0; k < 4; ++k) residue[k + 1] += residue[k] >> 52, residue[k] &= mask_52;
      residue[0] += 19 * (residue[4] >> 47), residue[4] &= mask_47;
    }
    for (int k = 0; k < 4; ++k) residue[k + 1] += residue[k] >> 52, residue[k] &= mask_52;
    for (int k = 0; k < 5; ++k) {  // 4 p less the residue makes it a multiple
      bias.half[k] += four_p[k] - static_cast<u64>(residue[k]);
      bias.whole[k] = 2 * bias.half[k];
    }
    return bias;
  }
  static constexpr Bias limb_bias = make_bias();
  static constexpr bool bounds_hold() noexcept {
    for (int k = 0; k < 5; ++k) {
      // Enough for a difference; and in reduce(), of two products and the bias, carries stay below 64, those that come
      // up included.
      if (limb_bias.whole[k] < units_bound << 52 || limb_bias.whole[k] > (units_bound + 5) << 52) return false;
    }
    return 3 * units_bound + 5 + 1 <= 64;
  }
  static_assert(bounds_hold());
  static_assert(top_bound <= four_p[4] && mask_52 <= four_p[0]);

  struct Sums {
    I c[10];
  };
  WARPKEM_CURVE_INLINE static void multiply_add(Sums& s, int k, I a, I b) noexcept {
    s.c[k] = V::multiply_add_low(s.c[k], a, b);
    s.c[k + 1] = V::multiply_add_high(s.c[k + 1], a, b);
  }

  // Columns 5 to 9 are folded by 2^260 = 608, after a ripple: what they have above 52 bits goes up.
  WARPKEM_CURVE_INLINE static Columns fold(Sums s) noexcept {
    unroll<4>([&](auto k) __attribute__((always_inline)) {
      s.c[k + 6] = V::add(s.c[k + 6], V::template shift_right<52>(s.c[k + 5]));
    });
    const I by = V::set(u64{608});
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      s.c[k] = V::multiply_add_low(s.c[k], s.c[k + 5], by);
      if constexpr (k < 4) s.c[k + 1] = V::multiply_add_high(s.c[k + 1], s.c[k + 5], by);
    });
    return {{s.c[0], s.c[1], s.c[2], s.c[3], s.c[4]}};
  }

  template <bool bias>
  WARPKEM_CURVE_INLINE static Columns product(const Element& a, const Element& b) noexcept {
    Sums s;
    unroll<10>([&](auto k) __attribute__((always_inline)) {
      s.c[k] = V::set(bias && k < 5 ? limb_bias.whole[k < 5 ? int{k} : 0] : 0);
    });
    unroll<5>([&](auto i) __attribute__((always_inline)) {
      unroll<5>([&](auto j)
                    __attribute__((always_inline)) { s.c[i + j] = V::multiply_add_low(s.c[i + j], a.v[i], b.v[j]); });
      unroll<5>([&](auto j) __attribute__((always_inline)) {
        s.c[i + j + 1] = V::multiply_add_high(s.c[i + j + 1], a.v[i], b.v[j]);
      });
    });
    return fold(s);
  }
  // The last limb can be doubled ahead. Another one would have 53 bits then, so the sums of the others' mixed products
  // are doubled, in columns 1 to 6.
  static_assert(2 * top_bound < power(52));
  template <bool bias>
  WARPKEM_CURVE_INLINE static Columns square(const Element& a) noexcept {
    Sums s;
    unroll<10>([&](auto k) __attribute__((always_inline)) {
      const bool doubled = k >= 1 && k <= 6;
      s.c[k] = V::set(!bias || k >= 5 ? 0 : doubled ? limb_bias.half[k] : limb_bias.whole[k]);
    });
    unroll<6>([&](auto k) __attribute__((always_inline)) {
      unroll<4>([&](auto i) __attribute__((always_inline)) {
        constexpr int j = k - i;
        if constexpr (j > i && j < 4) multiply_add(s, k, a.v[i], a.v[j]);
      });
    });
    unroll<6>([&](auto k) __attribute__((always_inline)) { s.c[k + 1] = V::add(s.c[k + 1], s.c[k + 1]); });
    const I twice = V::add(a.v[4], a.v[4]);
    unroll<4>([&](auto i) __attribute__((always_inline)) {
      multiply_add(s, 2 * i, a.v[i], a.v[i]);
      multiply_add(s, i + 4, a.v[i], twice);
    });
    multiply_add(s, 8, a.v[4], a.v[4]);
    return fold(s);
  }

  // x, 2^52 x ... 2^208 x, for an x that many are multiplied with. Limb j of the other element times 2^(52 j) x makes a
  // product of which only column 5 is left to be folded.
  struct Multiples {
    Element of[5];
  };
  WARPKEM_CURVE_INLINE static void multiples(const Element& x, Multiples& m) noexcept {
    m.of[0] = exact(x);
    for (int j = 0; j < 4; ++j) {
      const I(&v)[5] = m.of[j].v;
      const I by = V::set(u64{608}), none = V::set(u64{0});
      m.of[j + 1] =
          exact(carry({{V::multiply_add_low(none, v[4], by), V::multiply_add_high(v[0], v[4], by), v[1], v[2], v[3]}}));
    }
  }
  WARPKEM_CURVE_INLINE static Columns multiple_of(const Multiples& x, const Element& a) noexcept {
    I c[6];
    unroll<6>([&](auto k) __attribute__((always_inline)) { c[k] = V::set(u64{0}); });
    unroll<5>([&](auto j) __attribute__((always_inline)) {
      unroll<5>([&](auto k) __attribute__((always_inline)) {
        c[k] = V::multiply_add_low(c[k], a.v[j], x.of[j].v[k]);
        c[k + 1] = V::multiply_add_high(c[k + 1], a.v[j], x.of[j].v[k]);
      });
    });
    static_assert(5 * top_bound < power(52));  // column 5
    const I by = V::set(u64{608});
    return {{V::multiply_add_low(c[0], c[5], by), V::multiply_add_high(c[1], c[5], by), c[2], c[3], c[4]}};
  }

  WARPKEM_CURVE_INLINE static Columns plus(const Columns& p, const Columns& q) noexcept {
    Columns s;
    unroll<5>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::add(p.c[k], q.c[k]); });
    return s;
  }
  WARPKEM_CURVE_INLINE static Columns minus(const Columns& p, const Columns& q) noexcept {
    Columns s;
    unroll<5>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::sub(p.c[k], q.c[k]); });
    return s;
  }

  WARPKEM_CURVE_INLINE static Element reduce(const Columns& s) noexcept {
    return carry({{s.c[0], s.c[1], s.c[2], s.c[3], s.c[4]}});
  }
  WARPKEM_CURVE_INLINE static Element reduce_exactly(const Columns& s) noexcept { return exact(reduce(s)); }

  // What the last limb has above 47 bits goes to limb 0, 19 times; then a ripple from 0 to 4. Of limbs below 2^58.
  WARPKEM_CURVE_INLINE static Element carry(Element e) noexcept {
    const I excess = V::template shift_right<47>(e.v[4]);
    e.v[4] = V::bit_and(e.v[4], V::set(mask_47));
    e.v[0] = V::multiply_add_low(e.v[0], excess, V::set(u64{19}));
    unroll<4>([&](auto k) __attribute__((always_inline)) {
      e.v[k + 1] = V::add(e.v[k + 1], V::template shift_right<52>(e.v[k]));
    });
    return e;
  }
  WARPKEM_CURVE_INLINE static Element exact(Element e) noexcept {
    unroll<4>([&](auto k) __attribute__((always_inline)) { e.v[k] = V::bit_and(e.v[k], V::set(mask_52)); });
    return e;
  }

  WARPKEM_CURVE_INLINE static Element difference(const Element& a, const Element& b) noexcept {
    const Element x = exact(a), y = exact(b);
    Element d;
    unroll<5>([&](auto k)
                  __attribute__((always_inline)) { d.v[k] = V::sub(V::add(x.v[k], V::set(four_p[k])), y.v[k]); });
    return carry(d);
  }
  WARPKEM_CURVE_INLINE static Element sum_of(const Element& a, const Element& b) noexcept {
    const Element x = exact(a), y = exact(b);
    Element s;
    unroll<5>([&](auto k) __attribute__((always_inline)) { s.v[k] = V::add(x.v[k], y.v[k]); });
    return carry(s);
  }

  // These are not reduced before they are subtracted. A subtrahend has no bias; it can be reduced all the same, because
  // no column of a product is negative.
  using Square = Columns;
  WARPKEM_CURVE_INLINE static Square minuend(const Element& a) noexcept { return square<true>(a); }
  WARPKEM_CURVE_INLINE static Square subtrahend(const Element& a) noexcept { return square<false>(a); }
  WARPKEM_CURVE_INLINE static Element difference(const Square& AA, const Square& BB) noexcept {
    return reduce(minus(AA, BB));
  }
  // AA + a24 E. The product of E's last limb has 64 bits: its high half is folded by 608.
  static_assert((curve_a24 * top_bound >> 52) * 608 < power(52));
  WARPKEM_CURVE_INLINE static Element plus_a24(const Square& AA, const Element& E) noexcept {
    const I a24 = V::set(u64{curve_a24}), above = V::multiply_add_high(V::set(u64{0}), E.v[4], a24);
    Columns s = AA;
    unroll<5>([&](auto k) __attribute__((always_inline)) { s.c[k] = V::multiply_add_low(s.c[k], E.v[k], a24); });
    unroll<4>([&](auto k)
                  __attribute__((always_inline)) { s.c[k + 1] = V::multiply_add_high(s.c[k + 1], E.v[k], a24); });
    s.c[0] = V::multiply_add_low(s.c[0], above, V::set(u64{608}));
    return reduce(s);
  }

  WARPKEM_CURVE_INLINE static Element select(Mask mask, const Element& a, const Element& b) noexcept {
    Element e;
    unroll<5>([&](auto k) __attribute__((always_inline)) { e.v[k] = V::select(mask, a.v[k], b.v[k]); });
    return e;
  }
  WARPKEM_CURVE_INLINE static Element small(int x) noexcept {
    return {{V::set(static_cast<u64>(x)), V::set(u64{0}), V::set(u64{0}), V::set(u64{0}), V::set(u64{0})}};
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

  // Of 256-bit numbers below 2^255.
  WARPKEM_CURVE_INLINE static Element load(const u64 (&w)[5][lanes]) noexcept {
    const I w0 = V::load(w[0]), w1 = V::load(w[1]), w2 = V::load(w[2]), w3 = V::load(w[3]);
    return exact({{w0, V::bit_or(V::template shift_right<52>(w0), V::template shift_left<12>(w1)),
                   V::bit_or(V::template shift_right<40>(w1), V::template shift_left<24>(w2)),
                   V::bit_or(V::template shift_right<28>(w2), V::template shift_left<36>(w3)),
                   V::template shift_right<16>(w3)}});
  }
  // Limbs of 51 bits, as canonical() takes them.
  WARPKEM_CURVE_INLINE static void store(const Element& a, u64 (&limbs)[5][lanes]) noexcept {
    const Element x = exact(a);
    const I mask = V::set(mask_51);
    V::store(limbs[0], V::bit_and(x.v[0], mask));
    unroll<3>([&](auto k) __attribute__((always_inline)) {
      V::store(limbs[k + 1],
               V::bit_and(V::bit_or(V::template shift_right<51 - k>(x.v[k]), V::template shift_left<k + 1>(x.v[k + 1])),
                          mask));
    });
    V::store(limbs[4], V::add(V::template shift_right<48>(x.v[3]), V::template shift_left<4>(x.v[4])));
  }
  WARPKEM_CURVE_INLINE static void plus_minus_one(const Element& a, Element& plus, Element& minus) noexcept {
    plus = sum_of(a, small(1));
    minus = difference(a, small(1));
  }

  // ---- The comb

  using Digit = typename V::Digit;
  WARPKEM_CURVE_INLINE static Digit digit(Bits bits) noexcept { return V::digit(bits); }

  struct Point {
    Element plus, minus, product;
    Mask negative;
  };
  // Three elements' five limbs, each of 16 points.
  struct alignas(64) TableEntry {
    u64 limbs[3][5][window_entries];
  };
  struct Table {
    TableEntry entries[num_windows];

    Table() noexcept {
      for (int i = 0; i < num_windows; ++i) {
        for (int e = 0; e < window_entries; ++e) {
          u8 point[3][x25519_bytes];
          comb_entry(i, e, point);
          for (int c = 0; c < 3; ++c) {
            const Words x = load_words(point[c]);
            auto& limbs = entries[i].limbs[c];
            limbs[0][e] = x.w[0] & mask_52;
            limbs[1][e] = (x.w[0] >> 52 | x.w[1] << 12) & mask_52;
            limbs[2][e] = (x.w[1] >> 40 | x.w[2] << 24) & mask_52;
            limbs[3][e] = (x.w[2] >> 28 | x.w[3] << 36) & mask_52;
            limbs[4][e] = x.w[3] >> 16;
          }
        }
      }
    }
  };

  // The point of a digit; a negative one has y + x and y - x exchanged, and its product is subtracted, not added.
  WARPKEM_CURVE_INLINE static Point look_up(const TableEntry& table, const Digit& digit) noexcept {
    Point q;
    q.negative = V::negative(digit);
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      const I plus = V::look_up(table.limbs[0][k], digit), minus = V::look_up(table.limbs[1][k], digit);
      q.plus.v[k] = V::select(q.negative, plus, minus);
      q.minus.v[k] = V::select(q.negative, minus, plus);
      q.product.v[k] = V::look_up(table.limbs[2][k], digit);
    });
    return q;
  }

  // F = Z - T q and G = Z + T q, where q is as it was looked up: they change places where the digit is negative.
  WARPKEM_CURVE_INLINE static void minus_and_plus(const Element& Z, const Element& T, const Point& q, Element& minus,
                                                  Element& plus) noexcept {
    const Columns C = product<false>(T, q.product);
    Columns less, more;
    unroll<5>([&](auto k) __attribute__((always_inline)) {
      more.c[k] = V::add(C.c[k], Z.v[k]);
      less.c[k] = V::sub(V::add(Z.v[k], V::set(limb_bias.whole[k])), C.c[k]);
    });
    const Element a = reduce(less), b = reduce(more);
    minus = select(q.negative, a, b);
    plus = select(q.negative, b, a);
  }
};

}  // namespace
}  // namespace warpkem::curve
