// Batches in device memory, on the caller's stream: nothing here allocates, waits or takes a lane.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "host/backends/cuda/interface.hpp"

namespace warpkem::cuda {

// The two calls of the module's table. They throw host::Error or CudaError.
std::size_t resident_workspace(Pool& pool, const ResidentBatch& batch);
void resident_run(Pool& pool, const ResidentBatch& batch, host::RandomSource random, void* workspace,
                  std::size_t workspace_bytes, cudaStream_t stream);

}  // namespace warpkem::cuda
