// SampleNTT (Algorithm 7) and SamplePolyCBD (Algorithm 8).
#pragma once

#include "kernels/codec.cuh"
#include "kernels/keccak.cuh"

namespace warpkem::kernels {

namespace thread {

// Appends the 112 candidates of one SHAKE128 block to a column of u16 in shared memory. `next` is the shared address of
// the next free slot, `end` that behind the last wanted one; up to eight slots behind `end` are overwritten. A slot
// gets 16 * coefficient + 4 bits of garbage, which costs one instruction less per candidate than the coefficient.
// `next` advances in the multiplier, for the logic unit is Keccak's; `one`, a 1 that the compiler does not know, keeps
// it from undoing that. Variable time: A is public.
struct Column {
  u32 next, end, one;

  // `x` is 16 * candidate + garbage.
  WARPKEM_FN void offer(u32 x) {
    asm volatile(
        "{\n\t.reg .pred accepted;\n\t"
        "st.shared.u16 [%0], %1;\n\t"
        "setp.lt.u32 accepted, %2, %3;\n\t"
        "@accepted mad.lo.u32 %0, %4, 2, %0;\n\t}"
        : "+r"(next)
        : "h"(static_cast<u16>(x)), "r"(x), "n"(16 * q), "r"(one)
        : "memory");
  }
  WARPKEM_FN void clamp() { next = min(next, end); }
  WARPKEM_FN bool full() const { return next >= end; }
};

WARPKEM_FN u32 times16(u32 x) {
  u32 y;
  asm("mul.lo.u32 %0, %1, 16;" : "=r"(y) : "r"(x));
  return y;
}

WARPKEM_FN void append_candidates(const KeccakState& s, Column& column) {
  const auto word = [&s](int i) { return i % 2 == 0 ? s.lo[i / 2] : s.hi[i / 2]; };
#pragma unroll
  for (int i = 0; i < 42; i += 3) {
    const u32 w0 = word(i), w1 = word(i + 1), w2 = word(i + 2);
    column.offer(times16(w0) & 0xFFF0);
    column.offer(__byte_perm(w0, 0, 0x4421));
    column.offer(__funnelshift_r(w0, w1, 20) & 0xFFF0);
    column.offer(w1 & 0xFFFF);
    column.offer((w1 >> 12) & 0xFFF0);
    column.offer(__funnelshift_r(w1, w2, 24) & 0xFFFF);
    column.offer((w2 >> 4) & 0xFFF0);
    column.offer(w2 >> 16);
    column.clamp();
  }
}

}  // namespace thread

namespace halfwarp {

// SamplePolyCBD_eta of 64 * eta pseudorandom bytes. Each lane turns the bits of 16 adjacent coefficients into fields
// 4 + x - y, SIMD within a register; fields go through shared memory to the lanes that need them, which mask one out
// where it stands and let an exact FFMA scale it: one integer instruction per coefficient. |f_i| <= eta.
template <int eta>
WARPKEM_FN Poly SamplePolyCBD(const u8* bytes, float* exchange) {
  const u32 t = lane();
  u32* words = reinterpret_cast<u32*>(exchange);
  Poly f;
  __syncwarp();
  if constexpr (eta == 2) {
    const uint2 w = reinterpret_cast<const uint2*>(bytes)[t];
    const auto fields = [](u32 x) {
      const u32 pairs = x - ((x >> 1) & 0x55555555);  // sums of two bits
      return (pairs & 0x33333333) + 0x44444444 - ((pairs >> 2) & 0x33333333);
    };
    reinterpret_cast<uint2*>(words)[t] = make_uint2(fields(w.x), fields(w.y));
    __syncwarp();
    const u32 place = 4 * (t % 4), mask = 15u << place;
    const float scale = __uint_as_float((127 - place) << 23);  // 2^-place
    const float offset = -__fmaf_rn(integer_base, scale, 4.0f);
    const u16* halves = reinterpret_cast<const u16*>(words) + t / 4;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      f.c[i] = __fmaf_rn(__uint_as_float((halves[4 * i] & mask) | integer_base_bits), scale, offset);
    }
  } else {
    static_assert(eta == 3);
    const Packed<6> p = load_packed<6>(bytes, exchange);
    const u32 w0 = p.w[0], w1 = p.w[1], w2 = p.w[2];
    __syncwarp();
    const auto fields = [](u32 x) {  // 24 bits: four coefficients
      const u32 sums = (x & 0x249249) + ((x >> 1) & 0x249249) + ((x >> 2) & 0x249249);
      return (sums & 0x1C71C7) + 0x104104 - ((sums >> 3) & 0x1C71C7);
    };
    reinterpret_cast<uint4*>(words)[t] = make_uint4(fields(w0), fields(__funnelshift_r(w0, w1, 24)),
                                                    fields(__funnelshift_r(w1, w2, 16)), fields(w2 >> 8));
    __syncwarp();
    const u32 place = 6 * (t % 4), mask = 7u << place;
    const float scale = __uint_as_float((127 - place) << 23);
    const float offset = -__fmaf_rn(integer_base, scale, 4.0f);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      f.c[i] = __fmaf_rn(__uint_as_float((words[4 * i + t / 4] & mask) | integer_base_bits), scale, offset);
    }
  }
  return f;
}

}  // namespace halfwarp
}  // namespace warpkem::kernels
