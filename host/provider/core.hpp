// What OpenSSL's core gives to the provider: its settings and the error queue.
#pragma once

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include <cstdint>

#include "warpkem/warpkem.h"

namespace warpkem::provider {

// Numbers of reasons; OpenSSL keeps those below 100 for itself.
enum class Reason : std::uint32_t {
  wrong_setting = 100,
  no_engine,
  no_key,
  no_private_key,
  key_is_set,
  wrong_length,
  bad_public_key,
  bad_private_key,
  bad_ciphertext,
  not_a_pair,
  wrong_group,
  wrong_selection,
  wrong_parameter,
  buffer_too_small,
  random_failed,
  out_of_memory,
  operation_failed,
  bad_encoding,
};
const OSSL_ITEM* reason_texts() noexcept;

// A line of the source: std::source_location, which clang 14 does not have.
struct Line {
  static Line here(const char* file = __builtin_FILE(), int number = __builtin_LINE()) noexcept {
    return {file, number};
  }
  const char* file;
  int number;
};

// A reason, and the line that gave it.
struct Failure {
  Failure(Reason why, Line line = Line::here()) noexcept : reason(why), at(line) {}
  Reason reason;
  Line at;
};

class Core {
 public:
  Core(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* functions) noexcept;

  const OSSL_CORE_HANDLE* handle() const noexcept { return handle_; }

  // From the provider's section of openssl.cnf; null: it is not there. Lives as long as the provider.
  const char* setting(const char* name) const noexcept;

  // Puts an error into OpenSSL's queue. Returns 0, which is how OpenSSL's functions fail.
  [[gnu::format(printf, 3, 4)]] int raise(Failure failure, const char* format, ...) const noexcept;
  // The library's status, with its text.
  int raise(warpkem_status status, Line at = Line::here()) const noexcept;

  int create_object(const char* oid, const char* short_name, const char* long_name) const noexcept;

 private:
  const OSSL_CORE_HANDLE* handle_;
  OSSL_FUNC_core_get_params_fn* get_params_ = nullptr;
  OSSL_FUNC_core_new_error_fn* new_error_ = nullptr;
  OSSL_FUNC_core_set_error_debug_fn* set_error_debug_ = nullptr;
  OSSL_FUNC_core_vset_error_fn* vset_error_ = nullptr;
  OSSL_FUNC_core_obj_create_fn* obj_create_ = nullptr;
};

}  // namespace warpkem::provider
