#include "host/serving/work.hpp"

#include <utility>

#include "host/core/operation.hpp"
#include "host/core/secure.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

Work::Work(const Batch& batch) noexcept
    : keys(batch.keys),
      index(batch.index),
      statuses(batch.statuses),
      operation(batch.operation),
      algorithm(batch.algorithm),
      dk_format(batch.dk_format) {
  const auto pack = [](auto& to, const auto& from) {
    if (from.table != nullptr) {
      to.at = from.table;
    } else {
      to.at = from.data, to.stride = from.stride;
    }
  };
  const OperationSpec& spec = spec_of(operation);
  const std::array<Array, 2> inputs = spec.inputs(keys != nullptr);
  for (std::size_t k = 0; k < 2; ++k) {
    if (inputs[k] != Array::none) pack(in[k], batch.*input_of(inputs[k]));
    if (spec.out[k] != Array::none) pack(out[k], batch.*output_of(spec.out[k]));
  }
}

Kind Work::kind() const noexcept {
  return {operation, algorithm, keys != nullptr ? keys->dk_format() : dk_format, keys != nullptr};
}

Batch Work::without_arrays() const noexcept {
  Batch batch;
  batch.operation = operation;
  batch.algorithm = algorithm;
  batch.dk_format = dk_format;
  batch.keys = keys;
  return batch;
}

void Work::zero_outputs(std::size_t item) const noexcept {
  const OperationSpec& spec = spec_of(operation);
  for (std::size_t k = 0; k < 2; ++k) {
    if (out[k].present()) wipe(out[k][item], record_bytes(*find_algorithm(algorithm), spec.out[k], dk_format));
  }
}

void Work::release_keys() noexcept {
  if (keys != nullptr) std::exchange(keys, nullptr)->release();
}

}  // namespace warpkem::host
