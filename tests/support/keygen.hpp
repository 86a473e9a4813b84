// A key generation of packed records, in memory that shows what was written.
#pragma once

#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpkem::test {

struct Keygen {
  // `dk` is empty if the algorithm has no dk of this format.
  Keygen(warpkem_algorithm algorithm, std::uint32_t format, std::size_t count)
      : ek(count * warpkem_size(algorithm, WARPKEM_SIZE_EK), 0xEE),
        dk(count * warpkem_size(algorithm, format == WARPKEM_DK_SEED        ? WARPKEM_SIZE_DK_SEED
                                           : format == WARPKEM_DK_COMPOSITE ? WARPKEM_SIZE_DK_COMPOSITE
                                                                            : WARPKEM_SIZE_DK),
           0xEE),
        statuses(count, 0xEE) {
    batch.struct_size = sizeof batch;
    batch.operation = WARPKEM_OP_KEYGEN;
    batch.algorithm = algorithm;
    batch.dk_format = format;
    batch.count = count;
    batch.ek_out = {ek.data(), ek.size(), 0, nullptr};
    batch.dk_out = {dk.data(), dk.size(), 0, nullptr};
    batch.statuses = statuses.data();
    batch.failed = &failed;
  }
  Keygen(const Keygen&) = delete;
  Keygen& operator=(const Keygen&) = delete;

  std::vector<std::uint8_t> ek, dk, statuses;
  std::size_t failed = 99;
  warpkem_batch batch{};
};

}  // namespace warpkem::test
