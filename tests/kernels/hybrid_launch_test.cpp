// The hybrids of X25519 through kernels::launch(), against portable.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "kat/kem.hpp"
#include "kernels/launch.hpp"
#include "tests/kernels/device.hpp"
#include "tests/support/backends.hpp"

namespace warpkem::kernels::test {
namespace {

using warpkem::test::engine_of;
using warpkem::test::Random;

constexpr std::uint32_t tls = WARPKEM_X25519MLKEM768, x_wing = WARPKEM_MLKEM768_X25519;

std::size_t dk_bytes_of(std::uint32_t algorithm, DkFormat format) {
  constexpr std::uint32_t what[] = {WARPKEM_SIZE_DK, WARPKEM_SIZE_DK_SEED, WARPKEM_SIZE_DK_COMPOSITE};
  return warpkem_size(algorithm, what[static_cast<std::size_t>(format)]);
}

bool contains(const Bytes& haystack, const Bytes& packed, std::size_t bytes, std::size_t i) {
  const auto at = packed.begin() + static_cast<std::ptrdiff_t>(i * bytes);
  return std::search(haystack.begin(), haystack.end(), at, at + 32) != haystack.end();
}

class HybridLaunch : public testing::TestWithParam<std::tuple<std::uint32_t, DeviceBatch::Hashing>> {
 protected:
  void SetUp() override {
    if (!has_device()) GTEST_SKIP() << "no CUDA device, neither real nor emulated";
  }

  std::vector<DkFormat> formats() const {
    if (algorithm == tls) return {DkFormat::expanded, DkFormat::seed};
    return {DkFormat::seed, DkFormat::composite};
  }
  std::size_t seed_bytes(DkFormat format) const { return format == DkFormat::composite ? 96 : portable.seed_bytes; }

  DeviceBatch of(Operation operation, std::size_t count, DkFormat format = DkFormat::expanded) const {
    DeviceBatch b;
    b.algorithm = algorithm;
    b.hashing = std::get<1>(GetParam());
    b.operation = operation;
    b.dk_format = format;
    b.count = count;
    return b;
  }

  // Key pairs of a format, by portable.
  kat::Kem::KeyPairs keygen(const Bytes& seeds, DkFormat format) const {
    const std::size_t count = seeds.size() / seed_bytes(format);
    kat::Kem::KeyPairs keys{Bytes(count * portable.ek_bytes), Bytes(count * dk_bytes_of(algorithm, format))};
    EXPECT_EQ(warpkem_keygen_derand(engine_of("portable"), algorithm, static_cast<std::uint32_t>(format), count,
                                    {seeds.data(), seeds.size(), 0}, {keys.ek.data(), keys.ek.size(), 0},
                                    {keys.dk.data(), keys.dk.size(), 0}, nullptr, nullptr),
              WARPKEM_OK);
    return keys;
  }
  Bytes decaps(const Bytes& dk, DkFormat format, const Bytes& c) const {
    Bytes K(c.size() / portable.c_bytes * portable.K_bytes);
    EXPECT_EQ(warpkem_decaps(engine_of("portable"), algorithm, static_cast<std::uint32_t>(format),
                             c.size() / portable.c_bytes, {dk.data(), dk.size(), 0}, {c.data(), c.size(), 0},
                             {K.data(), K.size(), 0}, nullptr, nullptr),
              WARPKEM_OK);
    return K;
  }

  const std::uint32_t algorithm = std::get<0>(GetParam());
  const kat::Kem portable{engine_of("portable"), algorithm};
  Random random{algorithm};
};

INSTANTIATE_TEST_SUITE_P(Every, HybridLaunch,
                         testing::Combine(testing::Values(tls, x_wing), testing::Values(DeviceBatch::Hashing::by_thread,
                                                                                        DeviceBatch::Hashing::by_warp)),
                         [](const auto& test) {
                           const bool by_warp = std::get<1>(test.param) == DeviceBatch::Hashing::by_warp;
                           return std::string(std::get<0>(test.param) == tls ? "Tls" : "XWing") +
                                  (by_warp ? "ByWarp" : "ByThread");
                         });

constexpr std::size_t odd_count = 37;

TEST_P(HybridLaunch, AgreesWithPortableInEveryLayoutAndLeavesNoSecretBehind) {
  for (const DkFormat format : formats()) {
    for (const Layout layout : layouts) {
      const bool by_warp = std::get<1>(GetParam()) == DeviceBatch::Hashing::by_warp;
      if (by_warp && layout != Layout::odd) continue;  // slow under the emulator, and no other code than above
      SCOPED_TRACE("format " + std::to_string(static_cast<int>(format)) + ", layout " +
                   std::to_string(static_cast<int>(layout)));
      const std::size_t dk_bytes = dk_bytes_of(algorithm, format);
      const Bytes seeds = random.bytes(seed_bytes(format) * odd_count), m = random.bytes(64 * odd_count);
      const kat::Kem::KeyPairs keys = keygen(seeds, format);
      const kat::Kem::Encapsulated sent = portable.encaps(keys.ek, m);

      const Records seeds_in(layout, seed_bytes(format), seeds), ek(layout, portable.ek_bytes, odd_count),
          dk(layout, dk_bytes, odd_count);
      DeviceBatch b = of(Operation::keygen, odd_count, format);
      b.seeds = seeds_in.in();
      b.ek_out = ek.out();
      b.dk_out = dk.out();
      Answer answer = run(b);
      EXPECT_EQ(answer.statuses, Bytes(odd_count, 0));
      EXPECT_EQ(ek.read(), keys.ek);
      EXPECT_EQ(dk.read(), keys.dk);
      EXPECT_FALSE(contains(answer.workspace, seeds, seed_bytes(format), 5));

      const Records m_in(layout, 64, m), c(layout, portable.c_bytes, odd_count), K(layout, portable.K_bytes, odd_count);
      b = of(Operation::encaps, odd_count);
      b.ek = ek.in();
      b.m = m_in.in();
      b.c_out = c.out();
      b.K_out = K.out();
      answer = run(b);
      EXPECT_EQ(answer.statuses, Bytes(odd_count, 0));
      EXPECT_EQ(c.read(), sent.c);
      EXPECT_EQ(K.read(), sent.K);
      EXPECT_FALSE(contains(answer.workspace, m, 64, 2));
      EXPECT_FALSE(contains(answer.workspace, m, 32, 3));  // a scalar
      EXPECT_FALSE(contains(answer.workspace, sent.K, portable.K_bytes, 1));

      Bytes bent = sent.c;
      for (std::size_t i = 0; i < odd_count; i += 3) bent[i * portable.c_bytes + random.below(1088)] ^= 0x10;
      const Bytes expected = decaps(keys.dk, format, bent);
      const Records c_in(layout, portable.c_bytes, bent), K2(layout, portable.K_bytes, odd_count);
      b = of(Operation::decaps, odd_count, format);
      b.dk = dk.in();
      b.c = c_in.in();
      b.K_out = K2.out();
      answer = run(b);
      EXPECT_EQ(answer.statuses, Bytes(odd_count, 0));
      EXPECT_EQ(K2.read(), expected);
      EXPECT_FALSE(contains(answer.workspace, keys.dk, dk_bytes, 4));
      EXPECT_FALSE(contains(answer.workspace, expected, portable.K_bytes, 1));
    }
  }
}

// An element of low order, a coefficient above q, or both; a hash that is not the key's.
TEST_P(HybridLaunch, ABadHalfFailsItsItemAloneAndWithTheRightStatus) {
  const DkFormat format = formats().front();
  const std::size_t dk_bytes = dk_bytes_of(algorithm, format);
  const kat::Kem::KeyPairs keys = keygen(random.bytes(seed_bytes(format) * odd_count), format);
  const Bytes m = random.bytes(64 * odd_count);
  Bytes ek = keys.ek;
  const auto make_low = [&](Bytes& records, std::size_t bytes, std::size_t i) {
    std::fill_n(records.begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes - 32), 32, std::uint8_t{0});
  };
  for (const std::size_t i : {0, 9, 36}) make_low(ek, portable.ek_bytes, i);
  Bytes c = portable.encaps(keys.ek, m).c;
  for (const std::size_t i : {1, 9, 30}) make_low(c, portable.c_bytes, i);
  const Bytes dk = [&] {
    Bytes damaged = keys.dk;
    if (format == DkFormat::expanded) damaged[9 * dk_bytes + 2400 - 64] ^= 1, damaged[20 * dk_bytes + 2400 - 40] ^= 1;
    return damaged;
  }();

  for (const bool refuse_zero : {false, true}) {
    const bool fails = refuse_zero || algorithm == tls;
    Bytes ek_statuses(odd_count, 0), c_statuses(odd_count, 0);
    for (const std::size_t i : {0, 9, 36}) ek_statuses[i] = fails ? 3 : 0;
    for (const std::size_t i : {1, 9, 30}) c_statuses[i] = fails ? 16 : 0;
    if (format == DkFormat::expanded) c_statuses[9] = c_statuses[20] = 4;
    // Item 4's half of ML-KEM is bad, and both halves of item 9.
    Bytes bad_ek = ek;
    for (const std::size_t i : {4, 9}) bad_ek[i * portable.ek_bytes] = bad_ek[i * portable.ek_bytes + 1] = 0xFF;
    ek_statuses[4] = ek_statuses[9] = 3;

    const Records ek_in(Layout::packed, portable.ek_bytes, bad_ek), m_in(Layout::packed, 64, m),
        c_out(Layout::packed, portable.c_bytes, odd_count), K(Layout::packed, portable.K_bytes, odd_count);
    DeviceBatch b = of(Operation::encaps, odd_count);
    b.refuse_zero = refuse_zero;
    b.ek = ek_in.in();
    b.m = m_in.in();
    b.c_out = c_out.out();
    b.K_out = K.out();
    EXPECT_EQ(run(b).statuses, ek_statuses);
    const Bytes got_c = c_out.read(), got_K = K.read();
    for (std::size_t i = 0; i < odd_count; ++i) {
      const auto of_item = [i](const Bytes& packed, std::size_t bytes) {
        const kat::View view = kat::record(packed, bytes, i);
        return Bytes(view.begin(), view.end());
      };
      kat::Kem::Encapsulated expected{Bytes(portable.c_bytes), Bytes(portable.K_bytes)};
      if (ek_statuses[i] == 0) expected = portable.encaps(of_item(ek, portable.ek_bytes), of_item(m, 64));
      ASSERT_EQ(of_item(got_c, portable.c_bytes), expected.c) << i;
      ASSERT_EQ(of_item(got_K, portable.K_bytes), expected.K) << i;
    }
    b = of(Operation::check_ek, odd_count);
    b.refuse_zero = refuse_zero;
    b.ek = ek_in.in();
    EXPECT_EQ(run(b).statuses, ek_statuses);

    const Records dk_in(Layout::packed, dk_bytes, dk), c_in(Layout::packed, portable.c_bytes, c),
        K2(Layout::packed, portable.K_bytes, odd_count);
    b = of(Operation::decaps, odd_count, format);
    b.refuse_zero = refuse_zero;
    b.dk = dk_in.in();
    b.c = c_in.in();
    b.K_out = K2.out();
    const Answer answer = run(b);
    EXPECT_EQ(answer.statuses, c_statuses);
    const Bytes got = K2.read();
    for (std::size_t i = 0; i < odd_count; ++i) {
      if (c_statuses[i] == 0) continue;
      const kat::View record = kat::record(got, portable.K_bytes, i);
      EXPECT_TRUE(std::ranges::all_of(record, [](std::uint8_t byte) { return byte == 0; })) << i;
    }
    if (format == DkFormat::expanded) {
      b = of(Operation::check_dk, odd_count);
      b.dk = dk_in.in();
      Bytes dk_statuses(odd_count, 0);
      dk_statuses[9] = dk_statuses[20] = 4;
      EXPECT_EQ(run(b).statuses, dk_statuses);
    }
  }
}

TEST_P(HybridLaunch, RefusesFormatsAndKeysThatItDoesNotHave) {
  const DeviceMemory memory(1 << 16);
  const auto is_refused = [](const DeviceBatch& b) { return kernels::workspace_bytes(b) == 0; };
  for (const DkFormat format : {DkFormat::expanded, DkFormat::seed, DkFormat::composite, static_cast<DkFormat>(3)}) {
    const bool has = std::ranges::count(formats(), format) != 0;
    DeviceBatch b = of(Operation::keygen, 1, format);
    b.seeds = {memory.get(), 128, nullptr};
    b.ek_out = b.dk_out = {memory.get(), 4096, nullptr};
    EXPECT_EQ(is_refused(b), !has);
    b = of(Operation::decaps, 1, format);
    b.dk = b.c = {memory.get(), 4096, nullptr};
    b.K_out = {memory.get(), 64, nullptr};
    EXPECT_EQ(is_refused(b), !has);
    b = of(Operation::check_dk, 1, format);
    b.dk = {memory.get(), 4096, nullptr};
    EXPECT_EQ(is_refused(b), !has || format != DkFormat::expanded);
  }
  // A prepared dk of X25519MLKEM768 has no element to encapsulate to.
  for (const KeyKind kind : {KeyKind::ek, KeyKind::dk}) {
    DeviceBatch b = of(Operation::encaps, 1);
    b.m = {memory.get(), 64, nullptr};
    b.c_out = b.K_out = {memory.get(), 4096, nullptr};
    b.prepared = true;
    b.keys = {memory.get(), kernels::form_bytes(algorithm, kind), 1, nullptr, kind};
    EXPECT_EQ(is_refused(b), kind == KeyKind::dk);
  }
}

}  // namespace
}  // namespace warpkem::kernels::test
