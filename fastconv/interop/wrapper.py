"""The function that stands in an original's place: fastconv's, and the original where fastconv does not serve."""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastconv.interop.report import Tally, reason_of

__all__ = ["Patch", "stranger"]

# Types of arguments that need no closer look.
PLAIN = {np.ndarray, np.memmap, list, tuple, dict, set, range, int, float, complex, bool, str, type, type(None)}
PLAIN |= {types.FunctionType, types.BuiltinFunctionType, functools.partial, np.ufunc}
# What arrays of other libraries have.
PROTOCOLS = ("__array__", "__array_interface__", "__array_namespace__", "__cuda_array_interface__", "__dlpack__")


class _Thread(threading.local):
    def __init__(self) -> None:
        self.inside: dict[str, bool] = {}


# The patched functions whose fastconv function is running in this thread.  If that calls the
# original's name, it means the original: this is what keeps a fall-back from recursing for ever.
# The value tells whether it did.
_thread = _Thread()
LEFT = "fastconv hands such calls on: objects, longdouble, functions that are not jitted, very small arrays"


class Patch:
    """One patched function.

    Attributes
    ----------
    name, ours : str
        Full names of the original and of what replaces it.
    active : bool
        Whether calls go to fastconv.  A replacement that is still held somewhere (by a class, by
        `functools.partial`) after the patch was taken back calls the original.
    pairs : list of (original, replacement)
        More than one where a public name wraps the function that the library itself calls.
    tally : Tally
        Counts its calls.
    """

    def __init__(self, name: str, ours: str, original: Callable, fast: Callable) -> None:
        self.name, self.ours = name, ours
        self.active = False
        self.tally = Tally()
        inner = inspect.unwrap(original)
        originals = [original] if inner is original else [original, inner]
        self.pairs = [(each, self._replacement(each, fast)) for each in originals]

    def _replacement(self, original: Callable, fast: Callable) -> Callable:
        name, tally = self.name, self.tally
        parameters, ours = _parameters(original), _parameters(fast)
        extras = {
            key for key, parameter in ours.items() if parameter.kind is parameter.KEYWORD_ONLY
        } - parameters.keys()
        if "output" in parameters:
            fast = _safe_in_place(fast, list(parameters).index("output"))

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            inside = _thread.inside
            if not self.active:
                return original(*args, **kwargs)
            if name in inside:
                inside[name] = True
                return original(*args, **kwargs)
            values = (*args, *kwargs.values()) if kwargs else args
            reason = None if PLAIN.issuperset(map(type, values)) else stranger(values)
            if reason is None and not extras.isdisjoint(kwargs):
                reason = "arguments of fastconv's own"  # for the original to reject
            if reason is None:
                inside[name] = False
                try:
                    result = fast(*args, **kwargs)
                except Exception as error:
                    reason = reason_of(error)
                finally:
                    left = inside.pop(name)
                if reason is None:
                    tally.fall_back(LEFT) if left else tally.serve()
                    return result
            try:  # outside of the handler: the original's exceptions come without a context
                result = original(*args, **kwargs)
            except BaseException:
                tally.reject()
                raise
            tally.fall_back(reason)
            return result

        return replacement


def _parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # a function in C may have none
        return {}


def stranger(values: Iterable[Any]) -> str | None:
    """Why the original has to treat these arguments: the first array that is not NumPy's own, if any."""
    for value in values:
        kind = type(value)
        if kind in PLAIN or issubclass(kind, np.generic):
            continue
        if issubclass(kind, np.ndarray) or any(hasattr(kind, protocol) for protocol in PROTOCOLS):
            return f"{kind.__module__}.{kind.__qualname__} is not a plain NumPy array"
    return None


def _safe_in_place(fast: Callable, position: int) -> Callable:
    """The function, which leaves an input that `output` overlaps as it was until it has succeeded.

    So the original finds its input unharmed if fastconv fails half-way.
    """

    def safe(*args: Any, **kwargs: Any) -> Any:
        output = args[position] if len(args) > position else kwargs.get("output")
        if not isinstance(output, np.ndarray) or not _overlaps(output, args, kwargs):
            return fast(*args, **kwargs)
        apart = np.empty_like(output, subok=False)
        if len(args) > position:
            args = (*args[:position], apart, *args[position + 1 :])
        else:
            kwargs["output"] = apart
        fast(*args, **kwargs)
        output[...] = apart
        return output

    return safe


def _overlaps(output: np.ndarray, args: tuple, kwargs: dict[str, Any]) -> bool:
    times = 0
    for value in (*args, *kwargs.values()):
        times += value is output
        if value is not output and isinstance(value, np.ndarray) and np.may_share_memory(output, value):
            return True
    return times > 1
