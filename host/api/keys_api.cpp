// The C ABI of prepared keys (warpkem/warpkem.h).
#include "host/api/arguments.hpp"
#include "host/api/batch_call.hpp"
#include "host/engine/engine.hpp"
#include "host/serving/prepared_set.hpp"
#include "warpkem/warpkem.h"

namespace {

using namespace warpkem::host;

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

// A prepared set names its own algorithm.
warpkem_batch describe_prepared(uint32_t operation, warpkem_keys* keys, const uint32_t* index, size_t count,
                                uint8_t* statuses, size_t* failed) {
  warpkem_batch batch =
      describe(operation, keys != nullptr ? reinterpret_cast<KeySet*>(keys)->algorithm() : 0, count, statuses, failed);
  batch.keys = keys;
  batch.index = keys != nullptr ? index : nullptr;
  return batch;
}

warpkem_status run_prepared(warpkem_engine* engine, const warpkem_batch& batch) noexcept {
  if (batch.keys != nullptr) return run(engine, batch);
  return guarded([&] {
    if (engine != nullptr) usable(engine);
    if (batch.count != 0) throw Error(Status::invalid_argument, engine == nullptr ? "engine is NULL" : "keys is NULL");
    return finish({}, batch.failed);
  });
}

}  // namespace

extern "C" {

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

}  // extern "C"
