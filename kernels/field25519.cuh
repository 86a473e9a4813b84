// Arithmetic modulo p = 2^255 - 19 in one thread: eight limbs of 32 bits, all of whose bits are used.
//
// An element stands for its residue: any number below 2^256, or a `reduced` one, which is below 2^255 + 2^23. Products
// take any and leave reduced ones; sums and differences take reduced ones and leave any. Products of limbs are added up
// in two arrays, of the columns that begin at even limbs and at odd ones: a product then never lies across two register
// pairs, and ptxas makes one IMAD.WIDE of each mad.lo and madc.hi (64 of a multiplication, 36 of a square, 8 of each
// reduction). Carries pass between instructions of one asm statement only.
#pragma once

#include "kernels/field.hpp"

namespace warpkem::kernels::field25519 {

struct Element {
  u32 v[8];
};

WARPKEM_FN Element small(u32 x) { return {{x, 0, 0, 0, 0, 0, 0, 0}}; }

// acc += (a0 + a2 2^64 + a4 2^128 + a6 2^192) b; the carry out, at most 1, is added to `carry`, which was zero.
WARPKEM_FN void add_row(u32* acc, u32& carry, u32 a0, u32 a2, u32 a4, u32 a6, u32 b) {
  asm("mad.lo.cc.u32 %0, %9, %13, %0;\n\t"
      "madc.hi.cc.u32 %1, %9, %13, %1;\n\t"
      "madc.lo.cc.u32 %2, %10, %13, %2;\n\t"
      "madc.hi.cc.u32 %3, %10, %13, %3;\n\t"
      "madc.lo.cc.u32 %4, %11, %13, %4;\n\t"
      "madc.hi.cc.u32 %5, %11, %13, %5;\n\t"
      "madc.lo.cc.u32 %6, %12, %13, %6;\n\t"
      "madc.hi.cc.u32 %7, %12, %13, %7;\n\t"
      "addc.u32 %8, 0, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3]), "+r"(acc[4]), "+r"(acc[5]), "+r"(acc[6]), "+r"(acc[7]),
        "=r"(carry)
      : "r"(a0), "r"(a2), "r"(a4), "r"(a6), "r"(b));
}
// The same where acc[7] is zero and no carry leaves it.
WARPKEM_FN void add_last_row(u32* acc, u32 a0, u32 a2, u32 a4, u32 a6, u32 b) {
  asm("mad.lo.cc.u32 %0, %8, %12, %0;\n\t"
      "madc.hi.cc.u32 %1, %8, %12, %1;\n\t"
      "madc.lo.cc.u32 %2, %9, %12, %2;\n\t"
      "madc.hi.cc.u32 %3, %9, %12, %3;\n\t"
      "madc.lo.cc.u32 %4, %10, %12, %4;\n\t"
      "madc.hi.cc.u32 %5, %10, %12, %5;\n\t"
      "madc.lo.cc.u32 %6, %11, %12, %6;\n\t"
      "madc.hi.u32 %7, %11, %12, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3]), "+r"(acc[4]), "+r"(acc[5]), "+r"(acc[6]), "=r"(acc[7])
      : "r"(a0), "r"(a2), "r"(a4), "r"(a6), "r"(b));
}
// Shorter ones, for squares: of three, of two, and of one product.
WARPKEM_FN void add_last_row(u32* acc, u32 a0, u32 a2, u32 a4, u32 b) {
  asm("mad.lo.cc.u32 %0, %6, %9, %0;\n\t"
      "madc.hi.cc.u32 %1, %6, %9, %1;\n\t"
      "madc.lo.cc.u32 %2, %7, %9, %2;\n\t"
      "madc.hi.cc.u32 %3, %7, %9, %3;\n\t"
      "madc.lo.cc.u32 %4, %8, %9, %4;\n\t"
      "madc.hi.u32 %5, %8, %9, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3]), "+r"(acc[4]), "=r"(acc[5])
      : "r"(a0), "r"(a2), "r"(a4), "r"(b));
}
WARPKEM_FN void add_row(u32* acc, u32& carry, u32 a0, u32 a2, u32 a4, u32 b) {
  asm("mad.lo.cc.u32 %0, %7, %10, %0;\n\t"
      "madc.hi.cc.u32 %1, %7, %10, %1;\n\t"
      "madc.lo.cc.u32 %2, %8, %10, %2;\n\t"
      "madc.hi.cc.u32 %3, %8, %10, %3;\n\t"
      "madc.lo.cc.u32 %4, %9, %10, %4;\n\t"
      "madc.hi.cc.u32 %5, %9, %10, %5;\n\t"
      "addc.u32 %6, 0, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3]), "+r"(acc[4]), "+r"(acc[5]), "=r"(carry)
      : "r"(a0), "r"(a2), "r"(a4), "r"(b));
}
WARPKEM_FN void add_last_row(u32* acc, u32 a0, u32 a2, u32 b) {
  asm("mad.lo.cc.u32 %0, %4, %6, %0;\n\t"
      "madc.hi.cc.u32 %1, %4, %6, %1;\n\t"
      "madc.lo.cc.u32 %2, %5, %6, %2;\n\t"
      "madc.hi.u32 %3, %5, %6, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "=r"(acc[3])
      : "r"(a0), "r"(a2), "r"(b));
}
WARPKEM_FN void add_row(u32* acc, u32& carry, u32 a0, u32 a2, u32 b) {
  asm("mad.lo.cc.u32 %0, %5, %7, %0;\n\t"
      "madc.hi.cc.u32 %1, %5, %7, %1;\n\t"
      "madc.lo.cc.u32 %2, %6, %7, %2;\n\t"
      "madc.hi.cc.u32 %3, %6, %7, %3;\n\t"
      "addc.u32 %4, 0, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3]), "=r"(carry)
      : "r"(a0), "r"(a2), "r"(b));
}
WARPKEM_FN void add_row(u32* acc, u32& carry, u32 a, u32 b) {
  asm("mad.lo.cc.u32 %0, %3, %4, %0;\n\t"
      "madc.hi.cc.u32 %1, %3, %4, %1;\n\t"
      "addc.u32 %2, 0, 0;"
      : "+r"(acc[0]), "+r"(acc[1]), "=r"(carry)
      : "r"(a), "r"(b));
}
WARPKEM_FN void add_last_row(u32* acc, u32 a, u32 b) {
  asm("mad.lo.cc.u32 %0, %2, %3, %0;\n\t"
      "madc.hi.u32 %1, %2, %3, 0;"
      : "+r"(acc[0]), "=r"(acc[1])
      : "r"(a), "r"(b));
}
WARPKEM_FN void set_product(u32* to, u32 a, u32 b) {
  const u64 product = u64{a} * b;
  to[0] = static_cast<u32>(product);
  to[1] = static_cast<u32>(product >> 32);
}

// sum = a + b; the carry out.
WARPKEM_FN u32 add_limbs(u32* sum, const u32* a, const u32* b) {
  u32 carry;
  asm("add.cc.u32 %0, %9, %17;\n\t"
      "addc.cc.u32 %1, %10, %18;\n\t"
      "addc.cc.u32 %2, %11, %19;\n\t"
      "addc.cc.u32 %3, %12, %20;\n\t"
      "addc.cc.u32 %4, %13, %21;\n\t"
      "addc.cc.u32 %5, %14, %22;\n\t"
      "addc.cc.u32 %6, %15, %23;\n\t"
      "addc.cc.u32 %7, %16, %24;\n\t"
      "addc.u32 %8, 0, 0;"
      : "=r"(sum[0]), "=r"(sum[1]), "=r"(sum[2]), "=r"(sum[3]), "=r"(sum[4]), "=r"(sum[5]), "=r"(sum[6]), "=r"(sum[7]),
        "=r"(carry)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]), "r"(a[6]), "r"(a[7]), "r"(b[0]), "r"(b[1]),
        "r"(b[2]), "r"(b[3]), "r"(b[4]), "r"(b[5]), "r"(b[6]), "r"(b[7]));
  return carry;
}
// difference = a - b; all ones if that is negative, else zero.
WARPKEM_FN u32 subtract_limbs(u32* difference, const u32* a, const u32* b) {
  u32 borrow;
  asm("sub.cc.u32 %0, %9, %17;\n\t"
      "subc.cc.u32 %1, %10, %18;\n\t"
      "subc.cc.u32 %2, %11, %19;\n\t"
      "subc.cc.u32 %3, %12, %20;\n\t"
      "subc.cc.u32 %4, %13, %21;\n\t"
      "subc.cc.u32 %5, %14, %22;\n\t"
      "subc.cc.u32 %6, %15, %23;\n\t"
      "subc.cc.u32 %7, %16, %24;\n\t"
      "subc.u32 %8, 0, 0;"
      : "=r"(difference[0]), "=r"(difference[1]), "=r"(difference[2]), "=r"(difference[3]), "=r"(difference[4]),
        "=r"(difference[5]), "=r"(difference[6]), "=r"(difference[7]), "=r"(borrow)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]), "r"(a[6]), "r"(a[7]), "r"(b[0]), "r"(b[1]),
        "r"(b[2]), "r"(b[3]), "r"(b[4]), "r"(b[5]), "r"(b[6]), "r"(b[7]));
  return borrow;
}
// x + small and x - small, modulo 2^256.
WARPKEM_FN void add_small(u32* x, u32 small) {
  asm("add.cc.u32 %0, %0, %8;\n\t"
      "addc.cc.u32 %1, %1, 0;\n\t"
      "addc.cc.u32 %2, %2, 0;\n\t"
      "addc.cc.u32 %3, %3, 0;\n\t"
      "addc.cc.u32 %4, %4, 0;\n\t"
      "addc.cc.u32 %5, %5, 0;\n\t"
      "addc.cc.u32 %6, %6, 0;\n\t"
      "addc.u32 %7, %7, 0;"
      : "+r"(x[0]), "+r"(x[1]), "+r"(x[2]), "+r"(x[3]), "+r"(x[4]), "+r"(x[5]), "+r"(x[6]), "+r"(x[7])
      : "r"(small));
}
WARPKEM_FN void subtract_small(u32* x, u32 small) {
  asm("sub.cc.u32 %0, %0, %8;\n\t"
      "subc.cc.u32 %1, %1, 0;\n\t"
      "subc.cc.u32 %2, %2, 0;\n\t"
      "subc.cc.u32 %3, %3, 0;\n\t"
      "subc.cc.u32 %4, %4, 0;\n\t"
      "subc.cc.u32 %5, %5, 0;\n\t"
      "subc.cc.u32 %6, %6, 0;\n\t"
      "subc.u32 %7, %7, 0;"
      : "+r"(x[0]), "+r"(x[1]), "+r"(x[2]), "+r"(x[3]), "+r"(x[4]), "+r"(x[5]), "+r"(x[6]), "+r"(x[7])
      : "r"(small));
}

// x + top 2^256, reduced, for top < 2^17: what lies above 2^255 is then below 2^18, and 19 times that below 2^23.
WARPKEM_FN void fold_top(u32* x, u32 top) {
  const u32 above = __funnelshift_l(x[7], top, 1);
  x[7] &= 0x7FFFFFFF;
  add_small(x, 19 * above);
}

// low + high * factor, reduced, for factor < 2^17.
WARPKEM_FN Element fold(const u32* low, const u32* high, u32 factor) {
  Element even;
  u32 odd[8], top;
#pragma unroll
  for (int i = 0; i < 8; ++i) even.v[i] = low[i];
  add_row(even.v, top, high[0], high[2], high[4], high[6], factor);
#pragma unroll
  for (int i = 0; i < 8; i += 2) set_product(odd + i, high[i + 1], factor);
  // The odd columns begin one limb higher.
  asm("add.cc.u32 %0, %0, %8;\n\t"
      "addc.cc.u32 %1, %1, %9;\n\t"
      "addc.cc.u32 %2, %2, %10;\n\t"
      "addc.cc.u32 %3, %3, %11;\n\t"
      "addc.cc.u32 %4, %4, %12;\n\t"
      "addc.cc.u32 %5, %5, %13;\n\t"
      "addc.cc.u32 %6, %6, %14;\n\t"
      "addc.u32 %7, %7, %15;"
      : "+r"(even.v[1]), "+r"(even.v[2]), "+r"(even.v[3]), "+r"(even.v[4]), "+r"(even.v[5]), "+r"(even.v[6]),
        "+r"(even.v[7]), "+r"(top)
      : "r"(odd[0]), "r"(odd[1]), "r"(odd[2]), "r"(odd[3]), "r"(odd[4]), "r"(odd[5]), "r"(odd[6]), "r"(odd[7]));
  fold_top(even.v, top);
  return even;
}

// even + 2^32 odd, below 2^512.
WARPKEM_FN void join_columns(u32 (&even)[16], const u32 (&odd)[15]) {
  asm("add.cc.u32 %0, %0, %15;\n\t"
      "addc.cc.u32 %1, %1, %16;\n\t"
      "addc.cc.u32 %2, %2, %17;\n\t"
      "addc.cc.u32 %3, %3, %18;\n\t"
      "addc.cc.u32 %4, %4, %19;\n\t"
      "addc.cc.u32 %5, %5, %20;\n\t"
      "addc.cc.u32 %6, %6, %21;\n\t"
      "addc.cc.u32 %7, %7, %22;\n\t"
      "addc.cc.u32 %8, %8, %23;\n\t"
      "addc.cc.u32 %9, %9, %24;\n\t"
      "addc.cc.u32 %10, %10, %25;\n\t"
      "addc.cc.u32 %11, %11, %26;\n\t"
      "addc.cc.u32 %12, %12, %27;\n\t"
      "addc.cc.u32 %13, %13, %28;\n\t"
      "addc.u32 %14, %14, %29;"
      : "+r"(even[1]), "+r"(even[2]), "+r"(even[3]), "+r"(even[4]), "+r"(even[5]), "+r"(even[6]), "+r"(even[7]),
        "+r"(even[8]), "+r"(even[9]), "+r"(even[10]), "+r"(even[11]), "+r"(even[12]), "+r"(even[13]), "+r"(even[14]),
        "+r"(even[15])
      : "r"(odd[0]), "r"(odd[1]), "r"(odd[2]), "r"(odd[3]), "r"(odd[4]), "r"(odd[5]), "r"(odd[6]), "r"(odd[7]),
        "r"(odd[8]), "r"(odd[9]), "r"(odd[10]), "r"(odd[11]), "r"(odd[12]), "r"(odd[13]), "r"(odd[14]));
}

WARPKEM_FN Element multiply(const Element& x, const Element& y) {
  const u32 *a = x.v, *b = y.v;
  u32 even[16], odd[15];
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    set_product(even + i, a[i], b[0]);
    set_product(odd + i, a[i + 1], b[0]);
  }
  even[8] = 0;
  // After row i both arrays end with limb i + 8: what was added up is below a 2^(32 (i + 1)). So where a row's last
  // product ends there, no carry leaves it.
#pragma unroll
  for (int i = 1; i < 8; ++i) {
    if (i % 2 != 0) {
      add_row(odd + i - 1, odd[i + 7], a[0], a[2], a[4], a[6], b[i]);
      add_last_row(even + i + 1, a[1], a[3], a[5], a[7], b[i]);
    } else {
      add_row(even + i, even[i + 8], a[0], a[2], a[4], a[6], b[i]);
      add_last_row(odd + i, a[1], a[3], a[5], a[7], b[i]);
    }
  }
  join_columns(even, odd);
  return fold(even, even + 8, 38);
}

WARPKEM_FN Element square(const Element& x) {
  const u32* a = x.v;
  // Products of different limbs, once; each row as in multiply().
  u32 even[16], odd[15];
#pragma unroll
  for (int i = 1; i < 8; ++i) set_product(i % 2 != 0 ? odd + i - 1 : even + i, a[i], a[0]);
  even[0] = even[1] = even[8] = even[14] = even[15] = odd[14] = 0;
  add_last_row(even + 4, a[3], a[5], a[7], a[1]);
  add_row(odd + 2, odd[8], a[2], a[4], a[6], a[1]);
  add_row(even + 6, even[10], a[4], a[6], a[2]);
  add_last_row(odd + 4, a[3], a[5], a[7], a[2]);
  add_last_row(even + 8, a[5], a[7], a[3]);
  add_row(odd + 6, odd[10], a[4], a[6], a[3]);
  add_row(even + 10, even[12], a[6], a[4]);
  add_last_row(odd + 8, a[5], a[7], a[4]);
  add_last_row(even + 12, a[7], a[5]);
  add_row(odd + 10, odd[12], a[6], a[5]);
  add_last_row(odd + 12, a[7], a[6]);
  join_columns(even, odd);
  // Twice that, and the squares of the limbs.
#pragma unroll
  for (int i = 15; i > 0; --i) even[i] = __funnelshift_l(even[i - 1], even[i], 1);
  asm("mad.lo.cc.u32 %0, %16, %16, %0;\n\t"
      "madc.hi.cc.u32 %1, %16, %16, %1;\n\t"
      "madc.lo.cc.u32 %2, %17, %17, %2;\n\t"
      "madc.hi.cc.u32 %3, %17, %17, %3;\n\t"
      "madc.lo.cc.u32 %4, %18, %18, %4;\n\t"
      "madc.hi.cc.u32 %5, %18, %18, %5;\n\t"
      "madc.lo.cc.u32 %6, %19, %19, %6;\n\t"
      "madc.hi.cc.u32 %7, %19, %19, %7;\n\t"
      "madc.lo.cc.u32 %8, %20, %20, %8;\n\t"
      "madc.hi.cc.u32 %9, %20, %20, %9;\n\t"
      "madc.lo.cc.u32 %10, %21, %21, %10;\n\t"
      "madc.hi.cc.u32 %11, %21, %21, %11;\n\t"
      "madc.lo.cc.u32 %12, %22, %22, %12;\n\t"
      "madc.hi.cc.u32 %13, %22, %22, %13;\n\t"
      "madc.lo.cc.u32 %14, %23, %23, %14;\n\t"
      "madc.hi.u32 %15, %23, %23, %15;"
      : "+r"(even[0]), "+r"(even[1]), "+r"(even[2]), "+r"(even[3]), "+r"(even[4]), "+r"(even[5]), "+r"(even[6]),
        "+r"(even[7]), "+r"(even[8]), "+r"(even[9]), "+r"(even[10]), "+r"(even[11]), "+r"(even[12]), "+r"(even[13]),
        "+r"(even[14]), "+r"(even[15])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5]), "r"(a[6]), "r"(a[7]));
  return fold(even, even + 8, 38);
}

// a + factor * b of any a and b, reduced, for factor < 2^17.
WARPKEM_FN Element add_multiple(const Element& a, u32 factor, const Element& b) { return fold(a.v, b.v, factor); }

// Of reduced values. A sum from 2^256 on has at most 25 bits left, to which 38 is added without a carry.
WARPKEM_FN Element add(const Element& a, const Element& b) {
  Element sum;
  const u32 carry = add_limbs(sum.v, a.v, b.v);
  sum.v[0] += 38 * carry;
  return sum;
}
// Of reduced values: a difference below 0 is far above -2^256 + 38.
WARPKEM_FN Element subtract(const Element& a, const Element& b) {
  Element difference;
  const u32 negative = subtract_limbs(difference.v, a.v, b.v);
  subtract_small(difference.v, negative & 38);
  return difference;
}

// a where `mask` is zero, b where it is all ones.
WARPKEM_FN Element select(u32 mask, const Element& a, const Element& b) {
  Element chosen;
#pragma unroll
  for (int i = 0; i < 8; ++i) chosen.v[i] = (a.v[i] & ~mask) | (b.v[i] & mask);
  return chosen;
}

// Any value, reduced.
WARPKEM_FN Element reduced(Element x) {
  fold_top(x.v, 0);
  return x;
}

// The residue of a reduced value: below p.
WARPKEM_FN Element canonical(Element x) {
  x = reduced(x);  // now below 2^255: what was above it is a small number
  Element plus_19 = x;
  add_small(plus_19.v, 19);  // has bit 255 from p on
  add_small(x.v, 19 & (0 - (plus_19.v[7] >> 31)));
  x.v[7] &= 0x7FFFFFFF;
  return x;
}

// All ones if the canonical value is zero, else zero.
WARPKEM_FN u32 zero_mask(const Element& x) {
  const u32 any = (x.v[0] | x.v[1] | x.v[2]) | (x.v[3] | x.v[4] | x.v[5]) | (x.v[6] | x.v[7]);
  return static_cast<u32>(static_cast<int>(any | (0 - any)) >> 31) ^ 0xFFFFFFFF;
}

// z^(2^times)
WARPKEM_FN Element square(Element z, int times) {
#pragma unroll 1
  for (int i = 0; i < times; ++i) z = square(z);
  return z;
}

// 1 / z, and 0 for 0: z^(p - 2). Names say z to the power of what, `ones` 2^n - 1.
WARPKEM_FN Element invert(const Element& z) {
  const Element z2 = square(z);
  const Element z9 = multiply(square(z2, 2), z), z11 = multiply(z9, z2);
  Element ones = multiply(square(z11), z9), kept = ones;  // n = 5
  // n becomes 10 (kept), 20, 40, 50 (kept), 100, 200 and 250; then 2^255 - 32 + 11. A loop keeps the code short.
  constexpr u64 squares = 0x05'32'64'32'0A'14'0A'05;
#pragma unroll 1
  for (int step = 0; step < 8; ++step) {
    const Element factor = step == 7 ? z11 : step == 3 || step == 6 ? kept : ones;
    ones = multiply(square(ones, static_cast<int>(squares >> (8 * step) & 0xFF)), factor);
    if (step == 0 || step == 3) kept = ones;
  }
  return ones;
}

}  // namespace warpkem::kernels::field25519
