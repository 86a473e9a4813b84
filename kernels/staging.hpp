// Where a pass has its records: in the caller's arrays where the kernels can use them in place, else in the workspace,
// where they are gathered before and scattered after. Internal to kernels/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/batch.hpp"
#include "kernels/policy.hpp"
#include "kernels/steps.hpp"

namespace warpkem::kernels {

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}

// A region of the workspace.
class Arena {
 public:
  explicit Arena(u8* base) noexcept : base_{base} {}
  u8* take(std::size_t bytes) noexcept {
    u8* const at = base_ + used_;
    used_ += round_up(bytes, 256);
    most_ = std::max(most_, used_);
    return at;
  }
  void reset() noexcept { used_ = 0; }
  u8* base() const noexcept { return base_; }
  std::size_t bytes() const noexcept { return most_; }

 private:
  u8* base_;
  std::size_t used_ = 0, most_ = 0;
};

enum class Secrecy { secret, open };

struct Workspace {
  Arena secret, open;
};

inline AnyRows any(const In& in) noexcept {
  return {const_cast<u8*>(in.data), in.stride, const_cast<u8* const*>(reinterpret_cast<const u8* const*>(in.table))};
}
inline AnyRows any(const Out& out) noexcept { return {out.data, out.stride, out.table}; }
inline AnyRows any(const Rows& rows) noexcept { return {rows.data, rows.stride, nullptr}; }

inline AnyRows from_item(AnyRows rows, std::size_t first) noexcept {
  if (rows.table != nullptr) {
    rows.table += first;
  } else if (rows.data != nullptr) {
    rows.data += first * rows.stride;
  }
  return rows;
}

// `items` of a batch from `first` on. When measuring, nothing is enqueued and addresses are imaginary.
class Staging {
 public:
  Staging(const DeviceBatch& batch, std::size_t first, std::size_t items, Workspace& workspace, bool measuring,
          cudaStream_t stream) noexcept
      : batch_{batch},
        first_{first},
        items_{static_cast<u32>(items)},
        secret_{workspace.secret},
        open_{workspace.open},
        measuring_{measuring},
        stream_{stream} {
    secret_.reset();
    open_.reset();
    statuses_ = batch.statuses != nullptr ? batch.statuses + first : open_.take(items_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

 protected:
  template <class F>
  void enqueue(F&& f) noexcept {
    if (!measuring_ && error_ == cudaSuccess) error_ = f();
  }

  Rows room(std::size_t bytes, Secrecy secrecy) noexcept {
    const std::size_t stride = round_up(bytes, 16);
    return {(secrecy == Secrecy::secret ? secret_ : open_).take(items_ * stride), stride, nullptr};
  }

  static bool in_place(const AnyRows& rows) noexcept {
    return rows.table == nullptr && reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0 && rows.stride % 16 == 0;
  }

  Rows input(const In& in, std::size_t bytes, Secrecy secrecy) noexcept {
    const AnyRows user = from_item(any(in), first_);
    if (in_place(user)) return {user.data, user.stride, nullptr};
    const Rows staged = room(bytes, secrecy);
    enqueue([&] { return copy_records(user, any(staged), static_cast<u32>(bytes), items_, stream_); });
    return staged;
  }

  Rows output(const Out& out, std::size_t bytes, Secrecy secrecy) noexcept {
    Pending& pending = outputs_[num_outputs_++];
    pending.user = from_item(any(out), first_);
    pending.bytes = static_cast<u32>(bytes);
    if (in_place(pending.user)) return {pending.user.data, pending.user.stride, nullptr};
    return pending.staged = room(bytes, secrecy);
  }

  Rows forms_output(std::size_t bytes) noexcept {
    return output({batch_.forms, batch_.forms_stride, nullptr}, bytes, Secrecy::secret);
  }

  void copy(Rows from, Rows to, std::size_t bytes) noexcept {
    enqueue([&] { return copy_records(any(from), any(to), static_cast<u32>(bytes), items_, stream_); });
  }

  void copy_outputs() noexcept {
    for (int i = 0; i < num_outputs_; ++i) {
      const Pending& out = outputs_[i];
      if (!out.staged.present()) continue;
      enqueue([&] { return copy_records(any(out.staged), out.user, out.bytes, items_, stream_); });
    }
  }

  // What the last step of a batch needs that is also to finish its items.
  FinishArgs take_finish() noexcept {
    finished_ = true;
    FinishArgs args;
    args.statuses = statuses_;
    args.failed = batch_.failed;
    if (batch_.zero_failed) {
      for (int i = 0; i < num_outputs_; ++i) {
        const Pending& out = outputs_[i];
        args.outputs[i] = {out.staged.present() ? out.staged : Rows{out.user.data, out.user.stride}, out.bytes};
      }
    }
    return args;
  }
  void finish_items() noexcept {
    if (finished_) return;
    const FinishArgs args = take_finish();
    if (args.failed != nullptr || args.outputs[0].bytes != 0) enqueue([&] { return finish(args, items_, stream_); });
  }

  const DeviceBatch& batch_;
  const std::size_t first_;
  const u32 items_;
  Arena& secret_;
  Arena& open_;
  const bool measuring_;
  const cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
  u8* statuses_ = nullptr;

 private:
  struct Pending {
    AnyRows user;
    u32 bytes = 0;
    Rows staged;
  };
  Pending outputs_[3];
  int num_outputs_ = 0;
  bool finished_ = false;
};

}  // namespace warpkem::kernels
