#include "host/provider/core.hpp"

#include <openssl/params.h>
#include <stdarg.h>

#include <cstring>

namespace warpkem::provider {

namespace {

OSSL_ITEM text(Reason reason, const char* words) noexcept {
  return {static_cast<unsigned>(reason), const_cast<char*>(words)};
}

Reason reason_of(warpkem_status status) noexcept {
  switch (status) {
    case WARPKEM_INVALID_EK:
      return Reason::bad_public_key;
    case WARPKEM_INVALID_DK:
      return Reason::bad_private_key;
    case WARPKEM_INVALID_C:
      return Reason::bad_ciphertext;
    case WARPKEM_RNG_FAILED:
      return Reason::random_failed;
    case WARPKEM_OUT_OF_MEMORY:
      return Reason::out_of_memory;
    default:
      return Reason::operation_failed;
  }
}

template <class Function>
void take(Function*& function, const OSSL_DISPATCH& entry) noexcept {
  function = reinterpret_cast<Function*>(entry.function);
}

}  // namespace

const OSSL_ITEM* reason_texts() noexcept {
  static const OSSL_ITEM texts[] = {
      text(Reason::wrong_setting, "wrong setting"),
      text(Reason::no_engine, "no engine could be made"),
      text(Reason::no_key, "the key is empty"),
      text(Reason::no_private_key, "the key has no private part"),
      text(Reason::key_is_set, "the key is set already"),
      text(Reason::wrong_length, "wrong length"),
      text(Reason::bad_public_key, "bad public key"),
      text(Reason::bad_private_key, "bad private key"),
      text(Reason::bad_ciphertext, "bad ciphertext"),
      text(Reason::not_a_pair, "the parts of the key do not belong together"),
      text(Reason::wrong_group, "wrong group name"),
      text(Reason::wrong_selection, "nothing like this can be selected of a key"),
      text(Reason::wrong_parameter, "wrong parameter"),
      text(Reason::buffer_too_small, "buffer too small"),
      text(Reason::random_failed, "no randomness"),
      text(Reason::out_of_memory, "out of memory"),
      text(Reason::operation_failed, "the operation failed"),
      text(Reason::bad_encoding, "bad encoding"),
      {0, nullptr},
  };
  return texts;
}

Core::Core(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* functions) noexcept : handle_(handle) {
  for (; functions->function_id != 0; ++functions) {
    switch (functions->function_id) {
      case OSSL_FUNC_CORE_GET_PARAMS:
        take(get_params_, *functions);
        break;
      case OSSL_FUNC_CORE_NEW_ERROR:
        take(new_error_, *functions);
        break;
      case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
        take(set_error_debug_, *functions);
        break;
      case OSSL_FUNC_CORE_VSET_ERROR:
        take(vset_error_, *functions);
        break;
      case OSSL_FUNC_CORE_OBJ_CREATE:
        take(obj_create_, *functions);
        break;
      default:
        break;
    }
  }
}

const char* Core::setting(const char* name) const noexcept {
  char* value = nullptr;
  OSSL_PARAM wanted[] = {OSSL_PARAM_construct_utf8_ptr(name, &value, 0), OSSL_PARAM_construct_end()};
  if (get_params_ == nullptr || get_params_(handle_, wanted) == 0) return nullptr;
  return OSSL_PARAM_modified(wanted) ? value : nullptr;
}

int Core::raise(Failure failure, const char* format, ...) const noexcept {
  if (new_error_ == nullptr || vset_error_ == nullptr) return 0;
  const char* const path = failure.at.file;
  const char* const slash = std::strrchr(path, '/');
  new_error_(handle_);
  if (set_error_debug_ != nullptr) {
    set_error_debug_(handle_, slash != nullptr ? slash + 1 : path, failure.at.number, "warpkem");
  }
  va_list arguments;
  va_start(arguments, format);
  vset_error_(handle_, static_cast<std::uint32_t>(failure.reason), format, arguments);
  va_end(arguments);
  return 0;
}

int Core::raise(warpkem_status status, Line at) const noexcept {
  return raise(Failure(reason_of(status), at), "%s: %s", warpkem_status_name(status), warpkem_last_error());
}

int Core::create_object(const char* oid, const char* short_name, const char* long_name) const noexcept {
  return obj_create_ != nullptr ? obj_create_(handle_, oid, short_name, long_name) : 0;
}

}  // namespace warpkem::provider
