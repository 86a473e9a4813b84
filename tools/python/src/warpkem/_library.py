"""libwarpkem through ctypes: loading it, its descriptors, its names, its errors.

What the library knows is asked of the library: its algorithms, their sizes, the names of statuses. ctypes releases the
interpreter's lock around every call.
"""
from __future__ import annotations

import ctypes
import dataclasses
import enum
import functools
import os
import pathlib
import struct
from ctypes import POINTER, c_char_p, c_double, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from types import MappingProxyType
from typing import Mapping, NoReturn, Sequence

_HERE = pathlib.Path(__file__).resolve().parent
_ABI = 1  # of libwarpkem, the major version


def _load() -> ctypes.CDLL:
    """WARPKEM_LIBRARY, if it is set; else the wheel's library, without OpenSSL where the system has no libcrypto.so.3; else,
    of a package of the distribution, the system's."""
    chosen = os.environ.get("WARPKEM_LIBRARY")
    carried = [str(path) for folder in ("lib", "kernel") for path in sorted((_HERE / folder).glob("libwarpkem.so.*"))]
    errors = []
    for path in [chosen] if chosen else carried or [f"libwarpkem.so.{_ABI}"]:
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            errors.append(str(error))
    raise ImportError("warpkem: " + "; ".join(errors))


lib = _load()


class In(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("bytes", c_size_t), ("stride", c_size_t)]


RandomFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
LogFn = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_char_p)


class Options(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("backend", c_char_p), ("threads", c_uint32), ("flags", c_uint32),
                ("random", RandomFn), ("random_context", c_void_p), ("policy", c_char_p), ("cuda_devices", c_char_p),
                ("cuda_chunk", c_size_t), ("cuda_streams", c_uint32), ("pairwise_every", c_size_t)]


class SchedulerOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("max_items", c_size_t), ("max_bytes", c_size_t), ("max_delay_us", c_uint32),
                ("bulk_cut_us", c_uint32), ("batch_items", c_size_t), ("device_sentinel", c_double),
                ("cpu_sentinel", c_double), ("log", LogFn), ("log_context", c_void_p)]


class SubmitOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("queue", c_void_p), ("callback", c_void_p), ("context", c_void_p),
                ("request_class", c_uint32), ("flags", c_uint32), ("max_delay_us", c_uint32), ("reserved", c_uint32),
                ("deadline_us", c_uint64), ("timeout_us", c_uint64)]


class Completion(ctypes.Structure):
    _fields_ = [("user_data", c_void_p), ("request", c_uint64), ("failed", c_size_t), ("status", c_uint32),
                ("reserved", c_uint32)]


class BackendInfo(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("detail", c_char_p), ("available", c_uint32),
                ("preferred", c_uint32), ("items", c_uint64)]


THREADS_AUTO = 0xFFFFFFFF
NO_FAIL_OVER, PIN_THREADS, REFUSE_ZERO = 1, 2, 4
OP_KEYGEN, OP_ENCAPS, OP_DECAPS, OP_CHECK_EK, OP_CHECK_DK = 1, 2, 3, 4, 5
DERAND = 1
INTERACTIVE, BULK = 0, 1
OK, ITEM_FAILED, WOULD_BLOCK = 0, 2, 11
ONE_FOR_ALL = ctypes.c_size_t(-1).value

# warpkem_batch, as one string of bytes: a header, nine arrays (data, bytes, stride, table), and what all operations have.
# An operation's string has zeros for the arrays that the operation does not take.
_ARRAYS = ("seeds", "m", "ek", "dk", "c", "ek_out", "dk_out", "c_out", "K_out")
FIELDS = {OP_KEYGEN: ("seeds", "ek_out", "dk_out"), OP_ENCAPS: ("m", "ek", "c_out", "K_out"),
          OP_DECAPS: ("dk", "c", "K_out"), OP_CHECK_EK: ("ek",), OP_CHECK_DK: ("dk",)}
ABSENT = (0, 0, 0, 0)
_BATCHES = {operation: struct.Struct("=Q4IQ" + "".join("4Q" if one in fields else "32x" for one in _ARRAYS) + "3Q16xQ")
            for operation, fields in FIELDS.items()}
_BATCH_BYTES = _BATCHES[OP_KEYGEN].size


def batch(operation: int, algorithm: int, dk_format: int, flags: int, count: int, places: Sequence[int], keys: int, index: int,
          statuses: int, user_data: int) -> bytes:
    """A warpkem_batch. `places`: four numbers for each of FIELDS[operation]."""
    return _BATCHES[operation].pack(_BATCH_BYTES, operation, algorithm, dk_format, flags, count, *places, keys, index,
                                    statuses, user_data)


_SIGNATURES = {
    "engine_new": (c_uint32, POINTER(Options), POINTER(c_void_p)),
    "engine_free": (None, c_void_p),
    "configure": (c_uint32, c_void_p, POINTER(SchedulerOptions)),
    "run": (c_uint32, c_void_p, c_char_p),
    "prepare_ek": (c_uint32, c_void_p, c_uint32, c_size_t, In, c_void_p, c_void_p, POINTER(c_void_p)),
    "prepare_dk": (c_uint32, c_void_p, c_uint32, c_uint32, c_size_t, In, c_void_p, c_void_p, POINTER(c_void_p)),
    "keys_release": (None, c_void_p),
    "keys_bytes_per_key": (c_size_t, c_void_p),
    "shake256": (c_uint32, c_void_p, c_size_t, c_char_p, c_size_t, c_size_t, POINTER(In), POINTER(c_size_t), In, c_size_t),
    "encaps_derived": (c_uint32, c_void_p, c_uint32, c_size_t, c_char_p, c_size_t, c_size_t, POINTER(In), POINTER(c_size_t), In,
                       In, In, c_void_p, c_void_p),
    "aes256_gcm_seal": (c_uint32, c_void_p, c_size_t, In, In, In, c_size_t, In, c_size_t, In),
    "aes256_gcm_open": (c_uint32, c_void_p, c_size_t, In, In, In, c_size_t, In, c_size_t, In, c_void_p, c_void_p),
    "engine_backend": (c_uint32, c_void_p, c_size_t, POINTER(BackendInfo)),
    "selftest": (c_uint32, c_void_p, c_char_p),
    "take_back": (c_uint32, c_void_p, c_char_p),
    "metrics_text": (c_uint32, c_void_p, c_char_p, c_size_t, POINTER(c_size_t)),
    "size": (c_size_t, c_uint32, c_uint32),
    "algorithm_by_name": (c_uint32, c_char_p),
    "algorithm_name": (c_char_p, c_uint32),
    "algorithm_oid": (c_char_p, c_uint32),
    "status_name": (c_char_p, c_uint32),
    "last_error": (c_char_p,),
    "version": (c_char_p,),
    "cpu_features": (c_char_p,),
    "queue_new": (c_uint32, c_void_p, POINTER(c_void_p)),
    "queue_free": (c_uint32, c_void_p),
    "queue_fd": (c_uint32, c_void_p, POINTER(c_int)),
    "queue_poll": (c_uint32, c_void_p, POINTER(Completion), c_size_t, POINTER(c_size_t)),
    "submit": (c_uint32, c_void_p, c_char_p, c_size_t, POINTER(SubmitOptions), POINTER(c_uint64), POINTER(c_size_t)),
    "cancel": (c_uint32, c_void_p, c_uint64),
    "cuda_workspace_bytes": (c_uint32, c_void_p, c_char_p, POINTER(c_size_t)),
    "cuda_run": (c_uint32, c_void_p, c_char_p, c_void_p, c_size_t, c_void_p),
    "cuda_alloc": (c_uint32, c_void_p, c_uint32, c_size_t, POINTER(c_void_p)),
    "cuda_free": (None, c_void_p, c_uint32, c_size_t, c_void_p),
    "cuda_copy": (c_uint32, c_void_p, c_void_p, c_void_p, c_size_t),
    "cuda_synchronize": (c_uint32, c_void_p, c_void_p),
}
for _name, (_result, *_arguments) in _SIGNATURES.items():
    _function = getattr(lib, "warpkem_" + _name)
    _function.restype, _function.argtypes = _result, _arguments
run = lib.warpkem_run


# ---- statuses and errors ------------------------------------------------------------------------------------------------

def _status_names() -> dict[str, int]:
    names = {}
    for number in range(256):
        name = lib.warpkem_status_name(number).decode()
        if name != "WARPKEM_UNKNOWN_STATUS":
            names[name.removeprefix("WARPKEM_")] = number
    return names


Status = enum.IntEnum("Status", _status_names(), module="warpkem")  # type: ignore[misc]
Status.__doc__ = "The statuses of calls and items, as the library names them: Status.OK is 0, Status.INVALID_EK is 3."

_MEANINGS = {
    "INVALID_EK": "a part of ek is out of range (FIPS 203, 7.2)",
    "INVALID_DK": "the hash inside dk is wrong (FIPS 203, 7.3)",
    "INVALID_KEY_INDEX": "its index is beyond the prepared keys",
    "INVALID_ARGUMENT": "its input is null",
    "INVALID_TAG": "not what was sealed with this key, nonce and aad",
}


def status_text(status: int) -> str:
    name = lib.warpkem_status_name(status).decode()
    meaning = _MEANINGS.get(name.removeprefix("WARPKEM_"))
    return f"{name}: {meaning}" if meaning else name


class Error(RuntimeError):
    """A call that failed as a whole. `status` is a Status (an int, of a library that is newer than its names)."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(f"{lib.warpkem_status_name(status).decode()}{': ' + text if text else ''}")
        self.status = Status(status) if status in Status._value2member_map_ else status

    def __reduce__(self):
        return _error_again, (type(self), self.args, self.__dict__)


def _error_again(kind, args, members):
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(members)
    return error


class ArgumentError(Error, ValueError):
    """The call was wrong; nothing was written."""


class UnsupportedError(Error, NotImplementedError):
    """The library or the machine does not have it, or the engine's policy does not allow it."""


class ItemError(Error):
    """At least one item failed. `index` is the first of them, `status` its status, `failed` how many there are."""

    def __init__(self, status: int, index: int, failed: int, count: int) -> None:
        super().__init__(status)
        self.index, self.failed = index, failed
        self.args = (f"item {index}: {status_text(status)} ({failed} of {count} items failed)",)


_KINDS = {b"WARPKEM_INVALID_ARGUMENT": ArgumentError, b"WARPKEM_UNSUPPORTED": UnsupportedError}


def fail(status: int) -> NoReturn:
    """Raises what this thread's last call answered."""
    text = lib.warpkem_last_error().decode(errors="replace")
    raise _KINDS.get(lib.warpkem_status_name(status), Error)(status, text)


def check(status: int) -> None:
    if status != OK:
        fail(status)


# ---- algorithms ---------------------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class _DkFormat:
    number: int
    size: int  # WARPKEM_SIZE_* of a dk in it
    seed_size: int  # WARPKEM_SIZE_* of the seeds that keygen_derand takes for it


DK_FORMATS = {"expanded": _DkFormat(0, 2, 6), "seed": _DkFormat(1, 3, 6), "composite": _DkFormat(2, 8, 9)}


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """An algorithm of the library and the bytes of its records. `dk_bytes` and `seed_bytes` are by dk format.
    0 bytes of `m`: encapsulation takes no randomness from outside."""

    id: int
    name: str
    oid: str | None
    ek_bytes: int
    c_bytes: int
    K_bytes: int
    m_bytes: int
    dk_bytes: Mapping[str, int] = dataclasses.field(hash=False)
    seed_bytes: Mapping[str, int] = dataclasses.field(hash=False)

    def __str__(self) -> str:
        return self.name

    def __reduce__(self):
        return algorithm, (self.name,)

    def form(self, dk_format: str | None) -> str:
        """The dk format that is meant; None: expanded, or seed where there is no such form."""
        return next(iter(self.dk_bytes)) if dk_format is None else dk_format

    def format(self, dk_format: str) -> tuple[int, int]:
        """The number of a dk format and the bytes of a dk in it."""
        try:
            return DK_FORMATS[dk_format].number, self.dk_bytes[dk_format]
        except (KeyError, TypeError):
            raise ValueError(f"{self.name} has no dk format {dk_format!r}; it has: {', '.join(self.dk_bytes)}") from None


def _algorithms():
    for number in range(1, 256):
        name = lib.warpkem_algorithm_name(number)
        if name is None:
            continue
        size = functools.partial(lib.warpkem_size, number)
        oid = lib.warpkem_algorithm_oid(number)
        formats = {key: form for key, form in DK_FORMATS.items() if size(form.size)}
        yield Algorithm(number, name.decode(), oid.decode() if oid else None, size(1), size(4), size(5), size(7),
                        MappingProxyType({key: size(form.size) for key, form in formats.items()}),
                        MappingProxyType({key: size(form.seed_size) for key, form in formats.items()}))


algorithms: tuple[Algorithm, ...] = tuple(_algorithms())
_by_id = {one.id: one for one in algorithms}
_by_name: dict[object, Algorithm] = {one.name: one for one in algorithms}


def algorithm(wanted: Algorithm | str | int) -> Algorithm:
    """The algorithm of a name ("ML-KEM-768"), alias ("MLKEM768"), dotted OID or number."""
    if type(wanted) is Algorithm:
        return wanted
    try:
        found = _by_name.get(wanted)
    except TypeError:
        found = None
    if found is None and isinstance(wanted, str) and "\0" not in wanted:
        found = _by_id.get(lib.warpkem_algorithm_by_name(wanted.encode(errors="replace")))
    elif found is None and isinstance(wanted, int) and not isinstance(wanted, bool):
        found = _by_id.get(wanted)
    if found is None:
        raise ValueError(f"no algorithm {wanted!r}; there are: {', '.join(one.name for one in algorithms)}")
    return found
