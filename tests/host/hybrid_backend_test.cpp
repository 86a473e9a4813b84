// Hybrids over backends that finish later, leave items undone or fail: nothing is lost, and what one half does not do
// is done elsewhere.
#include "host/backends/hybrid/hybrid_backend.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "host/backends/cpu_backend.hpp"
#include "host/backends/portable/portable.hpp"
#include "host/core/operation.hpp"
#include "host/engine/engine.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {
namespace {

using Bytes = std::vector<std::uint8_t>;

enum class Manner { at_once, later, leaves_every_third, fails, fails_half_way };
Manner manner = Manner::at_once;
std::size_t asked = 0;  // batches

// portable's ML-KEM, in that manner.
class Mannered final : public Backend {
 public:
  explicit Mannered(WorkerPool& pool) : inner_(portable::kernels(), pool, "") {}
  ~Mannered() override {
    for (std::thread& thread : threads_) thread.join();
  }
  const BackendInfo& info() const noexcept override { return info_; }
  bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept override {
    return inner_.supports(operation, algorithm, format);
  }
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override { return inner_.prepare(batch); }
  void submit(const Batch& batch, Completion done) noexcept override {
    ++asked;
    const Completion nobody{[](void*, const Outcome&) noexcept {}, nullptr};
    switch (manner) {
      case Manner::at_once:
        return inner_.submit(batch, done);
      case Manner::later:
        threads_.emplace_back([this, batch, done] {
          std::this_thread::sleep_for(std::chrono::milliseconds(30));
          inner_.submit(batch, done);
        });
        return;
      case Manner::leaves_every_third:
        for (std::size_t i = 0; i < batch.count; ++i) {
          if (i % 3 != 0) inner_.submit(slice(batch, i, 1), nobody);
        }
        return done.call(done.context, {Status::backend_failed, "a third is left"});
      case Manner::fails:
        return done.call(done.context, {Status::backend_failed, "as told"});
      case Manner::fails_half_way:
        inner_.submit(slice(batch, 0, batch.count / 2), nobody);
        return done.call(done.context, {Status::backend_failed, "half-way"});
    }
  }

 private:
  CpuBackend inner_;
  const BackendInfo info_{"mannered", "", 1};
  std::vector<std::thread> threads_;
};

HybridParts parts() { return {portable::kernels(), curve::portable()}; }
ProbeResult mannered(const ProbeContext& context) {
  return {with_hybrids(std::make_unique<Mannered>(context.pool), parts(), context.pool, context.hybrids), {}};
}
ProbeResult good(const ProbeContext& context) {
  return {with_hybrids(std::make_unique<CpuBackend>(portable::kernels(), context.pool, ""), parts(), context.pool,
                       context.hybrids),
          {}};
}
constexpr BackendEntry table[] = {{"mannered", true, &mannered}, {"good", true, &good}};

struct Results {
  Bytes ek, dk, c, K, received, statuses;
  std::vector<std::uint64_t> items = std::vector<std::uint64_t>(Engine::max_backends);
  bool operator==(const Results& other) const {
    return ek == other.ek && dk == other.dk && c == other.c && K == other.K && received == other.received;
  }
};

// A round trip of `count` items, of which item 2 has a bad ek in encapsulation.
Results round_trip(Engine& engine, const Algorithm& a, std::size_t count, bool prepared) {
  const DkFormat format = a.dk_record(DkFormat::expanded) != 0 ? DkFormat::expanded : DkFormat::seed;
  Results r;
  Bytes seeds(count * a.seed_record(format)), m(count * a.m_bytes);
  std::iota(seeds.begin(), seeds.end(), std::uint8_t{1});
  std::iota(m.begin(), m.end(), std::uint8_t{7});
  for (std::size_t i = 0; i < count; ++i) seeds[i * a.seed_record(format)] ^= static_cast<std::uint8_t>(i >> 8);
  r.ek.resize(count * a.ek_bytes), r.dk.resize(count * a.dk_record(format)), r.c.resize(count * a.c_bytes);
  r.K.resize(count * a.K_bytes), r.received.resize(count * a.K_bytes), r.statuses.resize(count);
  Batch batch;
  batch.algorithm = a.id, batch.count = count, batch.dk_format = format, batch.statuses = r.statuses.data();
  batch.operation = Operation::keygen;
  batch.seeds = {seeds.data(), a.seed_record(format), nullptr};
  batch.ek_out = {r.ek.data(), a.ek_bytes, nullptr}, batch.dk_out = {r.dk.data(), a.dk_record(format), nullptr};
  CallResult result = engine.run(batch, r.items.data());
  EXPECT_EQ(result.status, Status::ok) << result.text;

  Bytes ek = r.ek;
  std::fill_n(ek.begin() + static_cast<std::ptrdiff_t>(2 * a.ek_bytes + 100), 3, std::uint8_t{0xff});
  batch = {};
  batch.algorithm = a.id, batch.count = count, batch.statuses = r.statuses.data(), batch.operation = Operation::encaps;
  batch.m = {m.data(), a.m_bytes, nullptr}, batch.ek = {ek.data(), a.ek_bytes, nullptr};
  batch.c_out = {r.c.data(), a.c_bytes, nullptr}, batch.K_out = {r.K.data(), a.K_bytes, nullptr};
  result = engine.run(batch, r.items.data());
  EXPECT_EQ(result.status, Status::item_failed) << result.text;
  EXPECT_EQ(result.failed, 1u);
  EXPECT_EQ(r.statuses[2], static_cast<std::uint8_t>(ItemStatus::invalid_ek));

  // In place of its zeros, which are no ciphertext of a hybrid.
  std::copy_n(r.c.begin() + static_cast<std::ptrdiff_t>(3 * a.c_bytes), a.c_bytes,
              r.c.begin() + static_cast<std::ptrdiff_t>(2 * a.c_bytes));
  KeySet* keys = nullptr;
  std::vector<std::uint32_t> index(count);
  std::iota(index.begin(), index.end(), 0u);
  batch = {};
  batch.algorithm = a.id, batch.count = count, batch.dk_format = format, batch.statuses = r.statuses.data();
  batch.dk = {r.dk.data(), a.dk_record(format), nullptr};
  if (prepared) {
    batch.operation = Operation::prepare_dk;
    EXPECT_EQ(engine.prepare(batch, keys).status, Status::ok);
    batch.dk = {};
    batch.keys = keys, batch.index = index.data(), batch.dk_format = {};
  }
  const KeyReference reference(keys);
  if (keys != nullptr) keys->release();
  batch.operation = Operation::decaps;
  batch.c = {r.c.data(), a.c_bytes, nullptr}, batch.K_out = {r.received.data(), a.K_bytes, nullptr};
  result = engine.run(batch, r.items.data());
  EXPECT_EQ(result.status, Status::ok) << result.text;
  for (std::size_t i = 0; i < count * a.K_bytes; ++i) {
    EXPECT_TRUE(i / a.K_bytes == 2 || r.K[i] == r.received[i]) << i;
  }
  return r;
}

class HybridBackends : public testing::TestWithParam<std::uint32_t> {};

TEST_P(HybridBackends, WhatOneLeavesIsDoneByAnother) {
  const Algorithm& a = *find_algorithm(GetParam());
  constexpr std::size_t count = 13;
  EngineOptions options;
  options.threads = 2;
  for (const bool prepared : {false, true}) {
    manner = Manner::at_once;
    // prepare() takes a reference to the engine.
    const auto shared = std::make_shared<Engine>(options, table);
    const Results expected = round_trip(*shared, a, count, prepared);
    EXPECT_EQ(expected.items[0], 3 * count);
    EXPECT_EQ(expected.items[1], 0u);
    for (const Manner one : {Manner::later, Manner::leaves_every_third, Manner::fails, Manner::fails_half_way}) {
      SCOPED_TRACE(static_cast<int>(one));
      manner = one;
      asked = 0;
      const auto other = std::make_shared<Engine>(options, table);
      const Results got = round_trip(*other, a, count, prepared);
      EXPECT_TRUE(got == expected);
      EXPECT_GE(asked, 3u);
      EXPECT_EQ(got.items[0] + got.items[1], 3 * count);
      EXPECT_EQ(got.items[1] == 0, one == Manner::later);
      EXPECT_EQ(got.items[0] == 0, one == Manner::fails);
    }
  }
}

TEST_P(HybridBackends, ABatchOfManySlicesIsOne) {
  const Algorithm& a = *find_algorithm(GetParam());
  if (find_hybrid(a.id)->group != Group::x25519) GTEST_SKIP() << "takes minutes";
  constexpr std::size_t count = 32768 + 5;  // check_dk of seeds is the cheapest operation
  Bytes dk(count * a.dk_record(DkFormat::seed), 1), statuses(count, 99);
  for (const Manner one : {Manner::at_once, Manner::later}) {
    manner = one;
    const auto engine = std::make_shared<Engine>(EngineOptions{}, table);
    Batch batch;
    batch.operation = Operation::check_dk, batch.algorithm = a.id, batch.count = count;
    batch.dk_format = DkFormat::seed, batch.dk = {dk.data(), a.dk_record(DkFormat::seed), nullptr};
    batch.statuses = statuses.data();
    EXPECT_EQ(engine->run(batch).status, Status::ok);
    EXPECT_EQ(std::ranges::count(statuses, 0), static_cast<std::ptrdiff_t>(count));
    const std::size_t ek_bytes = a.ek_bytes;
    Bytes ek(count * ek_bytes);  // zeros: a good ML-KEM key, and for TLS a bad element
    batch = {};
    batch.operation = Operation::check_ek, batch.algorithm = a.id, batch.count = count;
    batch.ek = {ek.data(), ek_bytes, nullptr}, batch.statuses = statuses.data();
    const CallResult result = engine->run(batch);
    EXPECT_EQ(result.failed, find_hybrid(a.id)->combines() ? 0 : count);
  }
}

INSTANTIATE_TEST_SUITE_P(Every, HybridBackends, testing::Range(4u, 10u),
                         [](const auto& test) { return "algorithm_" + std::to_string(test.param); });

}  // namespace
}  // namespace warpkem::host
