// The table of operations and what is sized or numbered by it: also for an operation, an algorithm, a dk format and an
// item status that only this test has.
#include "host/core/operation.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "host/core/kinds.hpp"
#include "host/engine/item_counters.hpp"
#include "host/serving/batch_former.hpp"
#include "host/serving/cost_model.hpp"
#include "host/serving/metrics.hpp"
#include "tests/host/held.hpp"
#include "warpkem/params.hpp"

namespace warpkem::testing {
namespace {

using namespace host;

constexpr auto new_operation = static_cast<Operation>(8);
constexpr auto new_format = static_cast<DkFormat>(3);
constexpr Algorithm new_algorithm{.id = 31,
                                  .name = "NEW",
                                  .alias = "NEW",
                                  .oid = "1.2.3",
                                  .tls_number = 0,
                                  .hpke_number = 0,
                                  .ek_bytes = 5,
                                  .dk_bytes = {7, 0, 0, 9},
                                  .c_bytes = 11,
                                  .K_bytes = 13,
                                  .m_bytes = 19,
                                  .seed_bytes = {17, 0, 0, 21},
                                  .cost = 3};

// The library's tables with one row more.
struct MoreKinds {
  std::vector<OperationSpec> operations{all_operations().begin(), all_operations().end()};
  std::vector<Algorithm> algorithms{all_algorithms().begin(), all_algorithms().end()};
  MoreKinds() {
    operations.push_back({.operation = new_operation, .name = "new", .in = {Array::c, Array::dk}});
    algorithms.push_back(new_algorithm);
  }
  Kinds kinds() const { return Kinds(operations, algorithms); }
};

TEST(OperationTable, SaysWhichArraysAnOperationHas) {
  const auto names = [](const ArraySet& set) {
    std::string text;
    for (std::size_t i = 0; i < num_arrays; ++i) {
      const auto a = static_cast<Array>(i);
      if (set.has(a)) text += (text.empty() ? "" : " ") + std::string(spec_of(a).member);
    }
    return text;
  };
  EXPECT_EQ(names(spec_of(Operation::keygen).arrays(false, true)), "seeds ek_out dk_out");
  EXPECT_EQ(names(spec_of(Operation::keygen).arrays(false, false)), "ek_out dk_out");
  EXPECT_EQ(names(spec_of(Operation::encaps).arrays(false, true)), "m ek c_out K_out");
  EXPECT_EQ(names(spec_of(Operation::encaps).arrays(true, false)), "c_out K_out");
  EXPECT_EQ(names(spec_of(Operation::decaps).arrays(false, false)), "dk c K_out");
  EXPECT_EQ(names(spec_of(Operation::decaps).arrays(true, false)), "c K_out");
  EXPECT_EQ(names(spec_of(Operation::check_ek).arrays(false, false)), "ek");
  EXPECT_EQ(names(spec_of(Operation::check_dk).arrays(false, false)), "dk");
  EXPECT_EQ(names(spec_of(Operation::prepare_ek).arrays(false, false)), "ek");
  EXPECT_EQ(names(spec_of(Operation::prepare_dk).arrays(false, false)), "dk");
}

TEST(OperationTable, KnowsThePublicNumbers) {
  for (const std::uint32_t number : {0u, 6u, 7u, 8u, 15u, 16u, ~0u}) EXPECT_FALSE(is_public(number)) << number;
  for (std::uint32_t number = WARPKEM_OP_KEYGEN; number <= WARPKEM_OP_CHECK_DK; ++number)
    EXPECT_TRUE(is_public(number));
  EXPECT_TRUE(is_known(Operation::prepare_dk));
  EXPECT_EQ(preparation_of(Operation::encaps), Operation::prepare_ek);
  EXPECT_EQ(preparation_of(Operation::decaps), Operation::prepare_dk);
}

TEST(OperationTable, AnOperationThatItDoesNotHaveHasNoArrays) {
  for (const Operation operation :
       {Operation{}, new_operation, static_cast<Operation>(16), static_cast<Operation>(~0u)}) {
    const OperationSpec& spec = spec_of(operation);
    EXPECT_FALSE(is_known(operation));
    EXPECT_STREQ(spec.name, "?");
    for (std::size_t k = 0; k < 2; ++k) {
      EXPECT_EQ(spec.in[k], Array::none);
      EXPECT_EQ(spec.out[k], Array::none);
    }
  }
}

TEST(OperationTable, SizesAreTheAlgorithmsOwn) {
  EXPECT_EQ(record_bytes(new_algorithm, Array::seeds, DkFormat::expanded), 17u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::seeds, new_format), 21u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::m, DkFormat::expanded), 19u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::ek, DkFormat::expanded), 5u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::ek_out, DkFormat::expanded), 5u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::dk, DkFormat::expanded), 7u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::dk_out, new_format), 9u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::c, DkFormat::expanded), 11u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::c_out, DkFormat::expanded), 11u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::K_out, DkFormat::expanded), 13u);
  EXPECT_EQ(record_bytes(new_algorithm, Array::none, DkFormat::expanded), 0u);
}

TEST(DkFormats, WhatAnAlgorithmDoesNotHaveIsRefused) {
  EXPECT_EQ(new_algorithm.dk_record(DkFormat::seed), 0u);
  for (const std::uint32_t format : {4u, 1000u, ~0u}) {
    EXPECT_EQ(new_algorithm.dk_record(static_cast<DkFormat>(format)), 0u) << format;
  }
  for (const Algorithm& a : all_algorithms()) {
    const bool combines = a.id >= WARPKEM_MLKEM768_X25519;
    EXPECT_EQ(a.dk_record(DkFormat::expanded) != 0, !combines) << a.name;
    EXPECT_NE(a.dk_record(DkFormat::seed), 0u) << a.name;
    EXPECT_EQ(a.dk_record(DkFormat::composite) != 0, combines) << a.name;
    EXPECT_EQ(a.dk_record(new_format), 0u) << a.name;
  }
}

TEST(Params, ANumberThatNoSetHasCallsNothing) {
  for (const std::uint32_t id : {0u, 4u, new_algorithm.id, ~0u}) {
    EXPECT_FALSE(with_params(id, [](auto) { ADD_FAILURE() << "called"; })) << id;
  }
  std::size_t bytes = 0;
  EXPECT_TRUE(with_params(3, [&]<class P>(P) { bytes = P::ek_bytes; }));
  EXPECT_EQ(bytes, 1568u);
}

TEST(Algorithms, AreFoundByIdAndNothingElseIs) {
  for (const Algorithm& a : all_algorithms()) EXPECT_EQ(find_algorithm(a.id), &a);
  for (const std::uint32_t id : {0u, 10u, 31u, 32u, ~0u}) EXPECT_EQ(find_algorithm(id), nullptr) << id;
}

TEST(Kinds, EachHasARowOfItsOwnAndStrangersShareRow0) {
  const MoreKinds more;
  const Kinds kinds = more.kinds();
  std::vector<bool> seen(kinds.size());
  for (const OperationSpec& spec : more.operations) {
    for (const Algorithm& a : more.algorithms) {
      const std::size_t row = kinds.row(spec.operation, a.id);
      ASSERT_LT(row, kinds.size());
      EXPECT_NE(row, 0u);
      EXPECT_FALSE(seen[row]);
      seen[row] = true;
    }
  }
  for (const std::uint32_t operation : {0u, 9u, 16u, ~0u})
    EXPECT_EQ(kinds.row(static_cast<Operation>(operation), 1), 0u);
  for (const std::uint32_t algorithm : {0u, 10u, 32u, ~0u}) EXPECT_EQ(kinds.row(Operation::encaps, algorithm), 0u);
}

// Every operation, algorithm, dk format and class has a bucket of its own.
TEST(BatchFormer, KindsNeverShareABucket) {
  const MoreKinds more;
  BatchFormer former(more.kinds());
  std::vector<std::unique_ptr<Request>> requests;
  for (const OperationSpec& spec : more.operations) {
    for (const Algorithm& a : more.algorithms) {
      for (std::uint32_t format = 0; format < max_dk_formats; ++format) {
        for (const RequestClass of_class : {RequestClass::interactive, RequestClass::bulk}) {
          Request& r = *requests.emplace_back(std::make_unique<Request>());
          r.work.operation = spec.operation;
          r.work.algorithm = a.id;
          r.work.dk_format = static_cast<DkFormat>(format);
          r.request_class = of_class;
          r.count = 1;
          r.left = 1;
          former.add(&r, false);
          EXPECT_EQ(r.bucket->items, 1u) << spec.name << " " << a.name << " " << format;
          EXPECT_EQ(r.bucket->kind.operation, spec.operation);
          EXPECT_EQ(r.bucket->kind.algorithm, a.id);
        }
      }
    }
  }
  EXPECT_EQ(former.items(), requests.size());
  for (const auto& r : requests) former.remove(r.get());
  EXPECT_EQ(former.items(), 0u);
}

TEST(CostModel, AnotherOperationAndAlgorithmHaveTheirOwnCost) {
  const MoreKinds more;
  CostModel model({1000, 100}, more.kinds());
  const auto expect_known = [&](double item_ns) {
    EXPECT_DOUBLE_EQ(model.cost({Operation::encaps, reference_algorithm}).item_ns, item_ns);
    EXPECT_DOUBLE_EQ(model.cost({Operation::decaps, reference_algorithm}).item_ns, 1.2 * item_ns);
  };
  expect_known(100);
  for (int i = 0; i < 100; ++i) {
    for (const bool prepared : {false, true}) {
      model.observe({new_operation, new_algorithm.id, DkFormat::expanded, prepared}, 10, 1'000'000);
      model.observe({static_cast<Operation>(~0u), ~0u, DkFormat::expanded, prepared}, 10, 1'000'000);
    }
  }
  expect_known(100);
  EXPECT_NEAR(static_cast<double>(model.cost({new_operation, new_algorithm.id, DkFormat::expanded, true}).of(10)), 1e6,
              1e5);
}

TEST(Metrics, EveryOperationAndAlgorithmHasCountsOfItsOwn) {
  const MoreKinds more;
  Metrics metrics(more.kinds());
  ItemCounters items(more.kinds());
  const auto requests = [&](std::size_t slot, Operation operation, std::uint32_t algorithm) {
    Histogram h;
    metrics.read(slot, operation, algorithm, Phase::total, h);
    return h.count;
  };
  std::uint64_t n = 0, sum = 0;
  for (const OperationSpec& spec : more.operations) {
    for (const Algorithm& a : more.algorithms) {
      ++n, sum += 2 * n;
      metrics.record(0, {spec.operation, a.id}, Phase::total, n, 1000 * n, 1000);
      items.add(spec.operation, a.id, n);
      items.add(spec.operation, a.id, n);
      items.add(spec.operation, a.id, 0);  // a batch of which the backend did nothing
    }
  }
  n = 0;
  for (const OperationSpec& spec : more.operations) {
    for (const Algorithm& a : more.algorithms) {
      ++n;
      EXPECT_EQ(requests(0, spec.operation, a.id), n);
      EXPECT_EQ(requests(1, spec.operation, a.id), 0u);
      EXPECT_EQ(items.of(spec.operation, a.id).items, 2 * n);
      EXPECT_EQ(items.of(spec.operation, a.id).batches, 2u);
    }
  }
  EXPECT_EQ(items.items(), sum);
  metrics.record(no_backend + 1, {Operation::encaps, 1}, Phase::total, 1, 1, 1);
  EXPECT_EQ(requests(no_backend + 1, Operation::encaps, 1), 0u);
}

// What a backend says of one item is that item's, also if nobody but the backend knows the status.
TEST(ItemStatuses, ANewOneFailsItsItemAlone) {
  constexpr std::uint8_t new_status = 77;
  Manual manual;
  TestEngine engine({{"a", true, 1,
                      [](scripted::Backend& inner, const Batch& batch, Completion done) {
                        Batch rest = slice(batch, 1, batch.count - 1);
                        inner.submit(rest, {[](void*, const Outcome&) noexcept {}, nullptr});
                        batch.statuses[0] = new_status;
                        done.call(done.context, {});
                      }}},
                    manual.options(), one_thread());
  const Oracle oracle(WARPKEM_ML_KEM_512);
  Queue queue(engine);
  Encaps bad(oracle, 3, 1), good(oracle, 2, 2);
  submit(engine, bad, to(queue));
  submit(engine, good, to(queue));
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 2u);
  for (const warpkem_completion& c : completions) {
    EXPECT_EQ(c.status, c.user_data == &bad ? WARPKEM_ITEM_FAILED : WARPKEM_OK);
  }
  EXPECT_EQ(bad.failed, 1u);
  EXPECT_EQ(bad.statuses, (std::vector<std::uint8_t>{new_status, 0, 0}));
  EXPECT_EQ(good.statuses, (std::vector<std::uint8_t>{0, 0}));
  EXPECT_TRUE(good.is_right());
  const std::size_t c_bytes = bad.c.size() / 3;
  EXPECT_EQ(std::vector<std::uint8_t>(bad.c.begin(), bad.c.begin() + static_cast<std::ptrdiff_t>(c_bytes)),
            std::vector<std::uint8_t>(c_bytes, 0));
  EXPECT_NE(std::vector<std::uint8_t>(bad.K.begin() + 32, bad.K.begin() + 64), std::vector<std::uint8_t>(32, 0xEE));

  // A synchronous call, too.
  Encaps alone(oracle, 2, 3);
  EXPECT_EQ(warpkem_run(engine.get(), &alone.batch), WARPKEM_ITEM_FAILED);
  EXPECT_EQ(alone.failed, 1u);
  EXPECT_EQ(alone.statuses, (std::vector<std::uint8_t>{new_status, 0}));
}

}  // namespace
}  // namespace warpkem::testing
