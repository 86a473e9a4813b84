// A program that brings its own RAND_bytes, and a RAND method, as some do for tests or by accident: the library's
// randomness is its own affair.
#define OPENSSL_SUPPRESS_DEPRECATED  // RAND methods are old, and still in use
#include <gtest/gtest.h>
#include <openssl/rand.h>

#include <algorithm>
#include <vector>
#include <warpkem/warpkem.hpp>

namespace {
int calls = 0;
int constant_bytes(unsigned char* out, int bytes) {
  ++calls;
  std::fill_n(out, bytes, std::uint8_t{0x42});
  return 1;
}
}  // namespace

extern "C" {
int RAND_bytes(unsigned char* out, int bytes) { return constant_bytes(out, bytes); }
int RAND_priv_bytes(unsigned char* out, int bytes) { return constant_bytes(out, bytes); }
int RAND_bytes_ex(OSSL_LIB_CTX*, unsigned char* out, size_t bytes, unsigned) {
  return constant_bytes(out, static_cast<int>(bytes));
}
int RAND_priv_bytes_ex(OSSL_LIB_CTX*, unsigned char* out, size_t bytes, unsigned) {
  return constant_bytes(out, static_cast<int>(bytes));
}
}

namespace {

using namespace warpkem;

TEST(Randomness, OfTheProgramIsNotTheLibrarys) {
  unsigned char probe[4];
  ASSERT_EQ(RAND_bytes(probe, 4), 1);
  ASSERT_EQ(calls, 1) << "the test's own RAND_bytes is not the one that is linked";
  RAND_METHOD method{};
  method.bytes = constant_bytes;
  method.pseudorand = constant_bytes;
  method.status = [] { return 1; };
  ASSERT_EQ(RAND_set_rand_method(&method), 1);

  const Engine engine;
  const auto pairs = engine.keygen<MlKem768, DkFormat::seed>(2000).value();
  const auto encapsulated = engine.encaps<MlKem768>(pairs.ek).value();
  EXPECT_EQ(calls, 1) << "the library drew from the program's generator";
  const std::uint8_t constant[8] = {0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42};
  std::vector<std::vector<std::uint8_t>> seen;
  for (std::size_t i = 0; i < pairs.dk.size(); ++i) {
    const auto seed = pairs.dk[i];
    EXPECT_EQ(std::ranges::search(seed, constant).begin(), seed.end()) << "item " << i;
    seen.emplace_back(seed.begin(), seed.begin() + 32);
    seen.emplace_back(seed.begin() + 32, seed.end());
    seen.emplace_back(encapsulated.K[i].begin(), encapsulated.K[i].end());
  }
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end()) << "two random values are equal";
  RAND_set_rand_method(nullptr);
}

}  // namespace
