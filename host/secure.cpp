#include "host/secure.hpp"

#include <string.h>
#include <sys/mman.h>

#include <new>

namespace warpkem::host {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t alignment = 64;

std::size_t mapped_bytes(std::size_t bytes) noexcept { return (bytes + page - 1) & ~(page - 1); }

}  // namespace

void wipe(void* data, std::size_t bytes) noexcept {
  if (bytes != 0) explicit_bzero(data, bytes);
}

SecureBuffer::SecureBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes < page) {
    data_ = static_cast<std::uint8_t*>(::operator new (bytes, std::align_val_t{alignment}));
    memset(data_, 0, bytes);
    return;
  }
  if (bytes > SIZE_MAX - page) throw std::bad_alloc();
  void* mapping = mmap(nullptr, mapped_bytes(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  madvise(mapping, mapped_bytes(bytes),
          MADV_DONTDUMP);  // where the kernel lacks it, dumps are the operator's to forbid
  data_ = static_cast<std::uint8_t*>(mapping);
}

SecureBuffer::~SecureBuffer() {
  if (data_ == nullptr) return;
  wipe(data_, bytes_);
  if (bytes_ < page) {
    ::operator delete (data_, std::align_val_t{alignment});
  } else {
    munmap(data_, mapped_bytes(bytes_));
  }
}

}  // namespace warpkem::host
