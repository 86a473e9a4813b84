// X25519, RFC 7748, a thread an item: by ladder for any u, by a comb for the base point; then one inversion for the
// threads that sit in the same place in the warps of a block. No branch and no address depends on a scalar or a result.
#pragma once

#include "kernels/field25519.cuh"
#include "kernels/policy.hpp"
#include "kernels/x25519_table.hpp"

namespace warpkem::kernels {

namespace thread {

using field25519::Element;

// A u-coordinate, or of a comb one that is to be divided yet; both reduced or sums of reduced ones.
struct Fraction {
  Element numerator, denominator;
};

WARPKEM_FN Element load_element(const u8* bytes) {
  const uint4 *from = reinterpret_cast<const uint4*>(bytes), low = from[0], high = from[1];
  return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}
WARPKEM_FN void store_element(const Element& x, u8* bytes) {
  uint4* const to = reinterpret_cast<uint4*>(bytes);
  to[0] = make_uint4(x.v[0], x.v[1], x.v[2], x.v[3]);
  to[1] = make_uint4(x.v[4], x.v[5], x.v[6], x.v[7]);
}

// decodeUCoordinate: below 2^255, not necessarily below p.
WARPKEM_FN Element DecodeUCoordinate(const u8* u) {
  Element x = load_element(u);
  x.v[7] &= 0x7FFFFFFF;
  return x;
}

// Word `place` of decodeScalar25519.
WARPKEM_FN u32 clamped(u32 word, int place) {
  if (place == 0) word &= ~7u;
  if (place == 7) word = (word & 0x7FFFFFFF) | 0x40000000;
  return word;
}

// (A - 2) / 4 of the curve, with A = 486662.
inline constexpr u32 a24 = 121665;

// What a step of the ladder makes of x + z and x - z: the double of the point (x : z).
WARPKEM_FN void double_point(const Element& sum, const Element& difference, Element& x, Element& z) {
  using namespace field25519;
  const Element AA = square(sum), BB = square(difference), E = subtract(AA, BB);
  x = multiply(AA, BB);
  z = multiply(E, add_multiple(AA, a24, E));
}

// X25519(k, u), as a fraction. Only the inputs of the doubling are swapped: an exchange of (x_2, z_2) and (x_3, z_3)
// leaves DA + CB as it is, and changes DA - CB by a sign that is squared away. Bit 255 of the scalar is 0, and so are
// the last three: there only the doublings count.
WARPKEM_FN Fraction X25519(const u8* k, const u8* u) {
  using namespace field25519;
  const Element x_1 = DecodeUCoordinate(u);
  Element x_2 = small(1), z_2 = small(0), x_3 = x_1, z_3 = small(1);
  u32 above = 0;  // its highest bit is the scalar's bit above
#pragma unroll 1
  for (int place = 7; place >= 0; --place) {
    u32 word = clamped(reinterpret_cast<const u32*>(k)[place], place) << (place == 7 ? 1 : 0);
    const int bits = place == 7 ? 31 : place == 0 ? 29 : 32;
#pragma unroll 1
    for (int i = 0; i < bits; ++i) {
      const Element A = add(x_2, z_2), B = subtract(x_2, z_2), C = add(x_3, z_3), D = subtract(x_3, z_3);
      const u32 swap = static_cast<u32>(static_cast<int>(word ^ above) >> 31);
      const Element DA = multiply(D, A), CB = multiply(C, B);
      double_point(select(swap, A, C), select(swap, B, D), x_2, z_2);
      x_3 = square(add(DA, CB));
      z_3 = multiply(x_1, square(subtract(DA, CB)));
      above = word;
      word <<= 1;
    }
  }
  const u32 swap = static_cast<u32>(static_cast<int>(above) >> 31);
  Element x = select(swap, x_2, x_3), z = select(swap, z_2, z_3);
#pragma unroll 1
  for (int i = 0; i < 3; ++i) double_point(add(x, z), subtract(x, z), x, z);
  return {x, z};
}

// Whether X25519 is zero for this u, which is public, and every scalar: scalars are multiples of 8, and no multiple of
// 8 below 2^255 is one of the prime orders of the curve and its twist. So 8 times the point tells.
WARPKEM_FN bool has_low_order(const u8* u) {
  using namespace field25519;
  Element x = DecodeUCoordinate(u), z = small(1);
#pragma unroll 1
  for (int i = 0; i < 3; ++i) double_point(add(x, z), subtract(x, z), x, z);
  return zero_mask(canonical(z)) != 0;
}

// A clamped scalar k is even, and the base point B has the odd order L; so k B = n B with n = k - L, which is odd and
// between 0 and 2^255. Such an n is the sum of (2 m_j - 1) 2^j over the 255 bits m_j of m = (n - 1) / 2 + 2^254, which
// is k / 2 + make_comb_offset().
constexpr Element make_comb_offset() noexcept {
  // L = 2^252 + 27742317777372353535851937790883648493
  constexpr Element L{{0x5cf5d3ed, 0x5812631a, 0xa2f79cd6, 0x14def9de, 0, 0, 0, 0x10000000}};
  Element offset{};  // 2^254 - (L + 1) / 2, where L is odd
  u64 borrow = 1;
  for (int i = 0; i < 8; ++i) {
    const u32 half = L.v[i] >> 1 | (i < 7 ? L.v[i + 1] << 31 : 0);
    const u64 difference = u64{i == 7 ? 0x40000000u : 0u} - half - borrow;
    offset.v[i] = static_cast<u32>(difference);
    borrow = difference >> 63;
  }
  return offset;
}
static_assert(make_comb_offset().v[0] == 0xd1851609 && make_comb_offset().v[7] == 0x37ffffff);

// The rows of m, `teeth` of 51 bits.
struct CombRows {
  u64 row[comb::teeth];
};
WARPKEM_FN CombRows comb_rows(const u8* k) {
  constexpr Element offset = make_comb_offset();
  Element x = load_element(k), m;
#pragma unroll
  for (int i = 0; i < 8; ++i) x.v[i] = clamped(x.v[i], i);
#pragma unroll
  for (int i = 0; i < 7; ++i) x.v[i] = __funnelshift_r(x.v[i], x.v[i + 1], 1);
  x.v[7] >>= 1;
  field25519::add_limbs(m.v, x.v, offset.v);
  CombRows rows;
#pragma unroll
  for (int i = 0; i < comb::teeth; ++i) {
    const int first = comb::columns * i, word = first / 32;
    const u32 low = m.v[word], mid = m.v[word + 1], high = word + 2 < 8 ? m.v[word + 2] : 0;
    rows.row[i] = u64{__funnelshift_r(mid, high, first % 32)} << 32 | __funnelshift_r(low, mid, first % 32);
  }
  return rows;
}

// An entry of the table, `index` secret: reads all of them.
WARPKEM_FN void look_up(const comb::Point* entries, u32 index, Element& plus, Element& minus, Element& product) {
  plus = minus = product = field25519::small(0);
#pragma unroll 2
  for (u32 e = 0; e < comb::entries; ++e) {
    const u32 mask = static_cast<u32>(static_cast<int>((e ^ index) - 1) >> 31);  // index and e are small
    const uint4* const from = reinterpret_cast<const uint4*>(entries + e);
    const auto add = [mask](Element& to, int at, const uint4& v) {
      to.v[at] |= v.x & mask, to.v[at + 1] |= v.y & mask, to.v[at + 2] |= v.z & mask, to.v[at + 3] |= v.w & mask;
    };
    add(plus, 0, from[0]), add(plus, 4, from[1]);
    add(minus, 0, from[2]), add(minus, 4, from[3]);
    add(product, 0, from[4]), add(product, 4, from[5]);
  }
}

// X25519(k, 9), as a fraction, which is (Z + Y) / (Z - Y) of k B = (X : Y : Z) with X Y = Z T. No clamped scalar gives
// the neutral element.
WARPKEM_FN Fraction X25519_of_base_point(const u8* k, const comb::Table& table) {
  using namespace field25519;
  const CombRows rows = comb_rows(k);
  Element X = small(0), Y = small(1), Z = small(1), T = small(0);
#pragma unroll 1
  for (int step = comb::steps - 1; step >= 0; --step) {
    if (step + 1 < comb::steps) {  // twice the point, with all signs changed
      const Element XX = square(X), YY = square(Y);
      const Element E = multiply(X, add(Y, Y)), G = subtract(YY, XX), H = add(XX, YY);
      const Element F = subtract(add_multiple(XX, 2, square(Z)), YY);
      X = multiply(E, F);
      Y = multiply(G, H);
      Z = multiply(F, G);
      T = multiply(E, H);
    }
#pragma unroll 1
    for (int t = 0; t < comb::tables; ++t) {
      u32 bits = 0;
#pragma unroll
      for (int i = 0; i < comb::teeth; ++i) {
        bits |= (static_cast<u32>(rows.row[i] >> (comb::steps * t + step)) & 1) << i;
      }
      const u32 negative = (bits >> (comb::teeth - 1)) - 1;  // all ones if the column is below 0
      Element plus, minus, product;
      look_up(table.point[t], (bits ^ negative) % comb::entries, plus, minus, product);
      // The negative of a point has plus and minus exchanged, and its product negated. A complete addition.
      const Element A = multiply(subtract(Y, X), select(negative, minus, plus));
      const Element B = multiply(add(Y, X), select(negative, plus, minus));
      const Element C = multiply(T, product);
      const Element less = subtract(Z, C), more = add(Z, C);
      const Element E = subtract(B, A), H = add(B, A), F = select(negative, less, more),
                    G = select(negative, more, less);
      X = multiply(E, F);
      Y = multiply(G, H);
      Z = multiply(F, G);
      T = multiply(E, H);
    }
  }
  return {add(Z, Y), subtract(Z, Y)};
}

}  // namespace thread

namespace block {

// Elements of all threads of a block, a limb after the other.
template <int most_warps>
struct Elements {
  u32 limb[most_warps][8][32];

  WARPKEM_FN void put(u32 warp, const thread::Element& x) {
#pragma unroll
    for (int i = 0; i < 8; ++i) limb[warp][i][threadIdx.x % 32] = x.v[i];
  }
  WARPKEM_FN thread::Element get(u32 warp) const {
    thread::Element x;
#pragma unroll
    for (int i = 0; i < 8; ++i) x.v[i] = limb[warp][i][threadIdx.x % 32];
    return x;
  }
};

struct DivisionShared {
  static constexpr int warps = policy::x25519.threads / 32;
  Elements<warps> own;
  Elements<warps> before;  // the product of all warps' before
};
static_assert(sizeof(DivisionShared) == policy::x25519.shared_bytes);

// Every thread's numerator / denominator, below p; 0 where the denominator is 0. One warp inverts the products of what
// the warps have (Montgomery's trick), each block another, as warps of the same number share a scheduler.
WARPKEM_FN thread::Element divide(const thread::Fraction& fraction, DivisionShared& shared) {
  using namespace field25519;
  using thread::Element;
  const u32 warps = blockDim.x / 32, warp = threadIdx.x / 32;
  const Element denominator = reduced(fraction.denominator);
  const u32 is_zero = zero_mask(canonical(denominator));
  shared.own.put(warp, select(is_zero, denominator, small(1)));
  __syncthreads();
  if (warp == (blockIdx.x * 0x9E3779B9u >> 24) % warps) {
    Element product = small(1);
#pragma unroll 1
    for (u32 w = 0; w < warps; ++w) {
      shared.before.put(w, product);
      product = multiply(product, shared.own.get(w));
    }
    product = invert(product);
#pragma unroll 1
    for (u32 w = warps; w-- > 0;) {
      const Element own = shared.own.get(w);
      shared.own.put(w, multiply(product, shared.before.get(w)));
      product = multiply(product, own);
      shared.before.put(w, small(0));
    }
  }
  __syncthreads();
  const Element quotient = canonical(multiply(fraction.numerator, shared.own.get(warp)));
  shared.own.put(warp, small(0));
  return select(is_zero, quotient, small(0));
}

}  // namespace block

}  // namespace warpkem::kernels
