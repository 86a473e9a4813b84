// portable's own functions against the standard's definitions: slow, obvious, in integers.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <cstdint>
#include <random>
#include <vector>

#include "tests/backends/primitives.hpp"

namespace warpkem::primitives {
namespace {

constexpr unsigned q = 3329;

Coefficients random_poly(std::mt19937& random, unsigned bound = q) {
  Coefficients f;
  for (auto& x : f) x = static_cast<std::uint16_t>(random() % bound);
  return f;
}

Coefficients extreme_poly(unsigned value) {
  Coefficients f;
  f.fill(static_cast<std::uint16_t>(value));
  return f;
}

Coefficients sum(const Coefficients& f, const Coefficients& g) {
  Coefficients h;
  for (std::size_t i = 0; i < 256; ++i) h[i] = static_cast<std::uint16_t>((f[i] + g[i]) % q);
  return h;
}

// f * g mod X^256 + 1.
Coefficients schoolbook(const Coefficients& f, const Coefficients& g) {
  std::vector<std::int64_t> h(256);
  for (std::size_t i = 0; i < 256; ++i) {
    for (std::size_t j = 0; j < 256; ++j) {
      const std::int64_t product = std::int64_t{f[i]} * g[j];
      h[(i + j) % 256] += i + j < 256 ? product : -product;
    }
  }
  Coefficients result;
  for (std::size_t i = 0; i < 256; ++i) result[i] = static_cast<std::uint16_t>(((h[i] % q) + q) % q);
  return result;
}

// Inputs that reach the bounds of every layer, and random ones.
std::vector<Coefficients> polys() {
  std::mt19937 random(1);
  std::vector<Coefficients> result = {extreme_poly(0), extreme_poly(1), extreme_poly(q - 1), extreme_poly(q / 2)};
  Coefficients alternating;
  for (std::size_t i = 0; i < 256; ++i) alternating[i] = i % 2 == 0 ? q - 1 : 0;
  result.push_back(alternating);
  for (int i = 0; i < 30; ++i) result.push_back(random_poly(random));
  for (int i = 0; i < 10; ++i) {
    Coefficients f;
    for (auto& x : f) x = static_cast<std::uint16_t>(random() % 2 == 0 ? q - 1 : 0);
    result.push_back(f);
  }
  return result;
}

TEST(Ntt, IsTheDefinition) {
  // f mod X^2 - zeta^(2 BitRev7(i) + 1), FIPS 203 (4.12).
  const auto power = [](unsigned exponent) {
    unsigned result = 1;
    for (; exponent != 0; --exponent) result = result * 17 % q;
    return result;
  };
  for (const Coefficients& f : polys()) {
    const Coefficients f_hat = NTT(f);
    for (unsigned i = 0; i < 128; ++i) {
      unsigned reversed = 0;
      for (unsigned bit = 0; bit < 7; ++bit) reversed |= ((i >> bit) & 1) << (6 - bit);
      const unsigned gamma = power(2 * reversed + 1);
      unsigned even = 0, odd = 0;
      for (std::size_t j = 128; j-- > 0;) {
        even = (even * gamma + f[2 * j]) % q;
        odd = (odd * gamma + f[2 * j + 1]) % q;
      }
      ASSERT_EQ(f_hat[2 * i], even);
      ASSERT_EQ(f_hat[2 * i + 1], odd);
    }
  }
}

TEST(Ntt, InverseUndoesIt) {
  for (const Coefficients& f : polys()) {
    EXPECT_EQ(InverseNTT(NTT(f)), f);
    EXPECT_EQ(NTT(InverseNTT(f)), f);
  }
}

TEST(Ntt, IsLinear) {
  const std::vector<Coefficients> all = polys();
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(NTT(sum(all[i], all[i - 1])), sum(NTT(all[i]), NTT(all[i - 1])));
    EXPECT_EQ(InverseNTT(sum(all[i], all[i - 1])), sum(InverseNTT(all[i]), InverseNTT(all[i - 1])));
  }
}

TEST(MultiplyNtts, IsMultiplicationModXTo256Plus1) {
  const std::vector<Coefficients> all = polys();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Coefficients &f = all[i], &g = all[(i * 7 + 2) % all.size()];
    EXPECT_EQ(InverseNTT(MultiplyNTTs(NTT(f), NTT(g))), schoolbook(f, g));
  }
}

TEST(Compress, RoundsEveryInputAsTheStandardSays) {
  for (const int d : {1, 4, 5, 10, 11}) {
    for (unsigned x = 0; x < q; ++x) {
      // round(2^d x / q): the integer nearest; halves cannot occur, for q is odd.
      const unsigned exact = ((2 * x << d) + q) / (2 * q) % (1u << d);
      ASSERT_EQ(Compress(d, static_cast<std::uint16_t>(x)), exact) << "d " << d << " x " << x;
    }
    for (unsigned y = 0; y < 1u << d; ++y) {
      const unsigned exact = (2 * y * q + (1u << d)) >> (d + 1);  // halves round up
      ASSERT_EQ(Decompress(d, static_cast<std::uint16_t>(y)), exact) << "d " << d << " y " << y;
      ASSERT_EQ(Compress(d, static_cast<std::uint16_t>(exact)), y);
    }
  }
}

TEST(ByteEncode, PutsBitJOfCoefficientIAtBitDTimesIPlusJ) {
  std::mt19937 random(2);
  for (const int d : {1, 4, 5, 10, 11, 12}) {
    const unsigned bound = d == 12 ? q : 1u << d;
    const auto width = static_cast<std::size_t>(d);
    for (int round = 0; round < 20; ++round) {
      const Coefficients f = round == 0 ? extreme_poly(bound - 1) : random_poly(random, bound);
      std::vector<std::uint8_t> bytes(32 * width + 1, 0xa5);
      ByteEncode(d, f, bytes.data());
      for (std::size_t i = 0; i < 256; ++i) {
        for (std::size_t j = 0; j < width; ++j) {
          const std::size_t bit = i * width + j;
          ASSERT_EQ((bytes[bit / 8] >> (bit % 8)) & 1, (f[i] >> j) & 1) << "d " << d;
        }
      }
      ASSERT_EQ(bytes.back(), 0xa5);
      ASSERT_EQ(ByteDecode(d, bytes.data()), f) << "d " << d;
    }
  }
}

TEST(ByteDecode, ReducesTwelveBitsModQ) {
  std::vector<std::uint8_t> bytes(384);
  for (unsigned first = 0; first < 4096; first += 256) {
    for (unsigned i = 0; i < 256; i += 2) {
      const unsigned a = first + i, b = first + i + 1;
      bytes[i / 2 * 3] = static_cast<std::uint8_t>(a);
      bytes[i / 2 * 3 + 1] = static_cast<std::uint8_t>(a >> 8 | (b & 15) << 4);
      bytes[i / 2 * 3 + 2] = static_cast<std::uint8_t>(b >> 4);
    }
    const Coefficients f = ByteDecode(12, bytes.data());
    for (unsigned i = 0; i < 256; ++i) ASSERT_EQ(f[i], (first + i) % q);
  }
}

TEST(SamplePolyCbd, IsTheDifferenceOfTwoSumsOfBits) {
  std::mt19937 random(3);
  for (const int eta : {2, 3}) {
    std::vector<std::uint8_t> bytes(64 * static_cast<std::size_t>(eta));
    for (int round = 0; round < 20; ++round) {
      for (auto& byte : bytes) byte = static_cast<std::uint8_t>(round == 0 ? 0 : round == 1 ? 255 : random());
      const auto bit = [&](int i) { return (bytes[static_cast<std::size_t>(i / 8)] >> (i % 8)) & 1; };
      const Coefficients f = SamplePolyCBD(eta, bytes.data());
      for (int i = 0; i < 256; ++i) {
        int x = 0, y = 0;
        for (int j = 0; j < eta; ++j) x += bit(2 * i * eta + j), y += bit(2 * i * eta + eta + j);
        ASSERT_EQ(f[static_cast<std::size_t>(i)], (x - y + static_cast<int>(q)) % static_cast<int>(q));
      }
    }
  }
}

std::vector<std::uint8_t> openssl(const EVP_MD* md, const std::vector<std::uint8_t>& in, std::size_t bytes) {
  std::vector<std::uint8_t> out(bytes);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, md, nullptr);
  EVP_DigestUpdate(context, in.data(), in.size());
  if ((EVP_MD_flags(md) & EVP_MD_FLAG_XOF) != 0) {
    EVP_DigestFinalXOF(context, out.data(), bytes);
  } else {
    EVP_DigestFinal_ex(context, out.data(), nullptr);
  }
  EVP_MD_CTX_free(context);
  return out;
}

TEST(Sponge, AgreesWithOpenSslAtEveryLengthAndInPieces) {
  std::mt19937 random(4);
  for (std::size_t length = 0; length < 600; length += length < 180 ? 1 : 37) {
    std::vector<std::uint8_t> in(length);
    for (auto& byte : in) byte = static_cast<std::uint8_t>(random());
    const std::size_t cut = length == 0 ? 0 : random() % length;
    EXPECT_EQ(SHA3_256(in, cut), openssl(EVP_sha3_256(), in, 32)) << length;
    EXPECT_EQ(SHA3_512(in, cut), openssl(EVP_sha3_512(), in, 64)) << length;
    for (const std::size_t out : {1u, 32u, 135u, 168u, 169u, 700u}) {
      EXPECT_EQ(SHAKE128(in, cut, out), openssl(EVP_shake128(), in, out)) << length;
      EXPECT_EQ(SHAKE256(in, cut, out), openssl(EVP_shake256(), in, out)) << length;
    }
  }
}

TEST(SampleNtt, TakesTheFirst256CandidatesBelowQ) {
  std::vector<std::uint8_t> seed(34);
  std::size_t long_ones = 0;
  for (unsigned number = 0; number < 2000; ++number) {
    seed[0] = static_cast<std::uint8_t>(number);
    seed[1] = static_cast<std::uint8_t>(number >> 8);
    seed[32] = static_cast<std::uint8_t>(number % 5);
    seed[33] = static_cast<std::uint8_t>(number % 3);
    const std::vector<std::uint8_t> stream = openssl(EVP_shake128(), seed, 168 * 5);
    Coefficients expected;
    std::size_t accepted = 0, at = 0;
    for (; accepted < 256; at += 3) {
      const unsigned d1 = stream[at] + 256u * (stream[at + 1] % 16), d2 = stream[at + 1] / 16 + 16u * stream[at + 2];
      if (d1 < q) expected[accepted++] = static_cast<std::uint16_t>(d1);
      if (d2 < q && accepted < 256) expected[accepted++] = static_cast<std::uint16_t>(d2);
    }
    long_ones += at > 3 * 168;
    ASSERT_EQ(SampleNTT(seed.data(), seed[32], seed[33]), expected) << number;
  }
  EXPECT_GT(long_ones, 5u);  // 0.8 % need a fourth block
}

}  // namespace
}  // namespace warpkem::primitives
