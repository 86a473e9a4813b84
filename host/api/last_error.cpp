// A thread's buffer is allocated when a call fails there for the first time and freed when the thread ends, by the
// destructor of a pthread key: registering a thread-local object's destructor may need memory, and the C library ends
// the process if there is none. The key goes when the library is unloaded, so that no thread calls into it afterwards;
// the buffers of threads that still run then are lost.
#include "host/api/last_error.hpp"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <atomic>

#include "host/core/thread_local.hpp"

namespace warpkem::host {

namespace {

constexpr std::size_t buffer_bytes = 1024;

WARPKEM_THREAD_LOCAL char* buffer = nullptr;
WARPKEM_THREAD_LOCAL const char* shown = "";  // the buffer, or a text that needs none

pthread_once_t key_once = PTHREAD_ONCE_INIT;
pthread_key_t key;
std::atomic<bool> key_is_there{false};

void free_buffer(void*) noexcept {
  shown = "";
  free(buffer);
  buffer = nullptr;
}

void make_key() noexcept { key_is_there.store(pthread_key_create(&key, free_buffer) == 0); }

[[gnu::destructor]] void delete_key() noexcept {
  if (!key_is_there.exchange(false)) return;
  pthread_key_delete(key);
  free_buffer(nullptr);
}

// False: there is no memory, or the process ends.
bool has_buffer() noexcept {
  if (buffer != nullptr) return true;
  pthread_once(&key_once, make_key);
  if (!key_is_there.load()) return false;
  char* const made = static_cast<char*>(malloc(buffer_bytes));
  if (made == nullptr) return false;
  if (pthread_setspecific(key, made) != 0) {
    free(made);
    return false;
  }
  buffer = made;
  return true;
}

}  // namespace

void keep_last_error(Status status, const char* text) noexcept {
  if (!has_buffer()) {
    shown = status == Status::out_of_memory ? "out of memory" : "there was no memory for a text: see the status";
    return;
  }
  const std::size_t length = std::min(strlen(text), buffer_bytes - 1);
  memmove(buffer, text, length);
  buffer[length] = '\0';
  shown = buffer;
}

const char* last_error() noexcept { return shown; }

}  // namespace warpkem::host
