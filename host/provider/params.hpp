// Names of parameters that headers of OpenSSL 3.0 do not have, and how octets are read and given.
#pragma once

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "host/provider/bytes.hpp"

namespace warpkem::provider {

inline constexpr const char* param_seed = "seed";                            // OSSL_PKEY_PARAM_ML_KEM_SEED of 3.5
inline constexpr const char* param_security_category = "security-category";  // of 3.6
inline constexpr const char* param_ikme = "ikme";                            // OSSL_KEM_PARAM_IKME of 3.5's documents

// The octets of a parameter, borrowed; empty where there is no such parameter. False where it is no octet string.
inline bool read_octets(const OSSL_PARAM params[], const char* name, Bytes& octets) noexcept {
  const OSSL_PARAM* const param = params != nullptr ? OSSL_PARAM_locate_const(params, name) : nullptr;
  if (param == nullptr) return true;
  const void* data = nullptr;
  std::size_t bytes = 0;
  if (OSSL_PARAM_get_octet_string_ptr(param, &data, &bytes) != 1) return false;
  octets = {static_cast<const std::uint8_t*>(data), bytes};
  return true;
}

// Sets the parameter, where it is asked for and there is something to give.
inline bool give_octets(OSSL_PARAM params[], const char* name, Bytes octets) noexcept {
  OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
  return param == nullptr || octets.empty() || OSSL_PARAM_set_octet_string(param, octets.data(), octets.size()) == 1;
}

template <class Function>
OSSL_DISPATCH entry(int id, Function* function) noexcept {
  return {id, reinterpret_cast<void (*)()>(function)};
}

}  // namespace warpkem::provider
