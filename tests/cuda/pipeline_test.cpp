// The CUDA backend behind the public API: every operation and parameter set against portable, whatever the chunks,
// lanes, devices and the memory that the arrays are in.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/cuda/workload.hpp"

namespace warpkem::test {
namespace {

constexpr warpkem_algorithm algorithms[] = {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024};

warpkem_options shape(std::size_t chunk, std::uint32_t streams) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.cuda_chunk = chunk;
  options.cuda_streams = streams;
  return options;
}

// Skips where there is no device; what it says is the reason.
#define ENGINE_OR_SKIP(name, ...)                          \
  const Engine name = Engine::strict("cuda", __VA_ARGS__); \
  if (name.get() == nullptr) GTEST_SKIP() << name.why_not()

// For engines that are made in its lifetime.
struct WithoutGraphs {
  WithoutGraphs() { setenv("WARPKEM_CUDA_GRAPHS", "0", 1); }
  ~WithoutGraphs() { unsetenv("WARPKEM_CUDA_GRAPHS"); }
};

void expect_all_right(warpkem_engine* engine, const Inputs& inputs, Memory memory = Memory::pageable) {
  for (std::size_t operation = 0; operation < num_operations; ++operation) {
    const Answer answer = ask(engine, inputs, operation, memory);
    EXPECT_TRUE(answer.agrees(expected_answer(inputs, operation), false))
        << operation_names[operation] << " of " << warpkem_algorithm_name(inputs.algorithm) << ", " << inputs.count
        << " items: " << warpkem_status_name(answer.status) << " " << answer.text;
  }
}

TEST(CudaPipeline, EveryOperationAndSetAgreesWithPortable) {
  ENGINE_OR_SKIP(engine, shape(0, 0));
  for (const warpkem_algorithm algorithm : algorithms) {
    for (const std::size_t count : {1, 2, 3, 17, 40}) expect_all_right(engine.get(), Inputs(algorithm, count, count));
  }
}

TEST(CudaPipeline, ChunksOfAnySizeOnAnyNumberOfLanesGiveTheSameBytes) {
  for (const auto& [chunk, streams] : {std::pair<std::size_t, std::uint32_t>{1, 1}, {1, 8}, {3, 2}, {5, 16}, {64, 3}}) {
    ENGINE_OR_SKIP(engine, shape(chunk, streams));
    expect_all_right(engine.get(), Inputs(WARPKEM_ML_KEM_768, 43, 7));
  }
}

// Registered memory is used in place only where the chunk is not replayed as a graph.
TEST(CudaPipeline, RegisteredStridedAndScatteredMemoryGiveTheSameBytes) {
  const WithoutGraphs without_graphs;
  ENGINE_OR_SKIP(engine, shape(7, 3));
  for (const Memory memory : {Memory::registered, Memory::strided, Memory::tables}) {
    expect_all_right(engine.get(), Inputs(WARPKEM_ML_KEM_1024, 20, 3), memory);
  }
}

// A registration that covers an array's ends and not its middle cannot be copied from in place.
TEST(CudaPipeline, MemoryThatIsRegisteredInPiecesIsStaged) {
  const WithoutGraphs without_graphs;
  ENGINE_OR_SKIP(engine, shape(0, 0));
  constexpr std::size_t page = 4096, count = 200;
  const std::size_t ek_bytes = warpkem_size(WARPKEM_ML_KEM_768, WARPKEM_SIZE_EK);
  const Inputs inputs(WARPKEM_ML_KEM_768, count, 5);
  std::uint8_t* const ek = static_cast<std::uint8_t*>(aligned_alloc(page, (count * ek_bytes + page - 1) / page * page));
  std::memcpy(ek, inputs.good_ek.data(), count * ek_bytes);
  std::uint8_t* const last_page = ek + (count * ek_bytes - 1) / page * page;
  ASSERT_EQ(cudaHostRegister(ek, page, cudaHostRegisterDefault), cudaSuccess);
  ASSERT_EQ(cudaHostRegister(last_page, page, cudaHostRegisterDefault), cudaSuccess);
  EXPECT_EQ(warpkem_check_ek(engine.get(), WARPKEM_ML_KEM_768, count, {ek, count * ek_bytes, 0}, nullptr, nullptr),
            WARPKEM_OK)
      << warpkem_last_error();
  cudaHostUnregister(ek);
  cudaHostUnregister(last_page);
  free(ek);
}

TEST(CudaPipeline, ManyCallersAndEnginesAtOnce) {
  ENGINE_OR_SKIP(one, shape(8, 2));
  ENGINE_OR_SKIP(two, shape(16, 2));
  const Inputs inputs(WARPKEM_ML_KEM_512, 30, 99);
  for (std::size_t operation = 0; operation < num_operations; ++operation) expected_answer(inputs, operation);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&, caller] { expect_all_right((caller % 2 ? one : two).get(), inputs); });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace warpkem::test
