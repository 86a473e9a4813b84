#include "host/provider/kems.hpp"

namespace warpkem::provider {

namespace {

constexpr Kem kems[num_kems] = {
    {WARPKEM_ML_KEM_512, "ML-KEM-512:MLKEM512:id-alg-ml-kem-512:2.16.840.1.101.3.4.4.1", "ML-KEM-512",
     "id-alg-ml-kem-512", "MLKEM512", 512, 512, false, WARPKEM_DK_EXPANDED},
    {WARPKEM_ML_KEM_768, "ML-KEM-768:MLKEM768:id-alg-ml-kem-768:2.16.840.1.101.3.4.4.2", "ML-KEM-768",
     "id-alg-ml-kem-768", "MLKEM768", 513, 768, false, WARPKEM_DK_EXPANDED},
    {WARPKEM_ML_KEM_1024, "ML-KEM-1024:MLKEM1024:id-alg-ml-kem-1024:2.16.840.1.101.3.4.4.3", "ML-KEM-1024",
     "id-alg-ml-kem-1024", "MLKEM1024", 514, 1024, false, WARPKEM_DK_EXPANDED},
    {WARPKEM_X25519MLKEM768, "X25519MLKEM768", "X25519MLKEM768", nullptr, "X25519MLKEM768", 4588, 768, true,
     WARPKEM_DK_EXPANDED},
    {WARPKEM_SECP256R1MLKEM768, "SecP256r1MLKEM768", "SecP256r1MLKEM768", nullptr, "SecP256r1MLKEM768", 4587, 768, true,
     WARPKEM_DK_EXPANDED},
    {WARPKEM_SECP384R1MLKEM1024, "SecP384r1MLKEM1024", "SecP384r1MLKEM1024", nullptr, "SecP384r1MLKEM1024", 4589, 1024,
     true, WARPKEM_DK_EXPANDED},
    {WARPKEM_MLKEM768_X25519, "MLKEM768-X25519:X-Wing:1.3.6.1.5.5.7.6.58", "MLKEM768-X25519", nullptr, nullptr, 0, 768,
     true, WARPKEM_DK_SEED},
};

}  // namespace

// FIPS 203, Algorithm 16: dk is dk_PKE of 384 k bytes, then ek.
Halves halves_of(const Kem& kem) noexcept {
  warpkem_algorithm_info info{};
  info.struct_size = sizeof info;
  if (warpkem_describe_algorithm(kem.id, &info) != WARPKEM_OK) return {};
  const std::size_t ek_bytes = warpkem_size(info.ml_kem, WARPKEM_SIZE_EK),
                    dk_bytes = warpkem_size(info.ml_kem, WARPKEM_SIZE_DK);
  return {.scalar = info.ml_kem_in_dk != 0 ? 0 : dk_bytes,
          .scalar_bytes = kem.dk_bytes() - dk_bytes,
          .ml_kem_ek_in_dk = info.ml_kem_in_dk + ek_bytes - 32,
          .ml_kem_in_ek = info.ml_kem_in_ek,
          .ml_kem_ek_bytes = ek_bytes};
}

std::span<const Kem, num_kems> all_kems() noexcept { return kems; }

std::size_t index_of(const Kem& kem) noexcept { return static_cast<std::size_t>(&kem - kems); }

}  // namespace warpkem::provider
