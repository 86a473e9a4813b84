// Scratch memory that is lent to running threads: as many pieces are made as ever ran at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "host/core/secure.hpp"

namespace warpkem::host {

class Workspaces {
 public:
  explicit Workspaces(std::size_t bytes) noexcept : bytes_(bytes) {}

  // One piece, lent. Throws std::bad_alloc.
  class Lent {
   public:
    explicit Lent(Workspaces& from) : from_(from) {
      {
        const std::scoped_lock lock(from_.mutex_);
        if (!from_.idle_.empty()) {
          buffer_ = std::move(from_.idle_.back());
          from_.idle_.pop_back();
          return;
        }
      }
      buffer_ = SecureBuffer(from_.bytes_);
    }
    ~Lent() {
      const std::scoped_lock lock(from_.mutex_);
      try {
        from_.idle_.push_back(std::move(buffer_));
      } catch (const std::bad_alloc&) {  // then it is freed
      }
    }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    std::uint8_t* data() const noexcept { return buffer_.data(); }

   private:
    Workspaces& from_;
    SecureBuffer buffer_;
  };

 private:
  const std::size_t bytes_;
  std::mutex mutex_;
  std::vector<SecureBuffer> idle_;
};

}  // namespace warpkem::host
