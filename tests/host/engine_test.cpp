// The engine over backends that fail as they are told: what is redone, where, and what is left behind when nobody can.
#include "host/engine/engine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <new>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "host/backends/portable/portable.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {
namespace {

using Bytes = std::vector<std::uint8_t>;

// What a scripted backend does with one submitted batch: `does(i)` says whether item i of it is done (rightly, by
// portable's kernels); then it reports `status`.
struct Script {
  std::function<bool(std::size_t)> does = [](std::size_t) { return true; };
  Status status = Status::ok;
  bool scribbles = false;  // into the outputs of items that it does not do
  bool on_a_thread = false;
};

class ScriptedBackend;

// The two backends of these tests and what they were asked for.
struct Scene {
  Script script[2];
  bool fails_to_prepare[2] = {};
  bool no_memory_to_prepare[2] = {};
  std::size_t preferred_count[2] = {1, 1};
  bool usable[2] = {true, true};
  std::function<bool(Operation, std::uint32_t, DkFormat)> lacks[2];
  std::vector<std::size_t> submitted[2];  // counts, one per submit
  std::size_t prepared[2] = {};
} scene;

struct Form final : KeyForm {
  Form(std::size_t count, std::size_t stride) : memory(count * stride), stride(stride) {}
  std::size_t bytes_per_key() const noexcept override { return stride; }
  SecureBuffer memory;
  std::size_t stride;
};

class ScriptedBackend final : public Backend {
 public:
  explicit ScriptedBackend(int number)
      : number_(number), info_{number == 0 ? "first" : "second", "scripted", scene.preferred_count[number]} {}
  ~ScriptedBackend() override {
    if (thread_.joinable()) thread_.join();
  }
  const BackendInfo& info() const noexcept override { return info_; }
  bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept override {
    return portable::kernels().workspace_bytes(algorithm) != 0 &&
           !(scene.lacks[number_] && scene.lacks[number_](operation, algorithm, format));
  }

  std::unique_ptr<KeyForm> prepare(const Batch& batch) override {
    ++scene.prepared[number_];
    if (scene.fails_to_prepare[number_]) throw Error(Status::backend_failed, "told not to prepare");
    if (scene.no_memory_to_prepare[number_]) throw std::bad_alloc();
    const CpuKernels& kernels = portable::kernels();
    auto form = std::make_unique<Form>(batch.count, batch.operation == Operation::prepare_ek
                                                        ? kernels.ek_form_bytes(batch.algorithm)
                                                        : kernels.dk_form_bytes(batch.algorithm));
    Batch with_form = batch;
    with_form.forms = {form->memory.data(), form->stride};
    compute(with_form);
    return form;
  }

  void submit(const Batch& batch, Completion done) noexcept override {
    scene.submitted[number_].push_back(batch.count);
    if (!scene.script[number_].on_a_thread) return act(batch, done);
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([this, batch, done] {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      act(batch, done);
    });
  }

 private:
  static void compute(const Batch& batch) {
    SecureBuffer workspace(portable::kernels().workspace_bytes(batch.algorithm));
    portable::kernels().run(batch, workspace.data());
  }

  void act(Batch batch, Completion done) noexcept {
    const Script& script = scene.script[number_];
    if (batch.form != nullptr) {
      const Form& form = *static_cast<const Form*>(batch.form);
      batch.forms = {form.memory.data(), form.stride};
    }
    for (std::size_t i = 0; i < batch.count; ++i) {
      if (script.does(i)) {
        compute(slice(batch, i, 1));
      } else if (script.scribbles) {
        if (batch.c_out.present()) memset(batch.c_out[i], 0xbd, 768);
        if (batch.K_out.present()) memset(batch.K_out[i], 0xbd, 32);
      }
    }
    done.call(done.context, {script.status, script.status == Status::ok ? "" : "told to fail"});
  }

  const int number_;
  const BackendInfo info_;
  std::thread thread_;
};

template <int number>
ProbeResult probe(const ProbeContext&) {
  if (!scene.usable[number]) return {nullptr, "told to be absent"};
  return {std::make_unique<ScriptedBackend>(number), {}};
}

constexpr BackendEntry scripted_table[] = {{"first", false, &probe<0>}, {"second", true, &probe<1>}};

constexpr std::uint32_t ml_kem_512 = 1;
constexpr std::size_t ek_bytes = 800, dk_bytes = 1632, c_bytes = 768;

class EngineTest : public testing::Test {
 protected:
  EngineTest() { scene = Scene(); }

  std::shared_ptr<Engine> make(bool fail_over = true, const std::string& backend = {}) {
    EngineOptions options;
    options.threads = 1;
    options.fail_over = fail_over;
    options.backend = backend;
    return std::make_shared<Engine>(options, scripted_table);
  }
};

// An encapsulation to `count` keys, with the right answers beside it.
struct Encapsulation {
  explicit Encapsulation(std::size_t n)
      : seeds(n * 64),
        m(n * 32),
        ek(n * ek_bytes),
        dk(n * dk_bytes),
        c(n * c_bytes, 0xee),
        K(n * 32, 0xee),
        statuses(n, 0xee) {
    std::iota(seeds.begin(), seeds.end(), std::uint8_t{1});
    std::iota(m.begin(), m.end(), std::uint8_t{77});
    SecureBuffer workspace(portable::kernels().workspace_bytes(ml_kem_512));
    Bytes ignored(n);
    Batch keygen;
    keygen.operation = Operation::keygen;
    keygen.algorithm = ml_kem_512;
    keygen.count = n;
    keygen.seeds = {seeds.data(), 64, nullptr};
    keygen.ek_out = {ek.data(), ek_bytes, nullptr};
    keygen.dk_out = {dk.data(), dk_bytes, nullptr};
    keygen.statuses = ignored.data();
    portable::kernels().run(keygen, workspace.data());
    right_c = c, right_K = K;
    Batch right = batch();
    right.c_out = {right_c.data(), c_bytes, nullptr};
    right.K_out = {right_K.data(), 32, nullptr};
    right.statuses = ignored.data();
    portable::kernels().run(right, workspace.data());
  }

  Batch batch() {
    Batch b;
    b.operation = Operation::encaps;
    b.algorithm = ml_kem_512;
    b.count = m.size() / 32;
    b.m = {m.data(), 32, nullptr};
    b.ek = {ek.data(), ek_bytes, nullptr};
    b.c_out = {c.data(), c_bytes, nullptr};
    b.K_out = {K.data(), 32, nullptr};
    b.statuses = statuses.data();
    return b;
  }

  void spoil_ek(std::size_t i) { ek[i * ek_bytes] = 0xff, ek[i * ek_bytes + 1] |= 0x0f; }

  bool item_is_right(std::size_t i) const {
    return statuses[i] == 0 && std::equal(&c[i * c_bytes], &c[i * c_bytes] + c_bytes, &right_c[i * c_bytes]) &&
           std::equal(&K[i * 32], &K[i * 32] + 32, &right_K[i * 32]);
  }
  bool item_is_zero(std::size_t i) const {
    const auto zero = [](std::uint8_t byte) { return byte == 0; };
    return std::all_of(&c[i * c_bytes], &c[i * c_bytes] + c_bytes, zero) &&
           std::all_of(&K[i * 32], &K[i * 32] + 32, zero);
  }

  Bytes seeds, m, ek, dk, c, K, statuses, right_c, right_K;
};

void expect_everything_lost(const Encapsulation& e, const CallResult& result, Status status) {
  const std::size_t n = e.statuses.size();
  EXPECT_EQ(result.status, status) << result.text;
  EXPECT_EQ(result.failed, n);
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_EQ(e.statuses[i], static_cast<std::uint8_t>(status)) << i;
    EXPECT_TRUE(e.item_is_zero(i)) << "item " << i << " is left behind";
  }
}

TEST_F(EngineTest, WorkThatABackendLosesAtAnyItemIsRedoneByTheNextAndNoMoreThanThat) {
  constexpr std::size_t n = 9;
  for (const Status status : {Status::backend_failed, Status::ok, Status::out_of_memory}) {  // ok: items left undone
    for (const bool on_a_thread : {false, true}) {
      for (std::size_t done = 0; done < n; ++done) {
        scene = Scene();
        scene.script[0] = {[done](std::size_t i) { return i < done; }, status, true, on_a_thread};
        const auto engine = make();
        Encapsulation e(n);
        std::uint64_t items[Engine::max_backends] = {};
        const CallResult result = engine->run(e.batch(), items);
        EXPECT_EQ(result.status, Status::ok) << result.text;
        for (std::size_t i = 0; i < n; ++i)
          EXPECT_TRUE(e.item_is_right(i)) << "item " << i << " of " << done << " done";
        EXPECT_EQ(items[0], done);
        EXPECT_EQ(items[1], n - done);
        EXPECT_EQ(scene.submitted[1], std::vector<std::size_t>{n - done});
        EXPECT_EQ(engine->slots()[0].done.items(), done);
        EXPECT_EQ(engine->slots()[1].done.items(), n - done);
      }
    }
  }
}

TEST_F(EngineTest, ScatteredLossesAreRedoneRunByRun) {
  scene.script[0] = {[](std::size_t i) { return i % 3 == 1; }, Status::backend_failed, true, false};
  Encapsulation e(10);
  std::uint64_t items[Engine::max_backends] = {};
  EXPECT_EQ(make()->run(e.batch(), items).status, Status::ok);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_TRUE(e.item_is_right(i)) << i;
  EXPECT_EQ(items[0], 3u);
  EXPECT_EQ(items[1], 7u);
  EXPECT_EQ(scene.submitted[1], (std::vector<std::size_t>{1, 2, 2, 2}));
}

TEST_F(EngineTest, AFailureAfterTheLastItemLosesNothing) {
  scene.script[0].status = Status::backend_failed;
  for (const bool fail_over : {true, false}) {
    Encapsulation e(5);
    EXPECT_EQ(make(fail_over)->run(e.batch()).status, Status::ok);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_TRUE(e.item_is_right(i)) << i;
  }
  EXPECT_TRUE(scene.submitted[1].empty());
}

TEST_F(EngineTest, BadItemsAreNotRedone) {
  scene.script[0] = {[](std::size_t i) { return i < 4; }, Status::backend_failed, false, false};
  Encapsulation e(8);
  e.spoil_ek(0);
  e.spoil_ek(3);
  e.spoil_ek(7);
  std::uint64_t items[Engine::max_backends] = {};
  const CallResult result = make()->run(e.batch(), items);
  EXPECT_EQ(result.status, Status::item_failed);
  EXPECT_EQ(result.failed, 3u);
  EXPECT_NE(result.text.find("item 0"), std::string::npos) << result.text;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == 0 || i == 3 || i == 7) {
      EXPECT_EQ(e.statuses[i], 3u);
      EXPECT_TRUE(e.item_is_zero(i)) << i;
    } else {
      EXPECT_TRUE(e.item_is_right(i)) << i;
    }
  }
  EXPECT_EQ(items[0] + items[1], 8u);
  EXPECT_EQ(scene.submitted[1], std::vector<std::size_t>{4});
}

TEST_F(EngineTest, WithoutFailOverTheCallFailsAndLeavesZeros) {
  constexpr std::size_t n = 6;
  for (std::size_t done = 0; done < n; ++done) {
    scene = Scene();
    scene.script[0] = {[done](std::size_t i) { return i < done; }, Status::backend_failed, true, false};
    Encapsulation e(n);
    const CallResult result = make(false)->run(e.batch());
    expect_everything_lost(e, result, Status::backend_failed);
    EXPECT_NE(result.text.find("first: told to fail"), std::string::npos) << result.text;
    EXPECT_TRUE(scene.submitted[1].empty());
  }
}

TEST_F(EngineTest, WhenNobodyCanEverythingIsZeroAndTheTextNamesEach) {
  for (std::size_t done = 0; done < 5; ++done) {
    scene = Scene();
    scene.script[0] = {[done](std::size_t i) { return i < done; }, Status::backend_failed, true, false};
    scene.script[1] = {[](std::size_t) { return false; }, Status::ok, true, false};
    Encapsulation e(5);
    const CallResult result = make()->run(e.batch());
    expect_everything_lost(e, result, Status::backend_failed);
    EXPECT_NE(result.text.find("first: told to fail"), std::string::npos) << result.text;
    EXPECT_NE(result.text.find("second: left items undone"), std::string::npos) << result.text;
  }
}

TEST_F(EngineTest, LackOfMemoryEverywhereIsOutOfMemory) {
  for (Script& script : scene.script) script = {[](std::size_t) { return false; }, Status::out_of_memory, false, false};
  Encapsulation e(3);
  expect_everything_lost(e, make()->run(e.batch()), Status::out_of_memory);
}

TEST_F(EngineTest, StatusesMayBeMissingAtAnyCount) {
  for (const std::size_t n : {std::size_t{1}, std::size_t{64}, std::size_t{65}, std::size_t{200}}) {
    Encapsulation e(n);
    e.spoil_ek(n - 1);
    Batch batch = e.batch();
    batch.statuses = nullptr;
    const CallResult result = make()->run(batch);
    EXPECT_EQ(result.status, Status::item_failed);
    EXPECT_EQ(result.failed, 1u);
    EXPECT_TRUE(e.item_is_zero(n - 1));
  }
}

TEST_F(EngineTest, SmallBatchesGoToTheBackendThatIsQuickWithThem) {
  scene.preferred_count[0] = 8;
  Encapsulation small(7), large(8);
  const auto engine = make();
  EXPECT_EQ(engine->run(small.batch()).status, Status::ok);
  EXPECT_TRUE(scene.submitted[0].empty());
  EXPECT_EQ(engine->run(large.batch()).status, Status::ok);
  EXPECT_EQ(scene.submitted[0], std::vector<std::size_t>{8});
  // One that was asked for gets everything.
  scene.submitted[0].clear();
  EXPECT_EQ(make(true, "first")->run(small.batch()).status, Status::ok);
  EXPECT_EQ(scene.submitted[0], std::vector<std::size_t>{7});
  // And when the quick one fails, the other is tried, however small the batch.
  scene.submitted[0].clear();
  scene.script[1] = {[](std::size_t) { return false; }, Status::backend_failed, false, false};
  EXPECT_EQ(engine->run(small.batch()).status, Status::ok);
  EXPECT_EQ(scene.submitted[0], std::vector<std::size_t>{7});
}

TEST_F(EngineTest, AForcedBackendMustBeKnownAndUsable) {
  scene.usable[0] = false;
  for (const char* name : {"first", "third", "FIRST"}) {
    try {
      make(true, name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::unsupported);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
  EXPECT_STREQ(make()->preferred()->entry->name, "second");
  EXPECT_EQ(make()->slots()[0].detail, "told to be absent");
  scene.usable[1] = false;
  EXPECT_THROW(make(), Error);
}

TEST_F(EngineTest, ADeviceThatIsNotAskedForIsNotWoken) {
  const auto engine = make(true, "second");
  EXPECT_EQ(engine->slots()[0].backend, nullptr);
  EXPECT_STREQ(engine->preferred()->entry->name, "second");
}

struct Released {
  void operator()(KeySet* keys) const { keys->release(); }
};

TEST_F(EngineTest, PreparedKeysMoveToTheNextBackendWithTheirVerdicts) {
  const auto engine = make();
  Encapsulation e(6);
  e.spoil_ek(2);
  Batch prepare = e.batch();
  prepare.operation = Operation::prepare_ek;
  prepare.m = {}, prepare.c_out = {}, prepare.K_out = {};
  KeySet* set = nullptr;
  const CallResult made = engine->prepare(prepare, set);
  const std::unique_ptr<KeySet, Released> keys(set);
  ASSERT_NE(set, nullptr);
  EXPECT_EQ(made.status, Status::item_failed);
  EXPECT_EQ(e.statuses[2], 3u);
  EXPECT_EQ(scene.prepared[0], 1u);
  EXPECT_EQ(scene.prepared[1], 0u);

  scene.script[0] = {[](std::size_t i) { return i == 0; }, Status::backend_failed, true, false};
  for (int round = 0; round < 2; ++round) {
    const std::uint32_t index[] = {0, 1, 2, 3, 9, 5};
    Batch batch = e.batch();
    batch.ek = {};
    batch.keys = set;
    batch.index = index;
    std::uint64_t items[Engine::max_backends] = {};
    const CallResult result = engine->run(batch, items);
    EXPECT_EQ(result.status, Status::item_failed);
    EXPECT_EQ(result.failed, 2u);
    for (const std::size_t i : {0u, 1u, 3u, 5u}) EXPECT_TRUE(e.item_is_right(i)) << i;
    EXPECT_EQ(e.statuses[2], 3u);
    EXPECT_EQ(e.statuses[4], 9u);
    EXPECT_TRUE(e.item_is_zero(2) && e.item_is_zero(4));
    EXPECT_EQ(items[0] + items[1], 4u);
  }
  EXPECT_EQ(scene.prepared[1], 1u) << "the second backend's form is made once";
}

TEST_F(EngineTest, PreparationFailsOverToo) {
  Encapsulation e(3);
  Batch prepare = e.batch();
  prepare.operation = Operation::prepare_ek;
  prepare.m = {}, prepare.c_out = {}, prepare.K_out = {};
  for (const bool no_memory : {false, true}) {
    scene = Scene();
    (no_memory ? scene.no_memory_to_prepare : scene.fails_to_prepare)[0] = true;
    KeySet* set = nullptr;
    EXPECT_EQ(make()->prepare(prepare, set).status, Status::ok);
    ASSERT_NE(set, nullptr);
    set->release();
    set = nullptr;
    e.statuses.assign(3, 0xee);
    const CallResult lost = make(false)->prepare(prepare, set);
    EXPECT_EQ(lost.status, no_memory ? Status::out_of_memory : Status::backend_failed);
    EXPECT_EQ(lost.failed, 3u);
    EXPECT_EQ(set, nullptr);
    EXPECT_EQ(e.statuses, Bytes(3, static_cast<std::uint8_t>(lost.status)));
  }
}

int fails_always(void*, std::uint8_t* out, std::size_t bytes) {
  memset(out, 0x33, bytes);
  return -1;
}

TEST_F(EngineTest, WithoutRandomnessNoBackendIsAsked) {
  EngineOptions options;
  options.random = fails_always;
  const auto engine = std::make_shared<Engine>(options, scripted_table);
  Encapsulation e(4);
  Batch batch = e.batch();
  batch.m = {};
  expect_everything_lost(e, engine->run(batch), Status::rng_failed);
  EXPECT_TRUE(scene.submitted[0].empty() && scene.submitted[1].empty());
}

}  // namespace
}  // namespace warpkem::host
