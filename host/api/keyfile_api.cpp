// The C ABI of keyfile.h.
#include <string>
#include <vector>

#include "host/api/arguments.hpp"
#include "host/api/seam.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/key_der.hpp"
#include "host/core/key_encoding.hpp"
#include "host/engine/key_check.hpp"
#include "warpkem/keyfile.h"

namespace {

using namespace warpkem::host;

constexpr KeyEncoding encoding_of_number(std::uint32_t number) noexcept {
  return number <= static_cast<std::uint32_t>(KeyEncoding::encrypted) ? static_cast<KeyEncoding>(number)
                                                                      : KeyEncoding::none;
}
static_assert(encoding_of_number(WARPKEM_ENCODING_PUBLIC) == KeyEncoding::spki);
static_assert(encoding_of_number(WARPKEM_ENCODING_PUBLIC_XWING) == KeyEncoding::spki_xwing);
static_assert(encoding_of_number(WARPKEM_ENCODING_SEED) == KeyEncoding::seed);
static_assert(encoding_of_number(WARPKEM_ENCODING_EXPANDED) == KeyEncoding::expanded);
static_assert(encoding_of_number(WARPKEM_ENCODING_BOTH) == KeyEncoding::both);
static_assert(encoding_of_number(WARPKEM_ENCODING_COMPOSITE) == KeyEncoding::composite);
static_assert(encoding_of_number(WARPKEM_ENCODING_CERTIFICATE) == KeyEncoding::certificate);
static_assert(encoding_of_number(WARPKEM_ENCODING_ENCRYPTED) == KeyEncoding::encrypted);

}  // namespace

extern "C" {

size_t warpkem_encoded_bytes(warpkem_algorithm algorithm, uint32_t encoding) {
  const FixedEncoding* const found = find_fixed_encoding(algorithm, encoding_of_number(encoding));
  return found != nullptr ? found->bytes() : 0;
}

warpkem_status warpkem_encode_keys(warpkem_algorithm algorithm, uint32_t encoding, size_t count, warpkem_in key,
                                   warpkem_in expanded, warpkem_out der) {
  return guarded([&] {
    const FixedEncoding* const found = find_fixed_encoding(algorithm, encoding_of_number(encoding));
    if (found == nullptr) {
      throw Error(Status::unsupported, "algorithm " + std::to_string(algorithm) + " has no encoding " +
                                           std::to_string(encoding) + " to write");
    }
    if (count == 0) return WARPKEM_OK;
    const Encoding arrays = checked_encoding(*found, count, key, expanded, der);
    encode_keys(*found, count, arrays.key, arrays.expanded, arrays.der);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_decode_key(const uint8_t* der, size_t bytes, warpkem_decoded_key* key) {
  return guarded([&] {
    if (key == nullptr) throw Error(Status::invalid_argument, "key is NULL");
    clear_out_struct(key, "key");
    if (der == nullptr && bytes != 0) throw Error(Status::invalid_argument, "der is NULL");
    try {
      const DecodedKey found = decode_key({der, bytes});
      key->algorithm = found.algorithm;
      key->encoding = static_cast<std::uint32_t>(found.encoding);
      key->ek = found.ek;
      key->seed = found.seed;
      key->expanded = found.expanded;
      key->composite = found.composite;
    } catch (const EncodingError& error) {
      key->error_at = error.at();
      throw;
    }
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_check_keys(warpkem_engine* engine, size_t count, const warpkem_decoded_key* keys,
                                  uint8_t* statuses, size_t* failed) {
  return guarded([&] {
    Engine& e = usable(engine);
    refuse_in_callback(*engine, "a synchronous call");
    if (failed != nullptr) *failed = 0;
    if (count == 0) return WARPKEM_OK;
    if (keys == nullptr) throw Error(Status::invalid_argument, "keys is NULL");
    std::vector<DecodedKey> decoded(count);
    for (size_t i = 0; i < count; ++i) decoded[i] = checked_key(keys, i);
    std::vector<std::uint8_t> own(statuses == nullptr ? count : 0);
    return finish(check_keys(e, decoded, statuses != nullptr ? statuses : own.data()), failed);
  });
}

}  // extern "C"
