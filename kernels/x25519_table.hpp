// The multiples of X25519's base point B that the device's comb adds (x25519.cuh), computed by the compiler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace warpkem::kernels::comb {

// A scalar's 255 signed bits are read as `teeth` rows of `columns`. Table t has the sums of a column 3 t (`steps` of
// them share a table, a doubling apart): entry e is the last tooth's 2^(51 * 4 + 3 t) B, plus or, where bit i of e is
// zero, minus 2^(51 i + 3 t) B for the others.
inline constexpr int teeth = 5, columns = 51, steps = 3, tables = columns / steps, entries = 1 << (teeth - 1);

// A point (x, y) of -x^2 + y^2 = 1 + d x^2 y^2, whose y is (u - 1) / (u + 1), as (y + x) / 2, (y - x) / 2 and d x y,
// below p. (Halves save the addition of points a doubling of Z.)
struct Point {
  std::uint32_t plus[8], minus[8], product[8];
};
struct alignas(16) Table {
  Point point[tables][entries];
};

// Arithmetic modulo p = 2^255 - 19 for the compiler: five limbs of 51 bits.
struct Number {
  std::uint64_t v[5];
};
inline constexpr std::uint64_t limb_mask = (std::uint64_t{1} << 51) - 1;

constexpr Number number(std::uint64_t x) noexcept { return {{x, 0, 0, 0, 0}}; }

constexpr Number carried(Number x) noexcept {
  for (int i = 0; i < 4; ++i) x.v[i + 1] += x.v[i] >> 51, x.v[i] &= limb_mask;
  x.v[0] += 19 * (x.v[4] >> 51), x.v[4] &= limb_mask;
  x.v[1] += x.v[0] >> 51, x.v[0] &= limb_mask;
  return x;
}
constexpr Number operator+(const Number& a, const Number& b) noexcept {
  return carried({{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3], a.v[4] + b.v[4]}});
}
// 4 p is added, limb by limb.
constexpr Number operator-(const Number& a, const Number& b) noexcept {
  constexpr std::uint64_t limb = 4 * limb_mask;
  return carried({{a.v[0] + (limb - 72) - b.v[0], a.v[1] + limb - b.v[1], a.v[2] + limb - b.v[2],
                   a.v[3] + limb - b.v[3], a.v[4] + limb - b.v[4]}});
}
constexpr Number operator*(const Number& a, const Number& b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t a0 = a.v[0], a1 = a.v[1], a2 = a.v[2], a3 = a.v[3], a4 = a.v[4];
  const std::uint64_t b0 = b.v[0], b1 = b.v[1], b2 = b.v[2], b3 = b.v[3], b4 = b.v[4];
  const std::uint64_t w1 = 19 * b1, w2 = 19 * b2, w3 = 19 * b3, w4 = 19 * b4;
  const Wide c0 = Wide{a0} * b0 + Wide{a1} * w4 + Wide{a2} * w3 + Wide{a3} * w2 + Wide{a4} * w1;
  const Wide c1 = Wide{a0} * b1 + Wide{a1} * b0 + Wide{a2} * w4 + Wide{a3} * w3 + Wide{a4} * w2 + (c0 >> 51);
  const Wide c2 = Wide{a0} * b2 + Wide{a1} * b1 + Wide{a2} * b0 + Wide{a3} * w4 + Wide{a4} * w3 + (c1 >> 51);
  const Wide c3 = Wide{a0} * b3 + Wide{a1} * b2 + Wide{a2} * b1 + Wide{a3} * b0 + Wide{a4} * w4 + (c2 >> 51);
  const Wide c4 = Wide{a0} * b4 + Wide{a1} * b3 + Wide{a2} * b2 + Wide{a3} * b1 + Wide{a4} * b0 + (c3 >> 51);
  const std::uint64_t low = (static_cast<std::uint64_t>(c0) & limb_mask) + 19 * static_cast<std::uint64_t>(c4 >> 51);
  return {{low & limb_mask, (static_cast<std::uint64_t>(c1) & limb_mask) + (low >> 51),
           static_cast<std::uint64_t>(c2) & limb_mask, static_cast<std::uint64_t>(c3) & limb_mask,
           static_cast<std::uint64_t>(c4) & limb_mask}};
}
// x^(2^bits - less)
constexpr Number power(const Number& x, int bits, std::uint32_t less) noexcept {
  Number result = number(1);
  for (int bit = bits - 1; bit >= 0; --bit) {
    result = result * result;
    // 2^bits - less has all bits from 32 on, and the low 32 of -less.
    if (bit >= 32 || ((0 - less) >> bit & 1) != 0) result = result * x;
  }
  return result;
}
constexpr Number inverse(const Number& x) noexcept { return power(x, 255, 21); }  // x^(p - 2)

constexpr std::array<std::uint32_t, 8> canonical(Number x) noexcept {
  x = carried(x);
  std::uint64_t carry = (x.v[0] + 19) >> 51;  // then whether x >= p
  for (int i = 1; i < 5; ++i) carry = (x.v[i] + carry) >> 51;
  x.v[0] += 19 * carry;
  for (int i = 0; i < 4; ++i) x.v[i + 1] += x.v[i] >> 51, x.v[i] &= limb_mask;
  x.v[4] &= limb_mask;
  const std::uint64_t words[] = {x.v[0] | x.v[1] << 51, x.v[1] >> 13 | x.v[2] << 38, x.v[2] >> 26 | x.v[3] << 25,
                                 x.v[3] >> 39 | x.v[4] << 12};
  std::array<std::uint32_t, 8> limbs{};
  for (std::size_t i = 0; i < 8; ++i) limbs[i] = static_cast<std::uint32_t>(words[i / 2] >> (32 * (i % 2)));
  return limbs;
}

// (X : Y : Z) with X Y = Z T.
struct Projective {
  Number X, Y, Z, T;
};

constexpr Table make_table() noexcept {
  const Number one = number(1);
  const Number d = (number(0) - number(121665)) * inverse(number(121666)), d2 = d + d;
  // Complete: right for all points.
  const auto add = [&d2](const Projective& p, const Projective& q) {
    const Number A = (p.Y - p.X) * (q.Y - q.X), B = (p.Y + p.X) * (q.Y + q.X);
    const Number C = p.T * d2 * q.T, D = (p.Z + p.Z) * q.Z;
    const Number E = B - A, F = D - C, G = D + C, H = B + A;
    return Projective{E * F, G * H, F * G, E * H};
  };
  const auto negate = [](const Projective& p) { return Projective{number(0) - p.X, p.Y, p.Z, number(0) - p.T}; };

  // B has u = 9, so y = 8 / 10. x^2 = (y^2 - 1) / (d y^2 + 1); either root will do: (-x, y) has the same u.
  const Number y = number(4) * inverse(number(5)), xx = (y * y - one) * inverse(d * y * y + one);
  Number x = power(xx, 252, 2);                                             // (p + 3) / 8
  if (canonical(x * x) != canonical(xx)) x = x * power(number(2), 253, 5);  // a root of -xx, times 2^((p - 1) / 4)

  // 2^(3 j) B and its double, j = 17 i + t.
  std::array<Projective, teeth * tables> once{}, twice{};
  Projective point{x, y, one, x * y};
  for (std::size_t j = 0; j < once.size(); ++j) {
    once[j] = point;
    point = twice[j] = add(point, point);
    point = add(point, point);
    point = add(point, point);
  }
  std::array<Projective, tables * entries> all{};
  for (std::size_t t = 0; t < tables; ++t) {
    Projective* const of = &all[t * entries];
    of[0] = once[tables * (teeth - 1) + t];
    for (std::size_t i = 0; i + 1 < teeth; ++i) of[0] = add(of[0], negate(once[tables * i + t]));
    for (unsigned e = 1; e < entries; ++e) {
      std::size_t lowest = 0;
      while ((e >> lowest & 1) == 0) ++lowest;
      of[e] = add(of[e & (e - 1)], twice[tables * lowest + t]);
    }
  }
  // One inversion for all (Montgomery's trick): T becomes the product of all Z before.
  Number product = one;
  for (Projective& p : all) {
    p.T = product;
    product = product * p.Z;
  }
  product = inverse(product);
  const Number half = inverse(number(2));
  Table table{};
  for (std::size_t n = all.size(); n-- > 0;) {
    const Projective& p = all[n];
    const Number over_Z = product * p.T;
    product = product * p.Z;
    const Number px = p.X * over_Z, py = p.Y * over_Z;
    const auto plus = canonical((py + px) * half), minus = canonical((py - px) * half), dxy = canonical(d * px * py);
    Point& to = table.point[n / entries][n % entries];
    for (std::size_t i = 0; i < 8; ++i) to.plus[i] = plus[i], to.minus[i] = minus[i], to.product[i] = dxy[i];
  }
  return table;
}

}  // namespace warpkem::kernels::comb
