// ML-KEM as FIPS 203 writes it, from top to bottom: integers mod q, encodings, hashes, sampling, the NTT, K-PKE,
// ML-KEM, and last the door through which the engine comes in. Functions bear the names of the standard's algorithms.
// This is the specification for every other backend, and the backend for CPUs that no other one supports.
//
// Where the code departs from the page, it is for one of three reasons:
//  - Coefficients are signed 16-bit numbers that stand for their residue mod q and are made canonical only where the
//    standard looks at their bits (ByteEncode, Compress). Each function states the bounds that it needs and leaves.
//  - An encoded key is expanded once into a form (A_hat, t_hat, H(ek), s_hat, z), from which Encaps and Decaps work:
//    a prepared key is just a form that is kept.
//  - No branch and no address depends on a secret, and nothing is divided. Only SampleNTT, the modulus check and the
//    verdict of the hash check, whose inputs are public, run in variable time.
//
// Secrets lie in a Scratch or in a DkForm, which are wiped, or on the stack, which clear_stack() overwrites.
#include "host/backends/portable/portable.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "host/core/ct.hpp"
#include "host/core/secure.hpp"
#include "warpkem/params.hpp"

namespace warpkem::portable {
namespace {

using namespace host;
using std::int16_t, std::int32_t, std::size_t, std::uint16_t, std::uint32_t, std::uint64_t, std::uint8_t;

#define WARPKEM_INLINE [[gnu::always_inline]] inline

// f(0), f(1), ... f(N - 1) with the index as a constant, so that loops over lanes and bits leave no trace.
template <class F, int... i>
WARPKEM_INLINE constexpr void unroll(F&& f, std::integer_sequence<int, i...>) noexcept {
  (f(std::integral_constant<int, i>()), ...);
}
template <int N, class F>
WARPKEM_INLINE constexpr void unroll(F&& f) noexcept {
  unroll(f, std::make_integer_sequence<int, N>());
}

// Hides from the compiler what it may know of x, so that it cannot turn masks and products with a bit into branches.
WARPKEM_INLINE uint32_t value_barrier(uint32_t x) noexcept {
  asm("" : "+r"(x));
  return x;
}

// ---- Integers mod q

constexpr int n = MlKem768::n, q = MlKem768::q;  // of every parameter set

// Montgomery multiplication with R = 2^16: reduces a * b to a * b / R mod q by shifts instead of a division.

constexpr uint32_t pow_mod_q(uint32_t base, uint32_t exponent) {
  uint32_t result = 1;
  for (; exponent != 0; --exponent) result = result * base % q;
  return result;
}

// The representative in [-q/2, q/2].
constexpr int16_t centred(uint32_t x) {
  const int r = static_cast<int>(x % q);
  return static_cast<int16_t>(r > q / 2 ? r - q : r);
}

constexpr uint32_t R_mod_q = 65536 % q;
constexpr int16_t q_inverse = -3327;  // q^-1 mod R
static_assert(static_cast<int16_t>(q * q_inverse) == 1);

// A constant factor b, as multiply() wants it: b * R mod q, and that times q^-1 mod R.
struct Factor {
  int16_t b, b_q_inverse;
};

constexpr Factor factor(uint32_t b) {
  const int16_t b_R = centred(b % q * R_mod_q);
  return {b_R, static_cast<int16_t>(b_R * q_inverse)};
}

WARPKEM_INLINE int16_t high_half(int32_t x) noexcept { return static_cast<int16_t>(x >> 16); }

// a * b mod q with |result| < 3q/4, for any a. The low halves of a * bR and of (a * bR * q^-1 mod R) * q are equal, so
// the difference of the high halves is (a * bR - m * q) / R exactly; it is at most (2^15 * q/2 + 2^15 * q) / R.
WARPKEM_INLINE int16_t multiply(int16_t a, Factor b) noexcept {
  const auto m = static_cast<int16_t>(a * b.b_q_inverse);
  return static_cast<int16_t>(high_half(a * b.b) - high_half(m * q));
}

// a * b / R mod q with |result| < 0.56 q + |a * b| / R.
WARPKEM_INLINE int16_t montgomery_multiply(int16_t a, int16_t b) noexcept {
  const auto low = static_cast<int16_t>(a * b);
  const auto m = static_cast<int16_t>(low * q_inverse);
  return static_cast<int16_t>(high_half(a * b) - high_half(m * q));
}

// x mod q with |result| <= q/2 + 1, for any x. Barrett: the quotient round(x / q), by a multiplication.
WARPKEM_INLINE int16_t reduce(int16_t x) noexcept {
  constexpr int16_t reciprocal = ((1 << 26) + q / 2) / q;  // 2^26 / q, rounded
  const auto quotient = static_cast<int16_t>((high_half(x * reciprocal) + (1 << 9)) >> 10);
  return static_cast<int16_t>(x - quotient * q);
}

// 0 <= result < q, for |x| < q.
WARPKEM_INLINE uint16_t canonical(int16_t x) noexcept { return static_cast<uint16_t>(x + ((x >> 15) & q)); }

// R_q: f_0 + f_1 X + ... + f_255 X^255. T_q: its NTT representation, 128 polynomials f_2i + f_2i+1 X. (Section 2.4.4)
struct alignas(64) Poly {
  int16_t f[n];
};
struct alignas(64) NttPoly {
  int16_t f[n];
};

// |f_i| < 9q in; < q out.
template <class P>
void add(P& f, const P& g) noexcept {
  for (int i = 0; i < n; ++i) f.f[i] = reduce(static_cast<int16_t>(f.f[i] + g.f[i]));
}

// ---- Section 4.2.1: conversion and compression

// Compress_d (4.7): round(2^d / q * x) mod 2^d for 0 <= x < q. Divides by multiplying by 2^32 / q, rounded up.
template <int d>
WARPKEM_INLINE constexpr uint16_t Compress(uint16_t x) noexcept {
  constexpr uint64_t reciprocal = (uint64_t{1} << 32) / q + 1;
  const uint64_t scaled = (uint64_t{x} << d) + q / 2;
  return static_cast<uint16_t>(((scaled * reciprocal) >> 32) & ((1u << d) - 1));
}

// Decompress_d (4.8): round(q / 2^d * y).
template <int d>
WARPKEM_INLINE constexpr uint16_t Decompress(uint16_t y) noexcept {
  return static_cast<uint16_t>((uint32_t{y} * q + (1u << (d - 1))) >> d);
}

template <int d>
constexpr bool compress_is_exact() {
  for (uint32_t x = 0; x < q; ++x) {
    const uint32_t rounded = ((x << (d + 1)) + q) / (2 * q) % (1u << d);
    if (Compress<d>(static_cast<uint16_t>(x)) != rounded) return false;
  }
  return true;
}
static_assert(compress_is_exact<1>() && compress_is_exact<4>() && compress_is_exact<5>() && compress_is_exact<10>() &&
              compress_is_exact<11>());

// ByteEncode_d (Algorithm 5), with BitsToBytes (Algorithm 3): coefficient i, as `get` gives it, is bits d * i and up of
// the output. Eight coefficients make d bytes.
template <int d, class Get>
WARPKEM_INLINE void ByteEncode(uint8_t* out, Get&& get) noexcept {
  for (int i = 0; i < n; i += 8, out += d) {
    uint32_t a[8];
    unroll<8>([&](auto j) { a[j] = get(i + j); });
    unroll<d>([&](auto byte) {
      uint32_t bits = 0;
      unroll<8>([&](auto j) {
        constexpr int shift = j * d - 8 * byte;
        if constexpr (shift >= 0 && shift < 8) bits |= a[j] << shift;
        if constexpr (shift < 0 && shift > -d) bits |= a[j] >> -shift;
      });
      out[byte] = static_cast<uint8_t>(bits);
    });
  }
}

// ByteDecode_d (Algorithm 6), with BytesToBits (Algorithm 4), but for the reduction mod q when d = 12: `put` takes
// coefficient i.
template <int d, class Put>
WARPKEM_INLINE void ByteDecode(const uint8_t* in, Put&& put) noexcept {
  for (int i = 0; i < n; i += 8, in += d) {
    unroll<8>([&](auto j) {
      constexpr int byte = j * d / 8, shift = j * d % 8;
      uint32_t bits = uint32_t{in[byte]} >> shift;
      if constexpr (shift + d > 8) bits |= uint32_t{in[byte + 1]} << (8 - shift);
      if constexpr (shift + d > 16) bits |= uint32_t{in[byte + 2]} << (16 - shift);
      put(i + j, static_cast<uint16_t>(bits & ((1u << d) - 1)));
    });
  }
}

// ByteEncode_12. |f_i| < q.
void ByteEncode12(uint8_t* out, const NttPoly& f) noexcept {
  ByteEncode<12>(out, [&](int i) { return canonical(f.f[i]); });
}

// ByteDecode_12, which reduces mod q. |f_i| < q.
void ByteDecode12(NttPoly& f, const uint8_t* in) noexcept {
  ByteDecode<12>(in, [&](int i, uint16_t x) { f.f[i] = static_cast<int16_t>(x); });
  for (int i = 0; i < n; ++i) f.f[i] = static_cast<int16_t>(canonical(static_cast<int16_t>(f.f[i] - q)));
}

// ByteEncode_d(Compress_d(f)). |f_i| < q.
template <int d>
void encode_compressed(uint8_t* out, const Poly& f) noexcept {
  ByteEncode<d>(out, [&](int i) { return Compress<d>(canonical(f.f[i])); });
}

// Decompress_d(ByteDecode_d(in)). 0 <= f_i < q.
template <int d>
void decode_decompressed(Poly& f, const uint8_t* in) noexcept {
  ByteDecode<d>(in, [&](int i, uint16_t y) {
    if constexpr (d == 1) y = static_cast<uint16_t>(value_barrier(y));
    f.f[i] = static_cast<int16_t>(Decompress<d>(y));
  });
}

// ---- Section 4.1: the hash functions (FIPS 202)

struct KeccakTables {
  uint64_t iota[24];
  int rho[25];  // of lane x + 5y
};

constexpr KeccakTables keccak_tables = [] {
  KeccakTables tables{};
  for (int x = 1, y = 0, t = 0; t < 24; ++t) {
    tables.rho[x + 5 * y] = (t + 1) * (t + 2) / 2 % 64;
    x = std::exchange(y, (2 * x + 3 * y) % 5);
  }
  uint32_t lfsr = 1;
  for (uint64_t& constant : tables.iota) {
    for (int j = 0; j < 7; ++j) {
      if (lfsr & 1) constant |= uint64_t{1} << ((1 << j) - 1);
      lfsr = (lfsr << 1) ^ ((lfsr >> 7) * 0x171);
    }
  }
  return tables;
}();
static_assert(keccak_tables.iota[0] == 1 && keccak_tables.iota[23] == 0x8000000080008008);
static_assert(keccak_tables.rho[1] == 1 && keccak_tables.rho[24] == 14);

// One round of Keccak-p, FIPS 202 Section 3.3: theta, rho and pi into a row, chi along it, iota.
WARPKEM_INLINE void keccak_round(uint64_t (&out)[25], const uint64_t (&in)[25], uint64_t iota) noexcept {
  uint64_t c[5], d[5];
  unroll<5>([&](auto x) { c[x] = in[x] ^ in[x + 5] ^ in[x + 10] ^ in[x + 15] ^ in[x + 20]; });
  unroll<5>([&](auto x) { d[x] = c[(x + 4) % 5] ^ std::rotl(c[(x + 1) % 5], 1); });
  unroll<5>([&](auto y) __attribute__((always_inline)) {
    uint64_t b[5];
    unroll<5>([&](auto x) {
      constexpr int column = (x + 3 * y) % 5, lane = column + 5 * x;  // pi
      b[x] = std::rotl(in[lane] ^ d[column], keccak_tables.rho[lane]);
    });
    unroll<5>([&](auto x) { out[x + 5 * y] = b[x] ^ (~b[(x + 1) % 5] & b[(x + 2) % 5]); });
  });
  out[0] ^= iota;
}

[[gnu::noinline]] void keccak_f(uint64_t* state) noexcept {
  uint64_t even[25], odd[25];
  unroll<25>([&](auto i) { even[i] = state[i]; });
  for (int round = 0; round < 24; round += 2) {
    keccak_round(odd, even, keccak_tables.iota[round]);
    keccak_round(even, odd, keccak_tables.iota[round + 1]);
  }
  unroll<25>([&](auto i) { state[i] = even[i]; });
}

using Shake256 = Sponge<136, 0x1f>;
using Sha3_512 = Sponge<72, 0x06>;
using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

}  // namespace

// The state's bytes are those of its lanes in memory.
static_assert(std::endian::native == std::endian::little,
              "WarpKEM is for little-endian machines: it reads words of byte strings as they lie in memory");

template <size_t rate, uint8_t suffix>
Sponge<rate, suffix>& Sponge<rate, suffix>::absorb(Bytes in) noexcept {
  while (!in.empty()) {
    uint8_t* const block = reinterpret_cast<uint8_t*>(state_.data()) + position_;
    const size_t bytes = std::min(in.size(), rate - position_);
    for (size_t i = 0; i < bytes; ++i) block[i] ^= in[i];
    in = in.subspan(bytes);
    position_ += bytes;
    if (position_ == rate) keccak_f(state_.data()), position_ = 0;
  }
  return *this;
}

template <size_t rate, uint8_t suffix>
void Sponge<rate, suffix>::squeeze(MutableBytes out) noexcept {
  uint8_t* const block = reinterpret_cast<uint8_t*>(state_.data());
  if (!squeezing_) {
    block[position_] ^= suffix;
    block[rate - 1] ^= 0x80;
    position_ = rate;
    squeezing_ = true;
  }
  while (!out.empty()) {
    if (position_ == rate) keccak_f(state_.data()), position_ = 0;
    const size_t bytes = std::min(out.size(), rate - position_);
    std::memcpy(out.data(), block + position_, bytes);
    out = out.subspan(bytes);
    position_ += bytes;
  }
}

template class Sponge<168, 0x1f>;
template class Sponge<136, 0x06>;

namespace {

// PRF_eta(s, b) (4.3).
template <int eta>
void PRF(uint8_t* out, const uint8_t s[32], uint8_t b) noexcept {
  Shake256().absorb(Bytes(s, 32)).absorb(Bytes(&b, 1)).squeeze(MutableBytes(out, 64 * eta));
}

// H (4.4).
void H(uint8_t out[32], Bytes s) noexcept { Sha3_256().absorb(s).squeeze(MutableBytes(out, 32)); }

// J (4.4), of z || c.
void J(uint8_t out[32], Bytes z, Bytes c) noexcept { Shake256().absorb(z).absorb(c).squeeze(MutableBytes(out, 32)); }

// G (4.5), of two parts: (a, b) = G(first || second).
void G(uint8_t a[32], uint8_t b[32], Bytes first, Bytes second) noexcept {
  Sha3_512 sponge;
  sponge.absorb(first).absorb(second).squeeze(MutableBytes(a, 32));
  sponge.squeeze(MutableBytes(b, 32));
}

// ---- Section 4.2.2: sampling

// SampleNTT (Algorithm 7) of rho || j || i: uniform by rejection, in variable time, for rho is public. 0 <= f_i < q.
void SampleNTT(NttPoly& a_hat, const uint8_t rho[32], uint8_t j, uint8_t i) noexcept {
  constexpr size_t block_bytes = 168;
  const uint8_t indices[2] = {j, i};
  Shake128 xof;
  xof.absorb(Bytes(rho, 32)).absorb(indices);

  // Both candidates of three bytes are stored and counted only if they are accepted, so that the branch predictor has
  // nothing to guess. One place more, for the second one when the first is the last that was needed.
  int16_t accepted[n + 1];
  int count = 0;
  while (count < n) {
    uint8_t block[block_bytes];
    xof.squeeze(block);
    for (size_t b = 0; b < block_bytes && count < n; b += 3) {
      const int d1 = block[b] + 256 * (block[b + 1] % 16);
      const int d2 = block[b + 1] / 16 + 16 * block[b + 2];
      accepted[count] = static_cast<int16_t>(d1);
      count += d1 < q;
      accepted[count] = static_cast<int16_t>(d2);
      count += d2 < q;
    }
  }
  std::memcpy(a_hat.f, accepted, sizeof a_hat.f);
}

// SamplePolyCBD_eta (Algorithm 8): coefficient i is the sum of eta bits less the sum of the next eta. |f_i| <= eta.
// The bits of a group of coefficients are added in parallel: 8 coefficients in 32 bits, or 4 in 24 bits.
template <int eta>
void SamplePolyCBD(Poly& f, const uint8_t* in) noexcept {
  static_assert(eta == 2 || eta == 3);
  constexpr int group_bytes = eta == 2 ? 4 : 3;
  constexpr int group = 8 * group_bytes / (2 * eta);
  constexpr uint32_t every_eta = eta == 2 ? 0x55555555 : 0x00249249;
  constexpr uint32_t mask = (1u << eta) - 1;
  for (int i = 0; i < n; i += group, in += group_bytes) {
    uint32_t bits = 0;
    unroll<group_bytes>([&](auto b) { bits |= uint32_t{in[b]} << (8 * b); });
    uint32_t sums = 0;
    unroll<eta>([&](auto b) { sums += (bits >> b) & every_eta; });
    unroll<group>([&](auto j) {
      const uint32_t x = (sums >> (2 * eta * j)) & mask, y = (sums >> (2 * eta * j + eta)) & mask;
      f.f[i + j] = static_cast<int16_t>(static_cast<int>(x) - static_cast<int>(y));
    });
  }
}

// ---- Section 4.3: the number-theoretic transform

// BitRev_7: the integer whose seven bits are those of i in reverse order.
constexpr uint32_t BitRev7(uint32_t i) {
  uint32_t reversed = 0;
  for (int bit = 0; bit < 7; ++bit) reversed |= ((i >> bit) & 1) << (6 - bit);
  return reversed;
}

constexpr uint32_t zeta = 17;  // a primitive 256th root of unity mod q
static_assert(pow_mod_q(zeta, 128) == q - 1);

struct Zetas {
  Factor power[128];   // zeta^BitRev7(i), Appendix A
  int16_t gamma[128];  // zeta^(2 BitRev7(i) + 1), times R
};

constexpr Zetas zetas = [] {
  Zetas tables{};
  for (uint32_t i = 0; i < 128; ++i) {
    tables.power[i] = factor(pow_mod_q(zeta, BitRev7(i)));
    tables.gamma[i] = factor(pow_mod_q(zeta, 2 * BitRev7(i) + 1)).b;
  }
  return tables;
}();
static_assert(pow_mod_q(zeta, BitRev7(1)) == 1729 && pow_mod_q(zeta, BitRev7(127)) == 2154);  // Appendix A
static_assert(pow_mod_q(zeta, 2 * BitRev7(127) + 1) == q - 2154);
static_assert(zetas.power[1].b == -758 && zetas.power[127].b == 1628);

template <int len>
WARPKEM_INLINE void ntt_layer(int16_t* f) noexcept {
  for (int block = 0; block < n / (2 * len); ++block, f += 2 * len) {
    const Factor z = zetas.power[n / (2 * len) + block];
    for (int j = 0; j < len; ++j) {
      const int16_t t = multiply(f[j + len], z);
      f[j + len] = static_cast<int16_t>(f[j] - t);
      f[j] = static_cast<int16_t>(f[j] + t);
    }
  }
}

// NTT (Algorithm 9). |f_i| < q in; each of the seven layers adds less than 3q/4, so that no sum reaches 2^15; < q out.
void NTT(NttPoly& f_hat, const Poly& poly) noexcept {
  std::memcpy(f_hat.f, poly.f, sizeof f_hat.f);
  int16_t* f = f_hat.f;
  unroll<7>([&](auto layer) { ntt_layer<(128 >> layer)>(f); });
  for (int i = 0; i < n; ++i) f[i] = reduce(f[i]);
}

template <int len>
WARPKEM_INLINE void inverse_ntt_layer(int16_t* f) noexcept {
  for (int block = 0; block < n / (2 * len); ++block, f += 2 * len) {
    const Factor z = zetas.power[n / len - 1 - block];
    for (int j = 0; j < len; ++j) {
      const int16_t t = f[j];
      f[j] = static_cast<int16_t>(t + f[j + len]);
      f[j + len] = multiply(static_cast<int16_t>(f[j + len] - t), z);
    }
  }
}

// InverseNTT (Algorithm 10). |f_i| < q in, < q out. Sums double with every layer: the reduction comes before they pass
// 8q.
void InverseNTT(Poly& poly, const NttPoly& f_hat) noexcept {
  std::memcpy(poly.f, f_hat.f, sizeof poly.f);
  int16_t* f = poly.f;
  unroll<3>([&](auto layer) { inverse_ntt_layer<(2 << layer)>(f); });
  for (int i = 0; i < n; ++i) f[i] = reduce(f[i]);
  unroll<4>([&](auto layer) { inverse_ntt_layer<(16 << layer)>(f); });
  constexpr Factor one_128th = factor(3303);
  static_assert(3303 * 128 % q == 1);
  for (int i = 0; i < n; ++i) f[i] = multiply(f[i], one_128th);
}

// BaseCaseMultiply (Algorithm 12), divided by R: (a_0 + a_1 X) (b_0 + b_1 X) mod X^2 - gamma. |a_i|, |b_i| < q in,
// < 1.3q out.
WARPKEM_INLINE void BaseCaseMultiply(int16_t& c_0, int16_t& c_1, int16_t a_0, int16_t a_1, int16_t b_0, int16_t b_1,
                                     int16_t gamma_R) noexcept {
  const int16_t a_1_b_1 = montgomery_multiply(a_1, b_1);
  c_0 = static_cast<int16_t>(montgomery_multiply(a_0, b_0) + montgomery_multiply(a_1_b_1, gamma_R));
  c_1 = static_cast<int16_t>(montgomery_multiply(a_0, b_1) + montgomery_multiply(a_1, b_0));
}

// MultiplyNTTs (Algorithm 11), divided by R. Bounds as above.
void MultiplyNTTs(NttPoly& h_hat, const NttPoly& f_hat, const NttPoly& g_hat) noexcept {
  const int16_t *f = f_hat.f, *g = g_hat.f;
  for (int i = 0; i < n / 2; ++i) {
    BaseCaseMultiply(h_hat.f[2 * i], h_hat.f[2 * i + 1], f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1],
                     zetas.gamma[i]);
  }
}

// The sum of the products f_hat[j * stride] * g_hat[j] over k elements (Section 2.4.7). |f_i|, |g_i| < q in, < q out.
template <int k>
void inner_product(NttPoly& h_hat, const NttPoly* f_hat, int stride, const NttPoly* g_hat) noexcept {
  static_assert(13 * k * q / 10 < 32768);
  MultiplyNTTs(h_hat, f_hat[0], g_hat[0]);
  for (int j = 1; j < k; ++j) {
    NttPoly product;
    MultiplyNTTs(product, f_hat[j * stride], g_hat[j]);
    for (int i = 0; i < n; ++i) h_hat.f[i] = static_cast<int16_t>(h_hat.f[i] + product.f[i]);
  }
  constexpr Factor R = factor(R_mod_q);
  for (int16_t& x : h_hat.f) x = multiply(x, R);
}

// ---- Keys, expanded

// What K-PKE.Encrypt and ML-KEM.Encaps_internal make of ek before they look at m. Public.
template <ParameterSet P>
struct alignas(64) EkForm {
  NttPoly A_hat[P::k][P::k];
  NttPoly t_hat[P::k];
  uint8_t h[32];  // H(ek)
};

// The same for dk. `secret` is wiped with the form.
template <ParameterSet P>
struct alignas(64) DkForm {
  EkForm<P> ek;
  struct Secret {
    NttPoly s_hat[P::k];
    uint8_t z[32];
  } secret;
};

// Intermediate values of one item, all of them secret. Reused from item to item, wiped after the last.
template <ParameterSet P>
struct alignas(64) Scratch {
  NttPoly y_hat[P::k];  // also e_hat, u_hat
  NttPoly product;
  Poly noise;  // s, e, y, e_1, e_2 as they are sampled
  Poly u, v;   // also w
  Poly mu;
  uint8_t prf[64 * 3];
  uint8_t c_prime[P::c_bytes];
  uint8_t sigma[32], r[32], m_prime[32], K_prime[32], K_bar[32];
};

template <ParameterSet P>
struct alignas(64) Workspace {
  DkForm<P> form;
  uint8_t ek[P::ek_bytes];
  Scratch<P> scratch;
};

// A_hat[i][j] = SampleNTT(rho || j || i): lines 3 to 7 of Algorithm 13, 4 to 8 of Algorithm 14.
template <ParameterSet P>
void sample_matrix(NttPoly (&A_hat)[P::k][P::k], const uint8_t rho[32]) noexcept {
  for (int i = 0; i < P::k; ++i) {
    for (int j = 0; j < P::k; ++j) {
      SampleNTT(A_hat[i][j], rho, static_cast<uint8_t>(j), static_cast<uint8_t>(i));
    }
  }
}

// f = SamplePolyCBD_eta(PRF_eta(s, b)).
template <int eta, class S>
void sample_noise(Poly& f, const uint8_t s[32], int b, S& scratch) noexcept {
  PRF<eta>(scratch.prf, s, static_cast<uint8_t>(b));
  SamplePolyCBD<eta>(f, scratch.prf);
}

// ---- Section 5: K-PKE

namespace kpke {

// K-PKE.KeyGen (Algorithm 13): ek, and the form of (ek, dk) but for H(ek) and z.
template <ParameterSet P>
void KeyGen(uint8_t* ek, DkForm<P>& form, const uint8_t d[32], Scratch<P>& scratch) noexcept {
  constexpr int k = P::k;
  constexpr uint8_t k_byte[1] = {k};
  uint8_t* rho = ek + P::dk_pke_bytes;
  G(rho, scratch.sigma, Bytes(d, 32), k_byte);
  declassify(rho, 32);  // part of ek
  sample_matrix<P>(form.ek.A_hat, rho);
  for (int i = 0; i < k; ++i) {
    sample_noise<P::eta1>(scratch.noise, scratch.sigma, i, scratch);
    NTT(form.secret.s_hat[i], scratch.noise);
  }
  for (int i = 0; i < k; ++i) {
    sample_noise<P::eta1>(scratch.noise, scratch.sigma, k + i, scratch);
    NTT(scratch.y_hat[0], scratch.noise);
    inner_product<k>(form.ek.t_hat[i], form.ek.A_hat[i], 1, form.secret.s_hat);
    add(form.ek.t_hat[i], scratch.y_hat[0]);
    ByteEncode12(ek + 384 * i, form.ek.t_hat[i]);
  }
  declassify(ek, P::ek_bytes);  // what KeyGen publishes
}

// K-PKE.Encrypt (Algorithm 14), lines 2 to 8: what depends on ek alone.
template <ParameterSet P>
void expand(EkForm<P>& form, const uint8_t* ek) noexcept {
  for (int i = 0; i < P::k; ++i) ByteDecode12(form.t_hat[i], ek + 384 * i);
  sample_matrix<P>(form.A_hat, ek + P::dk_pke_bytes);
}

// K-PKE.Encrypt (Algorithm 14), from line 9.
template <ParameterSet P>
void Encrypt(uint8_t* c, const EkForm<P>& ek, const uint8_t m[32], const uint8_t r[32], Scratch<P>& scratch) noexcept {
  constexpr int k = P::k;
  for (int i = 0; i < k; ++i) {
    sample_noise<P::eta1>(scratch.noise, r, i, scratch);
    NTT(scratch.y_hat[i], scratch.noise);
  }
  for (int i = 0; i < k; ++i) {
    inner_product<k>(scratch.product, &ek.A_hat[0][i], k, scratch.y_hat);
    InverseNTT(scratch.u, scratch.product);
    sample_noise<P::eta2>(scratch.noise, r, k + i, scratch);  // e_1
    add(scratch.u, scratch.noise);
    encode_compressed<P::du>(c + 32 * P::du * i, scratch.u);
  }
  inner_product<k>(scratch.product, ek.t_hat, 1, scratch.y_hat);
  InverseNTT(scratch.v, scratch.product);
  sample_noise<P::eta2>(scratch.noise, r, 2 * k, scratch);  // e_2
  decode_decompressed<1>(scratch.mu, m);
  add(scratch.noise, scratch.mu);
  add(scratch.v, scratch.noise);
  encode_compressed<P::dv>(c + P::u_bytes, scratch.v);
}

// K-PKE.Decrypt (Algorithm 15).
template <ParameterSet P>
void Decrypt(uint8_t m[32], const DkForm<P>& dk, const uint8_t* c, Scratch<P>& scratch) noexcept {
  for (int i = 0; i < P::k; ++i) {
    decode_decompressed<P::du>(scratch.u, c + 32 * P::du * i);
    NTT(scratch.y_hat[i], scratch.u);
  }
  inner_product<P::k>(scratch.product, dk.secret.s_hat, 1, scratch.y_hat);
  InverseNTT(scratch.u, scratch.product);
  decode_decompressed<P::dv>(scratch.v, c + P::u_bytes);
  for (int i = 0; i < n; ++i) scratch.v.f[i] = reduce(static_cast<int16_t>(scratch.v.f[i] - scratch.u.f[i]));
  encode_compressed<1>(m, scratch.v);
}

}  // namespace kpke

// ---- Sections 6 and 7: ML-KEM

namespace mlkem {

// ML-KEM.KeyGen_internal (Algorithm 16): ek, and the form of dk.
template <ParameterSet P>
void KeyGen_internal(uint8_t* ek, DkForm<P>& dk, const uint8_t d[32], const uint8_t z[32],
                     Scratch<P>& scratch) noexcept {
  kpke::KeyGen<P>(ek, dk, d, scratch);
  H(dk.ek.h, Bytes(ek, P::ek_bytes));
  std::memcpy(dk.secret.z, z, 32);
}

// ML-KEM.Encaps_internal (Algorithm 17).
template <ParameterSet P>
void Encaps_internal(uint8_t K[32], uint8_t* c, const EkForm<P>& ek, const uint8_t m[32],
                     Scratch<P>& scratch) noexcept {
  G(K, scratch.r, Bytes(m, 32), ek.h);
  kpke::Encrypt<P>(c, ek, m, scratch.r, scratch);
  declassify(c, P::c_bytes);  // what Encaps publishes
}

// ML-KEM.Decaps_internal (Algorithm 18).
template <ParameterSet P>
void Decaps_internal(uint8_t K[32], const DkForm<P>& dk, const uint8_t* c, Scratch<P>& scratch) noexcept {
  kpke::Decrypt<P>(scratch.m_prime, dk, c, scratch);
  G(scratch.K_prime, scratch.r, scratch.m_prime, dk.ek.h);
  J(scratch.K_bar, dk.secret.z, Bytes(c, P::c_bytes));
  kpke::Encrypt<P>(scratch.c_prime, dk.ek, scratch.m_prime, scratch.r, scratch);

  // Lines 9 to 11, branch-free: whether c = c' stays secret.
  uint32_t different = 0;
  for (size_t i = 0; i < P::c_bytes; ++i) different |= static_cast<uint32_t>(c[i] ^ scratch.c_prime[i]);
  const auto mask = static_cast<uint8_t>(value_barrier((0 - different) >> 31) * 0xff);
  for (size_t i = 0; i < 32; ++i) {
    K[i] = static_cast<uint8_t>(scratch.K_prime[i] ^ (mask & (scratch.K_prime[i] ^ scratch.K_bar[i])));
  }
}

// The modulus check of Section 7.2: every coefficient of ek is below q. ek is public.
template <ParameterSet P>
bool modulus_check(const uint8_t* ek) noexcept {
  int too_large = 0;
  for (int i = 0; i < P::k; ++i) {
    ByteDecode<12>(ek + 384 * i, [&](int, uint16_t x) { too_large |= x >= q; });
  }
  return too_large == 0;
}

// The hash check of Section 7.3: H(ek) inside an expanded dk is that of its ek; both are public. Leaves H(ek) in h.
template <ParameterSet P>
bool hash_check(uint8_t h[32], const uint8_t* dk) noexcept {
  declassify(dk + P::dk_ek_offset, P::ek_bytes + 32);  // ek and H(ek)
  H(h, Bytes(dk + P::dk_ek_offset, P::ek_bytes));
  return std::memcmp(h, dk + P::dk_h_offset, 32) == 0;
}

// The form of an encoded ek, with the check that ML-KEM.Encaps (Algorithm 20) demands.
template <ParameterSet P>
ItemStatus expand_ek(EkForm<P>& form, const uint8_t* ek) noexcept {
  if (!modulus_check<P>(ek)) return ItemStatus::invalid_ek;
  kpke::expand<P>(form, ek);
  H(form.h, Bytes(ek, P::ek_bytes));
  return ItemStatus::ok;
}

// The form of an encoded dk, with the check that ML-KEM.Decaps (Algorithm 21) demands. A coefficient that is not below
// q is no error here, neither in dk_PKE nor in the ek inside: ByteDecode_12 reduces it.
template <ParameterSet P>
ItemStatus expand_dk(DkForm<P>& form, const uint8_t* dk, DkFormat format, Workspace<P>& work) noexcept {
  if (format == DkFormat::seed) {
    KeyGen_internal<P>(work.ek, form, dk, dk + 32, work.scratch);
    return ItemStatus::ok;
  }
  if (!hash_check<P>(form.ek.h, dk)) return ItemStatus::invalid_dk;
  kpke::expand<P>(form.ek, dk + P::dk_ek_offset);
  for (int i = 0; i < P::k; ++i) ByteDecode12(form.secret.s_hat[i], dk + 384 * i);
  std::memcpy(form.secret.z, dk + P::dk_z_offset, 32);
  return ItemStatus::ok;
}

}  // namespace mlkem

// ---- Batches

template <ParameterSet P>
void keygen(const uint8_t* seed, uint8_t* ek, uint8_t* dk, DkFormat format, Workspace<P>& work) noexcept {
  const uint8_t *d = seed, *z = seed + 32;
  if (format == DkFormat::seed) {  // without H(ek)
    kpke::KeyGen<P>(ek, work.form, d, work.scratch);
    std::memcpy(dk, seed, P::seed_bytes);
    return;
  }
  mlkem::KeyGen_internal<P>(ek, work.form, d, z, work.scratch);
  for (int i = 0; i < P::k; ++i) ByteEncode12(dk + 384 * i, work.form.secret.s_hat[i]);
  std::memcpy(dk + P::dk_ek_offset, ek, P::ek_bytes);
  std::memcpy(dk + P::dk_h_offset, work.form.ek.h, 32);
  std::memcpy(dk + P::dk_z_offset, z, 32);
}

template <ParameterSet P>
ItemStatus encaps(const Batch& b, size_t i, Workspace<P>& work) noexcept {
  const EkForm<P>* form = &work.form.ek;
  if (b.forms.data != nullptr) {
    form = reinterpret_cast<const EkForm<P>*>(b.forms.data + b.key_of(i) * b.forms.stride);
  } else if (const ItemStatus status = mlkem::expand_ek<P>(work.form.ek, b.ek[i]); status != ItemStatus::ok) {
    return status;
  }
  mlkem::Encaps_internal<P>(b.K_out[i], b.c_out[i], *form, b.m[i], work.scratch);
  return ItemStatus::ok;
}

template <ParameterSet P>
ItemStatus decaps(const Batch& b, size_t i, Workspace<P>& work) noexcept {
  const DkForm<P>* form = &work.form;
  if (b.forms.data != nullptr) {
    form = reinterpret_cast<const DkForm<P>*>(b.forms.data + b.key_of(i) * b.forms.stride);
  } else if (const ItemStatus status = mlkem::expand_dk<P>(work.form, b.dk[i], b.dk_format, work);
             status != ItemStatus::ok) {
    return status;
  }
  mlkem::Decaps_internal<P>(b.K_out[i], *form, b.c[i], work.scratch);
  return ItemStatus::ok;
}

template <ParameterSet P>
ItemStatus run_item(const Batch& b, size_t i, Workspace<P>& work) noexcept {
  uint8_t* const form = b.forms.data + i * b.forms.stride;
  switch (b.operation) {
    case Operation::keygen:
      keygen<P>(b.seeds[i], b.ek_out[i], b.dk_out[i], b.dk_format, work);
      return ItemStatus::ok;
    case Operation::encaps:
      return encaps<P>(b, i, work);
    case Operation::decaps:
      return decaps<P>(b, i, work);
    case Operation::check_ek:
      return mlkem::modulus_check<P>(b.ek[i]) ? ItemStatus::ok : ItemStatus::invalid_ek;
    case Operation::check_dk:
      return mlkem::hash_check<P>(work.form.ek.h, b.dk[i]) ? ItemStatus::ok : ItemStatus::invalid_dk;
    case Operation::prepare_ek:
      return mlkem::expand_ek<P>(*reinterpret_cast<EkForm<P>*>(form), b.ek[i]);
    case Operation::prepare_dk:
      return mlkem::expand_dk<P>(*reinterpret_cast<DkForm<P>*>(form), b.dk[i], b.dk_format, work);
  }
  return ItemStatus::pending;
}

// Overwrites the part of the stack that the functions above have used: spilled registers, sponges, products.
[[gnu::noinline]] void clear_stack() noexcept {
  uint8_t below[4096];
  wipe(below, sizeof below);
}

template <ParameterSet P>
[[gnu::noinline]] void run_items(const Batch& b, Workspace<P>& work) noexcept {
  for (size_t i = 0; i < b.count; ++i) b.statuses[i] = static_cast<uint8_t>(run_item<P>(b, i, work));
}

void run(const Batch& batch, uint8_t* workspace) noexcept {
  with_params(batch.algorithm, [&]<ParameterSet P>(P) {
    auto& work = *reinterpret_cast<Workspace<P>*>(workspace);
    run_items<P>(batch, work);
    if (batch.operation == Operation::check_ek || batch.operation == Operation::check_dk) return;
    wipe(&work.form.secret, sizeof work.form.secret);
    wipe(&work.scratch, sizeof work.scratch);
    clear_stack();
  });
}

// SHA3-256 and SHAKE256 in a workspace of one sponge. They differ in what follows the message.
template <class Hash>
void hash_item(const host::HashBatch& b, size_t i, uint8_t* workspace) noexcept {
  Hash& sponge = *new (workspace) Hash;
  sponge.absorb(Bytes(b.message[i], b.message_bytes)).squeeze(MutableBytes(b.digest[i], b.digest_bytes));
}

void hash(const host::HashBatch& batch, uint8_t* workspace) noexcept {
  for (size_t i = 0; i < batch.count; ++i) {
    if (batch.function == host::HashFunction::sha3_256) {
      hash_item<Sha3_256>(batch, i, workspace);
    } else {
      hash_item<Shake256>(batch, i, workspace);
    }
  }
  wipe(workspace, sizeof(Shake256));
  clear_stack();
}

template <template <class> class T>
size_t size_of(uint32_t algorithm) noexcept {
  size_t bytes = 0;
  with_params(algorithm, [&]<ParameterSet P>(P) { bytes = sizeof(T<P>); });
  return bytes;
}

}  // namespace

const CpuKernels& kernels() noexcept {
  static constexpr CpuKernels table{"portable",      1,   size_of<Workspace>, size_of<EkForm>,
                                    size_of<DkForm>, run, sizeof(Shake256),   hash};
  return table;
}

}  // namespace warpkem::portable
