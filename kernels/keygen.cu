// K-PKE.KeyGen from the matrix and the noise on: half a warp per item.
#include "kernels/arithmetic.cuh"
#include "kernels/kpke.cuh"

namespace warpkem::kernels {

template <class P>
WARPKEM_FN void compute(const KeygenArgs& args, const HalfwarpItem& item) {
  const u32 i = item.index;
  const u8* const eta1 = args.noise.eta1[i];
  prefetch_record(args.A[i], 512 * P::k * P::k);
  prefetch_record(eta1, 2 * P::k * 64 * P::eta1);
  kpke::KeyGen<P>(args.A[i], eta1, args.ek[i], args.dk_pke.data != nullptr ? args.dk_pke[i] : nullptr, item.store,
                  item.exchange);
  wipe(item);
}

template <class P>
cudaError_t keygen(const KeygenArgs& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept {
  return launch_arithmetic<P>(args, items, beside, stream);
}

template cudaError_t keygen<MlKem512>(const KeygenArgs&, u32, const Beside*, cudaStream_t) noexcept;
template cudaError_t keygen<MlKem768>(const KeygenArgs&, u32, const Beside*, cudaStream_t) noexcept;
template cudaError_t keygen<MlKem1024>(const KeygenArgs&, u32, const Beside*, cudaStream_t) noexcept;

KernelList keygen_kernels() noexcept {
  static const void* const all[] = {reinterpret_cast<const void*>(&arithmetic_kernel<MlKem512, KeygenArgs>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem768, KeygenArgs>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem1024, KeygenArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem512, KeygenArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem768, KeygenArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem1024, KeygenArgs>)};
  return all;
}

}  // namespace warpkem::kernels
