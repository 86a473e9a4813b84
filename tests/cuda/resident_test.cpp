// Batches in device memory, on the caller's stream and in the caller's graphs.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <warpkem/cuda.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/cuda/workload.hpp"

namespace warpkem::test {
namespace {

void must(cudaError_t code) { ASSERT_EQ(code, cudaSuccess) << cudaGetErrorString(code); }

// The legacy stream, which cudaMemset and cudaMemcpy use, may still be at work when they return, and a non-blocking
// stream does not wait for it.
void await_legacy_stream() { must(cudaStreamSynchronize(cudaStreamLegacy)); }

// Device memory with a copy of host bytes in it, `offset` bytes behind an aligned address.
class OnDevice {
 public:
  explicit OnDevice(const Bytes& content, std::size_t offset = 0) : offset_(offset), bytes_(content.size()) {
    must(cudaMalloc(&base_, offset + bytes_ + 1));
    must(cudaMemset(base_, 0xa5, offset + bytes_ + 1));
    set(content);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(base_); }

  std::uint8_t* data() const { return static_cast<std::uint8_t*>(base_) + offset_; }
  std::size_t size() const { return bytes_; }
  void set(const Bytes& content) {
    must(cudaMemcpy(data(), content.data(), bytes_, cudaMemcpyHostToDevice));
    await_legacy_stream();
  }
  Bytes get() const {
    Bytes bytes(bytes_);
    must(cudaMemcpy(bytes.data(), data(), bytes_, cudaMemcpyDeviceToHost));
    return bytes;
  }

 private:
  void* base_ = nullptr;
  std::size_t offset_, bytes_;
};

template <class T>
OnDevice device_table(const OnDevice& records, std::size_t record, std::size_t count) {
  std::vector<std::uint8_t*> table;
  for (std::size_t i = 0; i < count; ++i) table.push_back(records.data() + (count - 1 - i) * record);
  Bytes bytes(count * sizeof(T));
  std::memcpy(bytes.data(), table.data(), bytes.size());
  return OnDevice(bytes);
}

class CudaResident : public testing::Test {
 protected:
  CudaResident() : engine_(Engine::strict("cuda")) {
    if (engine_.get() != nullptr) must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~CudaResident() override {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    cudaFree(workspace_);
  }
  void SetUp() override {
    if (engine_.get() == nullptr) GTEST_SKIP() << engine_.why_not();
  }

  warpkem_batch batch(std::uint32_t operation, const Inputs& x, std::uint32_t flags = 0) const {
    warpkem_batch b{};
    b.struct_size = sizeof b;
    b.operation = operation;
    b.algorithm = x.algorithm;
    b.count = x.count;
    b.flags = flags;
    return b;
  }

  static warpkem_source source(const OnDevice& array) { return {array.data(), array.size(), 0, nullptr}; }
  static warpkem_target target(const OnDevice& array) { return {array.data(), array.size(), 0, nullptr}; }

  warpkem_status enqueue(const warpkem_batch& b) {
    std::size_t bytes = 0;
    const warpkem_status status = warpkem_cuda_workspace_bytes(engine_.get(), &b, &bytes);
    if (status != WARPKEM_OK) return status;
    if (bytes > workspace_bytes_) {
      cudaFree(workspace_);
      must(cudaMalloc(&workspace_, bytes));
      must(cudaMemset(workspace_, 0x5a, bytes));  // a device gives back what other arrays have left, secrets too
      await_legacy_stream();
      workspace_bytes_ = bytes;
    }
    return warpkem_cuda_run(engine_.get(), &b, workspace_, bytes, stream_);
  }
  void synchronize() { must(cudaStreamSynchronize(stream_)); }

  // The workspace's bytes must hold no 16 bytes in a row of a secret.
  void expect_no_trace_of(const Bytes& secret) {
    Bytes left(workspace_bytes_);
    must(cudaMemcpy(left.data(), workspace_, left.size(), cudaMemcpyDeviceToHost));
    for (std::size_t i = 0; i + 32 <= secret.size(); i += 32) {
      if (secret[i] == 0 && secret[i + 1] == 0 && secret[i + 2] == 0) continue;  // of a failed item
      const auto found = std::search(left.begin(), left.end(), secret.begin() + static_cast<std::ptrdiff_t>(i),
                                     secret.begin() + static_cast<std::ptrdiff_t>(i + 16));
      ASSERT_EQ(found, left.end()) << "a secret of item " << i / 32 << " is left at byte " << found - left.begin();
    }
  }

  Engine engine_;
  cudaStream_t stream_ = nullptr;
  void* workspace_ = nullptr;
  std::size_t workspace_bytes_ = 0;
};

// Position in operation_names.
std::size_t operation_number(const std::string& name) {
  return static_cast<std::size_t>(std::find(std::begin(operation_names), std::end(operation_names), name) -
                                  std::begin(operation_names));
}

TEST_F(CudaResident, EveryOperationAgreesWithPortableAtAnyAlignment) {
  for (const warpkem_algorithm algorithm : {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024}) {
    for (const std::size_t offset : {0, 1, 6}) {
      const Inputs x(algorithm, 11, algorithm);
      OnDevice seeds(x.seeds, offset), m(x.m, offset), ek(x.ek, offset), dk(x.dk, offset), dk_seed(x.dk_seed, offset);
      OnDevice c(x.c, offset), failed(Bytes(8)), statuses(Bytes(x.count, 0xee), offset);
      const auto check = [&](const char* name, warpkem_batch b, const OnDevice* first, const OnDevice* second) {
        const Answer& expected = expected_answer(x, operation_number(name));
        b.statuses = statuses.data();
        b.failed = reinterpret_cast<std::size_t*>(failed.data());
        ASSERT_EQ(enqueue(b), WARPKEM_OK) << name << ": " << warpkem_last_error();
        synchronize();
        EXPECT_EQ(statuses.get(), expected.statuses) << name;
        std::size_t num_failed;
        std::memcpy(&num_failed, failed.get().data(), sizeof num_failed);
        EXPECT_EQ(num_failed, expected.failed) << name;
        if (first != nullptr) {
          EXPECT_EQ(first->get(), expected.first) << name;
        }
        if (second != nullptr) {
          EXPECT_EQ(second->get(), expected.second) << name;
        }
      };
      OnDevice ek_out(x.ek, offset), dk_out(x.dk, offset), dk_seed_out(x.dk_seed, offset), c_out(x.c, offset);
      OnDevice K_out(Bytes(32 * x.count), offset);

      warpkem_batch b = batch(WARPKEM_OP_KEYGEN, x, WARPKEM_DERAND);
      b.seeds = source(seeds), b.ek_out = target(ek_out), b.dk_out = target(dk_out);
      check("keygen", b, &ek_out, &dk_out);
      expect_no_trace_of(x.seeds);
      for (std::size_t i = 0; i < x.count; ++i) {  // dk_PKE; what follows in a dk is public, but for z
        const auto dk_pke = x.good_dk.begin() + static_cast<std::ptrdiff_t>(i * x.dk_bytes);
        expect_no_trace_of(Bytes(dk_pke, dk_pke + static_cast<std::ptrdiff_t>(x.ek_bytes - 32)));
      }
      b.dk_format = WARPKEM_DK_SEED, b.dk_out = target(dk_seed_out);
      check("keygen seed", b, &ek_out, &dk_seed_out);

      b = batch(WARPKEM_OP_ENCAPS, x, WARPKEM_DERAND);
      b.ek = source(ek), b.m = source(m), b.c_out = target(c_out), b.K_out = target(K_out);
      check("encaps", b, &c_out, &K_out);
      expect_no_trace_of(x.m);
      expect_no_trace_of(K_out.get());

      b = batch(WARPKEM_OP_DECAPS, x);
      b.dk = source(dk), b.c = source(c), b.K_out = target(K_out);
      check("decaps", b, &K_out, nullptr);
      expect_no_trace_of(expected_answer(x, operation_number("decaps")).first);
      b.dk_format = WARPKEM_DK_SEED, b.dk = source(dk_seed);
      check("decaps seed", b, &K_out, nullptr);

      b = batch(WARPKEM_OP_CHECK_EK, x);
      b.ek = source(ek);
      check("check_ek", b, nullptr, nullptr);
      b = batch(WARPKEM_OP_CHECK_DK, x);
      b.dk = source(dk);
      check("check_dk", b, nullptr, nullptr);
    }
  }
}

TEST_F(CudaResident, PreparedKeysAreUsedWhereTheyAre) {
  const Inputs x(WARPKEM_ML_KEM_768, 23, 4);
  warpkem_keys* keys = nullptr;
  ASSERT_EQ(warpkem_prepare_ek(engine_.get(), x.algorithm, x.num_keys, {x.ek.data(), x.ek_bytes * x.num_keys, 0},
                               nullptr, nullptr, &keys),
            WARPKEM_ITEM_FAILED);
  ASSERT_NE(keys, nullptr) << warpkem_last_error();
  Bytes index_bytes(4 * x.count);
  std::memcpy(index_bytes.data(), x.index.data(), index_bytes.size());
  OnDevice m(x.m), index(index_bytes), c_out(x.c), K_out(Bytes(32 * x.count)), statuses(Bytes(x.count)),
      failed(Bytes(8));
  warpkem_batch b = batch(WARPKEM_OP_ENCAPS, x, WARPKEM_DERAND);
  b.keys = keys, b.index = reinterpret_cast<const std::uint32_t*>(index.data());
  b.m = source(m), b.c_out = target(c_out), b.K_out = target(K_out), b.statuses = statuses.data();
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
  synchronize();
  const Answer& expected = expected_answer(x, operation_number("encaps prepared"));
  EXPECT_EQ(statuses.get(), expected.statuses);
  EXPECT_EQ(c_out.get(), expected.first);
  EXPECT_EQ(K_out.get(), expected.second);
  warpkem_keys_release(keys);
}

// Both halves: keys from given seeds, then the engine's randomness, a prepared set, and an element of low order.
TEST_F(CudaResident, HybridsOfX25519AreWholeOnTheDevice) {
  constexpr std::size_t count = 11, bad = 4;
  const Engine portable = Engine::strict("portable");
  for (const warpkem_algorithm algorithm : {WARPKEM_X25519MLKEM768, WARPKEM_MLKEM768_X25519}) {
    const auto size = [algorithm](std::uint32_t what) { return warpkem_size(algorithm, what); };
    const auto in = [](const Bytes& bytes) { return warpkem_in{bytes.data(), bytes.size(), 0}; };
    const auto out = [](Bytes& bytes) { return warpkem_out{bytes.data(), bytes.size(), 0}; };
    const Bytes seeds = pseudo_random(count * size(WARPKEM_SIZE_SEED), algorithm);
    Bytes ek(count * size(WARPKEM_SIZE_EK)), dk(count * size(WARPKEM_SIZE_DK_SEED)),
        expected(count * size(WARPKEM_SIZE_K));
    ASSERT_EQ(warpkem_keygen_derand(portable.get(), algorithm, WARPKEM_DK_SEED, count, in(seeds), out(ek), out(dk),
                                    nullptr, nullptr),
              WARPKEM_OK);
    OnDevice seeds_in(seeds, 1), ek_out(Bytes(ek.size()), 1), dk_out(Bytes(dk.size())), statuses(Bytes(count, 0xee));
    warpkem_batch b{};
    b.struct_size = sizeof b;
    b.operation = WARPKEM_OP_KEYGEN;
    b.algorithm = algorithm;
    b.dk_format = WARPKEM_DK_SEED;
    b.count = count;
    b.flags = WARPKEM_DERAND;
    b.seeds = source(seeds_in), b.ek_out = target(ek_out), b.dk_out = target(dk_out), b.statuses = statuses.data();
    ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
    synchronize();
    EXPECT_EQ(statuses.get(), Bytes(count, 0));
    EXPECT_EQ(ek_out.get(), ek);
    EXPECT_EQ(dk_out.get(), dk);
    expect_no_trace_of(seeds);

    Bytes bad_ek = ek;
    const std::size_t element = (bad + 1) * size(WARPKEM_SIZE_EK) - 32;
    std::fill_n(bad_ek.begin() + static_cast<std::ptrdiff_t>(element), 32, std::uint8_t{0});
    const bool refuses = algorithm == WARPKEM_X25519MLKEM768;  // X-Wing's documents do not ask for it
    Bytes ek_statuses(count, 0);
    if (refuses) ek_statuses[bad] = WARPKEM_INVALID_EK;
    warpkem_keys* keys = nullptr;
    ASSERT_EQ(warpkem_prepare_ek(engine_.get(), algorithm, count, in(bad_ek), nullptr, nullptr, &keys),
              refuses ? WARPKEM_ITEM_FAILED : WARPKEM_OK);
    Bytes indices;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&i);
      indices.insert(indices.end(), bytes, bytes + sizeof i);
    }
    OnDevice bad_ek_in(bad_ek), index(indices), c(Bytes(count * size(WARPKEM_SIZE_C))), K(expected), K_decaps(expected),
        c_prepared(c.get()), K_prepared(expected), m(pseudo_random(count * size(WARPKEM_SIZE_M), 9));
    b = {};
    b.struct_size = sizeof b;
    b.operation = WARPKEM_OP_ENCAPS;
    b.algorithm = algorithm;
    b.count = count;
    b.ek = source(bad_ek_in), b.c_out = target(c), b.K_out = target(K), b.statuses = statuses.data();
    ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
    synchronize();
    EXPECT_EQ(statuses.get(), ek_statuses);
    const Bytes K_sent = K.get(), sent = c.get();

    b.flags = WARPKEM_DERAND;
    b.m = source(m);
    ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
    b.ek = {};
    b.keys = keys, b.index = reinterpret_cast<const std::uint32_t*>(index.data());
    b.c_out = target(c_prepared), b.K_out = target(K_prepared);
    ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
    synchronize();
    EXPECT_EQ(statuses.get(), ek_statuses);
    EXPECT_EQ(c_prepared.get(), c.get());
    EXPECT_EQ(K_prepared.get(), K.get());
    EXPECT_NE(K_prepared.get(), K_sent);
    warpkem_keys_release(keys);

    // The portable backend decapsulates the same ciphertexts, that of the bad key among them.
    OnDevice sent_in(sent);
    b = {};
    b.struct_size = sizeof b;
    b.operation = WARPKEM_OP_DECAPS;
    b.algorithm = algorithm;
    b.dk_format = WARPKEM_DK_SEED;
    b.count = count;
    b.dk = source(dk_out), b.c = source(sent_in), b.K_out = target(K_decaps), b.statuses = statuses.data();
    ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
    synchronize();
    static_cast<void>(warpkem_decaps(portable.get(), algorithm, WARPKEM_DK_SEED, count, in(dk), in(sent), out(expected),
                                     nullptr, nullptr) == WARPKEM_OK);
    EXPECT_EQ(K_decaps.get(), expected);
    const std::size_t K_bytes = size(WARPKEM_SIZE_K);
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::ptrdiff_t>(i * K_bytes);
      EXPECT_EQ(std::equal(expected.begin() + at, expected.begin() + at + static_cast<std::ptrdiff_t>(K_bytes),
                           K_sent.begin() + at),
                refuses || i != bad)  // what was not sent is zero on both sides
          << i;
    }
    expect_no_trace_of(expected);
  }
  warpkem_batch b{};
  b.struct_size = sizeof b;
  b.operation = WARPKEM_OP_CHECK_EK;
  b.algorithm = WARPKEM_MLKEM768_P256;
  b.count = 1;
  OnDevice ek(Bytes(warpkem_size(b.algorithm, WARPKEM_SIZE_EK)));
  b.ek = source(ek);
  EXPECT_EQ(enqueue(b), WARPKEM_UNSUPPORTED);
}

// By an engine that is to refuse it, in host memory and in the device's.
TEST_F(CudaResident, AnElementOfLowOrderIsRefusedOnRequest) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.flags |= WARPKEM_REFUSE_ZERO;
  const Engine strict = Engine::strict("cuda", options);
  const warpkem_algorithm algorithm = WARPKEM_MLKEM768_X25519;
  const Bytes ek(warpkem_size(algorithm, WARPKEM_SIZE_EK));  // zeros are good for ML-KEM
  const OnDevice ek_in(ek), statuses(Bytes(1, 0xee));
  for (const Engine* engine : {static_cast<const Engine*>(&engine_), &strict}) {
    const warpkem_status expected = engine == &strict ? WARPKEM_INVALID_EK : WARPKEM_OK;
    Bytes host_statuses(1, 0xee);
    warpkem_batch b{};
    b.struct_size = sizeof b;
    b.operation = WARPKEM_OP_CHECK_EK;
    b.algorithm = algorithm;
    b.count = 1;
    b.ek = {ek.data(), ek.size(), 0, nullptr};
    b.statuses = host_statuses.data();
    EXPECT_EQ(warpkem_run(engine->get(), &b), expected == WARPKEM_OK ? WARPKEM_OK : WARPKEM_ITEM_FAILED);
    EXPECT_EQ(host_statuses[0], expected);
    b.ek = source(ek_in);
    b.statuses = statuses.data();
    std::size_t bytes = 0;
    ASSERT_EQ(warpkem_cuda_workspace_bytes(engine->get(), &b, &bytes), WARPKEM_OK) << warpkem_last_error();
    const OnDevice workspace{Bytes(bytes)};
    ASSERT_EQ(warpkem_cuda_run(engine->get(), &b, workspace.data(), bytes, stream_), WARPKEM_OK)
        << warpkem_last_error();
    synchronize();
    EXPECT_EQ(statuses.get()[0], expected);
  }
}

TEST_F(CudaResident, TablesOfDevicePointers) {
  const Inputs x(WARPKEM_ML_KEM_512, 9, 8);
  OnDevice m(x.m), ek(x.ek), c_out(x.c), K_out(Bytes(32 * x.count)), statuses(Bytes(x.count));
  const OnDevice ek_table = device_table<std::uint8_t*>(ek, x.ek_bytes, x.count);
  const OnDevice m_table = device_table<std::uint8_t*>(m, 32, x.count);
  const OnDevice c_table = device_table<std::uint8_t*>(c_out, x.c_bytes, x.count);
  const OnDevice K_table = device_table<std::uint8_t*>(K_out, 32, x.count);
  warpkem_batch b = batch(WARPKEM_OP_ENCAPS, x, WARPKEM_DERAND);
  b.ek.table = reinterpret_cast<const std::uint8_t* const*>(ek_table.data());
  b.m.table = reinterpret_cast<const std::uint8_t* const*>(m_table.data());
  b.c_out.table = reinterpret_cast<std::uint8_t* const*>(c_table.data());
  b.K_out.table = reinterpret_cast<std::uint8_t* const*>(K_table.data());
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
  synchronize();
  // Backwards on both sides, so in memory the answer is in order.
  const Answer& expected = expected_answer(x, operation_number("encaps"));
  EXPECT_EQ(c_out.get(), expected.first);
  EXPECT_EQ(K_out.get(), expected.second);
}

TEST_F(CudaResident, TheEnginesRandomnessIsFreshAndItsRoomIsGivenBack) {
  const Inputs x(WARPKEM_ML_KEM_768, 16, 1);
  OnDevice ek(x.ek), dk(x.dk), c(x.c), K(Bytes(32 * x.count)), K_decaps(Bytes(32 * x.count));
  Bytes before;
  for (int round = 0; round < 40; ++round) {  // more rounds than there are pieces of randomness
    warpkem_batch b = batch(WARPKEM_OP_KEYGEN, x);
    b.ek_out = target(ek), b.dk_out = target(dk);
    ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
    synchronize();
    if (round % 8 != 0) continue;
    const Bytes now = ek.get();
    EXPECT_NE(now, before);
    before = now;
  }
  warpkem_batch b = batch(WARPKEM_OP_ENCAPS, x);
  b.ek = source(ek), b.c_out = target(c), b.K_out = target(K);
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
  b = batch(WARPKEM_OP_DECAPS, x);
  b.dk = source(dk), b.c = source(c), b.K_out = target(K_decaps);
  synchronize();
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
  synchronize();
  EXPECT_EQ(K.get(), K_decaps.get());
}

TEST_F(CudaResident, AGraphIsReplayedWithWhatIsThenInDeviceMemory) {
  const Inputs x(WARPKEM_ML_KEM_768, 10, 21), y(WARPKEM_ML_KEM_768, 10, 22);
  OnDevice m(x.m), ek(x.ek), c_out(x.c), K_out(Bytes(32 * x.count)), statuses(Bytes(x.count));
  warpkem_batch b = batch(WARPKEM_OP_ENCAPS, x, WARPKEM_DERAND);
  b.ek = source(ek), b.m = source(m), b.c_out = target(c_out), b.K_out = target(K_out), b.statuses = statuses.data();
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();  // makes the workspace
  synchronize();

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal));
  const warpkem_status captured = warpkem_cuda_run(engine_.get(), &b, workspace_, workspace_bytes_, stream_);
  must(cudaStreamEndCapture(stream_, &graph));
  ASSERT_EQ(captured, WARPKEM_OK) << warpkem_last_error();
  must(cudaGraphInstantiate(&executable, graph, 0));
  for (const Inputs* now : {&x, &y, &x}) {
    m.set(now->m), ek.set(now->ek), K_out.set(Bytes(32 * x.count, 0xee));
    must(cudaGraphLaunch(executable, stream_));
    synchronize();
    const Answer& expected = expected_answer(*now, operation_number("encaps"));
    EXPECT_EQ(c_out.get(), expected.first);
    EXPECT_EQ(K_out.get(), expected.second);
    EXPECT_EQ(statuses.get(), expected.statuses);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(CudaResident, AGraphNeverGetsTheEnginesRandomness) {
  const Inputs x(WARPKEM_ML_KEM_512, 4, 2);
  OnDevice ek(x.ek), dk(x.dk);
  warpkem_batch b = batch(WARPKEM_OP_KEYGEN, x);
  b.ek_out = target(ek), b.dk_out = target(dk);
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
  synchronize();
  must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  EXPECT_EQ(warpkem_cuda_run(engine_.get(), &b, workspace_, workspace_bytes_, stream_), WARPKEM_UNSUPPORTED);
  cudaGraph_t graph = nullptr;
  must(cudaStreamEndCapture(stream_, &graph));  // the capture is as it was
  cudaGraphDestroy(graph);
}

TEST_F(CudaResident, WrongMemoryIsRefusedByName) {
  const Inputs x(WARPKEM_ML_KEM_512, 4, 3);
  OnDevice ek(x.ek), statuses(Bytes(x.count));
  warpkem_batch b = batch(WARPKEM_OP_CHECK_EK, x);
  b.ek = {x.ek.data(), x.ek.size(), 0, nullptr};
  std::size_t bytes = 0;
  EXPECT_EQ(warpkem_cuda_workspace_bytes(engine_.get(), &b, &bytes), WARPKEM_INVALID_ARGUMENT);
  EXPECT_NE(std::string(warpkem_last_error()).find("ek is not memory of the current device"), std::string::npos);
  b.ek = source(ek);
  b.statuses = const_cast<std::uint8_t*>(x.m.data());
  EXPECT_EQ(warpkem_cuda_workspace_bytes(engine_.get(), &b, &bytes), WARPKEM_INVALID_ARGUMENT);
  b.statuses = statuses.data();
  ASSERT_EQ(warpkem_cuda_workspace_bytes(engine_.get(), &b, &bytes), WARPKEM_OK) << warpkem_last_error();
  EXPECT_EQ(warpkem_cuda_run(engine_.get(), &b, nullptr, bytes, stream_), WARPKEM_INVALID_ARGUMENT);
  Bytes on_host(bytes + 1);
  EXPECT_EQ(warpkem_cuda_run(engine_.get(), &b, on_host.data(), bytes, stream_), WARPKEM_INVALID_ARGUMENT);
  EXPECT_NE(std::string(warpkem_last_error()).find("workspace"), std::string::npos);
  std::uint64_t items[WARPKEM_MAX_BACKENDS];
  b.items_by_backend = items;
  EXPECT_EQ(warpkem_cuda_workspace_bytes(engine_.get(), &b, &bytes), WARPKEM_INVALID_ARGUMENT);

  // And the other way round.
  EXPECT_EQ(warpkem_check_ek(engine_.get(), x.algorithm, x.count, {ek.data(), ek.size(), 0}, nullptr, nullptr),
            WARPKEM_INVALID_ARGUMENT);
  EXPECT_NE(std::string(warpkem_last_error()).find("ek is device memory"), std::string::npos);
}

TEST_F(CudaResident, TheFirstHostCallOfAnEngineRefusesDeviceMemory) {
  const Inputs x(WARPKEM_ML_KEM_512, 4, 3);
  OnDevice ek(x.ek), statuses(Bytes(x.count));
  const Engine fresh = Engine::strict("cuda");
  EXPECT_EQ(warpkem_check_ek(fresh.get(), x.algorithm, x.count, {ek.data(), ek.size(), 0}, nullptr, nullptr),
            WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(
      warpkem_check_ek(fresh.get(), x.algorithm, x.count, {x.ek.data(), x.ek.size(), 0}, statuses.data(), nullptr),
      WARPKEM_INVALID_ARGUMENT);
  EXPECT_NE(std::string(warpkem_last_error()).find("statuses is device memory"), std::string::npos);
}

TEST_F(CudaResident, AWorkspaceOneByteTooSmallIsRefused) {
  const Inputs x(WARPKEM_ML_KEM_512, 3, 3);
  OnDevice ek(x.ek), dk(x.dk);
  warpkem_batch b = batch(WARPKEM_OP_KEYGEN, x);
  b.ek_out = target(ek), b.dk_out = target(dk);
  ASSERT_EQ(enqueue(b), WARPKEM_OK) << warpkem_last_error();
  std::size_t bytes = 0;
  ASSERT_EQ(warpkem_cuda_workspace_bytes(engine_.get(), &b, &bytes), WARPKEM_OK);
  warpkem_status status = WARPKEM_OK;  // the query leaves room for any alignment of the workspace
  for (std::size_t less = bytes; status == WARPKEM_OK; --less) {
    ASSERT_GT(less + 1024, bytes);
    status = warpkem_cuda_run(engine_.get(), &b, workspace_, less - 1, stream_);
    synchronize();
  }
  EXPECT_EQ(status, WARPKEM_INVALID_ARGUMENT);
}

TEST_F(CudaResident, MemoryForProgramsWithoutARuntime) {
  const Bytes content = pseudo_random(1000, 1);
  for (const std::uint32_t kind : {WARPKEM_CUDA_DEVICE, WARPKEM_CUDA_PINNED}) {
    void* memory = nullptr;
    ASSERT_EQ(warpkem_cuda_alloc(engine_.get(), kind, content.size(), &memory), WARPKEM_OK) << warpkem_last_error();
    cudaPointerAttributes attributes{};
    must(cudaPointerGetAttributes(&attributes, memory));
    EXPECT_EQ(attributes.type, kind == WARPKEM_CUDA_DEVICE ? cudaMemoryTypeDevice : cudaMemoryTypeHost);
    Bytes back(content.size());
    EXPECT_EQ(warpkem_cuda_copy(engine_.get(), memory, content.data(), content.size()), WARPKEM_OK);
    EXPECT_EQ(warpkem_cuda_copy(engine_.get(), back.data(), memory, content.size()), WARPKEM_OK);
    EXPECT_EQ(back, content);
    EXPECT_EQ(warpkem_cuda_synchronize(engine_.get(), stream_), WARPKEM_OK);
    warpkem_cuda_free(engine_.get(), kind, content.size(), memory);
  }
  void* memory = this;
  EXPECT_EQ(warpkem_cuda_alloc(engine_.get(), 3, 1, &memory), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(memory, nullptr);
  EXPECT_EQ(warpkem_cuda_alloc(engine_.get(), WARPKEM_CUDA_DEVICE, std::size_t{1} << 60, &memory),
            WARPKEM_OUT_OF_MEMORY);
}

TEST_F(CudaResident, ACpuEngineSaysThatItHasNoDevice) {
  const Engine portable = Engine::strict("portable");
  const Inputs x(WARPKEM_ML_KEM_512, 1, 3);
  OnDevice ek(x.ek);
  warpkem_batch b = batch(WARPKEM_OP_CHECK_EK, x);
  b.ek = source(ek);
  std::size_t bytes = 0;
  EXPECT_EQ(warpkem_cuda_workspace_bytes(portable.get(), &b, &bytes), WARPKEM_UNSUPPORTED);
}

TEST_F(CudaResident, CallsLeaveTheCurrentDeviceAlone) {
  int num_devices = 0;
  must(cudaGetDeviceCount(&num_devices));
  if (num_devices < 2) GTEST_SKIP() << "needs two devices";
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.cuda_devices = "1";
  const Engine second = Engine::strict("cuda", options);
  ASSERT_NE(second.get(), nullptr) << second.why_not();
  must(cudaSetDevice(0));
  const Inputs x(WARPKEM_ML_KEM_512, 5, 3);
  EXPECT_TRUE(ask(second.get(), x, operation_number("encaps prepared"))
                  .agrees(expected_answer(x, operation_number("encaps prepared")), false));
  int current = -1;
  must(cudaGetDevice(&current));
  EXPECT_EQ(current, 0);
  OnDevice ek(x.ek);  // on device 0, which this engine does not drive
  warpkem_batch b = batch(WARPKEM_OP_CHECK_EK, x);
  b.ek = source(ek);
  std::size_t bytes = 0;
  EXPECT_EQ(warpkem_cuda_workspace_bytes(second.get(), &b, &bytes), WARPKEM_UNSUPPORTED);
  must(cudaSetDevice(1));
  EXPECT_EQ(warpkem_cuda_workspace_bytes(second.get(), &b, &bytes), WARPKEM_INVALID_ARGUMENT);
  must(cudaSetDevice(0));
}

}  // namespace
}  // namespace warpkem::test
