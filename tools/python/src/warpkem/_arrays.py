"""NumPy arrays as the library's arrays: what is accepted, and where its records lie."""
from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

UINT8 = np.dtype(np.uint8)
SINGLE = (bytes, bytearray, memoryview)


# Records in host memory: the array, which keeps them alive; data, bytes, stride and no table, as a descriptor has them;
# whether the array is a copy of the caller's. (A plain tuple: a named one would take a microsecond.)
Records = tuple[np.ndarray, tuple[int, int, int, int], bool]

_BEHIND_THE_HEADER = object.__basicsize__


def _slow_address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _quick_address(array: np.ndarray, *, at=ctypes.c_void_p.from_address) -> int:
    """NumPy's C ABI has the address of the data right behind the object's header. To ask for it takes three
    microseconds for each array, which is more than the rest of a call."""
    return at(id(array) + _BEHIND_THE_HEADER).value or 0


_probes: list[np.ndarray] = [np.empty(3, np.uint8), np.empty((2, 5), np.uint8)[1:], np.empty(0, np.uint32)]
address = _quick_address if all(_slow_address(one) == _quick_address(one) for one in _probes) else _slow_address


def _place(array: np.ndarray, size: int) -> tuple[int, int, int, int]:
    count, stride = len(array), array.strides[0]
    if count == 0:
        return (address(array), 0, 0, 0)
    return (address(array), (count - 1) * stride + size, stride, 0) if count > 1 else (address(array), size, 0, 0)


def wrong(name: str, size: int, value: Any) -> ValueError:
    if isinstance(value, np.ndarray):
        found = f"an array of {value.dtype} of shape {value.shape}"
    else:
        found = f"{type(value).__module__}.{type(value).__qualname__}"
    return ValueError(f"{name}: takes a NumPy array of uint8 of shape (n, {size}), or {size} bytes for one item; got {found}")


def single(name: str, value: Any, size: int) -> np.ndarray:
    """The bytes of one item as an array of one row."""
    row = np.frombuffer(value, np.uint8) if len(memoryview(value).cast("B")) else np.empty(0, np.uint8)
    if row.size != size:
        raise ValueError(f"{name}: takes {size} bytes, got {row.size}")
    return row.reshape(1, size)


def source(name: str, array: Any, size: int) -> Records:
    """An input. Rows may have any stride. What the library cannot read as it lies is copied: rows that overlap or run
    backwards, bytes of a row that do not lie together."""
    if type(array) is np.ndarray and array.dtype is UINT8 and array.flags.c_contiguous and array.shape[1:] == (size,):
        return array, (address(array), array.size, 0, 0), False  # the usual case: packed
    if type(array) is not np.ndarray:
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            raise wrong(name, size, array)
        array = array.view(np.ndarray)
    if array.dtype != UINT8 or array.ndim != 2 or array.shape[1] != size:
        raise wrong(name, size, array)
    if array.strides[1] == 1 and (array.strides[0] >= size or len(array) < 2):
        return array, _place(array, size), False
    copy = np.ascontiguousarray(array)
    return copy, _place(copy, size), True


def target(name: str, array: Any, count: int, size: int) -> Records:
    """An output: the caller's array, or a new one if there is none."""
    if array is None:
        array = np.empty((count, size), UINT8)
        return array, (address(array), count * size, 0, 0), False
    if type(array) is np.ndarray and array.dtype is UINT8 and array.shape == (count, size) and array.flags.carray:
        return array, (address(array), count * size, 0, 0), False  # the usual case: packed, and may be written
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise ValueError(f"out: {name} takes a NumPy array, got {type(array).__qualname__}")
    if array.dtype != UINT8 or array.shape != (count, size):
        raise ValueError(f"out: {name} takes an array of uint8 of shape ({count}, {size}), "
                         f"got {array.dtype} of shape {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"out: {name} is read-only")
    if count and (array.strides[1] != 1 or (count > 1 and array.strides[0] < size)):
        raise ValueError(f"out: the bytes of a row of {name} must lie together, and rows must not overlap or run backwards")
    return array, _place(array, size), False


def wipe(secret: Any) -> None:
    """Overwrites a secret with zeros. Bytes are immutable, so they cannot be wiped."""
    if isinstance(secret, bytearray):
        ctypes.memset((ctypes.c_char * len(secret)).from_buffer(secret), 0, len(secret))
    elif isinstance(secret, np.ndarray):
        secret[...] = 0
    elif hasattr(secret, "wipe"):
        secret.wipe()
    else:
        raise TypeError(f"{type(secret).__name__} cannot be wiped; call with arrays of one row instead of bytes")
