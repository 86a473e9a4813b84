// Many messages through SHA3-256 or SHAKE256 at once, on the CPU, in the lanes of its best kernels.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>
#include <vector>

#include "host/backends/registry.hpp"
#include "host/core/secure.hpp"
#include "host/engine/engine.hpp"

namespace warpkem::host {

namespace {

// The records from `first` on of an array that has no table.
template <class Records>
Records at(Records records, std::size_t first) noexcept {
  records.data += first * records.stride;
  return records;
}

}  // namespace

void Engine::hash(HashFunction function, std::size_t count, std::span<const MessagePart> parts, const Out& digest,
                  std::size_t digest_bytes) {
  struct Shared {
    const std::span<const MessagePart> parts;
    const Out& digest;
    HashBatch batch;
    const CpuKernels& hashes;
    std::atomic<bool> out_of_memory;
  } shared{parts, digest, {}, best_hashes(), false};
  shared.batch.function = function;
  for (const MessagePart& part : parts) {
    if (part.items.stride == 0 && shared.batch.common_bytes == shared.batch.message_bytes) {
      shared.batch.common_bytes += part.bytes;
    }
    shared.batch.message_bytes += part.bytes;
  }
  shared.batch.digest_bytes = digest_bytes;
  const auto hash = [](void* context, std::size_t first, std::size_t num_items) noexcept {
    Shared& s = *static_cast<Shared*>(context);
    HashBatch batch = s.batch;
    constexpr std::size_t cached_bytes = std::size_t{16} << 10;  // half of the nearest cache
    const std::size_t most_items = std::max(cached_bytes / batch.message_bytes / 16, std::size_t{1}) * 16;
    try {
      const SecureBuffer workspace(s.hashes.hash_workspace_bytes);
      if (s.parts.size() == 1 && s.parts[0].items.stride != 0) {  // messages that lie there as they are
        batch.count = num_items;
        batch.message = at(s.parts[0].items, first);
        batch.digest = at(s.digest, first);
        s.hashes.hash(batch, workspace.data());
        return clear_vector_registers();
      }
      const SecureBuffer messages(std::min(most_items, num_items) * batch.message_bytes);
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
        batch.digest = at(s.digest, first + done);
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

void Engine::derive_m(const Batch& encaps, std::size_t first, std::span<const MessagePart> parts, const Out& m,
                      const Out& h) {
  const Algorithm& algorithm = *find_algorithm(encaps.algorithm);
  const std::array<MessagePart, 1> ek{{{encaps.ek, algorithm.ek_bytes}}};
  hash(HashFunction::sha3_256, encaps.count, ek, h, h_bytes);
  std::vector<MessagePart> all(parts.begin(), parts.end());
  for (MessagePart& part : all) part.items = at(part.items, first);
  all.push_back({{h.data, h.stride, nullptr}, h_bytes});
  hash(HashFunction::shake256, encaps.count, all, m, algorithm.m_bytes);
}

}  // namespace warpkem::host
