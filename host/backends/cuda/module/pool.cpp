#include "host/backends/cuda/module/pool.hpp"

#include <nvtx3/nvToolsExt.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <string>

#include "host/backends/cuda/module/devices.hpp"
#include "host/backends/cuda/module/driver.hpp"
#include "host/backends/cuda/module/nearness.hpp"
#include "host/backends/cuda/module/signals.hpp"
#include "warpkem/params.hpp"

namespace warpkem::cuda {

using host::Batch;
using host::Completion;
using host::Error;
using host::Operation;
using host::Status;

namespace {

constexpr std::size_t default_streams = 4;
constexpr std::uint32_t default_stuck_ms = 120'000;

// Enough items to fill the multiprocessors with the lanes' chunks together, and few enough that all lanes' slots, at
// most some 16 KiB an item, take half of the memory at most.
std::size_t default_chunk(const DeviceInfo& device, std::size_t streams) noexcept {
  const std::size_t by_size = static_cast<std::size_t>(device.multiprocessors) * 64;
  const std::size_t by_memory = device.memory_bytes / (streams * 2 * 16 * 1024);
  return std::clamp<std::size_t>(by_memory, 32, std::max<std::size_t>(by_size, 32));
}

}  // namespace

Pool::Pool(const std::vector<DeviceInfo>& devices, const Options& options)
    : streams_(options.streams != 0 ? options.streams : default_streams),
      stuck_(options.stuck_ms != 0 ? options.stuck_ms : default_stuck_ms),
      graphs_(options.graphs),
      forks_(options.forks),
      kernel_copies_(options.kernel_copies),
      refuse_zero_(options.refuse_zero),
      sysfs_(options.sysfs),
      maker_(getpid()) {
  for (const DeviceInfo& info : devices) {
    const std::size_t chunk = options.chunk != 0 ? options.chunk : default_chunk(info, streams_);
    devices_.push_back(std::make_unique<Device>(info, devices_.size(), chunk));
  }
}

Pool::~Pool() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_ready_.notify_all();
  for (std::thread& lane : lanes_) lane.join();
  const auto free_shared = [this] {
    for (const auto& device : devices_) device->free_shared();
  };
  try {
    if (std::ranges::any_of(devices_, [](const auto& device) { return device->has_shared(); })) {
      on_own_device(free_shared);
    }
  } catch (const std::exception&) {  // no thread is to be had: what is in the rings was wiped after each use
    for (const auto& device : devices_) device->leak_shared();
  }
  while (spare_ != nullptr) delete std::exchange(spare_, spare_->following);
}

bool Pool::forked() const noexcept { return getpid() != maker_; }

// ---- the caller's threads -----------------------------------------------------------------------------------------

bool Pool::drives(int ordinal) const noexcept {
  return std::ranges::any_of(devices_, [ordinal](const auto& device) { return device->ordinal() == ordinal; });
}

bool Pool::may_call_here() const noexcept {
  const int ordinal = current_device();
  return drives(ordinal) || has_context(ordinal).value_or(false);
}

void Pool::on_own_device(const std::function<void()>& work) const {
  if (may_call_here()) return work();
  const auto usable = [](const auto& device) { return !quarantined(device->ordinal()); };
  const auto found = std::ranges::find_if(devices_, usable);
  on_device((found != devices_.end() ? *found : devices_.front())->ordinal(), work);
}

std::size_t Pool::kept_bytes() const noexcept {
  std::size_t bytes = 0;
  for (const auto& device : devices_) bytes += device->kept_bytes();
  return bytes;
}

// ---- the queue ----------------------------------------------------------------------------------------------------

bool Pool::may_take(const Work& work, const Device& device) const noexcept {
  const std::size_t number = device.number();
  if (work.only_device >= 0 && static_cast<std::size_t>(work.only_device) != number) return false;
  if ((work.refused >> number & 1) != 0 || quarantined(device.ordinal())) return false;
  if (work.kind != Kind::retire && device.rests()) return false;  // keys are to be wiped whatever it takes
  return work.keys == nullptr || work.keys->ready_on(number);
}

// Work that no device may take any more ends with its last chunk in flight.
void Pool::give_up_hopeless() noexcept {
  for (Work* work = first_; work != nullptr; work = work->following) {
    if (work->failed || !has_items(*work)) continue;
    if (std::ranges::any_of(devices_, [&](const auto& device) { return may_take(*work, *device); })) continue;
    work->failed = true;
    if (work->status != Status::ok) continue;  // a chunk's failure says more
    work->status = Status::backend_failed;
    const auto resting = std::ranges::find_if(devices_, [](const auto& device) { return device->rests(); });
    std::snprintf(work->text.data, sizeof work->text.data, "no CUDA device is left for it%s%.400s",
                  resting != devices_.end() ? "; not tried again yet: " : "",
                  resting != devices_.end() ? (*resting)->why_it_rests() : "");
  }
}

// Takes finished works off the queue and tells their owners, without the lock.
void Pool::complete_finished(std::unique_lock<std::mutex>& lock) noexcept {
  Work* finished = nullptr;
  Work* previous = nullptr;
  for (Work* work = first_; work != nullptr;) {
    Work* const following = work->following;
    if (work->in_flight != 0 || (!work->failed && has_items(*work))) {
      previous = work;
    } else {
      (previous != nullptr ? previous->following : first_) = following;
      if (last_ == work) last_ = previous;
      work->following = std::exchange(finished, work);
    }
    work = following;
  }
  if (finished == nullptr) return;
  const bool idle = stopping_ && first_ == nullptr;
  lock.unlock();
  if (idle) work_ready_.notify_all();
  for (Work* work = finished; work != nullptr; work = work->following) {
    const bool ok = !work->failed;
    work->done.call(work->done.context, {ok ? Status::ok : work->status, ok ? "" : work->text.data});
  }
  lock.lock();
  while (finished != nullptr) {
    Work* const work = std::exchange(finished, finished->following);
    work->following = std::exchange(spare_, work);
  }
}

Pool::Work* Pool::new_work(Kind kind, const Batch& batch, Completion done) {
  Work* work = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (spare_ != nullptr) work = std::exchange(spare_, spare_->following);
  }
  if (work == nullptr) {
    work = new Work;
  } else {
    std::vector<Range> returned = std::move(work->returned);  // for its memory
    returned.clear();
    *work = Work();
    work->returned = std::move(returned);
  }
  work->kind = kind;
  work->batch = batch;
  work->done = done;
  return work;
}

void Pool::enqueue(Work* work) noexcept {
  std::unique_lock lock(mutex_);
  (last_ != nullptr ? last_->following : first_) = work;
  last_ = work;
  const bool one_chunk = work->only_device < 0 && work->keys == nullptr &&
                         work->batch.count <= std::max<std::size_t>(1, devices_.front()->limit() / 4);
  give_up_hopeless();
  complete_finished(lock);
  lock.unlock();
  if (one_chunk) {
    work_ready_.notify_one();
  } else {
    work_ready_.notify_all();
  }
}

// The lanes' threads start with the first work.
void Pool::start() {
  const std::scoped_lock lock(mutex_);
  if (!lanes_.empty()) return;
  nvtxInitialize(nullptr);  // once, rather than by every lane at the same time
  const SignalsBlocked signals_blocked;
  try {
    lanes_.reserve(devices_.size() * streams_);
    for (std::size_t lane = 0; lane < streams_; ++lane) {
      for (const auto& device : devices_) {
        lanes_.emplace_back(&Pool::lane_main, this, std::ref(*device));
      }
    }
  } catch (const std::exception&) {  // fewer lanes are enough, as long as every device has one
  }
  if (lanes_.size() < devices_.size()) throw Error(Status::out_of_memory, "cuda: threads could not be started");
}

void Pool::submit(const Batch& batch, const Keys* keys, Completion done) noexcept {
  try {
    start();
    Work* const work = new_work(Kind::batch, batch, done);
    work->keys = keys;
    enqueue(work);
  } catch (const Error& error) {
    done.call(done.context, {error.status(), error.what()});
  } catch (const std::exception& error) {
    done.call(done.context, {Status::out_of_memory, error.what()});
  }
}

// ---- lanes --------------------------------------------------------------------------------------------------------

// The next chunk for this device; none when the lane shall end, or when memory is short since it last looked. Towards
// the end of a batch chunks become smaller, so that every lane of every device has its share and all finish together.
Pool::Chunk Pool::take(Device& device, std::size_t shortages) noexcept {
  std::unique_lock lock(mutex_);
  while (true) {
    if (quarantined(device.ordinal())) {  // perhaps by another pool
      give_up_hopeless();
      complete_finished(lock);
      lock.unlock();
      work_ready_.notify_all();  // this wake-up may have been another lane's
      return {};
    }
    if (device.shortages() != shortages) {
      Chunk none;
      none.trim = true;
      return none;
    }
    for (Work* work = first_; work != nullptr; work = work->following) {
      if (work->failed || !has_items(*work) || !may_take(*work, device)) continue;
      Chunk chunk{work, {}, work->in_place};
      const std::size_t limit = device.limit();
      if (!work->returned.empty()) {
        Range& range = work->returned.back();
        chunk.range = {range.first, std::min(range.count, limit)};
        range.first += chunk.range.count;
        range.count -= chunk.range.count;
        if (range.count == 0) work->returned.pop_back();
      } else {
        const std::size_t left = work->batch.count - work->next;
        const std::size_t share = (left + lanes_.size() - 1) / lanes_.size();
        chunk.range = {work->next, std::min(left, std::clamp(share, (limit + 3) / 4, limit))};
        work->next += chunk.range.count;
      }
      ++work->in_flight;
      return chunk;
    }
    if (stopping_ && first_ == nullptr) return {};
    work_ready_.wait(lock);
  }
}

void Pool::give_back(Device& device, const Chunk& chunk, const ChunkFailure& failure) noexcept {
  std::unique_lock lock(mutex_);
  Work& work = *chunk.work;
  bool hopeless = false;
  try {
    work.returned.push_back(chunk.range);
  } catch (const std::bad_alloc&) {
    hopeless = true;
  }
  const std::uint64_t this_device = std::uint64_t{1} << device.number();
  switch (failure.fate()) {
    case Fate::smaller:
      if (chunk.range.count == 1) work.refused |= this_device;
      device.ran_out_of_memory(chunk.range.count);
      break;
    case Fate::staged:
      work.in_place = false;
      break;
    case Fate::unopened:
      device.rest(failure.what());
      work.refused |= this_device;
      break;
    case Fate::refused:
    case Fate::lost:
      work.refused |= this_device;
      break;
  }
  work.status = failure.status();
  std::snprintf(work.text.data, sizeof work.text.data, "%s", failure.what());
  work.failed |= hopeless;
  --work.in_flight;
  give_up_hopeless();
  complete_finished(lock);
  lock.unlock();
  work_ready_.notify_all();
}

void Pool::end_chunk(const Chunk& chunk) noexcept {
  std::unique_lock lock(mutex_);
  --chunk.work->in_flight;
  complete_finished(lock);
}

void Pool::run_chunk(Lane& lane, Device& device, const Chunk& chunk) {
  Work& work = *chunk.work;
  const Batch items = slice(work.batch, chunk.range.first, chunk.range.count);
  // What no device has taken, none needs to be opened for.
  if (work.kind == Kind::retire && work.own_keys->parts_[device.number()].memory.data() == nullptr) return;
  lane.open(items);
  switch (work.kind) {
    case Kind::batch:
      lane.run(items, work.keys != nullptr ? work.keys->on(device.number()) : KeyForms(), chunk.in_place);
      break;
    case Kind::prepare: {
      Keys& keys = *work.own_keys;
      Keys::Part& part = keys.parts_[device.number()];
      {
        const std::scoped_lock lock(part.mutex);
        if (part.memory.data() == nullptr) part.memory = lane.allocate(items, keys.device_bytes());
      }
      KeyForms forms = keys.on(device.number());
      forms.forms += chunk.range.first * forms.stride;
      forms.statuses += chunk.range.first;
      lane.run(items, forms, chunk.in_place);
      break;
    }
    case Kind::retire:
      lane.release(std::exchange(work.own_keys->parts_[device.number()].memory, {}));
      break;
  }
}

void Pool::lane_main(Device& device) noexcept {
  try {
    move_near(device.info().pci_id, sysfs_);
  } catch (const std::exception&) {  // no memory for the file's name: then wherever this is
  }
  std::array<char, 16> name{};
  std::snprintf(name.data(), name.size(), "warpkem-cuda%d", device.ordinal());
  pthread_setname_np(pthread_self(), name.data());
  Lane lane(device, stuck_, graphs_, forks_, kernel_copies_, refuse_zero_);
  std::size_t shortages = 0;
  while (true) {
    const Chunk chunk = take(device, shortages);
    if (chunk.trim) {
      shortages = device.shortages();
      lane.trim();
      continue;
    }
    if (chunk.work == nullptr) return;
    try {
      run_chunk(lane, device, chunk);
      device.succeeded();
      end_chunk(chunk);
    } catch (const ChunkFailure& failure) {
      give_back(device, chunk, failure);
      // Not this lane again before the others have had the time to give up theirs.
      if (failure.fate() == Fate::smaller) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    } catch (const std::exception& error) {  // memory for a text
      give_back(device, chunk, ChunkFailure(Fate::refused, Status::out_of_memory, error.what()));
    }
  }
}

// ---- prepared keys ------------------------------------------------------------------------------------------------

// Works that a caller waits for, one for each device.
class Pool::BlockingWorks {
 public:
  explicit BlockingWorks(std::size_t count) : outcomes_(count) {
    for (Outcome& outcome : outcomes_) outcome.owner = this;
  }
  Completion completion(std::size_t i) noexcept {
    return {[](void* context, const host::Outcome& outcome) noexcept {
              Outcome& mine = *static_cast<Outcome*>(context);
              BlockingWorks& owner = *mine.owner;
              const std::scoped_lock lock(owner.mutex_);
              mine.status = outcome.status;
              std::snprintf(mine.text.data, sizeof mine.text.data, "%s", outcome.text);
              if (++owner.ended_ == owner.begun_) owner.changed_.notify_all();
            },
            &outcomes_[i]};
  }
  void begin() noexcept {
    const std::scoped_lock lock(mutex_);
    ++begun_;
  }
  void wait() noexcept {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ == begun_; });
  }
  Status status(std::size_t i) const noexcept { return outcomes_[i].status; }
  const char* text(std::size_t i) const noexcept { return outcomes_[i].text.data; }

 private:
  struct Outcome {
    BlockingWorks* owner = nullptr;
    Status status = Status::backend_failed;
    Text text;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t begun_ = 0, ended_ = 0;
  std::vector<Outcome> outcomes_;
};

Keys* Pool::prepare(const Batch& batch) {
  start();
  auto keys = std::make_unique<Keys>(*this, devices_.size(), batch);
  // Every device has verdicts of its own, which agree: those of the first that succeeded are the caller's.
  std::vector<std::vector<std::uint8_t>> statuses(devices_.size(), std::vector<std::uint8_t>(batch.count));
  BlockingWorks works(devices_.size());
  std::vector<Work*> queued;
  queued.reserve(devices_.size());
  for (const auto& device : devices_) {
    const std::size_t i = device->number();
    std::ranges::fill(statuses[i], static_cast<std::uint8_t>(host::ItemStatus::pending));
    Batch mine = batch;
    mine.statuses = statuses[i].data();
    Work* const work = new_work(Kind::prepare, mine, works.completion(i));
    work->own_keys = keys.get();
    work->only_device = static_cast<int>(i);
    queued.push_back(work);
    works.begin();
  }
  for (Work* work : queued) enqueue(work);
  works.wait();

  const char* why_not = "";
  Status status = Status::ok;
  bool any = false;
  for (const auto& device : devices_) {
    const std::size_t i = device->number();
    if (works.status(i) != Status::ok) {
      status = works.status(i);
      why_not = works.text(i);
      continue;
    }
    keys->parts_[i].ready = true;
    if (!any) std::ranges::copy(statuses[i], batch.statuses);
    any = true;
  }
  if (!any) {
    const Error error(status, why_not);
    retire(keys.release());
    throw error;
  }
  return keys.release();
}

void Pool::retire(Keys* keys) noexcept {
  keys->parts_to_retire_ = devices_.size();
  for (const auto& device : devices_) {
    Keys::Part& part = keys->parts_[device->number()];
    part.device = device.get();
    const Completion done{[](void* context, const host::Outcome& outcome) noexcept {
                            Keys::Part& retired = *static_cast<Keys::Part*>(context);
                            if (outcome.status != Status::ok) {  // its device is gone
                              retired.device->keeps(retired.memory.size());
                              retired.memory.forget();
                            }
                            if (--retired.keys->parts_to_retire_ == 0) delete retired.keys;
                          },
                          &part};
    try {
      Batch one;
      one.count = 1;
      Work* const work = new_work(Kind::retire, one, done);
      work->own_keys = keys;
      work->only_device = static_cast<int>(device->number());
      enqueue(work);
    } catch (const std::exception&) {
      done.call(done.context, {Status::out_of_memory, ""});
    }
  }
}

// ---- checks -------------------------------------------------------------------------------------------------------

void Pool::verify(bool every_device) {
  start();
  struct OneKey {
    std::array<std::uint8_t, MlKem512::seed_bytes> seeds{};
    std::array<std::uint8_t, MlKem512::ek_bytes> ek{};
    std::array<std::uint8_t, MlKem512::seed_bytes> dk{};
    std::uint8_t status = static_cast<std::uint8_t>(host::ItemStatus::pending);
  };
  std::vector<OneKey> keys(devices_.size());
  BlockingWorks works(devices_.size());
  std::vector<Work*> queued;
  queued.reserve(devices_.size());
  for (const auto& device : devices_) {
    OneKey& key = keys[device->number()];
    Batch batch;
    batch.operation = Operation::keygen;
    batch.algorithm = MlKem512::id;
    batch.dk_format = host::DkFormat::seed;
    batch.count = 1;
    batch.seeds = {key.seeds.data(), key.seeds.size(), nullptr};
    batch.ek_out = {key.ek.data(), key.ek.size(), nullptr};
    batch.dk_out = {key.dk.data(), key.dk.size(), nullptr};
    batch.statuses = &key.status;
    Work* const work = new_work(Kind::batch, batch, works.completion(device->number()));
    work->only_device = static_cast<int>(device->number());
    queued.push_back(work);
    works.begin();
  }
  for (Work* work : queued) enqueue(work);
  works.wait();
  std::size_t working = 0;
  for (std::size_t i = 0; i < devices_.size(); ++i) working += works.status(i) == Status::ok;
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    if (works.status(i) == Status::ok || (!every_device && working != 0)) continue;
    throw Error(works.status(i), works.text(i));
  }
}

}  // namespace warpkem::cuda
