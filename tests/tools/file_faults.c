// Loaded before the C library: file systems without nameless files, and faults at the n-th change of a name.
//   WARPKEM_TEST_NO_TMPFILE=1        there are no nameless files
//   WARPKEM_TEST_AT=N                before the N-th call that gives, changes or removes a name:
//   WARPKEM_TEST_DO=kill|stop|fail   the process gets SIGKILL or SIGSTOP, or the call fails with EIO
//   WARPKEM_TEST_NO_RENAME2=1        there is no renameat2()
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fault(void) {
  static int calls;
  const char* const at = getenv("WARPKEM_TEST_AT");
  if (at == NULL || ++calls != atoi(at)) return 0;
  const char* const what = getenv("WARPKEM_TEST_DO");
  if (strcmp(what, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(what, "stop") == 0) kill(getpid(), SIGSTOP);
  if (strcmp(what, "fail") != 0) return 0;
  errno = EIO;
  return 1;
}

int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if ((flags & O_TMPFILE) == O_TMPFILE && getenv("WARPKEM_TEST_NO_TMPFILE") != NULL) {
    errno = EOPNOTSUPP;
    return -1;
  }
  return NEXT(openat)(folder, path, flags, mode);
}

int linkat(int from, const char* old, int to, const char* name, int flags) {
  return fault() ? -1 : NEXT(linkat)(from, old, to, name, flags);
}

int renameat(int from, const char* old, int to, const char* name) {
  return fault() ? -1 : NEXT(renameat)(from, old, to, name);
}

int unlinkat(int folder, const char* name, int flags) { return fault() ? -1 : NEXT(unlinkat)(folder, name, flags); }

long syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_renameat2) {
    if (getenv("WARPKEM_TEST_NO_RENAME2") != NULL) {
      errno = EINVAL;
      return -1;
    }
    if (fault()) return -1;
  }
  return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
