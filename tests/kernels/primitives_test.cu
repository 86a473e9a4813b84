// Each primitive of the device against portable's, and the contracts of the FP32 arithmetic over all their inputs.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "kernels/kpke.cuh"
#include "kernels/policy.hpp"
#include "kernels/steps.hpp"
#include "tests/backends/primitives.hpp"
#include "tests/kernels/device.hpp"

namespace warpkem::kernels::test {
namespace {

using kernels::u16;
using kernels::u32;
using kernels::u64;
using kernels::u8;
using primitives::Coefficients;
using namespace kernels::halfwarp;

constexpr int polys = 6;  // three warps, two polynomials each

class Primitives : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_device()) GTEST_SKIP() << "no CUDA device, neither real nor emulated";
  }
};

u64 random_state = 1;
u32 random_below(u32 bound) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<u32>((random_state >> 33) % bound);
}
std::vector<Coefficients> random_polys() {
  std::vector<Coefficients> all(polys);
  for (Coefficients& f : all) {
    for (auto& x : f) x = static_cast<u16>(random_below(q));
  }
  // The extremes after centering: 1664 and -1664, alone and in turn.
  for (std::size_t n = 0; n < 256; ++n) {
    all[0][n] = 1664;
    all[1][n] = 1665;
    all[2][n] = n % 2 == 0 ? 1664 : 1665;
  }
  return all;
}

template <class T>
std::span<const std::uint8_t> bytes_of(const std::vector<T>& v) {
  return {reinterpret_cast<const std::uint8_t*>(v.data()), v.size() * sizeof(T)};
}

__device__ float centered_float(u16 x) { return static_cast<float>(x > q / 2 ? int{x} - q : int{x}); }
__device__ u16 canonical_u16(float x) { return static_cast<u16>(kernels::canonical(kernels::reduce(x))); }

__device__ float* exchange_of_halfwarp() {
  __shared__ float exchange[2][exchange_floats];
  return exchange[threadIdx.x / 16];
}
// One warp a block, one polynomial a half-warp.
__device__ u32 poly_of_halfwarp() { return 2 * blockIdx.x + threadIdx.x / 16; }

__device__ Poly load_strided(const u16* f) {
  Poly p;
  for (int i = 0; i < 16; ++i) p.c[i] = centered_float(f[lane() + 16 * i]);
  return p;
}
__device__ NttPoly load_contiguous(const u16* f) {
  NttPoly p;
  for (int i = 0; i < 16; ++i) p.c[i] = centered_float(f[16 * lane() + i]);
  return p;
}
__device__ void store_strided(const Poly& p, u16* f) {
  for (int i = 0; i < 16; ++i) f[lane() + 16 * i] = canonical_u16(p.c[i]);
}
__device__ void store_contiguous(const NttPoly& p, u16* f) {
  for (int i = 0; i < 16; ++i) f[16 * lane() + i] = canonical_u16(p.c[i]);
}

template <class T>
std::vector<Coefficients> run_on_polys(void (*kernel)(const T*, u16*), const T* in) {
  const DeviceMemory out(polys * sizeof(Coefficients));
  kernel<<<polys / 2, 32>>>(in, out.as<u16>());
  check(cudaDeviceSynchronize());
  const Bytes bytes = out.read();
  std::vector<Coefficients> result(polys);
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

__global__ void ntt_kernel(const u16* in, u16* out) {
  const u32 p = 256 * poly_of_halfwarp();
  store_contiguous(
      NTT<1664>(load_strided(in + p), exchange_of_halfwarp(), load_factors(kernels::halfwarp::forward_factors)),
      out + p);
}
__global__ void inverse_ntt_kernel(const u16* in, u16* out) {
  const u32 p = 256 * poly_of_halfwarp();
  store_strided(
      InverseNTT(load_contiguous(in + p), exchange_of_halfwarp(), load_factors(kernels::halfwarp::inverse_factors)),
      out + p);
}

TEST_F(Primitives, NttAndItsInverseAgreeWithPortable) {
  const std::vector<Coefficients> f = random_polys();
  const DeviceMemory in(bytes_of(f));
  const auto ntt = run_on_polys<u16>(ntt_kernel, in.as<const u16>());
  const auto inverse = run_on_polys<u16>(inverse_ntt_kernel, in.as<const u16>());
  for (int p = 0; p < polys; ++p) {
    EXPECT_EQ(ntt[p], primitives::NTT(f[p])) << p;
    EXPECT_EQ(inverse[p], primitives::InverseNTT(f[p])) << p;
  }
}

// sum of a_j b_j for k operands, with a as entries of A and as ByteEncode_12; the same a and b in every place.
template <int k>
__global__ void products_kernel(const u16* a_entry, const u8* a_bytes, const u16* b, u16* from_entries,
                                u16* from_bytes) {
  const u32 p = poly_of_halfwarp();
  const auto factors = load_factors(kernels::halfwarp::forward_factors);
  Operand<k> operand;
  for (int j = 0; j < k; ++j) operand.b[j] = multiplicand(load_contiguous(b + 256 * p), factors);
  operand.complete();
  NttPoly sum =
      inner_product_of_entries<k>(operand, [&](int) { return reinterpret_cast<const u8*>(a_entry + 256 * p); });
  for (int i = 0; i < 16; ++i) sum.c[i] = kernels::reduce_scaled<16>(sum.c[i]);
  store_contiguous(sum, from_entries + 256 * p);

  bool too_large = false;
  __shared__ u8 same[2][384 * k];
  for (u32 n = lane(); n < 384 * k; n += 16) same[threadIdx.x / 16][n] = a_bytes[384 * p + n % 384];
  __syncwarp();
  sum = inner_product_of_decoded<k>(operand, same[threadIdx.x / 16], too_large, exchange_of_halfwarp());
  store_contiguous(sum, from_bytes + 256 * p);
}

template <int k>
void compare_products() {
  const std::vector<Coefficients> a = random_polys(), b = random_polys();
  std::vector<u16> entries(polys * 256);
  Bytes bytes(polys * 384);
  for (int p = 0; p < polys; ++p) {
    for (u32 n = 0; n < 256; ++n) {
      const u32 lane = n / 16, quad = n % 16 / 8;  // first halves of all lanes first
      entries[256 * p + 128 * quad + 8 * lane + n % 8] = static_cast<u16>(16 * a[p][n]);
    }
    primitives::ByteEncode(12, a[p], bytes.data() + 384 * p);
  }
  const DeviceMemory entries_in(bytes_of(entries)), bytes_in(bytes), b_in(bytes_of(b));
  const DeviceMemory from_entries(polys * 512), from_bytes(polys * 512);
  products_kernel<k><<<polys / 2, 32>>>(entries_in.as<const u16>(), bytes_in.get(), b_in.as<const u16>(),
                                        from_entries.as<u16>(), from_bytes.as<u16>());
  check(cudaDeviceSynchronize());
  const Bytes first = from_entries.read(), second = from_bytes.read();
  for (int p = 0; p < polys; ++p) {
    Coefficients expected = primitives::MultiplyNTTs(a[p], b[p]), got;
    for (auto& x : expected) x = static_cast<u16>(x * k % q);
    std::memcpy(got.data(), first.data() + 512 * p, 512);
    EXPECT_EQ(got, expected) << k << " entries, polynomial " << p;
    std::memcpy(got.data(), second.data() + 512 * p, 512);
    EXPECT_EQ(got, expected) << k << " decoded, polynomial " << p;
  }
}

TEST_F(Primitives, SumsOfProductsAgreeWithPortable) {
  compare_products<1>();
  compare_products<2>();
  compare_products<3>();
  compare_products<4>();
}

template <int eta>
__global__ void cbd_kernel(const u8* bytes, u16* out) {
  const u32 p = poly_of_halfwarp();
  store_strided(SamplePolyCBD<eta>(bytes + 64 * eta * p, exchange_of_halfwarp()), out + 256 * p);
}

template <int eta>
void compare_cbd() {
  Bytes bytes(polys * 64 * eta);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i < 64 ? i * 4 : random_below(256));
  const DeviceMemory in(bytes);
  const auto out = run_on_polys<u8>(cbd_kernel<eta>, in.as<const u8>());
  for (int p = 0; p < polys; ++p) EXPECT_EQ(out[p], primitives::SamplePolyCBD(eta, bytes.data() + 64 * eta * p)) << eta;
}

TEST_F(Primitives, SamplePolyCBDAgreesWithPortable) {
  compare_cbd<2>();
  compare_cbd<3>();
}

// Compress of x and of its other representatives near zero, for every x.
template <int d>
__global__ void compress_kernel(u16* out) {
  const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) - q;
  if (x <= q) out[x + q] = static_cast<u16>(Compress<d>(static_cast<float>(x)) & ((1u << d) - 1));
}
template <int d>
void compare_compress() {
  const DeviceMemory out((2 * q + 1) * sizeof(u16));
  compress_kernel<d><<<(2 * q + 1 + 255) / 256, 256>>>(out.as<u16>());
  check(cudaDeviceSynchronize());
  const Bytes bytes = out.read();
  for (int x = -q; x <= q; ++x) {
    u16 got;
    std::memcpy(&got, bytes.data() + 2 * (x + q), 2);
    ASSERT_EQ(got, primitives::Compress(d, static_cast<u16>((x + 2 * q) % q))) << d << ": " << x;
  }
}

template <int d>
__global__ void compress_poly_kernel(const u16* in, u32* out) {
  const u32 p = poly_of_halfwarp();
  float* exchange = exchange_of_halfwarp();
  const auto moved = spread(compress_and_pack<d>(load_strided(in + 256 * p), exchange), exchange);
  for (int i = 0; i < moved_words<d>; ++i) {
    if (moves<d>(i)) out[8 * d * p + 16 * i + lane()] = moved.w[i];
  }
}
template <int d>
__global__ void decompress_kernel(const u8* in, u16* out) {
  const u32 p = poly_of_halfwarp();
  store_contiguous(Decompress<d>(in + 32 * d * p, exchange_of_halfwarp()), out + 256 * p);
}

template <int d>
void compare_packing() {
  const std::vector<Coefficients> f = random_polys();
  const DeviceMemory in(bytes_of(f)), out(polys * 32 * d);
  compress_poly_kernel<d><<<polys / 2, 32>>>(in.as<const u16>(), out.as<u32>());
  check(cudaDeviceSynchronize());
  Bytes expected(polys * 32 * d);
  for (int p = 0; p < polys; ++p) {
    Coefficients y;
    for (std::size_t n = 0; n < 256; ++n) y[n] = primitives::Compress(d, f[p][n]);
    primitives::ByteEncode(d, y, expected.data() + 32 * d * p);
  }
  EXPECT_EQ(out.read(), expected) << d;

  // Every value of d bits, in polynomials of 256.
  for (int first = 0; first < (1 << d); first += 256 * polys) {
    std::vector<Coefficients> y(polys);
    Bytes bytes(polys * 32 * d);
    for (int p = 0; p < polys; ++p) {
      for (int n = 0; n < 256; ++n) y[p][n] = static_cast<u16>((first + 256 * p + n) % (1 << d));
      primitives::ByteEncode(d, y[p], bytes.data() + 32 * d * p);
    }
    const DeviceMemory packed(bytes);
    const auto got = run_on_polys<u8>(decompress_kernel<d>, packed.as<const u8>());
    for (int p = 0; p < polys; ++p) {
      for (std::size_t n = 0; n < 256; ++n)
        ASSERT_EQ(got[p][n], primitives::Decompress(d, y[p][n])) << d << ": " << y[p][n];
    }
  }
}

TEST_F(Primitives, CompressionIsExactForEveryCoefficient) {
  compare_compress<1>();
  compare_compress<4>();
  compare_compress<5>();
  compare_compress<10>();
  compare_compress<11>();
}

TEST_F(Primitives, PackedCiphertextsAgreeWithPortableBothWays) {
  compare_packing<4>();
  compare_packing<5>();
  compare_packing<10>();
  compare_packing<11>();
}

__global__ void encode12_kernel(const u16* in, u8* out) {
  const u32 p = poly_of_halfwarp();
  NttPoly f;
  for (int i = 0; i < 16; ++i) f.c[i] = in[256 * p + 16 * lane() + i];
  store_packed(ByteEncode<12>(f), out + 384 * p, true, exchange_of_halfwarp());
}
__global__ void decode12_kernel(const u8* in, u16* out) {
  const u32 p = poly_of_halfwarp();
  store_contiguous(ByteDecode<12, 1664>(in + 384 * p, exchange_of_halfwarp()), out + 256 * p);
}

TEST_F(Primitives, ByteEncode12AndItsInverseAgreeWithPortable) {
  const std::vector<Coefficients> f = random_polys();
  const DeviceMemory in(bytes_of(f)), out(polys * 384);
  encode12_kernel<<<polys / 2, 32>>>(in.as<const u16>(), out.get());
  check(cudaDeviceSynchronize());
  Bytes expected(polys * 384);
  for (int p = 0; p < polys; ++p) primitives::ByteEncode(12, f[p], expected.data() + 384 * p);
  EXPECT_EQ(out.read(), expected);

  Bytes any(polys * 384);  // coefficients up to 4095, too
  for (auto& byte : any) byte = static_cast<u8>(random_below(256));
  const DeviceMemory any_in(any);
  // Undo the shift by 1664 on the way to the comparison.
  const auto got = run_on_polys<u8>(decode12_kernel, any_in.as<const u8>());
  for (int p = 0; p < polys; ++p) {
    Coefficients decoded = primitives::ByteDecode(12, any.data() + 384 * p);
    for (auto& x : decoded) x = static_cast<u16>((x + q - 1664) % q);
    EXPECT_EQ(got[p], decoded);
  }
}

__global__ void message_kernel(const u8* m, const u16* f, u16* decompressed, u32* compressed) {
  const u32 p = poly_of_halfwarp();
  store_strided(Decompress<1>(m + 32 * p), decompressed + 256 * p);
  const u32 word = compress_to_message(load_strided(f + 256 * p));
  if (lane() < 8) compressed[8 * p + lane()] = word;
}

TEST_F(Primitives, MessagesAgreeWithPortableBothWays) {
  Bytes m(polys * 32), expected(polys * 32);
  for (auto& byte : m) byte = static_cast<u8>(random_below(256));
  const std::vector<Coefficients> f = random_polys();
  const DeviceMemory m_in(m), f_in(bytes_of(f)), decompressed(polys * 512), compressed(polys * 32);
  message_kernel<<<polys / 2, 32>>>(m_in.get(), f_in.as<const u16>(), decompressed.as<u16>(), compressed.as<u32>());
  check(cudaDeviceSynchronize());
  const Bytes bytes = decompressed.read();
  for (int p = 0; p < polys; ++p) {
    Coefficients got, mu = primitives::ByteDecode(1, m.data() + 32 * p), bits;
    for (auto& x : mu) x = primitives::Decompress(1, x);
    std::memcpy(got.data(), bytes.data() + 512 * p, 512);
    EXPECT_EQ(got, mu);
    for (std::size_t n = 0; n < 256; ++n) bits[n] = primitives::Compress(1, f[p][n]);
    primitives::ByteEncode(1, bits, expected.data() + 32 * p);
  }
  EXPECT_EQ(compressed.read(), expected);
}

// The contracts of field.hpp, for every input.
__global__ void reduce_kernel(u32* wrong) {
  const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) - (1 << 24);
  const float f = static_cast<float>(x);
  const int r = static_cast<int>(kernels::reduce(f));
  bool good = (x - r) % q == 0 && r <= 1665 && r >= -1665;
  const int s = static_cast<int>(kernels::reduce_scaled<16>(16 * f));
  good &= (x - s) % q == 0 && s <= 1665 && s >= -1665;
  if (x <= 1 << 20 && x >= -(1 << 20)) good &= static_cast<int>(kernels::canonical(f)) == ((x % q) + q) % q;
  if (!good) atomicAdd(wrong, 1);
}
__global__ void multiply_kernel(u32* wrong) {
  const int z = static_cast<int>(blockIdx.y) - 1664;
  const int f = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) - kernels::max_factor;
  if (f > kernels::max_factor) return;
  const kernels::Factor w{static_cast<float>(z), static_cast<float>(static_cast<double>(z) / q)};
  const int r = static_cast<int>(kernels::multiply(static_cast<float>(f), w));
  float a = static_cast<float>(f), b = static_cast<float>(-f);
  butterfly(a, b, w);
  const int sum = static_cast<int>(a), difference = static_cast<int>(b);
  const bool good = (f * z - r) % q == 0 && r <= 1665 && r >= -1665 && (f - f * z - sum) % q == 0 &&
                    sum + difference == 2 * f && sum - f <= 1665 && f - sum <= 1665;
  if (!good) atomicAdd(wrong, 1);
}

TEST_F(Primitives, FloatArithmeticIsExactForEveryInput) {
  const DeviceMemory wrong(sizeof(u32), 0);
  reduce_kernel<<<(1 << 25) / 256, 256>>>(wrong.as<u32>());
  multiply_kernel<<<dim3((2 * kernels::max_factor + 256) / 256, 3329), 256>>>(wrong.as<u32>());
  check(cudaDeviceSynchronize());
  EXPECT_EQ(wrong.read(), Bytes(4, 0));
}

__global__ void keccak_kernel(kernels::thread::KeccakState* states) {
  kernels::thread::KeccakF1600(states[threadIdx.x]);
}

TEST_F(Primitives, KeccakAgreesWithPortable) {
  std::vector<kernels::thread::KeccakState> states(32);
  std::vector<Bytes> messages;
  for (auto& state : states) {
    Bytes message(random_below(168));
    for (auto& byte : message) byte = static_cast<u8>(random_below(256));
    Bytes padded = message;
    padded.resize(200, 0);
    padded[message.size()] ^= 0x1F;
    padded[167] ^= 0x80;
    for (int i = 0; i < 25; ++i) {
      std::memcpy(&state.lo[i], &padded[8 * i], 4);
      std::memcpy(&state.hi[i], &padded[8 * i + 4], 4);
    }
    messages.push_back(message);
  }
  DeviceMemory memory(bytes_of(states));
  keccak_kernel<<<1, 32>>>(memory.as<kernels::thread::KeccakState>());
  check(cudaDeviceSynchronize());
  const Bytes bytes = memory.read();
  std::memcpy(states.data(), bytes.data(), bytes.size());
  for (std::size_t s = 0; s < states.size(); ++s) {
    Bytes out(168);
    for (int i = 0; i < 21; ++i) {
      std::memcpy(&out[8 * i], &states[s].lo[i], 4);
      std::memcpy(&out[8 * i + 4], &states[s].hi[i], 4);
    }
    EXPECT_EQ(out, primitives::SHAKE128(messages[s], messages[s].size(), 168));
  }
}

bool needs_a_fourth_block(const u8* rho, u32 j, u32 i) {
  Bytes seed(rho, rho + 32);
  seed.push_back(static_cast<u8>(j));
  seed.push_back(static_cast<u8>(i));
  const Bytes blocks = primitives::SHAKE128(seed, seed.size(), 504);
  int accepted = 0;
  for (std::size_t at = 0; at < blocks.size(); at += 3) {
    accepted += (blocks[at] | (blocks[at + 1] & 15) << 8) < q ? 1 : 0;
    accepted += (blocks[at + 1] >> 4 | blocks[at + 2] << 4) < q ? 1 : 0;
  }
  return accepted < 256;
}

class SampleMatrix : public testing::TestWithParam<std::pair<bool, kernels::MatrixArgs::Blocks>> {};
INSTANTIATE_TEST_SUITE_P(ByThreadAndByWarp, SampleMatrix,
                         testing::Values(std::pair(false, kernels::MatrixArgs::Blocks::three),
                                         std::pair(false, kernels::MatrixArgs::Blocks::all),
                                         std::pair(true, kernels::MatrixArgs::Blocks::all)));

TEST_P(SampleMatrix, AgreesWithPortableAlsoWhereThreeBlocksAreTooFew) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device, neither real nor emulated";
  constexpr u32 k = 4, items = 32 * policy::unfinished_words / (k * k), stretch = items * k * k;
  static_assert(stretch % 32 == 0 && stretch <= 32 * policy::unfinished_words);
  // More entries of a stretch than a warp has lanes.
  Bytes rho(32 * items);
  u32 number_unfinished = 0;
  while (number_unfinished <= 32) {
    for (auto& byte : rho) byte = static_cast<u8>(random_below(256));
    number_unfinished = 0;
    for (u32 entry = 0; entry < stretch; ++entry) {
      number_unfinished +=
          needs_a_fourth_block(rho.data() + 32 * (entry / (k * k)), entry % k, entry / k % k) ? 1u : 0u;
    }
  }
  const DeviceMemory rho_in(rho), A(stretch * 512), unfinished(stretch / 8);
  kernels::MatrixArgs args;
  args.rho = {rho_in.get(), 32, nullptr};
  args.A = {A.get(), k * k * 512, nullptr};
  args.k = k;
  args.unfinished = unfinished.as<u32>();
  const auto [by_warp, blocks] = GetParam();
  kernels::HashJobs jobs;
  args.blocks = blocks;
  jobs.add(args, by_warp);
  check(kernels::hash(jobs, nullptr, items, nullptr));
  if (blocks == kernels::MatrixArgs::Blocks::three) {
    jobs.matrix.blocks = kernels::MatrixArgs::Blocks::rest;
    check(kernels::hash(jobs, nullptr, items, nullptr));
  }
  check(cudaDeviceSynchronize());
  if (blocks == kernels::MatrixArgs::Blocks::three) {
    u32 bits = 0;
    for (const u8 byte : unfinished.read()) bits += static_cast<u32>(std::popcount(byte));
    EXPECT_EQ(bits, number_unfinished);
  }
  const Bytes bytes = A.read();
  for (u32 item = 0; item < items; ++item) {
    for (u32 i = 0; i < k; ++i) {
      for (u32 j = 0; j < k; ++j) {
        Coefficients stored, got;
        std::memcpy(stored.data(), bytes.data() + 512 * (k * k * item + k * i + j), 512);
        for (u32 n = 0; n < 256; ++n) got[n] = static_cast<u16>(stored[128 * (n % 16 / 8) + 8 * (n / 16) + n % 8] / 16);
        ASSERT_EQ(got, primitives::SampleNTT(rho.data() + 32 * item, static_cast<u8>(j), static_cast<u8>(i)));
      }
    }
  }
}

}  // namespace
}  // namespace warpkem::kernels::test
