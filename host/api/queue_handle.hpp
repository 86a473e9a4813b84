// What a warpkem_queue is.
#pragma once

#include "host/serving/completion_queue.hpp"
#include "warpkem/async.h"

struct warpkem_queue final : warpkem::host::CompletionQueue {
  using CompletionQueue::CompletionQueue;
};
