"""Arrays on a CUDA device: whatever has __cuda_array_interface__ or DLPack, through the calls of cuda.h on the array's stream.

The arrays lie on the current device. A call returns when its work is enqueued; outputs are valid in the order of the stream.
"""
from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from ._library import (ABSENT, DERAND, FIELDS, OP_DECAPS, OP_ENCAPS, OP_KEYGEN, Algorithm, batch, check, lib)
from ._results import DecapsResult, EncapsResult, KeygenResult

if TYPE_CHECKING:
    from ._engine import Engine, Handle

_DEVICE = 1  # WARPKEM_CUDA_DEVICE
_LEGACY = 1  # the default stream, as the array interface and DLPack number it; the library's is NULL


class Memory:
    """Device memory of the library's. It is wiped before it is freed."""

    def __init__(self, handle: Handle, size: int, stream: int) -> None:
        self.handle, self.size, self.stream = handle, max(size, 1), stream
        pointer = ctypes.c_void_p()
        check(lib.warpkem_cuda_alloc(handle.pointer, _DEVICE, self.size, ctypes.byref(pointer)))
        self.pointer: int | None = pointer.value

    def __del__(self, synchronize=lib.warpkem_cuda_synchronize, free=lib.warpkem_cuda_free) -> None:
        if getattr(self, "pointer", None) and self.handle.pointer:  # not in a forked child
            synchronize(self.handle.pointer, self.stream)
            free(self.handle.pointer, _DEVICE, self.size, self.pointer)
            self.pointer = None

    def copy(self, to: int, source: int, size: int) -> None:
        check(lib.warpkem_cuda_synchronize(self.handle.pointer, self.stream))
        check(lib.warpkem_cuda_copy(self.handle.pointer, to, source, size))


class DeviceArray:
    """Records on a device, of uint8, with __cuda_array_interface__: cupy.asarray() and torch.as_tensor() take it as it lies.
    NumPy's functions, numpy.asarray() and to_numpy() wait for the stream and copy it to the host."""

    def __init__(self, memory: Memory, shape: tuple[int, ...]) -> None:
        self._memory, self.shape, self.dtype = memory, shape, np.dtype(np.uint8)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": self.shape, "typestr": "|u1", "strides": None,
                "data": (self._memory.pointer, False), "stream": self._memory.stream or _LEGACY}

    def __len__(self) -> int:
        return self.shape[0]

    def to_numpy(self) -> np.ndarray:
        host = np.empty(self.shape, np.uint8)
        if host.size:
            self._memory.copy(host.ctypes.data, self._memory.pointer or 0, host.size)
        return host

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.to_numpy() if dtype is None else self.to_numpy().astype(dtype)

    def wipe(self) -> None:
        """Overwrites the records with zeros, after what is enqueued."""
        if np.prod(self.shape):
            zeros = np.zeros(self.shape, np.uint8)
            self._memory.copy(self._memory.pointer or 0, zeros.ctypes.data, zeros.size)

    def __repr__(self) -> str:
        return f"DeviceArray({list(self.shape)})"


class Workspace:
    """What the batches of one stream use, one after the other. The lock keeps their enqueueing apart."""

    def __init__(self) -> None:
        self.lock, self.memory = threading.Lock(), None

    def forget(self) -> None:
        if self.memory:
            self.memory.pointer = None


class _Tensor(ctypes.Structure):  # DLTensor
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi))


def _view(name: str, array: Any, size: int, count: int | None, writable: bool) -> tuple[tuple, int, int | None, Any]:
    """Where the records lie, how many there are, their stream if the array names one, and what keeps them alive."""
    keep, stream = array, None
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is not None:
        if interface.get("mask") is not None:
            raise ValueError(f"{name}: a masked array")
        shape, strides = tuple(interface["shape"]), interface.get("strides")
        (data, read_only), is_bytes = interface["data"], interface["typestr"] in ("|u1", "<u1", "=u1", ">u1")
        stream = interface.get("stream")
    elif hasattr(array, "__dlpack__") and int(array.__dlpack_device__()[0]) in (2, 13):
        keep = array.__dlpack__(stream=_LEGACY)  # its destructor gives the array back
        tensor = ctypes.cast(_capsule_pointer(keep, b"dltensor"), ctypes.POINTER(_Tensor)).contents
        shape = tuple(tensor.shape[:tensor.ndim])
        strides = tuple(tensor.strides[:tensor.ndim]) if tensor.strides else None
        data, read_only = (tensor.data or 0) + tensor.byte_offset, False
        is_bytes = (tensor.code, tensor.bits, tensor.lanes) == (1, 8, 1)
    else:
        raise ValueError(f"{name}: takes an array on the device, for another one is; got {type(array).__qualname__}")
    if not is_bytes or len(shape) != 2 or shape[1] != size or count not in (None, shape[0]):
        raise ValueError(f"{name}: takes an array of uint8 of shape ({'n' if count is None else count}, {size}), got {shape}")
    if writable and read_only:
        raise ValueError(f"out: {name} is read-only")
    rows = shape[0]
    stride = size if strides is None or rows < 2 else strides[0]
    if rows and strides is not None and (strides[1] != 1 or stride < size):
        raise ValueError(f"{name}: the bytes of a row must lie together, and rows must not overlap or run backwards")
    return (data or 0, (rows - 1) * stride + size if rows else 0, stride, 0), rows, stream, keep


def run_on_device(engine: Engine, name: str, a: Algorithm, dk_format: str | None, out: Any, inputs: dict[str, Any]) -> Any:
    from ._engine import _outputs
    number, dk_bytes = a.format(dk_format) if dk_format is not None else (0, 0)
    operation, kind, outputs = {
        "keygen": (OP_KEYGEN, KeygenResult, {"ek": a.ek_bytes, "dk": dk_bytes}),
        "encaps": (OP_ENCAPS, EncapsResult, {"c": a.c_bytes, "K": a.K_bytes}),
        "decaps": (OP_DECAPS, DecapsResult, {"K": a.K_bytes})}[name]
    sizes = {"seeds": a.seed_bytes.get(dk_format or "", 0), "m": a.m_bytes, "ek": a.ek_bytes, "dk": dk_bytes, "c": a.c_bytes}
    handle = engine._handle or engine._make()
    places: dict[str, tuple] = {}
    kept, streams, count = [], [], None
    for one, array in inputs.items():
        places[one], count, stream, keep = _view(one, array, sizes[one], count, False)
        kept.append(keep)
        streams.append(0 if stream in (None, _LEGACY) else stream)
    assert count is not None
    stream = streams[0]
    for other in set(streams) - {stream}:  # what comes from another stream is waited for
        check(lib.warpkem_cuda_synchronize(handle.pointer, other))
    given, results = _outputs(out, kind, False), []
    for one, size in outputs.items():
        array = given.get(one)
        if array is None:
            array = DeviceArray(Memory(handle, count * size, stream), (count, size))
        places[one + "_out"] = _view(one, array, size, count, True)[0]
        results.append(array)
    status = DeviceArray(Memory(handle, count, stream), (count,))
    if count:
        flat: list[int] = []
        for field in FIELDS[operation]:
            flat += places.get(field, ABSENT)
        derand = DERAND if {"seeds", "m"} & set(inputs) else 0
        descriptor = batch(operation, a.id, number, derand, count, flat, 0, 0, status._memory.pointer or 0, 0)
        needed = ctypes.c_size_t()
        check(lib.warpkem_cuda_workspace_bytes(handle.pointer, descriptor, ctypes.byref(needed)))
        workspace = engine._workspaces.setdefault(stream, Workspace())
        with workspace.lock:
            if workspace.memory is None or workspace.memory.size < needed.value or workspace.memory.handle is not handle:
                workspace.memory = None
                workspace.memory = Memory(handle, needed.value, stream)
            check(lib.warpkem_cuda_run(handle.pointer, descriptor, workspace.memory.pointer, workspace.memory.size,
                                       stream or None))
        # What the batch reads must outlive it: the copies that this package holds do, as long as its outputs.
        status._inputs = kept  # type: ignore[attr-defined]
    return kind(*results, status)
