#include "host/backends/cuda/module/graph_cache.hpp"

#include <algorithm>
#include <exception>

#include "host/backends/cuda/module/cuda_call.hpp"

namespace warpkem::cuda {

bool GraphCache::replay(const kernels::DeviceBatch& work, cudaStream_t stream, const Enqueue& enqueue) noexcept {
  try {
    Entry& entry = find(work);
    if (++entry.times_seen == 2) entry.graph = capture(enqueue);
    if (!entry.graph) return false;
    const cudaError_t launched = cudaGraphLaunch(entry.graph.get(), stream);
    if (launched != cudaSuccess) entry.graph = GraphExec();
    check(launched, "cudaGraphLaunch");
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

GraphCache::Entry& GraphCache::find(const kernels::DeviceBatch& work) {
  const auto found = std::ranges::find(entries_, work, &Entry::work);
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    if (entries_.size() == most_entries) entries_.pop_back();
    entries_.emplace_front().work = work;
  }
  return entries_.front();
}

GraphExec GraphCache::capture(const Enqueue& enqueue) {
  if (!stream_) {
    fork_ = make_fork();
    stream_ = make_stream();
  }
  // Other threads, lanes and the application's, may call what they like meanwhile.
  check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    enqueue(stream_.get(), fork_.get());
  } catch (...) {
    static_cast<void>(end_capture());
    throw;
  }
  const Graph graph = end_capture();
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph.get(), 0), "cudaGraphInstantiate");
  return GraphExec(exec);
}

Graph GraphCache::end_capture() {
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_.get(), &graph);
  if (ended != cudaSuccess) stream_.forget(), fork_.forget();  // may be capturing still; the next graph gets others
  check(ended, "cudaStreamEndCapture");
  return Graph(graph);
}

void GraphCache::forget() noexcept {
  for (Entry& entry : entries_) entry.graph.forget();
  entries_.clear();
  stream_.forget();
  fork_.forget();
}

}  // namespace warpkem::cuda
