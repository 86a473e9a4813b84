/*
 * WarpKEM: submission without waiting. Included by warpkem.h; C99.
 *
 * warpkem_submit() takes the descriptors that warpkem_run() takes. Any number of threads may submit. The engine gathers
 * their requests into batches. It completes every request exactly once, through a queue or a callback: as ok, failed,
 * cancelled, expired or aborted. Until that completion is delivered, every array, table, index, `statuses` and `failed` of
 * the request belong to the engine, also after warpkem_cancel(). Afterwards the engine does not touch them. Outputs of
 * items that are not ok are zero. A request holds a reference to the prepared set that it uses.
 *
 * Calls are thread-safe. The engine starts its threads with the first submission: one executor for every core that it may
 * use (at least one), one for every device, and a timer thread.
 *
 * @code{.c}
 * // Two key pairs of X-Wing, as soon as it suits the engine.
 * static uint8_t ek[2][1216], dk[2][32];
 * warpkem_engine *engine;
 * warpkem_queue *queue;
 * warpkem_batch batch = {.struct_size = sizeof batch, .operation = WARPKEM_OP_KEYGEN, .count = 2,
 *                        .algorithm = WARPKEM_MLKEM768_X25519, .dk_format = WARPKEM_DK_SEED,
 *                        .ek_out = {ek[0], sizeof ek, 0, NULL}, .dk_out = {dk[0], sizeof dk, 0, NULL}};
 * warpkem_submit_options options = {.struct_size = sizeof options};
 * warpkem_completion completion;
 * size_t count = 0;
 * if (warpkem_engine_new(NULL, &engine) != WARPKEM_OK) return 1;
 * if (warpkem_queue_new(engine, &queue) != WARPKEM_OK) return 1;
 * options.queue = queue;
 * if (warpkem_submit(engine, &batch, 1, &options, NULL, NULL) != WARPKEM_OK) return 1;
 * if (warpkem_queue_wait(queue, &completion, 1, WARPKEM_FOREVER, &count) != WARPKEM_OK) return 1;
 * if (completion.status != WARPKEM_OK) return 1;
 * warpkem_queue_free(queue);
 * warpkem_engine_free(engine);
 * @endcode
 */
#ifndef WARPKEM_ASYNC_H
#define WARPKEM_ASYNC_H

#include "warpkem.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WARPKEM_FOREVER UINT64_MAX /* a timeout */

/* ---- options ------------------------------------------------------------------------------------------------------ */

#define WARPKEM_LOG_INFO 1u
#define WARPKEM_LOG_WARNING 2u
/* The engine calls it from any thread, possibly from several threads at once. A text never holds a secret. The function
 * must not call the engine. An exception that leaves it is ignored. */
typedef void (*warpkem_log_fn)(void *context, uint32_t level, const char *text);

/* Of an engine's scheduler. Every field 0 is its default. */
typedef struct {
  size_t struct_size;   /* sizeof(warpkem_scheduler_options) */
  size_t max_items;     /* Default 65536. Limit of the items that are submitted and not yet delivered, of all requests
                           together. A single request above the limit is taken only while the engine has no other. */
  size_t max_bytes;     /* Default 256 MiB. The same limit for the bytes of their records. */
  uint32_t max_delay_us; /* Default 50. How long before a busy device is expected to finish its next batch is formed and
                            handed over. The longest wait at a load below the device's capacity is max_delay_us plus two
                            batch times, for each kind of request if several kinds are queued. Requests never wait for
                            an idle backend. */
  uint32_t bulk_cut_us; /* Default 2000. Most time that a bulk batch may add to the wait of interactive requests. */
  size_t batch_items;   /* Most items of a batch. 0: the cost model chooses. */
  double device_sentinel; /* Fraction of the devices' items that another backend recomputes. 0: 1/4096. Negative: none. */
  double cpu_sentinel;    /* The same for CPU backends. 0: none. */
  warpkem_log_fn log;     /* NULL: none */
  void *log_context;
} warpkem_scheduler_options;

/// Sets the options of the engine's scheduler. INVALID_ARGUMENT after the engine's first warpkem_submit() or
/// warpkem_queue_new().
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_configure(warpkem_engine *engine,
                                                                const warpkem_scheduler_options *options);

/* ---- completions -------------------------------------------------------------------------------------------------- */

typedef uint64_t warpkem_request; /* never 0; a value comes back only after some four thousand million other requests */

typedef struct warpkem_completion {
  void *user_data;         /* of the descriptor */
  warpkem_request request;
  size_t failed;           /* how many items failed; all of them if the request failed as a whole */
  warpkem_status status;   /* OK. ITEM_FAILED; for a request of one item, that item's status. CANCELLED, EXPIRED, ABORTED,
                              BACKEND_FAILED, OUT_OF_MEMORY, RNG_FAILED: every item has this status and every output is
                              zero. */
  uint32_t reserved;
} warpkem_completion;

/* The engine calls it once for each request, on one of the engine's threads. By then the request no longer counts against
 * max_items and max_bytes. (Of requests that end together, up to 64 stop counting before the first call.) Batches wait
 * until the callback returns: keep it short.
 *
 * A callback may submit. A call to its own engine that waits, shuts down or computes (all synchronous operations) answers
 * WOULD_DEADLOCK, and so does warpkem_queue_free() of a queue of that engine. warpkem_engine_free() and
 * warpkem_queue_free_later() of its own engine return at once and take effect later: a separate thread frees the engine
 * when all submitted requests have completed, those that callbacks submit until then included.
 *
 * A callback may make every call to another engine. The program must see to it that callbacks of two engines do not wait
 * for each other, because both would wait for ever.
 *
 * A C++ exception that leaves the callback ends there. The engine logs it as a warning and counts the completion as
 * delivered; nothing else changes. A callback must return: longjmp() out of it, or the end of its thread, is undefined. */
typedef void (*warpkem_completion_fn)(void *context, const warpkem_completion *completion);

/// 1 if the calling thread runs a completion callback, of any engine; else 0.
WARPKEM_API int warpkem_in_callback(void);

/// 1 if the calling thread runs a completion callback of that engine; else 0.
WARPKEM_API int warpkem_in_callback_of(warpkem_engine *engine);

typedef struct warpkem_queue warpkem_queue;

/// Makes a completion queue for requests of `engine`. The queue outlives the engine: it may still be polled, and must be
/// freed, after the engine was freed.
/// @return OK; INVALID_ARGUMENT, OUT_OF_MEMORY, FORKED: *queue is NULL
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_new(warpkem_engine *engine, warpkem_queue **queue);

/// Frees a queue. NULL is allowed. Cancels its requests that no backend has begun, waits for the others, and drops
/// completions that nobody fetched. No other call on the queue may be under way. In a callback of the queue's engine the
/// call answers WOULD_DEADLOCK and does not free the queue.
WARPKEM_API warpkem_status warpkem_queue_free(warpkem_queue *queue);

/// The same without waiting; allowed in a callback. The caller must not use the queue any more. It is freed when its last
/// request has completed. Until then the arrays of those requests belong to the engine. Only warpkem_shutdown() and
/// warpkem_engine_free() tell when that time is over.
WARPKEM_API void warpkem_queue_free_later(warpkem_queue *queue);

/// Fetches up to `capacity` completions, oldest first, without waiting.
/// @param count out: the number fetched; 0: no completion is there now
/// @return OK; INVALID_ARGUMENT, FORKED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_poll(warpkem_queue *queue, warpkem_completion *completions,
                                                                 size_t capacity, size_t *count);

/// The same, but waits at most `timeout_us` for the first completion. The waiting thread may run a request of the queue
/// itself.
/// @return OK; with *count 0: the time is over. ABORTED, with WARPKEM_FOREVER only and *count 0: no completion can come any
///         more, because the engine was shut down or freed (before or during the call), the queue has nothing under way
///         and all completions were fetched. WOULD_DEADLOCK: in a callback of the queue's engine.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_wait(warpkem_queue *queue, warpkem_completion *completions,
                                                                 size_t capacity, uint64_t timeout_us, size_t *count);

/// The same, but waits for `least` completions. `least` is from 1 to `capacity`; another value counts as the nearest of
/// these. If the queue has fewer requests under way, the call waits for all of them; if it has none, for the first that
/// comes. The call may return fewer when another thread fetches from the queue meanwhile. A thread that keeps many
/// requests under way and asks for half of them at a time is woken rarely: on a busy engine, waking it for each batch
/// costs more than the scheduler itself.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_wait_many(warpkem_queue *queue,
                                                                      warpkem_completion *completions, size_t capacity,
                                                                      size_t least, uint64_t timeout_us, size_t *count);

/// An eventfd that is readable while the queue is not empty, for poll, epoll and their like. The queue owns it: do not
/// read, write or close it.
/// @param fd out: the descriptor, which lives as long as the queue
/// @return OK; INVALID_ARGUMENT, FORKED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_fd(warpkem_queue *queue, int *fd);

/* ---- submission --------------------------------------------------------------------------------------------------- */

#define WARPKEM_INTERACTIVE 0u
#define WARPKEM_BULK 1u /* batches of this class are cut short while interactive requests wait */

#define WARPKEM_WILL_WAIT 1u /* submit_options.flags: this thread calls warpkem_queue_wait() (or _wait_many, _poll) on the
                                queue next. The engine wakes no other thread before that call, because the waiting
                                thread may run the request itself. */

typedef struct {
  size_t struct_size; /* sizeof(warpkem_submit_options) */
  warpkem_queue *queue;           /* the queue where the requests complete; or NULL, and */
  warpkem_completion_fn callback; /* the function that is called for each */
  void *context;                  /* its first argument */
  uint32_t request_class; /* WARPKEM_INTERACTIVE or WARPKEM_BULK */
  uint32_t flags;         /* WARPKEM_WILL_WAIT, with a queue */
  uint32_t max_delay_us;  /* 0: the engine's max_delay_us. A smaller value closes a busy device's next batch after that
                             time, with fewer items, if the device can take a second batch. The engine checks this every
                             200 us at the latest. */
  uint32_t reserved;      /* 0 */
  uint64_t deadline_us;   /* counted from the call: a request that no backend has begun by then expires. 0: no deadline. */
  uint64_t timeout_us;    /* how long the call may wait for room while the engine's queue is full. 0: WOULD_BLOCK at once.
                             First come, first served: while one call waits, no later call is taken, even if there is
                             room for it. */
} warpkem_submit_options;

/// Submits `num_batches` requests. Each element of `batches` describes one; batches[0].struct_size is the distance between
/// elements. The descriptors are copied. The arrays that they point to belong to the engine until the request completes.
/// `items_by_backend` must be aligned for atomic access. A request has at most 2^32 - 1 items.
///
/// The call takes requests in order, as many as fit, and stops at the first that it cannot take. A call that waits for room
/// with several requests takes those that fit when its turn comes, and then waits again behind all other waiting calls.
///
/// @param options   where the requests complete, how urgent they are and how long the call may wait
/// @param requests  out: NULL, or a handle for each request that was taken; written before any of them can complete
/// @param submitted out: NULL, or how many were taken: always the first ones. The call did not look at the others.
/// @return OK: all were taken. Else batches[*submitted] was not: INVALID_ARGUMENT, UNSUPPORTED: it is wrong. WOULD_BLOCK:
///         there is no room for it, or other calls wait for room; at once and whatever the timeout if by itself it is
///         larger than max_items or max_bytes and the engine has other requests (see warpkem_last_error()). ABORTED: the
///         engine was shut down. WOULD_DEADLOCK: a wait for room, in a callback. OUT_OF_MEMORY. FORKED.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_submit(warpkem_engine *engine, const warpkem_batch *batches,
                                                             size_t num_batches, const warpkem_submit_options *options,
                                                             warpkem_request *requests, size_t *submitted);

/// Asks to cancel a request. A request that no backend has begun completes as CANCELLED soon. A request that a backend has
/// begun completes as usual. If a large request was begun in part, its other items are cancelled and the request completes
/// as CANCELLED. OK also when the call comes too late.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cancel(warpkem_engine *engine, warpkem_request request);

#define WARPKEM_DRAIN 0u
#define WARPKEM_ABORT 1u

/// Ends submission. `how` is WARPKEM_DRAIN or WARPKEM_ABORT: DRAIN finishes every request; ABORT completes as ABORTED those
/// that no backend has begun. Returns when every request has completed. Completions stay in their queues. Synchronous calls
/// still work. warpkem_engine_free() does an ABORT. WOULD_DEADLOCK in a callback of the engine.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_shutdown(warpkem_engine *engine, uint32_t how);

/// Lets the engine use a backend again that the sentinel had quarantined for a wrong result. UNSUPPORTED: no backend of
/// that name.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_take_back(warpkem_engine *engine, const char *backend);

/* ---- metrics ------------------------------------------------------------------------------------------------------ */

/* Since the engine was made. Snapshots of several engines are merged by adding all members. */
typedef struct {
  size_t struct_size;   /* in: sizeof(warpkem_counters) */
  uint64_t submitted;   /* requests taken */
  uint64_t refused;     /* requests answered WOULD_BLOCK */
  uint64_t completed;   /* requests completed, with whatever status */
  uint64_t failed;      /* those of them with at least one item that is not ok; cancelled, expired and aborted ones too */
  uint64_t cancelled;
  uint64_t expired;
  uint64_t aborted;
  uint64_t batches;     /* formed */
  uint64_t batch_items; /* items in them */
  uint64_t redone;      /* items sent to another backend after one failed */
  uint64_t helped;      /* requests that the waiting caller ran itself */
  uint64_t checked;     /* items that the sentinel recomputed */
  uint64_t mismatched;  /* those of them whose result differed */
  uint64_t unchecked;   /* items that the sentinel chose and no other backend could recompute */
  uint64_t quarantines;
  uint64_t items;       /* now: submitted and not yet delivered */
  uint64_t bytes;       /* now: of their records */
} warpkem_counters;

#define WARPKEM_PHASE_WAIT 0u    /* from submission to the request's first batch; to its end if it was in none */
#define WARPKEM_PHASE_SERVICE 1u /* the time that backends took for its last batch, second attempts and checks included */
#define WARPKEM_PHASE_TOTAL 2u   /* from submission to completion; counts all completed requests */

#define WARPKEM_HISTOGRAM_BUCKETS 112

/* Latencies of requests. Bucket 0 begins at 0; the last bucket has no upper bound. See warpkem_histogram_bound(). */
typedef struct {
  const char *backend; /* "": no backend did the request. Lives as long as the library. */
  uint32_t operation;  /* WARPKEM_OP_* */
  uint32_t phase;      /* WARPKEM_PHASE_* */
  uint64_t count;
  uint64_t sum_ns;
  uint64_t max_ns;
  uint64_t buckets[WARPKEM_HISTOGRAM_BUCKETS];
} warpkem_histogram;

/// A snapshot of the counters and histograms. Keeping them costs two or three atomic additions per batch and histogram.
/// @param counters   out, or NULL
/// @param histograms out, or NULL: up to `capacity` of the histograms that are not empty
/// @param count      out, or NULL: how many histograms are not empty
/// @return OK; INVALID_ARGUMENT, OUT_OF_MEMORY, FORKED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_metrics(warpkem_engine *engine, warpkem_counters *counters,
                                                              warpkem_histogram *histograms, size_t capacity,
                                                              size_t *count);

/// The same histograms, of requests of one algorithm alone. INVALID_ARGUMENT: there is no such algorithm.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_algorithm_histograms(warpkem_engine *engine,
                                                                           warpkem_algorithm algorithm,
                                                                           warpkem_histogram *histograms,
                                                                           size_t capacity, size_t *count);

/* What a backend has done, of one operation with one algorithm, in synchronous calls and for requests. Device-resident
   calls (cuda.h) are not counted. */
typedef struct {
  const char *backend; /* lives as long as the library */
  warpkem_algorithm algorithm;
  uint32_t operation; /* WARPKEM_OP_* */
  uint64_t items;     /* that have a result; bad ones too. What the sentinel recomputes is not counted. */
  uint64_t batches;   /* in which the backend did them */
} warpkem_usage;

/// A snapshot of what was used: one element for each backend, algorithm and operation that did at least one item.
/// @param usages out, or NULL: up to `capacity` of them
/// @param count  out, or NULL: how many there are
/// @return OK; INVALID_ARGUMENT, OUT_OF_MEMORY, FORKED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_usages(warpkem_engine *engine, warpkem_usage *usages,
                                                             size_t capacity, size_t *count);

typedef struct {
  uint64_t items;   /* the size: exact below 64 and for the largest; else the end of a range of sizes, its begin less than
                       a thirty-second below */
  uint64_t batches; /* how many batches of this size the engine formed */
} warpkem_batch_size;

/// A snapshot of the sizes of the batches, smallest first.
/// @param sizes out, or NULL: up to `capacity` of them
/// @param count out, or NULL: how many there are
/// @return OK; INVALID_ARGUMENT, OUT_OF_MEMORY, FORKED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_batch_sizes(warpkem_engine *engine, warpkem_batch_size *sizes,
                                                                  size_t capacity, size_t *count);

/// Adds the counts of `from` to `into`.
WARPKEM_API void warpkem_histogram_add(warpkem_histogram *into, const warpkem_histogram *from);

/// The first nanosecond above bucket `bucket`; UINT64_MAX for the last bucket. The width of a bucket is at most a quarter
/// of its lower bound.
WARPKEM_API uint64_t warpkem_histogram_bound(size_t bucket);

/// The upper bound of the bucket that holds the quantile (0.5: the median), but at most max_ns. 0 if the histogram is empty.
WARPKEM_API uint64_t warpkem_histogram_quantile(const warpkem_histogram *histogram, double quantile);

/// All of it as Prometheus text, exposition format 0.0.4, with a terminating 0.
/// @param needed out: NULL, or the bytes of the whole text with its 0
/// @return OK; OUT_OF_MEMORY: `capacity` is too small; the text is then "", or not touched if `capacity` is 0
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_metrics_text(warpkem_engine *engine, char *text, size_t capacity,
                                                                   size_t *needed);

#ifdef __cplusplus
}
#endif

#endif
