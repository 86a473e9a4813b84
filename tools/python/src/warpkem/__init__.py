"""WarpKEM: batches of ML-KEM (FIPS 203) on CPUs and GPUs.

    import warpkem
    engine = warpkem.Engine()
    pairs = engine.keygen("ML-KEM-768", 1000).raise_for_status()
    sent = engine.encaps("ML-KEM-768", pairs.ek)
    received = engine.decaps("ML-KEM-768", pairs.dk, sent.c)

Algorithms go by name, number or constant: warpkem.ML_KEM_768 is the Algorithm of that name, and warpkem.algorithms has all.
warpkem.arrow works on columns of Arrow, warpkem.ray on datasets of Ray.
"""
from ._arrays import wipe
from ._engine import Engine, PreparedKeys
from ._library import (Algorithm, ArgumentError, Error, ItemError, Status, UnsupportedError, algorithm, algorithms)
from ._results import Backend, CheckResult, DecapsResult, EncapsResult, KeygenResult, OpenResult, cpu_features, version

__version__ = version()
__all__ = ["Algorithm", "ArgumentError", "Backend", "CheckResult", "DecapsResult", "EncapsResult", "Engine", "Error",
           "ItemError", "KeygenResult", "OpenResult", "PreparedKeys", "Status", "UnsupportedError", "algorithm", "algorithms",
           "cpu_features", "version", "wipe"]


def _constant(name: str) -> str:
    return name.upper().replace("-", "_")


_constants = {_constant(one.name): one for one in algorithms}
__all__ += list(_constants)


def __getattr__(name: str) -> Algorithm:
    try:
        return _constants[name]
    except KeyError:
        raise AttributeError(f"module 'warpkem' has no attribute {name!r}") from None
