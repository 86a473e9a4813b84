// Encrypted private keys (PKCS#8, PBES2), and where their passphrase comes from: a file, a descriptor, the terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "tools/warpkem/io.hpp"

namespace warpkem::tool {

struct PassphraseOptions {
  std::string file;
  int descriptor = -1;
};

// One for all keys of an input. It is asked for when the first encrypted key is met. Thread-safe.
class Passphrase {
 public:
  // Refuses at once what cannot be read, and a file and a descriptor together.
  explicit Passphrase(const PassphraseOptions& options);

  // Decrypts an EncryptedPrivateKeyInfo to `out`, which has room for as many bytes. Returns the number of bytes; 0, and
  // the rule in `error`: it cannot be decrypted.
  std::size_t decrypt(std::span<const std::uint8_t> der, std::uint8_t* out, std::string& error);

 private:
  bool ask(std::string& error);

  std::once_flag asked_;
  Buffer text_;
  std::size_t bytes_ = 0;
  bool is_known_ = false;
  std::string why_not_;
};

}  // namespace warpkem::tool
