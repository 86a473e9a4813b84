// Where the members end of each struct of the ABI that begins with struct_size, in order: what a version's size can be.
#pragma once

#include <array>
#include <cstddef>

#include "warpkem/keyfile.h"
#include "warpkem/warpkem.h"

namespace warpkem::host {

template <class Struct, class... Members>
constexpr std::array<std::size_t, sizeof...(Members)> ends_of(Members... ends) {
  const std::array<std::size_t, sizeof...(Members)> all{ends...};
  // None is forgotten at the end.
  const std::size_t aligned = (all.back() + alignof(Struct) - 1) / alignof(Struct) * alignof(Struct);
  return aligned == sizeof(Struct) ? all : throw "the last member is missing";
}

template <class Struct>
inline constexpr std::array<std::size_t, 0> member_ends{};

#define WARPKEM_END(member) (offsetof(Struct, member) + sizeof(Struct::member))

template <>
inline constexpr auto member_ends<warpkem_options> = [] {
  using Struct = warpkem_options;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(backend), WARPKEM_END(threads), WARPKEM_END(flags),
                         WARPKEM_END(random), WARPKEM_END(random_context), WARPKEM_END(policy),
                         WARPKEM_END(cuda_devices), WARPKEM_END(cuda_chunk), WARPKEM_END(cuda_streams),
                         WARPKEM_END(pairwise_every));
}();

template <>
inline constexpr auto member_ends<warpkem_batch> = [] {
  using Struct = warpkem_batch;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(operation), WARPKEM_END(algorithm),
                         WARPKEM_END(dk_format), WARPKEM_END(flags), WARPKEM_END(count), WARPKEM_END(seeds),
                         WARPKEM_END(m), WARPKEM_END(ek), WARPKEM_END(dk), WARPKEM_END(c), WARPKEM_END(ek_out),
                         WARPKEM_END(dk_out), WARPKEM_END(c_out), WARPKEM_END(K_out), WARPKEM_END(keys),
                         WARPKEM_END(index), WARPKEM_END(statuses), WARPKEM_END(failed), WARPKEM_END(items_by_backend),
                         WARPKEM_END(user_data));
}();

template <>
inline constexpr auto member_ends<warpkem_backend_info> = [] {
  using Struct = warpkem_backend_info;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(name), WARPKEM_END(detail), WARPKEM_END(available),
                         WARPKEM_END(preferred), WARPKEM_END(items));
}();

template <>
inline constexpr auto member_ends<warpkem_scheduler_options> = [] {
  using Struct = warpkem_scheduler_options;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(max_items), WARPKEM_END(max_bytes),
                         WARPKEM_END(max_delay_us), WARPKEM_END(bulk_cut_us), WARPKEM_END(batch_items),
                         WARPKEM_END(device_sentinel), WARPKEM_END(cpu_sentinel), WARPKEM_END(log),
                         WARPKEM_END(log_context));
}();

template <>
inline constexpr auto member_ends<warpkem_submit_options> = [] {
  using Struct = warpkem_submit_options;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(queue), WARPKEM_END(callback), WARPKEM_END(context),
                         WARPKEM_END(request_class), WARPKEM_END(flags), WARPKEM_END(max_delay_us),
                         WARPKEM_END(reserved), WARPKEM_END(deadline_us), WARPKEM_END(timeout_us));
}();

template <>
inline constexpr auto member_ends<warpkem_counters> = [] {
  using Struct = warpkem_counters;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(submitted), WARPKEM_END(refused), WARPKEM_END(completed),
                         WARPKEM_END(failed), WARPKEM_END(cancelled), WARPKEM_END(expired), WARPKEM_END(aborted),
                         WARPKEM_END(batches), WARPKEM_END(batch_items), WARPKEM_END(redone), WARPKEM_END(helped),
                         WARPKEM_END(checked), WARPKEM_END(mismatched), WARPKEM_END(unchecked),
                         WARPKEM_END(quarantines), WARPKEM_END(items), WARPKEM_END(bytes));
}();

template <>
inline constexpr auto member_ends<warpkem_decoded_key> = [] {
  using Struct = warpkem_decoded_key;
  return ends_of<Struct>(WARPKEM_END(struct_size), WARPKEM_END(algorithm), WARPKEM_END(encoding), WARPKEM_END(ek),
                         WARPKEM_END(seed), WARPKEM_END(expanded), WARPKEM_END(composite), WARPKEM_END(error_at));
}();

#undef WARPKEM_END

}  // namespace warpkem::host
