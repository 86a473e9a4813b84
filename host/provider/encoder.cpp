// ENCODER: from a key to a file, as DER, PEM or text. The library's codec writes the DER; PEM and encryption are
// OpenSSL's.
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "host/provider/key.hpp"
#include "host/provider/key_management.hpp"
#include "host/provider/params.hpp"
#include "host/provider/provider.hpp"
#include "warpkem/keyfile.h"

namespace warpkem::provider {

namespace {

enum class Form { public_key, private_key, encrypted, text };

template <auto free>
struct FreeBy {
  template <class T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};
using Output = std::unique_ptr<BIO, FreeBy<BIO_free>>;

struct Encoder {
  Provider& provider;
  std::string cipher, properties;  // where a private key is to be encrypted
};
Encoder& encoder_of(void* context) noexcept { return *static_cast<Encoder*>(context); }

void* begin(void* provider) { return new (std::nothrow) Encoder{*static_cast<Provider*>(provider), {}, {}}; }
void end(void* context) { delete static_cast<Encoder*>(context); }

const OSSL_PARAM* settable_params(void*) {
  static const OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_CIPHER, nullptr, 0),
                                      OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_PROPERTIES, nullptr, 0),
                                      OSSL_PARAM_END};
  return params;
}

int set_params(void* context, const OSSL_PARAM params[]) {
  Encoder& encoder = encoder_of(context);
  const auto read = [params](const char* name, std::string& text) {
    const OSSL_PARAM* const param = OSSL_PARAM_locate_const(params, name);
    const char* given = nullptr;
    if (param == nullptr) return true;
    if (OSSL_PARAM_get_utf8_string_ptr(param, &given) != 1) return false;
    text = given != nullptr ? given : "";
    return true;
  };
  try {
    return read(OSSL_ENCODER_PARAM_CIPHER, encoder.cipher) && read(OSSL_ENCODER_PARAM_PROPERTIES, encoder.properties);
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

// A key of another provider, for which OpenSSL asks us to encode it.
template <std::size_t kem>
void* import_object(void* context, int selection, const OSSL_PARAM params[]) {
  Key* const key = Key::make(encoder_of(context).provider, all_kems()[kem]);
  if (key == nullptr || import_key(*key, selection, params) == 1) return key;
  Key::free(key);
  return nullptr;
}
void free_object(void* key) { Key::free(static_cast<Key*>(key)); }

// DER of a key, secret if the key is. Empty, with an error in the queue, where there is none.
struct Der {
  ~Der() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  std::vector<std::uint8_t> bytes;
};

void encode(const Key& key, bool is_private, Der& der) {
  const Core& core = key.provider().core();
  if (is_private ? !key.has_dk() : !key.has_ek()) {
    core.raise(is_private ? Reason::no_private_key : Reason::no_key, "%s", key.kem().name);
    return;
  }
  std::uint32_t form = is_private ? key.provider().settings().private_keys : WARPKEM_ENCODING_PUBLIC;
  if (is_private && !key.has_seed()) form = WARPKEM_ENCODING_EXPANDED;
  const auto in = [](Bytes bytes) { return warpkem_in{bytes.data(), bytes.size(), 0}; };
  const Bytes content = form == WARPKEM_ENCODING_PUBLIC     ? key.ek()
                        : form == WARPKEM_ENCODING_EXPANDED ? key.dk()
                                                            : key.seed();
  der.bytes.resize(warpkem_encoded_bytes(key.kem().id, form));
  const warpkem_status status =
      warpkem_encode_keys(key.kem().id, form, 1, in(content), in(form == WARPKEM_ENCODING_BOTH ? key.dk() : Bytes()),
                          {der.bytes.data(), der.bytes.size(), 0});
  if (status == WARPKEM_OK) return;
  core.raise(status);
  der.bytes.clear();
}

// PKCS#8 under a password, by the cipher that was set.
void encrypt(const Encoder& encoder, Der& der, OSSL_PASSPHRASE_CALLBACK* ask, void* argument) {
  OSSL_LIB_CTX* const library = encoder.provider.engine().library();
  char password[PEM_BUFSIZE];
  std::size_t bytes = 0;
  const std::unique_ptr<EVP_CIPHER, FreeBy<EVP_CIPHER_free>> cipher(
      EVP_CIPHER_fetch(library, encoder.cipher.c_str(), encoder.properties.c_str()));
  const std::uint8_t* at = der.bytes.data();
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, FreeBy<PKCS8_PRIV_KEY_INFO_free>> plain(
      d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, static_cast<long>(der.bytes.size())));
  std::unique_ptr<X509_SIG, FreeBy<X509_SIG_free>> sealed;
  if (cipher && plain && ask != nullptr && ask(password, sizeof password, &bytes, nullptr, argument) == 1) {
    sealed.reset(PKCS8_encrypt_ex(-1, cipher.get(), password, static_cast<int>(bytes), nullptr, 0, 0, plain.get(),
                                  library, nullptr));
  }
  OPENSSL_cleanse(password, sizeof password);
  OPENSSL_cleanse(der.bytes.data(), der.bytes.size());
  der.bytes.clear();
  std::uint8_t* encoded = nullptr;
  const int length = sealed ? i2d_X509_SIG(sealed.get(), &encoded) : 0;
  if (length > 0) der.bytes.assign(encoded, encoded + length);
  OPENSSL_free(encoded);
  if (der.bytes.empty()) encoder.provider.core().raise(Reason::operation_failed, "the key could not be encrypted");
}

bool write_text(BIO* out, const Key& key, bool with_private) {
  const auto print = [out](const char* title, Bytes bytes) {
    return bytes.empty() || (BIO_printf(out, "%s:\n", title) > 0 &&
                             BIO_dump_indent(out, bytes.data(), static_cast<int>(bytes.size()), 4) > 0);
  };
  const bool is_private = with_private && key.has_dk();
  return BIO_printf(out, "%s %s-Key:\n", key.kem().name, is_private ? "Private" : "Public") > 0 &&
         (!is_private || (print("seed", key.seed()) && print("dk", key.dk()))) && print("ek", key.ek());
}

template <Form form, bool is_pem>
int encode(void* context, OSSL_CORE_BIO* core_bio, const void* object, const OSSL_PARAM[], int selection,
           OSSL_PASSPHRASE_CALLBACK* ask, void* argument) {
  const Encoder& encoder = encoder_of(context);
  if (object == nullptr) return 0;
  const Key& key = *static_cast<const Key*>(object);
  const Output out(BIO_new_from_core_bio(encoder.provider.engine().library(), core_bio));
  if (!out) return 0;
  if constexpr (form == Form::text)
    return write_text(out.get(), key, (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0);
  try {
    Der der;
    encode(key, form != Form::public_key, der);
    const bool is_encrypted = form == Form::encrypted || (form == Form::private_key && !encoder.cipher.empty());
    if (is_encrypted && !der.bytes.empty()) encrypt(encoder, der, ask, argument);
    if (der.bytes.empty()) return 0;
    const char* const name = form == Form::public_key ? PEM_STRING_PUBLIC
                             : is_encrypted           ? PEM_STRING_PKCS8
                                                      : PEM_STRING_PKCS8INF;
    const int length = static_cast<int>(der.bytes.size());
    if (is_pem) return PEM_write_bio(out.get(), name, "", der.bytes.data(), length) > 0;
    return BIO_write(out.get(), der.bytes.data(), length) == length;
  } catch (const std::bad_alloc&) {
    return encoder.provider.core().raise(Reason::out_of_memory, "no memory for a file");
  }
}

template <Form form>
int does_selection(void*, int selection) {
  if (form == Form::text) return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
  if (form == Form::public_key) {
    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0;
  }
  return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

template <std::size_t kem, Form form, bool is_pem>
const OSSL_DISPATCH* functions() noexcept {
  static const OSSL_DISPATCH table[] = {entry(OSSL_FUNC_ENCODER_NEWCTX, begin),
                                        entry(OSSL_FUNC_ENCODER_FREECTX, end),
                                        entry(OSSL_FUNC_ENCODER_SET_CTX_PARAMS, set_params),
                                        entry(OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, settable_params),
                                        entry(OSSL_FUNC_ENCODER_DOES_SELECTION, does_selection<form>),
                                        entry(OSSL_FUNC_ENCODER_ENCODE, encode<form, is_pem>),
                                        entry(OSSL_FUNC_ENCODER_IMPORT_OBJECT, import_object<kem>),
                                        entry(OSSL_FUNC_ENCODER_FREE_OBJECT, free_object),
                                        {0, nullptr}};
  return table;
}

template <Form form, bool is_pem>
FileForm file_form(const char* properties) noexcept {
  return {properties, {functions<0, form, is_pem>(), functions<1, form, is_pem>(), functions<2, form, is_pem>()}};
}

}  // namespace

std::span<const FileForm> encoder_forms() noexcept {
  static const FileForm forms[] = {
      file_form<Form::private_key, false>("provider=warpkem,output=der,structure=PrivateKeyInfo"),
      file_form<Form::private_key, true>("provider=warpkem,output=pem,structure=PrivateKeyInfo"),
      file_form<Form::encrypted, false>("provider=warpkem,output=der,structure=EncryptedPrivateKeyInfo"),
      file_form<Form::encrypted, true>("provider=warpkem,output=pem,structure=EncryptedPrivateKeyInfo"),
      file_form<Form::public_key, false>("provider=warpkem,output=der,structure=SubjectPublicKeyInfo"),
      file_form<Form::public_key, true>("provider=warpkem,output=pem,structure=SubjectPublicKeyInfo"),
      file_form<Form::text, false>("provider=warpkem,output=text"),
  };
  return forms;
}

}  // namespace warpkem::provider
