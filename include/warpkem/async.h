/*
 * WarpKEM: submission without waiting. Included by warpkem.h; C99.
 *
 * warpkem_submit() takes the descriptors that warpkem_run() takes. The engine gathers what any number of threads submit
 * into batches and completes every request exactly once, through a queue or a callback: as ok, failed, cancelled, expired
 * or aborted. Until that completion is delivered, every array, table, index, `statuses` and `failed` of the request belong
 * to the engine (also after a cancel, which is only a request); afterwards nothing touches them. Outputs that are not ok
 * are zero. A prepared set is held by the requests that use it.
 *
 * Calls are thread-safe. The engine starts its threads with the first submission: one for every core that it may use (at
 * least one), one for every device, and one that keeps time.
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
/* Called from any thread, possibly from several at once, never with a secret. Must not call the engine. What it throws is
 * ignored. */
typedef void (*warpkem_log_fn)(void *context, uint32_t level, const char *text);

/* Of an engine's scheduler. Every field 0 is its default. */
typedef struct {
  size_t struct_size;   /* sizeof(warpkem_scheduler_options) */
  size_t max_items;     /* submitted and not yet delivered, all requests together; 65536. A request that is larger by
                           itself is taken only while there is nothing else. */
  size_t max_bytes;     /* of their records; 256 MiB */
  uint32_t max_delay_us; /* 50. A busy device gets its next batch so long before it is done, with what came until
                             then: below its capacity nobody waits for more than this and two batches (of each kind,
                             if there are several). Nothing waits for an idle backend. */
  uint32_t bulk_cut_us; /* what a bulk batch may add to waiting interactive work; 2000 */
  size_t batch_items;   /* most items of a batch; 0: what the cost model finds best */
  double device_sentinel; /* fraction of the items of devices that are recomputed elsewhere; 0: 1/4096; negative: none */
  double cpu_sentinel;    /* the same for CPU backends; 0: none */
  warpkem_log_fn log;     /* NULL: none */
  void *log_context;
} warpkem_scheduler_options;

/// Sets the options of the engine's scheduler: before its first warpkem_submit() or warpkem_queue_new(), else
/// INVALID_ARGUMENT.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_configure(warpkem_engine *engine,
                                                                const warpkem_scheduler_options *options);

/* ---- completions -------------------------------------------------------------------------------------------------- */

typedef uint64_t warpkem_request; /* never 0; not given again before four thousand million others */

typedef struct {
  void *user_data;         /* of the descriptor */
  warpkem_request request;
  size_t failed;           /* items that failed; all of them if the request failed as a whole */
  warpkem_status status;   /* OK; ITEM_FAILED, or of a request of one item that item's status; CANCELLED, EXPIRED, ABORTED,
                              BACKEND_FAILED, OUT_OF_MEMORY, RNG_FAILED: every item has this status and every output is
                              zero */
  uint32_t reserved;
} warpkem_completion;

/* Called once, on one of the engine's threads, when the request no longer counts against max_items and max_bytes (of requests
 * that end together up to 64 stop counting before the first call). Batches wait for it: keep it short.
 *
 * It may submit. A call to its own engine that waits, shuts down or computes (all synchronous operations), and
 * warpkem_queue_free() of a queue of that engine, are refused with WOULD_DEADLOCK. warpkem_engine_free() and
 * warpkem_queue_free_later() there take effect later: the engine is freed, by a thread of its own, when all that was
 * submitted has completed, what callbacks submit until then too.
 *
 * Every call to another engine is allowed. But callbacks of two engines that wait for each other wait for ever: it is for
 * the program to see that they do not.
 *
 * A C++ exception that leaves it ends there: the engine logs it as a warning, the completion counts as delivered, and
 * nothing else is changed. It must return: longjmp() out of it, or the end of its thread, is undefined. */
typedef void (*warpkem_completion_fn)(void *context, const warpkem_completion *completion);

/// 1 if this thread is in such a call, of any engine, else 0.
WARPKEM_API int warpkem_in_callback(void);

/// 1 if this thread is in such a call of that engine, else 0.
WARPKEM_API int warpkem_in_callback_of(warpkem_engine *engine);

typedef struct warpkem_queue warpkem_queue;

/// Makes a completion queue for requests of `engine`. It may be polled, and must be freed, also after the engine was freed.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_new(warpkem_engine *engine, warpkem_queue **queue);

/// Frees a queue; NULL is allowed. Cancels its requests that have not begun, waits for the others, drops completions that
/// nobody fetched. No other call on the queue may be under way. WOULD_DEADLOCK in a callback of the queue's engine: then it is
/// not freed.
WARPKEM_API warpkem_status warpkem_queue_free(warpkem_queue *queue);

/// The same without waiting, also in a callback: the queue is gone for the caller at once, and freed when its last request
/// has completed. Until then what those requests use is the engine's, and nobody is told when that ends but who waits for
/// the engine (warpkem_shutdown, warpkem_engine_free).
WARPKEM_API void warpkem_queue_free_later(warpkem_queue *queue);

/// Fetches up to `capacity` completions, oldest first, without waiting.
/// @param count out: how many; 0: there is none now
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_poll(warpkem_queue *queue, warpkem_completion *completions,
                                                                 size_t capacity, size_t *count);

/// The same, but waits at most `timeout_us` for the first. A thread that waits for its queue's only request may find itself
/// running it. OK with *count 0: the time is over. ABORTED, with WARPKEM_FOREVER and *count 0: the engine was shut down or
/// freed, before the call or during it, the queue has nothing under way, and all completions were fetched: there will never
/// be one. WOULD_DEADLOCK in a callback of the queue's engine.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_wait(warpkem_queue *queue, warpkem_completion *completions,
                                                                 size_t capacity, uint64_t timeout_us, size_t *count);

/// The same, but waits for `least` completions (1 to capacity; others are taken as the nearest), or for all that the queue
/// still has under way if they are fewer; if it has none, for the first that comes. Fewer come also when another thread
/// fetches some meanwhile. A thread that keeps many requests under way and asks for half of them at a time is woken rarely:
/// on a busy engine waking it for each batch costs more than the scheduler itself.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_wait_many(warpkem_queue *queue,
                                                                      warpkem_completion *completions, size_t capacity,
                                                                      size_t least, uint64_t timeout_us, size_t *count);

/// An eventfd that is readable while the queue is not empty, for poll, epoll and their like. It belongs to the queue: do not
/// read, write or close it.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_queue_fd(warpkem_queue *queue, int *fd);

/* ---- submission --------------------------------------------------------------------------------------------------- */

#define WARPKEM_INTERACTIVE 0u
#define WARPKEM_BULK 1u /* while interactive work waits, batches of this class are cut short */

#define WARPKEM_WILL_WAIT 1u /* submit_options.flags: this thread calls warpkem_queue_wait() (or _wait_many, _poll) on the
                                queue next; no other thread is woken before that, for the waiting one may do the work
                                itself */

typedef struct {
  size_t struct_size; /* sizeof(warpkem_submit_options) */
  warpkem_queue *queue;           /* where the requests complete, or */
  warpkem_completion_fn callback; /* what is called */
  void *context;
  uint32_t request_class; /* WARPKEM_INTERACTIVE or WARPKEM_BULK */
  uint32_t flags;         /* WARPKEM_WILL_WAIT, with a queue */
  uint32_t max_delay_us;  /* 0: as the engine's. For less, a busy device's next batch is closed after so long (looked at
                             every 200 us at the latest), with less in it, if the device can take a second one. */
  uint32_t reserved;      /* 0 */
  uint64_t deadline_us;   /* from now: expires if no backend has begun it by then; 0: none */
  uint64_t timeout_us;    /* how long the call may wait for room if the engine's queue is full; 0: WOULD_BLOCK at once.
                             Who waits is served in the order of coming: while somebody waits, nobody who comes later is
                             taken, whether there is room or not. */
} warpkem_submit_options;

/// Submits `num_batches` requests, each described by one element of `batches`, whose distance is batches[0].struct_size.
/// The descriptors themselves are copied; what they point to is the engine's until the request completes. `items_by_backend`
/// must be aligned for atomic access; counts of at most 2^32 - 1 items.
///
/// @param requests  out: NULL, or a handle for each that was taken; written before any of them can complete
/// @param submitted out: NULL, or how many were taken: always the first ones. The others were not looked at further.
/// @return OK if all were taken. INVALID_ARGUMENT, UNSUPPORTED: batches[*submitted] is wrong; WOULD_BLOCK: no room for it, or
///         others wait for room; also, at once and whatever the timeout, if it is larger than max_items or max_bytes by
///         itself and not alone (see warpkem_last_error()). A count is never raised for what is refused. Of several requests
///         that wait, as many are taken as fit when their turn comes, and the others wait again, behind all others; ABORTED: the engine was shut down; WOULD_DEADLOCK: a wait for room, in a callback; OUT_OF_MEMORY; FORKED
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_submit(warpkem_engine *engine, const warpkem_batch *batches,
                                                             size_t num_batches, const warpkem_submit_options *options,
                                                             warpkem_request *requests, size_t *submitted);

/// Asks to cancel. A request that no backend has begun completes as CANCELLED, soon; any other completes as if not asked,
/// and of a large one the items that were not begun are cancelled, and the request with them. OK also when it is too late.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_cancel(warpkem_engine *engine, warpkem_request request);

#define WARPKEM_DRAIN 0u
#define WARPKEM_ABORT 1u

/// Ends submission: finishes everything (DRAIN) or completes as ABORTED what no backend has begun (ABORT). Returns when every
/// request has completed; completions stay in their queues, synchronous calls still work. warpkem_engine_free() aborts.
/// WOULD_DEADLOCK in a callback of the engine.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_shutdown(warpkem_engine *engine, uint32_t how);

/// Takes a backend back that the sentinel put into quarantine for a wrong result. UNSUPPORTED if there is none of that name.
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_take_back(warpkem_engine *engine, const char *backend);

/* ---- metrics ------------------------------------------------------------------------------------------------------ */

/* Since the engine was made. Snapshots of several engines are merged by adding all members. */
typedef struct {
  size_t struct_size;   /* in: sizeof(warpkem_counters) */
  uint64_t submitted;   /* requests taken */
  uint64_t refused;     /* requests answered WOULD_BLOCK */
  uint64_t completed;   /* requests completed, however */
  uint64_t failed;      /* of those, with at least one item that is not ok: cancelled, expired and aborted ones too */
  uint64_t cancelled;
  uint64_t expired;
  uint64_t aborted;
  uint64_t batches;     /* formed */
  uint64_t batch_items; /* items in them */
  uint64_t redone;      /* items sent to another backend */
  uint64_t helped;      /* requests that the waiting caller ran itself */
  uint64_t checked;     /* items that the sentinel recomputed */
  uint64_t mismatched;  /* of those, with a different result */
  uint64_t unchecked;   /* items chosen for that, but no other backend could */
  uint64_t quarantines;
  uint64_t items;       /* now: submitted and not yet delivered */
  uint64_t bytes;       /* now: of their records */
} warpkem_counters;

#define WARPKEM_PHASE_WAIT 0u    /* from submission to being in a batch (the first, if there are several), or to its end */
#define WARPKEM_PHASE_SERVICE 1u /* what backends took for its batch (the last), second attempts and checks included */
#define WARPKEM_PHASE_TOTAL 2u   /* from submission to completion; counts all completed requests */

#define WARPKEM_HISTOGRAM_BUCKETS 112

/* Latencies of requests. Bucket 0 begins at 0, the last is open, see warpkem_histogram_bound(). */
typedef struct {
  const char *backend; /* "" for what no backend did. Lives as long as the library. */
  uint32_t operation;  /* WARPKEM_OP_* */
  uint32_t phase;      /* WARPKEM_PHASE_* */
  uint64_t count;
  uint64_t sum_ns;
  uint64_t max_ns;
  uint64_t buckets[WARPKEM_HISTOGRAM_BUCKETS];
} warpkem_histogram;

/// A snapshot. Costs the hot path two or three atomic additions per batch and histogram.
/// @param counters   out, or NULL
/// @param histograms out, or NULL: up to `capacity` of those that are not empty
/// @param count      out, or NULL: how many are not empty
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_metrics(warpkem_engine *engine, warpkem_counters *counters,
                                                              warpkem_histogram *histograms, size_t capacity,
                                                              size_t *count);

/// Adds `from` to `into`.
WARPKEM_API void warpkem_histogram_add(warpkem_histogram *into, const warpkem_histogram *from);

/// The first nanosecond above bucket `bucket`; UINT64_MAX for the last one. A bucket is at most a quarter as wide as it is
/// far from 0.
WARPKEM_API uint64_t warpkem_histogram_bound(size_t bucket);

/// The upper bound of the bucket in which the quantile (0.5: the median) lies, but at most max_ns; 0 if empty.
WARPKEM_API uint64_t warpkem_histogram_quantile(const warpkem_histogram *histogram, double quantile);

/// The same as Prometheus text, exposition format 0.0.4, with a terminating 0.
/// @param needed out: NULL, or the bytes of the whole text with its 0
/// @return OK; OUT_OF_MEMORY if `capacity` is too small: then the text is "" or, without capacity, not touched
WARPKEM_API WARPKEM_MUST_CHECK warpkem_status warpkem_metrics_text(warpkem_engine *engine, char *text, size_t capacity,
                                                                   size_t *needed);

#ifdef __cplusplus
}
#endif

#endif
