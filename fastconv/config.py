"""Settings: which engine runs, on how many threads, how precisely.

Precedence for threads: the call's ``threads=``, then `use`, then
`set_num_threads` (or `threadpoolctl.threadpool_limits`), then the environment
(``FASTCONV_NUM_THREADS``, ``NUMBA_NUM_THREADS``, ``OMP_NUM_THREADS``), then the
processors this process may run on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import _GeneratorContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import threadpoolctl

from fastconv.engines.threads import _threads

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "SETTINGS",
    "current_engine",
    "current_precision",
    "enforced",
    "get_num_threads",
    "resolve_threads",
    "set_num_threads",
    "settings",
    "use",
]

ENGINES = ("auto", "numba", "cython", "cuda", "reference")
PRECISIONS = ("strict", "default", "fast")

_engine: ContextVar[str] = ContextVar("fastconv_engine", default="auto")
_precision: ContextVar[str] = ContextVar("fastconv_precision", default="default")
_threads_override: ContextVar[int | None] = ContextVar("fastconv_threads", default=None)
# All that a call's course may depend on besides its arguments and the default number of threads.
SETTINGS: tuple[ContextVar, ...] = (_engine, _precision, _threads_override)


def set_num_threads(threads: int) -> None:
    """Set the default number of threads of this process.

    Parameters
    ----------
    threads : int
        At least 1. More threads than processors are allowed and rarely useful.

    Raises
    ------
    ValueError
        If `threads` is not a positive integer.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(1)
    >>> fastconv.get_num_threads()
    1
    >>> fastconv.set_num_threads(before)
    """
    _threads.set_num_threads(_positive(threads))


def get_num_threads() -> int:
    """Return the number of threads that a call made here and now would use.

    Returns
    -------
    int
        The innermost `use`, else what `set_num_threads` set, else the environment's.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.use(threads=1):
    ...     fastconv.get_num_threads()
    1
    """
    return resolve_threads(None)


def resolve_threads(threads: int | None) -> int:
    """Return the number of threads for a call given its ``threads=`` argument."""
    if threads is not None:
        return _positive(threads)
    override = _threads_override.get()
    return _threads.get_num_threads() if override is None else override


def use(
    *, engine: str | None = None, threads: int | None = None, precision: str | None = None
) -> _GeneratorContextManager[None]:
    """Choose engine, threads and precision for the calls made inside a ``with`` block, or inside the function decorated.

    Parameters
    ----------
    engine : {"auto", "numba", "cython", "cuda", "reference"}, optional
        ``"auto"`` takes the fastest implementation that is ready; a named engine is
        compiled if need be, and refuses what it cannot do.
    threads : int, optional
        Threads for each call.
    precision : {"strict", "default", "fast"}, optional
        ``"strict"``: `fastconv.ndimage` sums in double whatever the input, as SciPy does, and no
        shortcut that rounds differently (transforms, sums of separable kernels) is taken.
        ``"default"``: float32 results of float32 input are summed in float32.  ``"fast"``:
        float32 results are, whatever the input.  An argument ``dtype=`` of a call comes first.  Convolutions of
        `fastconv.nn` make every product, less than half of them with errors as small, or a quarter with errors ten
        times as large (docs/nn.md).

    Returns
    -------
    context manager
        For one ``with`` block, or as a decorator.

    Raises
    ------
    ValueError
        If there is no such engine or precision, or `threads` is not a positive integer.
    NotImplementedError
        From a call inside the block that the named engine cannot do.

    Notes
    -----
    The choice follows the context (`contextvars`): it is private to the thread
    or task that made it.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> with fastconv.use(engine="reference", threads=1):
    ...     fastconv.convolve2d(np.eye(2), [[1.0, 2.0]], mode="valid")
    array([[2.],
           [1.]])
    """
    if engine is not None and engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    chosen = engine, precision, None if threads is None else _positive(threads)
    return _in_force(
        tuple((variable, value) for variable, value in zip(SETTINGS, chosen, strict=True) if value is not None)
    )


@contextmanager
def _in_force(values: tuple[tuple[ContextVar, Any], ...]) -> Iterator[None]:
    tokens = [(variable, variable.set(value)) for variable, value in values]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def settings() -> tuple:
    """The values of `SETTINGS` here and now."""
    return _engine.get(), _precision.get(), _threads_override.get()


def enforced(values: tuple) -> _GeneratorContextManager[None]:
    """What `settings` returned earlier is in force inside the ``with`` block."""
    return _in_force(tuple(zip(SETTINGS, values, strict=True)))


def current_engine() -> str:
    """Return the engine in force: that of the innermost `use`, else ``"auto"``."""
    return _engine.get()


def current_precision() -> str:
    """Return the precision in force: that of the innermost `use`, else ``"default"``."""
    return _precision.get()


def _positive(threads: int) -> int:
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or not 1 <= threads.__index__() < 2**31:
        raise ValueError(f"threads must be a positive integer; got {threads!r}")
    return threads.__index__()


def _default_threads() -> int:
    for name in ("FASTCONV_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0].strip()
        if value.isdigit() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _FastconvController(threadpoolctl.LibController):
    """Puts fastconv's pool under `threadpoolctl.threadpool_limits`."""

    user_api = "fastconv"
    internal_api = "fastconv"
    filename_prefixes = ("_threads.",)
    check_symbols = ("fastconv_get_num_threads", "fastconv_set_num_threads")

    def get_num_threads(self) -> int:
        return self.dynlib.fastconv_get_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.fastconv_set_num_threads(num_threads)

    def get_version(self) -> None:
        return None

    def set_additional_attributes(self) -> None:
        pass


_threads.set_num_threads(_default_threads())
threadpoolctl.register(_FastconvController)
