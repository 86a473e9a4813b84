#include "tests/cuda/runtime_calls.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <array>
#include <string>

namespace warpkem::test {

std::atomic<bool> device_hangs{false};
std::atomic<long> corrupt_from_copy{0};

namespace {

enum Function {
  malloc_,
  free_,
  host_alloc,
  free_host,
  memcpy_async,
  memset_async,
  stream_create,
  stream_synchronize,
  stream_query,
  event_create,
  event_record,
  event_query,
  pointer_attributes,
  launch_kernel,
  begin_capture,
  end_capture,
  graph_instantiate,
  graph_launch,
  num_functions
};
std::array<CallCounter, num_functions> counters{{{"cudaMalloc"},
                                                 {"cudaFree"},
                                                 {"cudaHostAlloc"},
                                                 {"cudaFreeHost"},
                                                 {"cudaMemcpyAsync"},
                                                 {"cudaMemsetAsync"},
                                                 {"cudaStreamCreate"},
                                                 {"cudaStreamSynchronize"},
                                                 {"cudaStreamQuery"},
                                                 {"cudaEventCreate"},
                                                 {"cudaEventRecord"},
                                                 {"cudaEventQuery"},
                                                 {"cudaPointerGetAttributes"},
                                                 {"cudaLaunchKernel"},
                                                 {"cudaStreamBeginCapture"},
                                                 {"cudaStreamEndCapture"},
                                                 {"cudaGraphInstantiate"},
                                                 {"cudaGraphLaunch"}}};
std::atomic<long> copies_to_host{0};

// The runtime comes next where the program has loaded it, else only the module has.
template <class F>
F* next(const char* symbol) {
  void* found = dlsym(RTLD_NEXT, symbol);
  const std::string runtime = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
  if (found == nullptr) found = dlsym(dlopen(runtime.c_str(), RTLD_LAZY | RTLD_NOLOAD), symbol);
  return reinterpret_cast<F*>(found);
}

}  // namespace

std::span<CallCounter> runtime_calls() { return counters; }

}  // namespace warpkem::test

using namespace warpkem::test;

#define COUNTED(index, symbol, parameters, arguments)                               \
  extern "C" __attribute__((visibility("default"))) cudaError_t symbol parameters { \
    static auto* const real = next<cudaError_t parameters>(#symbol);                \
    ++counters[index].calls;                                                        \
    return real arguments;                                                          \
  }
COUNTED(malloc_, cudaMalloc, (void** p, size_t n), (p, n))
COUNTED(free_, cudaFree, (void* p), (p))
COUNTED(host_alloc, cudaHostAlloc, (void** p, size_t n, unsigned f), (p, n, f))
COUNTED(free_host, cudaFreeHost, (void* p), (p))
COUNTED(memset_async, cudaMemsetAsync, (void* d, int v, size_t n, cudaStream_t t), (d, v, n, t))
COUNTED(stream_create, cudaStreamCreateWithFlags, (cudaStream_t * t, unsigned f), (t, f))
COUNTED(stream_synchronize, cudaStreamSynchronize, (cudaStream_t t), (t))
COUNTED(stream_query, cudaStreamQuery, (cudaStream_t t), (t))
COUNTED(event_create, cudaEventCreateWithFlags, (cudaEvent_t * e, unsigned f), (e, f))
COUNTED(event_record, cudaEventRecord, (cudaEvent_t e, cudaStream_t t), (e, t))
COUNTED(pointer_attributes, cudaPointerGetAttributes, (cudaPointerAttributes * a, const void* p), (a, p))
COUNTED(launch_kernel, __cudaLaunchKernel, (cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t t),
        (k, g, b, a, s, t))
COUNTED(begin_capture, cudaStreamBeginCapture, (cudaStream_t t, cudaStreamCaptureMode m), (t, m))
COUNTED(end_capture, cudaStreamEndCapture, (cudaStream_t t, cudaGraph_t* g), (t, g))
COUNTED(graph_instantiate, cudaGraphInstantiate, (cudaGraphExec_t * e, cudaGraph_t g, unsigned long long f), (e, g, f))
COUNTED(graph_launch, cudaGraphLaunch, (cudaGraphExec_t e, cudaStream_t t), (e, t))

extern "C" __attribute__((visibility("default"))) cudaError_t cudaEventQuery(cudaEvent_t event) {
  static auto* const real = next<cudaError_t(cudaEvent_t)>("cudaEventQuery");
  ++counters[event_query].calls;
  return device_hangs ? cudaErrorNotReady : real(event);
}

extern "C" __attribute__((visibility("default"))) cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                                                                              cudaMemcpyKind kind,
                                                                              cudaStream_t stream) {
  static auto* const real =
      next<cudaError_t(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t)>("cudaMemcpyAsync");
  static auto* const call_host = next<cudaError_t(cudaStream_t, cudaHostFn_t, void*)>("cudaLaunchHostFunc");
  ++counters[memcpy_async].calls;
  const cudaError_t error = real(to, from, bytes, kind, stream);
  if (kind != cudaMemcpyDeviceToHost || error != cudaSuccess) return error;
  const long number = ++copies_to_host, begin = corrupt_from_copy;
  if (begin == 0 || number < begin) return error;
  return call_host(
      stream, [](void* bytes_there) { static_cast<unsigned char*>(bytes_there)[7] ^= 0x10; }, to);
}
