// The list of primitives of one instruction set; see primitives.hpp. Everything works on memory that is in L1.
#pragma once

#include "bench/primitives.hpp"
#include "host/backends/x86/sample.hpp"
#include "host/backends/x86/sponge.hpp"

namespace warpkem::bench {
namespace {

using namespace simd;

constexpr int k = 3;

struct Memory {
  Poly poly[2];
  NttPoly ntt[2], x[k], x_gamma[k], product;
  MatrixEntry A[k][k];
  alignas(64) u8 bytes[xof_bytes + 72];

  void fill() {
    u32 seed = 1;
    for (u8& byte : bytes) byte = static_cast<u8>((seed = seed * 1664525 + 1013904223) >> 24);
    SamplePolyCBD<2>(bytes, poly[0]);
    NTT(poly[0], ntt[0]);
    for (int i = 0; i < k; ++i) {
      NTT(poly[0], x[i]);
      times_gamma(x[i], x_gamma[i]);
      for (int j = 0; j < k; ++j) SampleNTT_first_blocks(bytes, A[i][j]);
    }
  }
};
Memory memory;  // filled by what makes the list: not before main, where the CPU has not been asked

template <class K>
LaneStates<K::lanes> states;
template <class K, int active>
void permute() {
  K::permute(states<K>, active);
}

// Sponges and samplers together, as the backends use them: a full set of lanes from seeds to entries of A.
template <class K>
void sample_from_seeds() {
  const u8* seed[K::lanes];
  u8* out[K::lanes];
  static u8 squeezed[K::lanes][xof_bytes + 72];
  static MatrixEntry entries[K::lanes];
  for (int l = 0; l < K::lanes; ++l) seed[l] = memory.bytes + 32 * l;
  Sponge<K> sponge(states<K>, shake128_rate, K::lanes);
  sponge.absorb(seed, 4);
  sponge.absorb_word(shake_padding << 16);
  sponge.close();
  for (int block = 0; block < 3; ++block) {
    if (block != 0) sponge.next_block();
    for (int l = 0; l < K::lanes; ++l) out[l] = squeezed[l] + 168 * block;
    sponge.copy_out(out, shake128_rate);
  }
  for (int l = 0; l < K::lanes; ++l) SampleNTT_first_blocks(squeezed[l], entries[l]);
}

void matrix_vector() {
  for (int i = 0; i < k; ++i)
    inner_product<k>(memory.A[i][0].c, entry_stride, memory.x, memory.x_gamma, memory.product);
}

constexpr Primitive common[] = {
    {"SampleNTT", 1, [] { SampleNTT_first_blocks(memory.bytes, memory.A[0][0]); }},
    {"SamplePolyCBD_2", 1, [] { SamplePolyCBD<2>(memory.bytes, memory.poly[1]); }},
    {"SamplePolyCBD_3", 1, [] { SamplePolyCBD<3>(memory.bytes, memory.poly[1]); }},
    {"NTT", 1, [] { NTT(memory.poly[0], memory.ntt[0]); }},
    {"InverseNTT", 1, [] { InverseNTT(memory.ntt[0], memory.poly[1]); }},
    {"times_gamma", 1, [] { times_gamma(memory.x[0], memory.x_gamma[0]); }},
    {"MultiplyNTTs", 1, [] { inner_product<1>(memory.A[0][0].c, n, memory.x, memory.x_gamma, memory.product); }},
    {"matrix-vector_3x3", 1, matrix_vector},
    {"ByteDecode_12", 1, [] { ByteDecode<12>(memory.bytes, memory.ntt[1]); }},
    {"ByteEncode_12", 1, [] { ByteEncode<12>(memory.ntt[0], memory.bytes); }},
    {"below_q", 1,
     [] {
       const bool good = below_q(memory.bytes, 1);
       asm volatile("" : : "r"(good));
     }},
    {"compress_4", 1, [] { encode_compressed<4>(memory.poly[0], memory.poly[1], memory.bytes); }},
    {"compress_5", 1, [] { encode_compressed<5>(memory.poly[0], memory.poly[1], memory.bytes); }},
    {"compress_10", 1, [] { encode_compressed<10>(memory.poly[0], memory.poly[1], memory.bytes); }},
    {"compress_11", 1, [] { encode_compressed<11>(memory.poly[0], memory.poly[1], memory.bytes); }},
    {"decompress_4", 1, [] { decode_compressed<4>(memory.bytes, memory.poly[1]); }},
    {"decompress_5", 1, [] { decode_compressed<5>(memory.bytes, memory.poly[1]); }},
    {"decompress_10", 1, [] { decode_compressed<10>(memory.bytes, memory.poly[1]); }},
    {"decompress_11", 1, [] { decode_compressed<11>(memory.bytes, memory.poly[1]); }},
};
constexpr int num_common = sizeof(common) / sizeof(common[0]);

// Those of one instruction set, then the common ones as compiled for it.
template <int count>
Primitives list_with(const Primitive (&own)[count]) {
  static Primitive list[num_common + count];
  memory.fill();
  for (int i = 0; i < count; ++i) list[i] = own[i];
  for (int i = 0; i < num_common; ++i) list[count + i] = common[i];
  return {list, num_common + count};
}

}  // namespace
}  // namespace warpkem::bench
