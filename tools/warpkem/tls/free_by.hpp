// Deletes an object of a C library with the function that the library has for that.
#pragma once

namespace warpkem::tool::tls {

template <auto free>
struct FreeBy {
  template <class T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};

}  // namespace warpkem::tool::tls
