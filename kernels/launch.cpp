// Checks batches, measures and lays out the workspace, and enqueues the passes.
#include "kernels/launch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/pass.hpp"
#include "kernels/policy.hpp"
#include "kernels/staging.hpp"
#include "kernels/steps.hpp"

namespace warpkem::kernels {
namespace {

// By thread, a batch is cut as a large one would be, so that tests and measurements of few items see its launches.
std::size_t items_of_a_pass(const DeviceBatch& batch) noexcept {
  if (batch.hashing != DeviceBatch::Hashing::by_thread) return policy::items_per_pass;
  return std::min(policy::items_per_pass, round_up((batch.count + 6) / 7, 32));
}

// Of one pass, and whether two are under way at a time.
struct Measure {
  std::size_t secret = 0, open = 0;
  bool two = false;
  std::size_t bytes() const noexcept { return (two ? 2 : 1) * (secret + open); }
};
Measure measure(const DeviceBatch& batch) noexcept {
  if (batch.count == 0) return {};
  auto* const imaginary = reinterpret_cast<u8*>(std::uintptr_t{1} << 20);
  Workspace workspace{Arena{imaginary}, Arena{imaginary}};
  bool is_hybrid = false;
  const std::size_t items = std::min(batch.count, items_of_a_pass(batch));
  with_algorithm(batch.algorithm, [&]<class A>(A) {
    is_hybrid = A::is_hybrid;
    Pass<A> pass{batch, 0, items, workspace, 1, true, nullptr};
    pass.begin(nullptr);
    static_cast<void>(pass.complete());
  });
  const bool has_arithmetic = batch.operation == Operation::keygen || batch.operation == Operation::encaps ||
                              batch.operation == Operation::decaps;
  return {workspace.secret.bytes(), workspace.open.bytes(), has_arithmetic && !is_hybrid && batch.count > items};
}

constexpr std::size_t workspace_alignment = 256;

bool present(const In& in) noexcept { return in.data != nullptr || in.table != nullptr; }
bool present(const Out& out) noexcept { return out.data != nullptr || out.table != nullptr; }

bool makes_sense(const DeviceBatch& b) noexcept {
  std::size_t dk_bytes = 0;
  bool is_hybrid = false;
  const bool is_known = with_algorithm(b.algorithm, [&]<class A>(A) {
    dk_bytes = A::dk_bytes(b.dk_format);
    is_hybrid = A::is_hybrid;
  });
  if (!is_known || (b.dk_format != DkFormat::expanded && dk_bytes == 0)) return false;
  if (b.count == 0) return true;
  const OperationSpec* const found = find_operation(b.operation);
  if (found == nullptr) return false;
  const OperationSpec& spec = *found;
  const auto holds_forms = [&](const void* data, std::size_t stride, KeyKind kind) {
    return data != nullptr && reinterpret_cast<std::uintptr_t>(data) % form_alignment == 0 &&
           stride % form_alignment == 0 && stride >= form_bytes(b.algorithm, kind);
  };
  if (b.prepared) {
    if (!spec.takes_keys || (b.keys.kind != spec.key && (is_hybrid || spec.key == KeyKind::dk))) return false;
    if (b.keys.num_keys != 0 && !holds_forms(b.keys.data, b.keys.stride, b.keys.kind)) return false;
  }
  if (spec.makes_keys && !holds_forms(b.forms, b.forms_stride, spec.key)) return false;
  const bool has_dk = !b.prepared && (spec.in[0] == &DeviceBatch::dk || spec.in[1] == &DeviceBatch::dk ||
                                      spec.out[1] == &DeviceBatch::dk_out);
  if (has_dk && (dk_bytes == 0 || (!spec.takes_seeds && b.dk_format != DkFormat::expanded))) return false;
  const auto all_present = [&](const auto& arrays) {
    return std::ranges::all_of(arrays, [&](auto array) { return array == nullptr || present(b.*array); });
  };
  return (b.prepared ? present(b.*spec.in[0]) : all_present(spec.in)) && all_present(spec.out);
}

}  // namespace

std::size_t form_bytes(std::uint32_t algorithm, KeyKind kind) noexcept {
  std::size_t bytes = 0;
  with_algorithm(algorithm, [&]<class A>(A) {
    bytes = kind == KeyKind::ek ? FormLayout<A>::ek_form_bytes : FormLayout<A>::dk_form_bytes;
  });
  return bytes;
}

std::size_t workspace_bytes(const DeviceBatch& batch) noexcept {
  if (!makes_sense(batch)) return 0;
  const Measure need = measure(batch);
  return need.bytes() + workspace_alignment;
}

cudaError_t load_kernels() noexcept {
  const auto load = [](KernelList kernels, bool share_memory) {
    cudaError_t error = cudaSuccess;
    for (const void* const kernel : kernels) {
      // Blocks that share memory want as many of themselves as fit. To change the division of the L1 cache between two
      // kernels, the driver waits until a multiprocessor is idle.
      if (share_memory) {
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                     cudaSharedmemCarveoutMaxShared);
      }
      cudaFuncAttributes loaded{};
      if (error == cudaSuccess) error = cudaFuncGetAttributes(&loaded, kernel);
      if (error != cudaSuccess) break;
    }
    return error;
  };
  for (const auto list : {&hash_kernels, &keygen_kernels, &encaps_kernels, &decaps_kernels, &x25519_kernels}) {
    if (const cudaError_t error = load(list(), true); error != cudaSuccess) return error;
  }
  return load(records_kernels(), false);
}

cudaError_t launch(const DeviceBatch& batch, void* workspace, std::size_t workspace_bytes, cudaStream_t stream,
                   const Fork& fork) noexcept {
  if (!makes_sense(batch)) return cudaErrorInvalidValue;
  const Measure need = measure(batch);
  if (batch.count != 0 && (workspace == nullptr || workspace_bytes < need.bytes() + workspace_alignment)) {
    return cudaErrorInvalidValue;
  }
  int device = 0, num_multiprocessors = 0, shared_bytes = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&num_multiprocessors, cudaDevAttrMultiProcessorCount, device);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
  }
  if (error != cudaSuccess) return error;
  if (batch.failed != nullptr) error = cudaMemsetAsync(batch.failed, 0, sizeof(*batch.failed), stream);
  if (error != cudaSuccess || batch.count == 0) return error;

  u8* const base = reinterpret_cast<u8*>(round_up(reinterpret_cast<std::uintptr_t>(workspace), workspace_alignment));
  const std::size_t secret = (need.two ? 2 : 1) * need.secret, items = items_of_a_pass(batch);
  Workspace regions[] = {{Arena{base}, Arena{base + secret}}, {Arena{base}, Arena{base + secret}}};
  if (need.two) regions[1] = {Arena{base + need.secret}, Arena{base + secret + need.open}};
  const bool mixes = need.two && policy::mixes(shared_bytes);
  with_algorithm(batch.algorithm, [&]<class A>(A) {
    std::optional<Pass<A>> passes[2];  // a pass, and the one before it, whose arithmetic it takes along
    std::size_t number = 0;
    for (std::size_t first = 0; first < batch.count && error == cudaSuccess; first += items, ++number) {
      auto& pass = passes[mixes ? number % 2 : 0];
      auto& previous = passes[1 - number % 2];
      pass.emplace(batch, first, std::min(items, batch.count - first), regions[mixes ? number % 2 : 0],
                   num_multiprocessors, false, stream, fork);
      pass->begin(mixes && number != 0 ? &*previous : nullptr);
      if (!mixes) error = pass->complete();
      if (mixes && number != 0) error = previous->complete();
    }
    if (mixes && error == cudaSuccess) error = passes[(number - 1) % 2]->complete();
  });
  // Also after an error: what was enqueued before it has written secrets.
  const cudaError_t wiped = secret == 0 ? cudaSuccess : cudaMemsetAsync(base, 0, secret, stream);
  return error != cudaSuccess ? error : wiped;
}

}  // namespace warpkem::kernels
