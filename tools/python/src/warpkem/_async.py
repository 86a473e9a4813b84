"""asyncio over a completion queue: its eventfd wakes the event loop, and no thread waits for anything."""
from __future__ import annotations

import asyncio
import ctypes
import itertools
from typing import TYPE_CHECKING, Any

from . import _library
from ._library import OK, WOULD_BLOCK, Completion, SubmitOptions, check, fail, lib

if TYPE_CHECKING:
    from ._engine import Engine, Handle, Request

_CAPACITY = 64


class Completions:
    """The completion queue of an engine and an event loop. The loop watches it only while requests are under way, so an
    idle one is freed with its engine or its loop, whichever goes first."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.pending: dict[int, tuple[asyncio.Future | None, Request]] = {}  # keeps the arrays alive
        self.numbers = itertools.count(1)
        self.room = asyncio.Event()
        self.queue = ctypes.c_void_p()
        check(lib.warpkem_queue_new(handle.pointer, ctypes.byref(self.queue)))
        fd = ctypes.c_int()
        check(lib.warpkem_queue_fd(self.queue, ctypes.byref(fd)))
        self.fd = fd.value
        self.completions = (Completion * _CAPACITY)()

    def __del__(self, free=lib.warpkem_queue_free) -> None:
        queue = getattr(self, "queue", None)
        if queue:
            free(queue)  # cancels what nobody waits for any more, and waits for what is under way
            for _, request in self.pending.values():
                request.wipe_copies()

    def forget(self) -> None:
        """In a forked child: the queue is the parent's."""
        self.queue = ctypes.c_void_p()

    async def run(self, request: Request, request_class: int) -> Any:
        loop = asyncio.get_running_loop()
        number, future = next(self.numbers), loop.create_future()
        descriptor = request.descriptor(number)
        options = SubmitOptions(ctypes.sizeof(SubmitOptions), self.queue, None, None, request_class)
        taken = ctypes.c_uint64()
        while True:
            status = lib.warpkem_submit(self.handle.pointer, descriptor, 1, ctypes.byref(options), ctypes.byref(taken), None)
            if status != WOULD_BLOCK:
                break
            # The engine is full. What completes makes room, be it ours or, as only time tells, another client's.
            self.room.clear()
            try:
                await asyncio.wait_for(self.room.wait(), 0.01)
            except asyncio.TimeoutError:
                pass
        if status != OK:
            request.wipe_copies()
            fail(status)
        if not self.pending:
            loop.add_reader(self.fd, self.fetch)
        self.pending[number] = (future, request)
        try:
            status = await future
        except asyncio.CancelledError:
            # The arrays stay the engine's until the completion comes. The future goes: it holds its loop, and a loop that
            # ends with requests under way must not live as long as its engine.
            if number in self.pending:
                self.pending[number] = (None, request)
            lib.warpkem_cancel(self.handle.pointer, taken.value)
            raise
        if status in _WHOLE_FAILURES:
            raise _library.Error(status, "the request failed as a whole")
        return request.finish()

    def fetch(self) -> None:
        count = ctypes.c_size_t(_CAPACITY)
        while count.value == _CAPACITY:
            if lib.warpkem_queue_poll(self.queue, self.completions, _CAPACITY, ctypes.byref(count)) != OK:
                break
            for completion in self.completions[:count.value]:
                future, request = self.pending.pop(completion.user_data)
                if future is None or future.done():  # the task was cancelled
                    request.wipe_copies()
                else:
                    future.set_result(completion.status)
        self.room.set()
        if not self.pending:
            asyncio.get_running_loop().remove_reader(self.fd)


_WHOLE_FAILURES = {_library.Status[name] for name in ("CANCELLED", "EXPIRED", "ABORTED", "BACKEND_FAILED", "OUT_OF_MEMORY",
                                                      "RNG_FAILED")}


async def submit(engine: Engine, request: Request, request_class: int) -> Any:
    loop = asyncio.get_running_loop()
    completions = engine._queues.get(loop)
    if completions is None:
        completions = engine._queues[loop] = Completions(engine._handle or engine._make())
    return await completions.run(request, request_class)
