// X25519 of several items side by side, one to a lane. `F` is the arithmetic of a field's elements in lanes, in double
// precision (double_field.hpp) or in 52-bit integers (ifma_field.hpp). Both have
//
//   Element         a number mod p in every lane; "reduced" where its limbs keep the bounds that products need
//   Columns         a sum of products, mod p or nearly, whose carries are still to come
//   product<bias>, square<bias>   of reduced elements. Columns that something is subtracted from, or that are reduced
//                   without any more, have the bias; columns that are added to or subtracted from such ones have not.
//   plus, minus     of Columns
//   multiple_of     a product with what multiples() made of an element that many are multiplied with; no bias
//   minuend, subtrahend   squares that go into difference(), and may be reduced as well
//   difference, plus_a24   of such squares; and the square of (x + z) plus (A - 2) / 4 times that difference
//   reduce          Columns, or a Square, to a reduced Element
//
// Sums and differences of products are made before the reduction, so they are as good as products. The ladder's state
// is therefore not (x_2, z_2) and (x_3, z_3) but their sums and differences.
//
// Everything is in an anonymous namespace: each file that includes this is compiled for another CPU.
#pragma once

#include <utility>

#include "host/backends/curve/bytes.hpp"
#include "host/backends/curve/comb_table.hpp"
#include "host/backends/curve/scalar.hpp"
#include "host/backends/curve/x25519.hpp"
#include "host/core/secure.hpp"

namespace warpkem::curve {
namespace {

// f(0), f(1), ... f(N - 1) with the index as a constant.
template <class Function, int... i>
WARPKEM_CURVE_INLINE constexpr void unroll(Function&& f, std::integer_sequence<int, i...>) noexcept {
  (f(std::integral_constant<int, i>()), ...);
}
template <int N, class Function>
WARPKEM_CURVE_INLINE constexpr void unroll(Function&& f) noexcept {
  unroll(f, std::make_integer_sequence<int, N>());
}

constexpr u64 curve_a24 = 121665;  // (A - 2) / 4, A = 486662

template <class F>
struct Lanes {
  using Element = typename F::Element;
  using Columns = typename F::Columns;
  using Square = typename F::Square;
  using Mask = typename F::Mask;
  static constexpr int lanes = F::lanes;

  // One inversion serves this many items: it takes a tenth of the time of a ladder.
  static constexpr int groups = 16;

  struct alignas(64) LaneWords {
    u64 w[5][lanes];
  };

  struct Ladder {
    typename F::Multiples x_1;
    Element A, B;  // x_2 + z_2, x_2 - z_2
    Element C, D;  // x_3 + z_3, x_3 - z_3
  };

  struct Comb {
    Element sum, difference, Z, T;  // Y + X, Y - X
  };

  // Everything secret but what is on the stack.
  struct alignas(64) Workspace {
    LaneWords scalars, coordinates;
    Ladder ladder;
    Comb comb;
    Element numerator[groups], denominator[groups], product[groups];
    Element inverse, result;
    Words results[lanes];
  };

  struct Powers {
    [[gnu::noinline]] static void square(Element& a, int times) noexcept {
      Element s = a;
      do s = F::reduce(F::template square<true>(s));
      while (--times != 0);
      a = s;
    }
    [[gnu::noinline]] static void multiply(Element& product, const Element& a, const Element& b) noexcept {
      product = F::reduce(F::template product<true>(a, b));
    }
  };

  [[gnu::noinline]] static void inverse(Element& z) noexcept { invert<Powers>(z); }

  // Items first, first + 1 ... of n go to the lanes, and the last one also to those that would be idle.
  WARPKEM_CURVE_INLINE static std::size_t item_of(std::size_t first, int lane, std::size_t n) noexcept {
    const std::size_t item = first + static_cast<std::size_t>(lane);
    return item < n ? item : n - 1;
  }

  WARPKEM_CURVE_INLINE static void minus_and_plus(const Columns& p, const Columns& q, Element& difference,
                                                  Element& sum) noexcept {
    difference = F::reduce(F::minus(p, q));
    sum = F::reduce(F::plus(p, q));
  }

  // What is doubled: (x_2, z_2), or (x_3, z_3) under the mask.
  WARPKEM_CURVE_INLINE static Square square_of_sum(const Ladder& s, Mask swap) noexcept {
    return F::minuend(F::select(swap, s.A, s.C));
  }
  WARPKEM_CURVE_INLINE static Square square_of_difference(const Ladder& s, Mask swap) noexcept {
    return F::subtrahend(F::select(swap, s.B, s.D));
  }

  // As in X25519() of scalar.hpp. Compilers keep this order, more or less, and it is a quick one: results are made some
  // time before something needs them. Units wait less then, also on CPUs that do not look far ahead.
  [[gnu::noinline]] static void step(Ladder& s, Mask swap) noexcept {
    Element plus, minus;
    minus_and_plus(F::template product<true>(s.D, s.A), F::template product<false>(s.C, s.B), minus, plus);
    const Square AA = square_of_sum(s, swap), BB = square_of_difference(s, swap);
    const Element W = F::reduce(F::template square<true>(minus));
    const Element E = F::difference(AA, BB), AA_plus_a24_E = F::plus_a24(AA, E);
    const Columns x_2 = F::template product<true>(F::reduce(AA), F::reduce(BB));
    minus_and_plus(F::template square<true>(plus), F::multiple_of(s.x_1, W), s.D, s.C);
    minus_and_plus(x_2, F::template product<false>(E, AA_plus_a24_E), s.B, s.A);
  }
  // A step of which only (x_2, z_2) count.
  [[gnu::noinline]] static void doubling(Ladder& s, Mask swap) noexcept {
    const Square AA = square_of_sum(s, swap), BB = square_of_difference(s, swap);
    const Element E = F::difference(AA, BB), AA_plus_a24_E = F::plus_a24(AA, E);
    minus_and_plus(F::template product<true>(F::reduce(AA), F::reduce(BB)),
                   F::template product<false>(E, AA_plus_a24_E), s.B, s.A);
  }

  // x_2 and z_2 of the group's items. The scalar's last three bits are 0: nothing but doublings is left to do there,
  // and no swap.
  static void ladder(const LaneWords& scalars, const Element& x_1, Ladder& s, Element& numerator,
                     Element& denominator) noexcept {
    F::multiples(x_1, s.x_1);
    s.A = s.B = F::small(1);
    F::plus_minus_one(x_1, s.C, s.D);
    int bit = 254;
    for (int word = 3; word >= 0; --word) {
      auto swaps = F::load_word(scalars.w[word]);
      if (word == 3) swaps = F::next_bit(swaps);  // bit 255 is none of the scalar's
      for (; bit >= 64 * word && bit > 2; --bit, swaps = F::next_bit(swaps)) step(s, F::top_bit(swaps));
      if (word != 0) continue;
      for (; bit >= 0; --bit, swaps = F::next_bit(swaps)) doubling(s, F::top_bit(swaps));
    }
    numerator = F::sum_of(s.A, s.B), denominator = F::difference(s.A, s.B);  // 2 x_2 and 2 z_2
  }

  // Adds a table's point, as CombSum of scalar.hpp does. The last time, Z + Y and Z - Y are all that is wanted.
  template <bool last>
  [[gnu::noinline]] static void add(Comb& s, const typename F::TableEntry& table,
                                    const typename F::Digit& digit) noexcept {
    const typename F::Point q = F::look_up(table, digit);
    Element E, H, Fe, G;
    minus_and_plus(F::template product<true>(s.sum, q.plus), F::template product<false>(s.difference, q.minus), E, H);
    F::minus_and_plus(s.Z, s.T, q, Fe, G);
    const Columns Z = F::template product<true>(Fe, G);
    if constexpr (last) {
      minus_and_plus(Z, F::template product<false>(G, H), s.difference, s.sum);
    } else {
      s.Z = F::reduce_exactly(Z);
      s.T = F::reduce(F::template product<true>(E, H));
      minus_and_plus(F::template product<true>(G, H), F::template product<false>(E, Fe), s.difference, s.sum);
    }
  }

  static void comb(const LaneWords& digits, Comb& s, const typename F::Table& table, Element& numerator,
                   Element& denominator) noexcept {
    s.sum = s.difference = s.Z = F::small(1);
    s.T = F::small(0);
    int window = 0;
    for (int word = 0; word < window_words; ++word) {
      auto bits = F::load_word(digits.w[word]);
      for (int i = 0; i < windows_in_word && window < num_windows - 1; ++i, ++window) {
        add<false>(s, table.entries[window], F::digit(bits));
        bits = F::next_window(bits);
      }
      if (word == window_words - 1) add<true>(s, table.entries[window], F::digit(bits));
    }
    numerator = s.sum, denominator = s.difference;
  }

  // Takes u = numerator / denominator, and 0 for 0 denominators, of `n` items in groups of `lanes`: one inversion for
  // all. A denominator of 0 takes part as 1, with the numerator 0.
  template <class Write>
  [[gnu::noinline]] static void divide(Workspace& w, std::size_t n, Write write) noexcept {
    const int used = static_cast<int>((n + lanes - 1) / lanes);
    for (int g = 0; g < used; ++g) {
      F::store(w.denominator[g], w.coordinates.w);
      for (int l = 0; l < lanes; ++l) w.coordinates.w[0][l] = zero_mask(canonical_lane(w.coordinates, l));
      const Mask zero = F::top_bit(F::load_word(w.coordinates.w[0]));
      w.denominator[g] = F::select(zero, w.denominator[g], F::small(1));
      w.numerator[g] = F::select(zero, w.numerator[g], F::small(0));
      w.product[g] = w.denominator[g];
      if (g > 0) Powers::multiply(w.product[g], w.product[g - 1], w.denominator[g]);
    }
    w.inverse = w.product[used - 1];  // the inverse of all, then of all but the last groups
    inverse(w.inverse);
    for (int g = used - 1; g >= 0; --g) {
      w.result = w.inverse;
      if (g > 0) Powers::multiply(w.result, w.inverse, w.product[g - 1]);
      Powers::multiply(w.inverse, w.inverse, w.denominator[g]);
      Powers::multiply(w.result, w.result, w.numerator[g]);
      F::store(w.result, w.coordinates.w);
      for (int l = 0; l < lanes; ++l) {
        w.results[l] = canonical_lane(w.coordinates, l);
        const std::size_t item = static_cast<std::size_t>(g) * lanes + static_cast<std::size_t>(l);
        if (item < n) write(item, w.results[l]);
      }
    }
  }

  WARPKEM_CURVE_INLINE static Words canonical_lane(const LaneWords& limbs, int lane) noexcept {
    Limbs51 x;
    for (int i = 0; i < 5; ++i) x.v[i] = limbs.w[i][lane];
    return canonical(x);
  }

  [[gnu::noinline]] static void derive(const Derive& b, Workspace& w) noexcept {
    for (std::size_t begin = 0; begin < b.count;) {
      const std::size_t left = b.count - begin, n = left < groups * lanes ? left : std::size_t{groups * lanes};
      for (std::size_t first = 0; first < n; first += lanes) {
        for (int l = 0; l < lanes; ++l) {
          const std::size_t item = begin + item_of(first, l, n);
          const Words swaps = swaps_of(DecodeScalar25519(b.k[item])), u = DecodeUCoordinate(b.u[item]);
          for (int i = 0; i < 4; ++i) w.scalars.w[i][l] = swaps.w[i], w.coordinates.w[i][l] = u.w[i];
        }
        ladder(w.scalars, F::load(w.coordinates.w), w.ladder, w.numerator[first / lanes], w.denominator[first / lanes]);
      }
      divide(w, n, [&](std::size_t item, const Words& result) {
        if (b.is_zero != nullptr) b.is_zero[begin + item] = static_cast<u8>(zero_mask(result) & 1);
        store_words(result, b.result[begin + item]);
      });
      begin += n;
    }
  }

  [[gnu::noinline]] static void public_key(const PublicKey& b, const typename F::Table& table, Workspace& w) noexcept {
    for (std::size_t begin = 0; begin < b.count;) {
      const std::size_t left = b.count - begin, n = left < groups * lanes ? left : std::size_t{groups * lanes};
      for (std::size_t first = 0; first < n; first += lanes) {
        for (int l = 0; l < lanes; ++l) {
          const CombDigits digits = comb_digits(DecodeScalar25519(b.k[begin + item_of(first, l, n)]));
          for (int i = 0; i < window_words; ++i) w.scalars.w[i][l] = digits.w[i];
        }
        comb(w.scalars, w.comb, table, w.numerator[first / lanes], w.denominator[first / lanes]);
      }
      divide(w, n, [&](std::size_t item, const Words& result) { store_words(result, b.result[begin + item]); });
      begin += n;
    }
  }
};

}  // namespace
}  // namespace warpkem::curve
