// One run of the whole workload on the CUDA backend, for fault_sweep.py: says for each operation whether the answer was
// right, an error with nothing in the outputs, or wrong, and how often each runtime function was called.
//
//     fault_run strict|fail-over CHUNK STREAMS COUNT pageable|pinned|repeated
//
// "repeated" asks everything three times, so that graphs are captured and replayed; "pinned" makes none.
// Exit: 0 if nothing was wrong; with fail-over, an operation's error is wrong too.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/cuda/workload.hpp"

namespace {

struct Counter {
  const char* name;  // as the emulator's rules call it
  std::atomic<long> calls{0};
};
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
std::array<Counter, num_functions> counters{{{"cudaMalloc"},
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

template <class F>
F* next(const char* symbol) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

// The module's calls are bound to these first, and go on to the runtime.
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
COUNTED(memcpy_async, cudaMemcpyAsync, (void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t t),
        (d, s, n, k, t))
COUNTED(memset_async, cudaMemsetAsync, (void* d, int v, size_t n, cudaStream_t t), (d, v, n, t))
COUNTED(stream_create, cudaStreamCreateWithFlags, (cudaStream_t * t, unsigned f), (t, f))
COUNTED(stream_synchronize, cudaStreamSynchronize, (cudaStream_t t), (t))
COUNTED(stream_query, cudaStreamQuery, (cudaStream_t t), (t))
COUNTED(event_create, cudaEventCreateWithFlags, (cudaEvent_t * e, unsigned f), (e, f))
COUNTED(event_record, cudaEventRecord, (cudaEvent_t e, cudaStream_t t), (e, t))
COUNTED(event_query, cudaEventQuery, (cudaEvent_t e), (e))
COUNTED(pointer_attributes, cudaPointerGetAttributes, (cudaPointerAttributes * a, const void* p), (a, p))
COUNTED(launch_kernel, __cudaLaunchKernel, (cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t t),
        (k, g, b, a, s, t))
COUNTED(begin_capture, cudaStreamBeginCapture, (cudaStream_t t, cudaStreamCaptureMode m), (t, m))
COUNTED(end_capture, cudaStreamEndCapture, (cudaStream_t t, cudaGraph_t* g), (t, g))
COUNTED(graph_instantiate, cudaGraphInstantiate, (cudaGraphExec_t * e, cudaGraph_t g, unsigned long long f), (e, g, f))
COUNTED(graph_launch, cudaGraphLaunch, (cudaGraphExec_t e, cudaStream_t t), (e, t))

int main(int argc, char** argv) {
  using namespace warpkem::test;
  if (argc != 6) return 2;
  const bool strict = std::strcmp(argv[1], "strict") == 0;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = "cuda";
  options.cuda_chunk = std::strtoul(argv[2], nullptr, 10);
  options.cuda_streams = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  if (strict) options.flags |= WARPKEM_NO_FAIL_OVER;
  const Inputs inputs(WARPKEM_ML_KEM_768, std::strtoul(argv[4], nullptr, 10), 1);
  const bool pinned = std::strcmp(argv[5], "pinned") == 0, repeated = std::strcmp(argv[5], "repeated") == 0;
  const Memory memory = pinned ? Memory::registered : Memory::pageable;
  if (pinned) setenv("WARPKEM_CUDA_GRAPHS", "0", 1);

  bool good = true;
  {
    const Engine engine(options);
    if (engine.get() == nullptr) {
      std::printf("engine: error %s\n", engine.why_not().c_str());
    } else {
      for (std::size_t i = 0; i < num_operations * (repeated ? 3 : 1); ++i) {
        const std::size_t operation = repeated ? i / 3 : i;
        const Answer answer = ask(engine.get(), inputs, operation, memory);
        const bool right = answer.agrees(expected_answer(inputs, operation), false);
        const bool acceptable = right || (strict && answer.agrees(expected_answer(inputs, operation), true));
        good = good && acceptable;
        std::printf("%s: %s %s\n", operation_names[operation],
                    right        ? "right"
                    : acceptable ? "error"
                                 : "WRONG",
                    right ? "" : answer.text.c_str());
      }
    }
  }
  for (const Counter& counter : counters) std::printf("calls %s %ld\n", counter.name, counter.calls.load());
  std::fflush(stdout);
  return good ? 0 : 1;
}
