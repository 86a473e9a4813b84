"""The engine, its operations on NumPy arrays, and prepared keys."""
from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
import weakref
from typing import Any, Callable

import numpy as np

from . import _arrays, _library
from ._arrays import SINGLE, UINT8, Records, address, source, target
from ._library import (ABSENT, BULK, DERAND, FIELDS, INTERACTIVE, ITEM_FAILED, ONE_FOR_ALL, OP_CHECK_DK, OP_CHECK_EK, OP_DECAPS,
                       OP_ENCAPS, OP_KEYGEN, Algorithm, algorithm as _algorithm, batch, check, fail, lib, run)
from ._results import Backend, CheckResult, DecapsResult, EncapsResult, KeygenResult, OpenResult

AnyAlgorithm = Algorithm | str | int


class Handle:
    """Owns a warpkem_engine. Each call holds a reference, so the engine is freed after the last call under way."""

    def __init__(self, pointer: int, callbacks: tuple) -> None:
        self.pointer: int | None = pointer
        self.callbacks = callbacks  # what the library calls must live as long

    def __del__(self, free=lib.warpkem_engine_free) -> None:
        if self.pointer:
            free(self.pointer)
            self.pointer = None


class Request:
    """One call on its way: the parts of its descriptor, what they point to, and the kind of its result."""

    __slots__ = ("operation", "algorithm", "dk_format", "flags", "count", "inputs", "outputs", "keys", "index", "status",
                 "result", "is_single")

    def __init__(self, operation: int, algorithm: Algorithm, dk_format: int, flags: int, count: int,
                 inputs: dict[str, Records], outputs: dict[str, Records], keys: PreparedKeys | None,
                 index: np.ndarray | None, status: np.ndarray, result: Callable[..., Any], is_single: bool) -> None:
        self.operation, self.algorithm, self.dk_format, self.flags, self.count = operation, algorithm, dk_format, flags, count
        self.inputs, self.outputs, self.keys, self.index, self.status = inputs, outputs, keys, index, status
        self.result, self.is_single = result, is_single

    def descriptor(self, user_data: int = 0) -> bytes:
        places: list[int] = []
        for name in FIELDS[self.operation]:
            records = self.inputs.get(name) or self.outputs.get(name)
            places += records[1] if records else ABSENT
        return batch(self.operation, self.algorithm.id, self.dk_format, self.flags, self.count, places,
                     self.keys._pointer() if self.keys is not None else 0,
                     address(self.index) if self.index is not None else 0, address(self.status), user_data)

    def wipe_copies(self) -> None:
        for name, records in self.inputs.items():
            if records[2] and name not in ("ek", "c"):
                records[0][...] = 0

    def finish(self) -> Any:
        self.wipe_copies()
        arrays = [records[0] for records in self.outputs.values()]
        if not self.is_single:
            return self.result(*arrays, self.status)
        items = [array.tobytes() for array in arrays]
        for name, (array, _, _) in self.outputs.items():
            if name in ("dk_out", "K_out"):
                array[...] = 0
        return self.result(*items, int(self.status[0]))


class Engine:
    """An engine of libwarpkem. Any number of threads may use it. All calls release the interpreter's lock.

    backend      "cuda", "avx512", "avx2", "portable"; None: what WARPKEM_BACKEND names, else the best
    threads      CPU threads that a call may use; 0: only the caller's; None: as many as the process may use cores
    fail_over    False: a batch that a backend fails to do is not done again on another one
    pin_threads  one core for each compute thread
    refuse_zero  an X25519 secret of zero fails its item also with X-Wing, whose documents do not ask for it
    random       a function that takes a number and returns so many random bytes; None: the library's generator
    policy       None: every algorithm; "CNSA-2.0"; or names with commas
    cuda_devices, cuda_chunk, cuda_streams: see warpkem.h
    pairwise_every
                 the pairwise consistency test (FIPS 140-3) of one generated key pair in so many; 1: of each; 0: none
    max_items, max_bytes, max_delay_us, bulk_cut_us, batch_items, device_sentinel, cpu_sentinel, log:
                 of the scheduler behind the calls that end in _async, see async.h; log takes a level and a text

    A context manager; close() frees the engine once the calls under way have returned. After a fork the child's engine
    makes itself anew at its first call, with the same options; prepared keys stay the parent's and answer FORKED.

    Arrays have exactly two dimensions, (n, bytes of a record), and are of uint8. Inputs may be read-only and have any
    stride between rows. `out` takes a result of the same kind, or a mapping of names to arrays. The bytes of one item,
    in place of arrays, give the bytes of one item. Wrong shapes, types and sizes raise ValueError before anything runs.
    A call that fails as a whole raises Error. A bad item raises nothing: see `status` of the result.
    """

    def __init__(self, backend: str | None = None, threads: int | None = None, *, fail_over: bool = True,
                 pin_threads: bool = False, refuse_zero: bool = False, random: Callable[[int], bytes] | None = None, policy: str | None = None,
                 cuda_devices: str | None = None, cuda_chunk: int = 0, cuda_streams: int = 0, max_items: int = 0,
                 max_bytes: int = 0, max_delay_us: int = 0, bulk_cut_us: int = 0, batch_items: int = 0,
                 device_sentinel: float = 0.0, cpu_sentinel: float = 0.0, pairwise_every: int = 0,
                 log: Callable[[int, str], None] | None = None) -> None:
        for name, number, bits in (("threads", threads, 32), ("cuda_chunk", cuda_chunk, 64), ("max_items", max_items, 64),
                                   ("cuda_streams", cuda_streams, 32), ("max_bytes", max_bytes, 64),
                                   ("max_delay_us", max_delay_us, 32), ("bulk_cut_us", bulk_cut_us, 32),
                                   ("batch_items", batch_items, 64), ("pairwise_every", pairwise_every, 64)):
            if number is not None and not 0 <= number < 1 << bits:
                raise ValueError(f"{name}: takes a number from 0 to 2^{bits} - 1, got {number}")
        random_fn = _library.RandomFn(_random_callback(random)) if random else _library.RandomFn()
        log_fn = _library.LogFn(lambda _, level, text: log(level, text.decode(errors="replace"))) if log \
            else _library.LogFn()
        self._options = _library.Options(
            ctypes.sizeof(_library.Options), _text("backend", backend), _library.THREADS_AUTO if threads is None else threads,
            (0 if fail_over else _library.NO_FAIL_OVER) | (_library.PIN_THREADS if pin_threads else 0)
            | (_library.REFUSE_ZERO if refuse_zero else 0), random_fn, None,
            _text("policy", policy), _text("cuda_devices", cuda_devices), cuda_chunk, cuda_streams, pairwise_every)
        self._scheduler = _library.SchedulerOptions(
            ctypes.sizeof(_library.SchedulerOptions), max_items, max_bytes, max_delay_us, bulk_cut_us, batch_items,
            device_sentinel, cpu_sentinel, log_fn, None)
        self._callbacks = (random_fn, log_fn)
        self._lock = threading.Lock()
        self._is_closed = False
        self._handle: Handle | None = None
        self._queues: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # event loop -> its completions
        self._workspaces: dict = {}  # CUDA stream -> what the next batch on it may use
        self._make()
        _engines.add(self)

    def _make(self) -> Handle:
        with self._lock:
            if self._is_closed:
                raise ValueError("the engine is closed")
            if self._handle is None:
                pointer = ctypes.c_void_p()
                check(lib.warpkem_engine_new(ctypes.byref(self._options), ctypes.byref(pointer)))
                handle = Handle(pointer.value or 0, self._callbacks)
                check(lib.warpkem_configure(handle.pointer, ctypes.byref(self._scheduler)))
                self._handle = handle
            return self._handle

    def close(self) -> None:
        """Frees the engine once the calls under way have returned. Later calls raise ValueError."""
        with self._lock:
            self._is_closed = True
            self._handle = None
            self._queues = weakref.WeakKeyDictionary()
            self._workspaces = {}

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        """In a forked child: what was inherited stays as it is, unused, for a call may have been under way."""
        if self._handle is not None:
            self._handle.pointer = None
        for completions in self._queues.values():
            completions.forget()
        for workspace in self._workspaces.values():
            workspace.forget()
        self._handle, self._lock = None, threading.Lock()
        self._queues, self._workspaces = weakref.WeakKeyDictionary(), {}

    # ---- the operations -------------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> Any:
        handle = self._handle or self._make()
        status = run(handle.pointer, request.descriptor())
        if status != _library.OK and status != ITEM_FAILED:
            request.wipe_copies()
            fail(status)
        return request.finish()

    def keygen(self, algorithm: AnyAlgorithm, count: int | None = None, *, dk_format: str | None = None,
               out: Any = None) -> KeygenResult:
        """Generates `count` key pairs; without a count, a single one as bytes. ML-KEM.KeyGen, FIPS 203 Algorithm 19.

        dk_format: "expanded", "seed" or "composite", as far as the algorithm has them; None: the first of these. Returns ek,
        dk, status.
        """
        return self._run(self._keygen(algorithm, count, None, dk_format, out))

    def keygen_derand(self, algorithm: AnyAlgorithm, seeds: Any, *, dk_format: str | None = None,
                      out: Any = None) -> KeygenResult:
        """The same from given seeds (n, seed_bytes). ML-KEM.KeyGen_internal, FIPS 203 Algorithm 16."""
        if type(seeds) is not np.ndarray and _is_on_device(seeds):
            return self._on_device("keygen", algorithm, _algorithm(algorithm).form(dk_format), out, seeds=seeds)
        return self._run(self._keygen(algorithm, None, seeds, dk_format, out))

    def _keygen(self, algorithm, count, seeds, dk_format, out) -> Request:
        a = _algorithm(algorithm)
        dk_format = a.form(dk_format)
        number, dk_bytes = a.format(dk_format)
        inputs: dict[str, Records] = {}
        if seeds is None:
            is_single, count = count is None, 1 if count is None else _count(count)
        else:
            inputs, is_single, count = _inputs(seeds=(seeds, a.seed_bytes[dk_format]))
        given = _outputs(out, KeygenResult, is_single)
        outputs = {"ek_out": target("ek", given.get("ek"), count, a.ek_bytes),
                   "dk_out": target("dk", given.get("dk"), count, dk_bytes)}
        return Request(OP_KEYGEN, a, number, DERAND if inputs else 0, count, inputs, outputs, None, None,
                       _status(given, count), KeygenResult, is_single)

    def encaps(self, algorithm: AnyAlgorithm, ek: Any, *, out: Any = None) -> EncapsResult:
        """Encapsulates to each key of `ek` (n, ek_bytes). ML-KEM.Encaps, FIPS 203 Algorithm 20, with the check of
        Section 7.2: a key that fails it has status INVALID_EK. Returns c, K, status.

        `ek` may lie on a CUDA device (__cuda_array_interface__ or DLPack): then the outputs do too, in the order of the
        array's stream.
        """
        if type(ek) is not np.ndarray and _is_on_device(ek):
            return self._on_device("encaps", algorithm, None, out, ek=ek)
        if type(out) is EncapsResult and type(ek) is np.ndarray and ek.ndim == 2 and \
                out[0] is not None and out[1] is not None and out[2] is not None:
            # Single items in a loop: all arrays are there, and the descriptor is all that is made. Half the time of _run().
            a, count = _algorithm(algorithm), len(ek)
            records = source("ek", ek, a.ek_bytes)
            places = (*ABSENT, *records[1], *target("c", out[0], count, a.c_bytes)[1],
                      *target("K", out[1], count, a.K_bytes)[1])
            descriptor = batch(OP_ENCAPS, a.id, 0, 0, count, places, 0, 0, address(_status({"status": out[2]}, count)), 0)
            handle = self._handle or self._make()
            status = run(handle.pointer, descriptor)
            if status != _library.OK and status != ITEM_FAILED:
                fail(status)
            return out
        return self._run(self._encaps(algorithm, ek, None, out))

    def encaps_derand(self, algorithm: AnyAlgorithm, ek: Any, m: Any, *, out: Any = None) -> EncapsResult:
        """The same with given randomness m (n, m_bytes), which must be random, secret and used once.
        ML-KEM.Encaps_internal, FIPS 203 Algorithm 17."""
        if type(ek) is not np.ndarray and _is_on_device(ek):
            return self._on_device("encaps", algorithm, None, out, ek=ek, m=m)
        return self._run(self._encaps(algorithm, ek, m, out))

    def encaps_derived(self, algorithm: AnyAlgorithm, ek: np.ndarray, prefix: bytes, *parts: np.ndarray,
                       out: Any = None) -> EncapsResult:
        """The same with an m that the library derives: the first m_bytes of SHAKE256(prefix, row i of each part, H(ek)), with
        H(ek) = SHA3-256(ek). The same prefix, parts and ek give the same c and K each time. `prefix` or a part holds a secret
        of at least 32 bytes, for this use alone; every row has parts of its own. See warpkem_encaps_derived() in warpkem.h."""
        a = _algorithm(algorithm)
        (records, count), keys = _message_parts(parts), source("ek", ek, a.ek_bytes)
        if len(keys[0]) != count:
            raise ValueError(f"arrays of different lengths: ek {len(keys[0])}, parts {count}")
        given = _outputs(out, EncapsResult, False)
        c, K = target("c", given.get("c"), count, a.c_bytes), target("K", given.get("K"), count, a.K_bytes)
        status = _status(given, count)
        try:
            if count:
                done = lib.warpkem_encaps_derived((self._handle or self._make()).pointer, a.id, count, prefix, len(prefix),
                                                  *_part_arguments(records), *(_library.In(*one[1][:3]) for one in (keys, c, K)),
                                                  address(status), None)
                if done != ITEM_FAILED:
                    check(done)
        finally:
            _wipe_copies(records)
        return EncapsResult(c[0], K[0], status)

    def _encaps(self, algorithm, ek, m, out) -> Request:
        a = _algorithm(algorithm)
        flags = 0
        if m is None and type(ek) is np.ndarray:  # the usual case, kept short
            records = source("ek", ek, a.ek_bytes)
            inputs, is_single, count = {"ek": records}, False, len(records[0])
        elif m is None:
            inputs, is_single, count = _inputs(ek=(ek, a.ek_bytes))
        else:
            inputs, is_single, count = _inputs(ek=(ek, a.ek_bytes), m=(m, a.m_bytes))
            flags = DERAND
        given = _outputs(out, EncapsResult, is_single)
        outputs = {"c_out": target("c", given.get("c"), count, a.c_bytes), "K_out": target("K", given.get("K"), count, a.K_bytes)}
        return Request(OP_ENCAPS, a, 0, flags, count, inputs, outputs, None, None, _status(given, count), EncapsResult,
                       is_single)

    def decaps(self, algorithm: AnyAlgorithm, dk: Any, c: Any, *, dk_format: str | None = None,
               out: Any = None) -> DecapsResult:
        """Decapsulates each row of `c` (n, c_bytes) with the same row of `dk` (n, dk_bytes). ML-KEM.Decaps, FIPS 203
        Algorithm 21, with the check of Section 7.3: an expanded key that fails it has status INVALID_DK. A wrong
        ciphertext of ML-KEM gives a pseudorandom K, silently. Returns K, status."""
        if type(c) is not np.ndarray and _is_on_device(c):
            return self._on_device("decaps", algorithm, _algorithm(algorithm).form(dk_format), out, dk=dk, c=c)
        return self._run(self._decaps(algorithm, dk, c, dk_format, out))

    def _decaps(self, algorithm, dk, c, dk_format, out) -> Request:
        a = _algorithm(algorithm)
        dk_format = a.form(dk_format)
        number, dk_bytes = a.format(dk_format)
        inputs, is_single, count = _inputs(dk=(dk, dk_bytes), c=(c, a.c_bytes))
        given = _outputs(out, DecapsResult, is_single)
        outputs = {"K_out": target("K", given.get("K"), count, a.K_bytes)}
        return Request(OP_DECAPS, a, number, 0, count, inputs, outputs, None, None, _status(given, count), DecapsResult,
                       is_single)

    def check_ek(self, algorithm: AnyAlgorithm, ek: Any) -> CheckResult:
        """The check of encapsulation keys alone (FIPS 203, 7.2). Returns status."""
        a = _algorithm(algorithm)
        return self._run(self._check(OP_CHECK_EK, a, _inputs(ek=(ek, a.ek_bytes))))

    def check_dk(self, algorithm: AnyAlgorithm, dk: Any) -> CheckResult:
        """The check of expanded decapsulation keys alone (FIPS 203, 7.3). Returns status."""
        a = _algorithm(algorithm)
        return self._run(self._check(OP_CHECK_DK, a, _inputs(dk=(dk, a.format("expanded")[1]))))

    @staticmethod
    def _check(operation, a, given) -> Request:
        inputs, is_single, count = given
        return Request(operation, a, 0, 0, count, inputs, {}, None, None, _status({}, count), CheckResult, is_single)

    # ---- prepared keys --------------------------------------------------------------------------------------------------

    def prepare_ek(self, algorithm: AnyAlgorithm, ek: Any) -> PreparedKeys:
        """Checks and expands encapsulation keys (n, ek_bytes), or one as bytes, for all later encaps_prepared()."""
        return PreparedKeys(self, _algorithm(algorithm), ek, None)

    def prepare_dk(self, algorithm: AnyAlgorithm, dk: Any, *, dk_format: str | None = None) -> PreparedKeys:
        """The same for decapsulation keys and decaps_prepared()."""
        a = _algorithm(algorithm)
        return PreparedKeys(self, a, dk, a.form(dk_format))

    def encaps_prepared(self, keys: PreparedKeys, count: int | None = None, *, index: Any = None, m: Any = None,
                        out: Any = None) -> EncapsResult:
        """Encapsulates `count` times to key 0, or to keys[index[i]] for each i of `index` (n,) of uint32. `m` (n, m_bytes)
        is given randomness. An index beyond the set gives the item the status INVALID_KEY_INDEX."""
        return self._run(self._encaps_prepared(keys, count, index, m, out))

    def _encaps_prepared(self, keys, count, index, m, out) -> Request:
        a = keys.algorithm
        index = _index(index)
        inputs = {} if m is None else {"m": source("m", m, a.m_bytes)}
        counts = {len(given) for given in (index, *(records[0] for records in inputs.values())) if given is not None}
        if count is not None:
            counts.add(_count(count))
        if len(counts) != 1:
            raise ValueError("count, index and m: at least one is needed, and all must ask for the same number of items")
        count = counts.pop()
        given = _outputs(out, EncapsResult, False)
        outputs = {"c_out": target("c", given.get("c"), count, a.c_bytes), "K_out": target("K", given.get("K"), count, a.K_bytes)}
        return Request(OP_ENCAPS, a, 0, DERAND if inputs else 0, count, inputs, outputs, keys, index,
                       _status(given, count), EncapsResult, False)

    def decaps_prepared(self, keys: PreparedKeys, c: Any, *, index: Any = None, out: Any = None) -> DecapsResult:
        """Decapsulates row i of `c` with keys[index[i]]; without an index, with key 0."""
        return self._run(self._decaps_prepared(keys, c, index, out))

    def _decaps_prepared(self, keys, c, index, out) -> Request:
        a = keys.algorithm
        inputs, is_single, count = _inputs(c=(c, a.c_bytes))
        index = _index(index)
        if index is not None and len(index) != count:
            raise ValueError(f"index: takes {count} numbers, one for each row of c; got {len(index)}")
        given = _outputs(out, DecapsResult, is_single)
        outputs = {"K_out": target("K", given.get("K"), count, a.K_bytes)}
        return Request(OP_DECAPS, a, 0, 0, count, inputs, outputs, keys, index, _status(given, count), DecapsResult,
                       is_single)

    # ---- submission: the same through asyncio ---------------------------------------------------------------------------

    async def _submit(self, request: Request, bulk: bool) -> Any:
        from ._async import submit
        return await submit(self, request, BULK if bulk else INTERACTIVE)

    async def keygen_async(self, algorithm: AnyAlgorithm, count: int | None = None, *, dk_format: str | None = None,
                           out: Any = None, bulk: bool = False) -> KeygenResult:
        """keygen(), awaited. The scheduler gathers requests into batches. A cancelled task cancels its request. `bulk`:
        interactive requests go first. The arrays belong to the engine until the call is done."""
        return await self._submit(self._keygen(algorithm, count, None, dk_format, out), bulk)

    async def keygen_derand_async(self, algorithm: AnyAlgorithm, seeds: Any, *, dk_format: str | None = None,
                                  out: Any = None, bulk: bool = False) -> KeygenResult:
        """keygen_derand(), awaited."""
        return await self._submit(self._keygen(algorithm, None, seeds, dk_format, out), bulk)

    async def encaps_async(self, algorithm: AnyAlgorithm, ek: Any, *, out: Any = None, bulk: bool = False) -> EncapsResult:
        """encaps(), awaited."""
        return await self._submit(self._encaps(algorithm, ek, None, out), bulk)

    async def encaps_derand_async(self, algorithm: AnyAlgorithm, ek: Any, m: Any, *, out: Any = None,
                                  bulk: bool = False) -> EncapsResult:
        """encaps_derand(), awaited."""
        return await self._submit(self._encaps(algorithm, ek, m, out), bulk)

    async def decaps_async(self, algorithm: AnyAlgorithm, dk: Any, c: Any, *, dk_format: str | None = None, out: Any = None,
                           bulk: bool = False) -> DecapsResult:
        """decaps(), awaited."""
        return await self._submit(self._decaps(algorithm, dk, c, dk_format, out), bulk)

    async def encaps_prepared_async(self, keys: PreparedKeys, count: int | None = None, *, index: Any = None, m: Any = None,
                                    out: Any = None, bulk: bool = False) -> EncapsResult:
        """encaps_prepared(), awaited."""
        return await self._submit(self._encaps_prepared(keys, count, index, m, out), bulk)

    async def decaps_prepared_async(self, keys: PreparedKeys, c: Any, *, index: Any = None, out: Any = None,
                                    bulk: bool = False) -> DecapsResult:
        """decaps_prepared(), awaited."""
        return await self._submit(self._decaps_prepared(keys, c, index, out), bulk)

    # ---- device arrays --------------------------------------------------------------------------------------------------

    def _on_device(self, operation, algorithm, dk_format, out, **inputs) -> Any:
        from ._device import run_on_device
        return run_on_device(self, operation, _algorithm(algorithm), dk_format, out, inputs)

    # ---- queries --------------------------------------------------------------------------------------------------------

    def shake256(self, prefix: bytes, *parts: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
        """SHAKE256 (FIPS 202) of many messages at once, (n, size): message i is `prefix`, then row i of each part. Parts are
        arrays (n, any number of bytes), at least one. What a job derives seeds and m with; nothing is kept of them here."""
        records, count = _message_parts(parts)
        digests = target("digests", out, count, size)
        try:
            if count:
                check(lib.warpkem_shake256((self._handle or self._make()).pointer, count, prefix, len(prefix),
                                           *_part_arguments(records), _library.In(*digests[1][:3]), size))
        finally:
            _wipe_copies(records)
        return digests[0]

    def aes256_gcm_seal(self, key: Any, nonce: Any, aad: Any, text: Any, *, out: np.ndarray | None = None) -> Any:
        """AES-256-GCM (NIST SP 800-38D) of many texts at once: ciphertext and tag, (n, bytes of a text + 16). `key` (n, 32),
        `nonce` (n, 12), `aad` and `text` (n, any number of bytes); row i of each belongs together. Bytes in place of an array
        are the same for all rows, and bytes for all four are one item. No key may seal two texts with one nonce: see
        warpkem.h. UnsupportedError where the library has no OpenSSL."""
        count, is_single, rows, sizes = _rows(key=(key, 32), nonce=(nonce, 12), aad=(aad, None), text=(text, None))
        if is_single and out is not None:
            raise ValueError("out: a single item as bytes has none")
        sealed = target("sealed", out, count, sizes[3] + 16)
        self._gcm(lib.warpkem_aes256_gcm_seal, count, rows, sizes[2], sizes[3], sealed)
        return sealed[0].tobytes() if is_single else sealed[0]

    def aes256_gcm_open(self, key: Any, nonce: Any, aad: Any, sealed: Any, *, out: Any = None) -> OpenResult:
        """Opens what aes256_gcm_seal() sealed: row i of `sealed` (n, bytes of a text + 16). A row whose tag is wrong has status
        INVALID_TAG. Returns text, status."""
        count, is_single, rows, sizes = _rows(key=(key, 32), nonce=(nonce, 12), aad=(aad, None), sealed=(sealed, None))
        if sizes[3] < 16:
            raise ValueError(f"sealed: takes at least the 16 bytes of a tag, got {sizes[3]}")
        given = _outputs(out, OpenResult, is_single)
        text, status = target("text", given.get("text"), count, sizes[3] - 16), _status(given, count)
        self._gcm(lib.warpkem_aes256_gcm_open, count, rows, sizes[2], sizes[3] - 16, text, address(status), None)
        if not is_single:
            return OpenResult(text[0], status)
        opened = text[0].tobytes()
        text[0][...] = 0
        return OpenResult(opened, int(status[0]))

    def _gcm(self, call, count, rows, aad_bytes, text_bytes, to, *more) -> None:
        key, nonce, aad, given = (_library.In(*place) for _, place, _ in rows)
        try:
            if count:
                status = call((self._handle or self._make()).pointer, count, key, nonce, aad, aad_bytes, given, text_bytes,
                              _library.In(*to[1][:3]), *more)
                if status != ITEM_FAILED:
                    check(status)
        finally:
            _wipe_copies(rows)

    def backends(self) -> list[Backend]:
        """The engine's backends, best first."""
        handle = self._handle or self._make()
        found: list[Backend] = []
        info = _library.BackendInfo(ctypes.sizeof(_library.BackendInfo))
        while lib.warpkem_engine_backend(handle.pointer, len(found), ctypes.byref(info)) == _library.OK:
            found.append(Backend(info.name.decode(), info.detail.decode(), bool(info.available), bool(info.preferred),
                                 info.items))
        return found

    def selftest(self, backend: str | None = None) -> None:
        """Runs the known-answer test of a backend, or of every backend; raises Error if it fails."""
        handle = self._handle or self._make()
        check(lib.warpkem_selftest(handle.pointer, _text("backend", backend)))

    def take_back(self, backend: str) -> None:
        """Lets the engine use a backend again that had given a wrong result."""
        handle = self._handle or self._make()
        check(lib.warpkem_take_back(handle.pointer, _text("backend", backend)))

    def metrics_text(self) -> str:
        """Counters and latencies as Prometheus text."""
        handle = self._handle or self._make()
        needed = ctypes.c_size_t(1 << 16)
        while True:
            text = ctypes.create_string_buffer(needed.value + 4096)
            status = lib.warpkem_metrics_text(handle.pointer, text, len(text), ctypes.byref(needed))
            if status == _library.OK or needed.value <= len(text):
                check(status)
                return text.value.decode()


class PreparedKeys:
    """A set of checked and expanded keys; see Engine.prepare_ek(). `status` has one byte for each key: items that use a bad
    key fail with its status. A context manager; close() gives its memory back, wiped, once no call uses it."""

    def __init__(self, engine: Engine, algorithm: Algorithm, keys: Any, dk_format: str | None) -> None:
        self.algorithm = algorithm
        self._process = os.getpid()
        self._keys: _KeysHandle | None = None
        if dk_format is None:
            inputs, _, count = _inputs(ek=(keys, algorithm.ek_bytes))
            records, extra = inputs["ek"], []
        else:
            number, size = algorithm.format(dk_format)
            inputs, _, count = _inputs(dk=(keys, size))
            records, extra = inputs["dk"], [number]
        self.status = np.zeros(count, np.uint8)
        pointer = ctypes.c_void_p()
        handle = engine._handle or engine._make()
        prepare = lib.warpkem_prepare_ek if dk_format is None else lib.warpkem_prepare_dk
        status = prepare(handle.pointer, algorithm.id, *extra, count, _library.In(*records[1][:3]),
                         address(self.status), None, ctypes.byref(pointer))
        if records[2] and dk_format is not None:
            records[0][...] = 0
        if status not in (_library.OK, ITEM_FAILED):
            fail(status)
        self._keys = _KeysHandle(pointer.value or 0, handle)

    def _pointer(self) -> int:
        keys = self._keys
        if keys is None:
            raise ValueError("the prepared keys are closed")
        if os.getpid() != self._process:
            raise _library.Error(_library.Status["FORKED"], "these keys were prepared before the fork: prepare them again")
        return keys.pointer

    def __len__(self) -> int:
        return len(self.status)

    @property
    def bytes_per_key(self) -> int:
        """The memory that each key takes."""
        return lib.warpkem_keys_bytes_per_key(self._pointer())

    def close(self) -> None:
        self._keys = None

    def __enter__(self) -> PreparedKeys:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _KeysHandle:
    """Owns a warpkem_keys."""

    def __init__(self, pointer: int, engine: Handle) -> None:
        # They keep the library's engine alive, so what it calls must live as long.
        self.pointer, self.callbacks, self.process = pointer, engine.callbacks, os.getpid()

    def __del__(self, release=lib.warpkem_keys_release, getpid=os.getpid) -> None:
        if getpid() == self.process:
            release(self.pointer)


# ---- arguments ----------------------------------------------------------------------------------------------------------

def _text(name: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    if not isinstance(text, str) or "\0" in text:
        raise ValueError(f"{name}: takes a text, got {text!r}")
    return text.encode()


def _count(count: int) -> int:
    try:
        count = count.__index__()
    except AttributeError:
        raise ValueError(f"count: takes a whole number, got {count!r}") from None
    if not 0 <= count <= 0xFFFFFFFF:
        raise ValueError(f"count: takes a number from 0 to 2^32 - 1, got {count}")
    return count


def _index(index: Any) -> np.ndarray | None:
    if index is None:
        return None
    array = np.asarray(index)
    if array.ndim != 1 or array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"index: takes whole numbers of shape (n,), got {array.dtype} of shape {array.shape}")
    if array.size and (array.min() < 0 or array.max() > 0xFFFFFFFF):
        raise ValueError("index: takes numbers from 0 to 2^32 - 1")
    return np.ascontiguousarray(array, np.uint32)


def _inputs(**arrays: tuple[Any, int]) -> tuple[dict[str, Records], bool, int]:
    """The inputs of a call, whether they are the bytes of a single item, and how many items there are."""
    is_single = isinstance(next(iter(arrays.values()))[0], SINGLE)
    found, count = {}, None
    for name, (array, size) in arrays.items():
        if isinstance(array, SINGLE) != is_single:
            raise ValueError(f"{', '.join(arrays)}: all arrays, or all bytes of one item")
        records = source(name, _arrays.single(name, array, size) if is_single else array, size)
        if count is not None and len(records[0]) != count:
            raise ValueError(f"{name}: has {len(records[0])} rows where {next(iter(arrays))} has {count}")
        count = len(records[0])
        found[name] = records
    return found, is_single, count or 0


def _rows(**given: tuple[Any, int | None]) -> tuple[int, bool, list[tuple[np.ndarray, tuple, bool]], list[int]]:
    """The inputs of a call where bytes stand for what is the same in all items: how many items there are, whether it is a
    single one since all are bytes, the records, and the bytes of each."""
    found, counts = [], {}
    for name, (value, size) in given.items():
        if isinstance(value, SINGLE):
            row = _arrays.single(name, value, memoryview(value).nbytes if size is None else size)
            found.append((row, (address(row), row.size, ONE_FOR_ALL), False))
        else:
            if size is None:
                size = value.shape[1] if getattr(value, "ndim", 0) == 2 else 1
            array, place, is_copy = source(name, value, size)
            found.append((array, place[:3], is_copy))
            counts[name] = len(array)
    if len(set(counts.values())) > 1:
        raise ValueError(f"arrays of different lengths: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    return next(iter(counts.values()), 1), not counts, found, [array.shape[1] for array, _, _ in found]


def _message_parts(parts: tuple[np.ndarray, ...]) -> tuple[list[Records], int]:
    """The parts of messages, and how many messages there are."""
    if not parts:
        raise ValueError("parts: takes at least one array")
    records = [source("part", part, part.shape[1] if getattr(part, "ndim", 0) == 2 else 1) for part in parts]
    count = len(records[0][0])
    if any(len(array) != count for array, _, _ in records):
        raise ValueError(f"parts: of different lengths: {', '.join(str(len(array)) for array, _, _ in records)}")
    return records, count


def _part_arguments(records: list[Records]) -> tuple[int, Any, Any]:
    """num_parts, parts and part_bytes."""
    many = len(records)
    return (many, (_library.In * many)(*(_library.In(*place[:3]) for _, place, _ in records)),
            (ctypes.c_size_t * many)(*(array.shape[1] for array, _, _ in records)))


def _wipe_copies(records: list[Records]) -> None:
    for array, _, is_copy in records:
        if is_copy:
            array[...] = 0


def _outputs(out: Any, kind: Any, is_single: bool) -> dict[str, Any]:
    """The caller's output arrays by name."""
    if out is None:
        return {}
    if is_single:
        raise ValueError("out: a single item as bytes has none")
    if type(out) is kind:
        return dict(zip(out._fields, out))
    if isinstance(out, np.ndarray) and kind is DecapsResult:
        return {"K": out}
    names = kind._fields
    if not hasattr(out, "keys") or not set(out.keys()) <= set(names):
        raise ValueError(f"out: takes a {kind.__name__}, or a mapping from {', '.join(names)} to arrays")
    return dict(out)


def _status(given: dict[str, Any], count: int) -> np.ndarray:
    status = given.get("status")
    if status is None:
        return np.empty(count, UINT8)
    if type(status) is np.ndarray and status.dtype is UINT8 and status.shape == (count,) and status.flags.carray:
        return status
    if not isinstance(status, np.ndarray) or status.dtype != UINT8 or status.shape != (count,) or not status.flags.carray:
        raise ValueError(f"out: status takes a contiguous array of uint8 of shape ({count},)")
    return status


def _is_on_device(array: Any) -> bool:
    if hasattr(array, "__cuda_array_interface__"):
        return True
    device = getattr(array, "__dlpack_device__", None)
    return device is not None and not isinstance(array, np.ndarray) and int(device()[0]) in (2, 13)  # CUDA, managed


def _random_callback(random: Callable[[int], bytes]) -> Callable[[int, int, int], int]:
    def fill(_, out, size):
        try:
            drawn = random(size)
            if len(drawn) != size:
                return 1
            ctypes.memmove(out, bytes(drawn), size)
            return 0
        except Exception:  # it becomes RNG_FAILED
            return 1
    return fill


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork() -> None:
    for engine in list(_engines):
        engine._forget()


def _at_exit() -> None:
    """Before the interpreter ends: no thread must call a function of Python's later. So daemon threads finish the calls
    that they are in."""
    calling = [weakref.ref(engine._handle) for engine in _engines if engine._handle and any(engine._callbacks)]
    for engine in list(_engines):
        engine.close()
    end = time.monotonic() + 5  # arrays on a device may keep an engine too
    while any(handle() is not None for handle in calling) and time.monotonic() < end:
        time.sleep(0.001)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
