// The C ABI of batches: warpkem_run(), and the named calls that fill a batch (warpkem/warpkem.h).
#include <string.h>

#include <span>
#include <string>
#include <vector>

#include "host/api/arguments.hpp"
#include "host/api/batch_call.hpp"
#include "host/core/algorithms.hpp"
#include "host/engine/engine.hpp"
#include "warpkem/warpkem.h"

namespace warpkem::host {

static_assert(WARPKEM_MAX_BACKENDS == Engine::max_backends);

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

warpkem_batch describe(uint32_t operation, warpkem_algorithm algorithm, size_t count, uint8_t* statuses,
                       size_t* failed) noexcept {
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = operation;
  batch.algorithm = algorithm;
  batch.count = count;
  batch.statuses = statuses;
  batch.failed = failed;
  return batch;
}

warpkem_batch known_batch(const warpkem_batch* given) {
  if (given == nullptr) throw Error(Status::invalid_argument, "batch is NULL");
  warpkem_batch batch{};
  copy_struct(batch, given, "batch");
  static_cast<void>(public_operation(batch.operation));
  return batch;
}

}  // namespace warpkem::host

using namespace warpkem::host;

extern "C" {

warpkem_status warpkem_run(warpkem_engine* engine, const warpkem_batch* given) {
  return guarded([&] { return run(engine, known_batch(given)); });
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

warpkem_status warpkem_shake256(warpkem_engine* engine, size_t count, const uint8_t* prefix, size_t prefix_bytes,
                                size_t num_parts, const warpkem_in* parts, const size_t* part_bytes,
                                warpkem_out digests, size_t digest_bytes) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (count == 0) return WARPKEM_OK;
    const Messages messages =
        checked_messages(count, prefix, prefix_bytes, num_parts, parts, part_bytes, digests, digest_bytes);
    e.hash(HashFunction::shake256, count, messages.parts.all(), messages.digests, digest_bytes);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_encaps_derived(warpkem_engine* engine, warpkem_algorithm algorithm, size_t count,
                                      const uint8_t* prefix, size_t prefix_bytes, size_t num_parts,
                                      const warpkem_in* parts, const size_t* part_bytes, warpkem_in ek, warpkem_out c,
                                      warpkem_out K, uint8_t* statuses, size_t* failed) {
  return guarded([&] {
    warpkem_batch arguments = describe(WARPKEM_OP_ENCAPS, algorithm, count, statuses, failed);
    arguments.ek = source(ek);
    arguments.c_out = target(c);
    arguments.K_out = target(K);
    if (is_empty(engine, arguments)) return WARPKEM_OK;
    Engine& e = usable(engine);
    refuse_in_callback(*engine, "a synchronous call");
    const Batch batch = checked_batch(e, arguments, Operation::encaps);
    if (batch.count == 0) return finish({}, failed);
    const MessageParts m_parts = checked_parts_of_m(batch, prefix, prefix_bytes, num_parts, parts, part_bytes, failed);
    return finish(e.run(batch, nullptr, m_parts.all()), failed);
  });
}

warpkem_status warpkem_aes256_gcm_seal(warpkem_engine* engine, size_t count, warpkem_in key, warpkem_in nonce,
                                       warpkem_in aad, size_t aad_bytes, warpkem_in text, size_t text_bytes,
                                       warpkem_out sealed) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (count == 0) return WARPKEM_OK;
    const Engine::GcmBatch batch =
        checked_gcm(true, count, key, nonce, aad, aad_bytes, text, text_bytes, sealed, nullptr, nullptr);
    return finish(e.aes256_gcm(batch), nullptr);
  });
}

warpkem_status warpkem_aes256_gcm_open(warpkem_engine* engine, size_t count, warpkem_in key, warpkem_in nonce,
                                       warpkem_in aad, size_t aad_bytes, warpkem_in sealed, size_t text_bytes,
                                       warpkem_out text, uint8_t* statuses, size_t* failed) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (count == 0) {
      if (failed != nullptr) *failed = 0;
      return WARPKEM_OK;
    }
    Engine::GcmBatch batch =
        checked_gcm(false, count, key, nonce, aad, aad_bytes, sealed, text_bytes, text, statuses, failed);
    std::vector<std::uint8_t> own(statuses == nullptr ? count : 0);
    if (statuses == nullptr) batch.statuses = own.data();
    return finish(e.aes256_gcm(batch), failed);
  });
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

}  // extern "C"
