// A prepared set over backends that only this test has: whose verdicts stand, when a form is made, and how long things
// live.
#include "host/engine/key_set.hpp"

#include <gtest/gtest.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace warpkem::host {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr auto invalid_ek = static_cast<std::uint8_t>(ItemStatus::invalid_ek);
constexpr std::size_t record = 4;

int forms_alive = 0;

struct Form final : KeyForm {
  explicit Form(std::size_t bytes) : bytes_per_key_(bytes) { ++forms_alive; }
  ~Form() override { --forms_alive; }
  std::size_t bytes_per_key() const noexcept override { return bytes_per_key_; }
  std::size_t bytes_per_key_;
};

// Prepares as it is told, and keeps what it got.
class Preparer final : public Backend {
 public:
  explicit Preparer(Bytes verdicts, std::size_t form_bytes = 100)
      : verdicts_(std::move(verdicts)), form_bytes_(form_bytes) {}
  const BackendInfo& info() const noexcept override { return info_; }
  bool supports(Operation, std::uint32_t, DkFormat) const noexcept override { return true; }
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override {
    ++calls;
    on_one_thread = batch.on_one_thread;
    if (no_memory) throw std::bad_alloc();
    if (status != Status::ok) throw Error(status, "told not to prepare");
    seen.clear();
    for (std::size_t i = 0; i < batch.count; ++i) seen.insert(seen.end(), batch.ek[i], batch.ek[i] + record);
    std::ranges::copy(verdicts_, batch.statuses);
    return std::make_unique<Form>(form_bytes_);
  }
  void submit(const Batch&, Completion) noexcept override { ADD_FAILURE() << "a set submits nothing"; }

  int calls = 0;
  bool on_one_thread = false, no_memory = false;
  Status status = Status::ok;
  Bytes seen;

 private:
  const Bytes verdicts_;
  const std::size_t form_bytes_;
  const BackendInfo info_{"preparer", "scripted"};
};

class KeySetTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(forms_alive, 0); }
  Batch keys() {
    Batch batch;
    batch.operation = Operation::prepare_ek;
    batch.algorithm = 1;
    batch.count = 3;
    batch.ek = {memory.data(), record, nullptr};
    return batch;
  }

  Bytes memory{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const ForkGuard fork_guard;
};

TEST_F(KeySetTest, KeepsItsOwnCopyOfKeysInAnyLayout) {
  const Bytes expected = memory;
  const std::uint8_t* const table[] = {&memory[0], &memory[4], &memory[8]};
  Bytes spread(3 * 7, 0xEE);
  for (std::size_t i = 0; i < 3; ++i) std::copy_n(&memory[record * i], record, &spread[7 * i]);
  for (const In& in : {In{memory.data(), record, nullptr}, In{spread.data(), 7, nullptr}, In{nullptr, 0, table}}) {
    Batch batch = keys();
    batch.ek = in;
    KeySet set(nullptr, fork_guard, batch, record);
    const Bytes kept_memory = memory, kept_spread = spread;
    std::ranges::fill(memory, 0), std::ranges::fill(spread, 0);
    Preparer backend(Bytes(3, item_ok));
    set.form(backend);
    EXPECT_EQ(backend.seen, expected);
    std::ranges::copy(kept_memory, memory.begin());  // where the table points
    spread = kept_spread;
  }
}

TEST_F(KeySetTest, SaysWhatItWasMadeFrom) {
  const KeySet ek(nullptr, fork_guard, keys(), record);
  EXPECT_EQ(ek.kind(), Array::ek);
  EXPECT_EQ(ek.algorithm(), 1u);
  EXPECT_EQ(ek.count(), 3u);
  Batch batch = keys();
  batch.operation = Operation::prepare_dk;
  batch.dk_format = DkFormat::seed;
  batch.dk = std::exchange(batch.ek, {});
  KeySet dk(nullptr, fork_guard, batch, record);
  EXPECT_EQ(dk.kind(), Array::dk);
  EXPECT_EQ(dk.dk_format(), DkFormat::seed);
  Batch use;
  use.operation = Operation::decaps;
  use.algorithm = 1;
  EXPECT_FALSE(kind_of(use).prepared);
  use.keys = &dk;
  EXPECT_TRUE(kind_of(use).prepared);
  EXPECT_EQ(kind_of(use).dk_format, DkFormat::seed) << "the set's, whatever the batch says";
}

TEST_F(KeySetTest, AFormIsMadeOnceForEachBackend) {
  KeySet set(nullptr, fork_guard, keys(), record);
  Preparer first(Bytes(3, item_ok), 100), second(Bytes(3, item_ok), 1000);
  EXPECT_EQ(set.bytes_per_key(), record);
  KeyForm& form = set.form(first);
  EXPECT_EQ(&set.form(first), &form);
  EXPECT_EQ(set.bytes_per_key(), record + 100);
  EXPECT_NE(&set.form(second, true), &form);
  EXPECT_EQ(&set.form(first), &form);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 1);
  EXPECT_FALSE(first.on_one_thread);
  EXPECT_TRUE(second.on_one_thread);
  EXPECT_EQ(set.bytes_per_key(), record + 1100);
}

TEST_F(KeySetTest, TheFirstBackendsVerdictsStand) {
  KeySet set(nullptr, fork_guard, keys(), record);
  EXPECT_EQ(set.verdict(0), item_pending);
  Preparer first({item_ok, invalid_ek, item_ok}), second({invalid_ek, item_ok, item_ok});
  set.form(first);
  const Bytes verdicts{item_ok, invalid_ek, item_ok};
  EXPECT_EQ(Bytes(set.statuses(), set.statuses() + 3), verdicts);
  set.form(second);
  EXPECT_EQ(Bytes(set.statuses(), set.statuses() + 3), verdicts);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(set.verdict(i), verdicts[i]);
}

TEST_F(KeySetTest, AnIndexBeyondItIsNoKey) {
  KeySet set(nullptr, fork_guard, keys(), record);
  Preparer backend(Bytes(3, item_ok));
  set.form(backend);
  for (const std::size_t key : {std::size_t{3}, std::size_t{0xffffffff}, SIZE_MAX}) {
    EXPECT_EQ(set.verdict(key), static_cast<std::uint8_t>(ItemStatus::invalid_key_index));
  }
}

TEST_F(KeySetTest, AFormThatCouldNotBeMadeIsTriedAgain) {
  KeySet set(nullptr, fork_guard, keys(), record);
  Preparer backend(Bytes(3, item_ok)), forgetful({item_ok, item_pending, item_ok});
  EXPECT_THROW(set.form(forgetful), Error) << "it left a key undone";
  EXPECT_EQ(forms_alive, 0);
  EXPECT_EQ(set.verdict(0), item_pending) << "nothing of that is believed";
  backend.status = Status::backend_failed;
  EXPECT_THROW(set.form(backend), Error);
  backend.status = Status::ok;
  set.form(backend);
  EXPECT_EQ(backend.calls, 2);
  EXPECT_EQ(set.verdict(1), item_ok);
}

TEST_F(KeySetTest, WhoCannotBeGivenAFormIsToldAsByTheBackend) {
  KeySet set(nullptr, fork_guard, keys(), record);
  Preparer backend(Bytes(3, item_ok));
  std::optional<Status> told;
  const Completion done{[](void* context, const Outcome& outcome) noexcept {
                          *static_cast<std::optional<Status>*>(context) = outcome.status;
                        },
                        &told};
  Batch without;
  EXPECT_TRUE(give_form(without, backend, done));
  EXPECT_EQ(without.form, nullptr);
  Batch with;
  with.keys = &set;
  backend.status = Status::unsupported;
  EXPECT_FALSE(give_form(with, backend, done));
  EXPECT_EQ(told, Status::unsupported);
  backend.no_memory = true;
  EXPECT_FALSE(give_form(with, backend, done));
  EXPECT_EQ(told, Status::out_of_memory);
  backend.no_memory = false, backend.status = Status::ok, told.reset();
  EXPECT_TRUE(give_form(with, backend, done));
  EXPECT_EQ(with.form, &set.form(backend));
  EXPECT_FALSE(told.has_value());
}

TEST_F(KeySetTest, LivesWithItsOwnerUntilTheLastReferenceGoes) {
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owner;
  auto* const set = new KeySet(owner, fork_guard, keys(), record);
  EXPECT_TRUE(set->belongs_to(owner.get()));
  EXPECT_FALSE(set->belongs_to(this));
  owner.reset();
  Preparer backend(Bytes(3, item_ok));
  set->form(backend);
  {
    KeyReference a(set), b(std::move(a)), c(nullptr);
    set->release();
    c = std::move(b);
    EXPECT_FALSE(watched.expired());
    EXPECT_EQ(forms_alive, 1);
  }
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(forms_alive, 0);
}

TEST_F(KeySetTest, AForkedChildLeavesFormsAlone) {
  auto set = std::make_unique<KeySet>(nullptr, fork_guard, keys(), record);
  Preparer backend(Bytes(3, item_ok));
  set->form(backend);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool counts_none = set->bytes_per_key() == record;
    set.reset();
    _exit(counts_none && forms_alive == 1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace warpkem::host
