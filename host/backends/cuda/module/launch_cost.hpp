// What it costs to hand a small chunk to the device, as a model: figures, with their sources, and the choices that
// follow. None of the figures was measured by this project; all are the order of magnitude, and only their ratios
// decide.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>

#include "kernels/launch.hpp"

namespace warpkem::cuda::launch_cost {

// One call that enqueues a kernel, a copy or a memset. NVIDIA's developer forum, "Too much time for kernel launch
// latency": null kernels take about 3 us "with recent hardware and software".
inline constexpr double call_ns = 3000;
// A graph without branches, and each of its nodes: 2.5 us and about 1 ns. NVIDIA's blog, "Constant Time Launch for
// Straight-Line CUDA Graphs" (2024), CUDA 12.6 on an RTX 3060 and a Xeon 4208; it was 2 us and 200 ns with CUDA 11.8.
inline constexpr double graph_ns = 2500, graph_node_ns = 1;
// Page-locked copies over PCIe 5.0 x16, the link of an H100: 64 GB/s by its specification, less what protocols take. A
// chunk's copies take longer than its kernels at full rate (kernels/README.md) for every operation on plain keys.
inline constexpr double link_bytes_per_ns = 50;
// Of a replayed chunk, in one direction: more than that, and a copy engine's rate counts more than the microseconds
// until it has begun and told that it is done. A guess.
inline constexpr std::size_t most_copied_by_kernel = 64 * 1024;
// memcpy by one core, between the caller's memory and the staging. A guess.
inline constexpr double staging_bytes_per_ns = 10;

// How long a lane polls for a chunk before it sleeps, when every sleep costs the kernel's timer slack, 50 us. However
// few its items, a chunk is a chain of 10 to 20 dependent permutations of some 2.5 us each (policy::by_warp in
// policy.hpp).
inline constexpr std::chrono::microseconds small_chunk_patience{200}, patience{50};

// Calls for one chunk beside its event.
constexpr int num_calls(kernels::Operation operation, bool prepared) noexcept {
  const kernels::OperationSpec* const spec = kernels::find_operation(operation);
  return spec == nullptr ? 0 : prepared ? spec->calls_prepared : spec->calls;
}

// The counts that graphs are made for: all up to 8, then four to the octave, so that a replay computes less than a
// quarter more than was asked for and a server with batches of 1 to 256 needs 28 graphs for an operation.
constexpr std::size_t padded_count(std::size_t count) noexcept {
  const std::size_t step = std::max<std::size_t>(1, std::bit_ceil(count) / 8);
  return (count + step - 1) / step * step;
}

// Whether lanes that share a device get more chunks of `bytes` (both directions) through it by replaying each as a
// graph of `padded_bytes`. Calls are serialised in the driver, so a chunk takes the time of its calls or that of its
// copies, whichever is longer. For a graph, `bytes_in_place` of the caller's registered memory are staged, too.
constexpr bool replay_is_cheaper(int num_calls, std::size_t bytes, std::size_t padded_bytes,
                                 std::size_t bytes_in_place) noexcept {
  const auto copied = [](std::size_t n) { return static_cast<double>(n) / link_bytes_per_ns; };
  const double direct = std::max(call_ns * num_calls, copied(bytes));
  const double replayed = std::max(graph_ns + graph_node_ns * num_calls, copied(padded_bytes)) +
                          static_cast<double>(bytes_in_place) / staging_bytes_per_ns;
  return replayed < direct;
}

}  // namespace warpkem::cuda::launch_cost
