// The caller's functions, called back: none with a lock held, so that they may use the engine.
#include <gtest/gtest.h>
#include <unistd.h>
#include <warpkem/warpkem.h>

#include <atomic>
#include <cstring>
#include <vector>

namespace {

constexpr warpkem_algorithm set = WARPKEM_ML_KEM_512;
constexpr std::size_t ek_bytes = 800, dk_bytes = 1632;

struct Source {
  warpkem_engine* engine = nullptr;
  std::atomic<int> calls{0}, inner{0};
  std::atomic<bool> fails{false};

  // Uses the engine in every way that does not ask for randomness without end.
  void use_the_engine() {
    warpkem_queue* queue = nullptr;
    EXPECT_EQ(warpkem_queue_new(engine, &queue), WARPKEM_OK) << warpkem_last_error();
    warpkem_completion completion;
    std::size_t count = 1;
    EXPECT_EQ(warpkem_queue_poll(queue, &completion, 1, &count), WARPKEM_OK);
    int fd;
    EXPECT_EQ(warpkem_queue_fd(queue, &fd), WARPKEM_OK);
    EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
    std::vector<std::uint8_t> seeds(64, 3), ek(ek_bytes), dk(dk_bytes);
    EXPECT_EQ(warpkem_keygen_derand(engine, set, 0, 1, {seeds.data(), 64, 0}, {ek.data(), ek_bytes, 0},
                                    {dk.data(), dk_bytes, 0}, nullptr, nullptr),
              WARPKEM_OK);
    std::vector<std::uint8_t> more_ek(ek_bytes), more_dk(dk_bytes);
    EXPECT_EQ(warpkem_keygen(engine, set, 0, 1, {more_ek.data(), ek_bytes, 0}, {more_dk.data(), dk_bytes, 0}, nullptr,
                             nullptr),
              WARPKEM_OK);
    warpkem_counters counters{};
    counters.struct_size = sizeof counters;
    EXPECT_EQ(warpkem_metrics(engine, &counters, nullptr, 0, nullptr), WARPKEM_OK);
    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.operation = WARPKEM_OP_CHECK_EK;
    batch.algorithm = set;
    batch.count = 0;
    static std::atomic<int> completed;
    warpkem_submit_options options{};
    options.struct_size = sizeof options;
    options.callback = [](void*, const warpkem_completion*) { ++completed; };
    EXPECT_EQ(warpkem_submit(engine, &batch, 1, &options, nullptr, nullptr), WARPKEM_OK);
    warpkem_engine* other = nullptr;
    EXPECT_EQ(warpkem_engine_new(nullptr, &other), WARPKEM_OK);
    warpkem_engine_free(other);
    ++inner;
  }
};

int draw(void* context, std::uint8_t* out, std::size_t bytes) {
  auto& source = *static_cast<Source*>(context);
  thread_local bool inside = false;
  ++source.calls;
  if (!inside && source.engine != nullptr && !source.fails) {
    inside = true;
    source.use_the_engine();
    inside = false;
  }
  if (source.fails) return -1;
  std::memset(out, 11, bytes);
  return 0;
}

class Callbacks : public testing::Test {
 protected:
  void SetUp() override {
    alarm(120);  // a deadlock ends the test
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.threads = 2;
    options.random = draw;
    options.random_context = &source;
    ASSERT_EQ(warpkem_engine_new(&options, &engine), WARPKEM_OK);
    source.engine = engine;
  }
  void TearDown() override {
    source.engine = nullptr;
    warpkem_engine_free(engine);
    alarm(0);
  }
  warpkem_status submit(std::size_t requests, warpkem_queue* queue) {
    ek.resize(requests * ek_bytes), dk.resize(requests * dk_bytes);
    warpkem_submit_options options{};
    options.struct_size = sizeof options;
    options.queue = queue;
    std::vector<warpkem_batch> batches(requests);
    for (std::size_t i = 0; i < requests; ++i) {
      batches[i].struct_size = sizeof batches[i];
      batches[i].operation = WARPKEM_OP_KEYGEN;
      batches[i].algorithm = set;
      batches[i].count = 1;
      batches[i].ek_out = {&ek[i * ek_bytes], ek_bytes, 0, nullptr};
      batches[i].dk_out = {&dk[i * dk_bytes], dk_bytes, 0, nullptr};
    }
    return warpkem_submit(engine, batches.data(), requests, &options, nullptr, nullptr);
  }

  Source source;
  warpkem_engine* engine = nullptr;
  std::vector<std::uint8_t> ek, dk;
};

TEST_F(Callbacks, ARandomFunctionMayUseTheEngineItIsCalledFor) {
  warpkem_queue* queue = nullptr;
  ASSERT_EQ(warpkem_queue_new(engine, &queue), WARPKEM_OK);
  ASSERT_EQ(submit(40, queue), WARPKEM_OK);
  for (std::size_t got = 0; got < 40;) {
    warpkem_completion completions[40];
    std::size_t count = 0;
    ASSERT_EQ(warpkem_queue_wait(queue, completions, 40, WARPKEM_FOREVER, &count), WARPKEM_OK);
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(completions[i].status, WARPKEM_OK);
    got += count;
  }
  EXPECT_GT(source.inner, 0);
  EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
  EXPECT_EQ(warpkem_shutdown(engine, WARPKEM_DRAIN), WARPKEM_OK);
}

TEST_F(Callbacks, ARandomFunctionMayUseTheEngineInASynchronousCall) {
  ek.resize(ek_bytes), dk.resize(dk_bytes);
  EXPECT_EQ(warpkem_keygen(engine, set, 0, 1, {ek.data(), ek_bytes, 0}, {dk.data(), dk_bytes, 0}, nullptr, nullptr),
            WARPKEM_OK);
  EXPECT_EQ(source.inner, 1);
}

TEST_F(Callbacks, ARandomFunctionThatFailsStopsOnlyWhatNeedsRandomness) {
  source.fails = true;
  warpkem_queue* queue = nullptr;
  EXPECT_EQ(warpkem_queue_new(engine, &queue), WARPKEM_OK) << warpkem_last_error();
  ASSERT_EQ(submit(3, queue), WARPKEM_OK);
  warpkem_completion completions[3];
  std::size_t count = 0;
  ASSERT_EQ(warpkem_queue_wait_many(queue, completions, 3, 3, WARPKEM_FOREVER, &count), WARPKEM_OK);
  for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(completions[i].status, WARPKEM_RNG_FAILED);
  EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
  EXPECT_EQ(warpkem_shutdown(engine, WARPKEM_DRAIN), WARPKEM_OK);
}

TEST_F(Callbacks, AnUnusedEngineShutsDownWithoutRandomness) {
  source.fails = true;
  EXPECT_EQ(warpkem_shutdown(engine, WARPKEM_ABORT), WARPKEM_OK) << warpkem_last_error();
  EXPECT_EQ(warpkem_shutdown(engine, WARPKEM_DRAIN), WARPKEM_OK) << warpkem_last_error();
  EXPECT_EQ(source.calls, 0);
}

}  // namespace
