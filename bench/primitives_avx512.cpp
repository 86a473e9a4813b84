#include "bench/primitives_list.hpp"
#include "host/backends/x86/avx512/lanes.hpp"

namespace warpkem::bench {

Primitives avx512_primitives() {
  return list_with<3>({{"Keccak-f1600_x4", 4, permute<Avx512, 4>},
                       {"Keccak-f1600_x8", 8, permute<Avx512, 8>},
                       {"SHAKE128_SampleNTT_x8", 8, sample_from_seeds<Avx512>}});
}

}  // namespace warpkem::bench
