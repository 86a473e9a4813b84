// K-PKE.Encrypt from the matrix and the noise on, with the modulus check of ek: half a warp per item.
#include "kernels/arithmetic.cuh"
#include "kernels/kpke.cuh"

namespace warpkem::kernels {

template <class P>
WARPKEM_FN void compute(const EncryptArgs& args, const HalfwarpItem& item) {
  const u8* const noise2 = args.noise.eta2[item.index];
  prefetch_record(args.key.A[item.index], 512 * P::k * P::k);
  prefetch_record(args.key.ek[item.index], P::dk_pke_bytes);
  prefetch_record(noise2, (P::k + 1) * 64 * P::eta2);
  u8* const to = args.c[item.index];
  const bool too_large =
      kpke::Encrypt<P>(args.key.A[item.index], args.key.ek[item.index], args.noise.eta1[item.index], noise2,
                       args.m[item.index], item.exchange, [&]<int d>(const halfwarp::Moved<d>& moved, u32 offset) {
#pragma unroll
                         for (int i = 0; i < halfwarp::moved_words<d>; ++i) {
                           if (item.store && halfwarp::moves<d>(i)) {
                             reinterpret_cast<u32*>(to + offset)[16 * i + halfwarp::lane()] = moved.w[i];
                           }
                         }
                       });
  // The modulus check, FIPS 203, 7.2: ek is public.
  const bool is_bad = args.checks && halfwarp::any(too_large);
  const bool failed = is_bad || args.last.statuses[item.index] != 0;
  if (is_bad && halfwarp::lane() == 0 && item.store)
    args.last.statuses[item.index] = static_cast<u8>(ItemStatus::invalid_ek);
  wipe(item);
  finish(args.last, item, failed);
}

namespace {

// FIPS 203, 7.2, by itself: half a warp per item; ek is public.
__global__ void __launch_bounds__(policy::arithmetic_threads)
    check_modulus_kernel(Rows ek, u32 k, u8* statuses, u32 items) {
  __shared__ ArithmeticShared shared;
  const HalfwarpItem item = halfwarp_item(shared, items);
  bool too_large = false;
#pragma unroll 1
  for (u32 i = 0; i < k; ++i) {
    const halfwarp::NttPoly t = halfwarp::ByteDecode<12, 0>(ek[item.index] + 384 * i, item.exchange);
#pragma unroll
    for (int n = 0; n < 16; ++n) too_large |= t.c[n] > q - 1;
  }
  if (too_large) statuses[item.index] = static_cast<u8>(ItemStatus::invalid_ek);
}

}  // namespace

template <class P>
cudaError_t encrypt(const EncryptArgs& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept {
  return launch_arithmetic<P>(args, items, beside, stream);
}

template cudaError_t encrypt<MlKem512>(const EncryptArgs&, u32, const Beside*, cudaStream_t) noexcept;
template cudaError_t encrypt<MlKem768>(const EncryptArgs&, u32, const Beside*, cudaStream_t) noexcept;
template cudaError_t encrypt<MlKem1024>(const EncryptArgs&, u32, const Beside*, cudaStream_t) noexcept;

cudaError_t check_modulus(Rows ek, u32 k, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  check_modulus_kernel<<<arithmetic_blocks(items), policy::arithmetic_threads, 0, stream>>>(ek, k, statuses, items);
  return cudaGetLastError();
}

KernelList encaps_kernels() noexcept {
  static const void* const all[] = {reinterpret_cast<const void*>(&arithmetic_kernel<MlKem512, EncryptArgs>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem768, EncryptArgs>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem1024, EncryptArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem512, EncryptArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem768, EncryptArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem1024, EncryptArgs>),
                                    reinterpret_cast<const void*>(&check_modulus_kernel)};
  return all;
}

}  // namespace warpkem::kernels
