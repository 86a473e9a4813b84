// The vector operations of X25519's lanes as plain C++, eight or four lanes, each with a check of what the arithmetic
// relies on. With them the arithmetic of AVX-512 runs, and is seen to keep its bounds, on any machine.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "host/backends/curve/bytes.hpp"

namespace warpkem::curve {

inline std::uint64_t broken_bounds = 0;  // how many checks failed

namespace {

inline void expect_bound(bool kept) noexcept { broken_bounds += kept ? 0 : 1; }

// Not inlined: thousands of them make a step of a ladder.
#define MODEL [[gnu::noinline]]

template <class T, int n>
struct LanesOf {
  T v[n];
};

// ---- words of 64 bits, which both have

template <int n>
struct WordModel {
  static constexpr int lanes = n;
  using I = LanesOf<u64, n>;
  using Mask = u32;

  template <class Result = I, class Function>
  static Result each(Function f) noexcept {
    Result r;
    for (int i = 0; i < n; ++i) r.v[i] = f(i);
    return r;
  }

  MODEL static I set(u64 x) noexcept {
    return each([&](int) { return x; });
  }
  MODEL static I load(const u64* from) noexcept {
    return each([&](int i) { return from[i]; });
  }
  MODEL static void store(u64* to, const I& a) noexcept {
    for (int i = 0; i < n; ++i) to[i] = a.v[i];
  }
  MODEL static I add(const I& a, const I& b) noexcept {
    return each([&](int i) { return a.v[i] + b.v[i]; });  // scalars' bits are shifted by additions, which may wrap
  }
  MODEL static I bit_and(const I& a, const I& b) noexcept {
    return each([&](int i) { return a.v[i] & b.v[i]; });
  }
  MODEL static I bit_or(const I& a, const I& b) noexcept {
    return each([&](int i) { return a.v[i] | b.v[i]; });
  }
  template <int bits>
  MODEL static I shift_left(const I& a) noexcept {
    return each([&](int i) { return a.v[i] << bits; });
  }
  template <int bits>
  MODEL static I shift_right(const I& a) noexcept {
    return each([&](int i) { return a.v[i] >> bits; });
  }
  template <class Lane>
  MODEL static Lane select(Mask mask, const Lane& a, const Lane& b) noexcept {
    return each<Lane>([&](int i) { return (mask >> i & 1) != 0 ? b.v[i] : a.v[i]; });
  }
  MODEL static Mask top_bit(const I& a) noexcept {
    Mask mask = 0;
    for (int i = 0; i < n; ++i) mask |= static_cast<Mask>(a.v[i] >> 63) << i;
    return mask;
  }

  struct Digit {
    I entry;
    Mask negative;
  };
  MODEL static Digit digit(const I& window) noexcept {
    Digit d{{}, 0};
    for (int i = 0; i < n; ++i) {
      const bool negative = (window.v[i] & 16) == 0;
      d.negative |= static_cast<Mask>(negative) << i;
      d.entry.v[i] = window.v[i] ^ (negative ? 15 : 0);
    }
    return d;
  }
  MODEL static Mask negative(const Digit& digit) noexcept { return digit.negative; }
  template <class T>
  MODEL static LanesOf<T, n> look_up(const T* table, const Digit& digit) noexcept {
    return each<LanesOf<T, n>>([&](int i) { return table[digit.entry.v[i] & 15]; });
  }
};

// ---- AVX-512 IFMA

struct IntegerModel : WordModel<8> {
  __extension__ typedef unsigned __int128 Wide;

  static Wide product(u64 a, u64 b) noexcept {
    constexpr u64 low_52 = (u64{1} << 52) - 1;
    return Wide{a & low_52} * (b & low_52);
  }
  static u64 checked_sum(u64 a, u64 b) noexcept {
    expect_bound(a + b >= a);
    return a + b;
  }

  MODEL static I multiply_add_low(const I& sum, const I& a, const I& b) noexcept {
    return each(
        [&](int i) { return checked_sum(sum.v[i], static_cast<u64>(product(a.v[i], b.v[i])) & ((u64{1} << 52) - 1)); });
  }
  MODEL static I multiply_add_high(const I& sum, const I& a, const I& b) noexcept {
    return each([&](int i) { return checked_sum(sum.v[i], static_cast<u64>(product(a.v[i], b.v[i]) >> 52)); });
  }
  MODEL static I sub(const I& a, const I& b) noexcept {
    return each([&](int i) {
      expect_bound(a.v[i] >= b.v[i]);
      return a.v[i] - b.v[i];
    });
  }
};

// ---- double precision

template <int n>
struct DoubleModel : WordModel<n> {
  using Base = WordModel<n>;
  using D = LanesOf<double, n>;
  using Base::add, Base::set;
  using typename Base::Digit, typename Base::I;
  __extension__ typedef __int128 Wide;

  static constexpr double exp2(int e) noexcept { return std::bit_cast<double>(static_cast<u64>(1023 + e) << 52); }
  static constexpr double high_anchor = 1.5 * exp2(103);

  MODEL static void expect_no_denormal(double x) noexcept { expect_bound(x == 0 || std::fabs(x) >= exp2(-51)); }

  // A sum is exact. Only a sum with high_anchor is rounded, to the last place of high_anchor, on purpose.
  static double checked_sum(double a, double b) noexcept {
    const double s = a + b;
    if (b == high_anchor) {
      expect_bound(s >= exp2(103) && s <= exp2(104));
      return s;
    }
    const double b_part = s - a;
    expect_bound((a - (s - b_part)) + (b - b_part) == 0);
    expect_no_denormal(s);
    return s;
  }
  static double checked_fma(double a, double b, double c) noexcept {
    const double r = std::fma(a, b, c);
    if (c == high_anchor) {
      expect_bound(r >= exp2(103) && r <= exp2(104));
      return r;
    }
    if (std::fabs(b) < 1 && b != 0) a *= exp2(-51), b *= exp2(51);  // a carry: both are integers then
    expect_bound(static_cast<double>(static_cast<Wide>(a)) == a && static_cast<double>(static_cast<Wide>(b)) == b);
    expect_bound(static_cast<Wide>(a) * static_cast<Wide>(b) + static_cast<Wide>(c) == static_cast<Wide>(r));
    // A low half is read by its bits, beside 1.5 * 2^52.
    if (std::fabs(c) > exp2(53) && r > exp2(51)) expect_bound(r >= exp2(52) && r <= exp2(53));
    return r;
  }

  MODEL static D set(double x) noexcept {
    return Base::template each<D>([&](int) { return x; });
  }
  MODEL static D fma(const D& a, const D& b, const D& c) noexcept {
    return Base::template each<D>([&](int i) { return checked_fma(a.v[i], b.v[i], c.v[i]); });
  }
  MODEL static D add(const D& a, const D& b) noexcept {
    return Base::template each<D>([&](int i) { return checked_sum(a.v[i], b.v[i]); });
  }
  MODEL static D sub(const D& a, const D& b) noexcept {
    return Base::template each<D>([&](int i) { return checked_sum(a.v[i], -b.v[i]); });
  }
  MODEL static D negate(const D& a) noexcept {
    return Base::template each<D>([&](int i) { return -a.v[i]; });
  }
  MODEL static I bits(const D& a) noexcept {
    return Base::each([&](int i) { return std::bit_cast<u64>(a.v[i]); });
  }
  MODEL static D as_double(const I& a) noexcept {
    return Base::template each<D>([&](int i) { return std::bit_cast<double>(a.v[i]); });
  }

  MODEL static I sub(const I& a, const I& b) noexcept {
    return Base::each([&](int i) { return a.v[i] - b.v[i]; });
  }
  MODEL static I multiply_u32(const I& a, const I& b) noexcept {
    return Base::each([&](int i) {
      expect_bound(a.v[i] <= UINT32_MAX && b.v[i] <= UINT32_MAX);
      return a.v[i] * b.v[i];
    });
  }
  static I hidden(const I& a) noexcept { return a; }
  MODEL static D negate_if(const Digit& digit, const D& a) noexcept {
    return Base::template each<D>([&](int i) { return (digit.negative >> i & 1) != 0 ? -a.v[i] : a.v[i]; });
  }
};

#undef MODEL

}  // namespace
}  // namespace warpkem::curve
