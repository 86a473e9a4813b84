/*
 * WarpKEM: ML-KEM (FIPS 203) and hybrid KEMs for batches. The C ABI, C99.
 *
 * A call works on `count` items at once: item i of an array lies at data + i * stride. A call blocks until every item is
 * done. It borrows its arrays until it returns. Any number of threads may call one engine at the same time. No call
 * prints, throws or aborts. Sizes of records are in bytes, see warpkem_size(). Records have no header and no terminator.
 *
 * A bad item fails alone: its outputs are zero, its status says why, the call returns WARPKEM_ITEM_FAILED, and all other
 * items are complete. A ciphertext of ML-KEM is never bad: decapsulation rejects implicitly. Of a hybrid the curve's part
 * of a ciphertext is public and can be bad (WARPKEM_INVALID_C); ML-KEM's part of it rejects implicitly as well.
 *
 * @code{.c}
 * // A hundred key pairs, and a secret for each, of which one ek is bad.
 * static uint8_t ek[100][1184], dk[100][64], c[100][1088], K[100][32], statuses[100];
 * size_t failed = 0;
 * warpkem_engine *engine;
 * if (warpkem_engine_new(NULL, &engine) != WARPKEM_OK) return 1;
 * if (warpkem_keygen(engine, WARPKEM_ML_KEM_768, WARPKEM_DK_SEED, 100, (warpkem_out){ek[0], sizeof ek, 0},
 *                    (warpkem_out){dk[0], sizeof dk, 0}, NULL, NULL) != WARPKEM_OK) return 1;
 * ek[17][0] = ek[17][1] = 0xff;
 * if (warpkem_encaps(engine, WARPKEM_ML_KEM_768, 100, (warpkem_in){ek[0], sizeof ek, 0}, (warpkem_out){c[0], sizeof c, 0},
 *                    (warpkem_out){K[0], sizeof K, 0}, statuses, &failed) != WARPKEM_ITEM_FAILED) return 1;
 * if (failed != 1 || statuses[17] != WARPKEM_INVALID_EK) return 1;
 * printf("%s\n", warpkem_last_error()); // item 17: a coefficient of ek is not below q (FIPS 203, 7.2); ...
 * warpkem_engine_free(engine);
 * @endcode
 */
#ifndef WARPKEM_WARPKEM_H
#define WARPKEM_WARPKEM_H

#include <stddef.h>
#include <stdint.h>

#include "version.h"

#if defined(WARPKEM_STATIC)
#define WARPKEM_API
#elif defined(__GNUC__)
#define WARPKEM_API __attribute__((visibility("default")))
#else
#define WARPKEM_API
#endif

#if defined(__GNUC__)
#define WARPKEM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define WARPKEM_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- names and numbers, fixed for ever ---------------------------------------------------------------------------- */

typedef uint32_t warpkem_algorithm;
#define WARPKEM_ML_KEM_512 1u /* FIPS 203 Table 2 */
#define WARPKEM_ML_KEM_768 2u
#define WARPKEM_ML_KEM_1024 3u
/* Groups of TLS 1.3 (RFC 10024). K is both secrets, one after the other: it belongs into a key schedule that hashes the whole
 * exchange (of TLS, IKE or SSH), and nowhere else. An X25519 secret of zero fails. */
#define WARPKEM_X25519MLKEM768 4u     /* 4588 */
#define WARPKEM_SECP256R1MLKEM768 5u  /* 4587 */
#define WARPKEM_SECP384R1MLKEM1024 6u /* 4589 */
/* KEMs for every use (draft-irtf-cfrg-concrete-hybrid-kems, HPKE): K is a hash of both secrets and of the curve's elements. */
#define WARPKEM_MLKEM768_X25519 7u /* X-Wing; HPKE's 0x647a. See WARPKEM_REFUSE_ZERO. */
#define WARPKEM_MLKEM768_P256 8u   /* HPKE's 0x0050 */
#define WARPKEM_MLKEM1024_P384 9u  /* HPKE's 0x0051 */

typedef uint32_t warpkem_status; /* always below 256 */
#define WARPKEM_OK 0u
#define WARPKEM_INVALID_ARGUMENT 1u  /* the call was wrong; nothing was written */
#define WARPKEM_ITEM_FAILED 2u       /* of a call: at least one item failed, see `statuses` and `failed` */
#define WARPKEM_INVALID_EK 3u        /* of an item: a coefficient of ek is not below q (FIPS 203, 7.2) */
#define WARPKEM_INVALID_DK 4u        /* of an item: the hash of ek inside dk is wrong (FIPS 203, 7.3) */
#define WARPKEM_UNSUPPORTED 5u       /* unknown algorithm, backend or format, or not in this build */
#define WARPKEM_OUT_OF_MEMORY 6u
#define WARPKEM_RNG_FAILED 7u
#define WARPKEM_BACKEND_FAILED 8u    /* no backend could do it */
#define WARPKEM_INVALID_KEY_INDEX 9u /* of an item: index beyond the prepared keys */
#define WARPKEM_FORKED 10u           /* the engine was inherited through fork */
#define WARPKEM_WOULD_BLOCK 11u      /* of a submission: the engine's queue is full */
#define WARPKEM_CANCELLED 12u        /* of a submitted request: warpkem_cancel() came in time */
#define WARPKEM_EXPIRED 13u          /* of a submitted request: no backend had begun it by its deadline */
#define WARPKEM_ABORTED 14u          /* the engine was shut down first */
#define WARPKEM_WOULD_DEADLOCK 15u   /* an engine's callback must not wait for that engine */
#define WARPKEM_INVALID_C 16u        /* of an item of a hybrid: the curve's part of c is no point of it, or gives a zero secret */
#define WARPKEM_INVALID_RANDOMNESS 17u /* of an item of a hybrid: the given randomness holds no scalar of the curve */
#define WARPKEM_INVALID_ENCODING 18u   /* keyfile.h: not the DER of a key */
#define WARPKEM_KEY_MISMATCH 19u       /* keyfile.h, of an item: the parts of a key are not of one pair */
#define WARPKEM_PAIRWISE_FAILED 20u    /* of an item of key generation, with options.pairwise_every: dk does not give what was
                                          encapsulated to ek */
#define WARPKEM_INVALID_TAG 21u        /* of an item of warpkem_aes256_gcm_open(): not what was sealed with that key, nonce and aad */

/* How a decapsulation key is encoded. */
#define WARPKEM_DK_EXPANDED 0u  /* FIPS 203's dk: dk_PKE || ek || H(ek) || z. Of hybrids 4 to 6 also the curve's scalar, in
                                   the order of ek. Hybrids 7 to 9 have none. */
#define WARPKEM_DK_SEED 1u      /* d || z, 64 bytes. Of hybrids 4 to 6: d || z || T, where T is what the scalar is read from
                                   (X25519: the scalar). Of hybrids 7 to 9: 32 bytes, from which all else comes. */
#define WARPKEM_DK_COMPOSITE 2u /* of hybrids 7 to 9: d || z || the curve's private key, as draft-ietf-lamps-pq-composite-kem
                                   encodes it (X25519: 32 bytes; else DER) */

/* What warpkem_size() is asked for. */
#define WARPKEM_SIZE_EK 1u
#define WARPKEM_SIZE_DK 2u /* expanded */
#define WARPKEM_SIZE_DK_SEED 3u
#define WARPKEM_SIZE_C 4u
#define WARPKEM_SIZE_K 5u
#define WARPKEM_SIZE_SEED 6u /* what keygen_derand takes: d || z; of hybrids: a dk in seed form */
#define WARPKEM_SIZE_M 7u    /* what encaps_derand takes: m; of hybrids: m || T */
#define WARPKEM_SIZE_DK_COMPOSITE 8u
#define WARPKEM_SIZE_SEED_COMPOSITE 9u /* what keygen_derand takes for a composite dk: d || z || T */

/* An input or output array: item i at data + i * stride; stride 0: packed. `bytes` is the size of the whole array and
 * reaches at least to the last item's end. Bytes between the records are never read and never written. */
typedef struct {
  const uint8_t *data;
  size_t bytes;
  size_t stride;
} warpkem_in;
typedef struct {
  uint8_t *data;
  size_t bytes;
  size_t stride;
} warpkem_out;

typedef struct warpkem_engine warpkem_engine;
typedef struct warpkem_keys warpkem_keys;

/* ---- engine ------------------------------------------------------------------------------------------------------- */

/* Fills `out` with `bytes` random bytes. Returns 0 for success. The engine calls it from any thread, possibly from several
 * threads at once, and never with a lock of the engine held. It may use this engine and others, with two exceptions. It
 * must not ask its own engine for randomness, because that would recurse without end. It must not wait for requests that
 * were submitted to its own engine, because they may need the thread that it runs on. */
typedef int (*warpkem_random_fn)(void *context, uint8_t *out, size_t bytes);

#define WARPKEM_THREADS_AUTO 0xffffffffu /* as many as the process may use cores: by its affinity or, where that is fewer,
                                            by the CPU quota of its control groups, rounded up */

#define WARPKEM_NO_FAIL_OVER 1u /* options.flags: a batch that a backend fails to do answers BACKEND_FAILED; no other backend
                                   does it again */
#define WARPKEM_PIN_THREADS 2u  /* options.flags: pins each compute thread of the engine to one core: thread i to core i of
                                   the affinity mask of the thread that makes the engine. Use it for one engine on a machine
                                   that has little else to do. Without it the kernel may put two of the engine's threads on
                                   one core; requests then wait some milliseconds for a time slice. */

#define WARPKEM_REFUSE_ZERO 4u  /* options.flags: an X25519 secret of zero fails its item also with WARPKEM_MLKEM768_X25519. The
                                   documents of that KEM do not ask for it; an X25519 part of ek or c of low order gives
                                   such a secret, and only who sends one knows K's classical half then. */

/* Options of an engine. 0 in a field means its default. Start from WARPKEM_OPTIONS_DEFAULT, which also asks for threads.
 * struct_size is sizeof(warpkem_options), or 0 for defaults throughout. Members beyond a shorter struct are default. Bytes
 * of a longer struct that this version does not know must be zero, else INVALID_ARGUMENT. Strings are copied. */
typedef struct {
  size_t struct_size;
  const char *backend;      /* NULL or "auto": the backend that the environment variable WARPKEM_BACKEND names (setuid
                               programs ignore it), else the best one. Or a name: "cuda", "avx512", "avx2", "portable".
                               The named backend must be usable now. */
  uint32_t threads;         /* how many CPU threads a call may use, the caller's among them. 0: the engine has no threads
                               of its own. WARPKEM_THREADS_AUTO: see there. Threads start at first use. */
  uint32_t flags;           /* WARPKEM_NO_FAIL_OVER | WARPKEM_PIN_THREADS | WARPKEM_REFUSE_ZERO */
  warpkem_random_fn random; /* NULL: OpenSSL's private DRBG. The kernel's getrandom serves in a build without OpenSSL, and
                               after OpenSSL has cleaned up, which it does at exit. */
  void *random_context;
  const char *policy;       /* NULL: every algorithm; "CNSA-2.0": ML-KEM-1024 alone; "hybrid-only": every algorithm
                               with a classical half; "NIST-curves": hybrids with P-256 or P-384; or algorithm names
                               with commas.
                               An algorithm that the policy does not allow answers UNSUPPORTED. */
  const char *cuda_devices; /* the GPUs that the CUDA backend drives, separated by commas: indices, UUIDs ("GPU-..." or the
                               beginning of one) or PCI ids ("0000:3b:00.0"). NULL: every usable GPU. */
  size_t cuda_chunk;        /* most items of a chunk. A chunk is copied and computed as one unit. 0: chosen from the GPU's
                               memory and multiprocessors. */
  uint32_t cuda_streams;    /* chunks in flight on each GPU, at most 64; 0: 4 */
  size_t pairwise_every;    /* the pairwise consistency test of generated key pairs, as FIPS 140-3 (IG 10.3.A) asks of modules:
                               a fresh secret is encapsulated to ek, and dk must give it back. 0: none; 1: of every pair; n: of
                               one pair in n, counted over all calls of the engine, the first one among them. A pair that fails
                               is zeroed and has the status PAIRWISE_FAILED. Where the test cannot be done, key generation
                               fails as if it could not be done itself. Submitted requests are tested too. warpkem_cuda_run()
                               does no test: it refuses to generate keys then. A tested pair costs an encapsulation and a
                               decapsulation more, which count as items of the backend that does them. */
} warpkem_options;
#define WARPKEM_OPTIONS_DEFAULT {sizeof(warpkem_options), NULL, WARPKEM_THREADS_AUTO, 0, NULL, NULL, NULL, NULL, 0, 0, 0}

/// Makes an engine. NULL options mean WARPKEM_OPTIONS_DEFAULT. A process may have several engines; they share nothing.
/// @return OK; UNSUPPORTED: the backend or the policy is unknown, or the backend cannot be used here; INVALID_ARGUMENT;
///         OUT_OF_MEMORY; RNG_FAILED: there is no random generator, for example because OpenSSL's configuration
///         activates no provider that has one. *engine is NULL unless OK.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_engine_new(const warpkem_options *options, warpkem_engine **engine);

/// Frees an engine. NULL is allowed. No other call on the engine may be under way. Prepared keys stay valid: they keep
/// alive what they need. A forked child can only free an engine that it inherited: every other call answers FORKED. In a
/// callback of the engine the call returns at once, and the engine is freed later, see warpkem_completion_fn.
WARPKEM_API void warpkem_engine_free(warpkem_engine *engine);

/* ---- the operations ----------------------------------------------------------------------------------------------- */

/// Generates `count` key pairs. ML-KEM.KeyGen, FIPS 203 Algorithm 19.
///
/// @param dk_format WARPKEM_DK_EXPANDED or WARPKEM_DK_SEED: what is written to `dk`
/// @param ek, dk    out: `count` records each, of warpkem_size() bytes. Arrays of equal stride may interleave, but no
///                  output record shares a byte with any other record.
/// @param statuses  out: one byte per item, or NULL
/// @param failed    out: how many items failed, or NULL
/// @return OK; ITEM_FAILED; INVALID_ARGUMENT, UNSUPPORTED, FORKED: nothing was written; RNG_FAILED, OUT_OF_MEMORY,
///         BACKEND_FAILED: every output record is zero
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_keygen(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                             uint32_t dk_format, size_t count, warpkem_out ek,
                                                             warpkem_out dk, uint8_t *statuses, size_t *failed);

/// The same from given seeds d || z. ML-KEM.KeyGen_internal, FIPS 203 Algorithm 16. A seed is as secret as dk. Hybrids:
/// seeds of WARPKEM_SIZE_SEED bytes, or WARPKEM_SIZE_SEED_COMPOSITE for a composite dk; INVALID_RANDOMNESS is a status here.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_keygen_derand(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                                    uint32_t dk_format, size_t count, warpkem_in seeds,
                                                                    warpkem_out ek, warpkem_out dk, uint8_t *statuses,
                                                                    size_t *failed);

/// Encapsulates to each of `count` keys. ML-KEM.Encaps, FIPS 203 Algorithm 20, with the modulus check of Section 7.2: an
/// ek that fails it has status INVALID_EK. Returns as warpkem_keygen().
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_encaps(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                             size_t count, warpkem_in ek, warpkem_out c, warpkem_out K,
                                                             uint8_t *statuses, size_t *failed);

/// The same with given randomness m. ML-KEM.Encaps_internal, FIPS 203 Algorithm 17. An m must be random, secret and used
/// once: this is for tests and for callers that bring a generator of their own.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_encaps_derand(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                                    size_t count, warpkem_in ek, warpkem_in m,
                                                                    warpkem_out c, warpkem_out K, uint8_t *statuses,
                                                                    size_t *failed);

/// Decapsulates `count` ciphertexts, each with its own dk. ML-KEM.Decaps, FIPS 203 Algorithm 21, with the hash check of
/// Section 7.3 for expanded keys: a dk that fails it has status INVALID_DK. A wrong ciphertext yields J(z || c), silently.
/// Returns as warpkem_keygen().
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_decaps(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                             uint32_t dk_format, size_t count, warpkem_in dk, warpkem_in c,
                                                             warpkem_out K, uint8_t *statuses, size_t *failed);

/// The checks alone, of `count` keys: modulus check of ek (FIPS 203, 7.2), hash check of an expanded dk (7.3); of hybrids
/// also the curve's point or scalar. A bad key has status INVALID_EK or INVALID_DK. warpkem_check_dk() is of expanded keys;
/// warpkem_run() takes the other formats. A seed is always good, unless it holds no scalar of its curve. Returns as
/// warpkem_keygen().
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_check_ek(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                               size_t count, warpkem_in ek, uint8_t *statuses,
                                                               size_t *failed);
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_check_dk(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                               size_t count, warpkem_in dk, uint8_t *statuses,
                                                               size_t *failed);

/* ---- prepared keys ------------------------------------------------------------------------------------------------ */

/// Parses, checks and expands `count` keys (A, t, s, H(ek)) once for all later calls. The set is immutable. Any thread and
/// every backend of its engine may use it. It holds a copy of the encoded keys and keeps its engine alive. Its memory is
/// wiped when the last reference goes.
///
/// @param keys out: the set, with one reference. It is made also when some keys are bad (ITEM_FAILED): an item that uses a
///             bad key fails with that key's status. NULL after any other error.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_prepare_ek(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                                 size_t count, warpkem_in ek, uint8_t *statuses,
                                                                 size_t *failed, warpkem_keys **keys);
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_prepare_dk(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                                 uint32_t dk_format, size_t count, warpkem_in dk,
                                                                 uint8_t *statuses, size_t *failed, warpkem_keys **keys);

/// Adds a reference; drops a reference. NULL is allowed. Thread-safe. A call under way holds a reference of its own.
WARPKEM_API void warpkem_keys_retain(warpkem_keys *keys);
WARPKEM_API void warpkem_keys_release(warpkem_keys *keys);

/// The number of keys in the set. The bytes of memory that each key takes: its encoding and its expanded form.
WARPKEM_API size_t warpkem_keys_count(const warpkem_keys *keys);
WARPKEM_API size_t warpkem_keys_bytes_per_key(const warpkem_keys *keys);

/// As warpkem_encaps(), where item i uses key index[i]. If `index` is NULL, every item uses key 0. An item whose index is
/// beyond the set fails with INVALID_KEY_INDEX. `keys` must be encapsulation keys of this engine, else INVALID_ARGUMENT.
/// The second call takes `m` as warpkem_encaps_derand() does.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_encaps_prepared(warpkem_engine *engine, warpkem_keys *keys,
                                                                      const uint32_t *index, size_t count, warpkem_out c,
                                                                      warpkem_out K, uint8_t *statuses, size_t *failed);
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_encaps_prepared_derand(warpkem_engine *engine, warpkem_keys *keys,
                                                                             const uint32_t *index, size_t count,
                                                                             warpkem_in m, warpkem_out c, warpkem_out K,
                                                                             uint8_t *statuses, size_t *failed);

/// As warpkem_decaps(), where item i uses key index[i] of a set of decapsulation keys.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_decaps_prepared(warpkem_engine *engine, warpkem_keys *keys,
                                                                      const uint32_t *index, size_t count, warpkem_in c,
                                                                      warpkem_out K, uint8_t *statuses, size_t *failed);

/* ---- derivation --------------------------------------------------------------------------------------------------- */

/// SHAKE256 (FIPS 202) of `count` messages: message i is `prefix`, then record i of each part. Jobs derive seeds and m with it
/// from a secret of the job and the name of an item: the same item gets the same bytes each time. Everything counts as
/// secret. The CPU does the work, whatever backends the engine has.
///
/// @param prefix  in:  prefix_bytes bytes; may be NULL if that is 0
/// @param parts   in:  num_parts arrays, at most 8, of `count` records each; part j has records of part_bytes[j] bytes, at
///                     least 1. A message has at most 65536 bytes.
/// @param digests out: `count` records of digest_bytes bytes, 1 to 65536; may not share a byte with a part
/// @return OK; INVALID_ARGUMENT, FORKED: nothing was written; OUT_OF_MEMORY: every digest is zero. Blocks. Thread-safe.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_shake256(warpkem_engine *engine, size_t count, const uint8_t *prefix,
                                                               size_t prefix_bytes, size_t num_parts,
                                                               const warpkem_in *parts, const size_t *part_bytes,
                                                               warpkem_out digests, size_t digest_bytes);

/// Encapsulates to each of `count` keys, as warpkem_encaps_derand() does, with an m that the library derives and does not show:
/// the first bytes of SHAKE256(prefix || record i of each part || H(ek)), as many as m has, with H(ek) = SHA3-256(ek). The same
/// prefix, parts and ek give the same c and K each time, so what was interrupted can be done again; another ek gets another m.
///
/// `prefix` or a part must hold a secret of at least 32 bytes. Nothing else may be derived from the same prefix and parts. The
/// parts of each item must be unique: two items with the same prefix, parts and ek have the same K. The library computes
/// H(ek) once for both uses, so the call is cheaper than warpkem_shake256() over the ek.
///
/// @param prefix, prefix_bytes, num_parts, parts, part_bytes as of warpkem_shake256(), of 1 to 65504 bytes together. They share
///        no byte with an output.
/// @return as warpkem_encaps(). Of hybrids INVALID_RANDOMNESS is a status here. Blocks. Thread-safe.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_encaps_derived(warpkem_engine *engine, warpkem_algorithm algorithm,
                                                                     size_t count, const uint8_t *prefix,
                                                                     size_t prefix_bytes, size_t num_parts,
                                                                     const warpkem_in *parts, const size_t *part_bytes,
                                                                     warpkem_in ek, warpkem_out c, warpkem_out K,
                                                                     uint8_t *statuses, size_t *failed);

/* ---- wrapping ----------------------------------------------------------------------------------------------------- */

/* As the stride of an input of the two calls below: all items use the one record at `data`. */
#define WARPKEM_ONE_FOR_ALL ((size_t)-1)

/// AES-256-GCM (NIST SP 800-38D) of `count` texts: text i under key i, with nonce i. aad i is authenticated too and is not part of
/// the output. Jobs wrap secrets with it, each under the K of its item, or all under one key. OpenSSL does the work, on the CPU,
/// whatever backends the engine has.
///
/// A key must not seal two texts with the same nonce: that reveals both, and lets others forge. A key that seals one text only,
/// as a K does, may have any nonce, zeros too. Nonces of a key that seals many are best counted, or derived from what is unique;
/// with random ones it may seal 2^32 texts at most (SP 800-38D, 8.3).
///
/// @param key    in:  `count` records of 32 bytes, or ONE_FOR_ALL
/// @param nonce  in:  `count` records of 12 bytes, or ONE_FOR_ALL; not both for more than one item
/// @param aad    in:  `count` records of aad_bytes bytes, or ONE_FOR_ALL; unused if aad_bytes is 0
/// @param text   in:  `count` records of text_bytes bytes, or ONE_FOR_ALL; unused if text_bytes is 0
/// @param sealed out: `count` records of text_bytes + 16 bytes: the ciphertext and then the tag. They share no byte with
///                    another record, but may interleave with records of the same stride: a nonce before each, for example.
/// aad_bytes and text_bytes are at most 2^30.
/// @return OK; INVALID_ARGUMENT, FORKED, UNSUPPORTED (the library was built without OpenSSL, or OpenSSL's configuration leaves out
///         this cipher): nothing was written; OUT_OF_MEMORY, BACKEND_FAILED (OpenSSL has cleaned up): all of `sealed` is zero.
/// Blocks. Thread-safe.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_aes256_gcm_seal(warpkem_engine *engine, size_t count, warpkem_in key,
                                                                      warpkem_in nonce, warpkem_in aad, size_t aad_bytes,
                                                                      warpkem_in text, size_t text_bytes,
                                                                      warpkem_out sealed);

/// Opens what warpkem_aes256_gcm_seal() sealed. An item whose tag is wrong fails with INVALID_TAG, and its text is zero. Until
/// the call returns `text` may hold what is not authentic.
///
/// @param sealed   in:  `count` records of text_bytes + 16 bytes, or ONE_FOR_ALL
/// @param text     out: `count` records of text_bytes bytes; unused if text_bytes is 0
/// @param statuses out: one byte per item, or NULL
/// @param failed   out: how many items failed, or NULL
/// @return as warpkem_aes256_gcm_seal(), or ITEM_FAILED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_aes256_gcm_open(warpkem_engine *engine, size_t count, warpkem_in key,
                                                                      warpkem_in nonce, warpkem_in aad, size_t aad_bytes,
                                                                      warpkem_in sealed, size_t text_bytes,
                                                                      warpkem_out text, uint8_t *statuses,
                                                                      size_t *failed);

/* ---- HPKE --------------------------------------------------------------------------------------------------------- */

/// Derives of each of `count` ikm the seed that HPKE's DeriveKeyPair gives to key generation (draft-ietf-hpke-pq): what
/// warpkem_keygen_derand() takes, and in seed form the dk. For ML-KEM (kem ids 0x40 to 0x42) and hybrids 7 to 9 (0x647a,
/// 0x50, 0x51). (X-Wing's own draft derives other keys from the same ikm.)
///
/// @param ikm   in:  `count` records of ikm_bytes bytes, 1 to 65536: uniformly random and secret, at least as long as a seed
/// @param seeds out: `count` records of WARPKEM_SIZE_SEED bytes, secret
/// @return OK; UNSUPPORTED: HPKE has no such KEM, or the policy does not allow it; INVALID_ARGUMENT, FORKED: nothing was
///         written; OUT_OF_MEMORY: every seed is zero. Blocks. Thread-safe.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_hpke_derive_seeds(warpkem_engine *engine,
                                                                        warpkem_algorithm algorithm, size_t count,
                                                                        warpkem_in ikm, size_t ikm_bytes,
                                                                        warpkem_out seeds);

/* ---- the descriptor: what every call above becomes ---------------------------------------------------------------- */

#define WARPKEM_OP_KEYGEN 1u
#define WARPKEM_OP_ENCAPS 2u
#define WARPKEM_OP_DECAPS 3u
#define WARPKEM_OP_CHECK_EK 4u
#define WARPKEM_OP_CHECK_DK 5u

#define WARPKEM_DERAND 1u /* batch.flags: seeds (keygen) or m (encaps) are given */

/* Either base and stride, or a table of `count` pointers to records; with a table data is NULL, and bytes and stride are 0.
 * The call borrows the table as it borrows the records. Records of an output table share no byte with any other record. */
typedef struct {
  const uint8_t *data;
  size_t bytes;
  size_t stride;
  const uint8_t *const *table;
} warpkem_source;
typedef struct {
  uint8_t *data;
  size_t bytes;
  size_t stride;
  uint8_t *const *table;
} warpkem_target;

#define WARPKEM_MAX_BACKENDS 16u

/* One batch of one operation. An array that the operation does not use must be all zero, else INVALID_ARGUMENT. */
typedef struct {
  size_t struct_size; /* sizeof(warpkem_batch); a longer struct with unknown non-zero bytes is refused */
  uint32_t operation; /* WARPKEM_OP_* */
  warpkem_algorithm algorithm;
  uint32_t dk_format; /* keygen, decaps without `keys`, check_dk; else 0 */
  uint32_t flags;     /* WARPKEM_DERAND */
  size_t count;
  warpkem_source seeds; /* keygen, with WARPKEM_DERAND only */
  warpkem_source m;     /* encaps, with WARPKEM_DERAND only */
  warpkem_source ek;    /* encaps without `keys`; check_ek */
  warpkem_source dk;    /* decaps without `keys`; check_dk */
  warpkem_source c;     /* decaps */
  warpkem_target ek_out; /* keygen */
  warpkem_target dk_out; /* keygen */
  warpkem_target c_out;  /* encaps */
  warpkem_target K_out;  /* encaps, decaps */
  warpkem_keys *keys;    /* a prepared set in place of ek or dk, or NULL; its algorithm is `algorithm` */
  const uint32_t *index; /* `count` indices into the set; NULL: key 0 for all */
  uint8_t *statuses;     /* out: one byte per item, or NULL. Its contents are undefined while the call runs. */
  size_t *failed;        /* out: how many items failed, or NULL */
  uint64_t *items_by_backend; /* out: NULL, or WARPKEM_MAX_BACKENDS counts: how many items each backend did, by its index,
                                 see warpkem_engine_backend() */
  void *user_data;       /* for the completion of a submitted request; blocking calls ignore it */
} warpkem_batch;

/// Runs the batch that `batch` describes and blocks until it is done. Every named call is a thin wrapper over this, and
/// returns what this returns: see warpkem_keygen(). INVALID_ARGUMENT also for arrays that the operation does not have.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_run(warpkem_engine *engine, const warpkem_batch *batch);

/* ---- queries ------------------------------------------------------------------------------------------------------ */

typedef struct {
  size_t struct_size;  /* in: sizeof(warpkem_backend_info) */
  const char *name;    /* lives as long as the library */
  const char *detail;  /* available: device or instruction set; else the reason. Lives as long as the engine. */
  uint32_t available;  /* 1: this engine may use the backend; 0: it may not */
  uint32_t preferred;  /* 1: the engine's first choice */
  uint64_t items;      /* items that the backend has completed for this engine */
} warpkem_backend_info;

/// Describes in `info` the engine's backend number `index`, best first. To list all, count up from 0 until INVALID_ARGUMENT.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_engine_backend(warpkem_engine *engine, size_t index,
                                                                     warpkem_backend_info *info);

/// Runs the known-answer test of the named backend; NULL: of every backend that the engine may use. The test is the
/// accumulated one of 100 iterations, for every parameter set, with keys expanded, as seeds and prepared.
/// @return OK; BACKEND_FAILED: warpkem_last_error() has the reason; UNSUPPORTED: the engine may not use that backend
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_selftest(warpkem_engine *engine, const char *backend);

/// Bytes of one record, where `what` is one of WARPKEM_SIZE_*; 0: no such algorithm or thing.
WARPKEM_API size_t warpkem_size(warpkem_algorithm algorithm, uint32_t what);

/// The algorithm of a name ("ML-KEM-768"), alias ("MLKEM768"), dotted OID, or number of a TLS group ("4588") or HPKE KEM
/// ("0x647a"); ASCII case is ignored. 0: unknown.
WARPKEM_API warpkem_algorithm warpkem_algorithm_by_name(const char *name);
WARPKEM_API const char *warpkem_algorithm_name(warpkem_algorithm algorithm); /* NULL: unknown */
WARPKEM_API const char *warpkem_algorithm_oid(warpkem_algorithm algorithm);  /* NULL: unknown */

typedef struct {
  size_t struct_size;       /* in: sizeof(warpkem_algorithm_info) */
  const char *name;         /* these live as long as the library; those of what the algorithm lacks are NULL */
  const char *oid;          /* dotted */
  const char *tls_group;    /* name in IANA's registry of TLS groups */
  const char *curve;        /* of hybrids: "X25519", "P-256" or "P-384" */
  uint32_t tls_number;      /* in that registry; 0: the algorithm is no group of TLS */
  uint32_t hpke_number;     /* in IANA's registry of HPKE KEMs; 0: the algorithm is none of them */
  warpkem_algorithm ml_kem; /* of hybrids: the ML-KEM inside; else the algorithm itself */
  uint32_t category;        /* of NIST's: 1, 3 or 5; of hybrids that of the ML-KEM inside */
  uint32_t combines;        /* of hybrids, 1: K is a hash of both secrets, a key for every use; 0: K is both secrets */
  uint32_t reserved;        /* 0 */
  size_t ml_kem_in_ek;      /* bytes before ML-KEM's record in an ek; what is not ML-KEM's is the curve's */
  size_t ml_kem_in_dk;      /* in an expanded dk */
  size_t ml_kem_in_c;
} warpkem_algorithm_info;

/// Describes `algorithm` in `info`. To list all, count up from 1 until UNSUPPORTED. Whether an engine has an algorithm also
/// depends on its policy and, for the curves of NIST, on OpenSSL.
/// @return OK; UNSUPPORTED: there is no such algorithm; INVALID_ARGUMENT: info is NULL or its struct_size no size of it
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_describe_algorithm(warpkem_algorithm algorithm,
                                                                         warpkem_algorithm_info *info);

/// Whether an engine with this options.policy (NULL: none) would do this algorithm. Takes no engine.
/// @return OK: it would; UNSUPPORTED: it would not, or there is no such algorithm; INVALID_ARGUMENT: no such policy
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_policy_allows(const char *policy, warpkem_algorithm algorithm);

/// The name of `status`, "WARPKEM_OK" and so on; "WARPKEM_UNKNOWN_STATUS" for other numbers. Never NULL.
WARPKEM_API const char *warpkem_status_name(warpkem_status status);

/// The text of this thread's last failed call. It names the argument, the item and the rule. "" if no call failed. Never
/// NULL. Valid until this thread's next call.
WARPKEM_API const char *warpkem_last_error(void);

/// The library's version, as WARPKEM_VERSION_STRING was when it was built. Never NULL.
WARPKEM_API const char *warpkem_version(void);

/// The features of this CPU that matter here, separated by spaces ("avx2 bmi2 avx512f"). Never NULL.
WARPKEM_API const char *warpkem_cpu_features(void);

#ifdef __cplusplus
}
#endif

#include "async.h"

#endif
