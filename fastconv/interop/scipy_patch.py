"""SciPy's (and NumPy's) convolutions, filters and windows replaced by fastconv's, wherever they are named."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from fastconv.interop.report import PatchReport
from fastconv.interop.wrapper import Patch

__all__ = ["patch_map", "patch_report", "patch_scipy", "patched_scipy", "unpatch_scipy"]

# Whose functions are replaced, and by what: by the functions that have the same name in both.
MODULES = {
    "scipy.ndimage": "fastconv.ndimage",
    "scipy.signal": "fastconv.signal",
    "numpy": "fastconv.interop.numpy_functions",
}

_lock = threading.RLock()
_patches: dict[str, Patch] = {}  # all that were ever made: a name has the same replacement each time
_asked: set[str] = set()  # by patch_scipy
_blocks: list[set[str]] = []  # by each `with patched_scipy()` that is being run


def patch_scipy(names: str | Iterable[str] | None = None, *, numpy: bool = False) -> None:
    """Let SciPy's functions run on fastconv, in this process.

    Each function that `fastconv.ndimage` and `fastconv.signal` have in common with SciPy is replaced
    wherever a loaded module names it, so names imported earlier and SciPy's own calls are found too.

    Parameters
    ----------
    names : str or iterable of str, optional
        What to replace: ``"scipy.ndimage"`` or ``"ndimage"`` (all of it), ``"scipy.signal.convolve2d"``,
        ``"signal.convolve2d"``, or ``"convolve2d"`` (in each module that has it).  Default: all.
    numpy : bool, optional
        Replace `numpy.convolve` and `numpy.correlate` too.  (They can also be named.)

    Raises
    ------
    ValueError
        If there is no such function; the message lists those that there are.

    Notes
    -----
    What fastconv does not serve goes to the original, call by call; `patch_report` tells what and why.
    A second call adds to the first.  `docs/scipy.md` tells what remains different.

    Examples
    --------
    >>> import fastconv, numpy as np
    >>> from scipy.ndimage import sobel
    >>> fastconv.patch_scipy()
    >>> sobel(np.eye(5, dtype=np.float32)).dtype
    dtype('float32')
    >>> fastconv.unpatch_scipy()
    """
    chosen = _select(names, numpy)
    with _lock:
        _asked.update(chosen)
        _update()


def unpatch_scipy(names: str | Iterable[str] | None = None) -> None:
    """Undo `patch_scipy`: every name is again what it was, also in modules that were imported since.

    Parameters
    ----------
    names : str or iterable of str, optional
        As in `patch_scipy`.  Default: all.

    Raises
    ------
    ValueError
        If there is no such function.

    Notes
    -----
    What a ``with patched_scipy()`` block asked for stays until the block ends.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.patch_scipy("ndimage", numpy=True)
    >>> fastconv.unpatch_scipy("ndimage")
    >>> sorted(fastconv.patch_map(active=True))
    ['numpy.convolve', 'numpy.correlate']
    >>> fastconv.unpatch_scipy()
    """
    chosen = _select(names, numpy=names is None)
    with _lock:
        _asked.difference_update(chosen)
        _update()


@contextmanager
def patched_scipy(names: str | Iterable[str] | None = None, *, numpy: bool = False) -> Iterator[None]:
    """Let SciPy's functions run on fastconv while a ``with`` block runs (or a function it decorates).

    Parameters
    ----------
    names : str or iterable of str, optional
        As in `patch_scipy`.
    numpy : bool, optional
        As in `patch_scipy`.

    Raises
    ------
    ValueError
        If there is no such function.

    Notes
    -----
    Blocks nest, and may overlap in several threads: a function is SciPy's again when the last block
    that asked for it has ended, unless `patch_scipy` asked for it too.  The patch is the whole
    process's: other threads see it while the block runs.

    Examples
    --------
    >>> import fastconv, numpy as np, scipy.signal
    >>> with fastconv.patched_scipy("signal.convolve2d"):
    ...     scipy.signal.convolve2d(np.eye(2), [[1.0, 2.0]], mode="valid")
    array([[2.],
           [1.]])
    """
    block = set(_select(names, numpy))
    with _lock:
        _blocks.append(block)
        _update()
    try:
        yield
    finally:
        with _lock:
            _blocks[:] = [other for other in _blocks if other is not block]
            _update()


def patch_map(*, active: bool = False) -> dict[str, str]:
    """What replaces what.

    Parameters
    ----------
    active : bool, optional
        Only what is replaced now; else all that `patch_scipy` can replace.

    Returns
    -------
    dict of str to str
        The full name of fastconv's function, by the original's.

    Raises
    ------
    ImportError
        If SciPy cannot be imported.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.patch_map()["scipy.signal.convolve2d"]
    'fastconv.signal.convolve2d'
    >>> fastconv.patch_map(active=True)
    {}
    """
    if active:
        with _lock:
            return {name: patch.ours for name, patch in sorted(_patches.items()) if patch.active}
    return {name: _ours(name) for name in sorted(_select(None, numpy=True))}


def patch_report(*, reset: bool = False) -> PatchReport:
    """How many calls of each patched function fastconv served, and why others went to the original.

    Parameters
    ----------
    reset : bool, optional
        Count from zero again.

    Returns
    -------
    PatchReport
        Print it, or look a function up: it maps names to counts, which have the attributes
        ``served``, ``fallen_back`` (numbers of calls by reason) and ``rejected`` (calls that raised
        the original's exception).  Functions that were not called are left out.

    Raises
    ------
    TypeError
        For other arguments.

    Examples
    --------
    >>> import fastconv, numpy as np, scipy.ndimage
    >>> _ = fastconv.patch_report(reset=True)
    >>> with fastconv.patched_scipy():
    ...     _ = scipy.ndimage.convolve(np.ones(5), [1, 2])
    >>> print(fastconv.patch_report())
    function                  served  fallen back  rejected
    scipy.ndimage.convolve         1            0         0
    """
    with _lock:
        counts = {name: patch.tally.counts(reset=reset) for name, patch in sorted(_patches.items())}
    return PatchReport({name: c for name, c in counts.items() if c.served or c.fallen_back or c.rejected})


# -- which functions ------------------------------------------------------------------------


def _select(names: str | Iterable[str] | None, numpy: bool) -> list[str]:
    """Full names of what is asked for."""
    if names is None:
        return [name for module in MODULES if numpy or module != "numpy" for name in _functions(module)]
    chosen = [name for item in ([names] if isinstance(names, str) else names) for name in _named(item, numpy)]
    return chosen + (_functions("numpy") if numpy else [])


def _named(item: str, numpy: bool) -> list[str]:
    head, _, last = item.rpartition(".")
    if item in MODULES or f"scipy.{item}" in MODULES:
        return _functions(item if item in MODULES else f"scipy.{item}")
    modules = [head, f"scipy.{head}"] if head else [m for m in MODULES if numpy or m != "numpy"]
    found = [f"{m}.{last}" for m in modules if m in MODULES and f"{m}.{last}" in _functions(m)]
    if not found:
        known = [*MODULES, *(name for module in MODULES for name in _functions(module))]
        raise ValueError(f"names must be among {', '.join(known)}; got {item!r}")
    return found


def _functions(module: str) -> list[str]:
    """Full names of the functions that fastconv has in common with a module."""
    theirs, ours = import_module(module), import_module(MODULES[module])
    return [f"{module}.{name}" for name in ours.__all__ if hasattr(theirs, name)]


def _ours(name: str) -> str:
    module, _, function = name.rpartition(".")
    return f"{MODULES[module]}.{function}"


# -- replacing ------------------------------------------------------------------------------


def _update() -> None:
    """Replace what is asked for, and take the rest back."""
    wanted = _asked.union(*_blocks)
    swaps: dict[int, Callable] = {}
    for name in wanted - _patches.keys():
        _patches[name] = _make(name)
    for name, patch in _patches.items():
        if patch.active == (name in wanted):
            continue
        patch.active = name in wanted
        for original, replacement in patch.pairs:
            old, new = (original, replacement) if patch.active else (replacement, original)
            swaps[id(old)] = new
    if swaps:
        for namespace in _namespaces():
            for key, value in list(namespace.items()):
                if id(value) in swaps:
                    namespace[key] = swaps[id(value)]


def _make(name: str) -> Patch:
    (module, _, function), ours = name.rpartition("."), _ours(name)
    fast = getattr(import_module(MODULES[module]), function)
    patch = Patch(name, ours, getattr(import_module(module), function), fast)
    # SciPy's tests look the functions that they test up in this table.
    table = getattr(sys.modules.get("scipy._lib._array_api"), "xp_capabilities_table", {})
    for original, replacement in patch.pairs:
        if original in table:
            table[replacement] = table[original]
    return patch


def _namespaces() -> Iterator[dict[str, Any]]:
    """The dictionaries of all loaded modules but fastconv's own."""
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), ModuleType) and name.partition(".")[0] != "fastconv":
            yield object.__getattribute__(module, "__dict__")  # a lazy module stays unloaded
