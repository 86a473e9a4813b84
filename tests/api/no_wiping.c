/* A planted fault, preloaded: what wipe() calls does nothing. */
#include <stddef.h>

void explicit_bzero(void* data, size_t bytes);
void explicit_bzero(void* data, size_t bytes) {
  (void)data;
  (void)bytes;
}
