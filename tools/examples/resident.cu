// Keys and ciphertexts that never leave the GPU: key pairs, encapsulations and decapsulations in device memory, with
// Thrust around them. Some public keys are spoilt on the way; their items fail alone, and the GPU lists them.
//
//   resident [COUNT]
//
// Build with nvcc or a CMake target of language CUDA, and link libwarpkem. The exit status is 77 where there is no GPU.
#include <thrust/copy.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/fill.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/logical.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/unique.h>
#include <warpkem/cuda.h>
#include <warpkem/warpkem.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

using Bytes = thrust::device_vector<std::uint8_t>;

constexpr warpkem_algorithm algorithm = WARPKEM_ML_KEM_768;
constexpr std::size_t K_bytes = 32;

void must(const char* what, warpkem_status status) {
  if (status == WARPKEM_OK) return;
  std::fprintf(stderr, "%s: %s: %s\n", what, warpkem_status_name(status), warpkem_last_error());
  std::exit(1);
}

const std::uint8_t* raw(const Bytes& bytes) { return thrust::raw_pointer_cast(bytes.data()); }
std::uint8_t* raw(Bytes& bytes) { return thrust::raw_pointer_cast(bytes.data()); }
warpkem_source in(const Bytes& bytes) { return {raw(bytes), bytes.size(), 0, nullptr}; }
warpkem_target out(Bytes& bytes) { return {raw(bytes), bytes.size(), 0, nullptr}; }

// Batches of one stream, one after the other.
class Lane {
 public:
  Lane(warpkem_engine* engine, cudaStream_t stream) : engine_(engine), stream_(stream) {}

  // Only enqueues. A workspace serves every batch that is not larger than one before.
  void run(const char* what, const warpkem_batch& batch) {
    std::size_t bytes = 0;
    must(what, warpkem_cuda_workspace_bytes(engine_, &batch, &bytes));
    if (bytes > workspace_.size()) {
      must(what, warpkem_cuda_synchronize(engine_, stream_));
      workspace_ = Bytes(bytes);
    }
    must(what, warpkem_cuda_run(engine_, &batch, raw(workspace_), workspace_.size(), stream_));
  }

 private:
  warpkem_engine* engine_;
  cudaStream_t stream_;
  Bytes workspace_;
};

// Spoils every thousandth public key: its first coefficient is no number below q.
struct Spoil {
  std::uint8_t* ek;
  std::size_t ek_bytes;
  __device__ void operator()(std::size_t item) const {
    if (item % 1000 == 7) ek[item * ek_bytes] = ek[item * ek_bytes + 1] = 0xff;
  }
};

struct Failed {
  const std::uint8_t* statuses;
  __device__ bool operator()(std::uint32_t item) const { return statuses[item] != 0; }
};

// Both sides have the same secret, or the item failed.
struct Agree {
  const std::uint8_t *K, *K_again, *statuses;
  __device__ bool operator()(std::size_t item) const {
    for (std::size_t i = 0; i < K_bytes && statuses[item] == 0; ++i) {
      if (K[item * K_bytes + i] != K_again[item * K_bytes + i]) return false;
    }
    return true;
  }
};

struct Mark {
  const std::uint64_t* words;
  __device__ std::uint64_t operator()(std::size_t item) const { return words[item * (K_bytes / sizeof *words)]; }
};

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 65536;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = "cuda";
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(&options, &engine) == WARPKEM_UNSUPPORTED) {
    std::fprintf(stderr, "%s\n", warpkem_last_error());
    return 77;
  }
  if (engine == nullptr || count == 0) return 1;
  cudaStream_t stream;
  if (cudaStreamCreate(&stream) != cudaSuccess) return 1;
  const auto on_stream = thrust::cuda::par_nosync.on(stream);
  const thrust::counting_iterator<std::uint32_t> first(0), last = first + static_cast<std::uint32_t>(count);
  std::size_t num_failed = 0;
  bool is_right = true;
  {
    Lane lane(engine, stream);
    Bytes ek(count * warpkem_size(algorithm, WARPKEM_SIZE_EK)), dk(count * warpkem_size(algorithm, WARPKEM_SIZE_DK));
    Bytes c(count * warpkem_size(algorithm, WARPKEM_SIZE_C)), K(count * K_bytes), K_again(count * K_bytes);
    Bytes statuses(count);

    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.algorithm = algorithm;
    batch.count = count;

    // With the engine's randomness: there is no WARPKEM_DERAND.
    batch.operation = WARPKEM_OP_KEYGEN;
    batch.ek_out = out(ek);
    batch.dk_out = out(dk);
    lane.run("keygen", batch);

    thrust::for_each(on_stream, first, last, Spoil{raw(ek), ek.size() / count});

    batch.operation = WARPKEM_OP_ENCAPS;
    batch.ek_out = batch.dk_out = {};
    batch.ek = in(ek);
    batch.c_out = out(c);
    batch.K_out = out(K);
    batch.statuses = raw(statuses);
    lane.run("encaps", batch);

    batch.operation = WARPKEM_OP_DECAPS;
    batch.ek = {};
    batch.dk = in(dk);
    batch.c = in(c);
    batch.c_out = {};
    batch.K_out = out(K_again);
    batch.statuses = nullptr;
    lane.run("decaps", batch);

    // What follows is enqueued behind the batches. Whatever returns a number waits for it.
    thrust::device_vector<std::uint32_t> failed(count);
    num_failed = static_cast<std::size_t>(
        thrust::copy_if(on_stream, first, last, failed.begin(), Failed{raw(statuses)}) - failed.begin());
    is_right = thrust::all_of(on_stream, first, last, Agree{raw(K), raw(K_again), raw(statuses)});
    for (std::size_t i = 0; i < num_failed && i < 3; ++i) {
      std::printf("item %u failed: %s\n", static_cast<unsigned>(failed[i]),
                  warpkem_status_name(static_cast<warpkem_status>(statuses[failed[i]])));
    }

    // No two secrets are the same; 64 bits of each tell them apart. A failed item's are zero.
    thrust::device_vector<std::uint64_t> marks(count);
    const auto* const words = reinterpret_cast<const std::uint64_t*>(raw(K));
    thrust::transform(on_stream, first, last, marks.begin(), Mark{words});
    thrust::sort(on_stream, marks.begin(), marks.end());
    const std::size_t num_marks =
        static_cast<std::size_t>(thrust::unique(on_stream, marks.begin(), marks.end()) - marks.begin());
    is_right = is_right && num_marks == count - num_failed + (num_failed != 0) && num_failed == (count + 992) / 1000;

    // A vector is not wiped when it goes.
    for (Bytes* const secret : {&dk, &K, &K_again}) {
      thrust::fill(on_stream, secret->begin(), secret->end(), std::uint8_t{0});
    }
    thrust::fill(on_stream, marks.begin(), marks.end(), 0);
    must("the stream", warpkem_cuda_synchronize(engine, stream));
  }
  cudaStreamDestroy(stream);
  warpkem_engine_free(engine);
  std::printf("%zu agreements, %zu failed, %s\n", count, num_failed, is_right ? "as expected" : "WRONG");
  return is_right ? 0 : 1;
}
