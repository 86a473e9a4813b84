/*
 * WarpKEM on data that is already on a GPU: the batch of warpkem.h over device memory, enqueued on the caller's stream.
 * C99; needs no CUDA header and no CUDA library to link: libwarpkem forwards to the module that `warpkem info` tells of.
 *
 * A device-resident batch is a warpkem_batch whose every pointer is memory of the current CUDA device (cudaMalloc and its
 * kin, or managed memory): the arrays; a table and the records that its pointers name; `index`, `statuses` and `failed`.
 * `items_by_backend` is NULL. Host memory is refused, page-locked memory too, as calls of warpkem.h refuse device memory.
 * Records may be at any address with any stride; `index` is aligned to 4 bytes, `failed` to 8. Arrays at multiples of 16
 * bytes, with a stride that is one, are used in place; others are gathered into the workspace first.
 *
 * The calls are asynchronous: what they return tells about the enqueueing alone, and everything else is known in stream
 * order, as for any kernel: outputs, statuses (one byte an item) and `failed`. A bad item fails alone: its outputs are zero.
 * The records that a table names, and overlaps with them, are not checked. Nothing is redone on another device or on the
 * CPU: an error that shows up later is CUDA's, on the caller's stream.
 */
#ifndef WARPKEM_CUDA_H
#define WARPKEM_CUDA_H

#include "warpkem.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* what cudaStream_t and CUstream point to */

/// How much workspace such a batch takes on the current device, and everything that must be made in advance for it: after
/// this, warpkem_cuda_run() with the same operation, algorithm, format, keys and arrays, and any count up to this one,
/// allocates and loads nothing. Blocks the first time (for kernels, expanded keys, page-locked memory). Thread-safe.
///
/// @param batch which arrays are given, and how they are aligned, matters; nothing is read from them
/// @param bytes out: grows with `count` up to some limit, and more slowly from there on
/// @return OK; UNSUPPORTED: this engine does not drive the current device, or has no CUDA backend; INVALID_ARGUMENT;
///         OUT_OF_MEMORY; BACKEND_FAILED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_workspace_bytes(warpkem_engine *engine,
                                                                           const warpkem_batch *batch, size_t *bytes);

/// Enqueues a device-resident batch on `stream` (NULL: the default stream), a stream of the current device. Allocates
/// nothing, creates no event, synchronises with nothing. Thread-safe. `batch` itself is read before the call returns; what
/// it points to is in use until the stream has passed the batch, and so are the workspace, the engine and the keys.
///
/// Without WARPKEM_DERAND the randomness comes from the engine, through page-locked memory that is wiped when the device
/// has it. There is room for at least four calls of the largest queried size in flight on each device.
///
/// The call may be captured into a graph, with WARPKEM_DERAND only: each replay then takes the seeds or m that are in the
/// caller's device memory at that time, which must be new ones. (A graph with the engine's randomness would use it twice.)
///
/// @param workspace device memory of at least warpkem_cuda_workspace_bytes(), any alignment, its contents ignored: one for
///                  each batch in flight at the same time. Its secret parts are zero when the stream has passed the batch.
/// @return OK: enqueued. INVALID_ARGUMENT: nothing was enqueued; the text names the argument. UNSUPPORTED: as above, or
///         the engine's randomness under capture. OUT_OF_MEMORY: the room for randomness is in use by calls in flight, or
///         too small for want of a query. RNG_FAILED. BACKEND_FAILED: CUDA refused, what the outputs hold is undefined.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_run(warpkem_engine *engine, const warpkem_batch *batch,
                                                               void *workspace, size_t workspace_bytes,
                                                               struct CUstream_st *stream);

/* ---- memory, for programs without a CUDA runtime of their own; what a runtime gives serves as well ------------------ */

#define WARPKEM_CUDA_DEVICE 1u /* memory of the current device */
#define WARPKEM_CUDA_PINNED 2u /* page-locked host memory: what batches of warpkem.h have there is copied without staging */

/// @param memory out: `bytes` bytes of `kind`, aligned to 256; NULL unless OK
/// @return OK; OUT_OF_MEMORY; INVALID_ARGUMENT; UNSUPPORTED: no CUDA backend, or device memory where neither the engine
///         drives the current device nor the program has used it; BACKEND_FAILED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_alloc(warpkem_engine *engine, uint32_t kind, size_t bytes,
                                                                 void **memory);

/// Wipes the memory, of the size that it was allocated with, and gives it back, whatever device is current. No batch may be
/// using it. NULL is allowed. Device memory that cannot be wiped is kept; see warpkem_backend_kept_bytes in the metrics.
WARPKEM_API void warpkem_cuda_free(warpkem_engine *engine, uint32_t kind, size_t bytes, void *memory);

/// Copies `bytes` between host and device memory, in any direction, and blocks until that is done.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_copy(warpkem_engine *engine, void *to, const void *from,
                                                                size_t bytes);

/// Blocks until `stream` (NULL: the current device's default stream) has done all that it was given. BACKEND_FAILED:
/// something went wrong there. UNSUPPORTED: NULL, and the engine does not drive the current device.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_synchronize(warpkem_engine *engine,
                                                                       struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif
