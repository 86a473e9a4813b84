"""What calls return: named tuples whose arrays have one row for each item."""
from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np

from ._arrays import wipe as _wipe
from ._library import ItemError, lib

_Self = TypeVar("_Self", bound="_Result")


class _Result:
    """What all results have. A bad item raises nothing: its outputs are zero and its status says why."""

    __slots__ = ()
    _secrets: tuple[str, ...] = ()
    status: Any

    @property
    def ok(self) -> bool:
        """Whether no item failed."""
        return not np.any(self.status)

    def raise_for_status(self: _Self) -> _Self:
        """Raises an ItemError that names the first bad item; returns the result if there is none."""
        status = np.atleast_1d(self.status)
        bad = np.flatnonzero(status)
        if bad.size:
            raise ItemError(int(status[bad[0]]), int(bad[0]), int(bad.size), int(status.size))
        return self

    def wipe(self) -> None:
        """Overwrites the secrets with zeros, the caller's `out` arrays too. TypeError for the bytes of a single item."""
        for name in self._secrets:
            _wipe(getattr(self, name))

    def __enter__(self: _Self) -> _Self:
        if any(isinstance(getattr(self, name), bytes) for name in self._secrets):
            raise TypeError("bytes cannot be wiped; call with arrays of one row instead of bytes")
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __repr__(self) -> str:  # no secret ends up in a log
        def text(name: str) -> str:
            value = getattr(self, name)
            what = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
            return f"{name}=<secret>" if name in self._secrets else f"{name}={what}"

        parts = map(text, self._fields)  # type: ignore[attr-defined]
        return f"{type(self).__name__}({', '.join(parts)})"


class _Pairs(NamedTuple):
    ek: Any
    dk: Any
    status: Any


class _Encapsulations(NamedTuple):
    c: Any
    K: Any
    status: Any


class _Secrets(NamedTuple):
    K: Any
    status: Any


class _Texts(NamedTuple):
    text: Any
    status: Any


class _Verdicts(NamedTuple):
    status: Any


class KeygenResult(_Result, _Pairs):
    """`ek` (n, ek_bytes), `dk` (n, dk_bytes) and `status` (n,), all uint8. For a single item: bytes, bytes and an int."""

    __slots__ = ()
    _secrets = ("dk",)


class EncapsResult(_Result, _Encapsulations):
    """`c` (n, c_bytes), `K` (n, K_bytes) and `status` (n,), all uint8. For a single item: bytes, bytes and an int."""

    __slots__ = ()
    _secrets = ("K",)


class DecapsResult(_Result, _Secrets):
    """`K` (n, K_bytes) and `status` (n,), both uint8. For a single item: bytes and an int."""

    __slots__ = ()
    _secrets = ("K",)


class OpenResult(_Result, _Texts):
    """`text` (n, bytes of a text) and `status` (n,), both uint8. For a single item: bytes and an int."""

    __slots__ = ()
    _secrets = ("text",)


class CheckResult(_Result, _Verdicts):
    """`status` (n,) of uint8. For a single item: an int."""

    __slots__ = ()


class Backend(NamedTuple):
    """A backend of an engine. `detail`: its device or instruction set, or why it is not available."""

    name: str
    detail: str
    available: bool
    preferred: bool
    items: int


def version() -> str:
    """The version of libwarpkem."""
    return lib.warpkem_version().decode()


def cpu_features() -> str:
    """The features of this CPU that matter here, separated by spaces."""
    return lib.warpkem_cpu_features().decode()
