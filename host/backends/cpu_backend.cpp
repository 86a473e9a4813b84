#include "host/backends/cpu_backend.hpp"

#include <algorithm>
#include <atomic>
#include <new>

#include "host/core/algorithms.hpp"
#include "host/core/operation.hpp"
#include "host/core/secure.hpp"

namespace warpkem::host {

namespace {

struct CpuKeyForm final : KeyForm {
  CpuKeyForm(std::size_t count, std::size_t stride) : memory(count * stride), forms{memory.data(), stride} {}
  std::size_t bytes_per_key() const noexcept override { return forms.stride; }

  SecureBuffer memory;
  Forms forms;
};

std::size_t largest_workspace(const CpuKernels& kernels) noexcept {
  std::size_t bytes = 0;
  for (const Algorithm& a : all_algorithms()) bytes = std::max(bytes, kernels.workspace_bytes(a.id));
  return bytes;
}

}  // namespace

CpuBackend::CpuBackend(const CpuKernels& kernels, WorkerPool& pool, std::string detail)
    : kernels_(kernels),
      pool_(pool),
      info_{kernels.name, std::move(detail), 1},
      workspaces_(largest_workspace(kernels)) {}

bool CpuBackend::supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept {
  return is_of_ml_kem(operation, format) && kernels_.workspace_bytes(algorithm) != 0;
}

void CpuBackend::run(const Batch& batch) {
  struct Shared {
    CpuBackend& backend;
    const Batch& batch;
    std::atomic<bool> out_of_memory{false};
  } shared{*this, batch};
  // Two groups of lanes or fewer are sooner done here than handed over.
  const bool here = batch.on_one_thread || batch.count <= 2 * kernels_.lanes;
  const std::size_t grain = here ? batch.count : kernels_.lanes;
  pool_.run(
      batch.count, grain,
      [](void* context, std::size_t first, std::size_t count) noexcept {
        Shared& s = *static_cast<Shared*>(context);
        try {
          const Workspaces::Lent workspace(s.backend.workspaces_);
          s.backend.kernels_.run(slice(s.batch, first, count), workspace.data());
          clear_vector_registers();
        } catch (const std::bad_alloc&) {
          s.out_of_memory.store(true, std::memory_order_relaxed);
        }
      },
      &shared);
  if (shared.out_of_memory.load(std::memory_order_relaxed)) throw std::bad_alloc();
}

std::unique_ptr<KeyForm> CpuBackend::prepare(const Batch& batch) {
  const bool is_ek = spec_of(batch.operation).key == Array::ek;
  const std::size_t bytes = is_ek ? kernels_.ek_form_bytes(batch.algorithm) : kernels_.dk_form_bytes(batch.algorithm);
  auto form = std::make_unique<CpuKeyForm>(batch.count, bytes);
  Batch with_forms = batch;
  with_forms.forms = form->forms;
  run(with_forms);
  return form;
}

void CpuBackend::submit(const Batch& batch, Completion done) noexcept {
  try {
    Batch resolved = batch;
    if (batch.form != nullptr) resolved.forms = static_cast<const CpuKeyForm*>(batch.form)->forms;
    run(resolved);
  } catch (const Error& error) {
    return done.call(done.context, {error.status(), error.what()});
  } catch (const std::exception& error) {  // std::bad_alloc
    return done.call(done.context, {Status::out_of_memory, error.what()});
  }
  done.call(done.context, {});
}

}  // namespace warpkem::host
