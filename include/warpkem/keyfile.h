/*
 * WarpKEM: how keys are written in files, as DER. C99.
 *
 * ML-KEM: RFC 9935, Sections 4 (SubjectPublicKeyInfo, certificates) and 6 (PKCS#8, RFC 5958; "RFC 9935" below). The
 * hybrids 7 to 9: draft-ietf-lamps-pq-composite-kem (OIDs 1.3.6.1.5.5.7.6.58, 59, 63). X-Wing also under an OID of its
 * own (1.3.6.1.4.1.62253.25722, draft-connolly-cfrg-xwing-kem), whose private key is the seed. The groups of TLS have
 * none.
 *
 * Encoding is a prefix and a copy, for batches. Decoding copies nothing: it tells where the parts of a key lie in the
 * caller's bytes. It accepts DER alone, and says at which byte which rule is broken. What it cannot tell, because it
 * takes arithmetic, is for warpkem_check_keys(): a batch of decoded keys of any mix.
 *
 * PEM and encryption are elsewhere: OpenSSL's PEM_read_bio() and PKCS8_decrypt(), or the tool (`warpkem import`).
 *
 * The usual encodings have fixed sizes, and are told by their first bytes. Whatever else is valid (attributes, a public
 * key beside a private one, certificates), and the reason why something is not, takes OpenSSL: a build without it, or a
 * process in which OpenSSL has ended, answers UNSUPPORTED for what is not in the usual form.
 *
 * No function here keeps a secret or takes a lock that a fork could leave locked. All are thread-safe.
 *
 * @code{.c}
 * // Seeds of ML-KEM-512 as PKCS#8, and back.
 * static uint8_t seeds[10][64], der[10][86];
 * warpkem_decoded_key key = {.struct_size = sizeof key};
 * if (warpkem_encoded_bytes(WARPKEM_ML_KEM_512, WARPKEM_ENCODING_SEED) != sizeof der[0]) return 1;
 * if (warpkem_encode_keys(WARPKEM_ML_KEM_512, WARPKEM_ENCODING_SEED, 10, (warpkem_in){seeds[0], sizeof seeds, 0},
 *                         (warpkem_in){NULL, 0, 0}, (warpkem_out){der[0], sizeof der, 0}) != WARPKEM_OK) return 1;
 * if (warpkem_decode_key(der[9], sizeof der[9], &key) != WARPKEM_OK) return 1;
 * if (key.algorithm != WARPKEM_ML_KEM_512 || memcmp(key.seed, seeds[9], 64) != 0) return 1;
 * @endcode
 */
#ifndef WARPKEM_KEYFILE_H
#define WARPKEM_KEYFILE_H

#include "warpkem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The encodings. Not every algorithm has each, see warpkem_encoded_bytes(). */
#define WARPKEM_ENCODING_PUBLIC 1u       /* ek, as SubjectPublicKeyInfo */
#define WARPKEM_ENCODING_PUBLIC_XWING 2u /* the same under X-Wing's own OID */
#define WARPKEM_ENCODING_SEED 3u         /* PKCS#8, the seed alone. RFC 9935 recommends it. X-Wing: under its own OID. */
#define WARPKEM_ENCODING_EXPANDED 4u     /* PKCS#8, expandedKey */
#define WARPKEM_ENCODING_BOTH 5u         /* PKCS#8, the seed and the expanded key */
#define WARPKEM_ENCODING_COMPOSITE 6u    /* PKCS#8 of a composite key: d || z || the curve's private key */
#define WARPKEM_ENCODING_CERTIFICATE 7u  /* only read: an X.509 certificate. Its signature is not verified. */
#define WARPKEM_ENCODING_ENCRYPTED 8u    /* only recognised: PKCS#8 EncryptedPrivateKeyInfo */

/// Bytes of the encoding of one key of that algorithm; 0: it has none.
WARPKEM_API size_t warpkem_encoded_bytes(warpkem_algorithm algorithm, uint32_t encoding);

/// Encodes `count` keys. What the records hold is not looked at.
///
/// @param key      in:  `count` records: ek (PUBLIC, PUBLIC_XWING); the dk in seed form (SEED, BOTH), expanded
///                 (EXPANDED) or composite (COMPOSITE)
/// @param expanded in:  BOTH: the expanded dk of each seed; else all zero
/// @param der      out: `count` records of warpkem_encoded_bytes(), as secret as `key`
/// @return OK; UNSUPPORTED: the algorithm has no such encoding; INVALID_ARGUMENT; OUT_OF_MEMORY: nothing was written
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_encode_keys(warpkem_algorithm algorithm, uint32_t encoding,
                                                                  size_t count, warpkem_in key, warpkem_in expanded,
                                                                  warpkem_out der);

/* One decoded key. The pointers lead into the caller's DER, and are NULL for what it does not hold. */
typedef struct {
  size_t struct_size;          /* in: sizeof(warpkem_decoded_key) */
  warpkem_algorithm algorithm; /* 0: not told (ENCRYPTED) */
  uint32_t encoding;           /* WARPKEM_ENCODING_* */
  const uint8_t *ek;           /* PUBLIC, PUBLIC_XWING, CERTIFICATE; of a private key: its publicKey, if there */
  const uint8_t *seed;         /* WARPKEM_SIZE_DK_SEED bytes: SEED, BOTH */
  const uint8_t *expanded;     /* WARPKEM_SIZE_DK bytes: EXPANDED, BOTH */
  const uint8_t *composite;    /* WARPKEM_SIZE_DK_COMPOSITE bytes */
  size_t error_at;             /* INVALID_ENCODING, UNSUPPORTED: the byte offset in `der`; else 0 */
} warpkem_decoded_key;

/// Decodes one DER object, which is all of the `bytes` bytes at `der`. Looks at its structure; warpkem_check_keys() does
/// the rest.
///
/// Refused, with the rule in warpkem_last_error() and the place in key->error_at: lengths that are not of the
/// algorithm, indefinite or not the shortest, or beyond the end; trailing bytes; parameters of the algorithm (RFC 9935,
/// Section 3); tags other than those of Section 6; versions other than RFC 5958's; certificates whose keyUsage is not
/// keyEncipherment alone (Section 5).
///
/// @param key out: the key; if the call fails, zero, except error_at
/// @return OK; INVALID_ENCODING; UNSUPPORTED: the key of an algorithm that WarpKEM does not have, or see above;
///         INVALID_ARGUMENT; OUT_OF_MEMORY
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_decode_key(const uint8_t *der, size_t bytes,
                                                                 warpkem_decoded_key *key);

/// Checks `count` decoded keys, of any algorithms and encodings: ek (FIPS 203, 7.2); expanded keys: the hash (7.3), and
/// that what is encapsulated to the ek inside is decapsulated (RFC 9935, Section 8); both forms: that the seed gives
/// the expanded key; a publicKey beside a private one: that it is of the same pair; composite keys: the curve's part.
/// Blocks.
///
/// @param keys     in:  what warpkem_decode_key() told, all with the struct_size of the first; the DER is still there
/// @param statuses out: one byte per key, or NULL: OK, INVALID_EK, INVALID_DK, KEY_MISMATCH, or UNSUPPORTED: an
///                 algorithm that this engine does not have, or an encrypted key
/// @param failed   out: how many keys failed, or NULL
/// @return OK; ITEM_FAILED; INVALID_ARGUMENT; FORKED; OUT_OF_MEMORY; BACKEND_FAILED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_check_keys(warpkem_engine *engine, size_t count,
                                                                 const warpkem_decoded_key *keys, uint8_t *statuses,
                                                                 size_t *failed);

#ifdef __cplusplus
}
#endif

#endif
