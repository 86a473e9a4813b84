#include "host/backends/x86/avx512/lanes.hpp"
#include "tests/backends/vector_primitives_list.hpp"

namespace warpkem::vector_primitives {

VectorPrimitives avx512() { return list<Avx512>("avx512"); }

}  // namespace warpkem::vector_primitives
