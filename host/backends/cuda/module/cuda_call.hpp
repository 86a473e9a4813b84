// Every call of the CUDA runtime passes through check(), which throws what went wrong and where.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace warpkem::cuda {

class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const std::string& text) : std::runtime_error(text), code_(code) {}
  cudaError_t code() const noexcept { return code_; }

 private:
  cudaError_t code_;
};

// `call` names the function and what it was for. Takes the runtime's pending error away, so that the next check of a
// launch does not report it again.
void check(cudaError_t code, const char* call);
std::string describe(cudaError_t code, const char* call);

// While any thread captures a graph in the strictest mode, no other thread may allocate or load, unless it says so:
// what a thread does in the lifetime of this is no part of anybody's graph.
class RelaxedCapture {
 public:
  RelaxedCapture() { check(cudaThreadExchangeStreamCaptureMode(&mode_), "cudaThreadExchangeStreamCaptureMode"); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;
  ~RelaxedCapture() { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace warpkem::cuda
