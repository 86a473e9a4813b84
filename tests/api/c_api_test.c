/*
 * The C ABI as a C program sees it: every promise of warpkem.h about arguments, statuses and what is written where.
 * Plain C99. Each test is a function; the output is in the form of GoogleTest, so that the same tools count it.
 */
#define _POSIX_C_SOURCE 200809L
#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <warpkem/warpkem.h>

/* ---- harness ------------------------------------------------------------------------------------------------------
 */

static int failures_here;

#define EXPECT(condition, ...)                                 \
  do {                                                         \
    if (!(condition)) {                                        \
      printf("%s:%d: " #condition "\n  ", __FILE__, __LINE__); \
      printf(__VA_ARGS__);                                     \
      printf("\n  last error: %s\n", warpkem_last_error());    \
      ++failures_here;                                         \
    }                                                          \
  } while (0)
#define EXPECT_STATUS(expected, call)                                                                        \
  do {                                                                                                       \
    const warpkem_status got_ = (call);                                                                      \
    EXPECT(got_ == (expected), "got %s, want %s", warpkem_status_name(got_), warpkem_status_name(expected)); \
  } while (0)

enum { most_items = 12, arena_bytes = 1 << 18 };

static warpkem_engine* engine;
static warpkem_algorithm current_algorithm;
static const warpkem_algorithm algorithms[] = {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024};

/* Everything that a call may write lies in the arena, which is compared byte by byte afterwards. */
static uint8_t arena[arena_bytes], before[arena_bytes];

static void snapshot(void) { memcpy(before, arena, sizeof arena); }
static void fresh_arena(void) {
  size_t i;
  for (i = 0; i < sizeof arena; ++i) arena[i] = (uint8_t)(i * 7 + 0xa5);
  snapshot();
}
static int arena_untouched(void) { return memcmp(arena, before, sizeof arena) == 0; }

static int all_zero(const uint8_t* data, size_t bytes) {
  size_t i;
  for (i = 0; i < bytes; ++i) {
    if (data[i] != 0) return 0;
  }
  return 1;
}

/* Good records of the current algorithm, packed. */
static struct {
  size_t ek_bytes, dk_bytes, c_bytes;
  uint8_t seeds[most_items * 64], m[most_items * 32];
  uint8_t *ek, *dk, *c, *K;
} good;

static void make_good(warpkem_algorithm algorithm) {
  size_t i;
  current_algorithm = algorithm;
  good.ek_bytes = warpkem_size(algorithm, WARPKEM_SIZE_EK);
  good.dk_bytes = warpkem_size(algorithm, WARPKEM_SIZE_DK);
  good.c_bytes = warpkem_size(algorithm, WARPKEM_SIZE_C);
  for (i = 0; i < sizeof good.seeds; ++i) good.seeds[i] = (uint8_t)(i * 29 + (i >> 5) + algorithm);
  for (i = 0; i < sizeof good.m; ++i) good.m[i] = (uint8_t)(i * 13 + (i >> 4) + 100);
  free(good.ek), free(good.dk), free(good.c), free(good.K);
  good.ek = malloc(most_items * good.ek_bytes);
  good.dk = malloc(most_items * good.dk_bytes);
  good.c = malloc(most_items * good.c_bytes);
  good.K = malloc((size_t)most_items * 32);
  {
    const warpkem_in seeds = {good.seeds, sizeof good.seeds, 0}, m = {good.m, sizeof good.m, 0};
    const warpkem_in ek_in = {good.ek, most_items * good.ek_bytes, 0};
    const warpkem_out ek = {good.ek, most_items * good.ek_bytes, 0}, dk = {good.dk, most_items * good.dk_bytes, 0};
    const warpkem_out c = {good.c, most_items * good.c_bytes, 0}, K = {good.K, (size_t)most_items * 32, 0};
    if (warpkem_keygen_derand(engine, algorithm, WARPKEM_DK_EXPANDED, most_items, seeds, ek, dk, NULL, NULL) ||
        warpkem_encaps_derand(engine, algorithm, most_items, ek_in, m, c, K, NULL, NULL)) {
      printf("no good records: %s\n", warpkem_last_error());
      exit(1);
    }
  }
}

/* ---- one description of all calls ---------------------------------------------------------------------------------
 */

enum array { SEEDS, M, EK_IN, DK_IN, C_IN, EK, DK, C, K, num_arrays };
static const char* const array_names[] = {"seeds", "m", "ek", "dk", "c", "ek", "dk", "c", "K"};

enum kind {
  KEYGEN,
  KEYGEN_DERAND,
  ENCAPS,
  ENCAPS_DERAND,
  DECAPS,
  CHECK_EK,
  CHECK_DK,
  PREPARE_EK,
  PREPARE_DK,
  ENCAPS_PREPARED,
  ENCAPS_PREPARED_DERAND,
  DECAPS_PREPARED,
  num_kinds
};
static const char* const kind_names[] = {"keygen",
                                         "keygen_derand",
                                         "encaps",
                                         "encaps_derand",
                                         "decaps",
                                         "check_ek",
                                         "check_dk",
                                         "prepare_ek",
                                         "prepare_dk",
                                         "encaps_prepared",
                                         "encaps_prepared_derand",
                                         "decaps_prepared"};
#define BIT(x) (1u << (x))
static const unsigned arrays_of[] = {BIT(EK) | BIT(DK),
                                     BIT(SEEDS) | BIT(EK) | BIT(DK),
                                     BIT(EK_IN) | BIT(C) | BIT(K),
                                     BIT(EK_IN) | BIT(M) | BIT(C) | BIT(K),
                                     BIT(DK_IN) | BIT(C_IN) | BIT(K),
                                     BIT(EK_IN),
                                     BIT(DK_IN),
                                     BIT(EK_IN),
                                     BIT(DK_IN),
                                     BIT(C) | BIT(K),
                                     BIT(M) | BIT(C) | BIT(K),
                                     BIT(C_IN) | BIT(K)};

struct call {
  enum kind kind;
  warpkem_engine* engine;
  warpkem_algorithm algorithm;
  uint32_t format;
  size_t count;
  warpkem_out array[num_arrays]; /* inputs too: data is only read */
  uint8_t* statuses;
  size_t* failed;
  warpkem_keys* keys;
  const uint32_t* index;
  warpkem_keys** made;
};

static size_t record_of(enum array array, uint32_t format) {
  const size_t records[] = {64,           32, good.ek_bytes, good.dk_bytes, good.c_bytes, good.ek_bytes, good.dk_bytes,
                            good.c_bytes, 32};
  return (array == DK || array == DK_IN) && format == WARPKEM_DK_SEED ? 64 : records[array];
}

static warpkem_in in(const struct call* call, enum array array) {
  const warpkem_in in = {call->array[array].data, call->array[array].bytes, call->array[array].stride};
  return in;
}

static warpkem_status invoke(const struct call* x) {
  switch (x->kind) {
    case KEYGEN:
      return warpkem_keygen(x->engine, x->algorithm, x->format, x->count, x->array[EK], x->array[DK], x->statuses,
                            x->failed);
    case KEYGEN_DERAND:
      return warpkem_keygen_derand(x->engine, x->algorithm, x->format, x->count, in(x, SEEDS), x->array[EK],
                                   x->array[DK], x->statuses, x->failed);
    case ENCAPS:
      return warpkem_encaps(x->engine, x->algorithm, x->count, in(x, EK_IN), x->array[C], x->array[K], x->statuses,
                            x->failed);
    case ENCAPS_DERAND:
      return warpkem_encaps_derand(x->engine, x->algorithm, x->count, in(x, EK_IN), in(x, M), x->array[C], x->array[K],
                                   x->statuses, x->failed);
    case DECAPS:
      return warpkem_decaps(x->engine, x->algorithm, x->format, x->count, in(x, DK_IN), in(x, C_IN), x->array[K],
                            x->statuses, x->failed);
    case CHECK_EK:
      return warpkem_check_ek(x->engine, x->algorithm, x->count, in(x, EK_IN), x->statuses, x->failed);
    case CHECK_DK:
      return warpkem_check_dk(x->engine, x->algorithm, x->count, in(x, DK_IN), x->statuses, x->failed);
    case PREPARE_EK:
      return warpkem_prepare_ek(x->engine, x->algorithm, x->count, in(x, EK_IN), x->statuses, x->failed, x->made);
    case PREPARE_DK:
      return warpkem_prepare_dk(x->engine, x->algorithm, x->format, x->count, in(x, DK_IN), x->statuses, x->failed,
                                x->made);
    case ENCAPS_PREPARED:
      return warpkem_encaps_prepared(x->engine, x->keys, x->index, x->count, x->array[C], x->array[K], x->statuses,
                                     x->failed);
    case ENCAPS_PREPARED_DERAND:
      return warpkem_encaps_prepared_derand(x->engine, x->keys, x->index, x->count, in(x, M), x->array[C], x->array[K],
                                            x->statuses, x->failed);
    case DECAPS_PREPARED:
      return warpkem_decaps_prepared(x->engine, x->keys, x->index, x->count, in(x, C_IN), x->array[K], x->statuses,
                                     x->failed);
    default:
      abort();
  }
}

static warpkem_keys *ek_set, *dk_set, *made_keys;

static warpkem_keys* prepared(int is_dk, uint32_t format, const uint8_t* data, size_t count) {
  warpkem_keys* keys = NULL;
  const warpkem_in records = {data, count * record_of(is_dk ? DK_IN : EK_IN, format), 0};
  const warpkem_status status =
      is_dk ? warpkem_prepare_dk(engine, current_algorithm, format, count, records, NULL, NULL, &keys)
            : warpkem_prepare_ek(engine, current_algorithm, count, records, NULL, NULL, &keys);
  EXPECT((status == WARPKEM_OK || status == WARPKEM_ITEM_FAILED) && keys != NULL, "status %u", status);
  return keys;
}

/* A call on `count` good items: its arrays lie in a fresh arena, `gap` bytes apart, with good inputs filled in. */
static struct call good_call(enum kind kind, uint32_t format, size_t count, size_t gap) {
  struct call call;
  size_t at = 256, i;
  int a;
  memset(&call, 0, sizeof call);
  call.kind = kind;
  call.engine = engine;
  call.algorithm = current_algorithm;
  call.format = format;
  call.count = count;
  fresh_arena();
  for (a = 0; a < num_arrays; ++a) {
    const size_t record = record_of((enum array)a, format), stride = record + gap;
    const uint8_t* from = a == SEEDS                                ? good.seeds
                          : a == M                                  ? good.m
                          : a == EK_IN                              ? good.ek
                          : a == DK_IN && format == WARPKEM_DK_SEED ? good.seeds
                          : a == DK_IN                              ? good.dk
                          : a == C_IN                               ? good.c
                                                                    : NULL;
    if ((arrays_of[kind] & BIT(a)) == 0) continue;
    call.array[a].data = arena + at;
    call.array[a].bytes = (count - 1) * stride + record;
    call.array[a].stride = gap == 0 ? 0 : stride;
    for (i = 0; from != NULL && i < count; ++i) memcpy(arena + at + i * stride, from + i * record, record);
    at += count * stride + 61;
  }
  call.statuses = arena + at;
  at = (at + count + 77) & ~(size_t)15;
  call.failed = (size_t*)(void*)(arena + at);
  if (at + 64 > sizeof arena) abort();
  if (kind == ENCAPS_PREPARED || kind == ENCAPS_PREPARED_DERAND) call.keys = ek_set;
  if (kind == DECAPS_PREPARED) call.keys = dk_set;
  made_keys = (warpkem_keys*)(void*)arena; /* anything that is not NULL */
  if (kind == PREPARE_EK || kind == PREPARE_DK) call.made = &made_keys;
  snapshot();
  return call;
}

/* That `call`, which is wrong in one thing, is refused with `status`, writes nothing, and is named by its text. */
static void expect_refused(const struct call* call, warpkem_status status, const char* text, const char* what) {
  warpkem_status got;
  snapshot();
  got = invoke(call);
  EXPECT(got == status, "%s, %s: got %s", kind_names[call->kind], what, warpkem_status_name(got));
  EXPECT(arena_untouched(), "%s, %s: something was written", kind_names[call->kind], what);
  EXPECT(strstr(warpkem_last_error(), text) != NULL, "%s, %s: the text does not name '%s'", kind_names[call->kind],
         what, text);
  if (call->made != NULL) EXPECT(*call->made == NULL, "%s, %s: a handle was made", kind_names[call->kind], what);
}

/* After a call: only the records of its outputs, its statuses and `failed` may have changed. */
static void expect_only_outputs_written(const struct call* call) {
  static uint8_t allowed[arena_bytes];
  size_t i;
  int a;
  memset(allowed, 0, sizeof allowed);
  for (a = EK; a <= K; ++a) {
    const size_t record = record_of((enum array)a, call->format);
    const size_t stride = call->array[a].stride != 0 ? call->array[a].stride : record;
    if ((arrays_of[call->kind] & BIT(a)) == 0) continue;
    for (i = 0; i < call->count; ++i) memset(allowed + (call->array[a].data - arena) + i * stride, 1, record);
  }
  if (call->statuses != NULL) memset(allowed + (call->statuses - arena), 1, call->count);
  if (call->failed != NULL) memset(allowed + ((uint8_t*)call->failed - arena), 1, sizeof(size_t));
  for (i = 0; i < sizeof arena; ++i) {
    if (!allowed[i] && arena[i] != before[i]) {
      EXPECT(0, "%s: byte %zu, outside every output record, was written", kind_names[call->kind], i);
      return;
    }
  }
}

static const uint8_t* item(const struct call* call, enum array array, size_t i) {
  const size_t record = record_of(array, call->format);
  return call->array[array].data + i * (call->array[array].stride != 0 ? call->array[array].stride : record);
}

/* That item i of a good call has the outputs that it must have. */
static void expect_item_good(const struct call* call, size_t i) {
  const char* name = kind_names[call->kind];
  const int random = call->kind == KEYGEN || call->kind == ENCAPS || call->kind == ENCAPS_PREPARED;
  const int first_key = call->keys != NULL && call->index == NULL;
  if (call->statuses != NULL)
    EXPECT(call->statuses[i] == WARPKEM_OK, "%s: item %zu has status %u", name, i, call->statuses[i]);
  if (random) {
    if (arrays_of[call->kind] & BIT(K)) EXPECT(!all_zero(item(call, K, i), 32), "%s: K of item %zu is zero", name, i);
    return;
  }
  if (first_key && i != 0) return; /* only item 0 goes with the good record of its number */
  if (arrays_of[call->kind] & BIT(EK)) {
    EXPECT(memcmp(item(call, EK, i), good.ek + i * good.ek_bytes, good.ek_bytes) == 0, "%s: ek of item %zu", name, i);
  }
  if (arrays_of[call->kind] & BIT(DK)) {
    const size_t record = record_of(DK, call->format);
    const uint8_t* const from = call->format == WARPKEM_DK_SEED ? good.seeds : good.dk;
    EXPECT(memcmp(item(call, DK, i), from + i * record, record) == 0, "%s: dk of item %zu", name, i);
  }
  if (arrays_of[call->kind] & BIT(C)) {
    EXPECT(memcmp(item(call, C, i), good.c + i * good.c_bytes, good.c_bytes) == 0, "%s: c of item %zu", name, i);
  }
  if (arrays_of[call->kind] & BIT(K)) {
    EXPECT(memcmp(item(call, K, i), good.K + i * 32, 32) == 0, "%s: K of item %zu", name, i);
  }
}

static void expect_item_failed(const struct call* call, size_t i, warpkem_status status) {
  int a;
  if (call->statuses != NULL) {
    EXPECT(call->statuses[i] == status, "%s: item %zu has status %u", kind_names[call->kind], i, call->statuses[i]);
  }
  for (a = EK; a <= K; ++a) {
    if ((arrays_of[call->kind] & BIT(a)) == 0) continue;
    EXPECT(all_zero(item(call, (enum array)a, i), record_of((enum array)a, call->format)),
           "%s: %s of failed item %zu is not zero", kind_names[call->kind], array_names[a], i);
  }
}

static int takes_format(enum kind kind) {
  return kind == KEYGEN || kind == KEYGEN_DERAND || kind == DECAPS || kind == PREPARE_DK;
}

/* ---- tests --------------------------------------------------------------------------------------------------------
 */

static void SizesAreThoseOfTheStandard(void) {
  const size_t expected[3][7] = {
      {800, 1632, 64, 768, 32, 64, 32}, {1184, 2400, 64, 1088, 32, 64, 32}, {1568, 3168, 64, 1568, 32, 64, 32}};
  uint32_t i, what;
  for (i = 0; i < 3; ++i) {
    for (what = 1; what <= 7; ++what)
      EXPECT(warpkem_size(i + 1, what) == expected[i][what - 1], "set %u, size %u", i + 1, what);
    EXPECT(warpkem_size(i + 1, 0) == 0 && warpkem_size(i + 1, 8) == 0 && warpkem_size(i + 1, UINT32_MAX) == 0,
           "no such thing");
  }
  EXPECT(warpkem_size(0, 1) == 0 && warpkem_size(10, 1) == 0 && warpkem_size(UINT32_MAX, 1) == 0, "no such algorithm");
}

static void AlgorithmsAreFoundByNameAliasAndOid(void) {
  const char* const names[3][5] = {{"ML-KEM-512", "ml-kem-512", "MLKEM512", "MlKem512", "2.16.840.1.101.3.4.4.1"},
                                   {"ML-KEM-768", "mL-kEm-768", "MLKEM768", "mlkem768", "2.16.840.1.101.3.4.4.2"},
                                   {"ML-KEM-1024", "ml-KEM-1024", "MLKEM1024", "mlkem1024", "2.16.840.1.101.3.4.4.3"}};
  const char* const unknown[] = {"",
                                 " ",
                                 "ML-KEM",
                                 "ML-KEM-76",
                                 "ML-KEM-7688",
                                 " ML-KEM-768",
                                 "ML-KEM-768 ",
                                 "2.16.840.1.101.3.4.4",
                                 "2.16.840.1.101.3.4.4.4",
                                 "Kyber768",
                                 "ML-KEM-768\n"};
  size_t i, j;
  for (i = 0; i < 3; ++i) {
    for (j = 0; j < 5; ++j) EXPECT(warpkem_algorithm_by_name(names[i][j]) == i + 1, "%s", names[i][j]);
    EXPECT(strcmp(warpkem_algorithm_name((warpkem_algorithm)(i + 1)), names[i][0]) == 0, "name %zu", i);
    EXPECT(strcmp(warpkem_algorithm_oid((warpkem_algorithm)(i + 1)), names[i][4]) == 0, "oid %zu", i);
  }
  for (i = 0; i < sizeof unknown / sizeof *unknown; ++i)
    EXPECT(warpkem_algorithm_by_name(unknown[i]) == 0, "'%s'", unknown[i]);
  EXPECT(warpkem_algorithm_by_name("513") == 2 && warpkem_algorithm_by_name("0X0041") == 2 &&
             warpkem_algorithm_by_name("0") == 0 && warpkem_algorithm_by_name("0x0000") == 0 &&
             warpkem_algorithm_by_name("0x41") == 0 && warpkem_algorithm_by_name("0513") == 0,
         "numbers");
  EXPECT(warpkem_algorithm_by_name(NULL) == 0, "NULL");
  EXPECT(warpkem_algorithm_name(0) == NULL && warpkem_algorithm_name(10) == NULL && warpkem_algorithm_oid(0) == NULL &&
             warpkem_algorithm_oid(99) == NULL,
         "unknown");
}

static void StatusesHaveTheirNumbersAndNames(void) {
  const char* const names[] = {"WARPKEM_OK",
                               "WARPKEM_INVALID_ARGUMENT",
                               "WARPKEM_ITEM_FAILED",
                               "WARPKEM_INVALID_EK",
                               "WARPKEM_INVALID_DK",
                               "WARPKEM_UNSUPPORTED",
                               "WARPKEM_OUT_OF_MEMORY",
                               "WARPKEM_RNG_FAILED",
                               "WARPKEM_BACKEND_FAILED",
                               "WARPKEM_INVALID_KEY_INDEX",
                               "WARPKEM_FORKED",
                               "WARPKEM_WOULD_BLOCK",
                               "WARPKEM_CANCELLED",
                               "WARPKEM_EXPIRED",
                               "WARPKEM_ABORTED",
                               "WARPKEM_WOULD_DEADLOCK",
                               "WARPKEM_INVALID_C",
                               "WARPKEM_INVALID_RANDOMNESS",
                               "WARPKEM_INVALID_ENCODING",
                               "WARPKEM_KEY_MISMATCH",
                               "WARPKEM_PAIRWISE_FAILED",
                               "WARPKEM_INVALID_TAG"};
  const warpkem_status statuses[] = {WARPKEM_OK,
                                     WARPKEM_INVALID_ARGUMENT,
                                     WARPKEM_ITEM_FAILED,
                                     WARPKEM_INVALID_EK,
                                     WARPKEM_INVALID_DK,
                                     WARPKEM_UNSUPPORTED,
                                     WARPKEM_OUT_OF_MEMORY,
                                     WARPKEM_RNG_FAILED,
                                     WARPKEM_BACKEND_FAILED,
                                     WARPKEM_INVALID_KEY_INDEX,
                                     WARPKEM_FORKED,
                                     WARPKEM_WOULD_BLOCK,
                                     WARPKEM_CANCELLED,
                                     WARPKEM_EXPIRED,
                                     WARPKEM_ABORTED,
                                     WARPKEM_WOULD_DEADLOCK,
                                     WARPKEM_INVALID_C,
                                     WARPKEM_INVALID_RANDOMNESS,
                                     WARPKEM_INVALID_ENCODING,
                                     WARPKEM_KEY_MISMATCH,
                                     WARPKEM_PAIRWISE_FAILED,
                                     WARPKEM_INVALID_TAG};
  uint32_t i;
  for (i = 0; i < 22; ++i) EXPECT(statuses[i] == i && strcmp(warpkem_status_name(i), names[i]) == 0, "status %u", i);
  EXPECT(warpkem_status_name(250) != NULL && warpkem_status_name(UINT32_MAX) != NULL,
         "an unknown status has a name too");
  EXPECT(WARPKEM_DK_EXPANDED == 0 && WARPKEM_DK_SEED == 1, "formats");
  EXPECT(strcmp(warpkem_version(), WARPKEM_VERSION_STRING) == 0, "%s", warpkem_version());
  EXPECT(warpkem_cpu_features() != NULL, "features");
}

static void NothingIsDoneForNoItems(void) {
  int kind, with_engine;
  for (kind = 0; kind < num_kinds; ++kind) {
    for (with_engine = 0; with_engine < 2; ++with_engine) {
      struct call call;
      size_t failed = 99;
      warpkem_keys* made = NULL;
      memset(&call, 0, sizeof call);
      call.kind = (enum kind)kind;
      call.engine = with_engine ? engine : NULL;
      call.algorithm = current_algorithm;
      EXPECT_STATUS(WARPKEM_OK, invoke(&call));
      call.failed = &failed;
      call.made = &made;
      EXPECT_STATUS(WARPKEM_OK, invoke(&call));
      EXPECT(failed == 0, "%s: failed is %zu", kind_names[kind], failed);
      warpkem_keys_release(made);
    }
  }
  fresh_arena(); /* and records are left alone */
  for (kind = 0; kind < num_kinds; ++kind) {
    struct call call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 2, 0);
    call.count = 0;
    *call.failed = 5;
    snapshot();
    EXPECT_STATUS(WARPKEM_OK, invoke(&call));
    EXPECT(*call.failed == 0, "%s", kind_names[kind]);
    *call.failed = 5;
    EXPECT(arena_untouched(), "%s", kind_names[kind]);
    if (call.made != NULL) {
      EXPECT(warpkem_keys_count(made_keys) == 0, "an empty set");
      warpkem_keys_release(made_keys);
    }
  }
}

static void GoodCallsWriteTheirRecordsAndNothingElse(void) {
  const size_t gaps[] = {0, 1, 64, 333};
  int kind, g, without;
  uint32_t format;
  size_t i;
  for (kind = 0; kind < num_kinds; ++kind) {
    for (g = 0; g < 4; ++g) {
      for (format = 0; format <= (takes_format((enum kind)kind) ? 1u : 0u); ++format) {
        for (without = 0; without < 4; ++without) { /* statuses and failed may be NULL, each and both */
          struct call call = good_call((enum kind)kind, format, 5, gaps[g]);
          if (without & 1) call.statuses = NULL;
          if (without & 2) call.failed = NULL;
          EXPECT_STATUS(WARPKEM_OK, invoke(&call));
          if (call.failed != NULL) EXPECT(*call.failed == 0, "%s", kind_names[kind]);
          for (i = 0; i < call.count; ++i) expect_item_good(&call, i);
          expect_only_outputs_written(&call);
          if (call.made != NULL) warpkem_keys_release(made_keys);
        }
      }
    }
  }
}

static void MissingPointersAreRefused(void) {
  int kind, a;
  for (kind = 0; kind < num_kinds; ++kind) {
    struct call call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 3, 0);
    call.engine = NULL;
    expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "engine", "engine NULL");
    if (call.keys != NULL) {
      call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 3, 0);
      call.keys = NULL;
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "keys", "keys NULL");
    }
    if (call.made != NULL) {
      call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 3, 0);
      call.made = NULL;
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "keys", "where to put the handle NULL");
    }
    for (a = 0; a < num_arrays; ++a) {
      if ((arrays_of[kind] & BIT(a)) == 0) continue;
      call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 3, 0);
      call.array[a].data = NULL;
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "data NULL");
    }
  }
}

static void StridesBytesAndOverflowAreChecked(void) {
  int kind, a;
  uint32_t format;
  for (kind = 0; kind < num_kinds; ++kind) {
    for (format = 0; format <= (takes_format((enum kind)kind) ? 1u : 0u); ++format) {
      for (a = 0; a < num_arrays; ++a) {
        const size_t record = record_of((enum array)a, format);
        const size_t strides[] = {1, record / 2, record - 1};
        size_t s;
        struct call call;
        if ((arrays_of[kind] & BIT(a)) == 0) continue;
        for (s = 0; s < 3; ++s) {
          call = good_call((enum kind)kind, format, 3, 0);
          call.array[a].stride = strides[s];
          expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "stride below the record");
        }
        call = good_call((enum kind)kind, format, 1, 0); /* of a single item too */
        call.array[a].stride = record - 1;
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "stride below the record, one item");
        call = good_call((enum kind)kind, format, 3, 16);
        call.array[a].bytes -= 1;
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "one byte short");
        call = good_call((enum kind)kind, format, 3, 0);
        call.array[a].bytes = 0;
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "no bytes");
        call = good_call((enum kind)kind, format, 3, 0);
        call.array[a].stride = SIZE_MAX / 2 + 1; /* times two wraps to 0 */
        call.array[a].bytes = SIZE_MAX;
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "stride that overflows");
        call = good_call((enum kind)kind, format, 3, 0);
        call.array[a].stride = SIZE_MAX / 2 - 100; /* the end is in range, the address is not */
        call.array[a].bytes = SIZE_MAX;
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, array_names[a], "address that overflows");
      }
      {
        struct call call = good_call((enum kind)kind, format, 3, 0);
        const size_t counts[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 32, SIZE_MAX / 64 + 2};
        size_t i;
        for (i = 0; i < 4; ++i) {
          call.count = counts[i];
          for (a = 0; a < num_arrays; ++a) call.array[a].bytes = SIZE_MAX;
          expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "", "count that overflows");
        }
      }
    }
  }
}

static void UnknownAlgorithmsAndFormatsAreUnsupported(void) {
  const warpkem_algorithm unknown[] = {0, 10, 31, 32, 255, UINT32_MAX};
  const uint32_t formats[] = {2, 3, 256, UINT32_MAX};
  int kind;
  size_t i;
  for (kind = 0; kind < num_kinds; ++kind) {
    struct call call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 2, 0);
    for (i = 0; i < sizeof unknown / sizeof *unknown && call.keys == NULL; ++i) {
      call.algorithm = unknown[i];
      expect_refused(&call, WARPKEM_UNSUPPORTED, "algorithm", "unknown algorithm");
    }
    call = good_call((enum kind)kind, WARPKEM_DK_EXPANDED, 2, 0);
    for (i = 0; i < sizeof formats / sizeof *formats && takes_format((enum kind)kind); ++i) {
      call.format = formats[i];
      expect_refused(&call, WARPKEM_UNSUPPORTED, "format", "unknown format");
    }
  }
}

/* Puts two arrays of `call` into one piece of memory: a at byte `at_a`, b at `at_b`, both `stride` apart. */
static void place(struct call* call, enum array a, size_t at_a, enum array b, size_t at_b, size_t stride_a,
                  size_t stride_b) {
  uint8_t* const shared = arena + 150000;
  const size_t record_a = record_of(a, call->format), record_b = record_of(b, call->format);
  size_t i;
  for (i = 0; i < call->count; ++i) {
    if (a < EK) memcpy(shared + at_a + i * stride_a, item(call, a, i), record_a);
    if (b < EK) memcpy(shared + at_b + i * stride_b, item(call, b, i), record_b);
  }
  call->array[a].data = shared + at_a;
  call->array[b].data = shared + at_b;
  call->array[a].stride = stride_a;
  call->array[b].stride = stride_b;
  call->array[a].bytes = (call->count - 1) * stride_a + record_a;
  call->array[b].bytes = (call->count - 1) * stride_b + record_b;
  snapshot();
}

static void expect_all_good(const struct call* call, const char* what) {
  const warpkem_status status = invoke(call);
  size_t i;
  EXPECT(status == WARPKEM_OK, "%s, %s: %s", kind_names[call->kind], what, warpkem_status_name(status));
  for (i = 0; i < call->count; ++i) expect_item_good(call, i);
  expect_only_outputs_written(call);
}

static void ArraysOfStructsAreFineAndSharedBytesAreNot(void) {
  int kind, x, y;
  for (kind = 0; kind < num_kinds; ++kind) {
    for (x = 0; x < num_arrays; ++x) {
      for (y = 0; y < num_arrays; ++y) {
        const enum array a = (enum array)x, b = (enum array)y;
        const size_t record_a = record_of(a, 0), record_b = record_of(b, 0), both = record_a + record_b;
        struct call call;
        if (x == y || (arrays_of[kind] & BIT(x)) == 0 || (arrays_of[kind] & BIT(y)) == 0) continue;
        if (x < EK && y < EK) continue; /* two inputs: below */
        if (kind == PREPARE_EK || kind == PREPARE_DK) continue;

        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 0, b, record_a, both, both);
        expect_all_good(&call, "members of a struct, touching");
        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 3, b, record_a + 3 + 5, both + 11, both + 11);
        expect_all_good(&call, "members of a struct with padding");
        call = good_call((enum kind)kind, 0, 4, 0); /* b's item 0 lies after a's item 1 */
        place(&call, a, 0, b, both + record_a, both, both);
        expect_all_good(&call, "members of a struct, shifted by one record");
        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 0, b, record_a - 1, both, both);
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "overlaps", "last byte shared");
        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 0, b, record_a + 1, both, both);
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "overlaps", "first byte of the next shared");
        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 0, b, 0, both, both);
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "overlaps", "the same place");
        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 0, b, 3 * both + record_a - 1, both, both);
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "overlaps", "last byte of the last record shared");
        call = good_call((enum kind)kind, 0, 4, 0);
        place(&call, a, 0, b, 3 * both + record_a, both, both);
        expect_all_good(&call, "one after the other");
        call = good_call((enum kind)kind, 0, 4, 0); /* no byte shared, but unequal strides in one range */
        place(&call, a, 0, b, record_a, 4 * both, both + 1);
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "overlaps", "unequal strides");
        call = good_call((enum kind)kind, 0, 1, 0); /* of one item the stride does not matter */
        place(&call, a, 0, b, record_a, both, 2 * both);
        expect_all_good(&call, "one item");
      }
    }
  }
}

static void InputsMayOverlap(void) {
  struct call call = good_call(DECAPS, 0, 4, 0);
  size_t i;
  call.array[DK_IN].data =
      arena + 100000; /* four times one dk and one c, at stride 0 of a table of one: all items alike */
  for (i = 0; i < 4; ++i) memcpy(arena + 100000 + i * good.dk_bytes, good.dk, good.dk_bytes);
  /* c lies inside dk's range: an array of structs whose other member is a part of the first */
  call.array[C_IN].data = arena + 100000;
  call.array[C_IN].bytes = 4 * good.dk_bytes;
  call.array[C_IN].stride = good.dk_bytes;
  call.array[DK_IN].bytes = 4 * good.dk_bytes;
  EXPECT_STATUS(WARPKEM_OK, invoke(&call));
  EXPECT(memcmp(item(&call, K, 0), item(&call, K, 3), 32) == 0, "equal inputs, equal K");
}

static void BookkeepingMayNotOverlapEither(void) {
  int kind, a;
  for (kind = 0; kind < num_kinds; ++kind) {
    for (a = 0; a < num_arrays; ++a) {
      struct call call;
      if ((arrays_of[kind] & BIT(a)) == 0) continue;
      call = good_call((enum kind)kind, 0, 3, 0);
      call.statuses = call.array[a].data + call.array[a].bytes - 1;
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "statuses", "statuses in an array");
      call = good_call((enum kind)kind, 0, 3, 0);
      call.statuses = call.array[a].data - 2;
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "statuses", "statuses reach into an array");
      call = good_call((enum kind)kind, 0, 3, 0);
      call.failed = (size_t*)(((uintptr_t)call.array[a].data + 64) & ~(uintptr_t)15);
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "failed", "failed in an array");
    }
    {
      struct call call = good_call((enum kind)kind, 0, 3, 0);
      call.failed = (size_t*)((uintptr_t)call.statuses & ~(uintptr_t)7);
      call.statuses = (uint8_t*)call.failed;
      expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "failed", "failed in statuses");
      if (call.keys != NULL) {
        call = good_call((enum kind)kind, 0, 3, 0);
        call.index = (uint32_t*)(void*)(arena + 240000);
        memset(arena + 240000, 0, 12);
        call.statuses = arena + 240011;
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "statuses", "statuses in the indices");
        call = good_call((enum kind)kind, 0, 3, 0);
        call.index = (uint32_t*)(void*)(((uintptr_t)call.array[K].data + 32) & ~(uintptr_t)3);
        expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "index", "indices in K");
      }
    }
  }
}

/* Makes the key of item i of `call` bad: a coefficient of ek becomes 4095, or a byte of dk's ek changes. */
static void spoil(const struct call* call, size_t i) {
  uint8_t* const ek = (arrays_of[call->kind] & BIT(EK_IN)) ? (uint8_t*)item(call, EK_IN, i) : NULL;
  uint8_t* const dk = (arrays_of[call->kind] & BIT(DK_IN)) ? (uint8_t*)item(call, DK_IN, i) : NULL;
  if (ek != NULL) ek[(i * 37) % 96 * 3] = 0xff, ek[(i * 37) % 96 * 3 + 1] |= 0x0f;
  if (dk != NULL) dk[good.dk_bytes - 64 - 1 - i] ^= 0x10;
}

static void BadItemsFailAlone(void) {
  const enum kind kinds[] = {ENCAPS, ENCAPS_DERAND, DECAPS, CHECK_EK, CHECK_DK, PREPARE_EK, PREPARE_DK};
  const size_t n = 9;
  size_t x, i, pattern;
  for (x = 0; x < sizeof kinds / sizeof *kinds; ++x) {
    for (pattern = 0; pattern < n + 3; ++pattern) { /* each one, first and last, all, every other */
      const int without = (int)(pattern % 4);
      struct call call = good_call(kinds[x], 0, n, pattern % 2 ? 5 : 0);
      uint8_t bad[16] = {0};
      size_t num_bad = 0;
      warpkem_status status;
      char text[32];
      const warpkem_status why = arrays_of[kinds[x]] & BIT(EK_IN) ? WARPKEM_INVALID_EK : WARPKEM_INVALID_DK;
      for (i = 0; i < n; ++i) {
        bad[i] = pattern < n ? i == pattern : pattern == n ? i == 0 || i == n - 1 : pattern == n + 1 ? 1 : i % 2 == 0;
        num_bad += bad[i];
        if (bad[i]) spoil(&call, i);
      }
      if (without & 1) call.statuses = NULL;
      if (without & 2) call.failed = NULL;
      snapshot();
      status = invoke(&call);
      EXPECT(status == WARPKEM_ITEM_FAILED, "%s: %s", kind_names[kinds[x]], warpkem_status_name(status));
      if (call.failed != NULL) EXPECT(*call.failed == num_bad, "%zu failed", *call.failed);
      for (i = 0; i < n; ++i) bad[i] ? expect_item_failed(&call, i, why) : expect_item_good(&call, i);
      expect_only_outputs_written(&call);
      for (i = 0; !bad[i]; ++i) {
      }
      sprintf(text, "item %zu", i);
      EXPECT(strstr(warpkem_last_error(), text) != NULL &&
                 strstr(warpkem_last_error(), why == WARPKEM_INVALID_EK ? "7.2" : "7.3") != NULL,
             "the text names neither the first bad item nor the rule");
      if (call.made != NULL) {
        EXPECT(made_keys != NULL && warpkem_keys_count(made_keys) == n, "the handle is made all the same");
        warpkem_keys_release(made_keys);
      }
    }
  }
}

static void EveryCoefficientOfEkIsChecked(void) {
  const size_t coefficients = (good.ek_bytes - 32) / 384 * 256;
  size_t i;
  for (i = 0; i < coefficients; i += i % 7 + 1) {
    struct call call = good_call(CHECK_EK, 0, 1, 0);
    uint8_t* const three = (uint8_t*)item(&call, EK_IN, 0) + i / 2 * 3;
    const uint32_t values[] = {3329, 4095, 3328};
    int v;
    for (v = 0; v < 3; ++v) {
      if (i % 2 == 0) {
        three[0] = (uint8_t)values[v], three[1] = (uint8_t)((three[1] & 0xf0) | (values[v] >> 8));
      } else {
        three[1] = (uint8_t)((three[1] & 0x0f) | (values[v] << 4)), three[2] = (uint8_t)(values[v] >> 4);
      }
      EXPECT(invoke(&call) == (values[v] < 3329 ? WARPKEM_OK : WARPKEM_ITEM_FAILED), "coefficient %zu = %u", i,
             values[v]);
    }
  }
}

/* The first coefficient of `encoded` that stays below 4096 with q added, made so. */
static void add_q_to_a_coefficient(uint8_t* encoded) {
  for (;; encoded += 3) {
    const uint32_t x = encoded[0] + 256u * (encoded[1] & 15u);
    if (x + 3329 > 4095) continue;
    encoded[0] = (uint8_t)(x + 3329);
    encoded[1] = (uint8_t)((encoded[1] & 0xf0) | ((x + 3329) >> 8));
    return;
  }
}

static void CoefficientsOfDkAreReducedModQ(void) {
  struct call call = good_call(DECAPS, 0, 3, 0);
  uint8_t* dk = (uint8_t*)item(&call, DK_IN, 1);
  uint8_t* const ek_inside = dk + good.ek_bytes - 32;
  unsigned digest_bytes = 32;
  warpkem_keys* keys;
  const uint32_t index[] = {0, 1, 2};
  struct call with_set;
  add_q_to_a_coefficient(dk);
  snapshot();
  expect_all_good(&call, "s not reduced");

  /* In a dk the modulus check of ek does not apply: with the right hash such a key is taken, too. K differs, for H(ek)
   * does; but all paths must agree on it. */
  call = good_call(DECAPS, 0, 3, 0);
  dk = (uint8_t*)item(&call, DK_IN, 1);
  add_q_to_a_coefficient(ek_inside);
  EVP_Digest(ek_inside, good.ek_bytes, dk + good.dk_bytes - 64, &digest_bytes, EVP_sha3_256(), NULL);
  EXPECT_STATUS(WARPKEM_OK, invoke(&call));
  EXPECT(!all_zero(item(&call, K, 1), 32), "K");
  keys = prepared(1, 0, call.array[DK_IN].data, 3);
  with_set = call;
  with_set.kind = DECAPS_PREPARED;
  with_set.keys = keys;
  with_set.index = index;
  with_set.array[K].data = arena + 200000;
  EXPECT_STATUS(WARPKEM_OK, invoke(&with_set));
  EXPECT(memcmp(arena + 200000, item(&call, K, 0), 96) == 0, "prepared or not, K is the same");
  warpkem_keys_release(keys);
  call.kind = CHECK_DK;
  EXPECT_STATUS(WARPKEM_OK, invoke(&call));
}

static void CiphertextsAreNeverRefused(void) {
  struct call call = good_call(DECAPS, 0, 6, 0);
  size_t i;
  memset((uint8_t*)item(&call, C_IN, 0), 0, good.c_bytes);
  memset((uint8_t*)item(&call, C_IN, 1), 0xff, good.c_bytes);
  ((uint8_t*)item(&call, C_IN, 2))[0] ^= 1;
  ((uint8_t*)item(&call, C_IN, 3))[good.c_bytes - 1] ^= 0x80;
  EXPECT_STATUS(WARPKEM_OK, invoke(&call));
  EXPECT(*call.failed == 0, "failed");
  for (i = 0; i < 6; ++i) EXPECT(call.statuses[i] == 0, "item %zu", i);
  for (i = 0; i < 4; ++i) {
    EXPECT(memcmp(item(&call, K, i), good.K + i * 32, 32) != 0 && !all_zero(item(&call, K, i), 32),
           "item %zu is not rejected", i);
  }
  expect_item_good(&call, 4);
  expect_item_good(&call, 5);
}

static void PreparedSetsKeepBadKeysAndFailTheirItems(void) {
  const size_t n = 6;
  const uint32_t index[] = {5, 1, 0, 6, 3, UINT32_MAX, 2, 5, 4};
  const size_t count = sizeof index / sizeof *index;
  size_t i;
  int is_dk;
  for (is_dk = 0; is_dk < 2; ++is_dk) {
    const enum kind prepare = is_dk ? PREPARE_DK : PREPARE_EK, use = is_dk ? DECAPS_PREPARED : ENCAPS_PREPARED_DERAND;
    const warpkem_status why = is_dk ? WARPKEM_INVALID_DK : WARPKEM_INVALID_EK;
    struct call call = good_call(prepare, 0, n, 0);
    warpkem_keys* keys;
    spoil(&call, 1);
    spoil(&call, 3);
    EXPECT_STATUS(WARPKEM_ITEM_FAILED, invoke(&call));
    EXPECT(*call.failed == 2 && call.statuses[1] == why && call.statuses[3] == why && call.statuses[0] == 0,
           "statuses");
    keys = made_keys;
    EXPECT(warpkem_keys_count(keys) == n && warpkem_keys_bytes_per_key(keys) > 32, "queries");

    call = good_call(use, 0, count, 0);
    call.keys = keys;
    call.index = index;
    for (i = 0; i < count; ++i) { /* item i's inputs are those of its key */
      const size_t key = index[i] < n ? index[i] : 0;
      if (is_dk) {
        memcpy((uint8_t*)item(&call, C_IN, i), good.c + key * good.c_bytes, good.c_bytes);
      } else {
        memcpy((uint8_t*)item(&call, M, i), good.m + key * 32, 32);
      }
    }
    snapshot();
    EXPECT_STATUS(WARPKEM_ITEM_FAILED, invoke(&call));
    EXPECT(*call.failed == 4, "%zu failed", *call.failed);
    for (i = 0; i < count; ++i) {
      if (index[i] >= n) {
        expect_item_failed(&call, i, WARPKEM_INVALID_KEY_INDEX);
      } else if (index[i] == 1 || index[i] == 3) {
        expect_item_failed(&call, i, why);
      } else {
        EXPECT(call.statuses[i] == 0 && memcmp(item(&call, K, i), good.K + index[i] * 32, 32) == 0, "item %zu", i);
      }
    }
    expect_only_outputs_written(&call);
    warpkem_keys_release(keys);
  }
}

static void AllBadKeysAndAnEmptySetFailEveryItem(void) {
  struct call call = good_call(PREPARE_EK, 0, 2, 0);
  warpkem_keys *keys, *empty = NULL;
  const warpkem_in nothing = {NULL, 0, 0};
  size_t i;
  spoil(&call, 0), spoil(&call, 1);
  EXPECT_STATUS(WARPKEM_ITEM_FAILED, invoke(&call));
  keys = made_keys;
  call = good_call(ENCAPS_PREPARED, 0, 3, 0);
  call.keys = keys;
  EXPECT_STATUS(WARPKEM_ITEM_FAILED, invoke(&call));
  EXPECT(*call.failed == 3, "%zu", *call.failed);
  for (i = 0; i < 3; ++i) expect_item_failed(&call, i, WARPKEM_INVALID_EK);
  warpkem_keys_release(keys);

  EXPECT_STATUS(WARPKEM_OK, warpkem_prepare_ek(engine, current_algorithm, 0, nothing, NULL, NULL, &empty));
  EXPECT(empty != NULL && warpkem_keys_count(empty) == 0, "an empty set is a set");
  call = good_call(ENCAPS_PREPARED, 0, 3, 0);
  call.keys = empty;
  EXPECT_STATUS(WARPKEM_ITEM_FAILED, invoke(&call));
  for (i = 0; i < 3; ++i) expect_item_failed(&call, i, WARPKEM_INVALID_KEY_INDEX);
  warpkem_keys_release(empty);
}

static void SeedsCanBePrepared(void) {
  struct call call = good_call(DECAPS_PREPARED, 0, 6, 3);
  const uint32_t index[] = {0, 1, 2, 3, 4, 5};
  call.keys = prepared(1, WARPKEM_DK_SEED, good.seeds, 6);
  call.index = index;
  expect_all_good(&call, "a prepared seed");
  warpkem_keys_release(call.keys);
}

static void KeysOfOthersAreRefused(void) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  warpkem_engine* other = NULL;
  struct call call = good_call(ENCAPS_PREPARED, 0, 2, 0);
  options.threads = 0;
  EXPECT_STATUS(WARPKEM_OK, warpkem_engine_new(&options, &other));
  call.engine = other;
  expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "keys", "another engine's keys");
  call = good_call(ENCAPS_PREPARED, 0, 2, 0);
  call.keys = dk_set;
  expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "keys", "decapsulation keys");
  call = good_call(DECAPS_PREPARED, 0, 2, 0);
  call.keys = ek_set;
  expect_refused(&call, WARPKEM_INVALID_ARGUMENT, "keys", "encapsulation keys");
  warpkem_engine_free(other);
}

static void ReferencesKeepKeysAndEngineAlive(void) {
  warpkem_engine* short_lived = NULL;
  warpkem_keys* keys = NULL;
  const warpkem_in dk = {good.dk, 3 * good.dk_bytes, 0};
  warpkem_keys_retain(NULL);
  warpkem_keys_release(NULL);
  warpkem_engine_free(NULL);
  EXPECT(warpkem_keys_count(NULL) == 0 && warpkem_keys_bytes_per_key(NULL) == 0, "queries of NULL");
  EXPECT_STATUS(WARPKEM_OK, warpkem_engine_new(NULL, &short_lived));
  EXPECT_STATUS(WARPKEM_OK, warpkem_prepare_dk(short_lived, current_algorithm, 0, 3, dk, NULL, NULL, &keys));
  warpkem_keys_retain(keys);
  warpkem_keys_release(keys);
  warpkem_engine_free(short_lived);
  EXPECT(warpkem_keys_count(keys) == 3 && warpkem_keys_bytes_per_key(keys) >= good.dk_bytes, "alive after its engine");
  warpkem_keys_release(keys); /* a leak or a double free is asan's to find */
}

/* ---- the descriptor -----------------------------------------------------------------------------------------------
 */

static warpkem_batch encaps_batch(size_t count) {
  warpkem_batch batch;
  const struct call call = good_call(ENCAPS_DERAND, 0, count, 0);
  memset(&batch, 0, sizeof batch);
  batch.struct_size = sizeof batch;
  batch.operation = WARPKEM_OP_ENCAPS;
  batch.algorithm = current_algorithm;
  batch.flags = WARPKEM_DERAND;
  batch.count = count;
  batch.ek.data = call.array[EK_IN].data, batch.ek.bytes = call.array[EK_IN].bytes;
  batch.m.data = call.array[M].data, batch.m.bytes = call.array[M].bytes;
  batch.c_out.data = call.array[C].data, batch.c_out.bytes = call.array[C].bytes;
  batch.K_out.data = call.array[K].data, batch.K_out.bytes = call.array[K].bytes;
  batch.statuses = call.statuses;
  batch.failed = call.failed;
  return batch;
}

static void expect_batch_refused(const warpkem_batch* batch, warpkem_status status, const char* text) {
  snapshot();
  EXPECT_STATUS(status, warpkem_run(engine, batch));
  EXPECT(arena_untouched(), "something was written");
  EXPECT(strstr(warpkem_last_error(), text) != NULL, "the text does not name '%s'", text);
}

static void DescriptorsAreChecked(void) {
  warpkem_batch batch = encaps_batch(3);
  uint64_t items[WARPKEM_MAX_BACKENDS];
  uint64_t sum = 0;
  size_t i;
  struct {
    warpkem_batch batch;
    uint8_t more[64];
  } longer;

  memset(items, 0x77, sizeof items);
  batch.items_by_backend = items;
  EXPECT_STATUS(WARPKEM_OK, warpkem_run(engine, &batch));
  EXPECT(memcmp(batch.c_out.data, good.c, 3 * good.c_bytes) == 0 && memcmp(batch.K_out.data, good.K, 96) == 0,
         "results");
  for (i = 0; i < WARPKEM_MAX_BACKENDS; ++i) sum += items[i];
  EXPECT(sum == 3, "items_by_backend has %llu", (unsigned long long)sum);

  batch = encaps_batch(3);
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_run(engine, NULL));
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_run(NULL, &batch));
  for (i = 0; i < sizeof(size_t); ++i) {
    batch = encaps_batch(3);
    batch.struct_size = i;
    expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "struct_size");
  }
  memset(&longer, 0, sizeof longer);
  longer.batch = encaps_batch(3);
  longer.batch.struct_size = sizeof longer;
  EXPECT_STATUS(WARPKEM_OK, warpkem_run(engine, &longer.batch));
  for (i = 0; i < sizeof longer.more; i += 21) {
    longer.batch = encaps_batch(3);
    longer.batch.struct_size = sizeof longer;
    longer.more[i] = 1;
    expect_batch_refused(&longer.batch, WARPKEM_INVALID_ARGUMENT, "byte");
    longer.more[i] = 0;
  }
  batch = encaps_batch(3);
  batch.struct_size = SIZE_MAX;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "struct_size");

  {
    const uint32_t unknown[] = {0, 6, 7, 8, 255, UINT32_MAX};
    for (i = 0; i < sizeof unknown / sizeof *unknown; ++i) {
      batch = encaps_batch(3);
      batch.operation = unknown[i];
      expect_batch_refused(&batch, WARPKEM_UNSUPPORTED, "operation");
    }
  }
  batch = encaps_batch(3);
  batch.algorithm = 10;
  expect_batch_refused(&batch, WARPKEM_UNSUPPORTED, "algorithm");
  batch = encaps_batch(3);
  batch.flags |= 2;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "flags");
  batch = encaps_batch(3); /* m, but not the flag that says so */
  batch.flags = 0;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "m");
  batch = encaps_batch(3); /* the flag, but no m */
  memset(&batch.m, 0, sizeof batch.m);
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "m");
  batch = encaps_batch(3);
  batch.dk_format = WARPKEM_DK_SEED;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "dk_format");
  batch = encaps_batch(3);
  batch.seeds = batch.m;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "seeds");
  batch = encaps_batch(3);
  batch.dk = batch.m;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "dk");
  batch = encaps_batch(3);
  batch.c = batch.ek;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "c");
  batch = encaps_batch(3);
  batch.ek_out = batch.c_out;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "ek_out");
  batch = encaps_batch(3);
  batch.dk_out.stride = 1;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "dk_out");
  batch = encaps_batch(3); /* a set and an array of keys */
  batch.keys = ek_set;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "ek");
  {
    const uint32_t index[3] = {0, 0, 0};
    batch = encaps_batch(3);
    batch.index = index;
    expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "index");
  }
  batch = encaps_batch(3); /* a set of another algorithm */
  memset(&batch.ek, 0, sizeof batch.ek);
  batch.keys = ek_set;
  batch.algorithm = current_algorithm == WARPKEM_ML_KEM_512 ? WARPKEM_ML_KEM_768 : WARPKEM_ML_KEM_512;
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "algorithm");
  batch = encaps_batch(3);
  batch.operation = WARPKEM_OP_CHECK_EK;
  memset(&batch.m, 0, sizeof batch.m);
  memset(&batch.c_out, 0, sizeof batch.c_out);
  memset(&batch.K_out, 0, sizeof batch.K_out);
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "DERAND");
  batch.flags = 0;
  EXPECT_STATUS(WARPKEM_OK, warpkem_run(engine, &batch));
  batch = encaps_batch(3); /* items_by_backend inside an output */
  batch.items_by_backend = (uint64_t*)(((uintptr_t)batch.c_out.data + 64) & ~(uintptr_t)15);
  expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "items_by_backend");
}

static void TablesOfPointersAreChecked(void) {
  enum { n = 5 };
  const uint8_t *ek[n], *m[n];
  uint8_t *c[n], *secret[n];
  size_t i;
  int round;
  for (round = 0; round < 9; ++round) {
    warpkem_batch batch = encaps_batch(n);
    for (i = 0; i < n; ++i) {
      ek[i] = batch.ek.data + i * good.ek_bytes;
      m[i] = batch.m.data + i * 32;
      c[i] = batch.c_out.data + i * good.c_bytes;
      secret[i] = batch.K_out.data + (n - 1 - i) * 32; /* any order */
    }
    memset(&batch.ek, 0, sizeof batch.ek), memset(&batch.m, 0, sizeof batch.m);
    memset(&batch.c_out, 0, sizeof batch.c_out), memset(&batch.K_out, 0, sizeof batch.K_out);
    batch.ek.table = ek, batch.m.table = m, batch.c_out.table = c, batch.K_out.table = secret;
    switch (round) {
      case 0:
        EXPECT_STATUS(WARPKEM_OK, warpkem_run(engine, &batch));
        for (i = 0; i < n; ++i) {
          EXPECT(memcmp(c[i], good.c + i * good.c_bytes, good.c_bytes) == 0, "c of item %zu", i);
          EXPECT(memcmp(secret[i], good.K + i * 32, 32) == 0, "K of item %zu", i);
        }
        break;
      case 1: /* one input record for several items */
        ek[4] = ek[0], m[4] = m[0];
        EXPECT_STATUS(WARPKEM_OK, warpkem_run(engine, &batch));
        EXPECT(memcmp(c[4], c[0], good.c_bytes) == 0 && memcmp(secret[4], secret[0], 32) == 0, "equal inputs");
        break;
      case 2:
        ek[2] = NULL;
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "ek of item 2");
        break;
      case 3:
        secret[4] = NULL;
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "K of item 4");
        break;
      case 4:
        c[3] = c[0];
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "overlaps");
        break;
      case 5:
        secret[1] = c[4] + good.c_bytes - 1;
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "overlaps");
        break;
      case 6: /* an output on an input */
        secret[1] = (uint8_t*)m[3] + 31;
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "overlaps");
        break;
      case 7:
        batch.ek.data = ek[0];
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "ek");
        break;
      default: /* an output on a table that the call reads */
        c[0] = (uint8_t*)(void*)m;
        expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "overlaps");
        EXPECT(m[4] == arena + (m[0] - arena) + 4 * 32, "the table was written");
        break;
    }
  }
  { /* a count that no table can have */
    warpkem_batch batch = encaps_batch(n);
    memset(&batch.ek, 0, sizeof batch.ek);
    batch.ek.table = ek;
    batch.count = SIZE_MAX / 2;
    expect_batch_refused(&batch, WARPKEM_INVALID_ARGUMENT, "");
  }
}

/* ---- engines ------------------------------------------------------------------------------------------------------
 */

static warpkem_status try_options(const void* options, warpkem_engine** made) {
  const warpkem_status status = warpkem_engine_new(options, made);
  EXPECT((status == WARPKEM_OK) == (*made != NULL), "a handle goes with OK");
  return status;
}

static const char* preferred_backend(warpkem_engine* of) {
  size_t i;
  warpkem_backend_info info;
  memset(&info, 0, sizeof info);
  info.struct_size = sizeof info;
  for (i = 0; warpkem_engine_backend(of, i, &info) == WARPKEM_OK; ++i) {
    EXPECT(info.name != NULL && info.detail != NULL && info.detail[0] != '\0', "backend %zu says nothing of itself", i);
    if (info.preferred) return info.name;
  }
  return "none";
}

static void OptionsAreChecked(void) {
  warpkem_engine* made = NULL;
  struct {
    warpkem_options options;
    uint8_t more[40];
  } longer;
  size_t i;
  const warpkem_options defaults = WARPKEM_OPTIONS_DEFAULT;
  warpkem_options options = defaults;

  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_engine_new(NULL, NULL));
  EXPECT_STATUS(WARPKEM_OK, try_options(NULL, &made));
  warpkem_engine_free(made);
  memset(&options, 0, sizeof options); /* struct_size 0: defaults, whatever else is there */
  options.backend = "no such thing";
  EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
  warpkem_engine_free(made);
  for (i = 1; i < sizeof(size_t); ++i) {
    options = defaults;
    options.struct_size = i;
    EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, try_options(&options, &made));
  }
  options = defaults; /* a struct that ends before backend, or before policy */
  options.struct_size = sizeof(size_t);
  options.backend = "no such thing";
  EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
  warpkem_engine_free(made);
  options = defaults;
  options.struct_size = offsetof(warpkem_options, policy);
  options.policy = "no such thing";
  EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
  warpkem_engine_free(made);
  options = defaults; /* half a pointer is no pointer */
  options.backend = "portable";
  options.struct_size = offsetof(warpkem_options, backend) + 4;
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, try_options(&options, &made));
  memset(&longer, 0, sizeof longer);
  longer.options = defaults;
  longer.options.struct_size = sizeof longer;
  EXPECT_STATUS(WARPKEM_OK, try_options(&longer, &made));
  warpkem_engine_free(made);
  longer.options.struct_size = sizeof longer.options + 1;
  EXPECT_STATUS(WARPKEM_OK, try_options(&longer, &made));
  warpkem_engine_free(made);
  for (i = 0; i < sizeof longer.more; i += 13) {
    longer.more[i] = 0x80;
    longer.options.struct_size = sizeof longer;
    EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, try_options(&longer, &made));
    longer.more[i] = 0;
  }
  options = defaults;
  options.struct_size = SIZE_MAX;
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, try_options(&options, &made));

  options = defaults;
  options.flags = 1u << 30;
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, try_options(&options, &made));
  EXPECT(strstr(warpkem_last_error(), "flags") != NULL, "text");
  options = defaults;
  options.backend = "quantum";
  EXPECT_STATUS(WARPKEM_UNSUPPORTED, try_options(&options, &made));
  EXPECT(strstr(warpkem_last_error(), "quantum") != NULL && strstr(warpkem_last_error(), "portable") != NULL,
         "the text names neither the unknown one nor those that there are");
  options.backend = "portable ";
  EXPECT_STATUS(WARPKEM_UNSUPPORTED, try_options(&options, &made));
  options.backend = "portable";
  EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
  EXPECT(strcmp(preferred_backend(made), "portable") == 0, "%s", preferred_backend(made));
  warpkem_engine_free(made);
}

static void TheEnvironmentNamesTheBackendOnlyWhenTheOptionIsAutomatic(void) {
  warpkem_engine* made = NULL;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  const char* const automatic[] = {NULL, "auto"};
  char kept[64] = "";
  size_t i;
  if (getenv("WARPKEM_BACKEND") != NULL) snprintf(kept, sizeof kept, "%s", getenv("WARPKEM_BACKEND"));
  options.threads = 0;
  for (i = 0; i < 2; ++i) {
    options.backend = automatic[i];
    setenv("WARPKEM_BACKEND", "portable", 1);
    EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
    EXPECT(strcmp(preferred_backend(made), "portable") == 0, "%s", preferred_backend(made));
    warpkem_engine_free(made);
    setenv("WARPKEM_BACKEND", "quantum", 1);
    EXPECT_STATUS(WARPKEM_UNSUPPORTED, try_options(&options, &made));
    EXPECT(strstr(warpkem_last_error(), "quantum") != NULL, "text");
    setenv("WARPKEM_BACKEND", "auto", 1);
    EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
    warpkem_engine_free(made);
    setenv("WARPKEM_BACKEND", "", 1);
    EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
    warpkem_engine_free(made);
  }
  options.backend = "portable"; /* an explicit option wins */
  setenv("WARPKEM_BACKEND", "quantum", 1);
  EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
  warpkem_engine_free(made);
  if (kept[0] != '\0') setenv("WARPKEM_BACKEND", kept, 1);
  if (kept[0] == '\0') unsetenv("WARPKEM_BACKEND");
}

static void PoliciesAllowOnlyTheirAlgorithms(void) {
  const struct {
    const char* policy;
    int allowed[4];
  } cases[] = {{NULL, {0, 1, 1, 1}},
               {"CNSA-2.0", {0, 0, 0, 1}},
               {"cnsa-2.0", {0, 0, 0, 1}},
               {"ML-KEM-768", {0, 0, 1, 0}},
               {"ML-KEM-512,mlkem1024", {0, 1, 0, 1}}};
  const char* const bad[] = {"", "CNSA-1.0", "ML-KEM-768,", ",", "ML-KEM-768,CNSA-2.0,nothing"};
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  size_t i;
  options.threads = 0;
  for (i = 0; i < sizeof cases / sizeof *cases; ++i) {
    warpkem_engine* made = NULL;
    uint32_t a;
    options.policy = cases[i].policy;
    EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
    for (a = 1; a <= 3; ++a) {
      struct call call;
      const warpkem_algorithm kept = current_algorithm;
      make_good(a);
      call = good_call(ENCAPS, 0, 2, 0);
      call.engine = made;
      if (cases[i].allowed[a]) {
        EXPECT_STATUS(WARPKEM_OK, invoke(&call));
      } else {
        expect_refused(&call, WARPKEM_UNSUPPORTED, "policy", "not allowed");
        call = good_call(PREPARE_DK, 0, 2, 0);
        call.engine = made;
        expect_refused(&call, WARPKEM_UNSUPPORTED, "policy", "not allowed");
      }
      make_good(kept);
    }
    warpkem_engine_free(made);
  }
  for (i = 0; i < sizeof bad / sizeof *bad; ++i) {
    warpkem_engine* made = NULL;
    options.policy = bad[i];
    EXPECT_STATUS(WARPKEM_UNSUPPORTED, try_options(&options, &made));
  }
}

static void BackendsCanBeListed(void) {
  warpkem_backend_info info;
  size_t i, preferred = 0, portable = 0;
  uint64_t before_call = 0, after_call = 0;
  struct call call;
  memset(&info, 0, sizeof info);
  info.struct_size = sizeof info;
  for (i = 0; warpkem_engine_backend(engine, i, &info) == WARPKEM_OK; ++i) {
    preferred += info.preferred;
    portable += info.available && strcmp(info.name, "portable") == 0;
    before_call += info.items;
    EXPECT(i < WARPKEM_MAX_BACKENDS, "too many");
  }
  EXPECT(preferred == 1 && portable == 1, "%zu preferred", preferred);
  call = good_call(ENCAPS, 0, 7, 0);
  EXPECT_STATUS(WARPKEM_OK, invoke(&call));
  for (i = 0; warpkem_engine_backend(engine, i, &info) == WARPKEM_OK; ++i) after_call += info.items;
  EXPECT(after_call == before_call + 7, "items");
  info.struct_size = sizeof info - 1;
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_engine_backend(engine, 0, &info));
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_engine_backend(engine, 0, NULL));
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_engine_backend(NULL, 0, &info));
}

static void TheSelfTestPassesAndKnowsItsBackends(void) {
  EXPECT_STATUS(WARPKEM_OK, warpkem_selftest(engine, "portable"));
  EXPECT_STATUS(WARPKEM_UNSUPPORTED, warpkem_selftest(engine, "quantum"));
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_selftest(NULL, NULL));
}

/* Fails call number `fail_at`, counted from 0, and leaves bytes behind even then. */
struct scripted_random {
  long calls, fail_at;
};
static int scripted_random(void* context, uint8_t* out, size_t bytes) {
  struct scripted_random* const script = context;
  memset(out, 0x5a, bytes);
  return script->calls++ == script->fail_at ? 1 : 0;
}

static void NothingIsReturnedWithoutRandomness(void) {
  const enum kind kinds[] = {KEYGEN, ENCAPS, ENCAPS_PREPARED};
  size_t k, i;
  long fail_at;
  for (k = 0; k < 3; ++k) {
    for (fail_at = 0;; ++fail_at) {
      struct scripted_random script = {0, fail_at};
      warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
      warpkem_engine* made = NULL;
      struct call call = good_call(kinds[k], 0, 11, 9);
      warpkem_keys* keys = NULL;
      const warpkem_in ek = {good.ek, 2 * good.ek_bytes, 0};
      warpkem_status status;
      options.random = scripted_random;
      options.random_context = &script;
      EXPECT_STATUS(WARPKEM_OK, try_options(&options, &made));
      call.engine = made;
      if (kinds[k] == ENCAPS_PREPARED) {
        EXPECT_STATUS(WARPKEM_OK, warpkem_prepare_ek(made, current_algorithm, 2, ek, NULL, NULL, &keys));
        call.keys = keys;
      }
      status = invoke(&call);
      if (status == WARPKEM_RNG_FAILED) {
        EXPECT(script.calls == fail_at + 1, "no more is drawn after a failure");
        for (i = 0; i < call.count; ++i) expect_item_failed(&call, i, WARPKEM_RNG_FAILED);
        EXPECT(*call.failed == call.count, "%zu failed", *call.failed);
        EXPECT(strstr(warpkem_last_error(), "random") != NULL, "text");
        expect_only_outputs_written(&call);
      }
      warpkem_keys_release(keys);
      warpkem_engine_free(made);
      if (status == WARPKEM_RNG_FAILED && fail_at < 1000) continue;
      EXPECT(status == WARPKEM_OK && fail_at >= 1, "%s after %ld draws", warpkem_status_name(status), fail_at);
      break;
    }
  }
}

static void MessagesAreHashedWhateverTheirParts(void) {
  /* SHAKE256 of "abc", and records of two strides: the bytes between them stay. */
  static const uint8_t known[32] = {0x48, 0x33, 0x66, 0x60, 0x13, 0x60, 0xa8, 0x77, 0x1c, 0x68, 0x63,
                                    0x08, 0x0c, 0xc4, 0x11, 0x4d, 0x8d, 0xb4, 0x45, 0x30, 0xf8, 0xf1,
                                    0xe1, 0xee, 0x4f, 0x94, 0xea, 0x37, 0xe7, 0x8b, 0x57, 0x39};
  enum { count = 21 };
  uint8_t b[3 * count], c[count];
  const warpkem_in parts[2] = {{b, 3 * count, 3}, {c, count, 0}};
  const size_t bytes[2] = {1, 1};
  const warpkem_out digests = {arena, 40 * count, 40};
  size_t i;
  memset(b, 'b', sizeof b), memset(c, 'c', sizeof c);
  c[20] = 'd';
  fresh_arena();
  EXPECT_STATUS(WARPKEM_OK, warpkem_shake256(engine, count, (const uint8_t*)"a", 1, 2, parts, bytes, digests, 32));
  for (i = 0; i < count; ++i) {
    EXPECT((memcmp(arena + 40 * i, known, 32) == 0) == (i != 20), "item %u", (unsigned)i);
    EXPECT(memcmp(arena + 40 * i + 32, before + 40 * i + 32, 8) == 0, "behind item %u", (unsigned)i);
  }
  fresh_arena();
  EXPECT_STATUS(WARPKEM_OK, warpkem_shake256(engine, 1, (const uint8_t*)"abc", 3, 0, NULL, NULL, digests, 32));
  EXPECT(memcmp(arena, known, 32) == 0, "a prefix alone");
}

static void MessagesAreChecked(void) {
  static const size_t good_bytes[2] = {4, 4}, no_bytes[2] = {4, 0}, many_bytes[2] = {4, 65536};
  static const uint8_t prefix[1] = {0};
  const warpkem_in parts[2] = {{arena, 40, 0}, {arena + 40, 40, 0}},
                   short_parts[2] = {{arena, 40, 0}, {arena + 40, 39, 0}};
  const warpkem_out digests = {arena + 80, 320, 0}, overlapping = {arena + 70, 320, 0};
  fresh_arena();
#define EXPECT_MESSAGES_REFUSED(text, ...)                                  \
  do {                                                                      \
    EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_shake256(__VA_ARGS__)); \
    EXPECT(strstr(warpkem_last_error(), text) != NULL, "want: %s", text);   \
  } while (0)
  EXPECT_MESSAGES_REFUSED("engine", NULL, 10, prefix, 1, 2, parts, good_bytes, digests, 32);
  EXPECT_MESSAGES_REFUSED("prefix", engine, 10, NULL, 1, 2, parts, good_bytes, digests, 32);
  EXPECT_MESSAGES_REFUSED("num_parts", engine, 10, prefix, 1, 9, parts, good_bytes, digests, 32);
  EXPECT_MESSAGES_REFUSED("parts", engine, 10, prefix, 1, 2, NULL, good_bytes, digests, 32);
  EXPECT_MESSAGES_REFUSED("part_bytes", engine, 10, prefix, 1, 2, parts, NULL, digests, 32);
  EXPECT_MESSAGES_REFUSED("bytes of a part", engine, 10, prefix, 1, 2, parts, no_bytes, digests, 32);
  EXPECT_MESSAGES_REFUSED("bytes of a message", engine, 10, prefix, 0, 0, NULL, NULL, digests, 32);
  EXPECT_MESSAGES_REFUSED("bytes of a message", engine, 1, prefix, 1, 2,
                          ((const warpkem_in[2]){{arena, 4, 0}, {arena, 65536, 0}}), many_bytes,
                          ((warpkem_out){arena + 65536, 32, 0}), 32);
  EXPECT_MESSAGES_REFUSED("digest_bytes", engine, 10, prefix, 1, 2, parts, good_bytes, digests, 0);
  EXPECT_MESSAGES_REFUSED("a part: 39 bytes given", engine, 10, prefix, 1, 2, short_parts, good_bytes, digests, 32);
  EXPECT_MESSAGES_REFUSED("overlaps", engine, 10, prefix, 1, 2, parts, good_bytes, overlapping, 32);
#undef EXPECT_MESSAGES_REFUSED
  EXPECT_STATUS(WARPKEM_OK, warpkem_shake256(engine, 0, NULL, 0, 0, NULL, NULL, digests, 0));
  EXPECT(arena_untouched(), "a refused call wrote");
}

static void digest_of(const EVP_MD* function, const uint8_t* message, size_t bytes, uint8_t* digest,
                      size_t digest_bytes) {
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  int good = EVP_DigestInit_ex(context, function, NULL) && EVP_DigestUpdate(context, message, bytes);
  good = good && (function == EVP_shake256() ? EVP_DigestFinalXOF(context, digest, digest_bytes)
                                             : EVP_DigestFinal_ex(context, digest, NULL));
  EXPECT(good, "OpenSSL");
  EVP_MD_CTX_free(context);
}

/* Whatever the backend, the number of items and the bytes between ek: what warpkem_encaps_derand() makes of that m. */
static void AnMIsDerivedFromThePartsAndTheKey(void) {
  enum { most = 37, stride = 1700, bad = 2, prefix_bytes = 140, m_most = 64, c_most = 1600, K_most = 64 };
  static const warpkem_algorithm tried[] = {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024,
                                            WARPKEM_X25519MLKEM768};
  static const char* const backends[] = {"portable", "avx2", "avx512"};
  static const size_t counts[] = {1, 3, 8, most};
  static uint8_t ek[most * stride], dk[most * 4096], m[most * m_most], c[2][most * c_most], K[2][most * K_most];
  uint8_t prefix[prefix_bytes], names[most * 3], numbers[most], message[prefix_bytes + 3 + 1 + 32], statuses[2][most];
  const size_t part_bytes[2] = {3, 1};
  const warpkem_in parts[2] = {{names, sizeof names, 0}, {numbers, sizeof numbers, 0}};
  size_t a, b, n, i, failed[2];
  for (i = 0; i < sizeof prefix; ++i) prefix[i] = (uint8_t)(i * 31 + 1);
  for (i = 0; i < sizeof names; ++i) names[i] = (uint8_t)(i * 5);
  for (i = 0; i < sizeof numbers; ++i) numbers[i] = (uint8_t)(200 - i);
  for (b = 0; b < sizeof backends / sizeof *backends; ++b) {
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    warpkem_engine* made = NULL;
    options.backend = backends[b];
    if (warpkem_engine_new(&options, &made) != WARPKEM_OK) continue; /* this CPU does not have it */
    for (a = 0; a < sizeof tried / sizeof *tried; ++a) {
      const size_t ek_bytes = warpkem_size(tried[a], WARPKEM_SIZE_EK), m_bytes = warpkem_size(tried[a], WARPKEM_SIZE_M),
                   c_bytes = warpkem_size(tried[a], WARPKEM_SIZE_C), K_bytes = warpkem_size(tried[a], WARPKEM_SIZE_K),
                   dk_bytes = warpkem_size(tried[a], WARPKEM_SIZE_DK);
      EXPECT_STATUS(WARPKEM_OK,
                    warpkem_keygen(made, tried[a], WARPKEM_DK_EXPANDED, most, ((warpkem_out){ek, sizeof ek, stride}),
                                   ((warpkem_out){dk, most * dk_bytes, 0}), NULL, NULL));
      memset(ek + bad * stride, 0xff, ek_bytes);
      for (i = 0; i < most; ++i) {
        memcpy(message, prefix, prefix_bytes);
        memcpy(message + prefix_bytes, names + 3 * i, 3);
        message[prefix_bytes + 3] = numbers[i];
        digest_of(EVP_sha3_256(), ek + i * stride, ek_bytes, message + prefix_bytes + 4, 32);
        digest_of(EVP_shake256(), message, sizeof message, m + i * m_bytes, m_bytes);
      }
      for (n = 0; n < sizeof counts / sizeof *counts; ++n) {
        const size_t count = counts[n];
        const warpkem_status wanted = count > bad ? WARPKEM_ITEM_FAILED : WARPKEM_OK;
        const warpkem_in ek_in = {ek, sizeof ek, stride};
        memset(c, 0x5a, sizeof c), memset(K, 0x5a, sizeof K);
        EXPECT_STATUS(wanted,
                      warpkem_encaps_derand(made, tried[a], count, ek_in, ((warpkem_in){m, count * m_bytes, 0}),
                                            ((warpkem_out){c[0], count * c_bytes, 0}),
                                            ((warpkem_out){K[0], count * K_bytes, 0}), statuses[0], &failed[0]));
        EXPECT_STATUS(wanted,
                      warpkem_encaps_derived(made, tried[a], count, prefix, prefix_bytes, 2, parts, part_bytes, ek_in,
                                             ((warpkem_out){c[1], count * c_bytes, 0}),
                                             ((warpkem_out){K[1], count * K_bytes, 0}), statuses[1], &failed[1]));
        EXPECT(memcmp(c[0], c[1], sizeof c[0]) == 0 && memcmp(K[0], K[1], sizeof K[0]) == 0 && failed[0] == failed[1] &&
                   memcmp(statuses[0], statuses[1], count) == 0,
               "%s, algorithm %u, %zu items", backends[b], (unsigned)tried[a], count);
        EXPECT(failed[1] == (count > bad), "%zu failed", failed[1]);
      }
    }
    warpkem_engine_free(made);
  }
}

static void DerivedEncapsulationsAreChecked(void) {
  static uint8_t c[3 * 1088], K[3 * 32], names[3 * 8];
  const warpkem_in ek = {good.ek, 3 * good.ek_bytes, 0}, names_in = {names, sizeof names, 0}, in_c = {c, 24, 0},
                   in_K = {K + 90, 3, 0};
  const warpkem_out c_out = {c, 3 * good.c_bytes, 0}, K_out = {K, sizeof K, 0};
  const size_t eight = 8, one = 1, long_part = 65536 - 31;
  const uint8_t prefix[1] = {7};
  size_t failed = 5;
#define EXPECT_DERIVATION_REFUSED(status, text, ...)                      \
  do {                                                                    \
    memset(c, 9, sizeof c);                                               \
    EXPECT_STATUS(status, warpkem_encaps_derived(__VA_ARGS__));           \
    EXPECT(strstr(warpkem_last_error(), text) != NULL, "want: %s", text); \
    EXPECT(c[0] == 9 && c[3 * 1088 - 1] == 9, "a refused call wrote");    \
  } while (0)
  EXPECT_DERIVATION_REFUSED(WARPKEM_INVALID_ARGUMENT, "engine", NULL, WARPKEM_ML_KEM_768, 3, prefix, 1, 1, &names_in,
                            &eight, ek, c_out, K_out, NULL, NULL);
  EXPECT_DERIVATION_REFUSED(WARPKEM_INVALID_ARGUMENT, "none is given", engine, WARPKEM_ML_KEM_768, 3, NULL, 0, 0, NULL,
                            NULL, ek, c_out, K_out, NULL, NULL);
  EXPECT_DERIVATION_REFUSED(WARPKEM_INVALID_ARGUMENT, "overlaps", engine, WARPKEM_ML_KEM_768, 3, prefix, 1, 1, &in_c,
                            &eight, ek, c_out, K_out, NULL, NULL);
  EXPECT_DERIVATION_REFUSED(WARPKEM_INVALID_ARGUMENT, "overlaps", engine, WARPKEM_ML_KEM_768, 3, prefix, 1, 1, &in_K,
                            &one, ek, c_out, K_out, NULL, NULL);
  EXPECT_DERIVATION_REFUSED(WARPKEM_INVALID_ARGUMENT, "bytes of a message", engine, WARPKEM_ML_KEM_768, 1, prefix, 1, 1,
                            ((warpkem_in[1]){{arena, long_part, 0}}), &long_part, ek, c_out, K_out, NULL, NULL);
  EXPECT_DERIVATION_REFUSED(WARPKEM_INVALID_ARGUMENT, "ek", engine, WARPKEM_ML_KEM_768, 4, prefix, 1, 0, NULL, NULL, ek,
                            ((warpkem_out){arena, sizeof arena, 0}), ((warpkem_out){arena + 8192, 128, 0}), NULL, NULL);
  EXPECT_DERIVATION_REFUSED(WARPKEM_UNSUPPORTED, "unknown", engine, 99, 3, prefix, 1, 1, &names_in, &eight, ek, c_out,
                            K_out, NULL, NULL);
#undef EXPECT_DERIVATION_REFUSED
  EXPECT_STATUS(WARPKEM_OK, warpkem_encaps_derived(engine, WARPKEM_ML_KEM_768, 0, NULL, 0, 0, NULL, NULL, ek, c_out,
                                                   K_out, NULL, &failed));
  EXPECT(failed == 0, "%zu failed", failed);
}

/* ---- AES-256-GCM --------------------------------------------------------------------------------------------------
 */

enum { gcm_items = 150, longest_text = 100, longest_aad = 33 };

/* The inputs of many items; and OpenSSL's answer for one, ciphertext and tag. */
static struct {
  uint8_t key[gcm_items][40], nonce[gcm_items][12], aad[gcm_items][longest_aad], text[gcm_items][longest_text];
} gcm;

static void make_gcm(void) {
  uint8_t* const bytes = (uint8_t*)&gcm;
  size_t i;
  for (i = 0; i < sizeof gcm; ++i) bytes[i] = (uint8_t)(i * 61 + (i >> 8) * 7 + (i >> 16));
}

static void evp_seal(const uint8_t* key, const uint8_t* nonce, const uint8_t* aad, int aad_bytes, const uint8_t* text,
                     int text_bytes, uint8_t* sealed) {
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  int done, good = EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce);
  if (aad_bytes != 0) good &= EVP_EncryptUpdate(context, NULL, &done, aad, aad_bytes);
  if (text_bytes != 0) good &= EVP_EncryptUpdate(context, sealed, &done, text, text_bytes);
  good &= EVP_EncryptFinal_ex(context, sealed + text_bytes, &done);
  good &= EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, sealed + text_bytes);
  EXPECT(good == 1, "OpenSSL");
  EVP_CIPHER_CTX_free(context);
}

/* Nonces lie before what is sealed under them, and bytes are left between such records. With `shared`, of one input all
 * items use record 0. */
static void TextsAreSealedAndOpenedWhateverTheirArrays(void) {
  static const size_t text_sizes[] = {0, 1, 32, longest_text}, aad_sizes[] = {0, 20, longest_aad};
  static const warpkem_in nothing = {NULL, 0, 0};
  uint8_t expected[longest_text + 16], statuses[gcm_items];
  size_t t, a, i, failed;
  int shared;
  make_gcm();
  for (t = 0; t < 4; ++t) {
    for (a = 0; a < 3; ++a) {
      for (shared = 0; shared < 5; ++shared) {
        const size_t text_bytes = text_sizes[t], aad_bytes = aad_sizes[a], stride = 12 + text_bytes + 16 + 3;
        const size_t end = gcm_items * stride;
        const warpkem_in key = {gcm.key[0], sizeof gcm.key, shared == 1 ? WARPKEM_ONE_FOR_ALL : 40},
                         nonce = {arena, end, shared == 2 ? WARPKEM_ONE_FOR_ALL : stride},
                         aad = {gcm.aad[0], sizeof gcm.aad, shared == 3 ? WARPKEM_ONE_FOR_ALL : longest_aad},
                         text = {gcm.text[0], sizeof gcm.text, shared == 4 ? WARPKEM_ONE_FOR_ALL : longest_text},
                         sealed = {arena + 12, end - 12, stride};
        const warpkem_out sealed_out = {arena + 12, end - 12, stride}, opened = {arena + end, sizeof arena - end, 0};
        fresh_arena();
        for (i = 0; i < gcm_items; ++i) memcpy(arena + i * stride, gcm.nonce[i], 12);
        snapshot();
        EXPECT_STATUS(WARPKEM_OK,
                      warpkem_aes256_gcm_seal(engine, gcm_items, key, nonce, aad_bytes ? aad : nothing, aad_bytes,
                                              text_bytes ? text : nothing, text_bytes, sealed_out));
        for (i = 0; i < gcm_items; ++i) {
          uint8_t* const at = arena + i * stride;
          evp_seal(gcm.key[shared == 1 ? 0 : i], gcm.nonce[shared == 2 ? 0 : i], gcm.aad[shared == 3 ? 0 : i],
                   (int)aad_bytes, gcm.text[shared == 4 ? 0 : i], (int)text_bytes, expected);
          EXPECT(memcmp(at + 12, expected, text_bytes + 16) == 0, "item %u of %u bytes with %u, shared %d", (unsigned)i,
                 (unsigned)text_bytes, (unsigned)aad_bytes, shared);
          memcpy(before + i * stride + 12, expected, text_bytes + 16);
        }
        EXPECT(arena_untouched(), "bytes beside the sealed texts");
        memset(statuses, 0xee, sizeof statuses), failed = 99;
        EXPECT_STATUS(WARPKEM_OK, warpkem_aes256_gcm_open(engine, gcm_items, key, nonce, aad, aad_bytes, sealed,
                                                          text_bytes, opened, statuses, &failed));
        EXPECT(failed == 0 && all_zero(statuses, sizeof statuses), "%u failed", (unsigned)failed);
        for (i = 0; i < gcm_items; ++i) {
          memcpy(before + end + i * text_bytes, gcm.text[shared == 4 ? 0 : i], text_bytes);
        }
        EXPECT(arena_untouched(), "opened texts, or bytes beside them");
      }
    }
  }
}

static void AWrongTagFailsItsItemAlone(void) {
  /* A bit of ciphertext, tag, key, nonce or aad is another; and one call in which every item is wrong. */
  enum { bytes = 32 };
  static const size_t wrong[] = {0, 5, 77, gcm_items - 1};
  uint8_t sealed[gcm_items][bytes + 16], statuses[gcm_items];
  size_t what, w, i, failed, calls;
  const warpkem_in key = {gcm.key[0], sizeof gcm.key, 40}, nonce = {gcm.nonce[0], sizeof gcm.nonce, 0},
                   aad = {gcm.aad[0], sizeof gcm.aad, 0}, text = {gcm.text[0], sizeof gcm.text, longest_text},
                   from = {sealed[0], sizeof sealed, 0};
  const warpkem_out opened = {arena, gcm_items * bytes, 0};
  for (what = 0; what < 5; ++what) {
    make_gcm();
    EXPECT_STATUS(WARPKEM_OK, warpkem_aes256_gcm_seal(engine, gcm_items, key, nonce, aad, longest_aad, text, bytes,
                                                      (warpkem_out){sealed[0], sizeof sealed, 0}));
    for (w = 0; w < 4; ++w) {
      i = wrong[w];
      *(what == 0   ? &sealed[i][7]
        : what == 1 ? &sealed[i][bytes + 15]
        : what == 2 ? &gcm.key[i][31]
        : what == 3 ? &gcm.nonce[i][0]
                    : &gcm.aad[i][longest_aad - 1]) ^= 0x80;
    }
    for (calls = 0; calls < 2; ++calls) {
      fresh_arena();
      memset(statuses, 0xee, sizeof statuses), failed = 99;
      EXPECT_STATUS(WARPKEM_ITEM_FAILED,
                    warpkem_aes256_gcm_open(engine, gcm_items, key, nonce, aad, longest_aad, from, bytes, opened,
                                            calls == 0 ? statuses : NULL, calls == 0 ? &failed : NULL));
      EXPECT(strstr(warpkem_last_error(), "item 0: ") != NULL && strstr(warpkem_last_error(), "4 of 150") != NULL,
             "the text");
      EXPECT(calls == 1 || failed == 4, "%u failed", (unsigned)failed);
      for (i = 0; i < gcm_items; ++i) {
        const int is_wrong = i == 0 || i == 5 || i == 77 || i == gcm_items - 1;
        EXPECT(calls == 1 || statuses[i] == (is_wrong ? WARPKEM_INVALID_TAG : WARPKEM_OK), "status of item %u",
               (unsigned)i);
        if (is_wrong) {
          EXPECT(all_zero(arena + i * bytes, bytes), "text of item %u", (unsigned)i);
        } else {
          EXPECT(memcmp(arena + i * bytes, gcm.text[i], bytes) == 0, "text of item %u", (unsigned)i);
        }
      }
      EXPECT(memcmp(arena + gcm_items * bytes, before + gcm_items * bytes, 64) == 0, "behind the last item");
    }
  }
  make_gcm();
  for (i = 0; i < gcm_items; ++i) gcm.key[i][0] ^= 1;
  EXPECT_STATUS(WARPKEM_ITEM_FAILED, warpkem_aes256_gcm_open(engine, gcm_items, key, nonce, aad, longest_aad, from,
                                                             bytes, opened, statuses, &failed));
  EXPECT(failed == gcm_items && all_zero(arena, gcm_items * bytes), "%u failed", (unsigned)failed);
}

static void ArgumentsOfAesAreChecked(void) {
  enum { n = 10, bytes = 32, too_many = (1 << 30) + 1 };
  const warpkem_in key = {gcm.key[0], sizeof gcm.key, 40}, nonce = {gcm.nonce[0], sizeof gcm.nonce, 0},
                   aad = {gcm.aad[0], sizeof gcm.aad, 0}, text = {arena, n * bytes, 0},
                   one_key = {gcm.key[0], 32, WARPKEM_ONE_FOR_ALL}, one_nonce = {gcm.nonce[0], 12, WARPKEM_ONE_FOR_ALL},
                   none = {NULL, 0, 0}, sealed_in = {arena, n * (bytes + 16), 0};
  const warpkem_out sealed = {arena + 1000, n * (bytes + 16), 0}, opened = {arena + 1000, n * bytes, 0};
  uint8_t statuses[n];
  size_t failed = 7;
  fresh_arena();
#define EXPECT_SEAL_REFUSED(reason, ...)                                           \
  do {                                                                             \
    EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_aes256_gcm_seal(__VA_ARGS__)); \
    EXPECT(strstr(warpkem_last_error(), reason) != NULL, "want: %s", reason);      \
  } while (0)
#define EXPECT_OPEN_REFUSED(reason, ...)                                           \
  do {                                                                             \
    EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, warpkem_aes256_gcm_open(__VA_ARGS__)); \
    EXPECT(strstr(warpkem_last_error(), reason) != NULL, "want: %s", reason);      \
  } while (0)
  EXPECT_SEAL_REFUSED("engine", NULL, n, key, nonce, aad, 20, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("key is NULL", engine, n, none, nonce, aad, 20, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("nonce is NULL", engine, n, key, none, aad, 20, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("aad is NULL", engine, n, key, nonce, none, 20, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("text is NULL", engine, n, key, nonce, aad, 20, none, bytes, sealed);
  EXPECT_SEAL_REFUSED("sealed is NULL", engine, n, key, nonce, none, 0, none, 0, ((warpkem_out){NULL, 0, 0}));
  EXPECT_SEAL_REFUSED("key: 31 bytes given", engine, n, ((warpkem_in){gcm.key[0], 31, WARPKEM_ONE_FOR_ALL}), nonce, aad,
                      20, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("key: a stride of 31", engine, n, ((warpkem_in){gcm.key[0], 1000, 31}), nonce, aad, 20, text,
                      bytes, sealed);
  EXPECT_SEAL_REFUSED("nonce: 119 bytes given", engine, n, key, ((warpkem_in){gcm.nonce[0], 119, 0}), aad, 20, text,
                      bytes, sealed);
  EXPECT_SEAL_REFUSED("sealed: 479 bytes given", engine, n, key, nonce, aad, 20, text, bytes,
                      ((warpkem_out){arena + 1000, 479, 0}));
  EXPECT_SEAL_REFUSED("overflow", engine, n, key, nonce, aad, 20, text, bytes,
                      ((warpkem_out){arena + 1000, SIZE_MAX, WARPKEM_ONE_FOR_ALL}));
  EXPECT_SEAL_REFUSED("aad_bytes", engine, n, key, nonce, aad, too_many, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("text_bytes", engine, n, key, nonce, aad, 20, text, too_many, sealed);
  EXPECT_SEAL_REFUSED("one nonce", engine, n, one_key, one_nonce, aad, 20, text, bytes, sealed);
  EXPECT_SEAL_REFUSED("sealed overlaps text", engine, n, key, nonce, aad, 20, text, bytes,
                      ((warpkem_out){arena, n * (bytes + 16), 0}));
  EXPECT_SEAL_REFUSED("sealed overlaps text", engine, n, key, nonce, aad, 20,
                      ((warpkem_in){arena + 1400, bytes, WARPKEM_ONE_FOR_ALL}), bytes, sealed);
  EXPECT_OPEN_REFUSED("engine", NULL, n, key, nonce, aad, 20, sealed_in, bytes, opened, statuses, &failed);
  EXPECT_OPEN_REFUSED("sealed is NULL", engine, n, key, nonce, aad, 20, none, bytes, opened, statuses, &failed);
  EXPECT_OPEN_REFUSED("text is NULL", engine, n, key, nonce, aad, 20, sealed_in, bytes, ((warpkem_out){NULL, 0, 0}),
                      statuses, &failed);
  EXPECT_OPEN_REFUSED("sealed: 479 bytes given", engine, n, key, nonce, aad, 20, ((warpkem_in){arena, 479, 0}), bytes,
                      opened, statuses, &failed);
  EXPECT_OPEN_REFUSED("statuses overlaps text", engine, n, key, nonce, aad, 20, sealed_in, bytes, opened, arena + 1000,
                      &failed);
#undef EXPECT_SEAL_REFUSED
#undef EXPECT_OPEN_REFUSED
  EXPECT_STATUS(WARPKEM_OK, warpkem_aes256_gcm_seal(engine, 0, none, none, none, 20, none, bytes, sealed));
  EXPECT(failed == 7, "a refused call counted");
  EXPECT_STATUS(WARPKEM_OK,
                warpkem_aes256_gcm_open(engine, 0, none, none, none, 20, none, bytes, opened, NULL, &failed));
  EXPECT(failed == 0 && arena_untouched(), "a refused call wrote");
  /* One item may have both for itself, and what is opened was sealed already. */
  EXPECT_STATUS(WARPKEM_OK, warpkem_aes256_gcm_seal(engine, 1, one_key, one_nonce, aad, 20, text, bytes, sealed));
  EXPECT_STATUS(WARPKEM_OK, warpkem_aes256_gcm_open(engine, n, one_key, one_nonce,
                                                    (warpkem_in){gcm.aad[0], 20, WARPKEM_ONE_FOR_ALL}, 20,
                                                    (warpkem_in){arena + 1000, bytes + 16, WARPKEM_ONE_FOR_ALL}, bytes,
                                                    (warpkem_out){arena + 2000, n * bytes, 0}, NULL, NULL));
  EXPECT(memcmp(arena + 2000 + (n - 1) * bytes, arena, bytes) == 0, "the last of equal texts");
}

static void* fail_on_a_thread(void* text) {
  warpkem_engine* made = NULL;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = "from another thread";
  EXPECT(strcmp(warpkem_last_error(), "") == 0, "a thread without failures has a text");
  EXPECT_STATUS(WARPKEM_UNSUPPORTED, warpkem_engine_new(&options, &made));
  strncpy(text, warpkem_last_error(), 199);
  return NULL;
}

static void EveryThreadHasItsOwnText(void) {
  char theirs[200] = "", mine[200];
  pthread_t thread;
  struct call call = good_call(ENCAPS, 0, 2, 0);
  call.array[K].data = NULL;
  EXPECT_STATUS(WARPKEM_INVALID_ARGUMENT, invoke(&call));
  strncpy(mine, warpkem_last_error(), 199);
  mine[199] = '\0';
  if (pthread_create(&thread, NULL, fail_on_a_thread, theirs) != 0) abort();
  pthread_join(thread, NULL);
  EXPECT(strstr(theirs, "from another thread") != NULL, "theirs: %s", theirs);
  EXPECT(strcmp(mine, warpkem_last_error()) == 0 && strstr(mine, "K is NULL") != NULL, "mine: %s",
         warpkem_last_error());
}

/* ---- main ---------------------------------------------------------------------------------------------------------
 */

#define TEST(name) \
  { #name, name }
static const struct {
  const char* name;
  void (*run)(void);
} for_every_algorithm[] = {TEST(NothingIsDoneForNoItems),
                           TEST(GoodCallsWriteTheirRecordsAndNothingElse),
                           TEST(MissingPointersAreRefused),
                           TEST(StridesBytesAndOverflowAreChecked),
                           TEST(UnknownAlgorithmsAndFormatsAreUnsupported),
                           TEST(ArraysOfStructsAreFineAndSharedBytesAreNot),
                           TEST(InputsMayOverlap),
                           TEST(BookkeepingMayNotOverlapEither),
                           TEST(BadItemsFailAlone),
                           TEST(EveryCoefficientOfEkIsChecked),
                           TEST(CoefficientsOfDkAreReducedModQ),
                           TEST(CiphertextsAreNeverRefused),
                           TEST(PreparedSetsKeepBadKeysAndFailTheirItems),
                           TEST(AllBadKeysAndAnEmptySetFailEveryItem),
                           TEST(SeedsCanBePrepared),
                           TEST(KeysOfOthersAreRefused),
                           TEST(ReferencesKeepKeysAndEngineAlive),
                           TEST(DescriptorsAreChecked),
                           TEST(TablesOfPointersAreChecked),
                           TEST(NothingIsReturnedWithoutRandomness)},
  once[] = {TEST(SizesAreThoseOfTheStandard),
            TEST(AlgorithmsAreFoundByNameAliasAndOid),
            TEST(StatusesHaveTheirNumbersAndNames),
            TEST(OptionsAreChecked),
            TEST(TheEnvironmentNamesTheBackendOnlyWhenTheOptionIsAutomatic),
            TEST(PoliciesAllowOnlyTheirAlgorithms),
            TEST(BackendsCanBeListed),
            TEST(TheSelfTestPassesAndKnowsItsBackends),
            TEST(MessagesAreHashedWhateverTheirParts),
            TEST(MessagesAreChecked),
            TEST(AnMIsDerivedFromThePartsAndTheKey),
            TEST(DerivedEncapsulationsAreChecked),
            TEST(TextsAreSealedAndOpenedWhateverTheirArrays),
            TEST(AWrongTagFailsItsItemAlone),
            TEST(ArgumentsOfAesAreChecked),
            TEST(EveryThreadHasItsOwnText)};

static int passed, failed;

static void run_test(const char* suite, const char* name, void (*run)(void)) {
  printf("[ RUN      ] CApi.%s/%s\n", name, suite);
  fflush(stdout);
  failures_here = 0;
  run();
  printf(failures_here == 0 ? "[       OK ] CApi.%s/%s (0 ms)\n" : "[  FAILED  ] CApi.%s/%s (0 ms)\n", name, suite);
  ++*(failures_here == 0 ? &passed : &failed);
}

int main(void) {
  size_t a, i;
  if (warpkem_engine_new(NULL, &engine) != WARPKEM_OK) {
    printf("no engine: %s\n", warpkem_last_error());
    return 1;
  }
  for (a = 0; a < 3; ++a) {
    make_good(algorithms[a]);
    ek_set = prepared(0, 0, good.ek, most_items);
    dk_set = prepared(1, 0, good.dk, most_items);
    for (i = 0; i < sizeof for_every_algorithm / sizeof *for_every_algorithm; ++i) {
      run_test(warpkem_algorithm_name(algorithms[a]), for_every_algorithm[i].name, for_every_algorithm[i].run);
    }
    for (i = 0; a == 1 && i < sizeof once / sizeof *once; ++i) run_test("once", once[i].name, once[i].run);
    warpkem_keys_release(ek_set);
    warpkem_keys_release(dk_set);
  }
  warpkem_engine_free(engine);
  free(good.ek), free(good.dk), free(good.c), free(good.K);
  printf("[  PASSED  ] %d tests.\n", passed);
  return failed != 0;
}
