#include "host/backends/cuda/cuda_module.hpp"

#include <exception>
#include <memory>

#include "host/backends/cuda/cuda_backend.hpp"
#include "host/backends/cuda/loader.hpp"
#include "host/core/hybrids.hpp"
#include "host/core/operation.hpp"
#include "warpkem/params.hpp"

namespace warpkem::host {

namespace {

// Fewer items than this are done sooner on the CPU than they are hashed by single threads of a GPU, one permutation
// after the other.
constexpr std::size_t preferred_count = 256;

// Calls a function of the table that answers with a status and a text.
template <class Call>
void must(Call call) {
  cuda::Text why_not;
  const Status status = call(&why_not);
  if (status != Status::ok) throw Error(status, why_not.data);
}

class CudaKeyForm final : public KeyForm {
 public:
  CudaKeyForm(const cuda::Module& module, cuda::Keys* keys) : module_(module), keys_(keys) {}
  CudaKeyForm(const CudaKeyForm&) = delete;
  CudaKeyForm& operator=(const CudaKeyForm&) = delete;
  ~CudaKeyForm() override { module_.free_keys(keys_); }
  std::size_t bytes_per_key() const noexcept override { return module_.bytes_per_key(keys_); }
  const cuda::Keys* keys() const noexcept { return keys_; }

 private:
  const cuda::Module& module_;
  cuda::Keys* keys_;
};

const cuda::Keys* keys_of(const Batch& batch) noexcept {
  return batch.form != nullptr ? static_cast<const CudaKeyForm*>(batch.form)->keys() : nullptr;
}

}  // namespace

CudaBackend::CudaBackend(const cuda::Module& module, cuda::Pool* pool, std::string detail)
    : module_(module), pool_(pool), info_{"cuda", std::move(detail), preferred_count} {}

CudaBackend::~CudaBackend() { module_.destroy(pool_); }

bool CudaBackend::supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept {
  const Hybrid* const hybrid = find_hybrid(algorithm);
  if (hybrid == nullptr) return is_of_ml_kem(operation, format) && with_params(algorithm, [](auto) {});
  if (hybrid->group != Group::x25519 || !is_known(operation)) return false;
  if (operation == Operation::check_dk && format != DkFormat::expanded) return false;  // there is nothing to check
  return !spec_of(operation).takes_dk_format || find_algorithm(algorithm)->dk_record(format) != 0;
}

std::unique_ptr<KeyForm> CudaBackend::prepare(const Batch& batch) {
  cuda::Keys* keys = nullptr;
  must([&](cuda::Text* why_not) { return module_.prepare(pool_, &batch, &keys, why_not); });
  try {
    return std::make_unique<CudaKeyForm>(module_, keys);
  } catch (const std::bad_alloc&) {
    module_.free_keys(keys);
    throw Error(Status::out_of_memory, "out of memory");
  }
}

void CudaBackend::submit(const Batch& batch, Completion done) noexcept {
  module_.submit(pool_, &batch, keys_of(batch), done);
}

std::size_t CudaBackend::workspace_bytes(const Batch& batch, std::size_t* failed, bool draw_randomness) {
  const cuda::ResidentBatch resident{batch, keys_of(batch), failed, draw_randomness};
  std::size_t bytes = 0;
  must([&](cuda::Text* why_not) { return module_.resident_workspace(pool_, &resident, &bytes, why_not); });
  return bytes;
}

void CudaBackend::enqueue(const Batch& batch, std::size_t* failed, bool draw_randomness, RandomSource random,
                          void* workspace, std::size_t workspace_bytes, void* stream) {
  const cuda::ResidentBatch resident{batch, keys_of(batch), failed, draw_randomness};
  must([&](cuda::Text* why_not) {
    return module_.resident_run(pool_, &resident, random, workspace, workspace_bytes, static_cast<CUstream_st*>(stream),
                                why_not);
  });
}

void* CudaBackend::allocate(MemoryKind kind, std::size_t bytes) {
  void* memory = nullptr;
  must([&](cuda::Text* why_not) { return module_.allocate(pool_, kind, bytes, &memory, why_not); });
  return memory;
}

void CudaBackend::release(MemoryKind kind, std::size_t bytes, void* memory) noexcept {
  module_.release(pool_, kind, bytes, memory);
}

void CudaBackend::copy(void* to, const void* from, std::size_t bytes) {
  must([&](cuda::Text* why_not) { return module_.copy(pool_, to, from, bytes, why_not); });
}

void CudaBackend::synchronize(void* stream) {
  must([&](cuda::Text* why_not) { return module_.synchronize(pool_, static_cast<CUstream_st*>(stream), why_not); });
}

namespace cuda_module {

std::unique_ptr<Backend> make_backend(const cuda::Options& options, bool verify, std::string& why_not) {
  const host::Gate::Pass pass(cuda::gate);
  const cuda::Module* const module = cuda::load_module(why_not);
  if (module == nullptr) return nullptr;
  cuda::Pool* pool = nullptr;
  cuda::Text summary, text;
  if (module->create(&options, verify, &pool, &summary, &text) != Status::ok) {
    why_not = text.data;
    return nullptr;
  }
  try {
    return std::make_unique<CudaBackend>(*module, pool, summary.data);
  } catch (const std::bad_alloc&) {
    module->destroy(pool);
    throw;
  }
}

}  // namespace cuda_module

}  // namespace warpkem::host
