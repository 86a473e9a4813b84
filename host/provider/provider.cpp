#include "host/provider/provider.hpp"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <strings.h>

#include <cstring>
#include <new>
#include <utility>

#include "host/provider/params.hpp"
#include "warpkem/version.h"

namespace warpkem::provider {

Provider::Provider(const Core& core, Settings settings, const OSSL_DISPATCH* functions)
    : core_(core),
      settings_(std::move(settings)),
      engine_(core_, settings_, functions),
      statistics_(settings_.statistics_file) {
  if (settings_.pool_size != 0) pool_.emplace(settings_, engine_, statistics_);
  std::size_t used = 0;
  for (std::size_t i = 0; i < num_kems; ++i) {
    if (!settings_.allowed[i]) continue;
    const Kem& kem = all_kems()[i];
    key_management_[used] = {kem.names, "provider=warpkem", key_management_of(i), kem.name};
    kems_[used] = {kem.names, "provider=warpkem", kem_functions(), kem.name};
    ++used;
  }
  add_files();
}

// Keys of ML-KEM alone have files. OpenSSL before 3.5 does not know their OIDs.
void Provider::add_files() {
  for (std::size_t i = 0; i < num_kems; ++i) {
    const Kem& kem = all_kems()[i];
    if (!settings_.allowed[i] || kem.is_hybrid) continue;
    core_.create_object(warpkem_algorithm_oid(kem.id), kem.oid_name, kem.name);
    for (const FileForm& form : decoder_forms())
      decoders_.push_back({kem.names, form.properties, form.functions[i], kem.name});
    for (const FileForm& form : encoder_forms())
      encoders_.push_back({kem.names, form.properties, form.functions[i], kem.name});
  }
  decoders_.push_back({});
  encoders_.push_back({});
}

const OSSL_ALGORITHM* Provider::algorithms(int operation) const noexcept {
  switch (operation) {
    case OSSL_OP_KEYMGMT:
      return key_management_.data();
    case OSSL_OP_KEM:
      return kems_.data();
    case OSSL_OP_DECODER:
      return decoders_.data();
    case OSSL_OP_ENCODER:
      return encoders_.data();
    default:
      return nullptr;
  }
}

namespace {

Provider& provider_of(void* context) noexcept { return *static_cast<Provider*>(context); }

void teardown(void* context) { delete static_cast<Provider*>(context); }

const OSSL_PARAM* gettable_params(void*) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, nullptr, 0),
                                      OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, nullptr, 0),
                                      OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, nullptr, 0),
                                      OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, nullptr), OSSL_PARAM_END};
  return params;
}

int get_params(void*, OSSL_PARAM params[]) {
  const auto set = [params](const char* name, const char* text) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    return param == nullptr || OSSL_PARAM_set_utf8_ptr(param, text) == 1;
  };
  OSSL_PARAM* const status = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
  return set(OSSL_PROV_PARAM_NAME, "WarpKEM: ML-KEM and hybrid KEMs") &&
         set(OSSL_PROV_PARAM_VERSION, WARPKEM_VERSION_STRING) &&
         set(OSSL_PROV_PARAM_BUILDINFO, WARPKEM_VERSION_STRING) &&
         (status == nullptr || OSSL_PARAM_set_int(status, 1) == 1);
}

const OSSL_ALGORITHM* query_operation(void* context, int operation, int* no_cache) {
  *no_cache = 0;
  return provider_of(context).algorithms(operation);
}

const OSSL_ITEM* get_reason_strings(void*) { return reason_texts(); }

int get_capabilities(void* context, const char* capability, OSSL_CALLBACK* take, void* argument) {
  if (strcasecmp(capability, "TLS-GROUP") != 0) return 0;
  return give_groups(provider_of(context), take, argument);
}

}  // namespace

}  // namespace warpkem::provider

// The one symbol that the module exports.
extern "C" [[gnu::visibility("default")]] int OSSL_provider_init(const OSSL_CORE_HANDLE* handle,
                                                                 const OSSL_DISPATCH* in, const OSSL_DISPATCH** out,
                                                                 void** context) {
  using namespace warpkem::provider;
  static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_PROVIDER_TEARDOWN, teardown),
                                            entry(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, gettable_params),
                                            entry(OSSL_FUNC_PROVIDER_GET_PARAMS, get_params),
                                            entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query_operation),
                                            entry(OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, get_reason_strings),
                                            entry(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, get_capabilities),
                                            {0, nullptr}};
  const Core core(handle, in);
  try {
    Settings settings;
    if (!read_settings(core, settings)) return 0;
    auto* const made = new Provider(core, std::move(settings), in);
    if (made->engine().library() == nullptr) {
      delete made;
      return core.raise(Reason::out_of_memory, "no library context of its own");
    }
    *out = functions;
    *context = made;
    return 1;
  } catch (const std::bad_alloc&) {
    return core.raise(Reason::out_of_memory, "no memory for the provider");
  }
}
