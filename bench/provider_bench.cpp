// What a TLS handshake does with a group, through EVP: a server sets the client's share on an empty key and
// encapsulates; a client makes a share and decapsulates. By this provider and, where it has the algorithm, by OpenSSL's
// own.
//
// Names: server/X25519MLKEM768/warpkem, client/..., and so on. WARPKEM_PROVIDER_MODULE names another module than the
// build's, WARPKEM_PROVIDER_SETTINGS lines for its section of openssl.cnf, with semicolons between them.
#include <benchmark/benchmark.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
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

OSSL_LIB_CTX* context_with(const char* name, const std::string& module) {
  OSSL_LIB_CTX* const library = OSSL_LIB_CTX_new();
  const char* const more = getenv("WARPKEM_PROVIDER_SETTINGS");
  std::string settings = more != nullptr ? more : "";
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
  must(OSSL_PROVIDER_load(library, name) != nullptr, "loading the provider");
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

}  // namespace

int main(int count, char** words) {
  const char* const module = getenv("WARPKEM_PROVIDER_MODULE");
  OSSL_LIB_CTX* const ours = context_with("warpkem", module != nullptr ? module : WARPKEM_PROVIDER_MODULE);
  OSSL_LIB_CTX* const own = OSSL_LIB_CTX_new();
  for (const char* const algorithm : {"ML-KEM-512", "ML-KEM-768", "ML-KEM-1024", "X25519MLKEM768", "SecP256r1MLKEM768",
                                      "SecP384r1MLKEM1024", "MLKEM768-X25519"}) {
    for (const bool is_ours : {true, false}) {
      const Case one{is_ours ? ours : own, algorithm, is_ours ? "provider=warpkem" : ""};
      ERR_set_mark();
      EVP_KEYMGMT* const found = EVP_KEYMGMT_fetch(one.library, algorithm, one.query.c_str());
      ERR_pop_to_mark();
      if (found == nullptr) continue;
      EVP_KEYMGMT_free(found);
      const std::string name = std::string("/") + algorithm + (is_ours ? "/warpkem" : "/openssl");
      benchmark::RegisterBenchmark(("server" + name).c_str(), server, one);
      benchmark::RegisterBenchmark(("share" + name).c_str(), share, one);
      benchmark::RegisterBenchmark(("client" + name).c_str(), client, one);
      const char* const settings = getenv("WARPKEM_PROVIDER_SETTINGS");
      if (is_ours && settings != nullptr && strstr(settings, "pool_size") != nullptr) {
        benchmark::RegisterBenchmark(("share_ahead" + name).c_str(), share_ahead, one)->Iterations(4000);
      }
    }
  }
  benchmark::Initialize(&count, words);
  if (benchmark::ReportUnrecognizedArguments(count, words)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
