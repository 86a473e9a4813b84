#include "host/serving/request_store.hpp"

namespace warpkem::host {

void RequestStore::recycle(RequestChain chain) noexcept {
  if (chain.empty()) return;
  std::size_t items = 0, bytes = 0;
  for (const Request* r = chain.first; r != nullptr; r = r->next) items += r->charge(), bytes += r->bytes;
  pool.put(chain);
  admission.release(items, bytes);
}

}  // namespace warpkem::host
