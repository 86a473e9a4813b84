// OpenSSL's libcrypto as a part of a process that may fork in any thread, and that ends. In a build without OpenSSL
// nothing here is defined.
#pragma once

namespace warpkem::host {

// Deletes an object of OpenSSL's with the function that it has for that.
template <auto free>
struct FreeBy {
  template <class T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};

// Starts OpenSSL, unless that is done, or it has ended already. Throws std::bad_alloc.
void start_openssl();

// Held around every use of OpenSSL. A fork and the end of the process wait for it. What the calls put into this
// thread's error queue goes with it: the queue is the program's.
class OpenSslUse {
 public:
  OpenSslUse() noexcept;
  ~OpenSslUse();
  OpenSslUse(const OpenSslUse&) = delete;
  OpenSslUse& operator=(const OpenSslUse&) = delete;

  // Whether OpenSSL can be asked. It cannot again once it has cleaned up after itself, which it does at exit.
  explicit operator bool() const noexcept { return is_usable_; }

 private:
  bool is_usable_;
};

}  // namespace warpkem::host
