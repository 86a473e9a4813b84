// The only door to the device code: a batch of ML-KEM (FIPS 203) or of a hybrid on device memory, enqueued on a stream.
// Plain C++; the caller needs no CUDA compiler.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/algorithms.hpp"
#include "kernels/batch.hpp"
#include "kernels/fork.hpp"
#include "kernels/status.hpp"

namespace warpkem::kernels {

// Bytes of one prepared key, a multiple of form_alignment; 0 for an unknown algorithm.
std::size_t form_bytes(std::uint32_t algorithm, KeyKind kind) noexcept;

// Scratch memory that launch() needs for this batch; depends on operation, algorithm, dk_format, count, on which arrays
// are present and on their layout (a batch with a table for every array needs the most), and grows with count up to a
// limit of its own plus a few bytes per item. No device call.
std::size_t workspace_bytes(const DeviceBatch& batch) noexcept;

// Loads every kernel on the current device, which a first launch does otherwise and a capture may forbid, and asks for
// the most shared memory where occupancy depends on it. Takes a while, once for each device; launches are right
// without.
cudaError_t load_kernels() noexcept;

// Copies between memory of the device and page-locked memory of the host, both at multiples of 16 bytes, by a kernel:
// a few kilobytes sooner than a copy engine does, which kernels before and after wait for.
cudaError_t copy(const void* from, void* to, std::size_t bytes, cudaStream_t stream) noexcept;

// Enqueues the whole batch on `stream`: kernels and memsets only, so it can be captured into a graph; no allocation, no
// synchronisation, and events only with a fork. What the fork's stream does ends before `stream` goes on. `workspace`
// (any alignment, contents ignored) belongs to the call until the stream has passed it; its secret parts are zero from
// then on. Bytes between records are never written. count 0 writes *failed. The inputs of a failed item cause no harm:
// other items are complete. Returns what the enqueueing returned; cudaErrorInvalidValue: the batch makes no sense or
// the workspace is too small, and nothing was enqueued.
cudaError_t launch(const DeviceBatch& batch, void* workspace, std::size_t workspace_bytes, cudaStream_t stream,
                   const Fork& fork = {}) noexcept;

}  // namespace warpkem::kernels
