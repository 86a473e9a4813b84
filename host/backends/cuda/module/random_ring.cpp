#include "host/backends/cuda/module/random_ring.hpp"

#include <algorithm>
#include <bit>

#include "host/core/secure.hpp"

namespace warpkem::cuda {

void RandomRing::Piece::wipe_and_release() noexcept {
  host::wipe(data, bytes);
  busy.store(false, std::memory_order_release);
}

void RandomRing::reserve(std::size_t bytes) {
  constexpr std::size_t smallest_piece = 4096, target = std::size_t{64} << 20;
  const std::scoped_lock lock(mutex_);
  if (!segments_.empty() && segments_.back()->pieces.front().bytes >= bytes) return;
  const std::size_t piece_bytes = std::max(smallest_piece, std::bit_ceil(bytes));
  const std::size_t num_pieces = std::clamp<std::size_t>(target / piece_bytes, 4, 32);
  auto segment = std::make_unique<Segment>();
  segment->memory = PinnedBuffer(num_pieces * piece_bytes);
  segment->pieces = std::vector<Piece>(num_pieces);
  for (std::size_t i = 0; i < num_pieces; ++i) {
    segment->pieces[i].data = segment->memory.data() + i * piece_bytes;
    segment->pieces[i].bytes = piece_bytes;
  }
  segments_.push_back(std::move(segment));
}

RandomRing::Piece* RandomRing::acquire(std::size_t bytes) noexcept {
  const std::scoped_lock lock(mutex_);
  for (const auto& segment : segments_) {
    if (segment->pieces.front().bytes < bytes) continue;
    for (Piece& piece : segment->pieces) {
      if (!piece.busy.exchange(true, std::memory_order_acquire)) return &piece;
    }
  }
  return nullptr;
}

void RandomRing::clear() noexcept {
  for (auto& segment : segments_) {
    const bool busy = std::ranges::any_of(segment->pieces, [](const Piece& piece) { return piece.busy.load(); });
    if (busy) static_cast<void>(segment.release());
  }
  segments_.clear();
}

void RandomRing::forget() noexcept {
  for (auto& segment : segments_) static_cast<void>(segment.release());
}

}  // namespace warpkem::cuda
