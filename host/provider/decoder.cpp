// DECODER: from the DER of a file to a key. What DER looks like, the library's codec knows.
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "host/provider/key.hpp"
#include "host/provider/key_management.hpp"
#include "host/provider/params.hpp"
#include "host/provider/provider.hpp"
#include "warpkem/keyfile.h"

namespace warpkem::provider {

namespace {

constexpr std::size_t most_bytes = 65536;  // of a key with attributes

// The first object of `in`, with its header; empty if it is none. As secret as a key: wiped by its owner.
struct Der {
  ~Der() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  std::vector<std::uint8_t> bytes;
};

bool read(BIO* in, std::vector<std::uint8_t>& bytes, std::size_t count) {
  const std::size_t before = bytes.size();
  bytes.resize(before + count);
  for (std::size_t done = 0; done < count;) {
    std::size_t now = 0;
    if (BIO_read_ex(in, bytes.data() + before + done, count - done, &now) != 1 || now == 0) return false;
    done += now;
  }
  return true;
}

// X.690, 8.1.3: how long the content of a SEQUENCE is; what is not so is no key.
bool read_object(BIO* in, Der& der) {
  der.bytes.reserve(most_bytes);  // so that no copy is left behind
  if (!read(in, der.bytes, 2) || der.bytes[0] != 0x30) return false;
  std::size_t length = der.bytes[1];
  if (length >= 0x80) {
    const std::size_t digits = length & 0x7f;
    if (digits == 0 || digits > 3 || !read(in, der.bytes, digits)) return false;
    length = 0;
    for (std::size_t i = 0; i < digits; ++i) length = length << 8 | der.bytes[2 + i];
  }
  return length <= most_bytes - der.bytes.size() && read(in, der.bytes, length);
}

// Whether it names this algorithm, so that what is wrong with it is ours to say.
bool names(const Der& der, const Kem& kem) noexcept {
  // 2.16.840.1.101.3.4.4.1 and on
  const std::uint8_t oid[] = {0x06,
                              0x09,
                              0x60,
                              0x86,
                              0x48,
                              0x01,
                              0x65,
                              0x03,
                              0x04,
                              0x04,
                              static_cast<std::uint8_t>(kem.ml_kem == 512   ? 1
                                                        : kem.ml_kem == 768 ? 2
                                                                            : 3)};
  constexpr std::size_t looked_at = 32;
  return memmem(der.bytes.data(), std::min(der.bytes.size(), looked_at), oid, sizeof oid) != nullptr;
}

template <std::size_t kem, bool is_private>
int decode(void* context, OSSL_CORE_BIO* core_bio, int, OSSL_CALLBACK* take, void* argument, OSSL_PASSPHRASE_CALLBACK*,
           void*) {
  constexpr int goes_on = 1;  // it is nothing of ours: others may look at it
  Provider& provider = *static_cast<Provider*>(context);
  const Kem& wanted = all_kems()[kem];
  Key* key = nullptr;
  try {
    Der der;
    const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_from_core_bio(provider.engine().library(), core_bio),
                                                       &BIO_free);
    if (!in || !read_object(in.get(), der) || !names(der, wanted)) return goes_on;
    warpkem_decoded_key decoded{};
    decoded.struct_size = sizeof decoded;
    if (warpkem_decode_key(der.bytes.data(), der.bytes.size(), &decoded) != WARPKEM_OK) {
      provider.core().raise(Reason::bad_encoding, "%s, at byte %zu", warpkem_last_error(), decoded.error_at);
      return goes_on;
    }
    const bool holds_private = decoded.seed != nullptr || decoded.expanded != nullptr;
    if (decoded.algorithm != wanted.id || decoded.encoding == WARPKEM_ENCODING_CERTIFICATE ||
        holds_private != is_private) {
      return goes_on;
    }
    const auto part = [](const std::uint8_t* data, std::size_t bytes) { return Bytes(data, data ? bytes : 0); };
    key = Key::make(provider, wanted);
    if (key == nullptr || key->set_pair(part(decoded.ek, wanted.ek_bytes()), part(decoded.expanded, wanted.dk_bytes()),
                                        part(decoded.seed, wanted.seed_bytes())) == 0) {
      Key::free(key);
      return goes_on;
    }
  } catch (const std::bad_alloc&) {
    provider.core().raise(Reason::out_of_memory, "no memory for a file");
    return 0;
  }
  int type = OSSL_OBJECT_PKEY;
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
      OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, const_cast<char*>(wanted.name), 0),
      OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof key),
      OSSL_PARAM_construct_end(),
  };
  const int is_taken = take(params, argument);
  Key::free(key);  // null if it was taken
  return is_taken;
}

void* begin(void* provider) { return provider; }
void end(void*) {}

// What a program looks for says nothing about a key that may be private or public.
template <bool is_private>
int does_selection(void*, int selection) {
  constexpr int all_of_private = OSSL_KEYMGMT_SELECT_KEYPAIR;
  return selection == 0 || (selection & (is_private ? all_of_private : OSSL_KEYMGMT_SELECT_PUBLIC_KEY)) != 0;
}

// For a provider that has no part in the key yet.
int export_object(void*, const void* reference, std::size_t bytes, OSSL_CALLBACK* take, void* argument) {
  if (bytes != sizeof(Key*)) return 0;
  const Key* const key = *static_cast<Key* const*>(reference);
  return key != nullptr ? export_key(*key, OSSL_KEYMGMT_SELECT_ALL, take, argument) : 0;
}

template <std::size_t kem, bool is_private>
const OSSL_DISPATCH* functions() noexcept {
  static const OSSL_DISPATCH table[] = {entry(OSSL_FUNC_DECODER_NEWCTX, begin),
                                        entry(OSSL_FUNC_DECODER_FREECTX, end),
                                        entry(OSSL_FUNC_DECODER_DOES_SELECTION, does_selection<is_private>),
                                        entry(OSSL_FUNC_DECODER_DECODE, decode<kem, is_private>),
                                        entry(OSSL_FUNC_DECODER_EXPORT_OBJECT, export_object),
                                        {0, nullptr}};
  return table;
}

}  // namespace

std::span<const FileForm> decoder_forms() noexcept {
  static const FileForm forms[] = {
      {"provider=warpkem,input=der,structure=PrivateKeyInfo",
       {functions<0, true>(), functions<1, true>(), functions<2, true>()}},
      {"provider=warpkem,input=der,structure=SubjectPublicKeyInfo",
       {functions<0, false>(), functions<1, false>(), functions<2, false>()}},
  };
  return forms;
}

}  // namespace warpkem::provider
