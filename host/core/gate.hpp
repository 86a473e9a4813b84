// A gate around work that holds locks of the process: OpenSSL's, the dynamic loader's, our own. A fork in the middle of
// such work would leave these locks to the child, without the threads that release them; the end of the process would
// take away what the work uses. So both wait here until nobody is inside.
#pragma once

#include <pthread.h>

#include <atomic>

namespace warpkem::host {

class Gate {
 public:
  constexpr Gate() noexcept = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // A thread may be inside several times. While a fork is under way it waits to come in.
  void enter() noexcept;
  void leave() noexcept;
  class Pass {
   public:
    explicit Pass(Gate& gate) noexcept : gate_(gate) { gate_.enter(); }
    ~Pass() { gate_.leave(); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

   private:
    Gate& gate_;
  };

  // Returns when no other thread is inside that was when it was called. A thread that stays inside for very long, since
  // it waits for something that this one holds, is not waited for.
  void wait_for_others() const noexcept;

  // From pthread_atfork().
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

 private:
  std::atomic<unsigned> inside_{0};
  std::atomic<unsigned> forks_{0};  // under way
};

// Makes every fork of the process wait for a gate. 0, or an error number.
template <Gate& gate>
int guard_at_fork() noexcept {
  return pthread_atfork([] { gate.before_fork(); }, [] { gate.after_fork_in_parent(); },
                        [] { gate.after_fork_in_child(); });
}

}  // namespace warpkem::host
