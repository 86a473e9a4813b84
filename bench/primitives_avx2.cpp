#include "bench/primitives_list.hpp"
#include "host/backends/x86/avx2/lanes.hpp"

namespace warpkem::bench {

Primitives avx2_primitives() {
  return list_with<4>({{"Keccak-f1600_x1", 1, permute<Avx2, 1>},
                       {"Keccak-f1600_x4", 4, permute<Avx2, 4>},
                       {"Keccak-f1600_2x4", 8, permute<Avx2, 8>},
                       {"SHAKE128_SampleNTT_x8", 8, sample_from_seeds<Avx2>}});
}

}  // namespace warpkem::bench
