/* An event loop that encapsulates as a server would: one thread, one epoll, no thread of its own for WarpKEM. It keeps
 * requests under way and learns of their completion from the queue's eventfd, beside whatever else it watches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <warpkem/warpkem.h>

enum { EK = 1184, DK = 2400, C = 1088, K = 32, CONNECTIONS = 64, TOTAL = 5000 };

/* What a connection would hold: the engine reads and writes it until the completion is fetched. */
struct connection {
  uint8_t ek[EK], c[C], K[K];
};

static void must(warpkem_status status, const char* what) {
  if (status == WARPKEM_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, warpkem_status_name(status), warpkem_last_error());
  exit(1);
}

static void start(warpkem_engine* engine, warpkem_queue* queue, struct connection* connection) {
  warpkem_batch batch;
  warpkem_submit_options options;
  memset(&batch, 0, sizeof batch);
  batch.struct_size = sizeof batch;
  batch.operation = WARPKEM_OP_ENCAPS;
  batch.algorithm = WARPKEM_ML_KEM_768;
  batch.count = 1;
  batch.ek.data = connection->ek;
  batch.ek.bytes = EK;
  batch.c_out.data = connection->c;
  batch.c_out.bytes = C;
  batch.K_out.data = connection->K;
  batch.K_out.bytes = K;
  batch.user_data = connection;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.queue = queue;
  must(warpkem_submit(engine, &batch, 1, &options, NULL, NULL), "submit");
}

int main(void) {
  static struct connection connections[CONNECTIONS];
  static uint8_t dk[DK];
  warpkem_engine* engine = NULL;
  warpkem_queue* queue = NULL;
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC), queue_fd = -1;
  int started = 0, finished = 0, i;
  struct epoll_event event;

  must(warpkem_engine_new(NULL, &engine), "engine");
  must(warpkem_queue_new(engine, &queue), "queue");
  must(warpkem_queue_fd(queue, &queue_fd), "queue's descriptor");
  must(warpkem_keygen(engine, WARPKEM_ML_KEM_768, WARPKEM_DK_EXPANDED, 1, (warpkem_out){connections[0].ek, EK, 0},
                      (warpkem_out){dk, DK, 0}, NULL, NULL),
       "keygen");
  memset(&event, 0, sizeof event);
  event.events = EPOLLIN;
  event.data.fd = queue_fd;
  if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, queue_fd, &event) != 0) {
    perror("epoll");
    return 1;
  }
  for (i = 0; i < CONNECTIONS; ++i) {
    memcpy(connections[i].ek, connections[0].ek, EK);
    start(engine, queue, &connections[i]);
    ++started;
  }
  while (finished < TOTAL) {
    warpkem_completion completions[32];
    size_t n = 0, k;
    if (epoll_wait(epoll_fd, &event, 1, 60000) != 1) {
      fprintf(stderr, "nothing completed for a minute\n");
      return 1;
    }
    must(warpkem_queue_poll(queue, completions, 32, &n), "poll");
    for (k = 0; k < n; ++k) {
      struct connection* connection = completions[k].user_data;
      must(completions[k].status, "a request");
      if (finished % 100 == 0) { /* the owner of dk comes to the same K */
        uint8_t other[K];
        must(warpkem_decaps(engine, WARPKEM_ML_KEM_768, WARPKEM_DK_EXPANDED, 1, (warpkem_in){dk, DK, 0},
                            (warpkem_in){connection->c, C, 0}, (warpkem_out){other, K, 0}, NULL, NULL),
             "decaps");
        if (memcmp(other, connection->K, K) != 0) {
          fprintf(stderr, "the two sides do not agree\n");
          return 1;
        }
      }
      ++finished;
      if (started < TOTAL) {
        start(engine, queue, connection);
        ++started;
      }
    }
  }
  must(warpkem_queue_free(queue), "queue");
  warpkem_engine_free(engine);
  close(epoll_fd);
  printf("%d encapsulations, %d under way at a time\n", finished, CONNECTIONS);
  return 0;
}
