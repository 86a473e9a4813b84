// The C ABI over the engine: translates, catches, keeps the text of the thread's last failed call. No logic.
#include <string.h>
#include <unistd.h>

#include <array>
#include <bitset>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "host/api/arguments.hpp"
#include "host/api/last_error.hpp"
#include "host/api/options.hpp"
#include "host/api/seam.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/operation.hpp"
#include "host/engine/engine.hpp"
#include "host/serving/prepared_set.hpp"
#include "host/serving/scheduler.hpp"
#include "warpkem/cuda.h"
#include "warpkem/warpkem.h"

namespace warpkem::host {

warpkem_status fail(Status status, const char* text) noexcept {
  keep_last_error(status, text);
  return static_cast<warpkem_status>(status);
}

warpkem_status finish(const CallResult& result, size_t* failed) noexcept {
  if (failed != nullptr) *failed = result.failed;
  if (result.status == Status::ok) return WARPKEM_OK;
  return fail(result.status, result.text.empty() ? "no memory was left to say more" : result.text.c_str());
}

Engine& usable(warpkem_engine* engine) {
  if (engine == nullptr) throw Error(Status::invalid_argument, "engine is NULL");
  if (!engine->engine) throw Error(Status::invalid_argument, "the engine was freed, in a callback");
  if (engine->engine->forked()) throw Error(Status::forked, "the engine was inherited through fork: make a new one");
  return *engine->engine;
}

bool is_in_callback_of(const warpkem_engine& engine) noexcept {
  if (!Scheduler::in_callback()) return false;
  const Scheduler* const scheduler = engine.lazy_scheduler.started();
  return scheduler != nullptr && Scheduler::in_callback_of(scheduler->store().get());
}

void refuse_in_callback(const warpkem_engine& engine, const char* what) {
  if (is_in_callback_of(engine)) {
    throw Error(Status::would_deadlock, std::string(what) + " in a callback of the engine would deadlock");
  }
}

}  // namespace warpkem::host

namespace {

using namespace warpkem::host;

static_assert(WARPKEM_MAX_BACKENDS == Engine::max_backends);

// A call on nothing succeeds whatever its pointers are, the engine's included.
bool is_empty(const warpkem_engine* engine, const warpkem_batch& batch) noexcept {
  if (engine != nullptr || batch.count != 0) return false;
  if (batch.failed != nullptr) *batch.failed = 0;
  return true;
}

warpkem_status run(warpkem_engine* engine, const warpkem_batch& arguments) noexcept {
  return guarded([&] {
    if (is_empty(engine, arguments)) return WARPKEM_OK;
    Engine& e = usable(engine);
    refuse_in_callback(*engine, "a synchronous call");
    const Batch batch = checked_batch(e, arguments, static_cast<Operation>(arguments.operation));
    if (arguments.items_by_backend != nullptr) {
      memset(arguments.items_by_backend, 0, WARPKEM_MAX_BACKENDS * sizeof *arguments.items_by_backend);
    }
    return finish(batch.count != 0 ? e.run(batch, arguments.items_by_backend) : CallResult{}, arguments.failed);
  });
}

warpkem_status prepare(warpkem_engine* engine, const warpkem_batch& arguments, Operation operation,
                       warpkem_keys** keys) noexcept {
  return guarded([&] {
    if (keys != nullptr) *keys = nullptr;
    if (is_empty(engine, arguments)) return WARPKEM_OK;
    Engine& e = usable(engine);
    refuse_in_callback(*engine, "a synchronous call");
    const Batch batch = checked_batch(e, arguments, operation);
    if (keys == nullptr) {
      if (batch.count != 0) throw Error(Status::invalid_argument, "keys is NULL");
      return finish({}, arguments.failed);
    }
    KeySet* set = nullptr;
    const CallResult result = e.prepare(batch, set, &PreparedSet::make);
    *keys = reinterpret_cast<warpkem_keys*>(set);
    return finish(result, arguments.failed);
  });
}

warpkem_batch describe(uint32_t operation, warpkem_algorithm algorithm, size_t count, uint8_t* statuses,
                       size_t* failed) {
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = operation;
  batch.algorithm = algorithm;
  batch.count = count;
  batch.statuses = statuses;
  batch.failed = failed;
  return batch;
}

warpkem_source source(const warpkem_in& in) { return {in.data, in.bytes, in.stride, nullptr}; }
warpkem_target target(const warpkem_out& out) { return {out.data, out.bytes, out.stride, nullptr}; }

// A prepared set names its own algorithm.
warpkem_batch describe_prepared(uint32_t operation, warpkem_keys* keys, const uint32_t* index, size_t count,
                                uint8_t* statuses, size_t* failed) {
  warpkem_batch batch =
      describe(operation, keys != nullptr ? reinterpret_cast<KeySet*>(keys)->algorithm() : 0, count, statuses, failed);
  batch.keys = keys;
  batch.index = keys != nullptr ? index : nullptr;
  return batch;
}

// What warpkem_run() and the device calls are given, as far as this version knows it.
warpkem_batch known_batch(const warpkem_batch* given) {
  if (given == nullptr) throw Error(Status::invalid_argument, "batch is NULL");
  warpkem_batch batch{};
  copy_struct(batch, given, "batch");
  static_cast<void>(public_operation(batch.operation));
  return batch;
}

// The checked arguments of a device-resident call.
struct DeviceArguments {
  DeviceArguments(Engine& engine, const warpkem_batch* given) {
    const warpkem_batch known = known_batch(given);
    if (known.items_by_backend != nullptr) {
      throw Error(Status::invalid_argument, "items_by_backend is not for device-resident batches");
    }
    batch = checked_batch(engine, known, static_cast<Operation>(known.operation), Memory::device);
    failed = known.failed;
    const bool takes_randomness = spec_of(batch.operation).drawn != Array::none;
    draw_randomness = takes_randomness && (known.flags & WARPKEM_DERAND) == 0 && batch.count != 0;
  }

  Batch batch;
  size_t* failed;
  bool draw_randomness;
};

warpkem_status run_prepared(warpkem_engine* engine, const warpkem_batch& batch) noexcept {
  if (batch.keys != nullptr) return run(engine, batch);
  return guarded([&] {
    if (engine != nullptr) usable(engine);
    if (batch.count != 0) throw Error(Status::invalid_argument, engine == nullptr ? "engine is NULL" : "keys is NULL");
    return finish({}, batch.failed);
  });
}

// Those that were freed in a callback of their own. Their handles stay, some sixty bytes each: they may be freed once
// more.
std::atomic<warpkem_engine*> engines_freed_in_callbacks{nullptr};

// Frees an engine when nothing is under way any more: its own threads cannot wait for that.
void free_later(warpkem_engine* engine) noexcept {
  if (engine->goes_later.exchange(true)) return;
  try {
    if (!engine->can_go_later) throw Error(Status::would_deadlock, "not one that warpkem_engine_new() made");
    engine->goes_in = getpid();
    engine->engine->cores()
        .start([engine] {
          engine->lazy_scheduler.started()->await_idle();
          engine->lazy_scheduler.reset();
          engine->engine.reset();
          engine->is_gone.store(true);
          engine->is_gone.notify_all();
        })
        .detach();
  } catch (const std::exception&) {
    engine->goes_later.store(false);
    fail(Status::would_deadlock, "no thread could be started that frees the engine when this callback is over");
    return;
  }
  engine->next = engines_freed_in_callbacks.load();
  while (!engines_freed_in_callbacks.compare_exchange_weak(engine->next, engine)) {
  }
}

// Made when the library is loaded: a static variable of a function has a lock, which a fork could leave locked.
const std::array<char, 128> cpu_features = [] {
  std::array<char, 128> text{};
#if defined(__x86_64__)
  __builtin_cpu_init();
  std::size_t length = 0;
  const auto add = [&](int has, const char* name) {
    if (has == 0) return;
    if (length != 0) text[length++] = ' ';
    for (; *name != '\0'; ++name) text[length++] = *name;
  };
  add(__builtin_cpu_supports("sse4.1"), "sse4.1");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("bmi2"), "bmi2");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512dq"), "avx512dq");
  add(__builtin_cpu_supports("avx512vl"), "avx512vl");
  add(__builtin_cpu_supports("avx512vbmi"), "avx512vbmi");
  add(__builtin_cpu_supports("avx512vbmi2"), "avx512vbmi2");
#endif
  return text;
}();

}  // namespace

extern "C" {

warpkem_status warpkem_engine_new(const warpkem_options* options, warpkem_engine** engine) {
  return guarded([&] {
    if (engine == nullptr) throw Error(Status::invalid_argument, "engine is NULL");
    *engine = nullptr;
    auto made = std::make_unique<warpkem_engine>();
    made->engine = std::make_shared<Engine>(engine_options(options));
    made->can_go_later = true;
    *engine = made.release();
    return WARPKEM_OK;
  });
}

void warpkem_engine_free(warpkem_engine* engine) {
  if (engine == nullptr) return;
  if (engine->goes_later.load()) {
    // Freed once more, as it had to be when that was refused.
    if (!Scheduler::in_callback() && engine->goes_in == getpid()) engine->is_gone.wait(false);
    return;
  }
  if (!engine->engine->forked() && is_in_callback_of(*engine)) return free_later(engine);
  // Prepared sets may keep the engine alive, but not what was submitted to it.
  delete engine;
}

warpkem_status warpkem_keygen(warpkem_engine* engine, warpkem_algorithm algorithm, uint32_t dk_format, size_t count,
                              warpkem_out ek, warpkem_out dk, uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_KEYGEN, algorithm, count, statuses, failed);
  batch.dk_format = dk_format;
  batch.ek_out = target(ek);
  batch.dk_out = target(dk);
  return run(engine, batch);
}

warpkem_status warpkem_keygen_derand(warpkem_engine* engine, warpkem_algorithm algorithm, uint32_t dk_format,
                                     size_t count, warpkem_in seeds, warpkem_out ek, warpkem_out dk, uint8_t* statuses,
                                     size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_KEYGEN, algorithm, count, statuses, failed);
  batch.dk_format = dk_format;
  batch.flags = WARPKEM_DERAND;
  batch.seeds = source(seeds);
  batch.ek_out = target(ek);
  batch.dk_out = target(dk);
  return run(engine, batch);
}

warpkem_status warpkem_encaps(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count, warpkem_in ek,
                              warpkem_out c, warpkem_out K, uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_ENCAPS, algorithm, count, statuses, failed);
  batch.ek = source(ek);
  batch.c_out = target(c);
  batch.K_out = target(K);
  return run(engine, batch);
}

warpkem_status warpkem_encaps_derand(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count, warpkem_in ek,
                                     warpkem_in m, warpkem_out c, warpkem_out K, uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_ENCAPS, algorithm, count, statuses, failed);
  batch.flags = WARPKEM_DERAND;
  batch.ek = source(ek);
  batch.m = source(m);
  batch.c_out = target(c);
  batch.K_out = target(K);
  return run(engine, batch);
}

warpkem_status warpkem_decaps(warpkem_engine* engine, warpkem_algorithm algorithm, uint32_t dk_format, size_t count,
                              warpkem_in dk, warpkem_in c, warpkem_out K, uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_DECAPS, algorithm, count, statuses, failed);
  batch.dk_format = dk_format;
  batch.dk = source(dk);
  batch.c = source(c);
  batch.K_out = target(K);
  return run(engine, batch);
}

warpkem_status warpkem_check_ek(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count, warpkem_in ek,
                                uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_CHECK_EK, algorithm, count, statuses, failed);
  batch.ek = source(ek);
  return run(engine, batch);
}

warpkem_status warpkem_check_dk(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count, warpkem_in dk,
                                uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe(WARPKEM_OP_CHECK_DK, algorithm, count, statuses, failed);
  batch.dk = source(dk);
  return run(engine, batch);
}

warpkem_status warpkem_prepare_ek(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count, warpkem_in ek,
                                  uint8_t* statuses, size_t* failed, warpkem_keys** keys) {
  warpkem_batch batch = describe(0, algorithm, count, statuses, failed);
  batch.ek = source(ek);
  return prepare(engine, batch, Operation::prepare_ek, keys);
}

warpkem_status warpkem_prepare_dk(warpkem_engine* engine, warpkem_algorithm algorithm, uint32_t dk_format, size_t count,
                                  warpkem_in dk, uint8_t* statuses, size_t* failed, warpkem_keys** keys) {
  warpkem_batch batch = describe(0, algorithm, count, statuses, failed);
  batch.dk_format = dk_format;
  batch.dk = source(dk);
  return prepare(engine, batch, Operation::prepare_dk, keys);
}

void warpkem_keys_retain(warpkem_keys* keys) {
  if (keys != nullptr) reinterpret_cast<KeySet*>(keys)->retain();
}

void warpkem_keys_release(warpkem_keys* keys) {
  if (keys != nullptr) reinterpret_cast<KeySet*>(keys)->release();
}

size_t warpkem_keys_count(const warpkem_keys* keys) {
  return keys != nullptr ? reinterpret_cast<const KeySet*>(keys)->count() : 0;
}

size_t warpkem_keys_bytes_per_key(const warpkem_keys* keys) {
  return keys != nullptr ? reinterpret_cast<const KeySet*>(keys)->bytes_per_key() : 0;
}

warpkem_status warpkem_encaps_prepared(warpkem_engine* engine, warpkem_keys* keys, const uint32_t* index, size_t count,
                                       warpkem_out c, warpkem_out K, uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe_prepared(WARPKEM_OP_ENCAPS, keys, index, count, statuses, failed);
  batch.c_out = target(c);
  batch.K_out = target(K);
  return run_prepared(engine, batch);
}

warpkem_status warpkem_encaps_prepared_derand(warpkem_engine* engine, warpkem_keys* keys, const uint32_t* index,
                                              size_t count, warpkem_in m, warpkem_out c, warpkem_out K,
                                              uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe_prepared(WARPKEM_OP_ENCAPS, keys, index, count, statuses, failed);
  batch.flags = WARPKEM_DERAND;
  batch.m = source(m);
  batch.c_out = target(c);
  batch.K_out = target(K);
  return run_prepared(engine, batch);
}

warpkem_status warpkem_decaps_prepared(warpkem_engine* engine, warpkem_keys* keys, const uint32_t* index, size_t count,
                                       warpkem_in c, warpkem_out K, uint8_t* statuses, size_t* failed) {
  warpkem_batch batch = describe_prepared(WARPKEM_OP_DECAPS, keys, index, count, statuses, failed);
  batch.c = source(c);
  batch.K_out = target(K);
  return run_prepared(engine, batch);
}

warpkem_status warpkem_hpke_derive_seeds(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count,
                                         warpkem_in ikm, size_t ikm_bytes, warpkem_out seeds) {
  return guarded([&] {
    Engine& e = usable(engine);
    const Algorithm* const known = find_algorithm(algorithm);
    if (known == nullptr || !Engine::derives_hpke_seeds(algorithm)) {
      throw Error(Status::unsupported, "HPKE has no KEM of algorithm " + std::to_string(algorithm));
    }
    if (!e.allows(algorithm)) {
      throw Error(Status::unsupported, std::string("the engine's policy does not allow ") + known->name);
    }
    if (count == 0) return WARPKEM_OK;
    const Derivation arrays = checked_derivation(ikm, ikm_bytes, seeds, known->seed_record(DkFormat::seed), count);
    e.derive_hpke_seeds(*known, count, arrays.ikm, ikm_bytes, arrays.seeds);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_run(warpkem_engine* engine, const warpkem_batch* given) {
  return guarded([&] { return run(engine, known_batch(given)); });
}

warpkem_status warpkem_cuda_workspace_bytes(warpkem_engine* engine, const warpkem_batch* given, size_t* bytes) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (bytes == nullptr) throw Error(Status::invalid_argument, "bytes is NULL");
    *bytes = 0;
    DeviceArguments arguments(e, given);
    DeviceResident& device = e.device_resident(arguments.batch);
    *bytes = device.workspace_bytes(arguments.batch, arguments.failed, arguments.draw_randomness);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_cuda_run(warpkem_engine* engine, const warpkem_batch* given, void* workspace,
                                size_t workspace_bytes, struct CUstream_st* stream) {
  return guarded([&] {
    Engine& e = usable(engine);
    DeviceArguments arguments(e, given);
    const auto fill = [](void* random, uint8_t* out, size_t count) noexcept {
      try {
        static_cast<Random*>(random)->fill(out, count);
        return true;
      } catch (const std::exception&) {
        return false;
      }
    };
    DeviceResident& device = e.device_resident(arguments.batch);
    device.enqueue(arguments.batch, arguments.failed, arguments.draw_randomness, {fill, &e.random()}, workspace,
                   workspace_bytes, stream);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_cuda_alloc(warpkem_engine* engine, uint32_t kind, size_t bytes, void** memory) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (memory == nullptr) throw Error(Status::invalid_argument, "memory is NULL");
    *memory = nullptr;
    if (kind != WARPKEM_CUDA_DEVICE && kind != WARPKEM_CUDA_PINNED) {
      throw Error(Status::invalid_argument, "kind " + std::to_string(kind) + " of memory is unknown");
    }
    if (bytes == 0) throw Error(Status::invalid_argument, "bytes is 0");
    *memory = e.device_resident().allocate(static_cast<MemoryKind>(kind), bytes);
    return WARPKEM_OK;
  });
}

void warpkem_cuda_free(warpkem_engine* engine, uint32_t kind, size_t bytes, void* memory) {
  if (engine == nullptr || memory == nullptr) return;
  static_cast<void>(guarded([&] {
    usable(engine).device_resident().release(static_cast<MemoryKind>(kind), bytes, memory);
    return WARPKEM_OK;
  }));
}

warpkem_status warpkem_cuda_copy(warpkem_engine* engine, void* to, const void* from, size_t bytes) {
  return guarded([&] {
    DeviceResident& device = usable(engine).device_resident();
    if (bytes == 0) return WARPKEM_OK;
    if (to == nullptr || from == nullptr)
      throw Error(Status::invalid_argument, to == nullptr ? "to is NULL" : "from is NULL");
    device.copy(to, from, bytes);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_cuda_synchronize(warpkem_engine* engine, struct CUstream_st* stream) {
  return guarded([&] {
    usable(engine).device_resident().synchronize(stream);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_engine_backend(warpkem_engine* engine, size_t index, warpkem_backend_info* info) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (info == nullptr) throw Error(Status::invalid_argument, "info is NULL");
    if (index >= e.slots().size()) {
      throw Error(Status::invalid_argument, "index: there are " + std::to_string(e.slots().size()) + " backends");
    }
    clear_out_struct(info, "info");
    const Engine::Slot& slot = e.slots()[index];
    info->name = slot.entry->name;
    info->detail = slot.detail.c_str();
    info->available = slot.backend != nullptr;
    info->preferred = &slot == e.preferred();
    info->items = slot.done.items();
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_selftest(warpkem_engine* engine, const char* backend) {
  return guarded([&] {
    Engine& e = usable(engine);
    refuse_in_callback(*engine, "a self-test");
    e.selftest(backend != nullptr ? backend : "");
    return WARPKEM_OK;
  });
}

size_t warpkem_size(warpkem_algorithm algorithm, uint32_t what) {
  const Algorithm* const a = find_algorithm(algorithm);
  if (a == nullptr) return 0;
  switch (what) {
    case WARPKEM_SIZE_EK:
      return a->ek_bytes;
    case WARPKEM_SIZE_DK:
      return a->dk_record(DkFormat::expanded);
    case WARPKEM_SIZE_DK_SEED:
      return a->dk_record(DkFormat::seed);
    case WARPKEM_SIZE_C:
      return a->c_bytes;
    case WARPKEM_SIZE_K:
      return a->K_bytes;
    case WARPKEM_SIZE_SEED:
      return a->seed_record(DkFormat::seed);
    case WARPKEM_SIZE_DK_COMPOSITE:
      return a->dk_record(DkFormat::composite);
    case WARPKEM_SIZE_SEED_COMPOSITE:
      return a->seed_record(DkFormat::composite);
    case WARPKEM_SIZE_M:
      return a->m_bytes;
    default:
      return 0;
  }
}

warpkem_algorithm warpkem_algorithm_by_name(const char* name) {
  const Algorithm* const a = name != nullptr ? find_algorithm(std::string_view(name)) : nullptr;
  return a != nullptr ? a->id : 0;
}

const char* warpkem_algorithm_name(warpkem_algorithm algorithm) {
  const Algorithm* const a = find_algorithm(algorithm);
  return a != nullptr ? a->name : nullptr;
}

const char* warpkem_algorithm_oid(warpkem_algorithm algorithm) {
  const Algorithm* const a = find_algorithm(algorithm);
  return a != nullptr ? a->oid : nullptr;
}

warpkem_status warpkem_policy_allows(const char* policy, warpkem_algorithm algorithm) {
  return guarded([&] {
    const Algorithm* const known = find_algorithm(algorithm);
    if (known == nullptr) throw Error(Status::unsupported, "unknown algorithm " + std::to_string(algorithm));
    if (policy == nullptr) return WARPKEM_OK;
    std::bitset<max_algorithms> allowed;
    try {
      allowed = parse_policy(policy);
    } catch (const Error& error) {
      throw Error(Status::invalid_argument, error.what());
    }
    if (!allowed.test(algorithm)) {
      throw Error(Status::unsupported, std::string("policy \"") + policy + "\" does not allow " + known->name);
    }
    return WARPKEM_OK;
  });
}

const char* warpkem_status_name(warpkem_status status) {
  static constexpr const char* names[] = {"WARPKEM_OK",
                                          "WARPKEM_INVALID_ARGUMENT",
                                          "WARPKEM_ITEM_FAILED",
                                          "WARPKEM_INVALID_EK",
                                          "WARPKEM_INVALID_DK",
                                          "WARPKEM_UNSUPPORTED",
                                          "WARPKEM_OUT_OF_MEMORY",
                                          "WARPKEM_RNG_FAILED",
                                          "WARPKEM_BACKEND_FAILED",
                                          "WARPKEM_INVALID_KEY_INDEX",
                                          "WARPKEM_FORKED",
                                          "WARPKEM_WOULD_BLOCK",
                                          "WARPKEM_CANCELLED",
                                          "WARPKEM_EXPIRED",
                                          "WARPKEM_ABORTED",
                                          "WARPKEM_WOULD_DEADLOCK",
                                          "WARPKEM_INVALID_C",
                                          "WARPKEM_INVALID_RANDOMNESS",
                                          "WARPKEM_INVALID_ENCODING",
                                          "WARPKEM_KEY_MISMATCH",
                                          "WARPKEM_PAIRWISE_FAILED"};
  return status < sizeof names / sizeof *names ? names[status] : "WARPKEM_UNKNOWN_STATUS";
}

const char* warpkem_last_error(void) { return warpkem::host::last_error(); }

const char* warpkem_version(void) { return WARPKEM_VERSION_STRING; }

const char* warpkem_cpu_features(void) { return cpu_features.data(); }

}  // extern "C"
