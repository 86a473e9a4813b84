// Keccak-f[1600] for any word type, and the word of one state; those of several are with the backend that has them.
#pragma once

#include <immintrin.h>

#include "host/backends/x86/tables.hpp"

namespace warpkem::simd {
namespace {

// Round constants and rotations, FIPS 202, 3.2.2 and 3.2.5.
struct KeccakConstants {
  u64 round[24];
  int rotation[25];
};
constexpr KeccakConstants make_keccak_constants() {
  KeccakConstants k{};
  u32 lfsr = 1;
  for (int round = 0; round < 24; ++round) {
    for (int j = 0; j <= 6; ++j) {
      if ((lfsr & 1) != 0) k.round[round] |= u64{1} << ((1 << j) - 1);
      lfsr = (lfsr << 1) ^ ((lfsr >> 7) * 0x171);
    }
  }
  for (int t = 0, x = 1, y = 0; t < 24; ++t) {
    k.rotation[x + 5 * y] = (t + 1) * (t + 2) / 2 % 64;
    const int next = (2 * x + 3 * y) % 5;
    x = y, y = next;
  }
  return k;
}
constexpr KeccakConstants keccak_constants = make_keccak_constants();
static_assert(keccak_constants.round[23] == 0x8000000080008008 && keccak_constants.rotation[24] == 14);

// Row Y of rho, pi and chi. Position X of it comes from word x + 5X with 2x + 3X = Y (mod 5).
constexpr int keccak_source(int X, int Y) { return (Y + 2 * X) * 3 % 5 + 5 * X; }

// D of theta. Word i of the state is a[i * step], here and below.
template <class V, int step>
[[gnu::always_inline]] inline void keccak_theta(const typename V::Word* a, typename V::Word (&d)[5]) {
  typename V::Word c[5];
#pragma GCC unroll 5
  for (int x = 0; x < 5; ++x)
    c[x] = V::xor5(a[x * step], a[(x + 5) * step], a[(x + 10) * step], a[(x + 15) * step], a[(x + 20) * step]);
#pragma GCC unroll 5
  for (int x = 0; x < 5; ++x) d[x] = V::xor2(c[(x + 4) % 5], V::template rotl<1>(c[(x + 1) % 5]));
}

template <class V, int step, int X, int Y>
[[gnu::always_inline]] inline typename V::Word keccak_moved(const typename V::Word* a, const typename V::Word (&d)[5]) {
  constexpr int source = keccak_source(X, Y);
  return V::template rotl<keccak_constants.rotation[source]>(V::xor2(a[source * step], d[source % 5]));
}

template <class V, int step, int Y>
[[gnu::always_inline]] inline void keccak_row(const typename V::Word* a, const typename V::Word (&d)[5],
                                              typename V::Word* b, u64 constant) {
  const auto e0 = keccak_moved<V, step, 0, Y>(a, d), e1 = keccak_moved<V, step, 1, Y>(a, d),
             e2 = keccak_moved<V, step, 2, Y>(a, d), e3 = keccak_moved<V, step, 3, Y>(a, d),
             e4 = keccak_moved<V, step, 4, Y>(a, d);
  const auto first = V::chi(e0, e1, e2);
  b[(5 * Y) * step] = Y == 0 ? V::xor_constant(first, constant) : first;
  b[(5 * Y + 1) * step] = V::chi(e1, e2, e3);
  b[(5 * Y + 2) * step] = V::chi(e2, e3, e4);
  b[(5 * Y + 3) * step] = V::chi(e3, e4, e0);
  b[(5 * Y + 4) * step] = V::chi(e4, e0, e1);
}

template <class V>
[[gnu::always_inline]] inline void keccak_round(const typename V::Word* a, typename V::Word* b, u64 constant) {
  typename V::Word d[5];
  keccak_theta<V, 1>(a, d);
  keccak_row<V, 1, 0>(a, d, b, constant);
  keccak_row<V, 1, 1>(a, d, b, constant);
  keccak_row<V, 1, 2>(a, d, b, constant);
  keccak_row<V, 1, 3>(a, d, b, constant);
  keccak_row<V, 1, 4>(a, d, b, constant);
}

// `state`: 25 words, word w of the first state at state + w * stride; the word type says how many states there are.
template <class V, int stride>
[[gnu::always_inline]] inline void keccak_f1600(u64* state) {
  typename V::Word a[25], b[25];
#pragma GCC unroll 25
  for (int w = 0; w < 25; ++w) a[w] = V::load(state + w * stride);
#pragma GCC unroll 1
  for (int round = 0; round < 24; round += 2) {
    keccak_round<V>(a, b, keccak_constants.round[round]);
    keccak_round<V>(b, a, keccak_constants.round[round + 1]);
  }
#pragma GCC unroll 25
  for (int w = 0; w < 25; ++w) V::store(state + w * stride, a[w]);
}

// One round of two independent vectors of states, whose words alternate in memory. While one waits for its parities,
// which need all of the round before, the rows of the other keep the vector units busy; where registers are few, the
// words would be in memory anyway. The barriers keep compilers from putting the rows in another order.
template <class V>
[[gnu::always_inline]] inline void keccak_round_of_two(const typename V::Word* a, typename V::Word* b, u64 constant) {
  typename V::Word d0[5], d1[5];
  keccak_theta<V, 2>(a, d0);
  keccak_theta<V, 2>(a + 1, d1);
  const auto rows = [&]<int Y>() __attribute__((always_inline)) {
    keccak_row<V, 2, Y>(a, d0, b, constant);
    asm volatile("" : : : "memory");
    keccak_row<V, 2, Y>(a + 1, d1, b + 1, constant);
    asm volatile("" : : : "memory");
  };
  rows.template operator()<0>();
  rows.template operator()<1>();
  rows.template operator()<2>();
  rows.template operator()<3>();
  rows.template operator()<4>();
}

template <class V>
[[gnu::always_inline]] inline void keccak_f1600_of_two(u64* state) {
  auto* words = reinterpret_cast<typename V::Word*>(state);
  typename V::Word other[50];
#pragma GCC unroll 1
  for (int round = 0; round < 24; round += 2) {
    keccak_round_of_two<V>(words, other, keccak_constants.round[round]);
    keccak_round_of_two<V>(other, words, keccak_constants.round[round + 1]);
  }
}

struct Word1 {
  using Word = u64;
  static Word load(const u64* p) { return *p; }
  static void store(u64* p, Word v) { *p = v; }
  static Word xor2(Word a, Word b) { return a ^ b; }
  static Word xor5(Word a, Word b, Word c, Word d, Word e) { return a ^ b ^ c ^ d ^ e; }
  template <int r>
  static Word rotl(Word a) {
    return r == 0 ? a : (a << (r & 63)) | (a >> (-r & 63));
  }
  static Word chi(Word a, Word b, Word c) { return a ^ (~b & c); }
  static Word xor_constant(Word a, u64 constant) { return a ^ constant; }
};

}  // namespace
}  // namespace warpkem::simd
