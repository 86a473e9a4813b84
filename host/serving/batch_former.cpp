#include "host/serving/batch_former.hpp"

#include <algorithm>

#include "host/serving/prepared_set.hpp"

namespace warpkem::host {

static constexpr std::size_t num_classes = 2;

BatchFormer::BatchFormer(const Kinds& kinds) : kinds_(kinds), fixed_(kinds.size() * max_dk_formats * num_classes) {}

Bucket& BatchFormer::bucket_of(const Request& r) noexcept {
  const auto of_class = static_cast<std::size_t>(r.request_class);
  if (r.work.keys != nullptr) return static_cast<PreparedSet*>(r.work.keys)->buckets[of_class];
  const std::size_t row = kinds_.row(r.work.operation, r.work.algorithm);
  const auto format = static_cast<std::size_t>(r.work.dk_format);
  return fixed_[(row * max_dk_formats + format) * num_classes + of_class];
}

// In front of `behind`; null: at the end.
void BatchFormer::link(Bucket& b, Request* r, Request* behind) noexcept {
  r->next = behind;
  r->previous = behind != nullptr ? behind->previous : b.last;
  (r->previous != nullptr ? r->previous->next : b.first) = r;
  (behind != nullptr ? behind->previous : b.last) = r;
}

void BatchFormer::unlink(Bucket& b, Request* r) noexcept {
  if (b.large == r) b.large = r->next;
  (r->previous != nullptr ? r->previous->next : b.first) = r->next;
  (r->next != nullptr ? r->next->previous : b.last) = r->previous;
}

void BatchFormer::add(Request* r, bool is_large) noexcept {
  Bucket& b = bucket_of(*r);
  if (b.empty()) {
    b.kind = r->work.kind();
    b.request_class = r->request_class;
    b.close_ns = r->close_ns;
    b.hasty_ns = never;
    b.turn = turns_;  // behind all who wait
    b.next_active = nullptr;
    b.previous_active = last_active_;
    (last_active_ != nullptr ? last_active_->next_active : first_active_) = &b;
    last_active_ = &b;
    b.large_due = 0;
  }
  r->bucket = &b;
  r->is_large = is_large;
  link(b, r, is_large ? nullptr : b.large);
  const std::size_t items = r->count - r->taken;
  if (is_large) {
    b.large_close_ns = b.large != nullptr ? std::min(b.large_close_ns, r->close_ns) : r->close_ns;
    if (b.large == nullptr) b.large = r;
    b.large_items += items;
    class_large_items_[static_cast<std::size_t>(b.request_class)] += items;
  } else {
    b.in_order = r->previous == nullptr || (b.in_order && r->close_ns >= r->previous->close_ns);
  }
  b.close_ns = std::min(b.close_ns, r->close_ns);
  if (r->is_hasty) b.hasty_ns = std::min(b.hasty_ns, r->close_ns);
  b.items += items;
  items_ += items;
  class_items_[static_cast<std::size_t>(b.request_class)] += items;
}

void BatchFormer::subtract(Bucket& b, const Request& r, std::size_t items) noexcept {
  b.items -= items;
  items_ -= items;
  class_items_[static_cast<std::size_t>(b.request_class)] -= items;
  if (!r.is_large) return;
  b.large_items -= items;
  class_large_items_[static_cast<std::size_t>(b.request_class)] -= items;
}

void BatchFormer::remove(Request* r) noexcept {
  Bucket& b = *r->bucket;
  unlink(b, r);
  r->bucket = nullptr;
  subtract(b, *r, r->count - r->taken);
  if (!b.empty()) return;
  (b.previous_active != nullptr ? b.previous_active->next_active : first_active_) = b.next_active;
  (b.next_active != nullptr ? b.next_active->previous_active : last_active_) = b.previous_active;
}

void BatchFormer::take(Bucket& b, std::size_t most, std::size_t slack, std::uint64_t now_ns, std::vector<Piece>& pieces,
                       RequestChain& ended) noexcept {
  both_wait_ = class_items_[0] != 0 && class_items_[1] != 0;
  bool is_gone = false;  // the last request had ended elsewhere, and the bucket's prepared set may have gone with it
  // False: the batch is full, or the bucket empty.
  const auto give = [&](Request* r) {
    if (r->next != nullptr) r->next->prefetch();
    if (most == 0) {
      const std::size_t rest = r->count - r->taken;
      const bool follows = !pieces.empty() && r->queue != nullptr && r->queue == pieces.back().request->queue;
      if (rest > slack || !follows) return false;
      slack -= rest;
      most = rest;
    }
    const Status fatal = r->cancel_is_asked() ? Status::cancelled
                         : r->expires(now_ns) ? Status::expired
                         : r->fatal.load(std::memory_order_relaxed) != 0
                             ? static_cast<Status>(r->fatal.load(std::memory_order_relaxed))
                             : Status::ok;
    if (fatal != Status::ok) {
      is_gone = b.first == b.last;
      remove(r);
      if (end(r, fatal)) ended.push_back(r);
      return !is_gone;
    }
    const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(most, r->count - r->taken));
    pieces.push_back({r, r->taken, count});
    most -= count;
    if (r->taken + count == r->count) {
      remove(r);
    } else {
      subtract(b, *r, count);
    }
    r->taken += count;
    return true;
  };

  std::size_t for_large = 0;
  if (b.large != nullptr && b.large != b.first) {
    b.large_due += most;
    for_large = std::min({b.large_due / large_share, b.large_items, most});
    b.large_due -= for_large * large_share;
    most -= for_large;
  }
  while (b.first != b.large && give(b.first)) {
  }
  if (is_gone) return;
  if (b.large != nullptr) {
    most += for_large;
    while (b.large != nullptr && give(b.large)) {
    }
    if (is_gone) return;
    // Who has had a piece goes behind the others.
    Request* const r = b.large;
    if (r != nullptr && r != b.last && !pieces.empty() && pieces.back().request == r) {
      unlink(b, r);
      link(b, r, nullptr);
    }
  }
  if (b.empty()) return;
  if (b.first == b.large) {
    b.close_ns = b.large_close_ns;
  } else if (b.in_order) {
    b.close_ns = b.large != nullptr ? std::min(b.first->close_ns, b.large_close_ns) : b.first->close_ns;
  }
}

void BatchFormer::refuse(Bucket& b, std::size_t items, Status fatal, RequestChain& ended) noexcept {
  for (bool was_last = false; items != 0 && !was_last;) {
    Request* const r = b.first;
    was_last = b.first == b.last;  // then the bucket's prepared set may go with it
    items -= std::min<std::size_t>(items, r->count - r->taken);
    remove(r);
    if (end(r, fatal)) ended.push_back(r);
  }
}

void BatchFormer::charge(Bucket& b, std::uint64_t service_ns) noexcept {
  b.turn = ++turns_;
  if (both_wait_) {
    class_served_ns_[static_cast<std::size_t>(b.request_class)] += service_ns;
  } else {
    // Interactive work that comes now has waited for this batch.
    class_served_ns_ = {0, b.request_class == RequestClass::bulk ? service_ns : 1};
  }
}

bool BatchFormer::end(Request* r, Status fatal) noexcept {
  std::uint8_t none = 0;
  r->fatal.compare_exchange_strong(none, static_cast<std::uint8_t>(fatal), std::memory_order_relaxed);
  const std::uint32_t untaken = r->count - r->taken;
  return r->left.fetch_sub(untaken, std::memory_order_acq_rel) == untaken;
}

}  // namespace warpkem::host
