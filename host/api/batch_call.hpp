// What calls that take or make a warpkem_batch share.
#pragma once

#include "host/api/seam.hpp"
#include "warpkem/warpkem.h"

namespace warpkem::host {

// A call on nothing succeeds whatever its pointers are, the engine's included.
bool is_empty(const warpkem_engine* engine, const warpkem_batch& batch) noexcept;

// What a synchronous call answers.
warpkem_status run(warpkem_engine* engine, const warpkem_batch& arguments) noexcept;

// For the named calls: a batch without arrays, and arrays without tables.
warpkem_batch describe(uint32_t operation, warpkem_algorithm algorithm, size_t count, uint8_t* statuses,
                       size_t* failed) noexcept;
inline warpkem_source source(const warpkem_in& in) noexcept { return {in.data, in.bytes, in.stride, nullptr}; }
inline warpkem_target target(const warpkem_out& out) noexcept { return {out.data, out.bytes, out.stride, nullptr}; }

// For the calls that are given a batch: that, as far as this version knows it. Throws Error.
warpkem_batch known_batch(const warpkem_batch* given);

}  // namespace warpkem::host
