// How this library declares thread-local variables: few, small, and with constant initialisers.
//
// They lie in the memory that a thread is started with. Otherwise, where a program loads the library while it runs,
// glibc allocates them at a thread's first use, and ends the process if there is no memory. (musl allocates them when
// the library is loaded, and does not know this model there.) glibc keeps some hundred bytes for libraries that are
// loaded so.
#pragma once

#include <features.h>

#ifdef __GLIBC__
#define WARPKEM_THREAD_LOCAL [[gnu::tls_model("initial-exec")]] constinit thread_local
#else
#define WARPKEM_THREAD_LOCAL constinit thread_local
#endif
