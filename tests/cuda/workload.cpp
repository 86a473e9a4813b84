#include "tests/cuda/workload.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <tuple>

namespace warpkem::test {

Bytes pseudo_random(std::size_t bytes, std::uint64_t seed) {
  Bytes out(bytes);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (std::uint8_t& byte : out) {  // xorshift64*
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    byte = static_cast<std::uint8_t>(state * 0x2545f4914f6cdd1du >> 56);
  }
  return out;
}

Engine Engine::strict(const char* backend, warpkem_options options) {
  options.backend = backend;
  options.flags |= WARPKEM_NO_FAIL_OVER;
  return Engine(options);
}

Engine::Engine(const warpkem_options& options) {
  if (warpkem_engine_new(&options, &engine_) != WARPKEM_OK) why_not_ = warpkem_last_error();
}

namespace {

warpkem_engine* reference() {
  static Engine engine = Engine::strict("portable");
  if (engine.get() == nullptr) throw std::runtime_error(engine.why_not());
  return engine.get();
}

void must(warpkem_status status) {
  if (status != WARPKEM_OK) throw std::runtime_error(warpkem_last_error());
}

warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }

}  // namespace

Inputs::Inputs(warpkem_algorithm a, std::size_t n, std::uint64_t s)
    : algorithm(a),
      seed(s),
      count(n),
      num_keys(std::min<std::size_t>(n, 7)),
      ek_bytes(warpkem_size(a, WARPKEM_SIZE_EK)),
      dk_bytes(warpkem_size(a, WARPKEM_SIZE_DK)),
      c_bytes(warpkem_size(a, WARPKEM_SIZE_C)),
      seeds(pseudo_random(64 * n, seed)),
      m(pseudo_random(32 * n, seed + 1)),
      ek(ek_bytes * n),
      dk(dk_bytes * n),
      dk_seed(seeds),
      c(c_bytes * n),
      index(n) {
  Bytes K(32 * n);
  must(warpkem_keygen_derand(reference(), a, WARPKEM_DK_EXPANDED, n, in(seeds), out(ek), out(dk), nullptr, nullptr));
  must(warpkem_encaps_derand(reference(), a, n, in(ek), in(m), out(c), out(K), nullptr, nullptr));
  good_ek = ek;
  good_dk = dk;
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 5 == 2 || i + 1 == n) {
      ek[i * ek_bytes + 1] |= 0x0f, ek[i * ek_bytes] = 0xff;  // the first coefficient is 4095
      dk[(i + 1) * dk_bytes - 64] ^= 1;                       // a bit of H(ek)
    }
    if (i % 3 == 1) c[i * c_bytes + i % c_bytes] ^= 0x10;
    index[i] = static_cast<std::uint32_t>(i % 11 == 10 ? num_keys + i : (i * 5) % num_keys);
  }
}

bool Answer::agrees(const Answer& expected, bool error_allowed) const {
  if (status == expected.status) {
    return failed == expected.failed && statuses == expected.statuses && first == expected.first &&
           second == expected.second;
  }
  const auto zero = [](const Bytes& bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
  };
  const bool error = status == WARPKEM_BACKEND_FAILED || status == WARPKEM_OUT_OF_MEMORY;
  return error_allowed && error && !text.empty() && zero(first) && zero(second);
}

namespace {

// One array of a call, laid out as asked.
class Placed {
 public:
  Placed(const Bytes& content, std::size_t record, Memory memory) : record_(record), count_(content.size() / record) {
    if (content.empty()) return;
    const bool packed = memory == Memory::pageable || memory == Memory::registered;
    stride_ = packed ? record : record + 13;
    offset_ = packed ? 0 : 3;
    backwards_ = memory == Memory::tables;
    storage_.assign(offset_ + stride_ * count_, gap);
    for (std::size_t i = 0; i < count_; ++i) std::memcpy(at(i), content.data() + i * record, record);
    registered_ = memory == Memory::registered &&
                  cudaHostRegister(storage_.data(), storage_.size(), cudaHostRegisterDefault) == cudaSuccess;
    if (memory != Memory::tables) return;
    for (std::size_t i = 0; i < count_; ++i) table_.push_back(at(i));
  }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;
  ~Placed() {
    if (registered_) cudaHostUnregister(storage_.data());
  }

  warpkem_source source() const {
    if (!table_.empty()) return {nullptr, 0, 0, table_.data()};
    return {count_ ? storage_.data() + offset_ : nullptr, count_ ? storage_.size() - offset_ : 0, count_ ? stride_ : 0,
            nullptr};
  }
  warpkem_target target() {
    if (!table_.empty()) return {nullptr, 0, 0, table_.data()};
    return {count_ ? storage_.data() + offset_ : nullptr, count_ ? storage_.size() - offset_ : 0, count_ ? stride_ : 0,
            nullptr};
  }

  // The records; throws if a byte between them was written.
  Bytes packed() {
    Bytes bytes(record_ * count_);
    for (std::size_t i = 0; i < count_; ++i) {
      std::memcpy(bytes.data() + i * record_, at(i), record_);
      std::memset(at(i), gap, record_);
    }
    if (!std::ranges::all_of(storage_, [](std::uint8_t b) { return b == gap; }))
      throw std::runtime_error("a gap was written");
    return bytes;
  }

 private:
  static constexpr std::uint8_t gap = 0xa5;
  // A table's records are not in the order that memory has them in.
  std::uint8_t* at(std::size_t i) { return storage_.data() + offset_ + (backwards_ ? count_ - 1 - i : i) * stride_; }

  std::size_t record_, count_, stride_ = 0, offset_ = 0;
  Bytes storage_;
  std::vector<std::uint8_t*> table_;
  bool registered_ = false;
  bool backwards_ = false;
};

bool has(const std::string& name, const char* word) { return name.find(word) != std::string::npos; }

}  // namespace

Answer ask(warpkem_engine* engine, const Inputs& x, std::size_t operation, Memory memory) {
  const std::string name = operation_names[operation];
  const bool keygen = has(name, "keygen"), encaps = has(name, "encaps"), decaps = has(name, "decaps");
  const bool prepared = has(name, "prepared"), seed_dk = has(name, "seed");
  const std::uint32_t dk_format = seed_dk ? WARPKEM_DK_SEED : WARPKEM_DK_EXPANDED;
  const Bytes& dk = seed_dk ? x.dk_seed : x.dk;
  const std::size_t dk_record = seed_dk ? 64 : x.dk_bytes;

  Answer answer;
  answer.statuses.assign(x.count, 0xee);
  const Bytes none;
  const auto fresh = [&](bool wanted, std::size_t record) { return Bytes(wanted ? record * x.count : 0, 0xee); };
  Placed seeds(keygen ? x.seeds : none, 64, memory), m(encaps ? x.m : none, 32, memory),
      c(decaps ? x.c : none, x.c_bytes, memory),
      ek((encaps && !prepared) || name == "check_ek" ? x.ek : none, x.ek_bytes, memory),
      dk_in((decaps && !prepared) || name == "check_dk" ? dk : none, dk_record, memory),
      ek_out(fresh(keygen, x.ek_bytes), x.ek_bytes, memory), dk_out(fresh(keygen, dk_record), dk_record, memory),
      c_out(fresh(encaps, x.c_bytes), x.c_bytes, memory), K_out(fresh(encaps || decaps, 32), 32, memory);

  warpkem_keys* keys = nullptr;
  if (prepared) {
    const Bytes& encoded = decaps ? dk : x.ek;
    const warpkem_in records{encoded.data(), encoded.size(), 0};
    const warpkem_status status =
        decaps ? warpkem_prepare_dk(engine, x.algorithm, dk_format, x.num_keys, records, nullptr, nullptr, &keys)
               : warpkem_prepare_ek(engine, x.algorithm, x.num_keys, records, nullptr, nullptr, &keys);
    if (keys == nullptr) {
      answer.status = status;
      answer.text = warpkem_last_error();
      return answer;
    }
  }

  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = keygen               ? WARPKEM_OP_KEYGEN
                    : encaps             ? WARPKEM_OP_ENCAPS
                    : decaps             ? WARPKEM_OP_DECAPS
                    : name == "check_ek" ? WARPKEM_OP_CHECK_EK
                                         : WARPKEM_OP_CHECK_DK;
  batch.algorithm = x.algorithm;
  batch.dk_format = keygen || (decaps && !prepared) ? dk_format : 0;
  batch.flags = keygen || encaps ? WARPKEM_DERAND : 0;
  batch.count = x.count;
  batch.seeds = seeds.source(), batch.m = m.source(), batch.ek = ek.source(), batch.dk = dk_in.source();
  batch.c = c.source();
  batch.ek_out = ek_out.target(), batch.dk_out = dk_out.target(), batch.c_out = c_out.target();
  batch.K_out = K_out.target();
  batch.keys = keys;
  batch.index = prepared && !has(name, "key 0") ? x.index.data() : nullptr;
  batch.statuses = answer.statuses.data();
  batch.failed = &answer.failed;
  answer.status = warpkem_run(engine, &batch);
  if (answer.status != WARPKEM_OK) answer.text = warpkem_last_error();
  warpkem_keys_release(keys);
  answer.first = keygen ? ek_out.packed() : encaps ? c_out.packed() : decaps ? K_out.packed() : Bytes();
  answer.second = keygen ? dk_out.packed() : encaps ? K_out.packed() : Bytes();
  return answer;
}

const Answer& expected_answer(const Inputs& inputs, std::size_t operation) {
  static std::mutex mutex;
  static std::map<std::tuple<warpkem_algorithm, std::size_t, std::uint64_t, std::size_t>, Answer> answers;
  const std::scoped_lock lock(mutex);
  Answer& answer = answers[{inputs.algorithm, inputs.count, inputs.seed, operation}];
  if (answer.statuses.empty()) answer = ask(reference(), inputs, operation);
  return answer;
}

}  // namespace warpkem::test
