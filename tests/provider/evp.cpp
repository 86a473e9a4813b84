#include "evp.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

namespace evp {

namespace {

OSSL_PARAM text(const char* name, const Octets& octets) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(octets.data()), octets.size());
}

Context context(OSSL_LIB_CTX* library, const char* name) {
  return Context(EVP_PKEY_CTX_new_from_name(library, name, nullptr));
}

}  // namespace

LibraryContext load(const std::string& settings, const std::string& alg_section, const std::string& module) {
  char path[] = "/tmp/warpkem-provider-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) return {};
  close(file);
  // Named, but not activated: of a provider that does not load OpenSSL's configuration says nothing.
  std::ofstream(path) << "openssl_conf = all\n[all]\nproviders = providers\nalg_section = algorithms\n[algorithms]\n"
                      << alg_section << "\n[providers]\ndefault = default_section\nwarpkem = ours\n"
                      << "[default_section]\nactivate = 1\n[ours]\nmodule = " << module << "\n"
                      << settings << "\n";
  OSSL_LIB_CTX* const library = OSSL_LIB_CTX_new();
  OSSL_PROVIDER* ours = nullptr;
  if (OSSL_LIB_CTX_load_config(library, path) == 1) ours = OSSL_PROVIDER_load(library, "warpkem");
  unlink(path);
  if (ours != nullptr) return {library, ours};
  OSSL_LIB_CTX_free(library);
  return {};
}

std::string errors() {
  std::string all;
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    char words[256];
    ERR_error_string_n(code, words, sizeof words);
    all += std::string(words) + ((flags & ERR_TXT_STRING) != 0 ? std::string(": ") + data : "") + "\n";
  }
  return all;
}

Key generate(OSSL_LIB_CTX* library, const char* name, const Octets& seed) {
  const Context made = context(library, name);
  EVP_PKEY* key = nullptr;
  OSSL_PARAM params[] = {text("seed", seed), OSSL_PARAM_construct_end()};
  if (!made || EVP_PKEY_keygen_init(made.get()) != 1) return nullptr;
  if (!seed.empty() && EVP_PKEY_CTX_set_params(made.get(), params) != 1) return nullptr;
  if (EVP_PKEY_generate(made.get(), &key) != 1) return nullptr;
  return Key(key);
}

Key parameters(OSSL_LIB_CTX* library, const char* name) {
  const Context made = context(library, name);
  EVP_PKEY* key = nullptr;
  if (!made || EVP_PKEY_paramgen_init(made.get()) != 1 || EVP_PKEY_CTX_set_group_name(made.get(), name) != 1 ||
      EVP_PKEY_paramgen(made.get(), &key) != 1) {
    return nullptr;
  }
  return Key(key);
}

Key import(OSSL_LIB_CTX* library, const char* name, const Octets& pub, const Octets& priv, const Octets& seed) {
  const Context made = context(library, name);
  OSSL_PARAM params[4];
  std::size_t used = 0;
  if (!pub.empty()) params[used++] = text("pub", pub);
  if (!priv.empty()) params[used++] = text("priv", priv);
  if (!seed.empty()) params[used++] = text("seed", seed);
  params[used] = OSSL_PARAM_construct_end();
  EVP_PKEY* key = nullptr;
  const int selection = priv.empty() && seed.empty() ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR;
  if (!made || EVP_PKEY_fromdata_init(made.get()) != 1 || EVP_PKEY_fromdata(made.get(), &key, selection, params) != 1) {
    EVP_PKEY_free(key);
    return nullptr;
  }
  return Key(key);
}

Octets octets(const Key& key, const char* name) {
  std::size_t bytes = 0;
  if (!key || EVP_PKEY_get_octet_string_param(key.get(), name, nullptr, 0, &bytes) != 1) return {};
  Octets all(bytes);
  if (EVP_PKEY_get_octet_string_param(key.get(), name, all.data(), all.size(), &bytes) != 1) return {};
  all.resize(bytes);
  return all;
}

Sent encapsulate(OSSL_LIB_CTX* library, const Key& key, const Octets& ikme) {
  const Context made(key ? EVP_PKEY_CTX_new_from_pkey(library, key.get(), nullptr) : nullptr);
  OSSL_PARAM params[] = {text("ikme", ikme), OSSL_PARAM_construct_end()};
  std::size_t c_bytes = 0, K_bytes = 0;
  if (!made || EVP_PKEY_encapsulate_init(made.get(), ikme.empty() ? nullptr : params) != 1 ||
      EVP_PKEY_encapsulate(made.get(), nullptr, &c_bytes, nullptr, &K_bytes) != 1) {
    return {};
  }
  Sent sent{Octets(c_bytes), Octets(K_bytes)};
  if (EVP_PKEY_encapsulate(made.get(), sent.c.data(), &c_bytes, sent.K.data(), &K_bytes) != 1) return {};
  return sent;
}

Octets decapsulate(OSSL_LIB_CTX* library, const Key& key, const Octets& c) {
  const Context made(key ? EVP_PKEY_CTX_new_from_pkey(library, key.get(), nullptr) : nullptr);
  std::size_t K_bytes = 0;
  if (!made || EVP_PKEY_decapsulate_init(made.get(), nullptr) != 1 ||
      EVP_PKEY_decapsulate(made.get(), nullptr, &K_bytes, c.data(), c.size()) != 1) {
    return {};
  }
  Octets K(K_bytes);
  if (EVP_PKEY_decapsulate(made.get(), K.data(), &K_bytes, c.data(), c.size()) != 1) return {};
  return K;
}

std::string provider_of(OSSL_LIB_CTX* library, const char* name, const char* query) {
  EVP_KEYMGMT* const fetched = EVP_KEYMGMT_fetch(library, name, query);
  if (fetched == nullptr) return "";
  std::string provider = OSSL_PROVIDER_get0_name(EVP_KEYMGMT_get0_provider(fetched));
  EVP_KEYMGMT_free(fetched);
  return provider;
}

}  // namespace evp
