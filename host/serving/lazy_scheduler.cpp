#include "host/serving/lazy_scheduler.hpp"

namespace warpkem::host {

Scheduler& LazyScheduler::of(Engine& engine) {
  if (Scheduler* const made = started()) return *made;
  const std::scoped_lock lock(mutex_);
  if (!owner_) {
    owner_ = std::make_unique<Scheduler>(engine, options_ ? *options_ : SchedulerOptions{});
    scheduler_.store(owner_.get(), std::memory_order_release);
  }
  return *owner_;
}

void LazyScheduler::configure(const SchedulerOptions& options) {
  const std::scoped_lock lock(mutex_);
  if (owner_) throw Error(Status::invalid_argument, "the scheduler is at work already");
  options_ = std::make_unique<SchedulerOptions>(options);
}

void LazyScheduler::reset() noexcept {
  scheduler_.store(nullptr, std::memory_order_release);
  // Its threads and locks may be the parent's: then they are left alone.
  if (owner_ && owner_->forked()) static_cast<void>(owner_.release());
  owner_.reset();
}

}  // namespace warpkem::host
