#include "host/work.hpp"

#include <utility>

#include "host/key_set.hpp"
#include "host/outputs.hpp"

namespace warpkem::host {

Arrays arrays_of(Operation operation, bool prepared) noexcept {
  switch (operation) {
    case Operation::keygen:
      return {{&Batch::seeds, nullptr}, {&Batch::ek_out, &Batch::dk_out}};
    case Operation::encaps:
      return {{&Batch::m, prepared ? nullptr : &Batch::ek}, {&Batch::c_out, &Batch::K_out}};
    case Operation::decaps:
      return {{&Batch::c, prepared ? nullptr : &Batch::dk}, {&Batch::K_out, nullptr}};
    case Operation::check_ek:
      return {{&Batch::ek, nullptr}, {nullptr, nullptr}};
    default:
      return {{&Batch::dk, nullptr}, {nullptr, nullptr}};
  }
}

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
  const Arrays arrays = arrays_of(operation, keys != nullptr);
  for (std::size_t k = 0; k < 2; ++k) {
    if (arrays.in[k] != nullptr) pack(in[k], batch.*arrays.in[k]);
    if (arrays.out[k] != nullptr) pack(out[k], batch.*arrays.out[k]);
  }
}

Batch Work::kind() const noexcept {
  Batch kind;
  kind.operation = operation;
  kind.algorithm = algorithm;
  kind.dk_format = dk_format;
  kind.keys = keys;
  return kind;
}

void Work::zero_outputs(std::size_t item) const noexcept {
  const Arrays arrays = arrays_of(operation, keys != nullptr);
  for (std::size_t k = 0; k < 2; ++k) {
    if (out[k].present()) wipe(out[k][item], out_bytes(algorithm, dk_format, arrays.out[k]));
  }
}

void Work::release_keys() noexcept {
  if (keys != nullptr) std::exchange(keys, nullptr)->release();
}

}  // namespace warpkem::host
