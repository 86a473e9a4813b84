// The vector primitives of avx2 and avx512 against their definitions and against portable's: over all their inputs
// where there are few, at the bounds that host/backends/README.md promises where there are many.
#include "tests/backends/vector_primitives.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "tests/backends/primitives.hpp"
#include "warpkem/params.hpp"

namespace warpkem {
namespace {

constexpr int n = MlKem768::n, q = MlKem768::q;

using primitives::Coefficients;
using vector_primitives::i16;
using vector_primitives::u8;
using vector_primitives::VectorPrimitives;

struct Backend {
  const char* name;
  VectorPrimitives (*get)();
  bool (*usable)();
};

const Backend backends[] = {
    {"avx2", vector_primitives::avx2, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }},
    {"avx512", vector_primitives::avx512, [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
     }}};

struct alignas(64) Array {
  i16 c[n + 96] = {};
};

std::uint16_t mod_q(std::int64_t x) { return static_cast<std::uint16_t>(((x % q) + q) % q); }

Coefficients mod_q(const i16* f, std::int64_t factor = 1) {
  Coefficients r;
  for (std::size_t i = 0; i < r.size(); ++i) r[i] = mod_q(f[i] * factor);
  return r;
}

constexpr std::int64_t R_mod_q = 65536 % q, R_inverse = 169;
static_assert(R_mod_q * R_inverse % q == 1);

int largest(const i16* f) {
  int m = 0;
  for (int i = 0; i < n; ++i) m = std::max(m, std::abs(f[i]));
  return m;
}

class VectorPrimitivesTest : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    if (!GetParam().usable()) GTEST_SKIP() << "this CPU cannot run " << GetParam().name;
    p = GetParam().get();
  }

  // Random polynomials within a bound, and the worst ones: all at the bound, with every pattern of signs that is an NTT
  // layer's pairing, and with the signs of random ones.
  void with_polynomials(int bound, bool negative_too, const std::function<void(const Array&)>& check) {
    Array f;
    std::uniform_int_distribution<int> any(negative_too ? -bound : 0, bound);
    for (int round = 0; round < 200; ++round) {
      for (int i = 0; i < n; ++i) {
        const int x = any(random_);
        const bool extreme = round % 2 == 0;
        const bool negative = round < 32 ? (i >> (round / 2 % 8) & 1) != 0 : x < 0;
        f.c[i] = static_cast<i16>(!extreme ? x : negative_too && negative ? -bound : bound);
      }
      check(f);
    }
  }

  std::vector<u8> bytes(std::size_t count) {
    std::vector<u8> b(count);
    for (u8& x : b) x = static_cast<u8>(random_());
    return b;
  }

  VectorPrimitives p{};
  std::mt19937 random_{20241};
};

// All 16-bit numbers, 16 at a time.
template <class F, class G>
void over_all_numbers(int from, int to, F apply, G check) {
  for (int first = from; first <= to; first += 16) {
    Array x;
    for (int i = 0; i < 16; ++i) x.c[i] = static_cast<i16>(std::min(first + i, to));
    Array y = x;
    apply(y.c);
    for (int i = 0; i < 16; ++i) check(x.c[i], y.c[i]);
  }
}

TEST_P(VectorPrimitivesTest, ReduceKeepsTheResidueAndItsBound) {
  over_all_numbers(-32768, 32767, p.reduce, [](int x, int y) {
    ASSERT_EQ(mod_q(x), mod_q(y)) << x;
    ASSERT_LE(std::abs(y), 2160) << x;
  });
}

TEST_P(VectorPrimitivesTest, CanonicalIsTheResidue) {
  over_all_numbers(-32768, 32767, p.canonical, [](int x, int y) { ASSERT_EQ(mod_q(x), y) << x; });
}

TEST_P(VectorPrimitivesTest, MultiplyIsExactAndBounded) {
  for (int i = 1; i < 16; ++i) {
    std::int64_t zeta = 1;
    for (int e = 0; e < 7; ++e) {
      for (int times = 0; (i >> e & 1) != 0 && times < 1 << (6 - e); ++times) zeta = zeta * 17 % q;
    }
    over_all_numbers(
        -32768, 32767, [&](i16* x) { p.multiply_by_zeta(x, i); },
        [&](int x, int y) {
          ASSERT_EQ(mod_q(x * zeta), mod_q(y)) << x << " zeta " << i;
          ASSERT_LE(std::abs(y), std::abs(x) * 1664 / 65536 + 1665) << x;
        });
  }
}

TEST_P(VectorPrimitivesTest, CompressIsExactForEveryRepresentative) {
  for (const int d : {1, 4, 5, 10, 11}) {
    over_all_numbers(
        -8000, 8000, [&](i16* x) { p.Compress(d, x); },
        [&](int x, int y) { ASSERT_EQ(primitives::Compress(d, mod_q(x)), y) << x << " d " << d; });
  }
}

TEST_P(VectorPrimitivesTest, NttMatchesPortableWithinItsBound) {
  with_polynomials(3329, true, [&](const Array& f) {
    Array f_hat;
    p.NTT(f.c, f_hat.c);
    ASSERT_EQ(primitives::NTT(mod_q(f.c)), mod_q(f_hat.c));
    ASSERT_LT(largest(f_hat.c), 16600);
  });
}

TEST_P(VectorPrimitivesTest, InverseNttMatchesPortableWithinItsBound) {
  with_polynomials(16383, true, [&](const Array& f_hat) {
    Array f;
    p.InverseNTT(f_hat.c, f.c);
    ASSERT_EQ(primitives::InverseNTT(mod_q(f_hat.c, R_mod_q)), mod_q(f.c));
    ASSERT_LE(largest(f.c), 2110);
  });
}

TEST_P(VectorPrimitivesTest, MultiplyNttsMatchesPortableWithinItsBound) {
  with_polynomials(4095, false, [&](const Array& a) {
    with_polynomials(16599, true, [&, done = 0](const Array& b) mutable {
      if (++done > 20) return;
      Array product;
      p.MultiplyNTTs(a.c, b.c, product.c);
      Coefficients four = primitives::MultiplyNTTs(mod_q(a.c), mod_q(b.c));
      for (auto& x : four) x = mod_q(4 * x * R_inverse);
      ASSERT_EQ(four, mod_q(product.c));
      ASSERT_LT(largest(product.c), 10000);
    });
  });
}

TEST_P(VectorPrimitivesTest, ByteEncode12MatchesPortable) {
  with_polynomials(32767, true, [&](const Array& f) {
    std::vector<u8> ours(384 + 8, 0xaa), theirs(384);
    p.ByteEncode_12(f.c, ours.data());
    primitives::ByteEncode(12, mod_q(f.c), theirs.data());
    ASSERT_TRUE(std::equal(theirs.begin(), theirs.end(), ours.begin()));
    ASSERT_TRUE(std::all_of(ours.begin() + 384, ours.end(), [](u8 x) { return x == 0xaa; }));
  });
}

TEST_P(VectorPrimitivesTest, ByteDecode12MatchesPortable) {
  for (int round = 0; round < 100; ++round) {
    const std::vector<u8> in = bytes(384);  // of exactly this size, for the address sanitizer
    Array f;
    p.ByteDecode_12(in.data(), f.c);
    for (int i = 0; i < n; ++i) ASSERT_TRUE(f.c[i] >= 0 && f.c[i] < 4096);
    ASSERT_EQ(primitives::ByteDecode(12, in.data()), mod_q(f.c));
  }
}

TEST_P(VectorPrimitivesTest, ModulusCheckSeesEveryCoefficient) {
  Coefficients highest;
  highest.fill(q - 1);
  for (int count = 1; count <= 4; ++count) {
    std::vector<u8> in(384 * static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) primitives::ByteEncode(12, highest, in.data() + 384 * i);
    ASSERT_TRUE(p.below_q(in.data(), count));
    for (int i = 0; i < count * n; ++i) {
      for (const int bad : {q, 4095}) {
        std::vector<u8> changed = in;
        const int bit = 12 * i;
        u8* at = changed.data() + bit / 8;
        const unsigned word = at[0] | static_cast<unsigned>(at[1]) << 8;
        const unsigned shift = static_cast<unsigned>(bit % 8);
        const unsigned now = (word & ~(0xfffu << shift)) | static_cast<unsigned>(bad) << shift;
        at[0] = static_cast<u8>(now), at[1] = static_cast<u8>(now >> 8);
        ASSERT_FALSE(p.below_q(changed.data(), count)) << "coefficient " << i;
      }
    }
  }
}

TEST_P(VectorPrimitivesTest, CompressedEncodingsMatchPortable) {
  for (const int d : {4, 5, 10, 11}) {
    const auto size = static_cast<std::size_t>(32 * d), spill = static_cast<std::size_t>(d == 11 ? 2 : 0);
    with_polynomials(8000, true, [&](const Array& f) {
      std::vector<u8> ours(size + 8, 0xaa), theirs(size);
      p.encode_compressed(d, f.c, ours.data());
      Coefficients compressed = mod_q(f.c);
      for (auto& x : compressed) x = primitives::Compress(d, x);
      primitives::ByteEncode(d, compressed, theirs.data());
      ASSERT_TRUE(std::equal(theirs.begin(), theirs.end(), ours.begin())) << d;
      ASSERT_TRUE(
          std::all_of(ours.begin() + static_cast<long>(size + spill), ours.end(), [](u8 x) { return x == 0xaa; }));
    });
    for (int round = 0; round < 100; ++round) {
      const std::vector<u8> in = bytes(size);
      Array f;
      p.decode_compressed(d, in.data(), f.c);
      Coefficients theirs = primitives::ByteDecode(d, in.data());
      for (auto& y : theirs) y = primitives::Decompress(d, y);
      for (std::size_t i = 0; i < theirs.size(); ++i) ASSERT_EQ(theirs[i], f.c[i]) << d;
    }
  }
}

TEST_P(VectorPrimitivesTest, MessagesMatchPortable) {
  with_polynomials(2110, true, [&](const Array& w) {
    Array v, difference;
    for (int i = 0; i < n; ++i) {
      v.c[i] = static_cast<i16>(random_() % q);
      difference.c[i] = static_cast<i16>(v.c[i] - w.c[i]);
    }
    std::vector<u8> m(32), theirs(32);
    p.encode_message(v.c, w.c, m.data());
    Coefficients bits = mod_q(difference.c);
    for (auto& x : bits) x = primitives::Compress(1, x);
    primitives::ByteEncode(1, bits, theirs.data());
    ASSERT_EQ(theirs, m);

    Array sum = w;
    p.add_message(m.data(), sum.c);
    for (std::size_t i = 0; i < bits.size(); ++i) ASSERT_EQ(w.c[i] + primitives::Decompress(1, bits[i]), sum.c[i]);
  });
}

TEST_P(VectorPrimitivesTest, SamplePolyCbdMatchesPortable) {
  for (const int eta : {2, 3}) {
    for (int round = 0; round < 200; ++round) {
      const std::vector<u8> in = bytes(static_cast<std::size_t>(64 * eta + 4));
      Array f;
      p.SamplePolyCBD(eta, in.data(), f.c);
      ASSERT_EQ(primitives::SamplePolyCBD(eta, in.data()), mod_q(f.c));
      ASSERT_LE(largest(f.c), eta);
    }
  }
}

TEST_P(VectorPrimitivesTest, SampleNttRejectsAsTheStandardSays) {
  for (int round = 0; round < 300; ++round) {
    const int blocks = 3 + round % 5;
    std::vector<u8> in = bytes(static_cast<std::size_t>(168 * blocks));
    // More and more bytes that reject, up to all: blocks that give nothing, entries that are never full.
    for (u8& x : in) {
      if (static_cast<int>(random_() % 300) < round) x = 0xff;
    }
    if (round == 0) std::fill(in.begin(), in.end(), u8{0});  // all accepted: 336
    std::vector<i16> expected;
    for (std::size_t i = 0; i + 2 < in.size() && expected.size() < n; i += 3) {
      const int d1 = in[i] | (in[i + 1] & 15) << 8, d2 = in[i + 1] >> 4 | in[i + 2] << 4;
      if (d1 < q) expected.push_back(static_cast<i16>(d1));
      if (d2 < q) expected.push_back(static_cast<i16>(d2));
    }
    expected.resize(std::min<std::size_t>(expected.size(), n));
    Array a;
    const int have = std::min(p.SampleNTT(in.data(), blocks, a.c), n);
    ASSERT_EQ(expected, std::vector<i16>(a.c, a.c + have)) << round;
  }
}

TEST_P(VectorPrimitivesTest, EveryLaneIsKeccak) {
  const std::size_t lanes = static_cast<std::size_t>(p.lanes);
  for (int active = 1; active <= p.lanes; ++active) {
    std::vector<std::uint64_t> states(25 * lanes, 0);
    // SHAKE128 of 32 bytes in each lane: what comes out is compared with portable's.
    std::vector<std::vector<u8>> messages;
    for (std::size_t l = 0; l < lanes; ++l) {
      messages.push_back(bytes(32));
      for (std::size_t w = 0; w < 4; ++w) std::memcpy(&states[w * lanes + l], &messages[l][8 * w], 8);
      states[4 * lanes + l] = 0x1f;
      states[20 * lanes + l] = std::uint64_t{1} << 63;
    }
    for (std::size_t block = 0; block < 3; ++block) {
      p.permute(states.data(), active);
      for (std::size_t l = 0; l < static_cast<std::size_t>(active); ++l) {
        const std::vector<u8> expected = primitives::SHAKE128(messages[l], 7, 168 * 3);
        for (std::size_t w = 0; w < 21; ++w) {
          ASSERT_EQ(0, std::memcmp(&states[w * lanes + l], &expected[168 * block + 8 * w], 8)) << active << " " << l;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, VectorPrimitivesTest, testing::ValuesIn(backends),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace warpkem
