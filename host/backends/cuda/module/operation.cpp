#include "host/backends/cuda/module/operation.hpp"

#include "warpkem/params.hpp"

namespace warpkem::cuda {

using host::DkFormat;
using host::Operation;

namespace {

template <ParameterSet P>
std::size_t record_bytes_of(Role role, DkFormat dk_format) noexcept {
  switch (role) {
    case Role::seeds:
      return P::seed_bytes;
    case Role::m:
      return P::m_bytes;
    case Role::ek:
    case Role::ek_out:
      return P::ek_bytes;
    case Role::dk:
    case Role::dk_out:
      return dk_format == DkFormat::seed ? P::seed_bytes : P::dk_bytes;
    case Role::c:
    case Role::c_out:
      return P::c_bytes;
    case Role::index:
      return sizeof(std::uint32_t);
    case Role::K_out:
      return P::K_bytes;
  }
  return 0;
}

}  // namespace

std::size_t record_bytes(Role role, std::uint32_t algorithm, DkFormat dk_format) noexcept {
  switch (algorithm) {
    case MlKem512::id:
      return record_bytes_of<MlKem512>(role, dk_format);
    case MlKem768::id:
      return record_bytes_of<MlKem768>(role, dk_format);
    case MlKem1024::id:
      return record_bytes_of<MlKem1024>(role, dk_format);
    default:
      return 0;
  }
}

HostArrays::HostArrays(const host::Batch& batch) noexcept {
  const auto add = [&](Role role, bool secret, const auto& array) {
    HostArray& a = arrays_[size_++];
    a.role = role;
    a.output = role >= Role::ek_out;
    a.secret = secret;
    a.record_bytes = record_bytes(role, batch.algorithm, batch.dk_format);
    a.data = array.data;
    a.stride = array.stride;
    a.table = array.table;
  };
  const auto add_index = [&] {
    if (batch.index == nullptr) return;
    add(Role::index, false,
        host::In{reinterpret_cast<const std::uint8_t*>(batch.index), sizeof(std::uint32_t), nullptr});
  };
  switch (batch.operation) {
    case Operation::keygen:
      add(Role::seeds, true, batch.seeds);
      add(Role::ek_out, false, batch.ek_out);
      add(Role::dk_out, true, batch.dk_out);
      break;
    case Operation::encaps:
      if (batch.keys == nullptr) {
        add(Role::ek, false, batch.ek);
      } else {
        add_index();
      }
      add(Role::m, true, batch.m);
      add(Role::c_out, false, batch.c_out);
      add(Role::K_out, true, batch.K_out);
      break;
    case Operation::decaps:
      if (batch.keys == nullptr) {
        add(Role::dk, true, batch.dk);
      } else {
        add_index();
      }
      add(Role::c, false, batch.c);
      add(Role::K_out, true, batch.K_out);
      break;
    case Operation::check_ek:
    case Operation::prepare_ek:
      add(Role::ek, false, batch.ek);
      break;
    case Operation::check_dk:
    case Operation::prepare_dk:
      add(Role::dk, true, batch.dk);
      break;
  }
}

const char* operation_name(Operation operation) noexcept {
  switch (operation) {
    case Operation::keygen:
      return "keygen";
    case Operation::encaps:
      return "encaps";
    case Operation::decaps:
      return "decaps";
    case Operation::check_ek:
      return "check_ek";
    case Operation::check_dk:
      return "check_dk";
    case Operation::prepare_ek:
      return "prepare_ek";
    case Operation::prepare_dk:
      return "prepare_dk";
  }
  return "?";
}

}  // namespace warpkem::cuda
