// DeriveKeyPair of HPKE (draft-ietf-hpke-pq) as far as the seed: what follows is the KEM's own key generation.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>
#include <string_view>

#include "host/backends/registry.hpp"
#include "host/core/secure.hpp"
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
  struct Shared {
    const In& ikm;
    const std::size_t ikm_bytes;
    const Out& seeds;
    const std::size_t seed_bytes;
    const Suffix suffix;
    const CpuKernels& hashes;
    std::atomic<bool> out_of_memory;
  } shared{ikm, ikm_bytes, seeds, seed_bytes, Suffix(kem_id_of(algorithm.id), seed_bytes), best_hashes(), false};
  const auto derive = [](void* context, std::size_t first, std::size_t num_items) noexcept {
    Shared& s = *static_cast<Shared*>(context);
    constexpr std::size_t most_items = 64;
    HashBatch hash;
    hash.function = HashFunction::shake256;
    hash.message_bytes = s.ikm_bytes + s.suffix.bytes().size();
    hash.digest_bytes = s.seed_bytes;
    try {
      const SecureBuffer messages(std::min(most_items, num_items) * hash.message_bytes),
          workspace(s.hashes.hash_workspace_bytes);
      hash.message = {messages.data(), hash.message_bytes, nullptr};
      for (std::size_t done = 0; done < num_items; done += hash.count) {
        hash.count = std::min(most_items, num_items - done);
        for (std::size_t i = 0; i < hash.count; ++i) {
          std::uint8_t* const message = messages.data() + i * hash.message_bytes;
          std::memcpy(message, s.ikm[first + done + i], s.ikm_bytes);
          std::ranges::copy(s.suffix.bytes(), message + s.ikm_bytes);
        }
        hash.digest = s.seeds;
        hash.digest.data += (first + done) * s.seeds.stride;
        s.hashes.hash(hash, workspace.data());
      }
    } catch (const std::bad_alloc&) {
      s.out_of_memory.store(true, std::memory_order_relaxed);
    }
    clear_vector_registers();
  };
  pool_->run(count, shared.hashes.lanes, derive, &shared);
  if (!shared.out_of_memory.load(std::memory_order_relaxed)) return;
  for (std::size_t i = 0; i < count; ++i) wipe(seeds[i], seed_bytes);
  throw std::bad_alloc();
}

}  // namespace warpkem::host
