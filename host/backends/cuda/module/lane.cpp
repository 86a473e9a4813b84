#include "host/backends/cuda/module/lane.hpp"

#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>

#include "host/backends/cuda/module/device.hpp"
#include "host/backends/cuda/module/devices.hpp"
#include "host/backends/cuda/module/launch_cost.hpp"
#include "host/backends/cuda/module/operation.hpp"
#include "host/core/secure.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

using host::Batch;
using host::ItemStatus;
using host::Status;

namespace {

constexpr std::size_t alignment = 256;  // of every array in the slot

constexpr std::size_t align_up(std::size_t bytes) noexcept { return (bytes + alignment - 1) / alignment * alignment; }

class Span {  // a named stretch of the profiler's time line
 public:
  explicit Span(const char* name) noexcept { nvtxRangePushA(name); }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  ~Span() { nvtxRangePop(); }
};

// Whether the runtime knows these bytes as page-locked host memory. A range that is so at both ends and not between
// makes the copy fail, and the chunk is then staged.
bool is_registered(const std::uint8_t* data, std::size_t bytes) noexcept {
  for (const std::uint8_t* p : {data, data + bytes - 1}) {
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, p) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    if (attributes.type != cudaMemoryTypeHost) return false;
  }
  return true;
}

// The errors that a context never recovers from.
bool breaks_context(cudaError_t code) noexcept {
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorMpsClientTerminated:
      return true;
    default:
      // Newer runtimes: cudaErrorContained, and memory of the tensor cores that leaked.
      return code == static_cast<cudaError_t>(226) || code == static_cast<cudaError_t>(721);
  }
}

struct StuckError {};

}  // namespace

// Inputs first and outputs last, with the secret ones in the middle:
//     public in | secret in | secret out | public out | statuses
// so that one copy brings in all that is staged, one takes it out, and one wipe clears every secret. Pinned and device
// memory have the same layout.
struct Lane::Layout {
  struct Array : HostArray {
    std::size_t offset = 0;
    std::size_t bytes = 0;
    bool in_place = false;  // registered memory of the caller
  };
  std::array<Array, 5> arrays;
  std::size_t size = 0;
  std::size_t count = 0;  // records of each array: the chunk's items, and perhaps some beyond
  std::size_t secret_begin = 0, secret_end = 0;
  std::size_t statuses = 0;
  std::size_t bytes = 0, bytes_in_place = 0;
  bool reads_in_place = false, writes_in_place = false;
  bool replayed = false;  // as a graph

  std::span<const Array> all() const noexcept { return {arrays.data(), size}; }
};

Lane::~Lane() {
  if (quarantined(device_.ordinal())) {
    abandon();
  } else {
    trim();
  }
}

std::string Lane::context(const Batch& items) const {
  return device_.name() + ", " + host::spec_of(items.operation).name + " of " + std::to_string(items.count) +
         " items: ";
}

Lane::Layout Lane::lay_out(const Batch& items, std::size_t count, bool in_place) {
  Layout layout;
  layout.count = count;
  std::size_t offset = 0;
  const HostArrays arrays(items);
  const auto place = [&](bool output, bool secret) {
    for (const HostArray& array : arrays) {
      if (array.output != output || array.secret != secret) continue;
      Layout::Array& placed = layout.arrays[layout.size++];
      static_cast<HostArray&>(placed) = array;
      placed.offset = offset;
      placed.bytes = count * array.record_bytes;
      placed.in_place = in_place && array.packed() && is_registered(array.data, placed.bytes);
      if (placed.in_place) {
        (output ? layout.writes_in_place : layout.reads_in_place) = true;
        layout.bytes_in_place += placed.bytes;
      }
      offset += align_up(placed.bytes);
    }
  };
  place(false, false);
  layout.secret_begin = offset;
  place(false, true);
  place(true, true);
  layout.secret_end = offset;
  place(true, false);
  layout.statuses = offset;
  layout.bytes = offset + align_up(count);
  return layout;
}

// A chunk that is to be replayed is staged, and padded to a count that others share. The items beyond are computed from
// what the staging holds there, which is no secret, and their outputs go nowhere.
Lane::Layout Lane::choose_layout(const Batch& items, std::size_t room, bool in_place) const {
  const Layout layout = lay_out(items, items.count, in_place);
  if (!replays_ || host::spec_of(items.operation).prepares) return layout;
  Layout padded = lay_out(items, std::min(room, launch_cost::padded_count(items.count)), false);
  padded.replayed = launch_cost::replay_is_cheaper(
      launch_cost::num_calls(static_cast<kernels::Operation>(items.operation), items.form != nullptr), layout.bytes,
      padded.bytes, layout.bytes_in_place);
  return padded.replayed ? padded : layout;
}

// Grows the slot. Sizes are those of the largest chunk that may follow, so that a stream of batches settles at once.
// Returns for how many items there is room: the device's limit may be another one by then.
std::size_t Lane::reserve(const Batch& items, const KeyForms& keys) {
  const auto grow = [this](auto& buffer, std::size_t bytes, const auto& free) {
    if (buffer.size() >= bytes) return;
    graphs_.clear();
    free(std::exchange(buffer, {}));
    buffer = std::remove_reference_t<decltype(buffer)>(bytes);
  };
  const auto free_pinned = [](PinnedBuffer) {};
  const auto free_device = [this](DeviceBuffer memory) { release(std::move(memory)); };
  const std::size_t count = std::max(items.count, std::min(device_.limit(), std::bit_ceil(items.count)));
  const Layout layout = lay_out(items, count, false);
  grow(pinned_, layout.bytes, free_pinned);
  if (memory_.size() < layout.bytes) {
    grow(memory_, layout.bytes, free_device);
    // A copy takes the bytes between arrays along, and no kernel shall read what was never written.
    check(cudaMemsetAsync(memory_.data(), 0, memory_.size(), stream_.get()), "cudaMemsetAsync (slot)");
  }
  grow(workspace_, kernels::workspace_bytes(device_batch(items, layout, keys)), free_device);
  return count;
}

kernels::DeviceBatch Lane::device_batch(const Batch& items, const Layout& layout, const KeyForms& keys) const noexcept {
  kernels::DeviceBatch batch = kernel_batch(items, refuses_zero_);
  batch.zero_failed = false;  // the engine clears them
  batch.count = layout.count;
  for (const Layout::Array& array : layout.all()) {
    std::uint8_t* const data = memory_.data() + array.offset;
    if (array.array != host::Array::none) {
      set_array(batch, array.array, data, array.record_bytes);
    } else {
      batch.index = reinterpret_cast<const std::uint32_t*>(data);
    }
  }
  if (host::spec_of(items.operation).prepares) {
    batch.forms = keys.forms;
    batch.forms_stride = keys.stride;
  } else if (items.form != nullptr) {
    batch.prepared = true;
    batch.keys = {keys.forms, keys.stride, keys.count, keys.statuses, keys.kind};
  }
  batch.statuses = memory_.data() + layout.statuses;
  return batch;
}

void Lane::stage(const Batch& items, const Layout& layout) {
  const Span span("stage");
  for (const Layout::Array& array : layout.all()) {
    if (array.output || array.in_place) continue;
    std::uint8_t* to = pinned_.data() + array.offset;
    if (array.packed()) {
      std::memcpy(to, array.data, items.count * array.record_bytes);
    } else {
      for (std::size_t i = 0; i < items.count; ++i)
        std::memcpy(to + i * array.record_bytes, array.item(i), array.record_bytes);
    }
  }
  std::memset(pinned_.data() + layout.statuses, host::item_pending, items.count);  // until the copy-out says otherwise
}

void Lane::submit(const Batch& items, const Layout& layout, const KeyForms& keys) {
  const Span span("enqueue");
  const kernels::DeviceBatch work = device_batch(items, layout, keys);
  const auto enqueue_on = [&](cudaStream_t stream, const kernels::Fork& fork) {
    enqueue(work, layout, keys, stream, fork);
  };
  in_flight_ = true;
  if (!layout.replayed || !graphs_.replay(work, stream_.get(), std::ref(enqueue_on))) {
    enqueue_on(stream_.get(), fork_.get());
  }
  check(cudaEventRecord(done_.get(), stream_.get()), "cudaEventRecord");
}

// Copy-in, kernels, copy-out, wipe. What goes into a graph, too, so nothing here may depend on the items.
void Lane::enqueue(const kernels::DeviceBatch& work, const Layout& layout, const KeyForms& keys, cudaStream_t stream,
                   const kernels::Fork& fork) {
  std::uint8_t* device = memory_.data();
  // Staged arrays that follow each other travel in one copy.
  const auto copy = [&](bool output) {
    std::size_t begin = 0, end = 0;
    const auto flush = [&] {
      if (begin == end) return;
      if (layout.replayed && kernel_copies_ && end - begin <= launch_cost::most_copied_by_kernel) {
        const std::uint8_t* const from = (output ? device : pinned_.data()) + begin;
        std::uint8_t* const to = (output ? pinned_.data() : device) + begin;
        check(kernels::copy(from, to, end - begin, stream), "kernel launch (copy)");
      } else if (output) {
        check(cudaMemcpyAsync(pinned_.data() + begin, device + begin, end - begin, cudaMemcpyDeviceToHost, stream),
              "cudaMemcpyAsync (outputs)");
      } else {
        check(cudaMemcpyAsync(device + begin, pinned_.data() + begin, end - begin, cudaMemcpyHostToDevice, stream),
              "cudaMemcpyAsync (inputs)");
      }
      begin = end = 0;
    };
    for (const Layout::Array& array : layout.all()) {
      if (array.output != output) continue;
      if (array.in_place) {
        flush();
        if (output) {
          check(cudaMemcpyAsync(const_cast<std::uint8_t*>(array.data), device + array.offset, array.bytes,
                                cudaMemcpyDeviceToHost, stream),
                "cudaMemcpyAsync (outputs in place)");
        } else {
          check(cudaMemcpyAsync(device + array.offset, array.data, array.bytes, cudaMemcpyHostToDevice, stream),
                "cudaMemcpyAsync (inputs in place)");
        }
        continue;
      }
      if (begin == end) begin = array.offset;
      end = array.offset + array.bytes;
    }
    if (output) {
      if (begin == end) begin = layout.statuses;
      end = layout.statuses + layout.count;
    }
    flush();
  };

  copy(false);
  check(kernels::launch(work, workspace_.data(), workspace_.size(), stream, forks_ ? fork : kernels::Fork()),
        "kernel launch");
  if (work.forms != nullptr) {
    check(cudaMemcpyAsync(keys.statuses, device + layout.statuses, layout.count, cudaMemcpyDeviceToDevice, stream),
          "cudaMemcpyAsync (statuses of keys)");
  }
  copy(true);
  if (layout.secret_begin == layout.secret_end) return;
  check(cudaMemsetAsync(device + layout.secret_begin, 0, layout.secret_end - layout.secret_begin, stream),
        "cudaMemsetAsync (wipe)");
}

// Waits for `query` to say anything but "not ready". A small chunk is done within a few polls; for a large one the
// thread sleeps. Throws StuckError when the device has had its time.
template <class Query>
cudaError_t Lane::poll(Query query, const Layout& layout) {
  using namespace std::chrono;
  const auto patience = layout.replayed ? launch_cost::small_chunk_patience : launch_cost::patience;
  const auto begin = steady_clock::now();
  while (true) {
    const cudaError_t code = query();
    if (code != cudaErrorNotReady) return code;
    const auto waited = steady_clock::now() - begin;
    if (waited < patience) {
      std::this_thread::yield();
    } else if (waited < milliseconds(20)) {
      std::this_thread::sleep_for(microseconds(20));
    } else {
      std::this_thread::sleep_for(microseconds(200));
    }
    if (waited < stuck_) continue;
    quarantine(device_.ordinal(), "a chunk did not end in time");
    // While the device may still write the caller's memory, the batch cannot be given back: this waits for as long as
    // it takes.
    if (!layout.writes_in_place) throw StuckError();
  }
}

void Lane::deliver(const Batch& items, const Layout& layout) {
  const Span span("deliver");
  const std::uint8_t* statuses = pinned_.data() + layout.statuses;
  if (std::memchr(statuses, host::item_pending, items.count) != nullptr) {
    throw ChunkFailure(Fate::refused, Status::backend_failed, context(items) + "the kernels left items undone");
  }
  for (const Layout::Array& array : layout.all()) {
    if (!array.output || array.in_place) continue;
    const std::uint8_t* from = pinned_.data() + array.offset;
    if (array.packed()) {
      std::memcpy(const_cast<std::uint8_t*>(array.data), from, items.count * array.record_bytes);
    } else {
      for (std::size_t i = 0; i < items.count; ++i) {
        std::memcpy(const_cast<std::uint8_t*>(array.item(i)), from + i * array.record_bytes, array.record_bytes);
      }
    }
  }
}

void Lane::run(const Batch& items, const KeyForms& keys, bool in_place) {
  Layout layout;
  try {
    layout = choose_layout(items, reserve(items, keys), in_place);
    stage(items, layout);
    submit(items, layout, keys);
    {
      const Span span("wait");
      check(poll([this] { return cudaEventQuery(done_.get()); }, layout), "waiting for the chunk");
    }
    in_flight_ = false;
    deliver(items, layout);
  } catch (const CudaError& error) {
    fail(items, layout, error);
  } catch (const std::bad_alloc& error) {
    fail(items, layout, CudaError(cudaErrorMemoryAllocation, error.what()));
  } catch (const StuckError&) {
    wipe_staging(layout);
    abandon();
    throw ChunkFailure(Fate::lost, Status::backend_failed, context(items) + "the device is stuck");
  } catch (const ChunkFailure&) {
    wipe_staging(layout);
    throw;
  }
  const std::uint8_t* statuses = pinned_.data() + layout.statuses;
  std::memcpy(items.statuses, statuses, items.count);
  wipe_staging(layout);
}

void Lane::trim() noexcept {
  graphs_.clear();
  pinned_ = PinnedBuffer();
  release(std::exchange(memory_, {}));
  release(std::exchange(workspace_, {}));
}

DeviceBuffer Lane::allocate(const Batch& items, std::size_t bytes) {
  try {
    return DeviceBuffer(bytes);
  } catch (const CudaError& error) {
    fail(items, Layout(), error);
  }
}

void Lane::release(DeviceBuffer memory) noexcept {
  const std::size_t bytes = memory.size();
  if (!wipe_and_free(std::move(memory), stream_.get())) device_.keeps(bytes);
}

void Lane::open(const Batch& items) {
  if (done_) return;
  try {
    make_ready();
    device_.opened();
  } catch (const CudaError& error) {
    const std::string text = context(items) + error.what();
    if (breaks_context(error.code())) {
      quarantine(device_.ordinal(), text);
      throw ChunkFailure(Fate::lost, Status::backend_failed, text);
    }
    if (error.code() == cudaErrorMemoryAllocation) throw ChunkFailure(Fate::smaller, Status::out_of_memory, text);
    throw ChunkFailure(device_.is_open() ? Fate::refused : Fate::unopened, Status::backend_failed, text);
  }
}

void Lane::make_ready() {
  check(cudaSetDevice(device_.ordinal()), "cudaSetDevice");
  // While the application captures a graph in the strictest mode, no other thread may allocate, unless it says so.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  check(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
  load_kernels(device_.ordinal());
  if (!stream_) stream_ = make_stream();
  if (!fork_.stream) fork_ = make_fork();
  done_ = make_event();
}

void Lane::wipe_staging(const Layout& layout) noexcept {
  if (pinned_.size() < layout.secret_end) return;
  for (const Layout::Array& array : layout.all()) {
    if (array.secret && !array.in_place) host::wipe(pinned_.data() + array.offset, array.bytes);
  }
}

void Lane::fail(const Batch& items, const Layout& layout, const CudaError& error) {
  bool alive = false;
  try {
    alive = revive(layout);
  } catch (const StuckError&) {
  }
  wipe_staging(layout);
  const std::string text = context(items) + error.what();
  if (!alive) {
    quarantine(device_.ordinal(), text);
    abandon();
    throw ChunkFailure(Fate::lost, Status::backend_failed, text);
  }
  graphs_.clear();  // perhaps it was one of them
  if (error.code() == cudaErrorMemoryAllocation) throw ChunkFailure(Fate::smaller, Status::out_of_memory, text);
  const bool in_place = layout.reads_in_place || layout.writes_in_place;
  throw ChunkFailure(in_place ? Fate::staged : Fate::refused, Status::backend_failed, text);
}

// After an error: waits until the device does nothing more for this lane, wipes the slot, and so finds out whether the
// device still works. A call can fail alone, so one failure of the probe is not believed.
bool Lane::revive(const Layout& layout) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    try {
      if (!in_flight_) {
        check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
        return true;
      }
      const auto idle = [this] {
        const cudaError_t aside = cudaStreamQuery(fork_.stream.get());  // where a failed call left it alone
        return aside != cudaSuccess ? aside : cudaStreamQuery(stream_.get());
      };
      check(poll(idle, layout), "cudaStreamQuery");
      check(cudaMemsetAsync(memory_.data(), 0, memory_.size(), stream_.get()), "cudaMemsetAsync (probe)");
      check(cudaMemsetAsync(workspace_.data(), 0, workspace_.size(), stream_.get()), "cudaMemsetAsync (probe)");
      check(poll(idle, Layout()), "cudaStreamQuery");
      in_flight_ = false;
      return true;
    } catch (const CudaError&) {
    }
  }
  return false;
}

// Leaks what a lost or stuck device may still touch.
void Lane::abandon() noexcept {
  device_.keeps(memory_.size() + workspace_.size());
  stream_.forget();
  fork_.forget();
  done_.forget();
  pinned_.forget();
  memory_.forget();
  workspace_.forget();
  graphs_.forget();
}

}  // namespace warpkem::cuda
