#include "host/backends/cuda/module/cuda_call.hpp"

namespace warpkem::cuda {

std::string describe(cudaError_t code, const char* call) {
  return std::string(call) + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")";
}

void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw CudaError(code, describe(code, call));
}

}  // namespace warpkem::cuda
