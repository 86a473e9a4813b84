// Memory that held secrets: wiped by something that the compiler cannot remove, and kept out of core dumps when large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace warpkem::host {

void wipe(void* data, std::size_t bytes) noexcept;

// Zeroes the vector registers that this CPU has: a copy leaves there what it copied, and whoever saves them next (a
// lazily bound call of the program's, say) puts it on a stack that nobody wipes.
void clear_vector_registers() noexcept;

// A zeroed, 64-byte aligned buffer, wiped before it is freed. From 4 KiB on it is a mapping of its own, which is marked
// MADV_DONTDUMP. Throws std::bad_alloc.
class SecureBuffer {
 public:
  SecureBuffer() noexcept = default;
  explicit SecureBuffer(std::size_t bytes);
  SecureBuffer(SecureBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  SecureBuffer& operator=(SecureBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SecureBuffer();

  std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }
  std::span<std::uint8_t> span() const noexcept { return {data_, bytes_}; }
  explicit operator bool() const noexcept { return data_ != nullptr; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace warpkem::host
