// Which device the module's calls go to: none but the engine's, each with its own device current, kernels loaded before
// they are launched, and no memory given back that may hold a secret.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <warpkem/async.h>
#include <warpkem/cuda.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda/driver_stand_in.hpp"
#include "tests/cuda/runtime_calls.hpp"
#include "tests/cuda/workload.hpp"

namespace warpkem::test {
namespace {

int num_devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// As WARPKEM_TEST_DRIVER names it: the functions of the driver that the module asks. Null: there is none to ask.
DriverAnswers* driver() {
  static DriverAnswers* const answers = []() -> DriverAnswers* {
    const char* const path = std::getenv("WARPKEM_TEST_DRIVER");
    if (path == nullptr) return nullptr;
    void* const library = dlopen(path, RTLD_NOW);
    if (library == nullptr) throw std::runtime_error(dlerror());
    using Set = void (*)(const DriverAnswers*);
    static DriverAnswers given;
    reinterpret_cast<Set>(dlsym(library, "warpkem_stand_in_answers"))(&given);
    return &given;
  }();
  return answers;
}

Engine engine_on(const char* devices) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.cuda_devices = devices;
  return Engine::strict("cuda", options);
}

std::string metrics(warpkem_engine* engine) {
  std::string text(1 << 20, '\0');
  std::size_t needed = 0;
  if (warpkem_metrics_text(engine, text.data(), text.size(), &needed) != WARPKEM_OK) return "";
  text.resize(needed - 1);
  return text;
}

std::size_t kept_bytes(warpkem_engine* engine) {
  const std::string text = metrics(engine), line = "\nwarpkem_backend_kept_bytes{backend=\"cuda\"} ";
  const std::size_t at = text.find(line);
  EXPECT_NE(at, std::string::npos);
  return at == std::string::npos ? 0 : std::stoul(text.substr(at + line.size()));
}

template <class Condition>
bool comes_true(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(5);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

warpkem_keys* prepare_dk(warpkem_engine* engine, const Inputs& x) {
  warpkem_keys* keys = nullptr;
  EXPECT_EQ(warpkem_prepare_dk(engine, x.algorithm, WARPKEM_DK_EXPANDED, x.num_keys,
                               {x.good_dk.data(), x.num_keys * x.dk_bytes, 0}, nullptr, nullptr, &keys),
            WARPKEM_OK)
      << warpkem_last_error();
  return keys;
}

class CudaContexts : public testing::Test {
 protected:
  void SetUp() override {
    driver();
    if (num_devices() < 2) GTEST_SKIP() << "needs two devices";
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
    before_ = context_calls(0);
    sets_elsewhere = unwiped_frees = 0;
    watch_frees = true;
  }
  void TearDown() override {
    watch_frees = false;
    EXPECT_EQ(unwiped_frees, 0);
    EXPECT_EQ(sets_elsewhere, 0);
    if (driver() != nullptr) driver()->contexts = 0;
  }

  // Calls since the test began that would have made a context on device 0.
  long calls_on_the_other() const { return context_calls(0) - before_; }

 private:
  long before_ = 0;
};

// First in this file, for what is loaded stays so: not even a lane has opened its device yet.
TEST_F(CudaContexts, ACaptureRightAfterTheWorkspaceQueryFindsEveryKernelLoaded) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.flags |= WARPKEM_NO_FAIL_OVER;
  const Engine engine(options);
  ASSERT_NE(engine.get(), nullptr) << engine.why_not();
  const Inputs x(WARPKEM_ML_KEM_768, 5, 1);
  std::uint8_t *seeds = nullptr, *ek = nullptr, *dk = nullptr, *workspace = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&seeds), 64 * x.count), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&ek), x.ek_bytes * x.count), cudaSuccess);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&dk), x.dk_bytes * x.count), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(seeds, x.seeds.data(), 64 * x.count, cudaMemcpyHostToDevice), cudaSuccess);
  warpkem_batch b{};
  b.struct_size = sizeof b;
  b.operation = WARPKEM_OP_KEYGEN;
  b.algorithm = x.algorithm;
  b.flags = WARPKEM_DERAND;
  b.count = x.count;
  b.seeds = {seeds, 64 * x.count, 0, nullptr};
  b.ek_out = {ek, x.ek_bytes * x.count, 0, nullptr};
  b.dk_out = {dk, x.dk_bytes * x.count, 0, nullptr};
  std::size_t bytes = 0;
  ASSERT_EQ(warpkem_cuda_workspace_bytes(engine.get(), &b, &bytes), WARPKEM_OK) << warpkem_last_error();
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&workspace), bytes), cudaSuccess);
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  launches_unloaded = 0;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(warpkem_cuda_run(engine.get(), &b, workspace, bytes, stream), WARPKEM_OK) << warpkem_last_error();
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(launches_unloaded, 0);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  Bytes out(x.ek_bytes * x.count);
  ASSERT_EQ(cudaMemcpy(out.data(), ek, out.size(), cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(out, x.good_ek);
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
  watch_frees = false;  // these are the test's own
  for (std::uint8_t* memory : {seeds, ek, dk, workspace}) cudaFree(memory);
}

TEST_F(CudaContexts, HostCallsGoToTheEnginesDeviceAlone) {
  launches_unloaded = 0;
  {
    const Engine engine = engine_on("1");
    ASSERT_NE(engine.get(), nullptr) << engine.why_not();
    const Inputs x(WARPKEM_ML_KEM_768, 9, 3);
    for (std::size_t operation = 0; operation < num_operations; ++operation) {
      EXPECT_TRUE(ask(engine.get(), x, operation).agrees(expected_answer(x, operation), false))
          << operation_names[operation];
    }
  }
  EXPECT_EQ(calls_on_the_other(), 0) << context_callers(0);
  EXPECT_GT(context_calls(1), 0);
  EXPECT_EQ(launches_unloaded, 0);
}

// With as many lanes as there are, most of them have not opened their device when the keys go.
TEST_F(CudaContexts, PreparedKeysAreWipedOnTheirDevice) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.cuda_devices = "1";
  options.cuda_streams = 8;
  for (int time = 0; time < 3; ++time) {
    const Engine engine = Engine::strict("cuda", options);
    ASSERT_NE(engine.get(), nullptr) << engine.why_not();
    const Inputs x(WARPKEM_ML_KEM_512, 3, 3);
    for (int set = 0; set < 4; ++set) warpkem_keys_release(prepare_dk(engine.get(), x));
    EXPECT_EQ(kept_bytes(engine.get()), 0u);
  }
  EXPECT_EQ(calls_on_the_other(), 0) << context_callers(0);
}

TEST_F(CudaContexts, WhatCannotBeWipedIsKeptAndTold) {
  const Engine engine = engine_on("1");
  ASSERT_NE(engine.get(), nullptr) << engine.why_not();
  const Inputs x(WARPKEM_ML_KEM_768, 3, 3);
  warpkem_keys* const keys = prepare_dk(engine.get(), x);
  EXPECT_EQ(kept_bytes(engine.get()), 0u);
  refuse_set.error = cudaErrorUnknown;
  refuse_set.calls = 1;
  warpkem_keys_release(keys);
  EXPECT_TRUE(comes_true([&] { return kept_bytes(engine.get()) >= x.num_keys * x.dk_bytes; }));
  EXPECT_EQ(refuse_set.calls, 0);
  // The next set is wiped as ever.
  const std::size_t kept = kept_bytes(engine.get());
  warpkem_keys_release(prepare_dk(engine.get(), x));
  EXPECT_EQ(kept_bytes(engine.get()), kept);
}

TEST_F(CudaContexts, MemoryIsMadeCopiedAndFreedWithoutTheOtherDevice) {
  const Engine engine = engine_on("1");
  ASSERT_NE(engine.get(), nullptr) << engine.why_not();
  const Bytes content = pseudo_random(5000, 1);
  void *pinned = nullptr, *device = nullptr;
  ASSERT_EQ(warpkem_cuda_alloc(engine.get(), WARPKEM_CUDA_PINNED, content.size(), &pinned), WARPKEM_OK)
      << warpkem_last_error();
  EXPECT_EQ(warpkem_cuda_copy(engine.get(), pinned, content.data(), content.size()), WARPKEM_OK);
  EXPECT_EQ(std::memcmp(pinned, content.data(), content.size()), 0);
  warpkem_cuda_free(engine.get(), WARPKEM_CUDA_PINNED, content.size(), pinned);

  device = this;
  EXPECT_EQ(warpkem_cuda_alloc(engine.get(), WARPKEM_CUDA_DEVICE, content.size(), &device), WARPKEM_UNSUPPORTED);
  EXPECT_NE(std::string(warpkem_last_error()).find("does not drive the current device, cuda device 0"),
            std::string::npos);
  EXPECT_EQ(device, nullptr);
  // Where the driver can tell that the default stream has nothing to do, that is an answer.
  EXPECT_EQ(warpkem_cuda_synchronize(engine.get(), nullptr), driver() != nullptr ? WARPKEM_OK : WARPKEM_UNSUPPORTED);
  EXPECT_EQ(calls_on_the_other(), 0) << context_callers(0);

  // Memory of device 1, freed while another device is current.
  std::thread([&] {
    ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
    ASSERT_EQ(warpkem_cuda_alloc(engine.get(), WARPKEM_CUDA_DEVICE, content.size(), &device), WARPKEM_OK)
        << warpkem_last_error();
    EXPECT_EQ(warpkem_cuda_synchronize(engine.get(), nullptr), WARPKEM_OK);
  }).join();
  if (driver() != nullptr) {
    driver()->device_begin = reinterpret_cast<std::uintptr_t>(device);
    driver()->device_end = driver()->device_begin + content.size();
    driver()->device_of_memory = 1;
  }
  EXPECT_EQ(warpkem_cuda_copy(engine.get(), device, content.data(), content.size()), WARPKEM_OK);
  warpkem_cuda_free(engine.get(), WARPKEM_CUDA_DEVICE, content.size(), device);
  EXPECT_EQ(calls_on_the_other(), 0) << context_callers(0);
  EXPECT_EQ(kept_bytes(engine.get()), 0u);
}

// The rest is for where there is a driver.
class CudaDriver : public CudaContexts {
 protected:
  void SetUp() override {
    if (driver() == nullptr) GTEST_SKIP() << "no driver to ask";
    CudaContexts::SetUp();
  }
};

TEST_F(CudaDriver, IsAskedForPointersInPlaceOfTheRuntime) {
  const Engine engine = engine_on("all");
  ASSERT_NE(engine.get(), nullptr) << engine.why_not();
  const Inputs x(WARPKEM_ML_KEM_512, 4, 9);
  const long here = context_calls_here(), questions = driver()->questions;
  for (std::size_t operation = 0; operation < num_operations; ++operation) {
    EXPECT_TRUE(ask(engine.get(), x, operation).agrees(expected_answer(x, operation), false))
        << operation_names[operation];
  }
  EXPECT_EQ(context_calls_here(), here) << "a host call makes a context on the caller's thread";
  EXPECT_GT(driver()->questions, questions);

  const auto check_ek = [&] {
    return warpkem_check_ek(engine.get(), x.algorithm, 1, {x.good_ek.data(), x.ek_bytes, 0}, nullptr, nullptr);
  };
  const auto begin = reinterpret_cast<std::uintptr_t>(x.good_ek.data());
  driver()->managed_begin = begin, driver()->managed_end = begin + x.ek_bytes;
  EXPECT_EQ(check_ek(), WARPKEM_OK) << "host code may follow managed memory";
  driver()->managed_end = 0;
  driver()->device_begin = begin, driver()->device_end = begin + x.ek_bytes;
  EXPECT_EQ(check_ek(), WARPKEM_INVALID_ARGUMENT);
  driver()->device_end = 0;
}

// What the application has there anyway may be used.
TEST_F(CudaDriver, TellsWhichContextsThereAre) {
  const Engine engine = engine_on("1");
  ASSERT_NE(engine.get(), nullptr) << engine.why_not();
  void* memory = nullptr;
  EXPECT_EQ(warpkem_cuda_alloc(engine.get(), WARPKEM_CUDA_DEVICE, 100, &memory), WARPKEM_UNSUPPORTED);
  driver()->contexts = 1;
  ASSERT_EQ(warpkem_cuda_alloc(engine.get(), WARPKEM_CUDA_DEVICE, 100, &memory), WARPKEM_OK) << warpkem_last_error();
  EXPECT_EQ(warpkem_cuda_synchronize(engine.get(), nullptr), WARPKEM_OK);
  driver()->device_begin = reinterpret_cast<std::uintptr_t>(memory);
  driver()->device_end = driver()->device_begin + 100;
  driver()->device_of_memory = 0;
  warpkem_cuda_free(engine.get(), WARPKEM_CUDA_DEVICE, 100, memory);
  EXPECT_EQ(kept_bytes(engine.get()), 0u);
  driver()->device_end = 0;
}

}  // namespace
}  // namespace warpkem::test
