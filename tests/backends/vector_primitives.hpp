// The vector primitives of avx2 and avx512 behind plain functions, so that tests of them are compiled for any CPU.
// Arrays of coefficients are 64-byte aligned.
#pragma once

#include <cstdint>

namespace warpkem::vector_primitives {

using i16 = std::int16_t;
using u8 = std::uint8_t;

struct VectorPrimitives {
  const char* name;
  int lanes;

  // 16 numbers at a time, in place.
  void (*reduce)(i16* x);
  void (*canonical)(i16* x);
  void (*multiply_by_zeta)(i16* x, int i);  // by zeta^BitRev7(i), 1 <= i <= 15
  void (*Compress)(int d, i16* x);

  // 256 coefficients.
  void (*NTT)(const i16* f, i16* f_hat);
  void (*InverseNTT)(const i16* f_hat, i16* f);                    // of f_hat * 2^16
  void (*MultiplyNTTs)(const i16* a, const i16* b, i16* product);  // times 2^-16; 4 products of the same, summed
  bool (*below_q)(const u8* bytes, int count);
  void (*ByteDecode_12)(const u8* bytes, i16* f);
  void (*ByteEncode_12)(const i16* f, u8* bytes);
  void (*encode_compressed)(int d, const i16* f, u8* bytes);  // d = 4, 5, 10, 11; for 11 two bytes more
  void (*decode_compressed)(int d, const u8* bytes, i16* f);
  void (*encode_message)(const i16* v, const i16* w, u8* m);
  void (*add_message)(const u8* m, i16* f);
  void (*SamplePolyCBD)(int eta, const u8* bytes, i16* f);  // 64 * eta bytes, and 4 more that it may read
  int (*SampleNTT)(const u8* bytes, int blocks, i16* a);    // 168-byte blocks, at least 3; a has room for 352

  // 25 words of each of `lanes` states in turn.
  void (*permute)(std::uint64_t* states, int active);
};

VectorPrimitives avx2();
VectorPrimitives avx512();

}  // namespace warpkem::vector_primitives
