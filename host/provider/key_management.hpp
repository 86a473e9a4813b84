// Keys as OpenSSL's parameters, for KEYMGMT and for the files.
#pragma once

#include <openssl/core.h>

#include "host/provider/key.hpp"

namespace warpkem::provider {

// Fills an empty key. 1, or 0 with an error in the queue.
int import_key(Key& key, int selection, const OSSL_PARAM params[]) noexcept;
int export_key(const Key& key, int selection, OSSL_CALLBACK* take, void* argument) noexcept;

}  // namespace warpkem::provider
