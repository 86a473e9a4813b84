// The capability TLS-GROUP: what libssl asks a provider for when a program makes its first SSL_CTX.
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#include "host/provider/provider.hpp"

namespace warpkem::provider {

int give_groups(const Provider& provider, OSSL_CALLBACK* take, void* argument) noexcept {
  for (std::size_t i = 0; i < num_kems; ++i) {
    const Kem& kem = all_kems()[i];
    if (kem.group == nullptr || !provider.settings().allowed[i]) continue;
    const auto text = [](const char* key, const char* value) {
      return OSSL_PARAM_construct_utf8_string(key, const_cast<char*>(value), 0);
    };
    unsigned id = kem.group_id, security_bits = static_cast<unsigned>(kem.security_bits()), is_kem = 1;
    int min_tls = TLS1_3_VERSION, max_tls = 0, no_dtls = -1;
    const OSSL_PARAM params[] = {
        text(OSSL_CAPABILITY_TLS_GROUP_NAME, kem.group),
        text(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, kem.group),
        text(OSSL_CAPABILITY_TLS_GROUP_ALG, kem.name),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &security_bits),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_IS_KEM, &is_kem),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &min_tls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &max_tls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &no_dtls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &no_dtls),
        OSSL_PARAM_construct_end(),
    };
    if (take(params, argument) == 0) return 0;
  }
  return 1;
}

}  // namespace warpkem::provider
