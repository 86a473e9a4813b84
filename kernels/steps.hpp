// The steps that pass.hpp composes into operations: each enqueues one kernel. Internal to kernels/.
#pragma once

#include <cuda_runtime_api.h>

#include <span>

#include "kernels/field.hpp"
#include "kernels/status.hpp"

namespace warpkem::kernels {

// Records on the device, one per item, at multiples of 16 bytes: item i's is at data + i * stride, or, with `index`, at
// data + index[i] * stride.
struct Rows {
  u8* data = nullptr;
  u64 stride = 0;
  const u32* index = nullptr;

#ifdef __CUDACC__
  WARPKEM_FN u8* operator[](u32 item) const { return data + stride * (index != nullptr ? index[item] : item); }
#endif
  bool present() const noexcept { return data != nullptr; }
  Rows offset(std::size_t bytes) const noexcept {
    Rows rows = *this;
    if (rows.data != nullptr) rows.data += bytes;
    return rows;
  }
};

// Records of any alignment.
struct AnyRows {
  u8* data = nullptr;
  u64 stride = 0;
  u8* const* table = nullptr;

#ifdef __CUDACC__
  WARPKEM_FN u8* operator[](u32 item) const { return table != nullptr ? table[item] : data + item * stride; }
#endif
  bool present() const noexcept { return data != nullptr || table != nullptr; }
};

// A message of an optional 32-byte prefix and a body, hashed by one thread per item with SHA3-256 or SHAKE256 (rate 17
// words) or SHA3-512 (rate 9 words). `pad` follows the message: domain bits, and the byte k of G(d || k).
struct Sponge {
  Rows prefix, body;
  u32 body_words = 0;  // of 8 bytes
  u32 rate_words = 17;
  u64 pad = 0x06;
  Rows out[3];    // 32 bytes each, absent ones in between included; two of SHA3-512, three of SHAKE256
  Rows expected;  // if present, nothing is written, but the item fails as `failure` where the digest differs
  u8 failure = 0;
  Rows body_copy;           // if present, receives the body
  Rows also_from, also_to;  // if present, 32 bytes that are copied on the way
};

// The parts of a key that Encrypt and Decrypt read.
struct KeyRows {
  Rows A;   // k * k polynomials of 256 u16: 16 * coefficient, A[i][j] at i * k + j
  Rows ek;  // ByteEncode_12(t_hat) || rho
  Rows h;   // H(ek)
  Rows s;   // dk_PKE = ByteEncode_12(s_hat)
  Rows z;   // 32 bytes
};

// Noise as PRF gave it: item i's polynomial j at data + (i * polynomials + j) * 64 * eta.
struct Noise {
  const u8* eta1 = nullptr;
  const u8* eta2 = nullptr;
};

struct PrfArgs {
  Rows seed;  // sigma or r, 32 bytes
  u8* out = nullptr;
  u32 polynomials = 0;  // per item
  u32 first = 0;        // N of the first polynomial
  u32 words = 0;        // 4-byte words per polynomial, 32 or 48
};

// SampleNTT of every entry of every item's matrix. Entries that three blocks of SHAKE128 do not fill go to `queue`.
struct MatrixArgs {
  Rows rho;
  Rows A;
  u32 k = 0;
  u32* unfinished = nullptr;  // a bit per entry, in words of 32
  u32* queue = nullptr;       // room for items * k * k
  u32* queued = nullptr;
  u32 one = 1;  // see thread::Column
};

// One thread, one state: for throughput.
cudaError_t sponge(const Sponge& job, u8* statuses, u32 items, cudaStream_t stream) noexcept;
cudaError_t PRF(const PrfArgs& args, u32 items, cudaStream_t stream) noexcept;
cudaError_t SampleNTT(const MatrixArgs& args, u32 items, cudaStream_t stream) noexcept;

// One warp, one state: for latency. Jobs of which none waits for another are one launch, whose warps run side by side.
struct WarpJobs {
  static constexpr int most = 2;  // of a kind; of matrices 1
  Sponge sponges[most];
  PrfArgs prfs[most];
  MatrixArgs matrix;
  int num_sponges = 0, num_prfs = 0, num_matrices = 0;

  void add(const Sponge& job) noexcept { sponges[num_sponges++] = job; }
  void add(const PrfArgs& args) noexcept { prfs[num_prfs++] = args; }
  void add(const MatrixArgs& args) noexcept { matrix = args, num_matrices = 1; }
};
cudaError_t hash_by_warp(const WarpJobs& jobs, u8* statuses, u32 items, cudaStream_t stream) noexcept;

// K-PKE.KeyGen from line 8 on: dk_PKE (absent: not wanted) and the ByteEncode_12(t_hat) part of ek. Noise: 2k of eta1.
template <class P>
cudaError_t keygen(Rows A, Noise noise, Rows ek, Rows dk_pke, u32 items, cudaStream_t stream) noexcept;

// K-PKE.Encrypt from line 9 on. Noise: k of eta1, k + 1 of eta2. With `statuses`, also check_modulus().
template <class P>
cudaError_t encrypt(const KeyRows& key, Noise noise, Rows m, Rows c, u8* statuses, u32 items,
                    cudaStream_t stream) noexcept;

// K-PKE.Decrypt.
template <class P>
cudaError_t decrypt(const KeyRows& key, Rows c, Rows m, u32 items, cudaStream_t stream) noexcept;

// ML-KEM.Decaps_internal lines 8-11: re-encrypts, compares with c and selects K out of K_prime and K_bar.
template <class P>
cudaError_t reencrypt(const KeyRows& key, Noise noise, Rows m, Rows c, Rows K_prime, Rows K_bar, Rows K, u32 items,
                      cudaStream_t stream) noexcept;

// Section 7.2: a coefficient of ByteDecode_12(ek) not below q fails the item.
cudaError_t check_modulus(Rows ek, u32 k, u8* statuses, u32 items, cudaStream_t stream) noexcept;

// Statuses of a batch with prepared keys; `safe` gets the index, or 0 where it is bad.
cudaError_t resolve_keys(const u32* index, u64 num_keys, const u8* key_statuses, u32* safe, u8* statuses, u32 items,
                         cudaStream_t stream) noexcept;

// Of X25519, records of 32 bytes: element = X25519(k, 9). If present, `also_to` gets the element too, and k_copy k.
struct PublicKeyArgs {
  Rows k, element;
  Rows also_to, k_copy;
};
cudaError_t public_keys(const PublicKeyArgs& args, u32 items, int num_multiprocessors, cudaStream_t stream) noexcept;

// secret = X25519(k, element).
struct DeriveArgs {
  Rows k, element, secret;
  Rows element_copy;  // if present, receives the element
};
cudaError_t derive(const DeriveArgs& args, u32 items, int num_multiprocessors, cudaStream_t stream) noexcept;

// Fails the items whose secret is zero, or whose element gives one that is. Statuses of other failures stay.
cudaError_t check_secrets(Rows secrets, ItemStatus failure, u8* statuses, u32 items, cudaStream_t stream) noexcept;
cudaError_t check_elements(Rows elements, ItemStatus failure, u8* statuses, u32 items, cudaStream_t stream) noexcept;

cudaError_t copy_records(AnyRows from, AnyRows to, u32 bytes, u32 items, cudaStream_t stream) noexcept;

// Counts the failed items into *failed (added to), and zeroes their records of up to three outputs.
struct Output {
  AnyRows rows;
  u32 bytes = 0;
};
struct FinishArgs {
  const u8* statuses = nullptr;
  u64* failed = nullptr;  // or null
  Output outputs[3];
  u32* list = nullptr;  // room for items
  u32* listed = nullptr;
};
cudaError_t finish(const FinishArgs& args, u32 items, cudaStream_t stream) noexcept;

// Every kernel of each file, as the runtime knows them.
using KernelList = std::span<const void* const>;
KernelList hash_kernels() noexcept;
KernelList hash_by_warp_kernels() noexcept;
KernelList keygen_kernels() noexcept;
KernelList encaps_kernels() noexcept;
KernelList decaps_kernels() noexcept;
KernelList records_kernels() noexcept;
KernelList x25519_kernels() noexcept;

}  // namespace warpkem::kernels
