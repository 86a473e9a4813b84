// DeriveKeyPair of HPKE (draft-ietf-hpke-pq) as far as the seed: what follows is the KEM's own key generation.
#include <array>
#include <string_view>

#include "host/engine/engine.hpp"

namespace warpkem::host {

namespace {

// kem_id of an algorithm; 0: HPKE does not have it.
constexpr std::uint16_t kem_id_of(std::uint32_t algorithm) noexcept {
  constexpr std::array<std::uint16_t, 10> ids{0, 0x40, 0x41, 0x42, 0, 0, 0, 0x647a, 0x50, 0x51};
  return algorithm < ids.size() ? ids[algorithm] : std::uint16_t{0};
}

// What LabeledDerive(ikm, "DeriveKeyPair", "", seed_bytes) hashes after ikm.
class Suffix {
 public:
  Suffix(std::uint16_t kem_id, std::size_t seed_bytes) noexcept {
    constexpr std::string_view label = "DeriveKeyPair";
    add("HPKE-v1"), add("KEM"), add(kem_id);
    add(static_cast<std::uint16_t>(label.size())), add(label);
    add(static_cast<std::uint16_t>(seed_bytes));
  }
  std::span<const std::uint8_t> bytes() const noexcept { return {bytes_.data(), size_}; }

 private:
  void add(std::string_view text) noexcept { size_ += text.copy(reinterpret_cast<char*>(&bytes_[size_]), text.size()); }
  void add(std::uint16_t number) noexcept {
    bytes_[size_++] = static_cast<std::uint8_t>(number >> 8), bytes_[size_++] = static_cast<std::uint8_t>(number);
  }

  std::array<std::uint8_t, 32> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace

bool Engine::derives_hpke_seeds(std::uint32_t algorithm) noexcept { return kem_id_of(algorithm) != 0; }

void Engine::derive_hpke_seeds(const Algorithm& algorithm, std::size_t count, const In& ikm, std::size_t ikm_bytes,
                               const Out& seeds) {
  const std::size_t seed_bytes = algorithm.seed_record(DkFormat::seed);
  const Suffix suffix(kem_id_of(algorithm.id), seed_bytes);
  const std::array<MessagePart, 2> parts{
      {{ikm, ikm_bytes}, {{suffix.bytes().data(), 0, nullptr}, suffix.bytes().size()}}};
  hash(HashFunction::shake256, count, parts, seeds, seed_bytes);
}

}  // namespace warpkem::host
