/* What the library makes of this CPU: its features, the backends that it may use, and whether each computes; with an
 * argument, whether each does a few items, which has every instruction but not every value. For masking_test.py, which
 * runs it on CPUs that lack things. */
#include <stdio.h>
#include <string.h>
#include <warpkem/warpkem.h>

enum { count = 5 };

static int does_a_few_items(warpkem_engine* engine) {
  static unsigned char ek[count * 1568], dk[count * 3168], c[count * 1568], K[2][count * 32];
  warpkem_algorithm a;
  for (a = WARPKEM_ML_KEM_512; a <= WARPKEM_ML_KEM_1024; ++a) {
    if (warpkem_keygen(engine, a, WARPKEM_DK_EXPANDED, count, (warpkem_out){ek, sizeof ek, 0},
                       (warpkem_out){dk, sizeof dk, 0}, NULL, NULL) ||
        warpkem_encaps(engine, a, count, (warpkem_in){ek, sizeof ek, 0}, (warpkem_out){c, sizeof c, 0},
                       (warpkem_out){K[0], sizeof K[0], 0}, NULL, NULL) ||
        warpkem_decaps(engine, a, WARPKEM_DK_EXPANDED, count, (warpkem_in){dk, sizeof dk, 0},
                       (warpkem_in){c, sizeof c, 0}, (warpkem_out){K[1], sizeof K[1], 0}, NULL, NULL) ||
        memcmp(K[0], K[1], sizeof K[0]) != 0)
      return 0;
  }
  return 1;
}

int main(int argc, char** argv) {
  warpkem_engine *engine = NULL, *forced = NULL;
  warpkem_backend_info info;
  size_t i;
  (void)argv;
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
      if (warpkem_engine_new(&options, &forced) ||
          (argc > 1 ? !does_a_few_items(forced) : warpkem_selftest(forced, info.name))) {
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
