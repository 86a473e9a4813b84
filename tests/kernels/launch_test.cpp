// Every operation through kernels::launch(), against the published vectors and against portable.
#include "kernels/launch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kat/acvp.hpp"
#include "kat/kem.hpp"
#include "kernels/policy.hpp"
#include "tests/backends/primitives.hpp"
#include "tests/kernels/device.hpp"
#include "tests/support/backends.hpp"

namespace warpkem::kernels::test {
namespace {

using kernels::DeviceBatch;
using kernels::DkFormat;
using kernels::KeyKind;
using kernels::Operation;
using warpkem::test::engine_of;
using warpkem::test::Random;

struct Sizes {
  std::size_t k, ek, dk, c;
};
Sizes sizes_of(std::uint32_t algorithm) {
  const std::size_t k = algorithm + 1;
  return {k, 384 * k + 32, 768 * k + 96, algorithm == 3 ? std::size_t{1568} : 320 * k + 128};
}

Bytes record(const Bytes& packed, std::size_t bytes, std::size_t i) {
  const auto at = packed.begin() + static_cast<std::ptrdiff_t>(i * bytes);
  return {at, at + static_cast<std::ptrdiff_t>(bytes)};
}
void set_record(Bytes& packed, std::size_t bytes, std::size_t i, const Bytes& value) {
  std::copy(value.begin(), value.end(), packed.begin() + static_cast<std::ptrdiff_t>(i * bytes));
}
void zero_record(Bytes& packed, std::size_t bytes, std::size_t i) { set_record(packed, bytes, i, Bytes(bytes, 0)); }

bool contains(const Bytes& haystack, const Bytes& needle) {
  return std::search(haystack.begin(), haystack.end(), needle.begin(), needle.end()) != haystack.end();
}

class Launch : public testing::TestWithParam<std::tuple<std::uint32_t, DeviceBatch::Hashing>> {
 protected:
  void SetUp() override {
    if (!has_device()) GTEST_SKIP() << "no CUDA device, neither real nor emulated";
    batch.algorithm = algorithm;
    batch.hashing = std::get<1>(GetParam());
  }

  DeviceBatch of(Operation operation, std::size_t count) const {
    DeviceBatch b = batch;
    b.operation = operation;
    b.count = count;
    return b;
  }

  const std::uint32_t algorithm = std::get<0>(GetParam());
  const Sizes size = sizes_of(algorithm);
  const kat::Kem portable{engine_of("portable"), algorithm};
  Random random{algorithm};
  DeviceBatch batch;
};

INSTANTIATE_TEST_SUITE_P(Every, Launch,
                         testing::Combine(testing::Values(1u, 2u, 3u), testing::Values(DeviceBatch::Hashing::by_thread,
                                                                                       DeviceBatch::Hashing::by_warp)),
                         [](const auto& test) {
                           const bool by_warp = std::get<1>(test.param) == DeviceBatch::Hashing::by_warp;
                           return "MlKem" + std::to_string(256 * (std::get<0>(test.param) + 1)) +
                                  (by_warp ? "ByWarp" : "ByThread");
                         });

// Crosses warps, blocks and half-warps, and fills none of them.
constexpr std::size_t odd_count = 37;

// On one stream and on two.
bool forks(Layout layout) { return layout != Layout::packed; }

TEST_P(Launch, KeygenAgreesWithPortableInEveryLayout) {
  for (const Layout layout : layouts) {
    const Bytes seeds = random.bytes(64 * odd_count);
    const kat::Kem::KeyPairs expected = portable.keygen(seeds);
    const Records in(layout, 64, seeds), ek(layout, size.ek, odd_count), dk(layout, size.dk, odd_count);
    DeviceBatch b = of(Operation::keygen, odd_count);
    b.seeds = in.in();
    b.ek_out = ek.out();
    b.dk_out = dk.out();
    const Answer answer = run(b, forks(layout));
    EXPECT_EQ(ek.read(), expected.ek);
    EXPECT_EQ(dk.read(), expected.dk);
    EXPECT_EQ(answer.statuses, Bytes(odd_count, 0));
    EXPECT_EQ(answer.failed, 0u);
    EXPECT_FALSE(contains(answer.workspace, record(seeds, 64, 5)));
    EXPECT_FALSE(contains(answer.workspace, Bytes(expected.dk.begin(), expected.dk.begin() + 64)));

    const Records ek2(layout, size.ek, odd_count), seed_dk(layout, 64, odd_count);
    b.dk_format = DkFormat::seed;
    b.ek_out = ek2.out();
    b.dk_out = seed_dk.out();
    run(b, forks(layout));
    EXPECT_EQ(ek2.read(), expected.ek);
    EXPECT_EQ(seed_dk.read(), seeds);
  }
}

TEST_P(Launch, EncapsAgreesWithPortableAndABadEkFailsAlone) {
  for (const Layout layout : layouts) {
    const kat::Kem::KeyPairs keys = portable.keygen(random.bytes(64 * odd_count));
    const Bytes m = random.bytes(32 * odd_count);
    kat::Kem::Encapsulated expected = portable.encaps(keys.ek, m);
    Bytes ek = keys.ek, statuses(odd_count, 0);
    // One coefficient that is q, and one that is 4095: at the beginning, at the end, in between.
    const std::size_t last_bytes = 384 * size.k - 3;
    for (const std::size_t i : {std::size_t{0}, std::size_t{16}, odd_count - 1}) {
      std::uint8_t* at = ek.data() + i * size.ek + (i == 0 ? 0 : i == 16 ? 384 + 3 * 50 : last_bytes);
      if (i == 0) {
        at[0] = 0x01, at[1] = static_cast<std::uint8_t>((at[1] & 0xF0) | 0x0D);
      } else {
        at[1] = static_cast<std::uint8_t>(at[1] | 0xF0), at[2] = 0xFF;
      }
      statuses[i] = 3;
      zero_record(expected.c, size.c, i);
      zero_record(expected.K, 32, i);
    }
    const Records ek_in(layout, size.ek, ek), m_in(layout, 32, m), c(layout, size.c, odd_count),
        K(layout, 32, odd_count);
    DeviceBatch b = of(Operation::encaps, odd_count);
    b.ek = ek_in.in();
    b.m = m_in.in();
    b.c_out = c.out();
    b.K_out = K.out();
    const Answer answer = run(b, forks(layout));
    EXPECT_EQ(c.read(), expected.c);
    EXPECT_EQ(K.read(), expected.K);
    EXPECT_EQ(answer.statuses, statuses);
    EXPECT_EQ(answer.failed, 3u);
    EXPECT_FALSE(contains(answer.workspace, record(m, 32, 1)));
    EXPECT_FALSE(contains(answer.workspace, record(expected.K, 32, 1)));

    DeviceBatch checking = of(Operation::check_ek, odd_count);
    checking.ek = ek_in.in();
    const Answer checked = run(checking);
    EXPECT_EQ(checked.statuses, statuses);
    EXPECT_EQ(checked.failed, 3u);
  }
}

TEST_P(Launch, CoefficientsJustBelowAndAtTheModulusAreToldApart) {
  Bytes ek(size.ek * 512 * size.k);
  Bytes statuses(512 * size.k, 0);
  for (std::size_t i = 0; i < 256 * size.k; ++i) {
    for (const std::size_t value : {std::size_t{3328}, std::size_t{3329}}) {
      const std::size_t item = 2 * i + (value - 3328);
      std::uint8_t* at = ek.data() + item * size.ek + i / 2 * 3;
      if (i % 2 == 0) {
        at[0] = static_cast<std::uint8_t>(value), at[1] = static_cast<std::uint8_t>(value >> 8);
      } else {
        at[1] = static_cast<std::uint8_t>(value << 4), at[2] = static_cast<std::uint8_t>(value >> 4);
      }
      statuses[item] = value == 3329 ? 3 : 0;
    }
  }
  const Records in(Layout::packed, size.ek, ek);
  DeviceBatch b = of(Operation::check_ek, statuses.size());
  b.ek = in.in();
  EXPECT_EQ(run(b).statuses, statuses);
}

TEST_P(Launch, DecapsAgreesWithPortableRejectsInSilenceAndABadDkFailsAlone) {
  for (const Layout layout : layouts) {
    const Bytes seeds = random.bytes(64 * odd_count);
    const kat::Kem::KeyPairs keys = portable.keygen(seeds);
    Bytes c = portable.encaps(keys.ek, random.bytes(32 * odd_count)).c;
    for (std::size_t i = 0; i < odd_count; i += 3) c[i * size.c + random.below(size.c)] ^= 0x10;
    Bytes expected = portable.decaps(keys.dk, c);

    const Records seeds_in(layout, 64, seeds), c_in(layout, size.c, c), K(layout, 32, odd_count);
    DeviceBatch b = of(Operation::decaps, odd_count);
    b.c = c_in.in();
    b.dk_format = DkFormat::seed;
    b.dk = seeds_in.in();
    b.K_out = K.out();
    EXPECT_EQ(run(b).failed, 0u);
    EXPECT_EQ(K.read(), expected);

    Bytes dk = keys.dk, statuses(odd_count, 0);
    for (const std::size_t i : {std::size_t{0}, std::size_t{18}, odd_count - 1}) {
      dk[i * size.dk + (i == 18 ? 384 * size.k + 7 : size.dk - 40)] ^= 1;  // in the ek; in its hash
      statuses[i] = 4;
      zero_record(expected, 32, i);
    }
    const Records dk_in(layout, size.dk, dk), K2(layout, 32, odd_count);
    b.dk_format = DkFormat::expanded;
    b.dk = dk_in.in();
    b.K_out = K2.out();
    const Answer answer = run(b, forks(layout));
    EXPECT_EQ(K2.read(), expected);
    EXPECT_EQ(answer.statuses, statuses);
    EXPECT_EQ(answer.failed, 3u);
    EXPECT_FALSE(contains(answer.workspace, record(expected, 32, 1)));
    EXPECT_FALSE(contains(answer.workspace, Bytes(dk.begin() + 100, dk.begin() + 132)));

    DeviceBatch checking = of(Operation::check_dk, odd_count);
    checking.dk = dk_in.in();
    EXPECT_EQ(run(checking).statuses, statuses);
  }
}

TEST_P(Launch, CoefficientsOfADkAreReducedModuloQ) {
  // Every coefficient of s and of the embedded ek that can take q more does; h is that of the changed ek.
  const kat::Kem::KeyPairs keys = portable.keygen(random.bytes(64 * odd_count));
  const Bytes c = portable.encaps(keys.ek, random.bytes(32 * odd_count)).c;
  Bytes dk = keys.dk;
  for (std::size_t i = 0; i < odd_count; ++i) {
    for (std::size_t group = 0; group < 2 * 128 * size.k; ++group) {
      std::uint8_t* at = dk.data() + i * size.dk + 3 * group;
      unsigned low = at[0] | (at[1] & 15u) << 8, high = at[1] >> 4 | unsigned{at[2]} << 4;
      if (low + 3329 < 4096) low += 3329;
      if (high + 3329 < 4096) high += 3329;
      at[0] = static_cast<std::uint8_t>(low);
      at[1] = static_cast<std::uint8_t>(low >> 8 | high << 4);
      at[2] = static_cast<std::uint8_t>(high >> 4);
    }
    const auto ek_at = dk.begin() + static_cast<std::ptrdiff_t>(i * size.dk + 384 * size.k);
    const Bytes ek(ek_at, ek_at + static_cast<std::ptrdiff_t>(size.ek));
    const Bytes h = primitives::SHA3_256(ek);
    std::copy(h.begin(), h.end(), dk.begin() + static_cast<std::ptrdiff_t>(i * size.dk + size.dk - 64));
  }
  const Records dk_in(Layout::packed, size.dk, dk), c_in(Layout::packed, size.c, c), K(Layout::packed, 32, odd_count);
  DeviceBatch b = of(Operation::decaps, odd_count);
  b.dk = dk_in.in();
  b.c = c_in.in();
  b.K_out = K.out();
  EXPECT_EQ(run(b).statuses, Bytes(odd_count, 0));
  EXPECT_EQ(K.read(), portable.decaps(dk, c));
}

TEST_P(Launch, PreparedKeysAnswerAsTheirBytesDoAndBadOnesFailTheirItemsAlone) {
  constexpr std::size_t num_keys = 5;
  const Bytes seeds = random.bytes(64 * num_keys);
  const kat::Kem::KeyPairs keys = portable.keygen(seeds);
  Bytes ek = keys.ek, dk = keys.dk;
  for (std::size_t n = 0; n < 384; ++n) ek[3 * size.ek + n] = 0xFF;
  dk[3 * size.dk + size.dk - 33] ^= 0x80;

  const std::uint32_t wanted[] = {0, 4, 2, 3, 1, 5, 0, 0xFFFFFFFF, 2, 2, 4};
  constexpr std::size_t count = std::size(wanted);
  Bytes ek_of_item, dk_of_item, index(sizeof wanted);
  std::memcpy(index.data(), wanted, sizeof wanted);
  for (const std::uint32_t key : wanted) {
    const Bytes e = record(keys.ek, size.ek, key < num_keys ? key : 0),
                d = record(keys.dk, size.dk, key < num_keys ? key : 0);
    ek_of_item.insert(ek_of_item.end(), e.begin(), e.end());
    dk_of_item.insert(dk_of_item.end(), d.begin(), d.end());
  }
  const Bytes m = random.bytes(32 * count);
  const kat::Kem::Encapsulated good = portable.encaps(ek_of_item, m);
  Bytes bent = good.c;
  bent[2 * size.c + 9] ^= 1;
  const Bytes good_K = portable.decaps(dk_of_item, bent);
  const DeviceMemory index_memory(index);

  for (const int kind : {0, 1, 2}) {  // from an ek, a dk, a seed
    const KeyKind key_kind = kind == 0 ? KeyKind::ek : KeyKind::dk;
    const std::size_t stride = kernels::form_bytes(algorithm, key_kind) + kernels::form_alignment;
    const DeviceMemory forms(stride * num_keys);
    const Records source(Layout::odd,
                         kind == 0   ? size.ek
                         : kind == 1 ? size.dk
                                     : 64,
                         kind == 0   ? ek
                         : kind == 1 ? dk
                                     : seeds);
    DeviceBatch preparing = of(kind == 0 ? Operation::prepare_ek : Operation::prepare_dk, num_keys);
    (kind == 0 ? preparing.ek : preparing.dk) = source.in();
    preparing.dk_format = kind == 2 ? DkFormat::seed : DkFormat::expanded;
    preparing.forms = forms.get();
    preparing.forms_stride = stride;
    const Answer prepared = run(preparing);
    const std::uint8_t bad = kind == 0 ? 3 : kind == 1 ? 4 : 0;
    Bytes key_statuses(num_keys, 0);
    key_statuses[3] = bad;
    EXPECT_EQ(prepared.statuses, key_statuses);
    const DeviceMemory key_statuses_memory(prepared.statuses);

    Bytes statuses(count, 0);
    kat::Kem::Encapsulated expected = good;
    Bytes expected_K = good_K;
    std::size_t failed = 0;
    for (std::size_t i = 0; i < count; ++i) {
      statuses[i] = wanted[i] >= num_keys ? 9 : key_statuses[wanted[i]];
      if (statuses[i] == 0) continue;
      ++failed;
      zero_record(expected.c, size.c, i);
      zero_record(expected.K, 32, i);
      zero_record(expected_K, 32, i);
    }
    for (const Layout layout : layouts) {
      const Records m_in(layout, 32, m), c(layout, size.c, count), K(layout, 32, count);
      DeviceBatch b = of(Operation::encaps, count);
      b.prepared = true;
      b.keys = {forms.get(), stride, num_keys, key_statuses_memory.get(), key_kind};
      b.index = index_memory.as<const std::uint32_t>();
      b.m = m_in.in();
      b.c_out = c.out();
      b.K_out = K.out();
      const Answer answer = run(b);
      EXPECT_EQ(c.read(), expected.c);
      EXPECT_EQ(K.read(), expected.K);
      EXPECT_EQ(answer.statuses, statuses);
      EXPECT_EQ(answer.failed, failed);
      if (kind == 0) continue;
      const Records c_in(layout, size.c, bent), K2(layout, 32, count);
      DeviceBatch d = of(Operation::decaps, count);
      d.prepared = true;
      d.keys = b.keys;
      d.index = b.index;
      d.c = c_in.in();
      d.K_out = K2.out();
      EXPECT_EQ(run(d).statuses, statuses);
      EXPECT_EQ(K2.read(), expected_K);
    }
  }
}

TEST_P(Launch, NoIndexMeansKeyZeroAndAnEmptySetFailsEveryItem) {
  const kat::Kem::KeyPairs key = portable.keygen(random.bytes(64));
  const DeviceMemory form(kernels::form_bytes(algorithm, KeyKind::ek));
  const Records ek(Layout::packed, size.ek, key.ek);
  DeviceBatch preparing = of(Operation::prepare_ek, 1);
  preparing.ek = ek.in();
  preparing.forms = form.get();
  preparing.forms_stride = form.size();
  run(preparing);

  const Bytes m = random.bytes(32 * odd_count);
  Bytes ek_of_item;
  for (std::size_t i = 0; i < odd_count; ++i) ek_of_item.insert(ek_of_item.end(), key.ek.begin(), key.ek.end());
  const kat::Kem::Encapsulated expected = portable.encaps(ek_of_item, m);
  const Records m_in(Layout::packed, 32, m), c(Layout::packed, size.c, odd_count), K(Layout::packed, 32, odd_count);
  DeviceBatch b = of(Operation::encaps, odd_count);
  b.prepared = true;
  b.keys = {form.get(), form.size(), 1, nullptr, KeyKind::ek};
  b.m = m_in.in();
  b.c_out = c.out();
  b.K_out = K.out();
  EXPECT_EQ(run(b).failed, 0u);
  EXPECT_EQ(c.read(), expected.c);
  EXPECT_EQ(K.read(), expected.K);

  b.keys = {};
  const Answer none = run(b);
  EXPECT_EQ(none.statuses, Bytes(odd_count, 9));
  EXPECT_EQ(none.failed, odd_count);
  EXPECT_EQ(c.read(), Bytes(size.c * odd_count, 0));
  EXPECT_EQ(K.read(), Bytes(32 * odd_count, 0));
}

TEST_P(Launch, OutputsOfFailedItemsAreLeftAloneOnRequest) {
  const Bytes ek(size.ek * 2, 0xFF), m = random.bytes(64);
  const Records ek_in(Layout::packed, size.ek, ek), m_in(Layout::packed, 32, m), c(Layout::packed, size.c, 2),
      K(Layout::packed, 32, 2);
  DeviceBatch b = of(Operation::encaps, 2);
  b.zero_failed = false;
  b.ek = ek_in.in();
  b.m = m_in.in();
  b.c_out = c.out();
  b.K_out = K.out();
  const Answer answer = run(b);
  EXPECT_EQ(answer.statuses, Bytes(2, 3));
  EXPECT_EQ(answer.failed, 2u);
  EXPECT_NE(K.read(), Bytes(64, 0));
}

TEST_P(Launch, BatchesOfSeveralPassesAreWhole) {
  constexpr std::size_t a_pass = policy::items_per_pass, count = 2 * a_pass + 9;
  const kat::Kem::KeyPairs key = portable.keygen(random.bytes(64));
  Bytes ek(size.ek * count), statuses(count, 0);
  for (const std::size_t i : {std::size_t{0}, a_pass - 1, a_pass, 2 * a_pass, count - 1}) {
    ek[i * size.ek] = ek[i * size.ek + 1] = 0xFF;
    statuses[i] = 3;
  }
  const Records in(Layout::packed, size.ek, ek);
  DeviceBatch b = of(Operation::check_ek, count);
  b.ek = in.in();
  const Answer answer = run(b);
  EXPECT_EQ(answer.statuses, statuses);
  EXPECT_EQ(answer.failed, 5u);
  if (algorithm != 1 || batch.hashing == DeviceBatch::Hashing::by_warp) return;

  const Bytes seeds = random.bytes(64 * count);
  const Records seeds_in(Layout::packed, 64, seeds), ek_out(Layout::packed, size.ek, count),
      dk_out(Layout::packed, 64, count);
  DeviceBatch keygen = of(Operation::keygen, count);
  keygen.hashing = DeviceBatch::Hashing::chosen;  // by thread, whose passes are shorter when it is asked for
  keygen.dk_format = DkFormat::seed;
  keygen.seeds = seeds_in.in();
  keygen.ek_out = ek_out.out();
  keygen.dk_out = dk_out.out();
  run(keygen);
  const Bytes keys = ek_out.read();
  for (const std::size_t i : {std::size_t{0}, a_pass - 1, a_pass, 2 * a_pass, count - 1}) {
    EXPECT_EQ(record(keys, size.ek, i), portable.keygen(record(seeds, 64, i)).ek) << i;
  }
}

TEST_P(Launch, CanBeCapturedAndReplayedOnNewInput) {
  const Bytes seeds = random.bytes(64 * odd_count);
  const Records in(Layout::packed, 64, seeds), ek(Layout::packed, size.ek, odd_count),
      dk(Layout::packed, size.dk, odd_count);
  DeviceBatch b = of(Operation::keygen, odd_count);
  b.seeds = in.in();
  b.ek_out = ek.out();
  b.dk_out = dk.out();
  const DeviceMemory workspace(kernels::workspace_bytes(b));
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamCreate(&stream));
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  check(kernels::launch(b, workspace.get(), workspace.size(), stream));
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphInstantiate(&exec, graph, 0));
  for (int replay = 0; replay < 2; ++replay) {
    const Bytes fresh = random.bytes(64 * odd_count);
    check(cudaMemcpy(const_cast<std::uint8_t*>(b.seeds.data), fresh.data(), fresh.size(), cudaMemcpyHostToDevice));
    check(cudaGraphLaunch(exec, stream));
    check(cudaStreamSynchronize(stream));
    EXPECT_EQ(dk.read(), portable.keygen(fresh).dk);
  }
  check(cudaGraphExecDestroy(exec));
  check(cudaGraphDestroy(graph));
  check(cudaStreamDestroy(stream));
}

TEST_P(Launch, RefusesWhatMakesNoSense) {
  DeviceBatch b = of(Operation::keygen, 1);
  EXPECT_EQ(kernels::launch(b, nullptr, 0, nullptr), cudaErrorInvalidValue);  // no arrays
  const DeviceMemory memory(1 << 16);
  b.seeds = {memory.get(), 64, nullptr};
  b.ek_out = {memory.get() + 1024, size.ek, nullptr};
  b.dk_out = {memory.get() + 4096, size.dk, nullptr};
  const std::size_t bytes = kernels::workspace_bytes(b);
  ASSERT_LT(bytes, memory.size() / 2);
  EXPECT_EQ(kernels::launch(b, memory.get() + (1 << 15), bytes - 1, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(kernels::launch(b, nullptr, bytes, nullptr), cudaErrorInvalidValue);
  b.algorithm = WARPKEM_SECP256R1MLKEM768;  // no curve but X25519
  EXPECT_EQ(kernels::launch(b, memory.get() + (1 << 15), bytes, nullptr), cudaErrorInvalidValue);
  b.algorithm = algorithm;
  b.count = 0;
  EXPECT_EQ(kernels::launch(b, nullptr, 0, nullptr), cudaSuccess);
}

// Without any one of its arrays, or with what it does not take.
TEST_P(Launch, RefusesWhatAnOperationCannotDo) {
  const DeviceMemory memory(1 << 16);
  const In in{memory.get(), 64, nullptr};
  const Out out{memory.get(), 64, nullptr};
  const std::size_t ek_form = kernels::form_bytes(algorithm, KeyKind::ek),
                    dk_form = kernels::form_bytes(algorithm, KeyKind::dk);
  const auto is_refused = [](const DeviceBatch& b) { return kernels::workspace_bytes(b) == 0; };
  using Arrays = std::pair<std::vector<In DeviceBatch::*>, std::vector<Out DeviceBatch::*>>;
  const std::pair<Operation, Arrays> all[] = {
      {Operation::keygen, {{&DeviceBatch::seeds}, {&DeviceBatch::ek_out, &DeviceBatch::dk_out}}},
      {Operation::encaps, {{&DeviceBatch::m, &DeviceBatch::ek}, {&DeviceBatch::c_out, &DeviceBatch::K_out}}},
      {Operation::decaps, {{&DeviceBatch::c, &DeviceBatch::dk}, {&DeviceBatch::K_out}}},
      {Operation::check_ek, {{&DeviceBatch::ek}, {}}},
      {Operation::check_dk, {{&DeviceBatch::dk}, {}}},
      {Operation::prepare_ek, {{&DeviceBatch::ek}, {}}},
      {Operation::prepare_dk, {{&DeviceBatch::dk}, {}}}};
  for (const auto& [operation, arrays] : all) {
    SCOPED_TRACE("operation " + std::to_string(static_cast<std::uint32_t>(operation)));
    const bool prepares = operation == Operation::prepare_ek || operation == Operation::prepare_dk;
    DeviceBatch good = of(operation, 1);
    for (const auto array : arrays.first) good.*array = in;
    for (const auto array : arrays.second) good.*array = out;
    if (prepares) good.forms = memory.get(), good.forms_stride = operation == Operation::prepare_ek ? ek_form : dk_form;
    EXPECT_FALSE(is_refused(good));
    for (const auto array : arrays.first) {
      DeviceBatch b = good;
      b.*array = {};
      EXPECT_TRUE(is_refused(b));
    }
    for (const auto array : arrays.second) {
      DeviceBatch b = good;
      b.*array = {};
      EXPECT_TRUE(is_refused(b));
    }
    DeviceBatch b = good;
    b.dk_format = DkFormat::seed;
    EXPECT_EQ(is_refused(b), operation == Operation::check_dk);
    b.dk_format = static_cast<DkFormat>(2);
    EXPECT_TRUE(is_refused(b));
    if (prepares) {
      for (const std::size_t stride : {good.forms_stride - 128, good.forms_stride + 64}) {
        b = good;
        b.forms_stride = stride;
        EXPECT_TRUE(is_refused(b));
      }
      b = good;
      b.forms = nullptr;
      EXPECT_TRUE(is_refused(b));
    }
    for (const KeyKind kind : {KeyKind::ek, KeyKind::dk}) {
      b = good;
      b.prepared = true;
      b.keys = {memory.get(), kind == KeyKind::ek ? ek_form : dk_form, 1, nullptr, kind};
      if (operation == Operation::encaps || operation == Operation::decaps) b.*arrays.first[1] = {};
      const bool takes = operation == Operation::encaps || (operation == Operation::decaps && kind == KeyKind::dk);
      EXPECT_EQ(is_refused(b), !takes);
      b.keys.data = nullptr;
      EXPECT_TRUE(is_refused(b));
      b.keys.num_keys = 0;
      EXPECT_EQ(is_refused(b), !takes) << "an empty set";
    }
  }
  EXPECT_TRUE(is_refused(of(static_cast<Operation>(0), 1)));
  EXPECT_TRUE(is_refused(of(static_cast<Operation>(8), 1)));
}

TEST_P(Launch, WorkspaceGrowsWithTheCountUntilOnePassIsFull) {
  DeviceBatch b = of(Operation::decaps, 0);
  b.dk.stride = b.c.stride = b.K_out.stride = 1;
  b.dk.data = b.c.data = b.K_out.data = reinterpret_cast<std::uint8_t*>(1);
  std::size_t before = 0;
  for (const std::size_t count : {1, 2, 100, 1'000, 65'535, 65'536, 65'537, 10'000'000}) {
    b.count = count;
    const std::size_t bytes = kernels::workspace_bytes(b);
    EXPECT_GE(bytes, before);
    before = bytes;
  }
  EXPECT_LT(before, std::size_t{65'536} * 40'000);
}

TEST(LaunchKnownAnswers, Acvp) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device, neither real nor emulated";
  const char* const given = std::getenv("WARPKEM_KAT_DIR");
  const std::string folder = std::string(given != nullptr ? given : WARPKEM_TEST_KAT_DIR) + "/acvp";
  const std::vector<kat::AcvpCase> cases = kat::read_acvp(folder);
  if (cases.empty()) GTEST_SKIP() << "no ACVP vectors in " << folder;
  ASSERT_GE(cases.size(), 400u);
  for (const kat::AcvpCase& test : cases) {
    const Sizes size = sizes_of(test.algorithm);
    const auto joined = [&test](const char* first, const char* second) {
      Bytes bytes = test.in.at(first);
      bytes.insert(bytes.end(), test.in.at(second).begin(), test.in.at(second).end());
      return bytes;
    };
    DeviceBatch b;
    b.algorithm = test.algorithm;
    b.count = 1;
    const Records ek(Layout::packed, size.ek, 1), dk(Layout::packed, size.dk, 1), c(Layout::packed, size.c, 1),
        K(Layout::packed, 32, 1);
    if (test.op == "keygen") {
      const Records seeds(Layout::packed, 64, joined("d", "z"));
      b.operation = Operation::keygen;
      b.seeds = seeds.in();
      b.ek_out = ek.out();
      b.dk_out = dk.out();
      run(b);
      EXPECT_EQ(ek.read(), test.out.at("ek")) << test.id;
      EXPECT_EQ(dk.read(), test.out.at("dk")) << test.id;
    } else if (test.op == "encaps") {
      const Records in(Layout::packed, size.ek, test.in.at("ek")), m(Layout::packed, 32, test.in.at("m"));
      b.operation = Operation::encaps;
      b.ek = in.in();
      b.m = m.in();
      b.c_out = c.out();
      b.K_out = K.out();
      run(b);
      EXPECT_EQ(c.read(), test.out.at("c")) << test.id;
      EXPECT_EQ(K.read(), test.out.at("K")) << test.id;
    } else if (test.op == "decaps") {
      const bool seed = test.in.count("dk") == 0;
      const Records in(Layout::packed, seed ? 64 : size.dk, seed ? joined("d", "z") : test.in.at("dk"));
      const Records c_in(Layout::packed, size.c, test.in.at("c"));
      b.operation = Operation::decaps;
      b.dk_format = seed ? DkFormat::seed : DkFormat::expanded;
      b.dk = in.in();
      b.c = c_in.in();
      b.K_out = K.out();
      run(b);
      EXPECT_EQ(K.read(), test.out.at("K")) << test.id;
    } else {
      const bool of_ek = test.op == "ek_check";
      const Records in(Layout::packed, of_ek ? size.ek : size.dk, test.in.at(of_ek ? "ek" : "dk"));
      b.operation = of_ek ? Operation::check_ek : Operation::check_dk;
      (of_ek ? b.ek : b.dk) = in.in();
      EXPECT_EQ(run(b).statuses[0], !test.reject ? 0 : of_ek ? 3 : 4) << test.id;
    }
  }
}

}  // namespace
}  // namespace warpkem::kernels::test
