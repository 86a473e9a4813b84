// The classical half of hybrids: X25519 of a scalar and the base point or another's element, a thread an item.
#include "kernels/steps.hpp"
#include "kernels/x25519.cuh"

namespace warpkem::kernels {
namespace {

constexpr comb::Table computed_table = comb::make_table();
static_assert(computed_table.point[0][0].plus[0] == 0xca43b3c9 &&
              computed_table.point[comb::tables - 1][comb::entries - 1].product[0] == 0x87577002);
__device__ const comb::Table comb_table = computed_table;

// Every thread of a block takes part in its division: those beyond the items repeat the last one, but a whole warp of
// them has nothing to compute.
struct BlockItem {
  u32 index;
  bool is_one, warp_has_some;
};
WARPKEM_FN BlockItem block_item(u32 items) {
  const u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
  return {min(thread, items - 1), thread < items, thread - threadIdx.x % 32 < items};
}
WARPKEM_FN thread::Fraction one() { return {field25519::small(1), field25519::small(1)}; }

__global__ void __launch_bounds__(policy::x25519.threads, policy::resident_blocks(policy::x25519))
    public_key_kernel(PublicKeyArgs args, u32 items) {
  __shared__ block::DivisionShared shared;
  const BlockItem item = block_item(items);
  const u8* const k = args.k[item.index];
  const thread::Fraction u = item.warp_has_some ? thread::X25519_of_base_point(k, comb_table) : one();
  const thread::Element element = block::divide(u, shared);
  if (!item.is_one) return;
  thread::store_element(element, args.element[item.index]);
  if (args.also_to.data != nullptr) thread::store_element(element, args.also_to[item.index]);
  if (args.k_copy.data != nullptr) thread::store_element(thread::load_element(k), args.k_copy[item.index]);
}

__global__ void __launch_bounds__(policy::x25519.threads, policy::resident_blocks(policy::x25519))
    derive_kernel(DeriveArgs args, u32 items) {
  __shared__ block::DivisionShared shared;
  const BlockItem item = block_item(items);
  const u8* const element = args.element[item.index];
  const thread::Fraction u = item.warp_has_some ? thread::X25519(args.k[item.index], element) : one();
  const thread::Element secret = block::divide(u, shared);
  if (!item.is_one) return;
  thread::store_element(secret, args.secret[item.index]);
  if (args.element_copy.data != nullptr) {
    thread::store_element(thread::load_element(element), args.element_copy[item.index]);
  }
}

// That a secret is zero is public where its item fails for it.
__global__ void __launch_bounds__(policy::x25519.threads)
    check_secrets_kernel(Rows secrets, u8 failure, u8* statuses, u32 items) {
  const u32 item = blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= items) return;
  const bool is_zero = field25519::zero_mask(thread::load_element(secrets[item])) != 0;
  if (is_zero && statuses[item] == 0) statuses[item] = failure;
}

// Public elements with which derive() gives zero.
__global__ void __launch_bounds__(policy::x25519.threads)
    check_elements_kernel(Rows elements, u8 failure, u8* statuses, u32 items) {
  const u32 item = blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= items) return;
  if (thread::has_low_order(elements[item]) && statuses[item] == 0) statuses[item] = failure;
}

dim3 blocks_for(u32 items, int threads) {
  return dim3((items + static_cast<u32>(threads) - 1) / static_cast<u32>(threads));
}

}  // namespace

cudaError_t public_keys(const PublicKeyArgs& args, u32 items, int num_multiprocessors, cudaStream_t stream) noexcept {
  const int threads = policy::x25519_threads(items, num_multiprocessors);
  public_key_kernel<<<blocks_for(items, threads), threads, 0, stream>>>(args, items);
  return cudaGetLastError();
}

cudaError_t derive(const DeriveArgs& args, u32 items, int num_multiprocessors, cudaStream_t stream) noexcept {
  const int threads = policy::x25519_threads(items, num_multiprocessors);
  derive_kernel<<<blocks_for(items, threads), threads, 0, stream>>>(args, items);
  return cudaGetLastError();
}

cudaError_t check_secrets(Rows secrets, ItemStatus failure, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  check_secrets_kernel<<<blocks_for(items, policy::x25519.threads), policy::x25519.threads, 0, stream>>>(
      secrets, static_cast<u8>(failure), statuses, items);
  return cudaGetLastError();
}

cudaError_t check_elements(Rows elements, ItemStatus failure, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  check_elements_kernel<<<blocks_for(items, policy::x25519.threads), policy::x25519.threads, 0, stream>>>(
      elements, static_cast<u8>(failure), statuses, items);
  return cudaGetLastError();
}

KernelList x25519_kernels() noexcept {
  static const void* const all[] = {
      reinterpret_cast<const void*>(&public_key_kernel), reinterpret_cast<const void*>(&derive_kernel),
      reinterpret_cast<const void*>(&check_secrets_kernel), reinterpret_cast<const void*>(&check_elements_kernel)};
  return all;
}

}  // namespace warpkem::kernels
