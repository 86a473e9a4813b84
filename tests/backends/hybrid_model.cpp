#include "tests/backends/hybrid_model.hpp"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string_view>

namespace warpkem::test {
namespace {

Bytes of(std::string_view text) { return {text.begin(), text.end()}; }

Bytes part(const Bytes& bytes, std::size_t offset, std::size_t count) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

Bytes joined(std::initializer_list<const Bytes*> parts) {
  Bytes result;
  for (const Bytes* one : parts) result.insert(result.end(), one->begin(), one->end());
  return result;
}

Bytes hash(const EVP_MD* md, const Bytes& message, std::size_t bytes) {
  Bytes digest(bytes);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), md, nullptr);
  EVP_DigestUpdate(context.get(), message.data(), message.size());
  if ((EVP_MD_flags(md) & EVP_MD_FLAG_XOF) != 0) {
    EVP_DigestFinalXOF(context.get(), digest.data(), bytes);
  } else {
    EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  }
  return digest;
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Curve = std::unique_ptr<EC_GROUP, decltype(&EC_GROUP_free)>;
using Point = std::unique_ptr<EC_POINT, decltype(&EC_POINT_free)>;
using Number = std::unique_ptr<BIGNUM, decltype(&BN_free)>;

Curve curve_of(std::size_t scalar) {
  return {EC_GROUP_new_by_curve_name(scalar == 32 ? NID_X9_62_prime256v1 : NID_secp384r1), EC_GROUP_free};
}

Number number(const Bytes& k) { return {BN_bin2bn(k.data(), static_cast<int>(k.size()), nullptr), BN_free}; }

void must(warpkem_status status) {
  if (status != WARPKEM_OK) throw std::runtime_error(warpkem_last_error());
}

warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }

}  // namespace

HybridModel::HybridModel(warpkem_algorithm id)
    : algorithm(id),
      ml_kem(id == WARPKEM_SECP384R1MLKEM1024 || id == WARPKEM_MLKEM1024_P384 ? WARPKEM_ML_KEM_1024
                                                                              : WARPKEM_ML_KEM_768),
      combines(id >= WARPKEM_MLKEM768_X25519),
      group_first(id == WARPKEM_SECP256R1MLKEM768 || id == WARPKEM_SECP384R1MLKEM1024),
      half(ml_kem) {
  switch (id) {
    case WARPKEM_X25519MLKEM768:
    case WARPKEM_MLKEM768_X25519:
      scalar = element = secret = randomness = 32;
      label = of("\\.//^\\");
      return;
    case WARPKEM_SECP256R1MLKEM768:
    case WARPKEM_MLKEM768_P256:
      scalar = secret = 32, element = 65, randomness = 128;
      label = of("MLKEM768-P256");
      before = {0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20};
      after = {0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
      return;
    default:
      scalar = secret = randomness = 48, element = 97;
      label = of("MLKEM1024-P384");
      before = {0x30, 0x3e, 0x02, 0x01, 0x01, 0x04, 0x30};
      after = {0xa0, 0x07, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
  }
}

std::size_t HybridModel::in_dk(std::uint32_t format) const {
  if (format == WARPKEM_DK_COMPOSITE) return 64 + before.size();
  return format == WARPKEM_DK_SEED ? 64 : group_first ? 0 : half.dk;
}

std::optional<Bytes> HybridModel::scalar_of(const Bytes& bytes) const {
  if (element == 32) return bytes;
  const Curve curve = curve_of(scalar);
  for (std::size_t at = 0; at < bytes.size(); at += scalar) {
    const Bytes candidate = part(bytes, at, scalar);
    const Number k = number(candidate);
    if (!BN_is_zero(k.get()) && BN_cmp(k.get(), EC_GROUP_get0_order(curve.get())) < 0) return candidate;
  }
  return std::nullopt;
}

Bytes HybridModel::public_key(const Bytes& k) const {
  Bytes result(element);
  if (element == 32) {
    const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k.data(), 32), EVP_PKEY_free);
    std::size_t bytes = 32;
    EVP_PKEY_get_raw_public_key(key.get(), result.data(), &bytes);
    return result;
  }
  const Curve curve = curve_of(scalar);
  const Point point(EC_POINT_new(curve.get()), EC_POINT_free);
  const Number number_k = number(k);
  EC_POINT_mul(curve.get(), point.get(), number_k.get(), nullptr, nullptr, nullptr);
  EC_POINT_point2oct(curve.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, result.data(), element, nullptr);
  return result;
}

std::optional<Bytes> HybridModel::derive(const Bytes& k, const Bytes& theirs) const {
  Bytes result(secret);
  if (element == 32) {
    const Key ours(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k.data(), 32), EVP_PKEY_free);
    const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, theirs.data(), 32), EVP_PKEY_free);
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(ours.get(), nullptr),
                                                                              EVP_PKEY_CTX_free);
    std::size_t bytes = 32;
    EVP_PKEY_derive_init(context.get());
    EVP_PKEY_derive_set_peer(context.get(), peer.get());
    // OpenSSL refuses a secret of zero, as TLS does. The KEM that combines takes it.
    if (EVP_PKEY_derive(context.get(), result.data(), &bytes) == 1) return result;
    return combines ? std::optional(Bytes(32)) : std::nullopt;
  }
  const Curve curve = curve_of(scalar);
  const Point peer(EC_POINT_new(curve.get()), EC_POINT_free), product(EC_POINT_new(curve.get()), EC_POINT_free);
  const Number number_k = number(k), x(BN_new(), BN_free);
  if (theirs[0] != 4 || EC_POINT_oct2point(curve.get(), peer.get(), theirs.data(), element, nullptr) != 1) {
    return std::nullopt;
  }
  EC_POINT_mul(curve.get(), product.get(), nullptr, peer.get(), number_k.get(), nullptr);
  EC_POINT_get_affine_coordinates(curve.get(), product.get(), x.get(), nullptr, nullptr);
  BN_bn2binpad(x.get(), result.data(), static_cast<int>(secret));
  return result;
}

Bytes HybridModel::join(const Bytes& ml_kem_part, const Bytes& group_part) const {
  return group_first ? joined({&group_part, &ml_kem_part}) : joined({&ml_kem_part, &group_part});
}

Bytes HybridModel::secret_of(const Bytes& K, const Bytes& shared, const Bytes& in_c, const Bytes& in_ek) const {
  return combines ? hash(EVP_sha3_256(), joined({&K, &shared, &in_c, &in_ek, &label}), 32) : join(K, shared);
}

std::optional<HybridModel::KeyPair> HybridModel::keygen(const Bytes& seed, std::uint32_t format) const {
  const bool expands = combines && format == WARPKEM_DK_SEED;
  const Bytes material = expands ? hash(EVP_shake256(), seed, 64 + randomness) : seed;
  const std::optional<Bytes> k = scalar_of(part(material, 64, randomness));
  if (!k) return std::nullopt;
  const Bytes d_z = part(material, 0, 64);
  Bytes ek(half.ek), dk(half.dk);
  must(warpkem_keygen_derand(engine_of("portable"), ml_kem, WARPKEM_DK_EXPANDED, 1, in(d_z), out(ek), out(dk), nullptr,
                             nullptr));
  KeyPair pair{join(ek, public_key(*k)), seed};
  if (format == WARPKEM_DK_EXPANDED) pair.dk = join(dk, *k);
  if (format == WARPKEM_DK_COMPOSITE) pair.dk = joined({&d_z, &before, &*k, &after});
  return pair;
}

std::optional<HybridModel::Encapsulated> HybridModel::encaps(const Bytes& ek, const Bytes& m) const {
  const std::optional<Bytes> k = scalar_of(part(m, 32, randomness));
  const Bytes theirs = part(ek, in_ek(), element);
  const std::optional<Bytes> shared = k ? derive(*k, theirs) : std::nullopt;
  if (!shared) return std::nullopt;
  Bytes c(half.c), K(32);
  must(warpkem_encaps_derand(engine_of("portable"), ml_kem, 1, in(part(ek, ml_kem_in_ek(), half.ek)),
                             in(part(m, 0, 32)), out(c), out(K), nullptr, nullptr));
  const Bytes ours = public_key(*k);
  return Encapsulated{join(c, ours), secret_of(K, *shared, ours, theirs)};
}

std::optional<Bytes> HybridModel::decaps(const Bytes& dk, std::uint32_t format, const Bytes& c) const {
  Bytes material = dk;
  if (combines && format == WARPKEM_DK_SEED) material = hash(EVP_shake256(), dk, 64 + randomness);
  const std::optional<Bytes> k =
      scalar_of(part(material, in_dk(format), format == WARPKEM_DK_SEED ? randomness : scalar));
  const Bytes theirs = part(c, in_c(), element);
  const std::optional<Bytes> shared = k ? derive(*k, theirs) : std::nullopt;
  if (!shared) return std::nullopt;
  const bool is_expanded = format == WARPKEM_DK_EXPANDED;
  const Bytes half_dk = is_expanded ? part(dk, group_first ? scalar : 0, half.dk) : part(material, 0, 64);
  Bytes K(32);
  must(warpkem_decaps(engine_of("portable"), ml_kem, is_expanded ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED, 1,
                      in(half_dk), in(part(c, ml_kem_in_c(), half.c)), out(K), nullptr, nullptr));
  return secret_of(K, *shared, theirs, public_key(*k));
}

}  // namespace warpkem::test
