#include "host/backends/cuda/module/operation.hpp"

#include <algorithm>
#include <iterator>
#include <type_traits>

#include "host/core/hybrids.hpp"

namespace warpkem::cuda {

using host::Array;

// The kernels include nothing of the host: numbers, and the tables of operations, must agree.
template <class Host, class Kernels>
static constexpr bool same(Host a, Kernels b) {
  return static_cast<std::uint32_t>(a) == static_cast<std::uint32_t>(b);
}
template <class A, class B>
static constexpr bool is_same(const A* a, const B* b) {
  if constexpr (std::is_same_v<A, B>) return a == b;
  return false;
}
static_assert([] {
  for (const host::OperationSpec& spec : host::all_operations()) {
    const std::size_t row = kernels::row_of(static_cast<kernels::Operation>(spec.operation));
    if (row == std::size(kernels::operations)) continue;  // only other backends have it
    const kernels::OperationSpec& of_kernels = kernels::operations[row];
    if (spec.takes_keys != of_kernels.takes_keys || spec.prepares != of_kernels.makes_keys) return false;
    const kernels::DeviceBatch batch;
    bool same_arrays = true;
    host::for_each_array(
        [&](Array which, const auto& array) {
          const auto has = [&](const auto& members) {
            return std::ranges::any_of(
                members, [&](auto member) { return member != nullptr && is_same(&(batch.*member), &array); });
          };
          const bool of_host = std::ranges::count(spec.in, which) + std::ranges::count(spec.out, which) != 0;
          same_arrays = same_arrays && of_host == (has(of_kernels.in) || has(of_kernels.out));
        },
        batch);
    if (!same_arrays) return false;
  }
  return true;
}());
static_assert(same(host::DkFormat::expanded, kernels::DkFormat::expanded) &&
              same(host::DkFormat::seed, kernels::DkFormat::seed) &&
              same(host::DkFormat::composite, kernels::DkFormat::composite));
// The device has the hybrids of X25519.
static_assert([] {
  for (const host::Hybrid& hybrid : host::all_hybrids()) {
    bool agrees = true;
    const bool has = kernels::with_algorithm(hybrid.algorithm, [&]<class A>(A) {
      agrees = A::MlKem::id == hybrid.ml_kem && A::is_hybrid && A::combines == hybrid.combines() &&
               A::ek_bytes == hybrid.ek().bytes && A::c_bytes == hybrid.c().bytes && A::K_bytes == hybrid.K().bytes &&
               A::m_bytes == hybrid.m().bytes && A::material_bytes == hybrid.material().bytes && !hybrid.group_first;
    });
    if (!agrees || has != (hybrid.group == host::Group::x25519)) return false;
  }
  return true;
}());
static_assert(same(host::ItemStatus::ok, kernels::ItemStatus::ok) &&
              same(host::ItemStatus::invalid_ek, kernels::ItemStatus::invalid_ek) &&
              same(host::ItemStatus::invalid_dk, kernels::ItemStatus::invalid_dk) &&
              same(host::ItemStatus::invalid_key_index, kernels::ItemStatus::invalid_key_index) &&
              same(host::ItemStatus::invalid_c, kernels::ItemStatus::invalid_c));

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

kernels::DeviceBatch kernel_batch(const host::Batch& batch, bool refuse_zero) noexcept {
  kernels::DeviceBatch of_kernels;
  of_kernels.operation = static_cast<kernels::Operation>(batch.operation);
  of_kernels.algorithm = batch.algorithm;
  of_kernels.dk_format = static_cast<kernels::DkFormat>(batch.dk_format);
  of_kernels.refuse_zero = refuse_zero;
  of_kernels.count = batch.count;
  return of_kernels;
}

}  // namespace warpkem::cuda
