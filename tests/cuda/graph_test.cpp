// Small chunks that repeat are replayed as graphs: the same bytes as ever, in one call; and when a capture or a replay
// fails, or what it was made for has gone, nothing is lost.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "host/backends/cuda/module/launch_cost.hpp"
#include "tests/cuda/workload.hpp"

namespace {

// What the module has called, and how often each function shall fail from now on.
struct Function {
  const char* name;
  std::atomic<long> calls{0};
  std::atomic<long> failures{0};
  bool called() {
    ++calls;
    return failures.load() == 0 || failures.fetch_sub(1) <= 0;
  }
};
Function begin_capture{"cudaStreamBeginCapture"}, end_capture{"cudaStreamEndCapture"},
    instantiate{"cudaGraphInstantiate"}, graph_launch{"cudaGraphLaunch"}, kernel_launch{"cudaLaunchKernel"},
    copies{"cudaMemcpyAsync"}, sets{"cudaMemsetAsync"}, stream_create{"cudaStreamCreateWithFlags"};

// The memory that the module holds.
std::mutex memory_mutex;
std::map<void*, std::size_t> device_memory, pinned_memory;

template <class F>
F* next(const char* symbol) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

// The module's calls are bound to these first, and go on to the runtime.
#define COUNTED(function, symbol, parameters, arguments)                            \
  extern "C" __attribute__((visibility("default"))) cudaError_t symbol parameters { \
    static auto* const real = next<cudaError_t parameters>(#symbol);                \
    return (function).called() ? real arguments : cudaErrorMemoryAllocation;        \
  }
COUNTED(begin_capture, cudaStreamBeginCapture, (cudaStream_t s, cudaStreamCaptureMode m), (s, m))
COUNTED(end_capture, cudaStreamEndCapture, (cudaStream_t s, cudaGraph_t* g), (s, g))
COUNTED(instantiate, cudaGraphInstantiate, (cudaGraphExec_t * e, cudaGraph_t g, unsigned long long f), (e, g, f))
COUNTED(graph_launch, cudaGraphLaunch, (cudaGraphExec_t e, cudaStream_t s), (e, s))
COUNTED(stream_create, cudaStreamCreateWithFlags, (cudaStream_t * s, unsigned f), (s, f))
COUNTED(copies, cudaMemcpyAsync, (void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t t), (d, s, n, k, t))
COUNTED(sets, cudaMemsetAsync, (void* d, int v, size_t n, cudaStream_t t), (d, v, n, t))
COUNTED(kernel_launch, __cudaLaunchKernel, (cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t t),
        (k, g, b, a, s, t))

#define ALLOCATES(memory, symbol, parameters, arguments)                            \
  extern "C" __attribute__((visibility("default"))) cudaError_t symbol parameters { \
    static auto* const real = next<cudaError_t parameters>(#symbol);                \
    const cudaError_t code = real arguments;                                        \
    const std::scoped_lock lock(memory_mutex);                                      \
    if (code == cudaSuccess) (memory)[*p] = n;                                      \
    return code;                                                                    \
  }
#define FREES(memory, symbol)                                                     \
  extern "C" __attribute__((visibility("default"))) cudaError_t symbol(void* p) { \
    static auto* const real = next<cudaError_t(void*)>(#symbol);                  \
    {                                                                             \
      const std::scoped_lock lock(memory_mutex);                                  \
      (memory).erase(p);                                                          \
    }                                                                             \
    return real(p);                                                               \
  }
ALLOCATES(device_memory, cudaMalloc, (void** p, size_t n), (p, n))
ALLOCATES(pinned_memory, cudaHostAlloc, (void** p, size_t n, unsigned f), (p, n, f))
FREES(device_memory, cudaFree)
FREES(pinned_memory, cudaFreeHost)

namespace warpkem::test {
namespace {

namespace launch_cost = cuda::launch_cost;

constexpr warpkem_algorithm algorithms[] = {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024};

bool uses_keys(std::size_t operation) { return std::strstr(operation_names[operation], "prepared") != nullptr; }

std::size_t operation_named(const char* name) {
  const auto same = [name](const char* other) { return std::strcmp(name, other) == 0; };
  return static_cast<std::size_t>(std::ranges::find_if(operation_names, same) - operation_names);
}

struct Calls {
  long kernels = 0, captures = 0, replays = 0, others = 0;  // others: copies and sets
  static Calls until_now() {
    return {kernel_launch.calls, begin_capture.calls, graph_launch.calls, copies.calls + sets.calls};
  }
  Calls operator-(const Calls& before) const {
    return {kernels - before.kernels, captures - before.captures, replays - before.replays, others - before.others};
  }
};

// One lane, so that what it has seen is known.
class CudaGraphs : public testing::Test {
 protected:
  void SetUp() override {
    options_.cuda_streams = 1;
    start();
    if (engine() == nullptr) GTEST_SKIP() << engine_.front().why_not();
  }
  void TearDown() override {
    unsetenv("WARPKEM_CUDA_GRAPHS"), unsetenv("WARPKEM_CUDA_FORKS"), unsetenv("WARPKEM_CUDA_KERNEL_COPIES");
  }

  void start() {
    engine_.clear();
    engine_.push_back(Engine::strict("cuda", options_));
  }
  warpkem_engine* engine() const { return engine_.front().get(); }

  // Asks, expects the right answer, and returns what was called for it.
  Calls ask_right(const Inputs& inputs, std::size_t operation, Memory memory = Memory::pageable) const {
    const Answer& expected = expected_answer(inputs, operation);
    const Calls before = Calls::until_now();
    const Answer answer = ask(engine(), inputs, operation, memory);
    EXPECT_TRUE(answer.agrees(expected, false))
        << operation_names[operation] << " of " << warpkem_algorithm_name(inputs.algorithm) << ", " << inputs.count
        << " items: " << warpkem_status_name(answer.status) << " " << answer.text;
    return Calls::until_now() - before;
  }

  warpkem_options options_ = WARPKEM_OPTIONS_DEFAULT;

 private:
  std::vector<Engine> engine_;
};

TEST_F(CudaGraphs, ReplayEveryOperationAndSet) {
  for (const warpkem_algorithm algorithm : algorithms) {
    for (const std::size_t count : {1, 11}) {
      const Inputs inputs(algorithm, count, count + 50);
      for (std::size_t operation = 0; operation < num_operations; ++operation) {
        const Calls first = ask_right(inputs, operation), second = ask_right(inputs, operation),
                    third = ask_right(inputs, operation);
        if (uses_keys(operation)) continue;  // a set in other memory every time; see below
        const std::string what = std::string(operation_names[operation]) + " of " + std::to_string(count);
        EXPECT_EQ(first.replays, 0) << what;
        EXPECT_EQ(second.captures, 1) << what;
        EXPECT_EQ(second.replays, 1) << what;
        EXPECT_EQ(third.replays, 1) << what;
        EXPECT_EQ(third.captures + third.kernels + third.others, 0) << what;
      }
    }
  }
}

TEST_F(CudaGraphs, ServeAllCountsOfAClass) {
  const std::size_t encaps = operation_named("encaps");
  for (const std::size_t count : {17, 20, 18}) {
    const Calls calls = ask_right(Inputs(WARPKEM_ML_KEM_768, count, count), encaps);
    EXPECT_EQ(calls.replays, count == 17 ? 0 : 1) << count;
    if (count == 18) {
      EXPECT_EQ(calls.kernels, 0);
    }
  }
  EXPECT_EQ(ask_right(Inputs(WARPKEM_ML_KEM_768, 16, 16), encaps).replays, 0) << "another class";
}

// A server's batches: after a while one is hardly ever anything but a replay.
TEST_F(CudaGraphs, ServeRandomCounts) {
  const std::size_t most = 256;
  const Inputs inputs(WARPKEM_ML_KEM_512, most, 4);
  const Answer& expected = expected_answer(inputs, operation_named("check_ek"));
  const Bytes random = pseudo_random(600, 9);
  Calls before;
  for (std::size_t i = 0; i < random.size(); ++i) {
    if (i == 400) before = Calls::until_now();
    const std::size_t count = random[i] + std::size_t{1};
    Bytes statuses(count);
    const warpkem_status status = warpkem_check_ek(
        engine(), inputs.algorithm, count, {inputs.ek.data(), count * inputs.ek_bytes, 0}, statuses.data(), nullptr);
    ASSERT_EQ(status, count > 2 ? WARPKEM_ITEM_FAILED : WARPKEM_OK) << warpkem_last_error();
    ASSERT_TRUE(std::equal(statuses.begin(), statuses.end(), expected.statuses.begin())) << count;
  }
  const Calls calls = Calls::until_now() - before;
  EXPECT_GE(calls.replays, 197) << "of 200";
  EXPECT_LE(calls.captures, 3);
}

// A set's graphs are not taken for another set, even if it comes to lie where the first one was.
TEST_F(CudaGraphs, FollowPreparedSets) {
  constexpr std::size_t count = 12, num_keys = 3;
  Bytes previous_c;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Inputs inputs(WARPKEM_ML_KEM_768, count, seed);
    const Bytes &ek = inputs.good_ek, &dk = inputs.good_dk;
    std::vector<std::uint32_t> index(count);
    for (std::size_t i = 0; i < count; ++i) index[i] = static_cast<std::uint32_t>(i * 2 % num_keys);
    warpkem_keys *to = nullptr, *of = nullptr;
    ASSERT_EQ(warpkem_prepare_ek(engine(), inputs.algorithm, num_keys, {ek.data(), num_keys * inputs.ek_bytes, 0},
                                 nullptr, nullptr, &to),
              WARPKEM_OK);
    ASSERT_EQ(warpkem_prepare_dk(engine(), inputs.algorithm, WARPKEM_DK_EXPANDED, num_keys,
                                 {dk.data(), num_keys * inputs.dk_bytes, 0}, nullptr, nullptr, &of),
              WARPKEM_OK);
    Bytes expected_c(inputs.c_bytes * count), expected_K(32 * count), gathered(inputs.ek_bytes * count);
    for (std::size_t i = 0; i < count; ++i) {
      std::copy_n(ek.begin() + static_cast<std::ptrdiff_t>(index[i] * inputs.ek_bytes), inputs.ek_bytes,
                  gathered.begin() + static_cast<std::ptrdiff_t>(i * inputs.ek_bytes));
    }
    const Engine reference = Engine::strict("portable");
    ASSERT_EQ(warpkem_encaps_derand(reference.get(), inputs.algorithm, count, {gathered.data(), gathered.size(), 0},
                                    {inputs.m.data(), inputs.m.size(), 0}, {expected_c.data(), expected_c.size(), 0},
                                    {expected_K.data(), expected_K.size(), 0}, nullptr, nullptr),
              WARPKEM_OK);
    for (int time = 1; time <= 4; ++time) {
      const Calls before = Calls::until_now();
      Bytes c(expected_c.size()), K(expected_K.size()), K_again(K.size());
      ASSERT_EQ(warpkem_encaps_prepared_derand(engine(), to, index.data(), count, {inputs.m.data(), inputs.m.size(), 0},
                                               {c.data(), c.size(), 0}, {K.data(), K.size(), 0}, nullptr, nullptr),
                WARPKEM_OK);
      ASSERT_EQ(warpkem_decaps_prepared(engine(), of, index.data(), count, {c.data(), c.size(), 0},
                                        {K_again.data(), K_again.size(), 0}, nullptr, nullptr),
                WARPKEM_OK);
      EXPECT_EQ(c, expected_c);
      EXPECT_EQ(K, expected_K);
      EXPECT_EQ(K_again, expected_K);
      if (time >= 3) {
        EXPECT_EQ((Calls::until_now() - before).replays, 2);
      }
    }
    warpkem_keys_release(to);
    warpkem_keys_release(of);
  }
}

// The second batch needs no more room for its arrays than the first, but a larger workspace, so that the first one's
// graph would still be found.
TEST_F(CudaGraphs, GoWhenTheSlotGrows) {
  const std::size_t keygen = operation_named("keygen");
  const Inputs first(WARPKEM_ML_KEM_512, 100, 1), second(WARPKEM_ML_KEM_1024, 48, 2);
  for (int i = 0; i < 3; ++i) ask_right(first, keygen);
  ask_right(second, operation_named("decaps"));
  EXPECT_EQ(ask_right(first, keygen).replays, 0);
  EXPECT_EQ(ask_right(first, keygen).captures, 1);
  EXPECT_EQ(ask_right(first, keygen).kernels, 0);
}

TEST_F(CudaGraphs, FailuresLoseNothing) {
  const Inputs inputs(WARPKEM_ML_KEM_512, 6, 8);
  for (Function* const function : {&stream_create, &begin_capture, &end_capture, &instantiate, &graph_launch}) {
    for (const std::size_t operation : {operation_named("encaps"), operation_named("decaps")}) {
      start();
      ask_right(inputs, operation);
      function->failures = 1;
      const Calls failed = ask_right(inputs, operation);
      EXPECT_EQ(function->failures, 0) << function->name;
      EXPECT_GT(failed.kernels, 0) << function->name;
      const Calls after = ask_right(inputs, operation);
      EXPECT_EQ(after.captures + after.replays, 0) << function->name << ": not tried again";
      // Another shape is.
      const Inputs other(WARPKEM_ML_KEM_512, 7, 8);
      ask_right(other, operation);
      EXPECT_EQ(ask_right(other, operation).replays, 1) << function->name;
    }
  }
}

// The calls inside a capture fail, and then perhaps even its end.
TEST_F(CudaGraphs, FailuresInsideACaptureLoseNothing) {
  const Inputs inputs(WARPKEM_ML_KEM_512, 6, 8), other(WARPKEM_ML_KEM_512, 7, 8);
  const std::size_t encaps = operation_named("encaps");
  setenv("WARPKEM_CUDA_KERNEL_COPIES", "0", 1);
  for (Function* const function : {&copies, &sets}) {
    for (const long ends_that_fail : {0, 1}) {
      start();
      ask_right(inputs, encaps);
      function->failures = 1, end_capture.failures = ends_that_fail;
      EXPECT_EQ(ask_right(inputs, encaps).replays, 0) << function->name;
      EXPECT_EQ(function->failures + end_capture.failures, 0) << function->name;
      EXPECT_EQ(ask_right(inputs, encaps).captures, 0) << function->name;
      ask_right(other, encaps);
      EXPECT_EQ(ask_right(other, encaps).replays, 1) << function->name;
    }
  }
}

TEST_F(CudaGraphs, LeaveNoSecret) {
  const Inputs inputs(WARPKEM_ML_KEM_768, 11, 12);
  std::vector<Bytes> secrets = {inputs.m, inputs.seeds};  // seeds hold z, which is in dk
  for (std::size_t i = 0; i < inputs.count; ++i) {
    const auto dk_pke = inputs.good_dk.begin() + static_cast<std::ptrdiff_t>(i * inputs.dk_bytes);
    secrets.emplace_back(dk_pke, dk_pke + 3 * 384);
  }
  for (const char* name : {"keygen", "encaps", "decaps"}) {
    const std::size_t operation = operation_named(name);
    for (int i = 0; i < 3; ++i) ask_right(inputs, operation);
    const Answer& expected = expected_answer(inputs, operation);
    if (std::string(name) != "keygen")
      secrets.push_back(std::string(name) == "decaps" ? expected.first : expected.second);
  }
  std::vector<Bytes> memories;
  {
    const std::scoped_lock lock(memory_mutex);
    for (const auto& [data, bytes] : pinned_memory) {
      const auto* const from = static_cast<const std::uint8_t*>(data);
      memories.emplace_back(from, from + bytes);
    }
    for (const auto& [data, bytes] : device_memory) {
      ASSERT_EQ(cudaMemcpy(memories.emplace_back(bytes).data(), data, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    }
  }
  ASSERT_GE(memories.size(), 3u);
  for (const Bytes& memory : memories) {
    for (const Bytes& secret : secrets) {
      for (std::size_t at = 0; at + 16 <= secret.size(); at += 32) {
        const auto begin = secret.begin() + static_cast<std::ptrdiff_t>(at);
        if (std::all_of(begin, begin + 16, [](std::uint8_t byte) { return byte == 0; })) continue;  // of a bad item
        EXPECT_EQ(std::search(memory.begin(), memory.end(), begin, begin + 16), memory.end());
      }
    }
  }
}

TEST_F(CudaGraphs, StageSmallRegisteredMemory) {
  const Inputs inputs(WARPKEM_ML_KEM_512, 5, 3);
  const std::size_t keygen = operation_named("keygen");
  ask_right(inputs, keygen, Memory::registered);
  EXPECT_EQ(ask_right(inputs, keygen, Memory::registered).replays, 1);
}

TEST_F(CudaGraphs, AreNotForLargeChunks) {
  const Inputs inputs(WARPKEM_ML_KEM_512, 1500, 3);
  const std::size_t check = operation_named("check_ek");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask_right(inputs, check).captures, 0);
}

TEST_F(CudaGraphs, CanBeSwitchedOff) {
  setenv("WARPKEM_CUDA_GRAPHS", "0", 1);
  start();
  ASSERT_NE(engine(), nullptr);
  const Inputs inputs(WARPKEM_ML_KEM_512, 5, 3);
  const std::size_t keygen = operation_named("keygen");
  for (int i = 0; i < 3; ++i) {
    const Calls calls = ask_right(inputs, keygen);
    EXPECT_EQ(calls.captures + calls.replays, 0);
  }
  setenv("WARPKEM_CUDA_GRAPHS", "maybe", 1);
  start();
  EXPECT_EQ(engine(), nullptr);
}

TEST_F(CudaGraphs, CopyALittleByKernels) {
  const std::size_t encaps = operation_named("encaps");
  for (const std::size_t count : {2, 3, 100}) {
    const Inputs inputs(WARPKEM_ML_KEM_768, count, 3);
    Calls captured[2];
    for (const bool by_kernels : {false, true}) {
      setenv("WARPKEM_CUDA_KERNEL_COPIES", by_kernels ? "1" : "0", 1);
      start();
      ASSERT_NE(engine(), nullptr);
      ask_right(inputs, encaps);
      captured[by_kernels] = ask_right(inputs, encaps);
      EXPECT_EQ(captured[by_kernels].captures, 1);
    }
    const int copies = count == 100 ? 0 : 2;  // 100 items have 119 kB of keys
    EXPECT_EQ(captured[true].kernels, captured[false].kernels + copies);
    EXPECT_EQ(captured[true].others, captured[false].others - copies);
  }
}

TEST_F(CudaGraphs, HoldASecondStreamOrNone) {
  for (const char* const forks : {"1", "0"}) {
    setenv("WARPKEM_CUDA_FORKS", forks, 1);
    start();
    ASSERT_NE(engine(), nullptr);
    constexpr warpkem_algorithm algorithm = WARPKEM_X25519MLKEM768;
    constexpr std::size_t count = 10;
    const auto records = [](std::uint32_t what) {
      return std::vector<std::uint8_t>(count * warpkem_size(algorithm, what));
    };
    auto ek = records(WARPKEM_SIZE_EK), dk = records(WARPKEM_SIZE_DK), c = records(WARPKEM_SIZE_C);
    auto K = records(WARPKEM_SIZE_K), got = K;
    const auto in = [](const auto& bytes) { return warpkem_in{bytes.data(), bytes.size(), 0}; };
    const auto out = [](auto& bytes) { return warpkem_out{bytes.data(), bytes.size(), 0}; };
    const Calls before = Calls::until_now();
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(warpkem_keygen(engine(), algorithm, WARPKEM_DK_EXPANDED, count, out(ek), out(dk), nullptr, nullptr),
                WARPKEM_OK);
      ASSERT_EQ(warpkem_encaps(engine(), algorithm, count, in(ek), out(c), out(K), nullptr, nullptr), WARPKEM_OK);
      ASSERT_EQ(
          warpkem_decaps(engine(), algorithm, WARPKEM_DK_EXPANDED, count, in(dk), in(c), out(got), nullptr, nullptr),
          WARPKEM_OK);
      EXPECT_EQ(got, K);
    }
    EXPECT_GE((Calls::until_now() - before).replays, 3);
  }
  setenv("WARPKEM_CUDA_FORKS", "2", 1);
  start();
  EXPECT_EQ(engine(), nullptr);
}

TEST_F(CudaGraphs, ModelKnowsTheNumberOfCalls) {
  setenv("WARPKEM_CUDA_GRAPHS", "0", 1);
  start();
  const Inputs inputs(WARPKEM_ML_KEM_768, 100, 3);
  for (const auto& [name, operation] :
       {std::pair{"keygen", kernels::Operation::keygen}, std::pair{"encaps", kernels::Operation::encaps},
        std::pair{"decaps", kernels::Operation::decaps}, std::pair{"check_ek", kernels::Operation::check_ek},
        std::pair{"check_dk", kernels::Operation::check_dk}}) {
    ask_right(inputs, operation_named(name));  // the slot grows
    const Calls calls = ask_right(inputs, operation_named(name));
    EXPECT_NEAR(static_cast<double>(calls.kernels + calls.others), launch_cost::num_calls(operation, false), 2) << name;
  }
}

TEST(LaunchCost, CountsArePaddedByLessThanAQuarter) {
  std::size_t classes = 0;
  for (std::size_t count = 1; count <= 4096; ++count) {
    const std::size_t padded = launch_cost::padded_count(count);
    EXPECT_GE(padded, count);
    EXPECT_LT(4 * padded, 5 * count + (count < 9 ? 5 : 0));
    EXPECT_LE(padded, std::bit_ceil(count));  // what a slot has room for
    EXPECT_EQ(launch_cost::padded_count(padded), padded);
    if (count <= 256 && padded == count) ++classes;
  }
  EXPECT_EQ(classes, 28u);
}

TEST(LaunchCost, AReplayIsForChunksThatTheirCallsBind) {
  using launch_cost::replay_is_cheaper;
  const double calls_take = 14 * launch_cost::call_ns;
  const auto bytes = static_cast<std::size_t>(calls_take * launch_cost::link_bytes_per_ns);
  EXPECT_TRUE(replay_is_cheaper(14, 0, 0, 0));
  EXPECT_TRUE(replay_is_cheaper(14, bytes / 2, bytes / 2, 0));
  EXPECT_TRUE(replay_is_cheaper(14, bytes * 8 / 10, bytes * 99 / 100, 0));
  EXPECT_FALSE(replay_is_cheaper(14, bytes * 9 / 10, bytes * 11 / 10, 0)) << "padding takes longer than the calls";
  EXPECT_FALSE(replay_is_cheaper(14, bytes * 2, bytes * 2, 0)) << "the copies hide the calls";
  EXPECT_FALSE(replay_is_cheaper(0, 0, 0, 0));
  EXPECT_TRUE(replay_is_cheaper(14, bytes / 10, bytes / 10, bytes / 10));
  EXPECT_FALSE(replay_is_cheaper(14, bytes / 4, bytes / 4, bytes / 4)) << "staging takes longer than the calls";
}

}  // namespace
}  // namespace warpkem::test
