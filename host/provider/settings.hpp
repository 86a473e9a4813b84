// Settings of the provider: from its section of openssl.cnf, for servers clear the environment of their workers.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>

#include "host/provider/core.hpp"
#include "host/provider/kems.hpp"
#include "warpkem/keyfile.h"

namespace warpkem::provider {

struct Settings {
  std::string backend;            // "backend": empty or "auto": the best of this CPU
  std::uint32_t threads = 0;      // "threads": worker threads of the engine; 0: none but the caller
  std::string policy;             // "policy": empty: everything
  std::bitset<num_kems> allowed;  // by it
  std::uint32_t private_keys = WARPKEM_ENCODING_SEED;  // "private_keys" = seed, both or expanded: how files have them
  std::size_t pool_size = 0;        // "pool_size": key pairs made ahead of use, of each group; 0: none
  std::uint32_t pool_seconds = 60;  // "pool_seconds": older ones are not used
  std::string statistics_file;      // "statistics_file": %p in it is the process's number
};

// False, with an error in the queue, where a setting makes no sense. The texts say all: OpenSSL does not know reasons
// of a provider that does not load. Throws std::bad_alloc.
bool read_settings(const Core& core, Settings& settings);

}  // namespace warpkem::provider
