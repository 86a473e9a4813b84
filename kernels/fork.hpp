#pragma once

#include <cuda_runtime_api.h>

namespace warpkem::kernels {

// A second stream for X25519 of hybrids, which does not wait for ML-KEM, and the events where the streams part and
// meet. All of the current device; one call at a time may enqueue with them, and they are free for the next when it
// returns.
struct Fork {
  cudaStream_t stream = nullptr;
  cudaEvent_t parted = nullptr, met = nullptr;
};

}  // namespace warpkem::kernels
