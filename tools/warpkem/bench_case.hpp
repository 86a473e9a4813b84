// One case of the benchmarks: an operation, its inputs, where they are, and the call that is timed. `warpkem bench` and
// bench/operations_bench.cpp time the same cases under the same names: from encoded or prepared keys, with the
// randomness supplied and every check of FIPS 203 in it, cycling through so many inputs that these do not stay in the
// L2 cache.
#pragma once

#include <warpkem/cuda.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {

enum class Op { keygen, encaps, decaps };
inline constexpr Op all_ops[] = {Op::keygen, Op::encaps, Op::decaps};
const char* name_of(Op op);

// Where the arrays of a call are. Those in device memory are enqueued without waiting between the calls.
enum class Memory { pageable, pinned, device };
inline constexpr Memory all_memories[] = {Memory::pageable, Memory::pinned, Memory::device};
const char* name_of(Memory memory);

struct Case {
  Op op;
  warpkem_algorithm algorithm;
  std::string backend;
  std::size_t batch;
  std::uint32_t threads;
  std::uint32_t dk_format = WARPKEM_DK_EXPANDED;  // of keygen, and of decaps from encoded keys
  std::size_t prepared_keys = 0;                  // 0: from encoded keys
  Memory memory = Memory::pageable;

  // encaps/ML-KEM-768/cuda/batch:1024/threads:1, then /dk:seed, /prepared, /memory:pinned, /memory:device
  std::string name() const;
  // What an item brings to a device, and takes from it.
  std::size_t bytes_in() const;
  std::size_t bytes_out() const;
};

// Records in pageable memory.
struct Column {
  Column(std::size_t items, std::size_t record_bytes) : record(record_bytes), memory(items * record_bytes) {}

  warpkem_in in(std::size_t first, std::size_t count) const {
    return {memory.data() + first * record, count * record, 0};
  }
  warpkem_out out(std::size_t count) const { return {memory.data(), count * record, 0}; }
  void randomise();

  std::size_t record;
  Buffer memory;
};

// What an operation is given: seeds; ek and m; dk and c with the K that must come out. Of prepared keys there are only
// so many; if there are several, item i has key key_of[i].
struct Inputs {
  std::size_t items = 0;
  std::vector<std::uint32_t> key_of;
  std::vector<Column> columns;
};
// Of the case's operation, algorithm and keys, for batches up to `least_items`.
Inputs make_inputs(const Engine& engine, const Case& what, std::size_t least_items);

// Memory of a GPU, or page-locked memory.
class PlacedMemory {
 public:
  PlacedMemory(warpkem_engine* engine, Memory memory, std::size_t bytes, const void* content = nullptr);
  PlacedMemory(PlacedMemory&& other) noexcept
      : engine_(other.engine_), kind_(other.kind_), bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  PlacedMemory& operator=(PlacedMemory&&) = delete;
  ~PlacedMemory() { warpkem_cuda_free(engine_, kind_, bytes_, data_); }

  std::uint8_t* data() const noexcept { return static_cast<std::uint8_t*>(data_); }

 private:
  warpkem_engine* engine_;
  std::uint32_t kind_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

struct KeysRelease {
  void operator()(warpkem_keys* keys) const noexcept { warpkem_keys_release(keys); }
};
using Keys = std::unique_ptr<warpkem_keys, KeysRelease>;

// Throws Error where a call fails.
class TimedCase {
 public:
  // Makes one call, and throws if its results are wrong: a wrong answer has no rate. Borrows engine and inputs.
  TimedCase(const Case& what, const Engine& engine, const Inputs& inputs);

  void call();
  // Blocks until all calls are done.
  void finish();

  const Case& what() const noexcept { return what_; }
  std::size_t num_keys() const noexcept { return what_.prepared_keys > 0 ? what_.prepared_keys : inputs_.items; }

 private:
  void verify();
  void require(warpkem_status status) const;
  PlacedMemory& place(std::size_t bytes, const void* content = nullptr);

  Case what_;
  warpkem_engine* engine_;
  const Inputs& inputs_;
  std::vector<Column> own_outputs_;
  std::vector<PlacedMemory> placed_;
  std::vector<const std::uint8_t*> in_;  // one for each column of the inputs
  std::vector<warpkem_target> out_;
  const std::uint32_t* index_ = nullptr;
  std::uint8_t* workspace_ = nullptr;
  std::size_t workspace_bytes_ = 0;
  Keys keys_;
  std::size_t next_ = 0;
};

// Bytes per second between page-locked memory and the current GPU, in one direction alone and in both at once: what
// bounds every rate of batches in host memory.
struct CopyRates {
  double to_device, to_host;
  double both_to_device, both_to_host;
};
CopyRates measure_copies(const Engine& engine);

}  // namespace warpkem::tool
