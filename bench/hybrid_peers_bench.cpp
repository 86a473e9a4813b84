// Google Benchmark of what hybrids are elsewhere, for `compare --peers-bench`:
//
// - OpenSSL's own group through EVP, where this libcrypto has it (X25519MLKEM768 and others from 3.5 on). As in a
//   handshake, encapsulation begins with the bytes of a share; decapsulation has its key object at hand.
// - The halves alone: the curve's operations by OpenSSL, one at a time with contexts reused, beside batches of this
//   library's ML-KEM, and no combiner. It is the least that a batch costs whose curve half does not run in the lanes.
//
// Batches are of one thread. The label of a line names the peer.
#include <benchmark/benchmark.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "warpkem/warpkem.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t batches[] = {1, 1024};
const std::string libcrypto = std::string("OpenSSL ") + OpenSSL_version(OPENSSL_VERSION_STRING);

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Context = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using Group = std::unique_ptr<EC_GROUP, Freed<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Freed<EC_POINT_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_clear_free>>;
using Scratch = std::unique_ptr<BN_CTX, Freed<BN_CTX_free>>;

// For calls that fail only if the machine or the program is broken.
void must(bool is_right) {
  if (!is_right) std::abort();
}

// ---- the halves

// One party: makes ephemeral keys, and the secret of its last key with a peer's.
class Curve {
 public:
  virtual ~Curve() = default;
  virtual void keygen() = 0;
  virtual void derive() = 0;
};

class X25519 final : public Curve {
 public:
  X25519() : maker_(EVP_PKEY_CTX_new_id(EVP_PKEY_X25519, nullptr)) {
    must(EVP_PKEY_keygen_init(maker_.get()) > 0);
    keygen();
    std::size_t bytes = share_.size();
    must(EVP_PKEY_get_raw_public_key(own_.get(), share_.data(), &bytes) > 0);
  }
  void keygen() override {
    EVP_PKEY* made = nullptr;
    must(EVP_PKEY_keygen(maker_.get(), &made) > 0);
    own_.reset(made);
    std::size_t bytes = 32;
    std::uint8_t encoded[32];
    must(EVP_PKEY_get_raw_public_key(own_.get(), encoded, &bytes) > 0);
  }
  void derive() override {
    const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, share_.data(), share_.size()));
    const Context context(EVP_PKEY_CTX_new(own_.get(), nullptr));
    std::uint8_t secret[32];
    std::size_t bytes = sizeof secret;
    must(EVP_PKEY_derive_init(context.get()) > 0 && EVP_PKEY_derive_set_peer(context.get(), peer.get()) > 0 &&
         EVP_PKEY_derive(context.get(), secret, &bytes) > 0);
  }

 private:
  Context maker_;
  Key own_;
  std::array<std::uint8_t, 32> share_{};
};

// P-256 or P-384 without EVP, whose key objects cost more than the curve.
class NistCurve final : public Curve {
 public:
  explicit NistCurve(int nid) : group_(EC_GROUP_new_by_curve_name(nid)) {
    share_.resize(1 + 2 * ((static_cast<std::size_t>(EC_GROUP_get_degree(group_.get())) + 7) / 8));
    keygen();
    write();
  }
  void keygen() override {
    must(BN_priv_rand_range(k_.get(), EC_GROUP_get0_order(group_.get())) > 0 &&
         EC_POINT_mul(group_.get(), point_.get(), k_.get(), nullptr, nullptr, scratch_.get()) > 0);
    write();
  }
  void derive() override {
    must(EC_POINT_oct2point(group_.get(), point_.get(), share_.data(), share_.size(), scratch_.get()) > 0 &&
         EC_POINT_mul(group_.get(), point_.get(), nullptr, point_.get(), k_.get(), scratch_.get()) > 0 &&
         EC_POINT_get_affine_coordinates(group_.get(), point_.get(), x_.get(), nullptr, scratch_.get()) > 0);
  }

 private:
  void write() {
    must(EC_POINT_point2oct(group_.get(), point_.get(), POINT_CONVERSION_UNCOMPRESSED, share_.data(), share_.size(),
                            scratch_.get()) == share_.size());
  }
  Group group_;
  Point point_{EC_POINT_new(group_.get())};
  Number k_{BN_secure_new()}, x_{BN_new()};
  Scratch scratch_{BN_CTX_secure_new()};
  Bytes share_;
};

// Batches of ML-KEM, on the caller's thread.
class MlKem {
 public:
  MlKem(warpkem_algorithm algorithm, uint32_t dk_format, std::size_t n)
      : algorithm_(algorithm), form_(dk_format), n_(n) {
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.threads = 0;
    warpkem_engine* made = nullptr;
    must(warpkem_engine_new(&options, &made) == WARPKEM_OK);
    engine_.reset(made);
    keygen();
    encaps();
  }
  void keygen() {
    must(warpkem_keygen(engine_.get(), algorithm_, form_, n_, out(ek_), out(dk_), nullptr, nullptr) == WARPKEM_OK);
  }
  void encaps() {
    must(warpkem_encaps(engine_.get(), algorithm_, n_, in(ek_), out(c_), out(K_), nullptr, nullptr) == WARPKEM_OK);
  }
  void decaps() {
    must(warpkem_decaps(engine_.get(), algorithm_, form_, n_, in(dk_), in(c_), out(K_), nullptr, nullptr) ==
         WARPKEM_OK);
  }

 private:
  static warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
  static warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
  Bytes records(uint32_t what) const { return Bytes(n_ * warpkem_size(algorithm_, what)); }

  const warpkem_algorithm algorithm_;
  const uint32_t form_;
  const std::size_t n_;
  std::unique_ptr<warpkem_engine, Freed<warpkem_engine_free>> engine_;
  Bytes ek_ = records(WARPKEM_SIZE_EK), c_ = records(WARPKEM_SIZE_C), K_ = records(WARPKEM_SIZE_K);
  Bytes dk_ = records(form_ == WARPKEM_DK_SEED ? WARPKEM_SIZE_DK_SEED : WARPKEM_SIZE_DK);
};

struct Hybrid {
  const char* name;
  warpkem_algorithm ml_kem;
  uint32_t dk_format;  // in which the hybrid keeps its keys
  int curve;           // NID, or 0 for X25519
};
constexpr Hybrid hybrids[] = {
    {"X25519MLKEM768", WARPKEM_ML_KEM_768, WARPKEM_DK_EXPANDED, 0},
    {"SecP256r1MLKEM768", WARPKEM_ML_KEM_768, WARPKEM_DK_EXPANDED, NID_X9_62_prime256v1},
    {"SecP384r1MLKEM1024", WARPKEM_ML_KEM_1024, WARPKEM_DK_EXPANDED, NID_secp384r1},
    {"MLKEM768-X25519", WARPKEM_ML_KEM_768, WARPKEM_DK_SEED, 0},
    {"MLKEM768-P256", WARPKEM_ML_KEM_768, WARPKEM_DK_SEED, NID_X9_62_prime256v1},
    {"MLKEM1024-P384", WARPKEM_ML_KEM_1024, WARPKEM_DK_SEED, NID_secp384r1},
};

enum class Op { keygen, encaps, decaps };
constexpr std::array op_names{"keygen", "encaps", "decaps"};

void halves(benchmark::State& state, const Hybrid& hybrid, Op op, std::size_t n) {
  MlKem ml_kem(hybrid.ml_kem, hybrid.dk_format, n);
  const std::unique_ptr<Curve> curve =
      hybrid.curve != 0 ? std::unique_ptr<Curve>(new NistCurve(hybrid.curve)) : std::unique_ptr<Curve>(new X25519);
  // Who keeps a seed makes the public key again, for the combiner hashes it.
  const bool makes_key = op != Op::decaps || hybrid.dk_format == WARPKEM_DK_SEED;
  for (auto _ : state) {
    op == Op::keygen ? ml_kem.keygen() : op == Op::encaps ? ml_kem.encaps() : ml_kem.decaps();
    for (std::size_t i = 0; i < n; ++i) {
      if (makes_key) curve->keygen();
      if (op != Op::keygen) curve->derive();
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(n));
  state.SetLabel("peer: " + libcrypto + "'s curve, own ML-KEM");
}

// ---- OpenSSL's own

Key made_by(EVP_PKEY_CTX* maker) {
  EVP_PKEY* made = nullptr;
  must(EVP_PKEY_keygen(maker, &made) > 0);
  return Key(made);
}

// The bytes of a share, and the parameters that a key for it begins with, as in libssl.
struct Share {
  explicit Share(EVP_PKEY* key) {
    unsigned char* bytes = nullptr;
    const std::size_t length = EVP_PKEY_get1_encoded_public_key(key, &bytes);
    must(length != 0);
    encoded.assign(bytes, bytes + length);
    OPENSSL_free(bytes);
  }
  Bytes encoded;
};

void evp(benchmark::State& state, const Hybrid& hybrid, Op op) {
  const Context maker(EVP_PKEY_CTX_new_from_name(nullptr, hybrid.name, nullptr));
  must(EVP_PKEY_keygen_init(maker.get()) > 0);
  const Key own = made_by(maker.get());
  const Share share(own.get());
  Bytes c, K;
  const auto encaps = [&] {
    const Key peer(EVP_PKEY_new());
    must(EVP_PKEY_copy_parameters(peer.get(), own.get()) > 0 &&
         EVP_PKEY_set1_encoded_public_key(peer.get(), share.encoded.data(), share.encoded.size()) > 0);
    const Context context(EVP_PKEY_CTX_new_from_pkey(nullptr, peer.get(), nullptr));
    std::size_t c_bytes = 0, K_bytes = 0;
    must(EVP_PKEY_encapsulate_init(context.get(), nullptr) > 0 &&
         EVP_PKEY_encapsulate(context.get(), nullptr, &c_bytes, nullptr, &K_bytes) > 0);
    c.resize(c_bytes), K.resize(K_bytes);
    must(EVP_PKEY_encapsulate(context.get(), c.data(), &c_bytes, K.data(), &K_bytes) > 0);
  };
  const auto decaps = [&] {
    const Context context(EVP_PKEY_CTX_new_from_pkey(nullptr, own.get(), nullptr));
    std::size_t K_bytes = K.size();
    must(EVP_PKEY_decapsulate_init(context.get(), nullptr) > 0 &&
         EVP_PKEY_decapsulate(context.get(), K.data(), &K_bytes, c.data(), c.size()) > 0);
  };
  encaps();
  for (auto _ : state) {
    switch (op) {
      case Op::keygen:
        static_cast<void>(Share(made_by(maker.get()).get()));
        break;
      case Op::encaps:
        encaps();
        break;
      case Op::decaps:
        decaps();
        break;
    }
  }
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("peer: " + libcrypto + "'s own");
}

bool openssl_has(const char* name) {
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, name, nullptr));
  return context != nullptr && EVP_PKEY_keygen_init(context.get()) > 0;
}

}  // namespace

int main(int argc, char** argv) {
  for (const Hybrid& hybrid : hybrids) {
    for (std::size_t op = 0; op < op_names.size(); ++op) {
      const std::string name = std::string(op_names[op]) + "/" + hybrid.name;
      for (const std::size_t n : batches) {
        benchmark::RegisterBenchmark(
            (name + "/halves/batch:" + std::to_string(n)).c_str(),
            [&hybrid, op, n](benchmark::State& state) { halves(state, hybrid, static_cast<Op>(op), n); });
      }
      if (!openssl_has(hybrid.name)) continue;
      benchmark::RegisterBenchmark((name + "/openssl").c_str(),
                                   [&hybrid, op](benchmark::State& state) { evp(state, hybrid, static_cast<Op>(op)); });
    }
  }
  char json[] = "--benchmark_format=json";
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) argv[i] = json;  // as `compare` asks peers-bench
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
