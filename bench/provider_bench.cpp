// What a TLS handshake does with a group, through EVP: a server sets the client's share on an empty key and
// encapsulates; a client makes a share and decapsulates. By this provider, by OpenSSL's own code where it has the
// algorithm, and by another provider, if one is named. Besides: encapsulations to a key that was imported once.
//
// Names: server/X25519MLKEM768/warpkem, client/..., and so on. server/X25519MLKEM768/halves is made of two servers'
// parts: OpenSSL's X25519, and this provider's ML-KEM-768. WARPKEM_PROVIDER_MODULE names another module than the
// build's, WARPKEM_PROVIDER_SETTINGS lines for its section of openssl.cnf, with semicolons between them, and
// WARPKEM_PROVIDER_PEER another provider, as NAME=MODULE.
#include <benchmark/benchmark.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using Octets = std::vector<unsigned char>;

void must(bool is_good, const char* what) {
  if (is_good) return;
  fprintf(stderr, "provider_bench: %s failed\n", what);
  ERR_print_errors_fp(stderr);
  exit(1);
}

std::string environment(const char* name) {
  const char* const value = getenv(name);
  return value != nullptr ? value : "";
}

OSSL_LIB_CTX* context_with(const std::string& name, const std::string& module, std::string settings = "") {
  OSSL_LIB_CTX* const library = OSSL_LIB_CTX_new();
  std::replace(settings.begin(), settings.end(), ';', '\n');
  char path[] = "/tmp/provider-bench-XXXXXX";
  const int file = mkstemp(path);
  must(file >= 0, "a configuration");
  close(file);
  std::ofstream(path) << "openssl_conf = all\n[all]\nproviders = providers\n[providers]\ndefault = standard\n"
                      << name << " = ours\n[standard]\nactivate = 1\n[ours]\nmodule = " << module << "\n"
                      << settings << "\n";
  must(OSSL_LIB_CTX_load_config(library, path) == 1, "the configuration");
  unlink(path);
  must(OSSL_PROVIDER_load(library, name.c_str()) != nullptr, "loading the provider");
  return library;
}

struct Case {
  OSSL_LIB_CTX* library;
  std::string algorithm, query;

  EVP_PKEY* generate(int (*begin)(EVP_PKEY_CTX*)) const {
    EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_name(library, algorithm.c_str(), query.c_str());
    EVP_PKEY* key = nullptr;
    must(context != nullptr && begin(context) == 1 && EVP_PKEY_generate(context, &key) == 1, "a key");
    EVP_PKEY_CTX_free(context);
    return key;
  }
  Octets share(EVP_PKEY* key) const {
    unsigned char* encoded = nullptr;
    const std::size_t bytes = EVP_PKEY_get1_encoded_public_key(key, &encoded);
    must(bytes != 0, "a share");
    Octets all(encoded, encoded + bytes);
    OPENSSL_free(encoded);
    return all;
  }
  // The server's part: as libssl does it.
  void encapsulate(const Octets& share, Octets& c, Octets& K) const {
    EVP_PKEY* const key = generate(EVP_PKEY_paramgen_init);
    must(EVP_PKEY_set1_encoded_public_key(key, share.data(), share.size()) == 1, "a client's share");
    EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(library, key, query.c_str());
    std::size_t c_bytes = 0, K_bytes = 0;
    must(EVP_PKEY_encapsulate_init(context, nullptr) == 1 &&
             EVP_PKEY_encapsulate(context, nullptr, &c_bytes, nullptr, &K_bytes) == 1,
         "lengths");
    c.resize(c_bytes);
    K.resize(K_bytes);
    must(EVP_PKEY_encapsulate(context, c.data(), &c_bytes, K.data(), &K_bytes) == 1, "encapsulation");
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
  }
  // The server makes its own share and derives the secret. This is for a group that is a key exchange, not a KEM.
  void exchange(const Octets& share, Octets& own_share, Octets& secret) const {
    EVP_PKEY* const own = generate(EVP_PKEY_keygen_init);
    own_share = this->share(own);
    EVP_PKEY* const theirs = EVP_PKEY_new();
    must(EVP_PKEY_copy_parameters(theirs, own) == 1 &&
             EVP_PKEY_set1_encoded_public_key(theirs, share.data(), share.size()) == 1,
         "a client's share");
    EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(library, own, query.c_str());
    std::size_t bytes = 0;
    must(EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_derive_set_peer(context, theirs) == 1 &&
             EVP_PKEY_derive(context, nullptr, &bytes) == 1,
         "a length");
    secret.resize(bytes);
    must(EVP_PKEY_derive(context, secret.data(), &bytes) == 1, "a secret");
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(own);
  }
  void decapsulate(EVP_PKEY* key, const Octets& c, Octets& K) const {
    EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(library, key, query.c_str());
    std::size_t K_bytes = 0;
    must(EVP_PKEY_decapsulate_init(context, nullptr) == 1 &&
             EVP_PKEY_decapsulate(context, nullptr, &K_bytes, c.data(), c.size()) == 1,
         "a length");
    K.resize(K_bytes);
    must(EVP_PKEY_decapsulate(context, K.data(), &K_bytes, c.data(), c.size()) == 1, "decapsulation");
    EVP_PKEY_CTX_free(context);
  }
};

void server(benchmark::State& state, const Case& one) {
  EVP_PKEY* const client = one.generate(EVP_PKEY_keygen_init);
  const Octets share = one.share(client);
  Octets c, K, K2;
  one.encapsulate(share, c, K);
  one.decapsulate(client, c, K2);
  must(K == K2, "agreement");
  for (auto _ : state) one.encapsulate(share, c, K);
  EVP_PKEY_free(client);
}

void halves(benchmark::State& state, const Case& ml_kem, const Case& curve) {
  EVP_PKEY *const first = ml_kem.generate(EVP_PKEY_keygen_init), *const second = curve.generate(EVP_PKEY_keygen_init);
  const Octets ek = ml_kem.share(first), element = curve.share(second);
  Octets c, K, own, secret;
  for (auto _ : state) {
    ml_kem.encapsulate(ek, c, K);
    curve.exchange(element, own, secret);
  }
  EVP_PKEY_free(first);
  EVP_PKEY_free(second);
}

void encaps(benchmark::State& state, const Case& one) {
  EVP_PKEY* const key = one.generate(EVP_PKEY_keygen_init);
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(one.library, key, one.query.c_str());
  std::size_t c_bytes = 0, K_bytes = 0;
  must(EVP_PKEY_encapsulate_init(context, nullptr) == 1 &&
           EVP_PKEY_encapsulate(context, nullptr, &c_bytes, nullptr, &K_bytes) == 1,
       "lengths");
  Octets c(c_bytes), K(K_bytes);
  for (auto _ : state) {
    must(EVP_PKEY_encapsulate(context, c.data(), &c_bytes, K.data(), &K_bytes) == 1, "encapsulation");
  }
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(key);
}

void share(benchmark::State& state, const Case& one) {
  for (auto _ : state) {
    EVP_PKEY* const key = one.generate(EVP_PKEY_keygen_init);
    benchmark::DoNotOptimize(one.share(key));
    EVP_PKEY_free(key);
  }
}

// From a pool that is full: fewer than half of WARPKEM_PROVIDER_SETTINGS's pool_size, so that its thread sleeps.
void share_ahead(benchmark::State& state, const Case& one) {
  EVP_PKEY_free(one.generate(EVP_PKEY_keygen_init));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  share(state, one);
}

void client(benchmark::State& state, const Case& one) {
  EVP_PKEY* const first = one.generate(EVP_PKEY_keygen_init);
  Octets c, K;
  one.encapsulate(one.share(first), c, K);
  EVP_PKEY_free(first);
  for (auto _ : state) {
    EVP_PKEY* const key = one.generate(EVP_PKEY_keygen_init);
    benchmark::DoNotOptimize(one.share(key));
    one.decapsulate(key, c, K);
    EVP_PKEY_free(key);
  }
}

bool serves(OSSL_LIB_CTX* library, const char* algorithm, const std::string& query) {
  ERR_set_mark();
  EVP_KEYMGMT* const found = EVP_KEYMGMT_fetch(library, algorithm, query.c_str());
  ERR_pop_to_mark();
  EVP_KEYMGMT_free(found);
  return found != nullptr;
}

// The names that providers know it by.
struct Algorithm {
  std::vector<const char*> names;
};
const Algorithm algorithms[] = {
    {{"ML-KEM-512", "mlkem512"}}, {{"ML-KEM-768", "mlkem768"}}, {{"ML-KEM-1024", "mlkem1024"}}, {{"X25519MLKEM768"}},
    {{"SecP256r1MLKEM768"}},      {{"SecP384r1MLKEM1024"}},     {{"MLKEM768-X25519"}}};

}  // namespace

int main(int count, char** words) {
  const std::string module = environment("WARPKEM_PROVIDER_MODULE"), peer = environment("WARPKEM_PROVIDER_PEER"),
                    settings = environment("WARPKEM_PROVIDER_SETTINGS");
  struct Provider {
    std::string name, query;
    OSSL_LIB_CTX* library;
  };
  std::vector<Provider> providers{
      {"warpkem", "provider=warpkem",
       context_with("warpkem", module.empty() ? WARPKEM_PROVIDER_MODULE : module, settings)},
      {"openssl", "", OSSL_LIB_CTX_new()}};
  if (!peer.empty()) {
    const std::size_t equals = peer.find('=');
    must(equals != std::string::npos, "WARPKEM_PROVIDER_PEER, which is NAME=MODULE,");
    const std::string name = peer.substr(0, equals);
    providers.push_back({name, "provider=" + name, context_with(name, peer.substr(equals + 1))});
  }
  for (const Algorithm& algorithm : algorithms) {
    for (const Provider& provider : providers) {
      const auto found = std::ranges::find_if(
          algorithm.names, [&](const char* name) { return serves(provider.library, name, provider.query); });
      if (found == algorithm.names.end()) continue;
      const Case one{provider.library, *found, provider.query};
      const std::string name = std::string("/") + algorithm.names.front() + "/" + provider.name;
      benchmark::RegisterBenchmark(("server" + name).c_str(), server, one);
      benchmark::RegisterBenchmark(("share" + name).c_str(), share, one);
      benchmark::RegisterBenchmark(("client" + name).c_str(), client, one);
      benchmark::RegisterBenchmark(("encaps" + name).c_str(), encaps, one);
      if (provider.name == "warpkem" && settings.find("pool_size") != std::string::npos) {
        benchmark::RegisterBenchmark(("share_ahead" + name).c_str(), share_ahead, one)->Iterations(4000);
      }
    }
  }
  const Case ml_kem{providers[0].library, "ML-KEM-768", providers[0].query}, curve{providers[1].library, "X25519", ""};
  benchmark::RegisterBenchmark("server/X25519MLKEM768/halves", halves, ml_kem, curve);
  benchmark::Initialize(&count, words);
  if (benchmark::ReportUnrecognizedArguments(count, words)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
