// The provider as OpenSSL holds it: one for each library context that loads it.
#pragma once

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "host/provider/core.hpp"
#include "host/provider/engine.hpp"
#include "host/provider/kems.hpp"
#include "host/provider/pool.hpp"
#include "host/provider/settings.hpp"
#include "host/provider/statistics.hpp"

namespace warpkem::provider {

class Provider {
 public:
  Provider(const Core& core, Settings settings, const OSSL_DISPATCH* functions);

  const Core& core() const noexcept { return core_; }
  const Settings& settings() const noexcept { return settings_; }
  Engine& engine() noexcept { return engine_; }
  Statistics& statistics() noexcept { return statistics_; }
  Pool* pool() noexcept { return pool_.has_value() ? &*pool_ : nullptr; }

  // What OpenSSL is told of an operation; null: nothing.
  const OSSL_ALGORITHM* algorithms(int operation) const noexcept;

 private:
  using Algorithms = std::array<OSSL_ALGORITHM, num_kems + 1>;

  void add_files();

  const Core core_;
  const Settings settings_;
  Engine engine_;
  Statistics statistics_;
  std::optional<Pool> pool_;  // after the engine, which its thread uses
  Algorithms key_management_{}, kems_{};
  std::vector<OSSL_ALGORITHM> decoders_, encoders_;
};

// A form of key files, and its functions for each KEM of ML-KEM alone, which come first in the table.
inline constexpr std::size_t num_file_kems = 3;
struct FileForm {
  const char* properties;
  std::array<const OSSL_DISPATCH*, num_file_kems> functions;
};
std::span<const FileForm> decoder_forms() noexcept;
std::span<const FileForm> encoder_forms() noexcept;

// The functions of a KEM of the table, and its TLS groups.
const OSSL_DISPATCH* key_management_of(std::size_t kem) noexcept;
const OSSL_DISPATCH* kem_functions() noexcept;
int give_groups(const Provider& provider, OSSL_CALLBACK* take, void* argument) noexcept;

}  // namespace warpkem::provider
