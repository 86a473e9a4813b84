// Lanes behind the seam of x25519.hpp.
#pragma once

#include "host/backends/curve/lanes.hpp"
#include "host/backends/curve/scalar.hpp"

namespace warpkem::curve {
namespace {

// `Environment` is made while lanes compute. A derivation of `alone` items or fewer that are left over by full groups
// is quicker one at a time. (A public key is not: it has one inversion then for itself.)
template <class F, class Environment, int alone>
struct VectorKernels {
  using Of = Lanes<F>;

  template <class Function>
  [[gnu::noinline]] static void within(u8* workspace, Function function) noexcept {
    auto& w = *reinterpret_cast<typename Of::Workspace*>(workspace);
    {
      const Environment environment;
      function(w);
    }
    host::wipe(&w, sizeof w);
  }

  static void derive(const Derive& batch, u8* workspace) noexcept {
    Derive in_lanes = batch;
    if (batch.count % Of::lanes <= std::size_t{alone}) in_lanes.count -= batch.count % Of::lanes;
    if (in_lanes.count != 0) {
      within(workspace, [&](typename Of::Workspace& w) { Of::derive(in_lanes, w); });
    }
    derive_items(batch, in_lanes.count, batch.count);
    clear_stack();
    host::clear_vector_registers();
  }

  static void public_key(const PublicKey& batch, u8* workspace) noexcept {
    static const typename F::Table table;
    within(workspace, [&](typename Of::Workspace& w) { Of::public_key(batch, table, w); });
    clear_stack();
    host::clear_vector_registers();
  }

  static constexpr X25519Kernels kernels(const char* name) noexcept {
    return {name, Of::lanes, sizeof(typename Of::Workspace), derive, public_key};
  }
};

}  // namespace
}  // namespace warpkem::curve
