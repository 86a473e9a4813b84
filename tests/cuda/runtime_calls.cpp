#include "tests/cuda/runtime_calls.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace warpkem::test {

std::atomic<bool> device_hangs{false};
std::atomic<long> corrupt_from_copy{0};
std::atomic<long> sets_elsewhere{0};
std::atomic<bool> watch_frees{false};
std::atomic<long> unwiped_frees{0};
std::atomic<long> launches_unloaded{0};
Refusal refuse_set, refuse_set_device;
std::atomic<const char*> device_name{nullptr};
std::atomic<int> driver_version{0};

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
  set_device,
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
                                                 {"cudaGraphLaunch"},
                                                 {"cudaSetDevice"}}};
std::atomic<long> copies_to_host{0};

// The runtime comes next where the program has loaded it, else only the module has.
template <class F>
F* next(const char* symbol) {
  void* found = dlsym(RTLD_NEXT, symbol);
  const std::string runtime = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
  if (found == nullptr) found = dlsym(dlopen(runtime.c_str(), RTLD_LAZY | RTLD_NOLOAD), symbol);
  return reinterpret_cast<F*>(found);
}

std::array<std::atomic<long>, max_devices> contexts{};
thread_local long contexts_here = 0;
std::mutex mutex;  // guards the following
std::array<std::set<std::string>, max_devices> callers;
std::set<std::pair<int, cudaKernel_t>> loaded;

int current() {
  static auto* const real = next<cudaError_t(int*)>("cudaGetDevice");
  int device = 0;
  return real(&device) == cudaSuccess && device < max_devices ? device : 0;
}

void makes_context(const char* caller, int device = current()) {
  ++contexts[static_cast<std::size_t>(device)];
  ++contexts_here;
  const std::scoped_lock lock(mutex);
  callers[static_cast<std::size_t>(device)].insert(caller);
}

bool refused(Refusal& refusal) { return refusal.calls > 0 && refusal.calls-- > 0; }

bool is_device_memory(const void* data, int& device) {
  static auto* const real = next<cudaError_t(cudaPointerAttributes*, const void*)>("cudaPointerGetAttributes");
  cudaPointerAttributes attributes{};
  if (real(&attributes, data) != cudaSuccess || attributes.type != cudaMemoryTypeDevice) return false;
  device = attributes.device;
  return true;
}

// The sizes of what was allocated, to look at it when it is freed.
std::map<void*, std::size_t> sizes;

bool all_zero(void* data) {
  static auto* const copy = next<cudaError_t(void*, const void*, size_t, cudaMemcpyKind)>("cudaMemcpy");
  std::size_t bytes = 0;
  {
    const std::scoped_lock lock(mutex);
    const auto found = sizes.find(data);
    if (found == sizes.end()) return true;
    bytes = found->second;
  }
  std::vector<unsigned char> content(bytes);
  if (copy(content.data(), data, bytes, cudaMemcpyDeviceToHost) != cudaSuccess) return true;  // nobody can look
  return std::ranges::all_of(content, [](unsigned char byte) { return byte == 0; });
}

void loads(const void* function) {
  static auto* const real = next<cudaError_t(cudaKernel_t*, const void*)>("cudaGetKernel");
  cudaKernel_t kernel = nullptr;
  if (real(&kernel, function) != cudaSuccess) return;
  const int device = current();
  const std::scoped_lock lock(mutex);
  loaded.insert({device, kernel});
}

}  // namespace

std::span<CallCounter> runtime_calls() { return counters; }

long context_calls(int device) { return contexts[static_cast<std::size_t>(device)]; }
long context_calls_here() { return contexts_here; }
std::string context_callers(int device) {
  const std::scoped_lock lock(mutex);
  std::string names;
  for (const std::string& name : callers[static_cast<std::size_t>(device)]) names += name + " ";
  return names;
}

}  // namespace warpkem::test

using namespace warpkem::test;

#define COUNTED(index, symbol, parameters, arguments)                               \
  extern "C" __attribute__((visibility("default"))) cudaError_t symbol parameters { \
    static auto* const real = next<cudaError_t parameters>(#symbol);                \
    ++counters[index].calls;                                                        \
    makes_context(#symbol);                                                         \
    return real arguments;                                                          \
  }
COUNTED(host_alloc, cudaHostAlloc, (void** p, size_t n, unsigned f), (p, n, f))
COUNTED(free_host, cudaFreeHost, (void* p), (p))
COUNTED(stream_create, cudaStreamCreateWithFlags, (cudaStream_t * t, unsigned f), (t, f))
COUNTED(stream_synchronize, cudaStreamSynchronize, (cudaStream_t t), (t))
COUNTED(stream_query, cudaStreamQuery, (cudaStream_t t), (t))
COUNTED(event_create, cudaEventCreateWithFlags, (cudaEvent_t * e, unsigned f), (e, f))
COUNTED(event_record, cudaEventRecord, (cudaEvent_t e, cudaStream_t t), (e, t))
COUNTED(pointer_attributes, cudaPointerGetAttributes, (cudaPointerAttributes * a, const void* p), (a, p))
COUNTED(begin_capture, cudaStreamBeginCapture, (cudaStream_t t, cudaStreamCaptureMode m), (t, m))
COUNTED(end_capture, cudaStreamEndCapture, (cudaStream_t t, cudaGraph_t* g), (t, g))
COUNTED(graph_instantiate, cudaGraphInstantiate, (cudaGraphExec_t * e, cudaGraph_t g, unsigned long long f), (e, g, f))
COUNTED(graph_launch, cudaGraphLaunch, (cudaGraphExec_t e, cudaStream_t t), (e, t))

#define EXPORTED extern "C" __attribute__((visibility("default"))) cudaError_t

EXPORTED cudaMalloc(void** data, size_t bytes) {
  static auto* const real = next<cudaError_t(void**, size_t)>("cudaMalloc");
  ++counters[malloc_].calls;
  makes_context("cudaMalloc");
  const cudaError_t error = real(data, bytes);
  const std::scoped_lock lock(mutex);
  if (error == cudaSuccess) sizes[*data] = bytes;
  return error;
}

EXPORTED cudaFree(void* data) {
  static auto* const real = next<cudaError_t(void*)>("cudaFree");
  ++counters[free_].calls;
  makes_context("cudaFree");
  if (watch_frees && !all_zero(data)) ++unwiped_frees;
  {
    const std::scoped_lock lock(mutex);
    sizes.erase(data);
  }
  return real(data);
}

EXPORTED cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  static auto* const real = next<cudaError_t(void*, int, size_t, cudaStream_t)>("cudaMemsetAsync");
  ++counters[memset_async].calls;
  makes_context("cudaMemsetAsync");
  int device = 0;
  if (is_device_memory(data, device) && device != current()) ++sets_elsewhere;
  if (refused(refuse_set)) return static_cast<cudaError_t>(refuse_set.error.load());
  return real(data, value, bytes, stream);
}

EXPORTED cudaSetDevice(int device) {
  static auto* const real = next<cudaError_t(int)>("cudaSetDevice");
  ++counters[set_device].calls;
  makes_context("cudaSetDevice", device);
  if (refused(refuse_set_device)) return static_cast<cudaError_t>(refuse_set_device.error.load());
  return real(device);
}

EXPORTED cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  static auto* const real = next<cudaError_t(cudaFuncAttributes*, const void*)>("cudaFuncGetAttributes");
  makes_context("cudaFuncGetAttributes");
  loads(function);
  return real(attributes, function);
}

EXPORTED __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                            cudaStream_t stream) {
  static auto* const real =
      next<cudaError_t(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t)>("__cudaLaunchKernel");
  ++counters[launch_kernel].calls;
  makes_context("cudaLaunchKernel");
  const int device = current();
  {
    const std::scoped_lock lock(mutex);
    if (!loaded.contains({device, kernel})) ++launches_unloaded;
  }
  return real(kernel, grid, block, arguments, shared, stream);
}

EXPORTED cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  static auto* const real = next<cudaError_t(cudaDeviceProp*, int)>("cudaGetDeviceProperties");
  const cudaError_t error = real(properties, device);
  const char* const name = device_name;
  if (name != nullptr) std::snprintf(properties->name, sizeof properties->name, "%s", name);
  return error;
}

EXPORTED cudaDriverGetVersion(int* version) {
  static auto* const real = next<cudaError_t(int*)>("cudaDriverGetVersion");
  const cudaError_t error = real(version);
  if (driver_version != 0) *version = driver_version;
  return error;
}

EXPORTED cudaEventQuery(cudaEvent_t event) {
  static auto* const real = next<cudaError_t(cudaEvent_t)>("cudaEventQuery");
  ++counters[event_query].calls;
  makes_context("cudaEventQuery");
  return device_hangs ? cudaErrorNotReady : real(event);
}

EXPORTED cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  static auto* const real =
      next<cudaError_t(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t)>("cudaMemcpyAsync");
  static auto* const call_host = next<cudaError_t(cudaStream_t, cudaHostFn_t, void*)>("cudaLaunchHostFunc");
  ++counters[memcpy_async].calls;
  makes_context("cudaMemcpyAsync");
  const cudaError_t error = real(to, from, bytes, kind, stream);
  if (kind != cudaMemcpyDeviceToHost || error != cudaSuccess) return error;
  const long number = ++copies_to_host, begin = corrupt_from_copy;
  if (begin == 0 || number < begin) return error;
  return call_host(
      stream, [](void* bytes_there) { static_cast<unsigned char*>(bytes_there)[7] ^= 0x10; }, to);
}
