#include "kat/accumulated.hpp"

#include <algorithm>
#include <stdexcept>

#include "kat/digest.hpp"

namespace warpkem::kat {
namespace {

void absorb(Digest& digest, AccumulatedForm form, View ek, View dk, View c, View K, View K_bad) {
  if (form == AccumulatedForm::go) {
    digest.update(ek).update(c).update(K).update(K_bad);
    return;
  }
  digest.update("Public Key: " + hex(ek) + "\n");
  digest.update("Secret Key: " + hex(dk) + "\n");
  digest.update("Ciphertext: " + hex(c) + "\n");
  digest.update("Shared Secret B: " + hex(K) + "\n");
  digest.update("Shared Secret A: " + hex(K) + "\n");
  digest.update("Pseudorandom shared Secret A: " + hex(K_bad) + "\n");
}

}  // namespace

std::string accumulated_digest(const Kem& kem, AccumulatedForm form, std::size_t iterations) {
  const std::size_t drawn = 32 + 32 + 32 + kem.c_bytes;
  const Bytes stream = shake128({}, drawn * iterations);
  Digest digest(form == AccumulatedForm::go ? EVP_shake128() : EVP_sha256());
  constexpr std::size_t most = 500;
  for (std::size_t first = 0; first < iterations; first += most) {
    const std::size_t count = std::min(most, iterations - first);
    Bytes seeds, m, c_bad;
    for (std::size_t i = 0; i < count; ++i) {
      const View one = record(stream, drawn, first + i);
      const auto append = [&one](Bytes& to, std::size_t begin, std::size_t bytes) {
        const View part = one.subspan(begin, bytes);
        to.insert(to.end(), part.begin(), part.end());
      };
      append(seeds, 0, 64);
      append(m, 64, 32);
      append(c_bad, 96, kem.c_bytes);
    }
    const auto [ek, dk] = kem.keygen(seeds);
    const auto [c, K] = kem.encaps(ek, m);
    if (kem.decaps(dk, c) != K) throw std::runtime_error("Decaps(dk, c) is not K");
    const Bytes K_bad = kem.decaps(dk, c_bad);
    for (std::size_t i = 0; i < count; ++i) {
      absorb(digest, form, record(ek, kem.ek_bytes, i), record(dk, kem.dk_bytes, i), record(c, kem.c_bytes, i),
             record(K, 32, i), record(K_bad, 32, i));
    }
  }
  return hex(digest.finish(32));
}

}  // namespace warpkem::kat
