// Memory that a forked child finds zeroed, and that no core dump holds.
#pragma once

#include <openssl/crypto.h>
#include <sys/mman.h>

#include <cstddef>

namespace warpkem::provider {

class WipedMemory {
 public:
  // Null where there is no memory, or where the kernel does not wipe it in a child (Linux before 4.14).
  explicit WipedMemory(std::size_t bytes) noexcept : bytes_(bytes) {
    void* const mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return;
    if (madvise(mapping, bytes, MADV_WIPEONFORK) != 0) {
      munmap(mapping, bytes);
      return;
    }
    static_cast<void>(madvise(mapping, bytes, MADV_DONTDUMP));
    data_ = mapping;
  }
  WipedMemory(const WipedMemory&) = delete;
  WipedMemory& operator=(const WipedMemory&) = delete;
  ~WipedMemory() {
    if (data_ == nullptr) return;
    static_cast<void>(madvise(data_, bytes_, MADV_DONTNEED));  // the kernel clears pages before anyone has them again
    munmap(data_, bytes_);
  }

  void* data() const noexcept { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

}  // namespace warpkem::provider
