// KEYMGMT: keys as OpenSSL makes, fills, compares and moves them.
#include "host/provider/key_management.hpp"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <cstring>
#include <new>
#include <utility>

#include "host/provider/key.hpp"
#include "host/provider/params.hpp"
#include "host/provider/provider.hpp"

namespace warpkem::provider {

namespace {

constexpr int key_pair = OSSL_KEYMGMT_SELECT_KEYPAIR, private_key = OSSL_KEYMGMT_SELECT_PRIVATE_KEY,
              public_key = OSSL_KEYMGMT_SELECT_PUBLIC_KEY, parameters = OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;

Key& key_of(void* key) noexcept { return *static_cast<Key*>(key); }
const Key& key_of(const void* key) noexcept { return *static_cast<const Key*>(key); }

template <std::size_t kem>
void* new_key(void* provider) {
  return Key::make(*static_cast<Provider*>(provider), all_kems()[kem]);
}

void free_key(void* key) { Key::free(static_cast<Key*>(key)); }

int has(const void* key, int selection) {
  if (key == nullptr) return 0;
  if ((selection & private_key) != 0) return key_of(key).has_dk();
  return (selection & public_key) == 0 || key_of(key).has_ek();
}

// Keys are checked where they come in.
int validate(const void* key, int selection, int) { return has(key, selection); }

int match(const void* one, const void* other, int selection) {
  if ((selection & key_pair) != 0) return key_of(one).equals(key_of(other));
  return &key_of(one).kem() == &key_of(other).kem();
}

void* duplicate(const void* key, int selection) {
  return key_of(key).copy((selection & public_key) != 0, (selection & private_key) != 0);
}

// ---- parameters of a key

const OSSL_PARAM* gettable_params(void*) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
                                      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
                                      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
                                      OSSL_PARAM_int(param_security_category, nullptr),
                                      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
                                      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
                                      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, nullptr, 0),
                                      OSSL_PARAM_octet_string(param_seed, nullptr, 0),
                                      OSSL_PARAM_END};
  return params;
}

int get_params(void* key_pointer, OSSL_PARAM params[]) {
  const Key& key = key_of(std::as_const(key_pointer));
  const Kem& kem = key.kem();
  const auto give = [params](const char* name, int value) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    return param == nullptr || OSSL_PARAM_set_int(param, value) == 1;
  };
  return give(OSSL_PKEY_PARAM_BITS, static_cast<int>(kem.ml_kem)) &&
         give(OSSL_PKEY_PARAM_SECURITY_BITS, kem.security_bits()) &&
         give(OSSL_PKEY_PARAM_MAX_SIZE, static_cast<int>(kem.c_bytes())) &&
         give(param_security_category, kem.security_category()) &&
         give_octets(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, key.ek()) &&
         give_octets(params, OSSL_PKEY_PARAM_PUB_KEY, key.ek()) &&
         give_octets(params, OSSL_PKEY_PARAM_PRIV_KEY, key.dk()) && give_octets(params, param_seed, key.seed());
}

const OSSL_PARAM* settable_params(void*) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
                                      OSSL_PARAM_END};
  return params;
}

// Also of a key that nothing was generated for, as libssl's server does it with a client's share.
int set_params(void* key_pointer, const OSSL_PARAM params[]) {
  Key& key = key_of(key_pointer);
  Bytes ek;
  if (params == nullptr || OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) == nullptr) return 1;
  if (!read_octets(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, ek)) {
    return key.provider().core().raise(Reason::wrong_parameter, "%s is no octet string",
                                       OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
  }
  return key.set_ek(ek);
}

// A key that one of the decoders made, which gives it up.
void* load(const void* reference, std::size_t bytes) {
  if (bytes != sizeof(Key*)) return nullptr;
  return std::exchange(*static_cast<Key**>(const_cast<void*>(reference)), nullptr);
}

// ---- import and export

const OSSL_PARAM* movable_params(int selection) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
                                      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, nullptr, 0),
                                      OSSL_PARAM_octet_string(param_seed, nullptr, 0), OSSL_PARAM_END};
  return (selection & key_pair) != 0 ? params : nullptr;
}

}  // namespace

int import_key(Key& key, int selection, const OSSL_PARAM params[]) noexcept {
  if ((selection & key_pair) == 0) {
    return key.provider().core().raise(Reason::wrong_selection, "%s has no parameters to import", key.kem().name);
  }
  Bytes ek, dk, seed;
  const bool with_dk = (selection & private_key) != 0;
  if (!read_octets(params, OSSL_PKEY_PARAM_PUB_KEY, ek) ||
      (with_dk && !read_octets(params, OSSL_PKEY_PARAM_PRIV_KEY, dk)) ||
      (with_dk && key.kem().keeps_seed() && !read_octets(params, param_seed, seed))) {
    return key.provider().core().raise(Reason::wrong_parameter, "a part of the key is no octet string");
  }
  return key.set_pair(ek, dk, seed);
}

int export_key(const Key& key, int selection, OSSL_CALLBACK* take, void* argument) noexcept {
  if ((selection & key_pair) == 0) {
    return key.provider().core().raise(Reason::wrong_selection, "%s has no parameters to export", key.kem().name);
  }
  if (!key.has_ek()) return key.provider().core().raise(Reason::no_key, "%s", key.kem().name);
  OSSL_PARAM params[4];
  std::size_t used = 0;
  const auto add = [&](const char* name, Bytes octets) {
    if (octets.empty()) return;
    params[used++] = OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(octets.data()), octets.size());
  };
  if ((selection & public_key) != 0) add(OSSL_PKEY_PARAM_PUB_KEY, key.ek());
  if ((selection & private_key) != 0) {
    add(OSSL_PKEY_PARAM_PRIV_KEY, key.dk());
    add(param_seed, key.seed());
  }
  params[used] = OSSL_PARAM_construct_end();
  return take(params, argument);
}

namespace {

int import_it(void* key, int selection, const OSSL_PARAM params[]) {
  return key != nullptr ? import_key(key_of(key), selection, params) : 0;
}

int export_it(void* key, int selection, OSSL_CALLBACK* take, void* argument) {
  return export_key(key_of(std::as_const(key)), selection, take, argument);
}

// ---- generation

struct Generation {
  Provider& provider;
  const Kem& kem;
  int selection;
  bool has_seed = false;
  std::uint8_t seed[64] = {};  // of ML-KEM, where the program gives one
};

int set_generation(void* context, const OSSL_PARAM params[]) {
  Generation& generation = *static_cast<Generation*>(context);
  const Core& core = generation.provider.core();
  if (params == nullptr) return 1;
  // libssl names the group; one that OpenSSL itself offers has no name there.
  if (const OSSL_PARAM* const group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME)) {
    const char* name = nullptr;
    if (OSSL_PARAM_get_utf8_string_ptr(group, &name) != 1) return core.raise(Reason::wrong_parameter, "group");
    if (*name != '\0' && warpkem_algorithm_by_name(name) != generation.kem.id) {
      return core.raise(Reason::wrong_group, "%s is not %s", name, generation.kem.name);
    }
  }
  Bytes seed;
  if (!generation.kem.keeps_seed()) return 1;
  if (!read_octets(params, param_seed, seed)) return core.raise(Reason::wrong_parameter, "seed is no octet string");
  if (seed.empty()) return 1;
  if (seed.size() != generation.kem.seed_bytes()) {
    return core.raise(Reason::wrong_length, "a seed of %s has %zu bytes", generation.kem.name,
                      generation.kem.seed_bytes());
  }
  std::memcpy(generation.seed, seed.data(), seed.size());
  generation.has_seed = true;
  return 1;
}

const OSSL_PARAM* settable_of_generation(void*, void*) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_PROPERTIES, nullptr, 0),
                                      OSSL_PARAM_octet_string(param_seed, nullptr, 0), OSSL_PARAM_END};
  return params;
}

void end_generation(void* context) {
  if (context != nullptr) OPENSSL_clear_free(context, sizeof(Generation));
}

template <std::size_t kem>
void* begin_generation(void* context, int selection, const OSSL_PARAM params[]) {
  Provider& provider = *static_cast<Provider*>(context);
  // A public key alone cannot be generated, and nothing at all need not.
  if ((selection & (parameters | private_key)) == 0) {
    provider.core().raise(Reason::wrong_selection, "%s: a public key comes with its private key", all_kems()[kem].name);
    return nullptr;
  }
  void* const memory = OPENSSL_malloc(sizeof(Generation));
  if (memory == nullptr) {
    provider.core().raise(Reason::out_of_memory, "no memory to generate a key");
    return nullptr;
  }
  auto* const generation = new (memory) Generation{provider, all_kems()[kem], selection};
  if (set_generation(generation, params) == 1) return generation;
  end_generation(generation);
  return nullptr;
}

// A server generates "parameters" alone, to set the client's share on them: that must not cost a key pair.
void* generate(void* context, OSSL_CALLBACK*, void*) {
  const Generation& generation = *static_cast<const Generation*>(context);
  Key* const key = Key::make(generation.provider, generation.kem);
  if (key == nullptr || (generation.selection & private_key) == 0) return key;
  const int is_done =
      generation.has_seed ? key->set_seed({generation.seed, generation.kem.seed_bytes()}) : key->generate();
  if (is_done == 1) return key;
  Key::free(key);
  return nullptr;
}

template <std::size_t kem>
const OSSL_DISPATCH* functions() noexcept {
  static const OSSL_DISPATCH table[] = {
      entry(OSSL_FUNC_KEYMGMT_NEW, new_key<kem>),
      entry(OSSL_FUNC_KEYMGMT_FREE, free_key),
      entry(OSSL_FUNC_KEYMGMT_LOAD, load),
      entry(OSSL_FUNC_KEYMGMT_HAS, has),
      entry(OSSL_FUNC_KEYMGMT_VALIDATE, validate),
      entry(OSSL_FUNC_KEYMGMT_MATCH, match),
      entry(OSSL_FUNC_KEYMGMT_DUP, duplicate),
      entry(OSSL_FUNC_KEYMGMT_GET_PARAMS, get_params),
      entry(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, gettable_params),
      entry(OSSL_FUNC_KEYMGMT_SET_PARAMS, set_params),
      entry(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, settable_params),
      entry(OSSL_FUNC_KEYMGMT_IMPORT, import_it),
      entry(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, movable_params),
      entry(OSSL_FUNC_KEYMGMT_EXPORT, export_it),
      entry(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, movable_params),
      entry(OSSL_FUNC_KEYMGMT_GEN_INIT, begin_generation<kem>),
      entry(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, set_generation),
      entry(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, settable_of_generation),
      entry(OSSL_FUNC_KEYMGMT_GEN, generate),
      entry(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, end_generation),
      {0, nullptr},
  };
  return table;
}

}  // namespace

const OSSL_DISPATCH* key_management_of(std::size_t kem) noexcept {
  return [kem]<std::size_t... i>(std::index_sequence<i...>) {
    const OSSL_DISPATCH* found = nullptr;
    static_cast<void>(((kem == i && (found = functions<i>(), true)) || ...));
    return found;
  }
  (std::make_index_sequence<num_kems>());
}

}  // namespace warpkem::provider
