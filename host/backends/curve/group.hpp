// A group that Diffie-Hellman keys are of, in batches: the classical half of a hybrid KEM, whichever computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "host/backends/curve/x25519.hpp"
#include "host/core/hybrids.hpp"

namespace warpkem::curve {

// Every function does `count` items on the calling thread and leaves no secret behind but in its outputs. good[i] is
// set to 0 for an item that cannot be done, whose output is then of no use; else it is not changed. It is secret until
// the caller declassifies it. No branch and no address depends on a scalar or a secret. Throws Error or std::bad_alloc
// where it needs what is not there.
class Group {
 public:
  Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  virtual ~Group() = default;

  virtual std::size_t lanes() const noexcept = 0;            // items side by side
  virtual std::size_t workspace_bytes() const noexcept = 0;  // scratch memory: 64-byte aligned, one per running thread

  // RandomScalar of draft-irtf-cfrg-concrete-hybrid-kems: not good if the randomness holds no scalar.
  virtual void random_scalars(std::size_t count, In randomness, Out k, std::uint8_t* good) const = 0;
  // Good scalars of the group as a key holds them.
  virtual void check_scalars(std::size_t count, In k, std::uint8_t* good) const = 0;
  // The element that k times the base point is. Of a bad scalar it is of no use.
  virtual void public_keys(std::size_t count, In k, Out element, std::uint8_t* workspace) const = 0;
  // The secret that k and another's element have in common. Not good if the element is none, or if the secret is zero.
  virtual void derive(std::size_t count, In k, In element, Out secret, std::uint8_t* good,
                      std::uint8_t* workspace) const = 0;
  // Of public elements: those with which derive() is good, whatever the scalar.
  virtual void check_elements(std::size_t count, In element, std::uint8_t* good) const = 0;
};

// X25519 by these kernels, whose scalars are clamped in the multiplication: every one is good.
std::unique_ptr<Group> make_x25519(const X25519Kernels& kernels);

// P-256 or P-384 by OpenSSL, whose code is what keeps scalars secret there. Null if OpenSSL has ended; in a build
// without it, nothing defines this. Throws Error or std::bad_alloc.
std::unique_ptr<Group> make_nist(host::Group group);

}  // namespace warpkem::curve
