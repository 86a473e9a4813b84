#include "tools/warpkem/keys/passphrase.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#ifdef WARPKEM_TOOL_HAS_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#endif

namespace warpkem::tool {
namespace {

constexpr std::size_t most_bytes = 1024;

// The first line of what a descriptor gives.
std::size_t read_line(const std::string& label, int fd, Buffer& to) {
  to.grow(most_bytes + 1);
  std::size_t have = 0;
  const auto end_of_line = [&] { return std::find(to.data(), to.data() + have, '\n'); };
  while (have < to.size() && end_of_line() == to.data() + have) {
    const ssize_t got = read(fd, to.data() + have, to.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(fmt::format("{}: read: {}", label, std::strerror(errno)));
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  auto bytes = static_cast<std::size_t>(end_of_line() - to.data());
  if (bytes > most_bytes) throw Error(fmt::format("{}: the first line has more than {} bytes", label, most_bytes));
  if (bytes > 0 && to.data()[bytes - 1] == '\r') --bytes;
  return bytes;
}

#ifdef WARPKEM_TOOL_HAS_OPENSSL

// A file says itself how much work it is to derive its key. These are some seconds; without a bound one object could
// take hours.
constexpr std::uint64_t most_pbkdf2_iterations = 10'000'000;
constexpr std::uint64_t most_scrypt_blocks = std::uint64_t{1} << 24;

template <class T>
std::unique_ptr<T, void (*)(T*)> parameters_of(const X509_ALGOR* algorithm, const ASN1_ITEM* item, void (*free)(T*)) {
  int type = V_ASN1_UNDEF;
  const void* value = nullptr;
  X509_ALGOR_get0(nullptr, &type, &value, algorithm);
  if (type != V_ASN1_SEQUENCE) return {nullptr, free};
  return {static_cast<T*>(ASN1_item_unpack(static_cast<const ASN1_STRING*>(value), item)), free};
}

// A number that does not fit is the largest.
std::uint64_t number(const ASN1_INTEGER* integer) {
  std::uint64_t value = 0;
  return ASN1_INTEGER_get_uint64(&value, integer) == 1 ? value : UINT64_MAX;
}

// Whether PBES2 asks for more work than is done here. What cannot be read is for OpenSSL to refuse.
bool is_too_much_work(const X509_ALGOR* pbes2) {
  const auto scheme = parameters_of<PBE2PARAM>(pbes2, ASN1_ITEM_rptr(PBE2PARAM), PBE2PARAM_free);
  if (scheme == nullptr) return false;
  const ASN1_OBJECT* name = nullptr;
  X509_ALGOR_get0(&name, nullptr, nullptr, scheme->keyfunc);
  if (OBJ_obj2nid(name) == NID_id_pbkdf2) {
    const auto pbkdf2 = parameters_of<PBKDF2PARAM>(scheme->keyfunc, ASN1_ITEM_rptr(PBKDF2PARAM), PBKDF2PARAM_free);
    return pbkdf2 != nullptr && number(pbkdf2->iter) > most_pbkdf2_iterations;
  }
  const auto scrypt = parameters_of<SCRYPT_PARAMS>(scheme->keyfunc, ASN1_ITEM_rptr(SCRYPT_PARAMS), SCRYPT_PARAMS_free);
  if (OBJ_obj2nid(name) != NID_id_scrypt || scrypt == nullptr) return false;
  std::uint64_t allowed = most_scrypt_blocks;
  for (const ASN1_INTEGER* factor : {scrypt->costParameter, scrypt->blockSize, scrypt->parallelizationParameter}) {
    allowed /= std::max<std::uint64_t>(number(factor), 1);
  }
  return allowed == 0;
}

#endif

}  // namespace

Passphrase::Passphrase(const PassphraseOptions& options) {
  if (!options.file.empty() && options.descriptor >= 0)
    throw Error("--passphrase-file and --passphrase-fd exclude each other; give one");
  if (!options.file.empty()) {
    const std::string label = "--passphrase-file " + options.file;
    const FileDescriptor file(open(options.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (file.get() < 0) throw Error(fmt::format("{}: open: {}", label, std::strerror(errno)));
    bytes_ = read_line(label, file.get(), text_);
    is_known_ = true;
  } else if (options.descriptor >= 0) {
    bytes_ = read_line(fmt::format("--passphrase-fd {}", options.descriptor), options.descriptor, text_);
    is_known_ = true;
  }
}

#ifdef WARPKEM_TOOL_HAS_OPENSSL

bool Passphrase::ask(std::string& error) {
  std::call_once(asked_, [this] {
    if (is_known_) return;
    // Without a terminal OpenSSL would read standard input, which may be the keys.
    const FileDescriptor terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (terminal.get() < 0) {
      why_not_ = "is encrypted, and there is neither a terminal nor --passphrase-file or --passphrase-fd";
      return;
    }
    text_.grow(most_bytes + 1);
    char* const to = reinterpret_cast<char*>(text_.data());
    if (EVP_read_pw_string(to, static_cast<int>(most_bytes), "Passphrase of the encrypted keys: ", 0) != 0) {
      why_not_ = "is encrypted, and no passphrase was given";
      return;
    }
    bytes_ = std::strlen(to);
    is_known_ = true;
  });
  if (!is_known_) error = why_not_;
  return is_known_;
}

std::size_t Passphrase::decrypt(std::span<const std::uint8_t> der, std::uint8_t* out, std::string& error) {
  const std::uint8_t* at = der.data();
  const std::unique_ptr<X509_SIG, decltype(&X509_SIG_free)> object(
      d2i_X509_SIG(nullptr, &at, static_cast<long>(der.size())), &X509_SIG_free);
  ERR_clear_error();
  if (object == nullptr || at != der.data() + der.size()) {
    error = "no EncryptedPrivateKeyInfo (RFC 5958, Section 3)";
    return 0;
  }
  const X509_ALGOR* algorithm = nullptr;
  const ASN1_OCTET_STRING* encrypted = nullptr;
  X509_SIG_get0(object.get(), &algorithm, &encrypted);
  const ASN1_OBJECT* name = nullptr;
  X509_ALGOR_get0(&name, nullptr, nullptr, algorithm);
  if (OBJ_obj2nid(name) != NID_pbes2) {
    char text[80] = "";
    OBJ_obj2txt(text, sizeof text, name, 0);
    error = fmt::format("is encrypted by {}; accepted: PBES2 (RFC 8018)", text);
    return 0;
  }
  if (is_too_much_work(algorithm)) {
    error = fmt::format(
        "asks for too much work to derive its key; accepted: PBKDF2 with at most {} iterations, scrypt with N r p "
        "of at most {}",
        most_pbkdf2_iterations, most_scrypt_blocks);
    return 0;
  }
  if (!ask(error)) return 0;
  unsigned char* plain = nullptr;
  int bytes = 0;
  const bool good =
      PKCS12_pbe_crypt(algorithm, reinterpret_cast<const char*>(text_.data()), static_cast<int>(bytes_),
                       ASN1_STRING_get0_data(encrypted), ASN1_STRING_length(encrypted), &plain, &bytes, 0) != nullptr;
  ERR_clear_error();
  if (!good || bytes <= 0 || static_cast<std::size_t>(bytes) > der.size()) {
    OPENSSL_free(plain);
    error = "cannot be decrypted: the passphrase is another one, or the object is damaged";
    return 0;
  }
  std::copy_n(plain, bytes, out);
  OPENSSL_clear_free(plain, static_cast<std::size_t>(bytes));
  return static_cast<std::size_t>(bytes);
}

#else

bool Passphrase::ask(std::string&) { return is_known_; }

std::size_t Passphrase::decrypt(std::span<const std::uint8_t>, std::uint8_t*, std::string& error) {
  error = "is encrypted, and this build has no OpenSSL to decrypt it";
  return 0;
}

#endif

}  // namespace warpkem::tool
