#include "tools/warpkem/bench_case.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <latch>

#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

constexpr std::size_t cold_bytes = std::size_t{8} << 20;  // of encoded inputs that calls cycle through: more than L2
constexpr std::size_t least_keys = 64;

constexpr const char* op_names[] = {"keygen", "encaps", "decaps"};
constexpr const char* memory_names[] = {"pageable", "pinned", "device"};

Keys prepare(const Engine& engine, Op op, warpkem_algorithm algorithm, std::uint32_t dk_format, std::size_t count,
             warpkem_in records) {
  warpkem_keys* keys = nullptr;
  check(op == Op::encaps
            ? warpkem_prepare_ek(engine.get(), algorithm, count, records, nullptr, nullptr, &keys)
            : warpkem_prepare_dk(engine.get(), algorithm, dk_format, count, records, nullptr, nullptr, &keys));
  return Keys(keys);
}

}  // namespace

const char* name_of(Op op) { return op_names[static_cast<std::size_t>(op)]; }
const char* name_of(Memory memory) { return memory_names[static_cast<std::size_t>(memory)]; }

std::string Case::name() const {
  return fmt::format("{}/{}/{}/batch:{}/threads:{}{}{}{}", name_of(op), warpkem_algorithm_name(algorithm), backend,
                     batch, threads,
                     dk_format == WARPKEM_DK_EXPANDED ? "" : fmt::format("/dk:{}", name_of_dk_format(dk_format)),
                     prepared_keys > 0 ? "/prepared" : "",
                     memory == Memory::pageable ? "" : fmt::format("/memory:{}", name_of(memory)));
}

std::size_t Case::bytes_in() const {
  const auto size = [this](std::uint32_t what) { return warpkem_size(algorithm, what); };
  if (op == Op::keygen) return seed_bytes(algorithm, dk_format);
  const std::size_t key = prepared_keys > 1    ? sizeof(std::uint32_t)
                          : prepared_keys == 1 ? 0
                          : op == Op::encaps   ? size(WARPKEM_SIZE_EK)
                                               : dk_bytes(algorithm, dk_format);
  return key + size(op == Op::encaps ? WARPKEM_SIZE_M : WARPKEM_SIZE_C);
}

std::size_t Case::bytes_out() const {
  const auto size = [this](std::uint32_t what) { return warpkem_size(algorithm, what); };
  if (op == Op::keygen) return size(WARPKEM_SIZE_EK) + dk_bytes(algorithm, dk_format);
  return size(WARPKEM_SIZE_K) + (op == Op::encaps ? size(WARPKEM_SIZE_C) : 0);
}

void Column::randomise() {
  for (std::size_t done = 0; done < memory.size();) {
    const ssize_t got = getrandom(memory.data() + done, std::min<std::size_t>(memory.size() - done, 1 << 20), 0);
    if (got < 0) throw Error(fmt::format("getrandom: {}", std::strerror(errno)));
    done += static_cast<std::size_t>(got);
  }
}

Inputs make_inputs(const Engine& engine, const Case& what, std::size_t least_items) {
  const auto size = [&](std::uint32_t of) { return warpkem_size(what.algorithm, of); };
  Inputs inputs;
  // A curve takes so long that it does not matter where its inputs are.
  const std::size_t wanted_bytes = is_hybrid(what.algorithm) ? cold_bytes / 32 : cold_bytes;
  inputs.items = std::max({least_items, what.prepared_keys, least_keys,
                           wanted_bytes / (what.op == Op::decaps ? size(WARPKEM_SIZE_C) : size(WARPKEM_SIZE_EK))});
  const std::size_t n = inputs.items;
  if (what.op == Op::keygen) {
    inputs.columns.emplace_back(n, seed_bytes(what.algorithm, what.dk_format)).randomise();
    return inputs;
  }
  const std::size_t keys = what.prepared_keys > 0 ? what.prepared_keys : n;
  for (std::size_t i = 0; i < n && what.prepared_keys > 1; ++i)
    inputs.key_of.push_back(static_cast<std::uint32_t>(i % keys));
  // An encapsulation needs no dk, so its keys come with the short form.
  const std::uint32_t dk_format = what.op == Op::encaps ? WARPKEM_DK_SEED : what.dk_format;
  Column ek(keys, size(WARPKEM_SIZE_EK));
  Column dk(keys, dk_bytes(what.algorithm, dk_format));
  check(warpkem_keygen(engine.get(), what.algorithm, dk_format, keys, ek.out(keys), dk.out(keys), nullptr, nullptr));
  if (what.op == Op::encaps) {
    inputs.columns.push_back(std::move(ek));
    inputs.columns.emplace_back(n, size(WARPKEM_SIZE_M)).randomise();
    return inputs;
  }
  Column c(n, size(WARPKEM_SIZE_C)), K(n, size(WARPKEM_SIZE_K));
  if (what.prepared_keys > 0) {
    const Keys set = prepare(engine, Op::encaps, what.algorithm, 0, keys, ek.in(0, keys));
    check(warpkem_encaps_prepared(engine.get(), set.get(), inputs.key_of.empty() ? nullptr : inputs.key_of.data(), n,
                                  c.out(n), K.out(n), nullptr, nullptr));
  } else {
    check(warpkem_encaps(engine.get(), what.algorithm, n, ek.in(0, n), c.out(n), K.out(n), nullptr, nullptr));
  }
  inputs.columns.push_back(std::move(dk));
  inputs.columns.push_back(std::move(c));
  inputs.columns.push_back(std::move(K));
  return inputs;
}

PlacedMemory::PlacedMemory(warpkem_engine* engine, Memory memory, std::size_t bytes, const void* content)
    : engine_(engine), kind_(memory == Memory::pinned ? WARPKEM_CUDA_PINNED : WARPKEM_CUDA_DEVICE), bytes_(bytes) {
  check(warpkem_cuda_alloc(engine_, kind_, bytes_, &data_));
  if (content == nullptr) return;
  if (const warpkem_status status = warpkem_cuda_copy(engine_, data_, content, bytes_); status != WARPKEM_OK) {
    warpkem_cuda_free(engine_, kind_, bytes_, data_);
    check(status);
  }
}

TimedCase::TimedCase(const Case& what, const Engine& engine, const Inputs& inputs)
    : what_(what), engine_(engine.get()), inputs_(inputs) {
  const bool placed = what.memory != Memory::pageable;
  for (const Column& column : inputs.columns)
    in_.push_back(placed ? place(column.memory.size(), column.memory.data()).data() : column.memory.data());
  const auto output = [&](std::size_t record) {
    const std::size_t bytes = what.batch * record;
    std::uint8_t* const data =
        placed ? place(bytes).data() : own_outputs_.emplace_back(what.batch, record).memory.data();
    out_.push_back({data, bytes, 0, nullptr});
  };
  if (what.op == Op::keygen) {
    output(warpkem_size(what.algorithm, WARPKEM_SIZE_EK));
    output(dk_bytes(what.algorithm, what.dk_format));
  } else {
    output(warpkem_size(what.algorithm, WARPKEM_SIZE_K));
    if (what.op == Op::encaps) output(warpkem_size(what.algorithm, WARPKEM_SIZE_C));
  }
  if (what.prepared_keys > 0)
    keys_ = prepare(engine, what.op, what.algorithm, what.dk_format, what.prepared_keys,
                    inputs.columns[0].in(0, what.prepared_keys));
  if (!inputs.key_of.empty()) {
    index_ = inputs.key_of.data();
    if (what.memory == Memory::device)
      index_ = reinterpret_cast<const std::uint32_t*>(place(inputs.items * sizeof *index_, index_).data());
  }
  call();
  finish();
  verify();
}

PlacedMemory& TimedCase::place(std::size_t bytes, const void* content) {
  return placed_.emplace_back(engine_, what_.memory, bytes, content);
}

void TimedCase::require(warpkem_status status) const {
  if (status != WARPKEM_OK)
    throw Error(fmt::format("{}: {}: {}", what_.name(), warpkem_status_name(status), warpkem_last_error()));
}

void TimedCase::call() {
  const std::size_t n = what_.batch;
  if (next_ + n > inputs_.items) next_ = 0;
  const auto in = [&](std::size_t column) {
    const std::size_t record = inputs_.columns[column].record;
    return warpkem_source{in_[column] + next_ * record, n * record, 0, nullptr};
  };
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.algorithm = what_.algorithm;
  batch.count = n;
  if (what_.op == Op::keygen) {
    batch.operation = WARPKEM_OP_KEYGEN, batch.flags = WARPKEM_DERAND, batch.dk_format = what_.dk_format;
    batch.seeds = in(0), batch.ek_out = out_[0], batch.dk_out = out_[1];
  } else if (what_.op == Op::encaps) {
    batch.operation = WARPKEM_OP_ENCAPS, batch.flags = WARPKEM_DERAND;
    if (!keys_) batch.ek = in(0);
    batch.m = in(1), batch.K_out = out_[0], batch.c_out = out_[1];
  } else {
    batch.operation = WARPKEM_OP_DECAPS;
    if (!keys_) batch.dk = in(0), batch.dk_format = what_.dk_format;
    batch.c = in(1), batch.K_out = out_[0];
  }
  batch.keys = keys_.get();
  if (index_ != nullptr) batch.index = index_ + next_;
  if (what_.memory != Memory::device) {
    require(warpkem_run(engine_, &batch));
  } else {
    if (workspace_ == nullptr) {
      require(warpkem_cuda_workspace_bytes(engine_, &batch, &workspace_bytes_));
      workspace_ = place(std::max<std::size_t>(workspace_bytes_, 1)).data();
    }
    require(warpkem_cuda_run(engine_, &batch, workspace_, workspace_bytes_, nullptr));
  }
  next_ += n;
}

void TimedCase::finish() {
  if (what_.memory == Memory::device) require(warpkem_cuda_synchronize(engine_, nullptr));
}

void TimedCase::verify() {
  if (what_.op != Op::decaps) return;
  const Column& expected = inputs_.columns[2];
  const std::size_t bytes = what_.batch * expected.record;
  Column K(what_.batch, expected.record);
  if (what_.memory == Memory::pageable) {
    std::memcpy(K.memory.data(), out_[0].data, bytes);
  } else {
    require(warpkem_cuda_copy(engine_, K.memory.data(), out_[0].data, bytes));
  }
  if (std::memcmp(K.memory.data(), expected.memory.data(), bytes) != 0)
    throw Error(what_.name() + ": wrong shared secrets");
}

CopyRates measure_copies(const Engine& engine) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t bytes = std::size_t{64} << 20;
  constexpr std::chrono::milliseconds duration(250);
  warpkem_engine* const handle = engine.get();
  const PlacedMemory host_in(handle, Memory::pinned, bytes), device_in(handle, Memory::device, bytes),
      host_out(handle, Memory::pinned, bytes), device_out(handle, Memory::device, bytes);
  const auto rate = [&](const PlacedMemory& to, const PlacedMemory& from, std::latch& start) {
    const warpkem_status warm_up = warpkem_cuda_copy(handle, to.data(), from.data(), bytes);
    start.arrive_and_wait();
    check(warm_up);
    const auto begin = Clock::now();
    for (std::size_t copied = bytes;; copied += bytes) {
      check(warpkem_cuda_copy(handle, to.data(), from.data(), bytes));
      const auto elapsed = Clock::now() - begin;
      if (elapsed >= duration) return static_cast<double>(copied) / std::chrono::duration<double>(elapsed).count();
    }
  };
  CopyRates rates{};
  std::latch first(1), second(1), both(2);
  rates.to_device = rate(device_in, host_in, first);
  rates.to_host = rate(host_out, device_out, second);
  // Each thread copies on a stream of its own, so the directions overlap where the link lets them.
  auto other = with_thread("copies in both directions", [&] {
    return std::async(std::launch::async, [&] { return rate(host_out, device_out, both); });
  });
  rates.both_to_device = rate(device_in, host_in, both);
  rates.both_to_host = other.get();
  return rates;
}

}  // namespace warpkem::tool
