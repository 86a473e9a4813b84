#include "host/backends/x86/avx2/lanes.hpp"
#include "tests/backends/vector_primitives_list.hpp"

namespace warpkem::vector_primitives {

VectorPrimitives avx2() { return list<Avx2>("avx2"); }

}  // namespace warpkem::vector_primitives
