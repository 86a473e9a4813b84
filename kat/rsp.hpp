// The text of NIST's classic KAT response files (.rsp), without the header: README.md has the procedure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kat/kem.hpp"

namespace warpkem::kat {

// AES-256 CTR_DRBG without derivation function (NIST SP 800-90A, 10.2.1), as the KAT generator of NIST's post-quantum
// project uses it.
class CtrDrbg {
 public:
  explicit CtrDrbg(std::span<const std::uint8_t, 48> entropy);
  Bytes generate(std::size_t bytes);

 private:
  void increment();
  void update(std::span<const std::uint8_t, 48> data);
  void encrypt(std::uint8_t out[16]) const;

  std::uint8_t key_[32] = {}, v_[16] = {};
};

// `vectors` vectors of the parameter set.
std::string rsp_text(const Kem& kem, std::size_t vectors);

}  // namespace warpkem::kat
