// Hybrid KEMs on every backend, against a model of each that is made of other parts (hybrid_model.hpp).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>

#include "tests/backends/hybrid_model.hpp"
#include "tests/support/records.hpp"

namespace warpkem::test {
namespace {

constexpr std::uint32_t formats[] = {WARPKEM_DK_EXPANDED, WARPKEM_DK_SEED, WARPKEM_DK_COMPOSITE};

std::size_t dk_bytes(warpkem_algorithm algorithm, std::uint32_t format) {
  constexpr std::uint32_t what[] = {WARPKEM_SIZE_DK, WARPKEM_SIZE_DK_SEED, WARPKEM_SIZE_DK_COMPOSITE};
  return warpkem_size(algorithm, what[format]);
}
std::size_t seed_bytes(warpkem_algorithm algorithm, std::uint32_t format) {
  return warpkem_size(algorithm, format == WARPKEM_DK_COMPOSITE ? WARPKEM_SIZE_SEED_COMPOSITE : WARPKEM_SIZE_SEED);
}
std::vector<std::uint32_t> formats_of(warpkem_algorithm algorithm) {
  std::vector<std::uint32_t> result;
  for (const std::uint32_t format : formats) {
    if (dk_bytes(algorithm, format) != 0) result.push_back(format);
  }
  return result;
}

// Equal records, one after the other.
struct Records {
  std::size_t bytes;
  Bytes packed;

  std::size_t count() const { return packed.size() / bytes; }
  Bytes operator[](std::size_t i) const {
    const auto begin = packed.begin() + static_cast<std::ptrdiff_t>(i * bytes);
    return {begin, begin + static_cast<std::ptrdiff_t>(bytes)};
  }
  std::uint8_t* at(std::size_t i) { return packed.data() + i * bytes; }
  void add(const Bytes& record) { packed.insert(packed.end(), record.begin(), record.end()); }
  // Records first, first + 1 ... of this one, `number` of them, from the beginning again after the last.
  Records cyclic(std::size_t first, std::size_t number) const {
    Records result{bytes, {}};
    for (std::size_t i = 0; i < number; ++i) result.add((*this)[(first + i) % count()]);
    return result;
  }
};

// Key pairs in one format, and what the model says of them.
struct KeyPairs {
  Records seeds, ek, dk, m, c, K;
  Records bad_c, bad_K;  // each fourth ciphertext is damaged where ML-KEM rejects it implicitly
};

KeyPairs make_pairs(const HybridModel& model, std::uint32_t format, std::size_t count) {
  const auto size = [&](std::uint32_t what) { return Records{warpkem_size(model.algorithm, what), {}}; };
  KeyPairs p{{seed_bytes(model.algorithm, format), {}},
             size(WARPKEM_SIZE_EK),
             {dk_bytes(model.algorithm, format), {}},
             size(WARPKEM_SIZE_M),
             size(WARPKEM_SIZE_C),
             size(WARPKEM_SIZE_K),
             size(WARPKEM_SIZE_C),
             size(WARPKEM_SIZE_K)};
  Random random(100 * model.algorithm + format);
  for (std::size_t i = 0; i < count; ++i) {
    p.seeds.add(random.bytes(p.seeds.bytes));
    p.m.add(random.bytes(p.m.bytes));
    // One scalar is the second candidate: the first one is above the order.
    if (model.randomness > 64 && i == 1) {
      if (p.seeds.bytes > 64) std::fill_n(p.seeds.at(i) + 64, model.scalar, std::uint8_t{0xff});
      std::fill_n(p.m.at(i) + 32, model.scalar, std::uint8_t{0});
    }
    const auto pair = model.keygen(p.seeds[i], format);
    p.ek.add(pair->ek), p.dk.add(pair->dk);
    const auto encapsulated = model.encaps(pair->ek, p.m[i]);
    p.c.add(encapsulated->c), p.K.add(encapsulated->K);
    Bytes c = encapsulated->c;
    if (i % 4 == 0) c[model.ml_kem_in_c() + random.below(model.half.c)] ^= 0x20;
    p.bad_c.add(c), p.bad_K.add(*model.decaps(pair->dk, format, c));
  }
  return p;
}

// Made once for a program.
const KeyPairs& pairs_of(const HybridModel& model, std::uint32_t format) {
  static std::map<std::pair<warpkem_algorithm, std::uint32_t>, KeyPairs> made;
  const auto key = std::pair(model.algorithm, format);
  auto found = made.find(key);
  if (found == made.end())
    found = made.emplace(key, make_pairs(model, format, small_tests() || model.element != 32 ? 11 : 41)).first;
  return found->second;
}

class Hybrid : public testing::TestWithParam<std::tuple<std::string, warpkem_algorithm>> {
 protected:
  Hybrid() : model(std::get<1>(GetParam())), engine(engine_of(std::get<0>(GetParam()))) {}

  bool is_slow() const { return model.element != 32; }  // OpenSSL's curves: 0.1 to 1 ms an item
  warpkem_batch batch_of(std::uint32_t operation, std::size_t count, std::uint32_t format = 0) const {
    warpkem_batch batch{};
    batch.operation = operation;
    batch.algorithm = model.algorithm;
    batch.count = count;
    batch.dk_format = format;
    return batch;
  }

  Answer keygen(std::uint32_t format, const Records& seeds, Records& ek, Records& dk) const {
    const std::size_t count = seeds.count();
    ek = {warpkem_size(model.algorithm, WARPKEM_SIZE_EK),
          Bytes(count * warpkem_size(model.algorithm, WARPKEM_SIZE_EK), 0xcc)};
    dk = {dk_bytes(model.algorithm, format), Bytes(count * dk_bytes(model.algorithm, format), 0xcc)};
    warpkem_batch batch = batch_of(WARPKEM_OP_KEYGEN, count, format);
    batch.flags = WARPKEM_DERAND;
    batch.seeds = source(seeds.packed);
    batch.ek_out = target(ek.packed);
    batch.dk_out = target(dk.packed);
    return run(engine, batch);
  }
  // With `keys` a prepared set, and without `index` its key 0 for all.
  Answer encaps(const Records* ek, const Records& m, Records& c, Records& K, warpkem_keys* keys = nullptr,
                const std::uint32_t* index = nullptr) const {
    const std::size_t count = m.count();
    outputs(count, &c, K);
    warpkem_batch batch = batch_of(WARPKEM_OP_ENCAPS, count);
    batch.flags = WARPKEM_DERAND;
    if (ek != nullptr) batch.ek = source(ek->packed);
    batch.keys = keys, batch.index = index;
    batch.m = source(m.packed);
    batch.c_out = target(c.packed);
    batch.K_out = target(K.packed);
    return run(engine, batch);
  }
  Answer decaps(std::uint32_t format, const Records* dk, const Records& c, Records& K, warpkem_keys* keys = nullptr,
                const std::uint32_t* index = nullptr) const {
    outputs(c.count(), nullptr, K);
    warpkem_batch batch = batch_of(WARPKEM_OP_DECAPS, c.count(), format);
    if (dk != nullptr) batch.dk = source(dk->packed);
    batch.keys = keys, batch.index = index;
    batch.c = source(c.packed);
    batch.K_out = target(K.packed);
    return run(engine, batch);
  }
  Answer check_ek(const Records& ek) const {
    warpkem_batch batch = batch_of(WARPKEM_OP_CHECK_EK, ek.count());
    batch.ek = source(ek.packed);
    return run(engine, batch);
  }
  Answer check_dk(std::uint32_t format, const Records& dk) const {
    warpkem_batch batch = batch_of(WARPKEM_OP_CHECK_DK, dk.count(), format);
    batch.dk = source(dk.packed);
    return run(engine, batch);
  }
  Keys prepare_ek(const Records& ek, Bytes& statuses) const {
    warpkem_keys* keys = nullptr;
    statuses.resize(ek.count());
    static_cast<void>(!warpkem_prepare_ek(engine, model.algorithm, ek.count(), {ek.packed.data(), ek.packed.size(), 0},
                                          statuses.data(), nullptr, &keys));
    return Keys(keys);
  }
  Keys prepare_dk(std::uint32_t format, const Records& dk, Bytes& statuses) const {
    warpkem_keys* keys = nullptr;
    statuses.resize(dk.count());
    static_cast<void>(!warpkem_prepare_dk(engine, model.algorithm, format, dk.count(),
                                          {dk.packed.data(), dk.packed.size(), 0}, statuses.data(), nullptr, &keys));
    return Keys(keys);
  }

  const HybridModel model;
  warpkem_engine* const engine;

 private:
  void outputs(std::size_t count, Records* c, Records& K) const {
    const std::size_t K_bytes = warpkem_size(model.algorithm, WARPKEM_SIZE_K);
    K = {K_bytes, Bytes(count * K_bytes, 0xcc)};
    const std::size_t c_bytes = warpkem_size(model.algorithm, WARPKEM_SIZE_C);
    if (c != nullptr) *c = {c_bytes, Bytes(count * c_bytes, 0xcc)};
  }
};

TEST_P(Hybrid, BatchesOfEverySizeAgreeWithTheModel) {
  std::vector<std::size_t> sizes = {1, 2, 3, 9, 17};
  if (!is_slow()) {
    sizes.resize(40);
    std::iota(sizes.begin(), sizes.end(), 1);
    sizes.insert(sizes.end(), {257, small_tests() ? 300u : 1021u});
  }
  for (const std::uint32_t format : formats_of(model.algorithm)) {
    const KeyPairs& p = pairs_of(model, format);
    for (const std::size_t count : sizes) {
      SCOPED_TRACE("format " + std::to_string(format) + ", " + std::to_string(count) + " items");
      const auto some = [&](const Records& records) { return records.cyclic(count, count); };
      Records ek, dk, c, K;
      ASSERT_TRUE(all_good(keygen(format, some(p.seeds), ek, dk)));
      ASSERT_EQ(ek.packed, some(p.ek).packed);
      ASSERT_EQ(dk.packed, some(p.dk).packed);
      ASSERT_TRUE(all_good(encaps(&ek, some(p.m), c, K)));
      ASSERT_EQ(c.packed, some(p.c).packed);
      ASSERT_EQ(K.packed, some(p.K).packed);
      const Records bad_c = some(p.bad_c);
      ASSERT_TRUE(all_good(decaps(format, &dk, bad_c, K)));
      ASSERT_EQ(K.packed, some(p.bad_K).packed);
      ASSERT_TRUE(all_good(check_ek(ek)));
      ASSERT_TRUE(all_good(check_dk(format, dk)));
    }
  }
}

TEST_P(Hybrid, LayoutsDoNotMatterAndBytesBetweenRecordsStay) {
  constexpr std::size_t count = 10;
  for (const std::uint32_t format : formats_of(model.algorithm)) {
    const KeyPairs& p = pairs_of(model, format);
    const auto some = [&](const Records& records) { return records.cyclic(0, count).packed; };
    for (const Layout layout : layouts) {
      SCOPED_TRACE(name_of(layout));
      Arrays made(layout, count, {p.seeds.bytes, p.ek.bytes, p.dk.bytes});
      made.fill(0, some(p.seeds));
      warpkem_batch batch = batch_of(WARPKEM_OP_KEYGEN, count, format);
      batch.flags = WARPKEM_DERAND;
      batch.seeds = made.source(0), batch.ek_out = made.target(1), batch.dk_out = made.target(2);
      ASSERT_TRUE(all_good(run(engine, batch)));
      EXPECT_EQ(made.packed(1), some(p.ek));
      EXPECT_EQ(made.packed(2), some(p.dk));
      EXPECT_TRUE(made.only_outputs_changed(1));

      Arrays sent(layout, count, {p.ek.bytes, p.m.bytes, p.c.bytes, p.K.bytes});
      sent.fill(0, some(p.ek)), sent.fill(1, some(p.m));
      batch = batch_of(WARPKEM_OP_ENCAPS, count);
      batch.flags = WARPKEM_DERAND;
      batch.ek = sent.source(0), batch.m = sent.source(1), batch.c_out = sent.target(2), batch.K_out = sent.target(3);
      ASSERT_TRUE(all_good(run(engine, batch)));
      EXPECT_EQ(sent.packed(2), some(p.c));
      EXPECT_EQ(sent.packed(3), some(p.K));
      EXPECT_TRUE(sent.only_outputs_changed(2));

      Arrays received(layout, count, {p.dk.bytes, p.c.bytes, p.K.bytes});
      received.fill(0, some(p.dk)), received.fill(1, some(p.bad_c));
      batch = batch_of(WARPKEM_OP_DECAPS, count, format);
      batch.dk = received.source(0), batch.c = received.source(1), batch.K_out = received.target(2);
      ASSERT_TRUE(all_good(run(engine, batch)));
      EXPECT_EQ(received.packed(2), some(p.bad_K));
      EXPECT_TRUE(received.only_outputs_changed(2));

      Arrays checked(layout, count, {p.ek.bytes, p.dk.bytes});
      checked.fill(0, some(p.ek)), checked.fill(1, some(p.dk));
      batch = batch_of(WARPKEM_OP_CHECK_EK, count);
      batch.ek = checked.source(0);
      EXPECT_TRUE(all_good(run(engine, batch)));
      batch = batch_of(WARPKEM_OP_CHECK_DK, count, format);
      batch.dk = checked.source(1);
      EXPECT_TRUE(all_good(run(engine, batch)));
    }
  }
}

// That item `bad` alone failed, with this status and zeros, and that the others are as expected.
void expect_only_failed(const Answer& answer, std::size_t bad, warpkem_status status,
                        std::initializer_list<std::pair<const Records*, const Records*>> outputs) {
  ASSERT_EQ(answer.status, WARPKEM_ITEM_FAILED);
  ASSERT_EQ(answer.failed, 1u);
  for (std::size_t i = 0; i < answer.statuses.size(); ++i) {
    ASSERT_EQ(answer.statuses[i], i == bad ? status : WARPKEM_OK) << "item " << i << " where " << bad << " is bad";
    for (const auto& [got, expected] : outputs) {
      ASSERT_EQ((*got)[i], i == bad ? Bytes(got->bytes) : (*expected)[i]) << "item " << i << ", bad " << bad;
    }
  }
}

// Ways in which the curve's half of an ek or c is bad.
std::vector<Bytes> bad_elements(const HybridModel& model, const Bytes& good) {
  if (model.element == 32) {
    if (model.combines) return {};
    Bytes zero(32), one(32), p_minus_1(32, 0xff), p(32, 0xff);
    one[0] = 1, p_minus_1[0] = 0xec, p_minus_1[31] = 0x7f, p[0] = 0xed;
    return {zero, one, p_minus_1, p};  // the last with the top bit, which does not count
  }
  std::vector<Bytes> result(6, good);
  result[0].back() ^= 1;                                                         // not on the curve
  std::fill(result[1].begin(), result[1].end(), std::uint8_t{0});                // infinity, and padding
  result[2][0] = 3;                                                              // another form
  result[3][0] = 6 | (good.back() & 1);                                          // the hybrid form of SEC 1
  std::fill(result[4].begin() + 1, result[4].end(), std::uint8_t{0xff});         // coordinates of p and more
  std::fill_n(result[5].begin() + 1, (model.element - 1) / 2, std::uint8_t{0});  // x of 0 with another y
  return result;
}

TEST_P(Hybrid, ABadKeyOrCiphertextFailsAloneAtEveryPosition) {
  const std::uint32_t format = formats_of(model.algorithm).back();
  const KeyPairs& p = pairs_of(model, format);
  const std::size_t count = is_slow() || small_tests() ? 5 : 19;
  const auto some = [&](const Records& records) { return records.cyclic(0, count); };
  const Records m = some(p.m), dk = some(p.dk);
  for (std::size_t bad = 0; bad < count; ++bad) {
    Records c, K, ek = some(p.ek);
    const std::uint8_t* const element = ek.at(bad) + model.in_ek();
    std::vector<Bytes> elements = bad_elements(model, Bytes(element, element + model.element));
    for (const Bytes& one : elements) {
      ek = some(p.ek);
      std::ranges::copy(one, ek.at(bad) + model.in_ek());
      const Records all_c = some(p.c), all_K = some(p.K);
      expect_only_failed(encaps(&ek, m, c, K), bad, WARPKEM_INVALID_EK, {{&c, &all_c}, {&K, &all_K}});
      expect_only_failed(check_ek(ek), bad, WARPKEM_INVALID_EK, {});
      Bytes statuses;
      const Keys keys = prepare_ek(ek, statuses);
      ASSERT_TRUE(keys);
      EXPECT_EQ(statuses[bad], WARPKEM_INVALID_EK);
      EXPECT_EQ(std::ranges::count(statuses, WARPKEM_OK), static_cast<std::ptrdiff_t>(count - 1));
    }
    ek = some(p.ek);
    std::fill_n(ek.at(bad) + model.ml_kem_in_ek() + 3 * bad, 3, std::uint8_t{0xff});  // coefficients of q and more
    const Records all_c = some(p.c), all_K = some(p.K), all_bad_K = some(p.bad_K);
    expect_only_failed(encaps(&ek, m, c, K), bad, WARPKEM_INVALID_EK, {{&c, &all_c}, {&K, &all_K}});
    expect_only_failed(check_ek(ek), bad, WARPKEM_INVALID_EK, {});

    Records sent = some(p.bad_c);
    const std::uint8_t* const in_c = sent.at(bad) + model.in_c();
    elements = bad_elements(model, Bytes(in_c, in_c + model.element));
    for (const Bytes& one : elements) {
      sent = some(p.bad_c);
      std::ranges::copy(one, sent.at(bad) + model.in_c());
      expect_only_failed(decaps(format, &dk, sent, K), bad, WARPKEM_INVALID_C, {{&K, &all_bad_K}});
    }
    if (HasFatalFailure()) return;
  }
}

TEST_P(Hybrid, ABadDecapsulationKeyFailsAlone) {
  for (const std::uint32_t format : formats_of(model.algorithm)) {
    const KeyPairs& p = pairs_of(model, format);
    constexpr std::size_t count = 6;
    const auto some = [&](const Records& records) { return records.cyclic(0, count); };
    const Records c = some(p.bad_c), all_K = some(p.bad_K);
    // Where the key is damaged, and how.
    struct Damage {
      std::size_t at, bytes;
      std::uint8_t value;
      std::uint8_t last;  // in place of the last byte
    };
    std::vector<Damage> damages;
    if (format == WARPKEM_DK_EXPANDED) {  // H(ek)
      const std::size_t h = (model.group_first ? model.scalar : 0) + model.half.dk - 64;
      damages.push_back({h, 32, 0x5a, 0x5a});
    }
    if (is_slow() && format != WARPKEM_DK_SEED) {
      damages.push_back({model.in_dk(format), model.scalar, 0, 0});        // a scalar of zero
      damages.push_back({model.in_dk(format), model.scalar, 0xff, 0xff});  // and one of n and more
    }
    if (is_slow() && format == WARPKEM_DK_SEED && !model.combines) {
      damages.push_back({64, model.randomness, 0, 0});  // no scalar in it
    }
    if (is_slow() && format == WARPKEM_DK_COMPOSITE) {
      for (std::size_t i = 0; i < model.before.size(); ++i) {
        damages.push_back({64 + i, 1, static_cast<std::uint8_t>(model.before[i] ^ 1),
                           static_cast<std::uint8_t>(model.before[i] ^ 1)});
      }
      for (std::size_t i = 0; i < model.after.size(); ++i) {
        const auto value = static_cast<std::uint8_t>(model.after[i] ^ 0x80);
        damages.push_back({64 + model.before.size() + model.scalar + i, 1, value, value});
      }
    }
    std::size_t bad = 0;
    for (const Damage& damage : damages) {
      bad = (bad + 1) % count;
      Records dk = some(p.dk), K;
      std::fill_n(dk.at(bad) + damage.at, damage.bytes, damage.value);
      dk.at(bad)[damage.at + damage.bytes - 1] = damage.last;
      SCOPED_TRACE("byte " + std::to_string(damage.at) + " of format " + std::to_string(format));
      expect_only_failed(decaps(format, &dk, c, K), bad, WARPKEM_INVALID_DK, {{&K, &all_K}});
      expect_only_failed(check_dk(format, dk), bad, WARPKEM_INVALID_DK, {});
      Bytes statuses;
      const Keys keys = prepare_dk(format, dk, statuses);
      ASSERT_TRUE(keys);
      EXPECT_EQ(statuses[bad], WARPKEM_INVALID_DK);
      EXPECT_EQ(std::ranges::count(statuses, WARPKEM_OK), static_cast<std::ptrdiff_t>(count - 1));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Hybrid, ScalarsAtTheEdgesOfTheirRange) {
  if (!is_slow()) GTEST_SKIP() << "every scalar of X25519 is good";
  const std::uint32_t format = model.combines ? WARPKEM_DK_COMPOSITE : WARPKEM_DK_EXPANDED;
  const KeyPairs& p = pairs_of(model, format);
  // n - 1, n and 1, of which n is bad.
  Bytes order =
      model.scalar == 32
          ? Bytes{0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                  0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51}
          : Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
                  0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};
  Bytes last = order, one(model.scalar);
  last.back() -= 1, one.back() = 1;
  Records dk = p.dk.cyclic(0, 3), K;
  const Records c = p.c.cyclic(0, 3);
  std::ranges::copy(last, dk.at(0) + model.in_dk(format));
  std::ranges::copy(order, dk.at(1) + model.in_dk(format));
  std::ranges::copy(one, dk.at(2) + model.in_dk(format));
  Records expected{p.K.bytes, {}};
  for (std::size_t i = 0; i < 3; ++i) {
    expected.add(i == 1 ? Bytes(p.K.bytes) : *model.decaps(dk[i], format, c[i]));
  }
  expect_only_failed(decaps(format, &dk, c, K), 1, WARPKEM_INVALID_DK, {{&K, &expected}});
}

TEST_P(Hybrid, RandomnessWithoutAScalarFailsItsItem) {
  if (!is_slow()) GTEST_SKIP() << "every scalar of X25519 is good";
  const std::uint32_t format = model.combines ? WARPKEM_DK_COMPOSITE : WARPKEM_DK_EXPANDED;
  const KeyPairs& p = pairs_of(model, format);
  constexpr std::size_t count = 4;
  const auto some = [&](const Records& records) { return records.cyclic(0, count); };
  const Records all_ek = some(p.ek), all_dk = some(p.dk), all_c = some(p.c), all_K = some(p.K);
  for (const std::uint8_t value : {std::uint8_t{0}, std::uint8_t{0xff}}) {
    Records seeds = some(p.seeds), m = some(p.m), ek, dk, c, K;
    std::fill_n(seeds.at(2) + 64, model.randomness, value);
    std::fill_n(m.at(3) + 32, model.randomness, value);
    expect_only_failed(keygen(format, seeds, ek, dk), 2, WARPKEM_INVALID_RANDOMNESS, {{&ek, &all_ek}, {&dk, &all_dk}});
    expect_only_failed(encaps(&all_ek, m, c, K), 3, WARPKEM_INVALID_RANDOMNESS, {{&c, &all_c}, {&K, &all_K}});
  }
}

TEST_P(Hybrid, PreparedKeysAreFoundByIndexWithRepeats) {
  const std::size_t num_keys = 7, count = is_slow() || small_tests() ? 12 : 67;
  for (const std::uint32_t format : formats_of(model.algorithm)) {
    SCOPED_TRACE(format);
    const KeyPairs& p = pairs_of(model, format);
    Bytes statuses;
    const Keys ek = prepare_ek(p.ek.cyclic(0, num_keys), statuses);
    ASSERT_TRUE(ek);
    const Keys dk = prepare_dk(format, p.dk.cyclic(0, num_keys), statuses);
    ASSERT_TRUE(dk);
    EXPECT_GT(warpkem_keys_bytes_per_key(dk.get()), p.dk.bytes);
    Random random(7);
    std::vector<std::uint32_t> index(count);
    Records m{p.m.bytes, {}}, expected_c{p.c.bytes, {}}, expected_K{p.K.bytes, {}}, sent{p.c.bytes, {}},
        received{p.K.bytes, {}};
    for (std::uint32_t& i : index) {
      i = static_cast<std::uint32_t>(random.below(num_keys));
      m.add(p.m[i]), expected_c.add(p.c[i]), expected_K.add(p.K[i]), sent.add(p.bad_c[i]), received.add(p.bad_K[i]);
    }
    Records c, K;
    ASSERT_TRUE(all_good(encaps(nullptr, m, c, K, ek.get(), index.data())));
    EXPECT_EQ(c.packed, expected_c.packed);
    EXPECT_EQ(K.packed, expected_K.packed);
    ASSERT_TRUE(all_good(decaps(0, nullptr, sent, K, dk.get(), index.data())));
    EXPECT_EQ(K.packed, received.packed);
    // Without an index: key 0.
    ASSERT_TRUE(all_good(encaps(nullptr, p.m.cyclic(0, 1), c, K, ek.get())));
    EXPECT_EQ(c.packed, p.c[0]);
    // Beyond the set, alone.
    index[count / 2] = 99;
    const Answer answer = decaps(0, nullptr, sent, K, dk.get(), index.data());
    expect_only_failed(answer, count / 2, WARPKEM_INVALID_KEY_INDEX, {{&K, &received}});
  }
}

TEST_P(Hybrid, ThreadsThatShareABatchChangeNothing) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = std::get<0>(GetParam()).c_str();
  options.threads = 3;
  warpkem_engine* threaded = nullptr;
  ASSERT_EQ(warpkem_engine_new(&options, &threaded), WARPKEM_OK) << warpkem_last_error();
  const std::unique_ptr<warpkem_engine, void (*)(warpkem_engine*)> owner(threaded, warpkem_engine_free);
  const std::uint32_t format = formats_of(model.algorithm).front();
  const KeyPairs& p = pairs_of(model, format);
  const std::size_t count = is_slow() || small_tests() ? 40 : 700;
  const Records dk = p.dk.cyclic(0, count), c = p.bad_c.cyclic(0, count);
  Bytes K(count * p.K.bytes);
  warpkem_batch batch = batch_of(WARPKEM_OP_DECAPS, count, format);
  batch.dk = source(dk.packed), batch.c = source(c.packed), batch.K_out = target(K);
  ASSERT_TRUE(all_good(run(threaded, batch)));
  EXPECT_EQ(K, p.bad_K.cyclic(0, count).packed);
}

TEST_P(Hybrid, OwnRandomnessMakesKeysThatAgreeAndDiffer) {
  const std::size_t count = is_slow() ? 5 : 33;
  const std::uint32_t format = formats_of(model.algorithm).front();
  Bytes ek(count * warpkem_size(model.algorithm, WARPKEM_SIZE_EK)), dk(count * dk_bytes(model.algorithm, format)),
      c(count * warpkem_size(model.algorithm, WARPKEM_SIZE_C)),
      K(count * warpkem_size(model.algorithm, WARPKEM_SIZE_K)), again(K.size());
  warpkem_batch batch = batch_of(WARPKEM_OP_KEYGEN, count, format);
  batch.ek_out = target(ek), batch.dk_out = target(dk);
  ASSERT_TRUE(all_good(run(engine, batch)));
  batch = batch_of(WARPKEM_OP_ENCAPS, count);
  batch.ek = source(ek), batch.c_out = target(c), batch.K_out = target(K);
  ASSERT_TRUE(all_good(run(engine, batch)));
  batch = batch_of(WARPKEM_OP_DECAPS, count, format);
  batch.dk = source(dk), batch.c = source(c), batch.K_out = target(again);
  ASSERT_TRUE(all_good(run(engine, batch)));
  EXPECT_EQ(K, again);
  std::vector<Bytes> secrets;
  for (std::size_t i = 0; i < count; ++i) secrets.push_back(Records{K.size() / count, K}[i]);
  std::ranges::sort(secrets);
  EXPECT_EQ(std::ranges::adjacent_find(secrets), secrets.end());
}

TEST_P(Hybrid, FormatsThatItDoesNotHaveAreUnsupported) {
  for (const std::uint32_t format : {0u, 1u, 2u, 3u}) {
    const bool has = format < 3 && dk_bytes(model.algorithm, format) != 0;
    Bytes ek(2000), dk(4000);
    EXPECT_EQ(warpkem_keygen(engine, model.algorithm, format, 1, {ek.data(), ek.size(), 0}, {dk.data(), dk.size(), 0},
                             nullptr, nullptr),
              has ? WARPKEM_OK : WARPKEM_UNSUPPORTED)
        << format;
  }
  // warpkem_check_dk() is of expanded keys.
  Bytes dk(4000);
  const warpkem_status status =
      warpkem_check_dk(engine, model.algorithm, 1, {dk.data(), dk.size(), 0}, nullptr, nullptr);
  EXPECT_EQ(status, model.combines ? WARPKEM_UNSUPPORTED : WARPKEM_ITEM_FAILED);
}

INSTANTIATE_TEST_SUITE_P(Every, Hybrid,
                         testing::Combine(testing::ValuesIn(usable_backends()),
                                          testing::Range(WARPKEM_X25519MLKEM768, WARPKEM_MLKEM1024_P384 + 1)),
                         [](const auto& test) { return name_of_case(test.param); });

// ---- submitted

// Requests of single items and of a few, as a server gathers them, of every hybrid at once; each result recomputed by
// another backend.
TEST(SubmittedHybrids, AgreeWithTheModelAndWithTheSentinel) {
  warpkem_engine* made = nullptr;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = 2;
  ASSERT_EQ(warpkem_engine_new(&options, &made), WARPKEM_OK) << warpkem_last_error();
  const std::unique_ptr<warpkem_engine, void (*)(warpkem_engine*)> engine(made, warpkem_engine_free);
  warpkem_scheduler_options scheduler{};
  scheduler.struct_size = sizeof scheduler;
  scheduler.cpu_sentinel = 1;
  ASSERT_EQ(warpkem_configure(made, &scheduler), WARPKEM_OK);
  warpkem_queue* queue_made = nullptr;
  ASSERT_EQ(warpkem_queue_new(made, &queue_made), WARPKEM_OK);
  const std::unique_ptr<warpkem_queue, warpkem_status (*)(warpkem_queue*)> queue(queue_made, warpkem_queue_free);

  struct Request {
    Records in[2], out[2], expected[2];
  };
  std::vector<std::unique_ptr<Request>> requests;
  for (warpkem_algorithm a = WARPKEM_X25519MLKEM768; a <= WARPKEM_MLKEM1024_P384; ++a) {
    const HybridModel model(a);
    const std::uint32_t format = formats_of(a).back();
    const KeyPairs& p = pairs_of(model, format);
    for (std::size_t i = 0; i < 6; ++i) {
      const std::size_t count = i % 3 + 1;
      const auto some = [&](const Records& records) { return records.cyclic(i, count); };
      const auto room = [&](const Records& records) {
        return Records{records.bytes, Bytes(count * records.bytes, 0xcc)};
      };
      for (const std::uint32_t operation : {WARPKEM_OP_KEYGEN, WARPKEM_OP_ENCAPS, WARPKEM_OP_DECAPS}) {
        Request& r = *requests.emplace_back(std::make_unique<Request>());
        warpkem_batch batch{};
        batch.struct_size = sizeof batch;
        batch.operation = operation, batch.algorithm = a, batch.count = count;
        if (operation == WARPKEM_OP_KEYGEN) {
          r = {{some(p.seeds), {}}, {room(p.ek), room(p.dk)}, {some(p.ek), some(p.dk)}};
          batch.flags = WARPKEM_DERAND, batch.dk_format = format;
          batch.seeds = source(r.in[0].packed);
          batch.ek_out = target(r.out[0].packed), batch.dk_out = target(r.out[1].packed);
        } else if (operation == WARPKEM_OP_ENCAPS) {
          r = {{some(p.m), some(p.ek)}, {room(p.c), room(p.K)}, {some(p.c), some(p.K)}};
          batch.flags = WARPKEM_DERAND;
          batch.m = source(r.in[0].packed), batch.ek = source(r.in[1].packed);
          batch.c_out = target(r.out[0].packed), batch.K_out = target(r.out[1].packed);
        } else {
          r = {{some(p.bad_c), some(p.dk)}, {room(p.K), {}}, {some(p.bad_K), {}}};
          batch.dk_format = format;
          batch.c = source(r.in[0].packed), batch.dk = source(r.in[1].packed), batch.K_out = target(r.out[0].packed);
        }
        warpkem_submit_options submission{};
        submission.struct_size = sizeof submission;
        submission.queue = queue_made, submission.timeout_us = WARPKEM_FOREVER;
        ASSERT_EQ(warpkem_submit(made, &batch, 1, &submission, nullptr, nullptr), WARPKEM_OK) << warpkem_last_error();
      }
    }
  }
  for (std::size_t done = 0; done < requests.size();) {
    warpkem_completion completions[16];
    std::size_t count = 0;
    ASSERT_EQ(warpkem_queue_wait(queue_made, completions, 16, WARPKEM_FOREVER, &count), WARPKEM_OK);
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(completions[i].status, WARPKEM_OK);
    done += count;
  }
  for (const auto& r : requests) {
    for (std::size_t k = 0; k < 2; ++k) ASSERT_EQ(r->out[k].packed, r->expected[k].packed);
  }
  warpkem_counters counters{};
  counters.struct_size = sizeof counters;
  ASSERT_EQ(warpkem_metrics(made, &counters, nullptr, 0, nullptr), WARPKEM_OK);
  EXPECT_EQ(counters.mismatched, 0u);
  EXPECT_EQ(counters.checked + counters.unchecked, 6u * 12 * 3);
}

// ---- what X25519 alone has

TEST(XWing, ASecretOfZeroIsTakenUnlessTheEngineRefusesIt) {
  const HybridModel model(WARPKEM_MLKEM768_X25519);
  const KeyPairs& p = pairs_of(model, WARPKEM_DK_SEED);
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.flags = WARPKEM_REFUSE_ZERO;
  warpkem_engine* made = nullptr;
  ASSERT_EQ(warpkem_engine_new(&options, &made), WARPKEM_OK) << warpkem_last_error();
  const std::unique_ptr<warpkem_engine, void (*)(warpkem_engine*)> strict(made, warpkem_engine_free);
  // Points of low order: 0, 1, order 8 twice, p - 1; p and p + 1, which are not reduced; and the same with the top bit.
  std::vector<Bytes> points(5, Bytes(32));
  points[1][0] = 1;
  points[2] = {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
               0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00};
  points[3] = {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
               0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57};
  for (const unsigned low : {0xecu, 0xedu, 0xeeu}) {
    Bytes& point = points.emplace_back(32, std::uint8_t{0xff});
    point[0] = static_cast<std::uint8_t>(low), point[31] = 0x7f;
  }
  for (std::size_t i = points.size(); i-- > 0;) {
    points.push_back(points[i]);
    points.back()[31] |= 0x80;
  }
  for (const Bytes& point : points) {
    Bytes ek = p.ek[0], c = p.c[0];
    std::ranges::copy(point, ek.begin() + 1184);
    std::ranges::copy(point, c.begin() + 1088);
    const auto encapsulated = model.encaps(ek, p.m[0]);
    const auto K = model.decaps(p.dk[0], WARPKEM_DK_SEED, c);
    ASSERT_TRUE(encapsulated && K);
    for (warpkem_engine* const engine : {engine_of("portable"), strict.get()}) {
      const bool is_strict = engine == strict.get();
      Bytes made_c(1120), made_K(32), got(32), statuses(1);
      warpkem_batch batch{};
      batch.struct_size = sizeof batch, batch.algorithm = WARPKEM_MLKEM768_X25519, batch.count = 1;
      batch.operation = WARPKEM_OP_ENCAPS, batch.flags = WARPKEM_DERAND;
      const Bytes m = p.m[0], dk = p.dk[0];
      batch.ek = source(ek), batch.m = source(m), batch.c_out = target(made_c), batch.K_out = target(made_K);
      const Answer encaps_answer = run(engine, batch);
      EXPECT_EQ(encaps_answer.statuses[0], is_strict ? WARPKEM_INVALID_EK : WARPKEM_OK);
      EXPECT_EQ(made_c, is_strict ? Bytes(1120) : encapsulated->c);
      EXPECT_EQ(made_K, is_strict ? Bytes(32) : encapsulated->K);
      batch = {};
      batch.algorithm = WARPKEM_MLKEM768_X25519, batch.count = 1, batch.operation = WARPKEM_OP_DECAPS;
      batch.dk_format = WARPKEM_DK_SEED, batch.dk = source(dk), batch.c = source(c), batch.K_out = target(got);
      const Answer decaps_answer = run(engine, batch);
      EXPECT_EQ(decaps_answer.statuses[0], is_strict ? WARPKEM_INVALID_C : WARPKEM_OK);
      EXPECT_EQ(got, is_strict ? Bytes(32) : *K);
      batch = {};
      batch.algorithm = WARPKEM_MLKEM768_X25519, batch.count = 1, batch.operation = WARPKEM_OP_CHECK_EK;
      batch.ek = source(ek);
      EXPECT_EQ(run(engine, batch).statuses[0], is_strict ? WARPKEM_INVALID_EK : WARPKEM_OK);
    }
  }
}

// ---- policies

TEST(HybridPolicies, AllowWhatTheirNamesSay) {
  const struct {
    const char* policy;
    bool (*allows)(warpkem_algorithm);
  } rows[] = {
      {"hybrid-only", [](warpkem_algorithm a) { return a >= WARPKEM_X25519MLKEM768; }},
      {"nist-curves", [](warpkem_algorithm a) { return a > WARPKEM_X25519MLKEM768 && a != WARPKEM_MLKEM768_X25519; }},
      {"CNSA-2.0", [](warpkem_algorithm a) { return a == WARPKEM_ML_KEM_1024; }},
      {"x-wing,4588", [](warpkem_algorithm a) { return a == WARPKEM_MLKEM768_X25519 || a == WARPKEM_X25519MLKEM768; }}};
  for (const auto& row : rows) {
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.policy = row.policy;
    warpkem_engine* made = nullptr;
    ASSERT_EQ(warpkem_engine_new(&options, &made), WARPKEM_OK) << warpkem_last_error();
    const std::unique_ptr<warpkem_engine, void (*)(warpkem_engine*)> engine(made, warpkem_engine_free);
    for (warpkem_algorithm a = 1; warpkem_algorithm_name(a) != nullptr; ++a) {
      Bytes ek(2000), dk(4000);
      EXPECT_EQ(warpkem_keygen(engine.get(), a, WARPKEM_DK_SEED, 1, {ek.data(), ek.size(), 0},
                               {dk.data(), dk.size(), 0}, nullptr, nullptr),
                row.allows(a) ? WARPKEM_OK : WARPKEM_UNSUPPORTED)
          << row.policy << ", " << warpkem_algorithm_name(a);
    }
  }
}

// ---- what is said of them

TEST(HybridNames, AreThoseOfTheDocuments) {
  const struct {
    warpkem_algorithm algorithm;
    const char *name, *alias, *oid;
  } rows[] = {{4, "X25519MLKEM768", "4588", nullptr},
              {5, "SecP256r1MLKEM768", "4587", nullptr},
              {6, "SecP384r1MLKEM1024", "4589", nullptr},
              {7, "MLKEM768-X25519", "x-wing", "1.3.6.1.5.5.7.6.58"},
              {8, "MLKEM768-P256", "0x0050", "1.3.6.1.5.5.7.6.59"},
              {9, "MLKEM1024-P384", "0x0051", "1.3.6.1.5.5.7.6.63"}};
  for (const auto& row : rows) {
    EXPECT_STREQ(warpkem_algorithm_name(row.algorithm), row.name);
    EXPECT_EQ(warpkem_algorithm_by_name(row.name), row.algorithm);
    EXPECT_EQ(warpkem_algorithm_by_name(row.alias), row.algorithm);
    EXPECT_STREQ(warpkem_algorithm_oid(row.algorithm), row.oid);
    EXPECT_EQ(warpkem_algorithm_by_name(row.oid), row.oid != nullptr ? row.algorithm : 0);
  }
  EXPECT_EQ(warpkem_algorithm_by_name("0x647A"), 7u);
}

TEST(HybridNames, ComeWithWhatTheAlgorithmIsMadeOf) {
  struct Row {
    const char *name, *oid, *tls_group, *curve;
    std::uint32_t tls_number, hpke_number, ml_kem, category, combines;
    std::size_t ek, dk, c;  // bytes before ML-KEM's record
  };
  const Row rows[] = {
      {"ML-KEM-512", "2.16.840.1.101.3.4.4.1", "MLKEM512", nullptr, 512, 0x40, 1, 1, 0, 0, 0, 0},
      {"ML-KEM-768", "2.16.840.1.101.3.4.4.2", "MLKEM768", nullptr, 513, 0x41, 2, 3, 0, 0, 0, 0},
      {"ML-KEM-1024", "2.16.840.1.101.3.4.4.3", "MLKEM1024", nullptr, 514, 0x42, 3, 5, 0, 0, 0, 0},
      {"X25519MLKEM768", nullptr, "X25519MLKEM768", "X25519", 4588, 0, 2, 3, 0, 0, 0, 0},
      {"SecP256r1MLKEM768", nullptr, "SecP256r1MLKEM768", "P-256", 4587, 0, 2, 3, 0, 65, 32, 65},
      {"SecP384r1MLKEM1024", nullptr, "SecP384r1MLKEM1024", "P-384", 4589, 0, 3, 5, 0, 97, 48, 97},
      {"MLKEM768-X25519", "1.3.6.1.5.5.7.6.58", nullptr, "X25519", 0, 0x647a, 2, 3, 1, 0, 0, 0},
      {"MLKEM768-P256", "1.3.6.1.5.5.7.6.59", nullptr, "P-256", 0, 0x50, 2, 3, 1, 0, 0, 0},
      {"MLKEM1024-P384", "1.3.6.1.5.5.7.6.63", nullptr, "P-384", 0, 0x51, 3, 5, 1, 0, 0, 0},
  };
  warpkem_algorithm_info info{};
  for (std::uint32_t id = 1; id <= std::size(rows); ++id) {
    const Row& row = rows[id - 1];
    info.struct_size = sizeof info;
    ASSERT_EQ(warpkem_describe_algorithm(id, &info), WARPKEM_OK);
    EXPECT_STREQ(info.name, row.name);
    EXPECT_STREQ(info.oid, row.oid);
    EXPECT_STREQ(info.tls_group, row.tls_group);
    EXPECT_STREQ(info.curve, row.curve);
    EXPECT_EQ(info.tls_number, row.tls_number) << row.name;
    EXPECT_EQ(info.hpke_number, row.hpke_number) << row.name;
    EXPECT_EQ(info.ml_kem, row.ml_kem) << row.name;
    EXPECT_EQ(info.category, row.category) << row.name;
    EXPECT_EQ(info.combines, row.combines) << row.name;
    EXPECT_EQ(info.ml_kem_in_ek, row.ek) << row.name;
    EXPECT_EQ(info.ml_kem_in_dk, row.dk) << row.name;
    EXPECT_EQ(info.ml_kem_in_c, row.c) << row.name;
  }
  for (const std::uint32_t id : {0u, 10u, 0xffffffffu}) {
    EXPECT_EQ(warpkem_describe_algorithm(id, &info), WARPKEM_UNSUPPORTED);
    EXPECT_EQ(std::string(warpkem_last_error()), "unknown algorithm " + std::to_string(id));
  }
  EXPECT_EQ(warpkem_describe_algorithm(1, nullptr), WARPKEM_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace warpkem::test
