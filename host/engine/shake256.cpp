// Many messages through SHAKE256 at once, on the CPU, in the lanes of its best kernels.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "host/backends/registry.hpp"
#include "host/core/secure.hpp"
#include "host/engine/engine.hpp"

namespace warpkem::host {

void Engine::shake256(std::size_t count, std::span<const MessagePart> parts, const Out& digest,
                      std::size_t digest_bytes) {
  struct Shared {
    const std::span<const MessagePart> parts;
    const Out& digest;
    HashBatch batch;
    const CpuKernels& hashes;
    std::atomic<bool> out_of_memory;
  } shared{parts, digest, {}, best_hashes(), false};
  shared.batch.function = HashFunction::shake256;
  for (const MessagePart& part : parts) shared.batch.message_bytes += part.bytes;
  shared.batch.digest_bytes = digest_bytes;
  const auto hash = [](void* context, std::size_t first, std::size_t num_items) noexcept {
    Shared& s = *static_cast<Shared*>(context);
    constexpr std::size_t most_items = 16;  // whose messages the nearest cache holds
    HashBatch batch = s.batch;
    try {
      const SecureBuffer messages(std::min(most_items, num_items) * batch.message_bytes),
          workspace(s.hashes.hash_workspace_bytes);
      batch.message = {messages.data(), batch.message_bytes, nullptr};
      for (std::size_t done = 0; done < num_items; done += batch.count) {
        batch.count = std::min(most_items, num_items - done);
        std::uint8_t* to = messages.data();
        for (std::size_t i = first + done; i < first + done + batch.count; ++i) {
          for (const MessagePart& part : s.parts) {
            std::memcpy(to, part.items[i], part.bytes);
            to += part.bytes;
          }
        }
        batch.digest = s.digest;
        batch.digest.data += (first + done) * s.digest.stride;
        s.hashes.hash(batch, workspace.data());
      }
    } catch (const std::bad_alloc&) {
      s.out_of_memory.store(true, std::memory_order_relaxed);
    }
    clear_vector_registers();
  };
  pool_->run(count, shared.hashes.lanes, hash, &shared);
  if (!shared.out_of_memory.load(std::memory_order_relaxed)) return;
  for (std::size_t i = 0; i < count; ++i) wipe(digest[i], digest_bytes);
  throw std::bad_alloc();
}

}  // namespace warpkem::host
