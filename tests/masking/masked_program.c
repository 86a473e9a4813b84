/* What the library makes of this CPU: its features, the backends that it may use, and whether each computes. For
 * masking_test.py, which runs it on CPUs that lack things. */
#include <stdio.h>
#include <string.h>
#include <warpkem/warpkem.h>

int main(void) {
  warpkem_engine *engine = NULL, *forced = NULL;
  warpkem_backend_info info;
  size_t i;
  memset(&info, 0, sizeof info);
  info.struct_size = sizeof info;
  printf("features: %s\n", warpkem_cpu_features());
  if (warpkem_engine_new(NULL, &engine)) return printf("no engine: %s\n", warpkem_last_error()), 1;
  for (i = 0; warpkem_engine_backend(engine, i, &info) == WARPKEM_OK; ++i) {
    if (strcmp(info.name, "cuda") == 0) continue;
    if (info.available) {
      warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
      options.backend = info.name;
      options.flags = WARPKEM_NO_FAIL_OVER;
      if (warpkem_engine_new(&options, &forced) || warpkem_selftest(forced, info.name)) {
        return printf("%s does not compute: %s\n", info.name, warpkem_last_error()), 1;
      }
      warpkem_engine_free(forced);
      printf("usable: %s\n", info.name);
    } else {
      warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
      options.backend = info.name;
      if (warpkem_engine_new(&options, &forced) != WARPKEM_UNSUPPORTED)
        return printf("%s can be forced\n", info.name), 1;
    }
    if (info.preferred) printf("preferred: %s\n", info.name);
  }
  warpkem_engine_free(engine);
  return 0;
}
