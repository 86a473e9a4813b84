// KEM: one encapsulation or decapsulation on the caller's thread.
#include <openssl/crypto.h>

#include <cstring>
#include <new>

#include "host/provider/key.hpp"
#include "host/provider/params.hpp"
#include "host/provider/provider.hpp"

namespace warpkem::provider {

namespace {

struct Operation {
  Provider& provider;
  const Key* key = nullptr;  // OpenSSL's context keeps it
  std::size_t m_bytes = 0;
  std::uint8_t m[192] = {};  // where the program brings the next encapsulation's randomness ("ikme"), as tests do
};

Operation& operation_of(void* context) noexcept { return *static_cast<Operation*>(context); }

void* new_operation(void* context) {
  Provider& provider = *static_cast<Provider*>(context);
  void* const memory = OPENSSL_malloc(sizeof(Operation));
  if (memory != nullptr) return new (memory) Operation{provider};
  provider.core().raise(Reason::out_of_memory, "no memory for an operation");
  return nullptr;
}

void free_operation(void* context) {
  if (context != nullptr) OPENSSL_clear_free(context, sizeof(Operation));
}

void* duplicate(void* context) {
  void* const made = new_operation(&operation_of(context).provider);
  if (made != nullptr) std::memcpy(made, context, sizeof(Operation));
  return made;
}

const OSSL_PARAM* settable_params(void*, void*) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_octet_string(param_ikme, nullptr, 0), OSSL_PARAM_END};
  return params;
}

int set_params(void* context, const OSSL_PARAM params[]) {
  Operation& operation = operation_of(context);
  const Core& core = operation.provider.core();
  Bytes m;
  if (!read_octets(params, param_ikme, m)) return core.raise(Reason::wrong_parameter, "ikme is no octet string");
  if (m.empty()) return 1;
  if (operation.key == nullptr || m.size() != operation.key->kem().m_bytes()) {
    return core.raise(Reason::wrong_length, "ikme: %zu bytes are not what the algorithm takes", m.size());
  }
  std::memcpy(operation.m, m.data(), m.size());
  operation.m_bytes = m.size();
  return 1;
}

int begin_encapsulation(void* context, void* key, const OSSL_PARAM params[]) {
  Operation& operation = operation_of(context);
  operation.key = static_cast<const Key*>(key);
  if (!operation.key->has_ek()) return operation.provider.core().raise(Reason::no_key, "nothing to encapsulate to");
  return set_params(context, params);
}

int begin_decapsulation(void* context, void* key, const OSSL_PARAM params[]) {
  Operation& operation = operation_of(context);
  operation.key = static_cast<const Key*>(key);
  if (!operation.key->has_dk())
    return operation.provider.core().raise(Reason::no_private_key, "nothing to decapsulate with");
  return set_params(context, params);
}

// Where `bytes` is where a program says how much room there is, and is told how much is used.
bool fits(const Core& core, std::size_t* bytes, std::size_t needed, const char* what) noexcept {
  if (bytes == nullptr) return true;
  if (*bytes < needed) {
    core.raise(Reason::buffer_too_small, "%s takes %zu bytes, and there is room for %zu", what, needed, *bytes);
    return false;
  }
  *bytes = needed;
  return true;
}

// By the keys that were prepared, where there are any and they are this engine's.
template <class ByPrepared, class Plain>
warpkem_status prefer(warpkem_keys* keys, const ByPrepared& by_prepared, const Plain& plain) noexcept {
  const warpkem_status status = keys != nullptr ? by_prepared(keys) : WARPKEM_INVALID_ARGUMENT;
  return status == WARPKEM_INVALID_ARGUMENT ? plain() : status;
}

int do_encapsulate(void* context, unsigned char* c, std::size_t* c_bytes, unsigned char* K, std::size_t* K_bytes) {
  Operation& operation = operation_of(context);
  const Kem& kem = operation.key->kem();
  const Core& core = operation.provider.core();
  if (c == nullptr) {  // how long they will be
    if (c_bytes != nullptr) *c_bytes = kem.c_bytes();
    if (K_bytes != nullptr) *K_bytes = kem.K_bytes();
    return 1;
  }
  if (K == nullptr) return core.raise(Reason::wrong_parameter, "there is no place for the secret");
  if (!fits(core, c_bytes, kem.c_bytes(), "a ciphertext") || !fits(core, K_bytes, kem.K_bytes(), "a secret")) return 0;
  const Bytes ek = operation.key->ek();
  const warpkem_in ek_in{ek.data(), ek.size(), 0};
  const warpkem_out c_out{c, kem.c_bytes(), 0}, K_out{K, kem.K_bytes(), 0};
  const bool is_derand = operation.m_bytes != 0;
  const warpkem_in m{operation.m, operation.m_bytes, 0};
  const int is_done = operation.provider.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
    return prefer(
        operation.key->prepared_ek(engine),
        [&](warpkem_keys* keys) {
          return is_derand ? warpkem_encaps_prepared_derand(engine, keys, nullptr, 1, m, c_out, K_out, status, nullptr)
                           : warpkem_encaps_prepared(engine, keys, nullptr, 1, c_out, K_out, status, nullptr);
        },
        [&] {
          return is_derand ? warpkem_encaps_derand(engine, kem.id, 1, ek_in, m, c_out, K_out, status, nullptr)
                           : warpkem_encaps(engine, kem.id, 1, ek_in, c_out, K_out, status, nullptr);
        });
  });
  OPENSSL_cleanse(operation.m, operation.m_bytes);
  operation.m_bytes = 0;
  return is_done;
}

int do_decapsulate(void* context, unsigned char* K, std::size_t* K_bytes, const unsigned char* c, std::size_t c_bytes) {
  Operation& operation = operation_of(context);
  const Kem& kem = operation.key->kem();
  const Core& core = operation.provider.core();
  if (K == nullptr) {
    if (K_bytes != nullptr) *K_bytes = kem.K_bytes();
    return 1;
  }
  if (c_bytes != kem.c_bytes()) {
    return core.raise(Reason::wrong_length, "a ciphertext of %s has %zu bytes, not %zu", kem.name, kem.c_bytes(),
                      c_bytes);
  }
  if (!fits(core, K_bytes, kem.K_bytes(), "a secret")) return 0;
  const Bytes dk = operation.key->dk();
  const warpkem_in dk_in{dk.data(), dk.size(), 0}, c_in{c, c_bytes, 0};
  const warpkem_out K_out{K, kem.K_bytes(), 0};
  return operation.provider.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
    return prefer(
        operation.key->prepared_dk(engine),
        [&](warpkem_keys* keys) {
          return warpkem_decaps_prepared(engine, keys, nullptr, 1, c_in, K_out, status, nullptr);
        },
        [&] { return warpkem_decaps(engine, kem.id, kem.dk_format, 1, dk_in, c_in, K_out, status, nullptr); });
  });
}

// Counted, unless only lengths are asked for.
int counted(void* context, bool is_done, Event done, Event failed) noexcept {
  Operation& operation = operation_of(context);
  operation.provider.statistics().count(index_of(operation.key->kem()), is_done ? done : failed);
  operation.provider.statistics().write_if_due();
  return is_done ? 1 : 0;
}

int encapsulate(void* context, unsigned char* c, std::size_t* c_bytes, unsigned char* K, std::size_t* K_bytes) {
  const int is_done = do_encapsulate(context, c, c_bytes, K, K_bytes);
  return c == nullptr ? is_done : counted(context, is_done == 1, Event::encaps, Event::encaps_failed);
}

int decapsulate(void* context, unsigned char* K, std::size_t* K_bytes, const unsigned char* c, std::size_t c_bytes) {
  const int is_done = do_decapsulate(context, K, K_bytes, c, c_bytes);
  return K == nullptr ? is_done : counted(context, is_done == 1, Event::decaps, Event::decaps_failed);
}

}  // namespace

const OSSL_DISPATCH* kem_functions() noexcept {
  static const OSSL_DISPATCH table[] = {
      entry(OSSL_FUNC_KEM_NEWCTX, new_operation),
      entry(OSSL_FUNC_KEM_FREECTX, free_operation),
      entry(OSSL_FUNC_KEM_DUPCTX, duplicate),
      entry(OSSL_FUNC_KEM_ENCAPSULATE_INIT, begin_encapsulation),
      entry(OSSL_FUNC_KEM_ENCAPSULATE, encapsulate),
      entry(OSSL_FUNC_KEM_DECAPSULATE_INIT, begin_decapsulation),
      entry(OSSL_FUNC_KEM_DECAPSULATE, decapsulate),
      entry(OSSL_FUNC_KEM_SET_CTX_PARAMS, set_params),
      entry(OSSL_FUNC_KEM_SETTABLE_CTX_PARAMS, settable_params),
      {0, nullptr},
  };
  return table;
}

}  // namespace warpkem::provider
