// The suite that every backend passes: whatever `portable` answers, to whatever lies in a batch, in whatever layout.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "tests/backends/primitives.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/records.hpp"

namespace warpkem::test {
namespace {

std::span<const std::uint8_t> record(const Bytes& packed, std::size_t bytes, std::size_t i) {
  return std::span(packed).subspan(i * bytes, bytes);
}
std::span<std::uint8_t> record(Bytes& packed, std::size_t bytes, std::size_t i) {
  return std::span(packed).subspan(i * bytes, bytes);
}

bool is_zero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

Bytes digest(const EVP_MD* md, std::initializer_list<std::span<const std::uint8_t>> parts, std::size_t bytes) {
  Bytes result(bytes);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, md, nullptr);
  for (const auto part : parts) EVP_DigestUpdate(context, part.data(), part.size());
  const bool is_xof = (EVP_MD_flags(md) & EVP_MD_FLAG_XOF) != 0;
  if (is_xof) {
    EVP_DigestFinalXOF(context, result.data(), bytes);
  } else {
    EVP_DigestFinal_ex(context, result.data(), nullptr);
  }
  EVP_MD_CTX_free(context);
  return result;
}

// J(z || c), the secret that implicit rejection gives; from OpenSSL, so that it does not depend on our Keccak.
Bytes J(std::span<const std::uint8_t> z, std::span<const std::uint8_t> c) { return digest(EVP_shake256(), {z, c}, 32); }

Bytes H(std::span<const std::uint8_t> bytes) { return digest(EVP_sha3_256(), {bytes}, 32); }

// ---- the operations on packed arrays

struct KeyPairs {
  Bytes ek, dk;
};
struct Encapsulated {
  Bytes c, K;
};

warpkem_batch batch_of(const Set& set, std::uint32_t operation, std::size_t count) {
  warpkem_batch batch{};
  batch.operation = operation;
  batch.algorithm = set.algorithm;
  batch.count = count;
  return batch;
}

KeyPairs keygen(warpkem_engine* engine, const Set& set, const Bytes& seeds,
                std::uint32_t format = WARPKEM_DK_EXPANDED) {
  const std::size_t count = seeds.size() / 64;
  KeyPairs result{Bytes(count * set.ek), Bytes(count * set.dk_bytes(format))};
  warpkem_batch batch = batch_of(set, WARPKEM_OP_KEYGEN, count);
  batch.dk_format = format;
  batch.flags = WARPKEM_DERAND;
  batch.seeds = source(seeds);
  batch.ek_out = target(result.ek);
  batch.dk_out = target(result.dk);
  EXPECT_TRUE(all_good(run(engine, batch)));
  return result;
}

Answer encaps(warpkem_engine* engine, const Set& set, const Bytes& ek, const Bytes& m, Encapsulated& out) {
  const std::size_t count = m.size() / 32;
  out = {Bytes(count * set.c, 0xcc), Bytes(count * 32, 0xcc)};
  warpkem_batch batch = batch_of(set, WARPKEM_OP_ENCAPS, count);
  batch.flags = WARPKEM_DERAND;
  batch.ek = source(ek);
  batch.m = source(m);
  batch.c_out = target(out.c);
  batch.K_out = target(out.K);
  return run(engine, batch);
}

Encapsulated encaps(warpkem_engine* engine, const Set& set, const Bytes& ek, const Bytes& m) {
  Encapsulated out;
  EXPECT_TRUE(all_good(encaps(engine, set, ek, m, out)));
  return out;
}

Answer decaps(warpkem_engine* engine, const Set& set, const Bytes& dk, const Bytes& c, Bytes& K,
              std::uint32_t format = WARPKEM_DK_EXPANDED) {
  const std::size_t count = c.size() / set.c;
  K.assign(count * 32, 0xcc);
  warpkem_batch batch = batch_of(set, WARPKEM_OP_DECAPS, count);
  batch.dk_format = format;
  batch.dk = source(dk);
  batch.c = source(c);
  batch.K_out = target(K);
  return run(engine, batch);
}

Bytes decaps(warpkem_engine* engine, const Set& set, const Bytes& dk, const Bytes& c,
             std::uint32_t format = WARPKEM_DK_EXPANDED) {
  Bytes K;
  EXPECT_TRUE(all_good(decaps(engine, set, dk, c, K, format)));
  return K;
}

Answer check(warpkem_engine* engine, const Set& set, std::uint32_t operation, const Bytes& keys) {
  const bool is_ek = operation == WARPKEM_OP_CHECK_EK;
  warpkem_batch batch = batch_of(set, operation, keys.size() / (is_ek ? set.ek : set.dk));
  (is_ek ? batch.ek : batch.dk) = source(keys);
  return run(engine, batch);
}

// Repeats one record.
Bytes repeat(std::span<const std::uint8_t> bytes, std::size_t count) {
  Bytes result;
  for (std::size_t i = 0; i < count; ++i) result.insert(result.end(), bytes.begin(), bytes.end());
  return result;
}

// ---- what goes in, and what portable answers

struct Instances {
  Bytes seeds, m;
  KeyPairs keys;
  Encapsulated good;
  Bytes c, K;  // every fourth ciphertext is damaged
};

Instances make_instances(const Set& set, std::size_t count, std::uint64_t seed) {
  warpkem_engine* const portable = engine_of("portable");
  Random random(seed);
  Instances x;
  x.seeds = random.bytes(64 * count);
  x.m = random.bytes(32 * count);
  x.keys = keygen(portable, set, x.seeds);
  x.good = encaps(portable, set, x.keys.ek, x.m);
  x.c = x.good.c;
  for (std::size_t i = 0; i < count; i += 4) {
    x.c[i * set.c + random.below(set.c)] ^= static_cast<std::uint8_t>(1 + random.below(255));
  }
  x.K = decaps(portable, set, x.keys.dk, x.c);
  return x;
}

// Sets coefficient `i` of an encoded vector (ByteEncode_12).
void set_coefficient(std::span<std::uint8_t> encoded, std::size_t i, unsigned value) {
  std::uint8_t* const bytes = encoded.data() + i / 2 * 3;
  if (i % 2 == 0) {
    bytes[0] = static_cast<std::uint8_t>(value);
    bytes[1] = static_cast<std::uint8_t>((bytes[1] & 0xf0) | (value >> 8));
  } else {
    bytes[1] = static_cast<std::uint8_t>((bytes[1] & 0x0f) | ((value & 0xf) << 4));
    bytes[2] = static_cast<std::uint8_t>(value >> 4);
  }
}

unsigned coefficient(std::span<const std::uint8_t> encoded, std::size_t i) {
  const std::uint8_t* const bytes = encoded.data() + i / 2 * 3;
  const unsigned even = bytes[0] | (bytes[1] & 0x0fu) << 8, odd = bytes[1] >> 4 | unsigned{bytes[2]} << 4;
  return i % 2 == 0 ? even : odd;
}

// Makes the coefficients below 4096 - q stand for themselves plus q. Returns how many.
std::size_t unreduce(std::span<std::uint8_t> encoded) {
  std::size_t changed = 0;
  for (std::size_t i = 0; i < encoded.size() * 2 / 3; ++i) {
    const unsigned x = coefficient(encoded, i);
    if (x < 4096 - 3329) set_coefficient(encoded, i, x + 3329), ++changed;
  }
  return changed;
}

// ---- the suite

class BackendSuite : public BackendTest {
 protected:
  Instances instances(std::size_t count, std::uint64_t seed) const { return make_instances(set, count, seed); }
};

TEST_P(BackendSuite, BatchesOfEverySizeAgreeWithPortable) {
  std::vector<std::size_t> sizes(40);
  std::iota(sizes.begin(), sizes.end(), 1);
  sizes.push_back(257);
  if (!small_tests()) sizes.push_back(1021);
  for (const std::size_t count : sizes) {
    SCOPED_TRACE(count);
    const Instances x = instances(count, count);
    const KeyPairs keys = keygen(engine, set, x.seeds);
    ASSERT_EQ(keys.ek, x.keys.ek);
    ASSERT_EQ(keys.dk, x.keys.dk);
    const KeyPairs from_seeds = keygen(engine, set, x.seeds, WARPKEM_DK_SEED);
    ASSERT_EQ(from_seeds.ek, x.keys.ek);
    ASSERT_EQ(from_seeds.dk, x.seeds);
    const Encapsulated encapsulated = encaps(engine, set, x.keys.ek, x.m);
    ASSERT_EQ(encapsulated.c, x.good.c);
    ASSERT_EQ(encapsulated.K, x.good.K);
    ASSERT_EQ(decaps(engine, set, x.keys.dk, x.good.c), x.good.K);
    ASSERT_EQ(decaps(engine, set, x.keys.dk, x.c), x.K);
    ASSERT_EQ(decaps(engine, set, x.seeds, x.c, WARPKEM_DK_SEED), x.K);
    ASSERT_TRUE(all_good(check(engine, set, WARPKEM_OP_CHECK_EK, x.keys.ek)));
    ASSERT_TRUE(all_good(check(engine, set, WARPKEM_OP_CHECK_DK, x.keys.dk)));
  }
}

TEST_P(BackendSuite, LayoutsDoNotMatterAndBytesBetweenRecordsStay) {
  for (const Layout layout : layouts) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{37}}) {
      SCOPED_TRACE(name_of(layout) + " x " + std::to_string(count));
      const Instances x = instances(count, 1000 + count);

      for (const std::uint32_t format : {WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED}) {
        Arrays keygen_arrays(layout, count, {64, set.ek, set.dk_bytes(format)});
        keygen_arrays.fill(0, x.seeds);
        warpkem_batch batch = batch_of(set, WARPKEM_OP_KEYGEN, count);
        batch.dk_format = format;
        batch.flags = WARPKEM_DERAND;
        batch.seeds = keygen_arrays.source(0);
        batch.ek_out = keygen_arrays.target(1);
        batch.dk_out = keygen_arrays.target(2);
        ASSERT_TRUE(all_good(run(engine, batch)));
        EXPECT_EQ(keygen_arrays.packed(1), x.keys.ek);
        EXPECT_EQ(keygen_arrays.packed(2), format == WARPKEM_DK_SEED ? x.seeds : x.keys.dk);
        EXPECT_TRUE(keygen_arrays.only_outputs_changed(1));

        Arrays decaps_arrays(layout, count, {set.dk_bytes(format), set.c, 32});
        decaps_arrays.fill(0, format == WARPKEM_DK_SEED ? x.seeds : x.keys.dk);
        decaps_arrays.fill(1, x.c);
        batch = batch_of(set, WARPKEM_OP_DECAPS, count);
        batch.dk_format = format;
        batch.dk = decaps_arrays.source(0);
        batch.c = decaps_arrays.source(1);
        batch.K_out = decaps_arrays.target(2);
        ASSERT_TRUE(all_good(run(engine, batch)));
        EXPECT_EQ(decaps_arrays.packed(2), x.K);
        EXPECT_TRUE(decaps_arrays.only_outputs_changed(2));
      }

      Arrays encaps_arrays(layout, count, {set.ek, 32, set.c, 32});
      encaps_arrays.fill(0, x.keys.ek);
      encaps_arrays.fill(1, x.m);
      warpkem_batch batch = batch_of(set, WARPKEM_OP_ENCAPS, count);
      batch.flags = WARPKEM_DERAND;
      batch.ek = encaps_arrays.source(0);
      batch.m = encaps_arrays.source(1);
      batch.c_out = encaps_arrays.target(2);
      batch.K_out = encaps_arrays.target(3);
      ASSERT_TRUE(all_good(run(engine, batch)));
      EXPECT_EQ(encaps_arrays.packed(2), x.good.c);
      EXPECT_EQ(encaps_arrays.packed(3), x.good.K);
      EXPECT_TRUE(encaps_arrays.only_outputs_changed(2));

      Arrays checked(layout, count, {set.ek, set.dk});
      checked.fill(0, x.keys.ek);
      checked.fill(1, x.keys.dk);
      batch = batch_of(set, WARPKEM_OP_CHECK_EK, count);
      batch.ek = checked.source(0);
      EXPECT_TRUE(all_good(run(engine, batch)));
      batch = batch_of(set, WARPKEM_OP_CHECK_DK, count);
      batch.dk = checked.source(1);
      EXPECT_TRUE(all_good(run(engine, batch)));
      EXPECT_TRUE(checked.only_outputs_changed(2));
    }
  }
}

// That item `bad` failed with `status` and zeroed outputs, and the others are as they should be.
void expect_only_failed(const Answer& answer, const std::vector<bool>& bad, warpkem_status status,
                        std::initializer_list<std::pair<const Bytes*, const Bytes*>> outputs) {
  EXPECT_EQ(answer.status, WARPKEM_ITEM_FAILED);
  EXPECT_EQ(answer.failed, static_cast<std::size_t>(std::ranges::count(bad, true)));
  for (std::size_t i = 0; i < bad.size(); ++i) {
    ASSERT_EQ(answer.statuses[i], bad[i] ? status : WARPKEM_OK) << "item " << i;
    for (const auto& [output, expected] : outputs) {
      const std::size_t bytes = output->size() / bad.size();
      if (bad[i]) {
        ASSERT_TRUE(is_zero(record(*output, bytes, i))) << "item " << i;
      } else {
        ASSERT_TRUE(std::ranges::equal(record(*output, bytes, i), record(*expected, bytes, i))) << "item " << i;
      }
    }
  }
}

// Which items of a batch are bad: each position in turn, then all, then every second.
std::vector<std::vector<bool>> patterns(std::size_t count) {
  std::vector<std::vector<bool>> result;
  for (std::size_t bad = 0; bad < count; ++bad) {
    result.emplace_back(count, false);
    result.back()[bad] = true;
  }
  result.emplace_back(count, true);
  result.emplace_back(count);
  for (std::size_t i = 0; i < count; i += 2) result.back()[i] = true;
  return result;
}

TEST_P(BackendSuite, BadEncapsulationKeyFailsAloneAtEveryPosition) {
  const std::size_t count = small_tests() ? 9 : 35;
  const Instances x = instances(count, 2000);
  std::size_t round = 0;
  for (const auto& bad : patterns(count)) {
    Bytes ek = x.keys.ek;
    for (std::size_t i = 0; i < count; ++i) {
      // A coefficient of q or more, just so or by far, at either end and between.
      const std::size_t last = 256 * set.k - 1;
      const std::size_t places[] = {0, last, (round * 37 + i) % last};
      const unsigned values[] = {3329, 4095, 3330};
      if (bad[i]) set_coefficient(record(ek, set.ek, i), places[round % 3], values[(round / 3) % 3]);
    }
    ++round;
    Encapsulated out;
    const Answer answer = encaps(engine, set, ek, x.m, out);
    expect_only_failed(answer, bad, WARPKEM_INVALID_EK, {{&out.c, &x.good.c}, {&out.K, &x.good.K}});
    expect_only_failed(check(engine, set, WARPKEM_OP_CHECK_EK, ek), bad, WARPKEM_INVALID_EK, {});
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

TEST_P(BackendSuite, BadItemsAreZeroedInPlaceInEveryLayout) {
  constexpr std::size_t count = 21;
  const Instances x = instances(count, 2050);
  std::vector<bool> bad(count);
  Bytes bad_ek = x.keys.ek, bad_dk = x.keys.dk;
  for (const std::size_t i : {0u, 7u, 8u, 20u}) {
    bad[i] = true;
    set_coefficient(record(bad_ek, set.ek, i), 13 * i, 4000);
    record(bad_dk, set.dk, i)[set.dk - 33] ^= 1;
  }
  for (const Layout layout : layouts) {
    SCOPED_TRACE(name_of(layout));
    Arrays encaps_arrays(layout, count, {set.ek, 32, set.c, 32});
    encaps_arrays.fill(0, bad_ek);
    encaps_arrays.fill(1, x.m);
    warpkem_batch batch = batch_of(set, WARPKEM_OP_ENCAPS, count);
    batch.flags = WARPKEM_DERAND;
    batch.ek = encaps_arrays.source(0);
    batch.m = encaps_arrays.source(1);
    batch.c_out = encaps_arrays.target(2);
    batch.K_out = encaps_arrays.target(3);
    Answer answer = run(engine, batch);
    const Bytes c = encaps_arrays.packed(2), K = encaps_arrays.packed(3);
    expect_only_failed(answer, bad, WARPKEM_INVALID_EK, {{&c, &x.good.c}, {&K, &x.good.K}});
    EXPECT_TRUE(encaps_arrays.only_outputs_changed(2));

    Arrays decaps_arrays(layout, count, {set.dk, set.c, 32});
    decaps_arrays.fill(0, bad_dk);
    decaps_arrays.fill(1, x.c);
    batch = batch_of(set, WARPKEM_OP_DECAPS, count);
    batch.dk = decaps_arrays.source(0);
    batch.c = decaps_arrays.source(1);
    batch.K_out = decaps_arrays.target(2);
    answer = run(engine, batch);
    const Bytes decapsulated = decaps_arrays.packed(2);
    expect_only_failed(answer, bad, WARPKEM_INVALID_DK, {{&decapsulated, &x.K}});
    EXPECT_TRUE(decaps_arrays.only_outputs_changed(2));
  }
}

TEST_P(BackendSuite, EveryCoefficientOfEkIsChecked) {
  const std::size_t coefficients = 256 * set.k;
  const std::size_t step = small_tests() ? 17 : 1;
  const Bytes one = make_instances(set, 1, 2100).keys.ek;
  Bytes ek;
  for (std::size_t i = 0; i < coefficients; i += step) {
    Bytes changed = one;
    set_coefficient(changed, i, 3329);
    ek.insert(ek.end(), changed.begin(), changed.end());
    set_coefficient(changed, i, 3328);
    ek.insert(ek.end(), changed.begin(), changed.end());
  }
  const Answer answer = check(engine, set, WARPKEM_OP_CHECK_EK, ek);
  for (std::size_t i = 0; i < answer.statuses.size(); ++i) {
    ASSERT_EQ(answer.statuses[i], i % 2 == 0 ? WARPKEM_INVALID_EK : WARPKEM_OK) << "coefficient " << i / 2 * step;
  }
}

TEST_P(BackendSuite, BadDecapsulationKeyFailsAloneAtEveryPosition) {
  const std::size_t count = small_tests() ? 9 : 35;
  const Instances x = instances(count, 3000);
  std::size_t round = 0;
  for (const auto& bad : patterns(count)) {
    Bytes dk = x.keys.dk;
    for (std::size_t i = 0; i < count; ++i) {
      // The first and the last byte of ek, the same of H(ek), and one between.
      const std::size_t ek = 384 * set.k, h = ek + set.ek;
      const std::size_t places[] = {ek, h - 1, h, h + 31, ek + (round * 101 + i) % set.ek};
      if (bad[i]) record(dk, set.dk, i)[places[round % 5]] ^= static_cast<std::uint8_t>(1u << (i % 8));
    }
    ++round;
    Bytes K;
    const Answer answer = decaps(engine, set, dk, x.c, K);
    expect_only_failed(answer, bad, WARPKEM_INVALID_DK, {{&K, &x.K}});
    expect_only_failed(check(engine, set, WARPKEM_OP_CHECK_DK, dk), bad, WARPKEM_INVALID_DK, {});
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

TEST_P(BackendSuite, EveryByteOfTheHashInDkIsChecked) {
  const Bytes one = make_instances(set, 1, 3100).keys.dk;
  Bytes dk = one;
  for (std::size_t i = 0; i < 32; ++i) {
    Bytes changed = one;
    changed[384 * set.k + set.ek + i] ^= 0x10;
    dk.insert(dk.end(), changed.begin(), changed.end());
  }
  std::vector<bool> bad(33, true);
  bad[0] = false;
  expect_only_failed(check(engine, set, WARPKEM_OP_CHECK_DK, dk), bad, WARPKEM_INVALID_DK, {});
}

// ByteDecode_12 reduces mod q: a coefficient of dk_PKE may stand for itself plus q.
TEST_P(BackendSuite, NonReducedCoefficientsOfDkAreReduced) {
  constexpr std::size_t count = 19;
  const Instances x = instances(count, 4000);
  Bytes dk = x.keys.dk;
  std::size_t changed = 0;
  for (std::size_t i = 0; i < count; ++i) changed += unreduce(record(dk, set.dk, i).first(384 * set.k));
  ASSERT_GT(changed, count * 10);
  EXPECT_EQ(decaps(engine, set, dk, x.c), x.K);
  EXPECT_TRUE(all_good(check(engine, set, WARPKEM_OP_CHECK_DK, dk)));
}

// The same for the ek inside dk. Its hash is another one then, so that K = J(z || c): no ciphertext was made with it.
TEST_P(BackendSuite, NonReducedCoefficientsOfTheEkInDkAreNoError) {
  constexpr std::size_t count = 19;
  const Instances x = instances(count, 4100);
  Bytes dk = x.keys.dk, expected;
  for (std::size_t i = 0; i < count; ++i) {
    const auto one = record(dk, set.dk, i);
    const auto ek = one.subspan(384 * set.k, set.ek);
    ASSERT_GT(unreduce(ek.first(384 * set.k)), 10u);
    std::ranges::copy(H(ek), one.begin() + static_cast<std::ptrdiff_t>(384 * set.k + set.ek));
    const Bytes K = J(one.last(32), record(x.good.c, set.c, i));
    expected.insert(expected.end(), K.begin(), K.end());
  }
  EXPECT_TRUE(all_good(check(engine, set, WARPKEM_OP_CHECK_DK, dk)));
  EXPECT_EQ(decaps(engine, set, dk, x.good.c), expected);
  EXPECT_EQ(decaps(engine_of("portable"), set, dk, x.good.c), expected);
}

TEST_P(BackendSuite, EveryChangedByteOfACiphertextIsRejectedImplicitly) {
  const Instances x = instances(1, 5000);
  const std::size_t step = small_tests() ? 11 : 1;
  const std::span<const std::uint8_t> z = std::span(x.seeds).subspan(32, 32);
  Bytes c, expected;
  Random random(5001);
  for (std::size_t i = 0; i < set.c; i += step) {
    Bytes changed = x.good.c;
    changed[i] ^= static_cast<std::uint8_t>(i % 2 == 0 ? 1u << random.below(8) : 1 + random.below(255));
    c.insert(c.end(), changed.begin(), changed.end());
    const Bytes K = J(z, changed);
    expected.insert(expected.end(), K.begin(), K.end());
  }
  const std::size_t count = c.size() / set.c;
  EXPECT_EQ(decaps(engine, set, repeat(x.keys.dk, count), c), expected);
  EXPECT_EQ(decaps(engine, set, repeat(x.seeds, count), c, WARPKEM_DK_SEED), expected);
}

TEST_P(BackendSuite, RandomAndExtremeCiphertextsAgreeWithPortable) {
  constexpr std::size_t count = 24;
  const Instances x = instances(count, 5100);
  Bytes c = Random(5101).bytes(count * set.c);
  std::ranges::fill(record(c, set.c, 0), std::uint8_t{0});
  std::ranges::fill(record(c, set.c, 1), std::uint8_t{0xff});
  Bytes expected;
  for (std::size_t i = 0; i < count; ++i) {
    const Bytes K = J(record(x.seeds, 64, i).last(32), record(c, set.c, i));
    expected.insert(expected.end(), K.begin(), K.end());
  }
  EXPECT_EQ(decaps(engine, set, x.keys.dk, c), expected);
}

// Every value of an encoded secret coefficient, also those that KeyGen never makes.
TEST_P(BackendSuite, ArbitraryCoefficientsOfKeysAgreeWithPortable) {
  constexpr std::size_t count = 21;
  const Instances x = instances(count, 5200);
  Random random(5201);
  Bytes dk = x.keys.dk, ek = x.keys.ek;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < 256 * set.k; ++j) {
      set_coefficient(record(dk, set.dk, i), j,
                      i == 0   ? 4095
                      : i == 1 ? 3328
                               : static_cast<unsigned>(random.below(4096)));
      set_coefficient(record(ek, set.ek, i), j, i == 0 ? 3328 : i == 1 ? 0 : static_cast<unsigned>(random.below(3329)));
    }
  }
  EXPECT_EQ(decaps(engine, set, dk, x.good.c), decaps(engine_of("portable"), set, dk, x.good.c));
  const Encapsulated ours = encaps(engine, set, ek, x.m), theirs = encaps(engine_of("portable"), set, ek, x.m);
  EXPECT_EQ(ours.c, theirs.c);
  EXPECT_EQ(ours.K, theirs.K);
}

// ---- SampleNTT beyond three blocks of SHAKE128

// How many of the 112 candidates in each of its blocks SampleNTT(rho || j || i) looks at.
std::size_t candidates_needed(std::span<const std::uint8_t> rho, std::uint8_t j, std::uint8_t i) {
  Bytes seed(rho.begin(), rho.end());
  seed.insert(seed.end(), {j, i});
  const Bytes stream = digest(EVP_shake128(), {seed}, 168 * 6);
  std::size_t accepted = 0, needed = 0;
  while (accepted < 256) accepted += coefficient(stream, needed++) < 3329;
  return needed;
}

struct LongSeed {
  warpkem_algorithm algorithm;
  std::uint32_t counter;   // d: these four bytes, little-endian, then zeros
  std::size_t entries;     // of A that need a fourth block
  std::size_t candidates;  // that the longest entry looks at; three blocks have 336
};

// Found by a search over the first half million counters: the last candidate of the third block, the first of the
// fourth, several entries at once, the longest. A fifth block is beyond any search: the first four would have to reject
// 193 of their 448 candidates, where 84 are expected and the standard deviation is 8.3.
constexpr LongSeed long_seeds[] = {
    {WARPKEM_ML_KEM_512, 8, 0, 336},       {WARPKEM_ML_KEM_512, 72, 1, 337},     {WARPKEM_ML_KEM_512, 5444, 2, 352},
    {WARPKEM_ML_KEM_512, 738361, 1, 368},  {WARPKEM_ML_KEM_768, 39, 0, 336},     {WARPKEM_ML_KEM_768, 83, 1, 337},
    {WARPKEM_ML_KEM_768, 419, 2, 340},     {WARPKEM_ML_KEM_768, 11532, 3, 341},  {WARPKEM_ML_KEM_768, 297524, 1, 364},
    {WARPKEM_ML_KEM_1024, 57, 0, 336},     {WARPKEM_ML_KEM_1024, 42, 1, 337},    {WARPKEM_ML_KEM_1024, 152, 2, 341},
    {WARPKEM_ML_KEM_1024, 388009, 4, 338}, {WARPKEM_ML_KEM_1024, 166710, 1, 366}};

TEST_P(BackendSuite, MatricesThatNeedAFourthBlockAgreeWithPortable) {
  Bytes seeds;
  for (const LongSeed& seed : long_seeds) {
    if (seed.algorithm != set.algorithm) continue;
    Bytes d(64);
    for (std::size_t byte = 0; byte < 4; ++byte) d[byte] = static_cast<std::uint8_t>(seed.counter >> (8 * byte));
    d[32] = 1;  // z
    seeds.insert(seeds.end(), d.begin(), d.end());

    // That the seed is what the table says.
    const KeyPairs keys = keygen(engine_of("portable"), set, d);
    std::size_t entries = 0, longest = 0;
    for (std::uint8_t i = 0; i < set.k; ++i) {
      for (std::uint8_t j = 0; j < set.k; ++j) {
        const std::size_t needed = candidates_needed(std::span(keys.ek).last(32), j, i);
        entries += needed > 336;
        longest = std::max(longest, needed);
      }
    }
    EXPECT_EQ(entries, seed.entries) << seed.counter;
    EXPECT_EQ(longest, seed.candidates) << seed.counter;
  }
  const std::size_t num_long = seeds.size() / 64;
  ASSERT_GE(num_long, 3u);

  // Among ordinary keys, so that lanes of one vector or threads of one warp need different numbers of blocks.
  const Bytes ordinary = Random(6000).bytes(64 * 8);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    Bytes mixed(ordinary.begin(), ordinary.begin() + static_cast<std::ptrdiff_t>(64 * shift));
    mixed.insert(mixed.end(), seeds.begin(), seeds.end());
    mixed.insert(mixed.end(), ordinary.begin() + static_cast<std::ptrdiff_t>(64 * shift), ordinary.end());
    const std::size_t count = mixed.size() / 64;
    const Bytes m = Random(6001).bytes(32 * count);
    const KeyPairs expected = keygen(engine_of("portable"), set, mixed);
    const KeyPairs keys = keygen(engine, set, mixed);
    ASSERT_EQ(keys.ek, expected.ek);
    ASSERT_EQ(keys.dk, expected.dk);
    const Encapsulated good = encaps(engine_of("portable"), set, keys.ek, m);
    const Encapsulated ours = encaps(engine, set, keys.ek, m);
    ASSERT_EQ(ours.c, good.c);
    ASSERT_EQ(ours.K, good.K);
    ASSERT_EQ(decaps(engine, set, keys.dk, good.c), good.K);
    ASSERT_EQ(decaps(engine, set, mixed, good.c, WARPKEM_DK_SEED), good.K);
    if (small_tests() && shift == 1) break;
  }
}

// ---- prepared keys

Keys prepare(warpkem_engine* engine, const Set& set, bool is_ek, const Bytes& encoded, std::uint32_t format,
             warpkem_status expected = WARPKEM_OK, Bytes* statuses = nullptr) {
  const std::size_t bytes = is_ek ? set.ek : set.dk_bytes(format);
  const std::size_t count = encoded.size() / bytes;
  const warpkem_in in{encoded.data(), encoded.size(), 0};
  warpkem_keys* keys = nullptr;
  Bytes answer(count, 0xee);
  const warpkem_status status =
      is_ek ? warpkem_prepare_ek(engine, set.algorithm, count, in, answer.data(), nullptr, &keys)
            : warpkem_prepare_dk(engine, set.algorithm, format, count, in, answer.data(), nullptr, &keys);
  EXPECT_EQ(status, expected) << warpkem_last_error();
  if (statuses != nullptr) *statuses = answer;
  return Keys(keys);
}

Answer encaps_prepared(warpkem_engine* engine, const Set& set, const Keys& keys,
                       const std::vector<std::uint32_t>* index, const Bytes& m, Encapsulated& out) {
  const std::size_t count = m.size() / 32;
  out = {Bytes(count * set.c, 0xcc), Bytes(count * 32, 0xcc)};
  warpkem_batch batch = batch_of(set, WARPKEM_OP_ENCAPS, count);
  batch.flags = WARPKEM_DERAND;
  batch.keys = keys.get();
  batch.index = index != nullptr ? index->data() : nullptr;
  batch.m = source(m);
  batch.c_out = target(out.c);
  batch.K_out = target(out.K);
  return run(engine, batch);
}

Answer decaps_prepared(warpkem_engine* engine, const Set& set, const Keys& keys,
                       const std::vector<std::uint32_t>* index, const Bytes& c, Bytes& K) {
  const std::size_t count = c.size() / set.c;
  K.assign(count * 32, 0xcc);
  warpkem_batch batch = batch_of(set, WARPKEM_OP_DECAPS, count);
  batch.keys = keys.get();
  batch.index = index != nullptr ? index->data() : nullptr;
  batch.c = source(c);
  batch.K_out = target(K);
  return run(engine, batch);
}

TEST_P(BackendSuite, OnePreparedKeyServesManyItems) {
  const std::size_t most = small_tests() ? 40 : 150;
  const Instances one = instances(1, 7000);
  const Keys ek = prepare(engine, set, true, one.keys.ek, 0);
  const Keys dk = prepare(engine, set, false, one.keys.dk, WARPKEM_DK_EXPANDED);
  const Keys seed = prepare(engine, set, false, one.seeds, WARPKEM_DK_SEED);
  ASSERT_TRUE(ek && dk && seed);
  for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{16}, most}) {
    SCOPED_TRACE(count);
    const Bytes m = Random(7001 + count).bytes(32 * count);
    const Encapsulated good = encaps(engine_of("portable"), set, repeat(one.keys.ek, count), m);
    Encapsulated out;
    ASSERT_TRUE(all_good(encaps_prepared(engine, set, ek, nullptr, m, out)));
    ASSERT_EQ(out.c, good.c);
    ASSERT_EQ(out.K, good.K);
    Bytes K, c = good.c;
    for (std::size_t i = 0; i < count; i += 3) c[i * set.c + i % set.c] ^= 1;
    const Bytes expected = decaps(engine_of("portable"), set, repeat(one.keys.dk, count), c);
    ASSERT_TRUE(all_good(decaps_prepared(engine, set, dk, nullptr, c, K)));
    ASSERT_EQ(K, expected);
    ASSERT_TRUE(all_good(decaps_prepared(engine, set, seed, nullptr, c, K)));
    ASSERT_EQ(K, expected);
  }
}

TEST_P(BackendSuite, PreparedKeysAreFoundByIndexWithRepeats) {
  constexpr std::size_t num_keys = 23;
  const std::size_t count = small_tests() ? 50 : 131;
  const Instances x = instances(num_keys, 7100);
  const Keys ek = prepare(engine, set, true, x.keys.ek, 0);
  const Keys dk = prepare(engine, set, false, x.keys.dk, WARPKEM_DK_EXPANDED);
  const Keys seed = prepare(engine, set, false, x.seeds, WARPKEM_DK_SEED);
  ASSERT_TRUE(ek && dk && seed);
  EXPECT_EQ(warpkem_keys_count(ek.get()), num_keys);

  Random random(7101);
  const Bytes m = random.bytes(32 * count);
  std::vector<std::uint32_t> index(count);
  Bytes eks, dks;
  for (std::size_t i = 0; i < count; ++i) {
    index[i] =
        static_cast<std::uint32_t>(i % 11 < 5 && i > 0 ? index[i - 1] : random.below(num_keys));  // runs of one key
    const auto e = record(x.keys.ek, set.ek, index[i]), d = record(x.keys.dk, set.dk, index[i]);
    eks.insert(eks.end(), e.begin(), e.end());
    dks.insert(dks.end(), d.begin(), d.end());
  }
  const Encapsulated good = encaps(engine_of("portable"), set, eks, m);
  Encapsulated out;
  ASSERT_TRUE(all_good(encaps_prepared(engine, set, ek, &index, m, out)));
  EXPECT_EQ(out.c, good.c);
  EXPECT_EQ(out.K, good.K);
  Bytes K, c = good.c;
  for (std::size_t i = 0; i < count; i += 5) c[i * set.c + set.c - 1] ^= 0x80;
  const Bytes expected = decaps(engine_of("portable"), set, dks, c);
  ASSERT_TRUE(all_good(decaps_prepared(engine, set, dk, &index, c, K)));
  EXPECT_EQ(K, expected);
  ASSERT_TRUE(all_good(decaps_prepared(engine, set, seed, &index, c, K)));
  EXPECT_EQ(K, expected);
}

TEST_P(BackendSuite, BadPreparedKeysAndIndicesFailTheItemsThatUseThem) {
  constexpr std::size_t num_keys = 9;
  const Instances x = instances(num_keys, 7200);
  for (std::size_t bad_key = 0; bad_key < num_keys; ++bad_key) {
    SCOPED_TRACE(bad_key);
    Bytes bad_ek = x.keys.ek, bad_dk = x.keys.dk;
    set_coefficient(record(bad_ek, set.ek, bad_key), 256 * set.k - 1, 3329);
    record(bad_dk, set.dk, bad_key)[384 * set.k + set.ek + bad_key] ^= 1;
    Bytes ek_statuses, dk_statuses;
    const Keys ek = prepare(engine, set, true, bad_ek, 0, WARPKEM_ITEM_FAILED, &ek_statuses);
    const Keys dk = prepare(engine, set, false, bad_dk, WARPKEM_DK_EXPANDED, WARPKEM_ITEM_FAILED, &dk_statuses);
    ASSERT_TRUE(ek && dk);

    // Each key once, the bad one again, and two indices beyond the set.
    std::vector<std::uint32_t> index(num_keys);
    std::iota(index.begin(), index.end(), 0u);
    index.insert(index.end(), {static_cast<std::uint32_t>(bad_key), num_keys, 0xffffffffu, 0});
    const std::size_t count = index.size();
    Bytes m = x.m, c = x.good.c;
    m.resize(32 * count);
    c.resize(set.c * count);
    Encapsulated out;
    Bytes K;
    const Answer encapsulated = encaps_prepared(engine, set, ek, &index, m, out);
    const Answer decapsulated = decaps_prepared(engine, set, dk, &index, c, K);
    EXPECT_EQ(encapsulated.status, WARPKEM_ITEM_FAILED);
    EXPECT_EQ(decapsulated.status, WARPKEM_ITEM_FAILED);
    EXPECT_EQ(encapsulated.failed, bad_key == 0 ? 5u : 4u);
    EXPECT_EQ(decapsulated.failed, encapsulated.failed);
    for (std::size_t i = 0; i < count; ++i) {
      SCOPED_TRACE(i);
      const bool no_key = index[i] >= num_keys, bad = index[i] == bad_key;
      EXPECT_EQ(encapsulated.statuses[i], no_key ? WARPKEM_INVALID_KEY_INDEX : bad ? WARPKEM_INVALID_EK : WARPKEM_OK);
      EXPECT_EQ(decapsulated.statuses[i], no_key ? WARPKEM_INVALID_KEY_INDEX : bad ? WARPKEM_INVALID_DK : WARPKEM_OK);
      if (no_key || bad) {
        EXPECT_TRUE(is_zero(record(out.c, set.c, i)) && is_zero(record(out.K, 32, i)) && is_zero(record(K, 32, i)));
      } else if (i < num_keys) {
        EXPECT_TRUE(std::ranges::equal(record(out.c, set.c, i), record(x.good.c, set.c, i)));
        EXPECT_TRUE(std::ranges::equal(record(out.K, 32, i), record(x.good.K, 32, i)));
        EXPECT_TRUE(std::ranges::equal(record(K, 32, i), record(x.good.K, 32, i)));
      }
    }
    for (std::size_t i = 0; i < num_keys; ++i) {
      EXPECT_EQ(ek_statuses[i], i == bad_key ? WARPKEM_INVALID_EK : WARPKEM_OK);
      EXPECT_EQ(dk_statuses[i], i == bad_key ? WARPKEM_INVALID_DK : WARPKEM_OK);
    }
    if (small_tests() && bad_key == 2) break;
  }
}

TEST_P(BackendSuite, NonReducedCoefficientsOfAPreparedDkAreReduced) {
  constexpr std::size_t count = 11;
  const Instances x = instances(count, 7300);
  Bytes dk = x.keys.dk;
  for (std::size_t i = 0; i < count; ++i) ASSERT_GT(unreduce(record(dk, set.dk, i).first(384 * set.k)), 10u);
  const Keys keys = prepare(engine, set, false, dk, WARPKEM_DK_EXPANDED);
  ASSERT_TRUE(keys);
  std::vector<std::uint32_t> index(count);
  std::iota(index.begin(), index.end(), 0u);
  Bytes K;
  ASSERT_TRUE(all_good(decaps_prepared(engine, set, keys, &index, x.c, K)));
  EXPECT_EQ(K, x.K);
}

TEST_P(BackendSuite, PreparedKeysThatNeedAFourthBlockWork) {
  Bytes seeds;
  for (const LongSeed& seed : long_seeds) {
    if (seed.algorithm != set.algorithm) continue;
    Bytes d(64);
    for (std::size_t byte = 0; byte < 4; ++byte) d[byte] = static_cast<std::uint8_t>(seed.counter >> (8 * byte));
    seeds.insert(seeds.end(), d.begin(), d.end());
  }
  const std::size_t count = seeds.size() / 64;
  const Bytes m = Random(7400).bytes(32 * count);
  const KeyPairs pairs = keygen(engine_of("portable"), set, seeds);
  const Encapsulated good = encaps(engine_of("portable"), set, pairs.ek, m);
  std::vector<std::uint32_t> index(count);
  std::iota(index.begin(), index.end(), 0u);
  Encapsulated out;
  ASSERT_TRUE(all_good(encaps_prepared(engine, set, prepare(engine, set, true, pairs.ek, 0), &index, m, out)));
  EXPECT_EQ(out.c, good.c);
  EXPECT_EQ(out.K, good.K);
  Bytes K;
  const Keys seed_keys = prepare(engine, set, false, seeds, WARPKEM_DK_SEED);
  ASSERT_TRUE(all_good(decaps_prepared(engine, set, seed_keys, &index, good.c, K)));
  EXPECT_EQ(K, good.K);
}

// ---- with threads

TEST_P(BackendSuite, ThreadsThatShareABatchChangeNothing) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  const std::string name = std::get<0>(GetParam());
  options.backend = name.c_str();
  options.threads = 3;
  options.flags = WARPKEM_NO_FAIL_OVER;
  warpkem_engine* threaded = nullptr;
  ASSERT_EQ(warpkem_engine_new(&options, &threaded), WARPKEM_OK) << warpkem_last_error();
  for (const std::size_t count : {std::size_t{2}, std::size_t{61}, std::size_t{small_tests() ? 64u : 517u}}) {
    SCOPED_TRACE(count);
    const Instances x = instances(count, 8000 + count);
    const KeyPairs keys = keygen(threaded, set, x.seeds);
    EXPECT_EQ(keys.ek, x.keys.ek);
    EXPECT_EQ(keys.dk, x.keys.dk);
    std::vector<bool> bad(count);
    Bytes ek = x.keys.ek;
    for (std::size_t i = 1; i < count; i += 13) {
      bad[i] = true;
      set_coefficient(record(ek, set.ek, i), i % (256 * set.k), 3329);
    }
    Encapsulated out;
    const Answer answer = encaps(threaded, set, ek, x.m, out);
    expect_only_failed(answer, bad, WARPKEM_INVALID_EK, {{&out.c, &x.good.c}, {&out.K, &x.good.K}});
    EXPECT_EQ(decaps(threaded, set, x.keys.dk, x.c), x.K);
    EXPECT_EQ(decaps(threaded, set, x.seeds, x.c, WARPKEM_DK_SEED), x.K);
    const Keys dk = prepare(threaded, set, false, x.keys.dk, WARPKEM_DK_EXPANDED);
    std::vector<std::uint32_t> index(count);
    std::iota(index.begin(), index.end(), 0u);
    Bytes K;
    EXPECT_TRUE(all_good(decaps_prepared(threaded, set, dk, &index, x.c, K)));
    EXPECT_EQ(K, x.K);
  }
  warpkem_engine_free(threaded);
}

// ---- with the library's own randomness

TEST_P(BackendSuite, RandomKeysAndSecretsAreAllDifferentAndMatch) {
  const std::size_t count = small_tests() ? 40 : 300;
  Bytes ek(count * set.ek), dk(count * set.dk), c(count * set.c), K(count * 32), again(count * 32);
  const auto in = [](const Bytes& bytes) { return warpkem_in{bytes.data(), bytes.size(), 0}; };
  const auto out = [](Bytes& bytes) { return warpkem_out{bytes.data(), bytes.size(), 0}; };
  ASSERT_EQ(WARPKEM_OK,
            warpkem_keygen(engine, set.algorithm, WARPKEM_DK_EXPANDED, count, out(ek), out(dk), nullptr, nullptr));
  ASSERT_EQ(WARPKEM_OK, warpkem_encaps(engine, set.algorithm, count, in(ek), out(c), out(K), nullptr, nullptr));
  ASSERT_EQ(WARPKEM_OK, warpkem_decaps(engine, set.algorithm, WARPKEM_DK_EXPANDED, count, in(dk), in(c), out(again),
                                       nullptr, nullptr));
  EXPECT_EQ(K, again);
  const auto expect_distinct = [count](const Bytes& packed) {
    std::set<std::string> records;
    for (std::size_t i = 0; i < count; ++i) {
      const auto one = record(packed, packed.size() / count, i);
      records.emplace(one.begin(), one.end());
    }
    EXPECT_EQ(records.size(), count);
  };
  expect_distinct(ek);
  expect_distinct(c);
  expect_distinct(K);
}

WARPKEM_TEST_EVERY_BACKEND(BackendSuite);

}  // namespace
}  // namespace warpkem::test
