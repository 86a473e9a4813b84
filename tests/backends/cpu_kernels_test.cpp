// What cpu_kernels.hpp promises of every instruction set beyond the right answers: the stack it takes, and that it
// forgets.
//
// Forgetting is tested by difference: a batch runs twice with the same public input and different secrets, on a stack
// and in a workspace that were painted before. Whatever differs afterwards came from a secret, in whatever form.
#include <gtest/gtest.h>
#include <ucontext.h>

#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "host/backends/portable/portable.hpp"
#include "warpkem/params.hpp"
#ifdef WARPKEM_HAVE_AVX2
#include "host/backends/x86/avx2/avx2.hpp"
#endif
#ifdef WARPKEM_HAVE_AVX512
#include "host/backends/x86/avx512/avx512.hpp"
#endif

namespace warpkem::host {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Sizes {
  std::size_t ek, dk, c, dk_pke;
};

Sizes sizes_of(std::uint32_t algorithm) {
  Sizes sizes{};
  with_params(algorithm, [&]<ParameterSet P>(P) { sizes = {P::ek_bytes, P::dk_bytes, P::c_bytes, P::dk_pke_bytes}; });
  return sizes;
}

std::vector<const CpuKernels*> usable_kernels() {
  std::vector<const CpuKernels*> result = {&portable::kernels()};
  [[maybe_unused]] std::string why_not;
#ifdef WARPKEM_HAVE_AVX2
  if (avx2::usable(why_not)) result.push_back(&avx2::kernels());
#endif
#ifdef WARPKEM_HAVE_AVX512
  if (avx512::usable(why_not)) result.push_back(&avx512::kernels());
#endif
  return result;
}

// ---- a run on a stack of its own

constexpr std::size_t stack_bytes = 64 * 1024;
constexpr std::uint8_t paint = 0xa5;
alignas(64) std::uint8_t stack[stack_bytes];
ucontext_t caller, callee;
const CpuKernels* running;
Batch running_batch;
std::uint8_t* running_workspace;

void call_run() { running->run(running_batch, running_workspace); }

struct Traces {
  Bytes stack, workspace;
  std::size_t depth;
};

Traces run(const CpuKernels& kernels, const Batch& batch) {
  static Bytes memory(1 << 20);
  std::uint8_t* const workspace = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
  const std::size_t workspace_bytes = kernels.workspace_bytes(batch.algorithm);
  EXPECT_LT(workspace_bytes, memory.size() - 64);
  std::memset(workspace, paint, workspace_bytes);
  std::memset(stack, paint, sizeof stack);
  running = &kernels;
  running_batch = batch;
  running_workspace = workspace;
  getcontext(&callee);
  callee.uc_stack.ss_sp = stack;
  callee.uc_stack.ss_size = sizeof stack;
  callee.uc_link = &caller;
  makecontext(&callee, call_run, 0);
  swapcontext(&caller, &callee);

  Traces traces{Bytes(stack, stack + stack_bytes), Bytes(workspace, workspace + workspace_bytes), 0};
  while (traces.depth < stack_bytes && stack[traces.depth] == paint) ++traces.depth;
  traces.depth = stack_bytes - traces.depth;
  return traces;
}

// ---- batches

struct Case {
  const char* name;
  Operation operation;
  DkFormat format;
  bool prepared;
};
constexpr Case cases[] = {
    {"keygen", Operation::keygen, DkFormat::expanded, false},
    {"keygen of seeds", Operation::keygen, DkFormat::seed, false},
    {"encaps", Operation::encaps, DkFormat::expanded, false},
    {"encaps, prepared", Operation::encaps, DkFormat::expanded, true},
    {"decaps", Operation::decaps, DkFormat::expanded, false},
    {"decaps with seeds", Operation::decaps, DkFormat::seed, false},
    {"decaps, prepared", Operation::decaps, DkFormat::expanded, true},
    {"check_ek", Operation::check_ek, DkFormat::expanded, false},
    {"check_dk", Operation::check_dk, DkFormat::expanded, false},
    {"prepare_ek", Operation::prepare_ek, DkFormat::expanded, false},
    {"prepare_dk", Operation::prepare_dk, DkFormat::expanded, false},
    {"prepare_dk of seeds", Operation::prepare_dk, DkFormat::seed, false},
};

class CpuKernelsTest : public testing::TestWithParam<std::tuple<const CpuKernels*, std::uint32_t>> {
 protected:
  void SetUp() override {
#ifdef WARPKEM_SANITIZED
    GTEST_SKIP() << "a sanitizer has its own ideas of the stack";
#endif
    seeds = random_bytes(64);
    m = random_bytes(32);
    ek.resize(count * sizes.ek);
    dk.resize(count * sizes.dk);
    c.resize(count * sizes.c);
    K.resize(count * 32);
    statuses.resize(count);
    forms.resize(count * form_stride + 64);
    run_case(cases[0]);
    made_dk = dk;
    run_case(cases[2]);
    made_c = c;
  }

  Bytes random_bytes(std::size_t each) {
    Bytes bytes(count * each);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    return bytes;
  }

  Batch batch_of(const Case& one) {
    Batch batch;
    batch.operation = one.operation;
    batch.algorithm = algorithm;
    batch.dk_format = one.format;
    batch.count = count;
    batch.statuses = statuses.data();
    const std::size_t dk_bytes = one.format == DkFormat::seed ? 64 : sizes.dk;
    const bool is_prepare = one.operation == Operation::prepare_ek || one.operation == Operation::prepare_dk;
    batch.seeds = {seeds.data(), 64, nullptr};
    batch.m = {m.data(), 32, nullptr};
    batch.ek = {ek.data(), sizes.ek, nullptr};
    batch.dk = {one.format == DkFormat::seed ? seeds.data() : made_dk.data(), dk_bytes, nullptr};
    batch.c = {made_c.data(), sizes.c, nullptr};
    batch.ek_out = {ek.data(), sizes.ek, nullptr};
    batch.dk_out = {dk.data(), dk_bytes, nullptr};
    batch.c_out = {c.data(), sizes.c, nullptr};
    batch.K_out = {K.data(), 32, nullptr};
    if (is_prepare || one.prepared) {
      batch.forms.data = forms.data() + (64 - reinterpret_cast<std::uintptr_t>(forms.data()) % 64) % 64;
      batch.forms.stride = form_stride;
    }
    return batch;
  }

  Traces run_case(const Case& one) {
    std::memset(statuses.data(), 0xff, statuses.size());
    const Batch batch = batch_of(one);
    if (one.prepared) {  // its keys; only the run below is looked at
      Case prepare{"", one.operation == Operation::encaps ? Operation::prepare_ek : Operation::prepare_dk, one.format,
                   false};
      run(kernels, batch_of(prepare));
    }
    Traces traces = run(kernels, batch);
    for (const std::uint8_t status : statuses) EXPECT_EQ(status, 0) << one.name;
    return traces;
  }

  // Other secrets in the same places, the public parts as they are: z, m, and in dk everything but ek and H(ek). The d
  // of a seed stays, for ek follows from it.
  void change_secrets() {
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t byte = 32; byte < 64; ++byte) seeds[64 * i + byte] = static_cast<std::uint8_t>(random());
      for (std::size_t byte = 0; byte < 32; ++byte) m[32 * i + byte] = static_cast<std::uint8_t>(random());
      std::uint8_t* const key = made_dk.data() + sizes.dk * i;
      for (std::size_t byte = 0; byte < sizes.dk_pke; ++byte) key[byte] = static_cast<std::uint8_t>(random());
      for (std::size_t byte = sizes.dk - 32; byte < sizes.dk; ++byte) key[byte] = static_cast<std::uint8_t>(random());
    }
  }

  std::mt19937 random{1};
  const CpuKernels& kernels = *std::get<0>(GetParam());
  const std::uint32_t algorithm = std::get<1>(GetParam());
  const Sizes sizes = sizes_of(algorithm);
  const std::size_t count = 2 * kernels.lanes + 1;
  const std::size_t form_stride = std::max(kernels.ek_form_bytes(algorithm), kernels.dk_form_bytes(algorithm));
  Bytes seeds, m, ek, dk, c, K, statuses, forms, made_dk, made_c;
};

TEST_P(CpuKernelsTest, TakesAtMost8KiBOfStack) {
  for (const Case& one : cases) {
    EXPECT_LE(run_case(one).depth, 8u * 1024) << one.name;
  }
}

TEST_P(CpuKernelsTest, LeavesNothingOfASecretBehind) {
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Bytes made = made_dk;
    const Traces first = run_case(one);
    change_secrets();
    const Traces second = run_case(one);
    EXPECT_EQ(first.depth, second.depth);
    std::size_t on_stack = 0, in_workspace = 0;
    for (std::size_t i = 0; i < first.stack.size(); ++i) on_stack += first.stack[i] != second.stack[i];
    for (std::size_t i = 0; i < first.workspace.size(); ++i) {
      in_workspace += first.workspace[i] != second.workspace[i];
    }
    EXPECT_EQ(on_stack, 0u) << "bytes of the stack differ";
    EXPECT_EQ(in_workspace, 0u) << "bytes of the workspace differ";
    made_dk = made;
  }
}

// That the comparison finds a secret that is left: one byte of m in the workspace, and its complement on the stack.
TEST_P(CpuKernelsTest, WouldBeSeenToLeaveASecretBehind) {
  CpuKernels leaking = kernels;
  leaking.run = [](const Batch& batch, std::uint8_t* workspace) noexcept {
    volatile std::uint8_t on_stack[256];
    on_stack[128] = static_cast<std::uint8_t>(~batch.m[0][0]);
    workspace[100] = static_cast<std::uint8_t>(~on_stack[128]);
  };
  const Traces first = run(leaking, batch_of(cases[2]));
  m[0] ^= 1;
  const Traces second = run(leaking, batch_of(cases[2]));
  EXPECT_TRUE(first.stack != second.stack);
  EXPECT_TRUE(first.workspace != second.workspace);
}

// A row of the table of algorithms that an instruction set does not know: its records may have any size.
TEST(CpuKernelsOfAnotherAlgorithm, WriteNothingAndLeaveEveryItemPending) {
  for (const CpuKernels* kernels : usable_kernels()) {
    for (const std::uint32_t algorithm : {0u, 4u, 31u, ~0u}) {
      SCOPED_TRACE(std::string(kernels->name) + ", algorithm " + std::to_string(algorithm));
      EXPECT_EQ(kernels->workspace_bytes(algorithm), 0u);
      EXPECT_EQ(kernels->ek_form_bytes(algorithm), 0u);
      EXPECT_EQ(kernels->dk_form_bytes(algorithm), 0u);
      for (const Case& one : cases) {
        // Every array is this one, which is too short for any record.
        Bytes record(1, paint), pending(2, 0xff);
        Batch batch;
        batch.operation = one.operation;
        batch.algorithm = algorithm;
        batch.dk_format = one.format;
        batch.count = 2;
        batch.seeds = batch.m = batch.ek = batch.dk = batch.c = {record.data(), 0, nullptr};
        batch.ek_out = batch.dk_out = batch.c_out = batch.K_out = {record.data(), 0, nullptr};
        if (one.prepared) batch.forms = {record.data(), 0};
        batch.statuses = pending.data();
        kernels->run(batch, record.data());
        EXPECT_EQ(record, Bytes(1, paint)) << one.name;
        EXPECT_EQ(pending, Bytes(2, 0xff)) << one.name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, CpuKernelsTest,
                         testing::Combine(testing::ValuesIn(usable_kernels()), testing::Values(1u, 2u, 3u)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)->name) + "_set_" +
                                  std::to_string(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace warpkem::host
