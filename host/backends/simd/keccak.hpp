// Keccak-f[1600] for any word type, and the word of one state; those of several are with the backend that has them.
#pragma once

#include <immintrin.h>

#include "host/backends/simd/tables.hpp"

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
constexpr KeccakConstants kKeccak = make_keccak_constants();
static_assert(kKeccak.round[23] == 0x8000000080008008 && kKeccak.rotation[24] == 14);

// Row Y of rho, pi and chi. Position X of it comes from word x + 5X with 2x + 3X = Y (mod 5).
constexpr int keccak_source(int X, int Y) { return (Y + 2 * X) * 3 % 5 + 5 * X; }

template <class V, int X, int Y, class T>
[[gnu::always_inline]] inline T keccak_moved(const T (&a)[25], const T (&d)[5]) {
  constexpr int source = keccak_source(X, Y);
  return V::template rotl<kKeccak.rotation[source]>(V::xor2(a[source], d[source % 5]));
}

template <class V, int Y, class T>
[[gnu::always_inline]] inline void keccak_row(const T (&a)[25], const T (&d)[5], T (&b)[25], u64 constant) {
  const T e0 = keccak_moved<V, 0, Y>(a, d), e1 = keccak_moved<V, 1, Y>(a, d), e2 = keccak_moved<V, 2, Y>(a, d),
          e3 = keccak_moved<V, 3, Y>(a, d), e4 = keccak_moved<V, 4, Y>(a, d);
  const T first = V::chi(e0, e1, e2);
  b[5 * Y] = Y == 0 ? V::xor_constant(first, constant) : first;
  b[5 * Y + 1] = V::chi(e1, e2, e3);
  b[5 * Y + 2] = V::chi(e2, e3, e4);
  b[5 * Y + 3] = V::chi(e3, e4, e0);
  b[5 * Y + 4] = V::chi(e4, e0, e1);
}

template <class V, class T>
[[gnu::always_inline]] inline void keccak_round(const T (&a)[25], T (&b)[25], u64 constant) {
  const T c0 = V::xor5(a[0], a[5], a[10], a[15], a[20]), c1 = V::xor5(a[1], a[6], a[11], a[16], a[21]),
          c2 = V::xor5(a[2], a[7], a[12], a[17], a[22]), c3 = V::xor5(a[3], a[8], a[13], a[18], a[23]),
          c4 = V::xor5(a[4], a[9], a[14], a[19], a[24]);
  const T d[5] = {V::xor2(c4, V::template rotl<1>(c1)), V::xor2(c0, V::template rotl<1>(c2)),
                  V::xor2(c1, V::template rotl<1>(c3)), V::xor2(c2, V::template rotl<1>(c4)),
                  V::xor2(c3, V::template rotl<1>(c0))};
  keccak_row<V, 0>(a, d, b, constant);
  keccak_row<V, 1>(a, d, b, constant);
  keccak_row<V, 2>(a, d, b, constant);
  keccak_row<V, 3>(a, d, b, constant);
  keccak_row<V, 4>(a, d, b, constant);
}

// `state`: 25 words, word w of the first state at state + w * stride; the word type says how many states there are.
template <class V, int stride>
[[gnu::always_inline]] inline void keccak_f1600(u64* state) {
  typename V::Word a[25], b[25];
#pragma GCC unroll 25
  for (int w = 0; w < 25; ++w) a[w] = V::load(state + w * stride);
#pragma GCC unroll 1
  for (int round = 0; round < 24; round += 2) {
    keccak_round<V>(a, b, kKeccak.round[round]);
    keccak_round<V>(b, a, kKeccak.round[round + 1]);
  }
#pragma GCC unroll 25
  for (int w = 0; w < 25; ++w) V::store(state + w * stride, a[w]);
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
