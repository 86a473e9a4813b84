#include "host/backends/cuda/module/operation.hpp"

namespace warpkem::cuda {

using host::Array;
using host::Operation;

// The kernels include nothing of the host.
template <class Host, class Kernels>
static constexpr bool same(Host a, Kernels b) {
  return static_cast<std::uint32_t>(a) == static_cast<std::uint32_t>(b);
}
static_assert(same(Operation::keygen, kernels::Operation::keygen) &&
              same(Operation::encaps, kernels::Operation::encaps) &&
              same(Operation::decaps, kernels::Operation::decaps) &&
              same(Operation::check_ek, kernels::Operation::check_ek) &&
              same(Operation::check_dk, kernels::Operation::check_dk) &&
              same(Operation::prepare_ek, kernels::Operation::prepare_ek) &&
              same(Operation::prepare_dk, kernels::Operation::prepare_dk));
static_assert(same(host::DkFormat::expanded, kernels::DkFormat::expanded) &&
              same(host::DkFormat::seed, kernels::DkFormat::seed));
static_assert(same(host::ItemStatus::ok, kernels::ItemStatus::ok) &&
              same(host::ItemStatus::invalid_ek, kernels::ItemStatus::invalid_ek) &&
              same(host::ItemStatus::invalid_dk, kernels::ItemStatus::invalid_dk) &&
              same(host::ItemStatus::invalid_key_index, kernels::ItemStatus::invalid_key_index));

HostArrays::HostArrays(const host::Batch& batch) noexcept {
  const host::OperationSpec& spec = host::spec_of(batch.operation);
  const host::Algorithm* const algorithm = host::find_algorithm(batch.algorithm);
  const auto add = [&](Array which, const auto& array) {
    const host::ArraySpec& of = host::spec_of(which);
    const std::size_t record = algorithm != nullptr ? host::record_bytes(*algorithm, which, batch.dk_format) : 0;
    arrays_[size_++] = {which, of.is_output, of.is_secret, record, array.data, array.stride, array.table};
  };
  if (batch.form != nullptr && batch.index != nullptr) {
    constexpr std::size_t record = sizeof *batch.index;
    arrays_[size_++] = {
        .record_bytes = record, .data = reinterpret_cast<const std::uint8_t*>(batch.index), .stride = record};
  }
  for (const Array which : spec.inputs(batch.form != nullptr)) {
    if (which != Array::none) add(which, batch.*host::input_of(which));
  }
  for (const Array which : spec.out) {
    if (which != Array::none) add(which, batch.*host::output_of(which));
  }
}

void set_array(kernels::DeviceBatch& batch, Array array, std::uint8_t* data, std::size_t stride) noexcept {
  host::for_each_array(
      [&](Array a, auto& of_kernels) {
        if (a == array) of_kernels = {data, stride, nullptr};
      },
      batch);
}

kernels::DeviceBatch kernel_batch(const host::Batch& batch) noexcept {
  kernels::DeviceBatch of_kernels;
  of_kernels.operation = static_cast<kernels::Operation>(batch.operation);
  of_kernels.algorithm = batch.algorithm;
  of_kernels.dk_format = static_cast<kernels::DkFormat>(batch.dk_format);
  of_kernels.count = batch.count;
  return of_kernels;
}

}  // namespace warpkem::cuda
