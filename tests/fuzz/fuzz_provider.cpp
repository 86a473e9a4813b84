// The OpenSSL provider from its outside: shares as libssl sets them ("encoded-pub-key"), keys as programs import them,
// and key files through its decoders, as DER and as PEM. Good ones with edits, cut and lengthened, or the fuzzer's own
// bytes. What is refused leaves an error and no key; what is taken works, and is written and read back as the same.
#include <openssl/decoder.h>
#include <openssl/encoder.h>

#include <array>

#include "tests/fuzz/fuzz.hpp"
#include "tests/provider/evp.hpp"

using namespace warpkem::fuzz;

namespace {

constexpr std::array<const char*, 7> algorithms{"ML-KEM-512",     "ML-KEM-768",        "ML-KEM-1024",
                                                "X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024",
                                                "MLKEM768-X25519"};
constexpr std::size_t num_with_files = 3;

OSSL_LIB_CTX* library() {
  static const evp::LibraryContext& loaded = *[] {
    auto* const made = new evp::LibraryContext(evp::load("private_keys = both"));
    if (!*made) die("the provider does not load: " + evp::errors());
    return made;
  }();
  return loaded.get();
}

const char* structure_of(bool is_private) { return is_private ? "PrivateKeyInfo" : "SubjectPublicKeyInfo"; }
int selection_of(bool is_private) { return is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY; }

Bytes write(const evp::Key& key, const char* form, bool is_private) {
  OSSL_ENCODER_CTX* const encoder =
      OSSL_ENCODER_CTX_new_for_pkey(key.get(), selection_of(is_private), form, structure_of(is_private), nullptr);
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
  if (OSSL_ENCODER_to_data(encoder, &data, &bytes) != 1) die("a key is not written: " + evp::errors());
  OSSL_ENCODER_CTX_free(encoder);
  const Bytes all(data, data + bytes);
  OPENSSL_free(data);
  return all;
}

// Null where it is refused.
evp::Key read(const Bytes& file, const char* form, bool is_private) {
  EVP_PKEY* key = nullptr;
  OSSL_DECODER_CTX* const decoder = OSSL_DECODER_CTX_new_for_pkey(&key, form, structure_of(is_private), nullptr,
                                                                  selection_of(is_private), library(), nullptr);
  const unsigned char* data = file.data();
  std::size_t bytes = file.size();
  OSSL_DECODER_from_data(decoder, &data, &bytes);
  OSSL_DECODER_CTX_free(decoder);
  return evp::Key(key);
}

// Of one algorithm: a key pair, its parts, and its files.
struct Pair {
  explicit Pair(std::size_t algorithm)
      : name(algorithms[algorithm]),
        key(evp::generate(library(), name)),
        pub(evp::octets(key, "pub")),
        priv(evp::octets(key, "priv")),
        seed(evp::octets(key, "seed")) {
    for (const char* const form : {"DER", "PEM"}) {
      for (const bool is_private : {false, true}) {
        if (algorithm < num_with_files) files.push_back({form, is_private, write(key, form, is_private)});
      }
    }
  }
  struct File {
    const char* form;
    bool is_private;
    Bytes content;
  };
  const char* name;
  evp::Key key;
  Bytes pub, priv, seed;
  std::vector<File> files;
};

const Pair& pair_of(std::size_t algorithm) {
  static const std::vector<Pair>& all = *[] {
    auto* const made = new std::vector<Pair>;
    for (std::size_t i = 0; i < algorithms.size(); ++i) made->emplace_back(i);
    return made;
  }();
  return all[algorithm % all.size()];
}

// The good octets changed, or the fuzzer's own.
Bytes changed(Bytes octets, Input& input) {
  const std::uint8_t how = input.byte();
  if (how % 16 == 15) {
    octets.clear();
    while (!input.empty()) octets.push_back(input.byte());
    return octets;
  }
  const std::size_t cut = how % 4 == 1 ? input.word() : 0, more = how % 4 == 2 ? input.byte() : 0;
  octets.resize(octets.size() - std::min(cut, octets.size()) + more);
  for (std::size_t edits = input.byte() % 4; edits != 0; --edits) {  // of the headers, where a file has its rules
    const std::size_t at = input.byte() % 80;
    const std::uint8_t value = input.byte();
    if (at < octets.size()) octets[at] = value;
  }
  input.edit(octets);
  octets.shrink_to_fit();  // for AddressSanitizer to see what is behind it
  return octets;
}

void must_work(const evp::Key& key, bool has_dk) {
  const evp::Sent sent = evp::encapsulate(library(), key);
  if (sent.K.empty()) die("a key that was taken does not encapsulate: " + evp::errors());
  if (has_dk && evp::decapsulate(library(), key, sent.c) != sent.K) die("a pair that was taken is none");
}

void must_be_refused_with_a_reason() {
  if (ERR_peek_error() == 0) die("refused without an error");
}

void set_share(const Pair& pair, Input& input) {
  const Bytes share = changed(pair.pub, input);
  const evp::Key key = evp::parameters(library(), pair.name);
  if (EVP_PKEY_set1_encoded_public_key(key.get(), share.data(), share.size()) != 1) {
    must_be_refused_with_a_reason();
    if (!evp::octets(key, "pub").empty()) die("a refused share is there");
    return;
  }
  if (evp::octets(key, "pub") != share) die("another share than the one that was set");
  must_work(key, false);
}

void import(const Pair& pair, Input& input) {
  const std::uint8_t parts = input.byte();
  const auto part = [&](unsigned bit, const Bytes& good) {
    return (parts >> bit & 1) == 0 ? Bytes() : (parts >> (bit + 3) & 1) == 0 ? good : changed(good, input);
  };
  const Bytes pub = part(0, pair.pub), priv = part(1, pair.priv), seed = part(2, pair.seed);
  const evp::Key key = evp::import(library(), pair.name, pub, priv, seed);
  if (!key) return must_be_refused_with_a_reason();
  must_work(key, !evp::octets(key, "priv").empty());  // a seed of a hybrid is passed over
}

void read_file(const Pair& pair, Input& input) {
  if (pair.files.empty()) return;
  const Pair::File& good = pair.files[input.byte() % pair.files.size()];
  const evp::Key key = read(changed(good.content, input), good.form, good.is_private);
  if (!key) return must_be_refused_with_a_reason();
  must_work(key, good.is_private);
  const evp::Key again = read(write(key, good.form, good.is_private), good.form, good.is_private);
  if (EVP_PKEY_eq(key.get(), again.get()) != 1 || evp::octets(key, "priv") != evp::octets(again, "priv")) {
    die("written and read, it is another key");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  const std::uint8_t what = input.byte();
  const Pair& pair = pair_of(input.byte());
  ERR_clear_error();
  (what % 4 == 0 ? set_share : what % 4 == 1 ? import : read_file)(pair, input);
  ERR_clear_error();
  return 0;
}
