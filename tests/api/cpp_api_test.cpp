// The C++ face: results are reached through their statuses, and what the C ABI promises is kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#include <warpkem/warpkem.hpp>

namespace {

using namespace warpkem;
using Bytes = std::vector<std::uint8_t>;

template <class P>
class CppApi : public testing::Test {
 protected:
  Engine engine;
};
using Sets = testing::Types<MlKem512, MlKem768, MlKem1024>;
TYPED_TEST_SUITE(CppApi, Sets);

template <class T>
Bytes copy(const T& records) {
  return {records.bytes().begin(), records.bytes().end()};
}

TYPED_TEST(CppApi, SecretsAgreeOnAllPaths) {
  using P = TypeParam;
  const Engine& engine = this->engine;
  const auto pairs = engine.template keygen<P>(7).value();
  ASSERT_EQ(pairs.ek.size(), 7u);
  EXPECT_EQ(pairs.dk[3].size(), P::dk_bytes);
  const auto encapsulated = engine.template encaps<P>(pairs.ek).value();
  EXPECT_EQ(copy(engine.template decaps<P>(pairs.dk, encapsulated.c).value()), copy(encapsulated.K));

  const auto seeds = engine.template keygen<P, DkFormat::seed>(3).value();
  const auto to_seeds = engine.template encaps<P>(seeds.ek).value();
  EXPECT_EQ(copy(engine.template decaps<P>(seeds.dk, to_seeds.c).value()), copy(to_seeds.K));
  const auto again = engine.template keygen_derand<P>(seeds.dk.bytes()).value();
  EXPECT_EQ(copy(again.ek), copy(seeds.ek));

  const Keys<P> ek_set = engine.template prepare_ek<P>(pairs.ek.bytes()).value();
  const Keys<P> dk_set = engine.template prepare_dk<P>(pairs.dk.bytes()).value();
  const std::uint32_t index[] = {6, 0, 0, 3};
  const auto prepared = engine.template encaps<P>(ek_set, index).value();
  EXPECT_EQ(copy(engine.decaps(dk_set, index, prepared.c.bytes()).value()), copy(prepared.K));
  const Keys<P> seed_set = engine.template prepare_dk<P, DkFormat::seed>(seeds.dk.bytes()).value();
  const std::uint32_t three[] = {0, 1, 2};
  EXPECT_EQ(copy(engine.decaps(seed_set, three, to_seeds.c.bytes()).value()), copy(to_seeds.K));
  EXPECT_EQ(ek_set.size(), 7u);
  EXPECT_GT(dk_set.bytes_per_key(), P::dk_bytes);

  const Bytes m(7 * 32, 9);
  const auto first = engine.template encaps_derand<P>(pairs.ek.bytes(), m).value();
  EXPECT_EQ(copy(first.c), copy(engine.template encaps_derand<P>(pairs.ek.bytes(), m).value().c));
}

TYPED_TEST(CppApi, WhatIsTakenFromAResultThatGoesStays) {
  using P = TypeParam;
  const Engine& engine = this->engine;
  const auto& pairs = engine.template keygen<P>(5).value();
  const auto& ek = engine.template keygen<P>(5).value().ek;
  const auto& with_statuses = engine.template encaps<P>(pairs.ek).value_with_statuses();
  const auto& kept = std::as_const(this->engine).template encaps<P>(ek).value();
  std::size_t seen = 0;
  for (const std::uint8_t status : engine.template encaps<P>(pairs.ek).statuses()) seen += status == WARPKEM_OK;
  EXPECT_EQ(seen, 5u);
  // Memory that went would be used again here.
  const auto others = engine.template keygen<P>(50).value();
  EXPECT_EQ(copy(engine.template decaps<P>(pairs.dk, with_statuses.c).value()), copy(with_statuses.K));
  EXPECT_EQ(kept.K.size(), ek.size());
  EXPECT_NE(copy(others.ek), copy(ek));
}

template <class T>
constexpr bool has_arrow = requires {
  std::declval<T>().operator->();
};

TEST(Results, GiveValuesWhereTheyGo) {
  using R = Result<std::string>;
  using B = BatchResult<std::string>;
  static_assert(std::is_same_v<decltype(std::declval<R&>().value()), std::string&>);
  static_assert(std::is_same_v<decltype(std::declval<const R&>().value()), const std::string&>);
  static_assert(std::is_same_v<decltype(std::declval<R>().value()), std::string>);
  static_assert(std::is_same_v<decltype(std::declval<const R>().value()), std::string>);
  static_assert(std::is_same_v<decltype(*std::declval<R>()), std::string>);
  static_assert(std::is_same_v<decltype(*std::declval<const R>()), std::string>);
  static_assert(std::is_same_v<decltype(std::declval<R>().error()), Error>);
  static_assert(std::is_same_v<decltype(std::declval<const R>().error()), Error>);
  static_assert(std::is_same_v<decltype(std::declval<const R&>().error()), const Error&>);
  static_assert(has_arrow<R&> && has_arrow<const R&> && !has_arrow<R> && !has_arrow<const R>);
  static_assert(std::is_same_v<decltype(std::declval<const B&>().value()), const std::string&>);
  static_assert(std::is_same_v<decltype(std::declval<B>().value()), std::string>);
  static_assert(std::is_same_v<decltype(std::declval<const B>().value()), std::string>);
  static_assert(std::is_same_v<decltype(std::declval<B>().value_with_statuses()), std::string>);
  static_assert(std::is_same_v<decltype(std::declval<const B>().value_with_statuses()), std::string>);
  static_assert(std::is_same_v<decltype(std::declval<B>().statuses()), std::vector<std::uint8_t>>);
  const std::string& value = R(std::string("a value that lies on the heap, for it is long")).value();
  EXPECT_EQ(value, "a value that lies on the heap, for it is long");
  const Error& error = R(Error(WARPKEM_RNG_FAILED, "why")).error();
  EXPECT_EQ(error.status(), WARPKEM_RNG_FAILED);
  const auto& engine = Engine::make().value();  // not copyable
  EXPECT_NE(engine.get(), nullptr);
}

TYPED_TEST(CppApi, ABadItemKeepsTheOthersAndBarsTheWayToTheData) {
  using P = TypeParam;
  const Engine& engine = this->engine;
  Bytes ek = copy(engine.template keygen<P>(5).value().ek);
  ek[2 * P::ek_bytes] = 0xff, ek[2 * P::ek_bytes + 1] = 0xff;
  const auto result = engine.template encaps<P>(ek);
  EXPECT_FALSE(result.all_ok());
  EXPECT_EQ(result.failed(), 1u);
  EXPECT_EQ(result.size(), 5u);
  EXPECT_EQ(result.status(2), WARPKEM_INVALID_EK);
  EXPECT_EQ(result.status(1), WARPKEM_OK);
  EXPECT_THROW(static_cast<void>(result.status(5)), std::out_of_range);
  try {
    static_cast<void>(result.value());
    ADD_FAILURE() << "data of a batch with a bad item";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), WARPKEM_ITEM_FAILED);
    EXPECT_NE(std::string(error.what()).find("item 2"), std::string::npos) << error.what();
  }
  const auto& data = result.value_with_statuses();
  EXPECT_TRUE(std::ranges::all_of(data.K[2], [](std::uint8_t byte) { return byte == 0; }));
  EXPECT_FALSE(std::ranges::all_of(data.K[3], [](std::uint8_t byte) { return byte == 0; }));

  const auto set = engine.template prepare_ek<P>(ek);
  EXPECT_EQ(set.failed(), 1u);
  const std::uint32_t index[] = {0, 2, 7};
  const auto with_set = engine.template encaps<P>(set.value_with_statuses(), index);
  EXPECT_EQ(with_set.status(0), WARPKEM_OK);
  EXPECT_EQ(with_set.status(1), WARPKEM_INVALID_EK);
  EXPECT_EQ(with_set.status(2), WARPKEM_INVALID_KEY_INDEX);
}

TYPED_TEST(CppApi, WrongSizesAreRefusedBeforeAnythingRuns) {
  using P = TypeParam;
  const Engine& engine = this->engine;
  const Bytes ek(P::ek_bytes + 1), m(32), c(P::c_bytes), dk(2 * P::dk_bytes);
  EXPECT_THROW(static_cast<void>(engine.template encaps<P>(ek)), Error);
  EXPECT_THROW(static_cast<void>(engine.template encaps_derand<P>(Bytes(2 * P::ek_bytes), m)), Error);
  EXPECT_THROW(static_cast<void>(engine.template decaps<P>(dk, c)), Error);
  EXPECT_THROW(static_cast<void>(engine.template keygen_derand<P>(Bytes(63))), Error);
  EXPECT_THROW(static_cast<void>(engine.template prepare_dk<P>(Bytes(P::dk_bytes - 1))), Error);
}

TYPED_TEST(CppApi, NothingMakesNothing) {
  using P = TypeParam;
  const Engine& engine = this->engine;
  EXPECT_EQ(engine.template keygen<P>(0).value().ek.size(), 0u);
  EXPECT_TRUE(engine.template encaps<P>(Bytes()).all_ok());
  EXPECT_TRUE(engine.template decaps<P>(Bytes(), Bytes()).all_ok());
  EXPECT_EQ(engine.template prepare_ek<P>(Bytes()).value().size(), 0u);
}

TEST(CppEngine, OptionsReachTheEngine) {
  EXPECT_EQ(Engine::make({.backend = "quantum"}).error().status(), WARPKEM_UNSUPPORTED);
  EXPECT_THROW(Engine({.backend = "quantum"}), Error);
  const Engine cnsa({.threads = 0, .policy = "CNSA-2.0"});
  EXPECT_THROW(static_cast<void>(cnsa.keygen<MlKem768>(1)), Error);
  EXPECT_TRUE(cnsa.keygen<MlKem1024>(1).all_ok());
  const Engine strict({.threads = 0, .refuse_zero = true}), lenient({.threads = 0});
  const auto ek = lenient.keygen<XWing>(1).value().ek;
  std::vector<std::uint8_t> of_low_order(ek.bytes().begin(), ek.bytes().end());
  std::fill(of_low_order.end() - 32, of_low_order.end(), std::uint8_t{0});
  EXPECT_TRUE(lenient.encaps<XWing>(of_low_order).all_ok());
  EXPECT_EQ(strict.encaps<XWing>(of_low_order).statuses().at(0), WARPKEM_INVALID_EK);
  const auto broken = [](void*, std::uint8_t*, std::size_t) { return 1; };
  const Engine without_randomness({.random = broken});
  try {
    static_cast<void>(without_randomness.keygen<MlKem512>(1));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), WARPKEM_RNG_FAILED);
  }
}

TEST(CppEngine, MovesAndKeysOutliveIt) {
  std::vector<Keys<MlKem512>> kept;
  {
    Engine first;
    Engine second = std::move(first);
    EXPECT_EQ(first.get(), nullptr);
    EXPECT_THROW(static_cast<void>(first.keygen<MlKem512>(1)), Error);
    const auto pairs = second.keygen<MlKem512>(2).value();
    kept.push_back(second.prepare_ek<MlKem512>(pairs.ek.bytes()).value());
    kept.push_back(kept[0]);
    kept.push_back(std::move(kept[0]));
  }
  EXPECT_EQ(kept[2].size(), 2u);
  EXPECT_EQ(kept[1].size(), 2u);
  EXPECT_EQ(kept[0].size(), 0u);
}

TEST(CppResult, HoldsAValueOrAnError) {
  const Result<int> good(5), bad(Error(WARPKEM_UNSUPPORTED, "why"));
  EXPECT_TRUE(good && *good == 5);
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.error().status(), WARPKEM_UNSUPPORTED);
  EXPECT_STREQ(bad.error().what(), "WARPKEM_UNSUPPORTED: why");
  EXPECT_THROW(static_cast<void>(bad.value()), Error);
}

static_assert(!std::is_copy_constructible_v<Engine> && std::is_nothrow_move_constructible_v<Engine>);
static_assert(std::is_copy_constructible_v<Keys<MlKem768>>);

}  // namespace
