// Many texts through AES-256-GCM at once, on the CPU, by OpenSSL.
#include <stdio.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "host/core/secure.hpp"
#include "host/engine/engine.hpp"

#ifdef WARPKEM_HAVE_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>

#include "host/core/openssl.hpp"
#endif

namespace warpkem::host {

#ifdef WARPKEM_HAVE_OPENSSL

namespace {

// OpenSSL's context, which gets one key after the other, and is wiped when it is freed. Lives while OpenSSL is held.
class Aes256Gcm {
 public:
  explicit Aes256Gcm(bool seals)
      : cipher_(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr)), context_(EVP_CIPHER_CTX_new()) {
    if (!cipher_ && ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_UNSUPPORTED) {
      throw Error(Status::unsupported, "OpenSSL has no AES-256-GCM: is its default provider active?");
    }
    if (!cipher_ || !context_ ||
        EVP_CipherInit_ex2(context_.get(), cipher_.get(), nullptr, nullptr, seals ? 1 : 0, nullptr) != 1) {
      throw std::bad_alloc();
    }
  }

  // Items [first, first + count). Throws Error(backend_failed).
  void run(const Engine::GcmBatch& batch, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
      const bool has_its_key = batch.key.stride == 0 && i != first;
      begin(has_its_key ? nullptr : batch.key[i], batch.nonce[i]);
      update(nullptr, batch.aad[i], batch.aad_bytes);
      update(batch.to[i], batch.from[i], batch.text_bytes);
      if (batch.seals) {
        must(end());
        tag(EVP_CTRL_AEAD_GET_TAG, batch.to[i] + batch.text_bytes);
      } else {
        std::uint8_t sent[Engine::gcm_tag_bytes];
        std::memcpy(sent, batch.from[i] + batch.text_bytes, sizeof sent);
        tag(EVP_CTRL_AEAD_SET_TAG, sent);
        const bool is_right = end() == 1;
        batch.statuses[i] = is_right ? item_ok : static_cast<std::uint8_t>(Status::invalid_tag);
        if (!is_right) wipe(batch.to[i], batch.text_bytes);
      }
    }
  }

 private:
  static void must(int is_done) {
    if (is_done != 1) throw Error(Status::backend_failed, "OpenSSL failed");
  }
  void begin(const std::uint8_t* key, const std::uint8_t* nonce) {
    must(EVP_CipherInit_ex2(context_.get(), nullptr, key, nonce, -1, nullptr));
  }
  void update(std::uint8_t* to, const std::uint8_t* from, std::size_t bytes) {
    int done = 0;
    if (bytes != 0) must(EVP_CipherUpdate(context_.get(), to, &done, from, static_cast<int>(bytes)));
  }
  int end() {
    std::uint8_t nothing[16];  // of a cipher without padding
    int done = 0;
    return EVP_CipherFinal_ex(context_.get(), nothing, &done);
  }
  void tag(int what, std::uint8_t* bytes) {
    must(EVP_CIPHER_CTX_ctrl(context_.get(), what, Engine::gcm_tag_bytes, bytes));
  }

  std::unique_ptr<EVP_CIPHER, FreeBy<EVP_CIPHER_free>> cipher_;
  std::unique_ptr<EVP_CIPHER_CTX, FreeBy<EVP_CIPHER_CTX_free>> context_;
};

// Starts OpenSSL, and throws Error(unsupported) where it has no such cipher.
void start_gcm() {
  start_openssl();
  const OpenSslUse openssl;
  if (openssl) Aes256Gcm(true);
}

CallResult with_text(Status status, std::size_t failed, const char* text) noexcept {
  CallResult result{status, failed, {}};
  try {
    result.text = text;
  } catch (const std::bad_alloc&) {
  }
  return result;
}

CallResult result_of(const Engine::GcmBatch& batch) noexcept {
  if (batch.seals) return {};
  const std::span statuses(batch.statuses, batch.count);
  const auto first = std::ranges::find_if(statuses, [](std::uint8_t s) { return s != item_ok; });
  if (first == statuses.end()) return {};
  const auto failed = batch.count - static_cast<std::size_t>(std::ranges::count(statuses, item_ok));
  char text[160];
  snprintf(text, sizeof text,
           "item %td: the tag is wrong: not what was sealed with this key, nonce and aad; %zu of %zu items failed",
           first - statuses.begin(), failed, batch.count);
  return with_text(Status::item_failed, failed, text);
}

CallResult whole_call_failed(const Engine::GcmBatch& batch, Status status) noexcept {
  const std::size_t bytes = batch.text_bytes + (batch.seals ? Engine::gcm_tag_bytes : 0);
  for (std::size_t i = 0; i < batch.count; ++i) wipe(batch.to[i], bytes);
  if (batch.statuses != nullptr) std::memset(batch.statuses, static_cast<int>(status), batch.count);
  return with_text(
      status, batch.count,
      status == Status::out_of_memory ? "out of memory" : "OpenSSL's AES-256-GCM failed, or OpenSSL has cleaned up");
}

}  // namespace

CallResult Engine::aes256_gcm(const GcmBatch& batch) {
  start_gcm();
  struct Shared {
    const GcmBatch& batch;
    std::atomic<Status> status;
  } shared{batch, Status::ok};
  const auto work = [](void* context, std::size_t first, std::size_t num_items) noexcept {
    Shared& s = *static_cast<Shared*>(context);
    try {
      constexpr std::size_t most_items = 1024;  // before a fork in another thread may go on
      for (const std::size_t end = first + num_items; first < end; first += most_items) {
        const OpenSslUse openssl;
        if (!openssl) throw Error(Status::backend_failed, "OpenSSL has cleaned up");
        Aes256Gcm(s.batch.seals).run(s.batch, first, std::min(most_items, end - first));
      }
    } catch (const std::bad_alloc&) {
      s.status.store(Status::out_of_memory, std::memory_order_relaxed);
    } catch (const Error&) {
      s.status.store(Status::backend_failed, std::memory_order_relaxed);
    }
    clear_vector_registers();
  };
  constexpr std::size_t grain = 64;  // some ten microseconds
  pool_->run(batch.count, grain, work, &shared);
  return shared.status == Status::ok ? result_of(batch) : whole_call_failed(batch, shared.status);
}

#else

CallResult Engine::aes256_gcm(const GcmBatch&) {
  throw Error(Status::unsupported, "AES-256-GCM is OpenSSL's, and the library was built without");
}

#endif

}  // namespace warpkem::host
