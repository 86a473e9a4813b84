/*
 * WarpKEM for data that is already on a GPU: the batch of warpkem.h over device memory, enqueued on the caller's stream.
 * C99. A program needs no CUDA header and no CUDA library to link: libwarpkem forwards to the CUDA module, whose state
 * `warpkem info` shows.
 *
 * A device-resident batch is a warpkem_batch whose pointers all point to memory of the current CUDA device (from cudaMalloc
 * and its kin, or managed memory): the arrays; a table and the records that its pointers name; `index`, `statuses` and
 * `failed`. `items_by_backend` is NULL. The calls refuse host memory, page-locked memory too. (Calls of warpkem.h refuse
 * device memory.) Records may lie at any address with any stride. `index` must be aligned to 4 bytes, `failed` to 8. An
 * array whose address and stride are multiples of 16 bytes is used in place. Any other array is first gathered into the
 * workspace.
 *
 * The calls are asynchronous. The returned status is that of the enqueueing alone. Outputs, statuses (one byte an item) and
 * `failed` are valid in stream order, as for any kernel. A bad item fails alone: its outputs are zero. The records that a
 * table names are not checked, nor are overlaps with them. A batch is never done again on another device or on the CPU: a
 * later error is CUDA's, on the caller's stream.
 *
 * Devices have ML-KEM and its hybrids with X25519. The other hybrids are UNSUPPORTED in device memory.
 */
#ifndef WARPKEM_CUDA_H
#define WARPKEM_CUDA_H

#include "warpkem.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* what cudaStream_t and CUstream point to */

/// Tells how much workspace such a batch needs on the current device, and prepares the device for it: afterwards,
/// warpkem_cuda_run() with the same operation, algorithm, format, keys and arrays, and any count up to this one, allocates
/// nothing and loads nothing. Blocks the first time, while kernels are loaded, keys expanded and memory page-locked.
/// Thread-safe.
///
/// @param batch the call looks at which arrays are given and how they are aligned; it reads nothing from them
/// @param bytes out: grows with `count` up to some limit, and more slowly beyond
/// @return OK; UNSUPPORTED: this engine does not drive the current device, or has no CUDA backend, or devices do not have the
///         algorithm; INVALID_ARGUMENT; OUT_OF_MEMORY; BACKEND_FAILED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_workspace_bytes(warpkem_engine *engine,
                                                                           const warpkem_batch *batch, size_t *bytes);

/// Enqueues a device-resident batch on `stream` (NULL: the default stream), a stream of the current device. Allocates
/// nothing, creates no event, synchronises with nothing. Thread-safe. `batch` itself is read before the call returns; what
/// it points to is in use until the stream has passed the batch, and so are the workspace, the engine and the keys.
///
/// Without WARPKEM_DERAND the randomness comes from the engine, through page-locked memory that is wiped once the device
/// has read it. There is room for at least four calls of the largest queried size in flight on each device.
///
/// The call may be captured into a graph, with WARPKEM_DERAND only. Each replay reads the seeds or m that are in the
/// caller's device memory at that time; the caller must have put new ones there. (A graph with the engine's randomness
/// would use it twice.)
///
/// @param workspace device memory of `workspace_bytes`, at least warpkem_cuda_workspace_bytes(), with any alignment and contents; a separate
///                  one for each batch in flight. Its secret parts are zero when the stream has passed the batch.
/// @return OK: enqueued. INVALID_ARGUMENT: nothing was enqueued; the text names the argument. UNSUPPORTED: as above, or
///         the engine's randomness under capture. OUT_OF_MEMORY: calls in flight use the room for randomness, or no query
///         of this size has made enough room. RNG_FAILED. BACKEND_FAILED: CUDA refused; the outputs are undefined.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_run(warpkem_engine *engine, const warpkem_batch *batch,
                                                               void *workspace, size_t workspace_bytes,
                                                               struct CUstream_st *stream);

/* ---- memory, for programs without a CUDA runtime of their own; memory from a runtime serves as well ------------------ */

#define WARPKEM_CUDA_DEVICE 1u /* memory of the current device */
#define WARPKEM_CUDA_PINNED 2u /* page-locked host memory: batches of warpkem.h whose arrays lie there need no staging */

/// @param memory out: `bytes` bytes of `kind`, aligned to 256; NULL unless OK
/// @return OK; OUT_OF_MEMORY; INVALID_ARGUMENT; UNSUPPORTED: no CUDA backend, or device memory where neither the engine
///         drives the current device nor the program has used it; BACKEND_FAILED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_alloc(warpkem_engine *engine, uint32_t kind, size_t bytes,
                                                                 void **memory);

/// Wipes the memory and frees it, whatever device is current. `kind` and `bytes` are those of its allocation. No batch may
/// be using it. NULL is allowed. Device memory that cannot be wiped is kept; see warpkem_backend_kept_bytes in the metrics.
WARPKEM_API void warpkem_cuda_free(warpkem_engine *engine, uint32_t kind, size_t bytes, void *memory);

/// Copies `bytes` from `from` to `to`, between host and device memory in any direction, and blocks until that is done.
/// @return OK; INVALID_ARGUMENT; UNSUPPORTED: no CUDA backend; BACKEND_FAILED: CUDA reported an error
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_copy(warpkem_engine *engine, void *to, const void *from,
                                                                size_t bytes);

/// Blocks until `stream` (NULL: the current device's default stream) has finished its work.
/// @return OK; BACKEND_FAILED: CUDA reported an error there; UNSUPPORTED: `stream` is NULL, and the engine does not drive
///         the current device
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cuda_synchronize(warpkem_engine *engine,
                                                                       struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif
