"""From a problem to an implementation: the first in the table that does not refuse and is ready."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config, costs, replay
from fastconv.device import on_device
from fastconv.problem import Problem
from fastconv.table import TABLE, Implementation

if TYPE_CHECKING:
    from fastconv.prepared import PreparedCall

__all__ = ["Plan", "PlannedCall", "execute", "plan", "plan_for", "planned"]


class Plan:
    """How one problem is computed.  ``print(plan)`` tells the choice and why others were refused.

    Attributes
    ----------
    problem : ConvProblem, PoolProblem or WindowProblem
        What is computed.
    implementation : str
        ``engine:algorithm``.
    refusals : tuple of (str, str)
        The implementations that come first in the table, and why each was passed over.
    """

    def __init__(self, problem: Problem, chosen: Implementation, refusals: tuple[tuple[str, str], ...]):
        self.problem = problem
        self.implementation = chosen.name
        self.refusals = refusals
        self._executor = chosen.build(problem)

    def execute(
        self,
        x: np.ndarray,
        w: np.ndarray | None,
        out: np.ndarray,
        bias: np.ndarray | None = None,
        fill: Any = 0,
        threads: int | None = None,
    ) -> np.ndarray:
        """Compute into `out` from canonical arrays; see `fastconv.problem` for their shapes."""
        self._executor(x, w, out, bias, fill, config.resolve_threads(threads))
        return out

    def workspace(self, threads: int | None = None) -> int:
        """Bytes of scratch memory that a call on contiguous arrays takes."""
        return self._executor.workspace(config.resolve_threads(threads))

    def __str__(self) -> str:
        p = self.problem
        lines = [
            f"problem         {p}",
            f"implementation  {self.implementation}",
            f"work            {_scaled(p.flops, 'FLOP', 'kFLOP', 'MFLOP', 'GFLOP')}, "
            f"{_scaled(p.nbytes, 'bytes', 'kB', 'MB', 'GB')} at least",
            f"one thread      about {_scaled(1e9 * costs.seconds_one_thread(p.flops, p.nbytes), 'ns', 'us', 'ms', 's')}",
            f"workspace       {_scaled(self.workspace() / 1024, 'KiB', 'MiB', 'GiB', step=1024)}",
        ]
        describe = getattr(self._executor, "describe", None)
        if describe is not None:  # the direct sum is not what is computed
            threads = config.resolve_threads(None)
            lines[3] = f"on {threads} thread{'s' * (threads > 1)}".ljust(16) + describe(threads)
        names: dict[str, list[str]] = {}
        for name, why in self.refusals:  # but a row may leave to others what the same code does in a later one
            if name != self.implementation and name not in names.setdefault(why, []):
                names[why].append(name)
        return "\n".join(
            lines + [f"passed over     {', '.join(found)}: {why}" for why, found in names.items() if found]
        )


def _scaled(number: float, *units: str, step: float = 1000.0) -> str:
    """A number in the unit that leaves it below `step`, with three digits."""
    for unit in units:
        if number < step - 0.5 or unit == units[-1]:
            break
        number /= step
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


@lru_cache(maxsize=256)
def plan_for(problem: Problem, engine: str = "auto") -> Plan:
    """The plan for a problem, on one engine or (``"auto"``) on the best that is ready.

    Raises
    ------
    NotImplementedError
        If the named engine cannot do the problem; the message tells why.
    """
    refusals: list[tuple[str, str]] = []
    for implementation in TABLE:
        if engine != implementation.engine and (engine != "auto" or implementation.engine == "cuda"):
            continue  # "auto" is for host arrays: sending them to a GPU takes asking
        why = implementation.refuse(problem)
        if why is None and engine == "auto" and not implementation.is_ready(problem):
            why = "is not compiled yet (fastconv.warmup, or engine='numba', compiles it)"
        if why is None:
            return Plan(problem, implementation, tuple(refusals))
        refusals.append((implementation.name, why))
    reasons = "; ".join(f"{name} {why}" for name, why in refusals) or "it has no implementation for host arrays"
    raise NotImplementedError(f"engine {engine!r} cannot do this problem: {reasons}. Problem: {problem}")


def execute(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray | None,
    out: np.ndarray,
    *,
    bias: np.ndarray | None = None,
    fill: Any = 0,
    threads: int | None = None,
) -> np.ndarray:
    """Plan and compute, with the engine in force; inside `plan`, only plan."""
    chosen = plan_for(problem, _engine_for(x, w, out, bias))
    captured = replay.planning.get()
    if captured is not None:
        captured.append(chosen)
        return out
    return chosen.execute(x, w, out, bias, fill, threads)


def _engine_for(*arrays: Any) -> str:
    """The engine in force; "cuda" for arrays that live on a GPU."""
    engine = config.current_engine()
    if not on_device(*arrays):
        return engine
    if engine not in ("auto", "cuda"):
        raise ValueError(f"engine must be 'auto' or 'cuda' for arrays on a GPU; got {engine!r}")
    return "cuda"


def _kept(name: str, value: Any) -> Any:
    """An argument as it is now, whatever becomes of its arrays and lists; an array for the result is the caller's."""
    return value if name in replay.WRITTEN else deepcopy(value)


class PlannedCall(Plan):
    """The plan of a call of a function, to be made again on other arrays: ``planned(image)``.

    Attributes
    ----------
    function : callable
        Whose call was planned.  The arguments behind the arrays that are given, and the settings in force
        when it was planned, stay as they were.
    """

    def __init__(self, chosen: Plan, function: Callable, args: tuple, kwargs: dict[str, Any]):
        self.__dict__.update(chosen.__dict__)
        self.function = function
        bound = signature(function).bind(*args, **kwargs)
        self._likes = [(np.shape(value), getattr(value, "dtype", None)) for value in bound.args]
        for name in list(bound.arguments)[1:]:
            bound.arguments[name] = _kept(name, bound.arguments[name])
        self._args, self._kwargs = (None, *bound.args[1:]), bound.kwargs  # the first is always given anew
        names = list(bound.signature.parameters)
        self._out_name = next((name for name in names if name in replay.WRITTEN), "out")
        self._out_index = (
            names.index(self._out_name) if self._out_name in list(bound.arguments)[: len(bound.args)] else 0
        )
        self._settings = config.settings()
        self._tapes = getattr(function, "tapes", None)
        self._shortcuts: dict[tuple[int, bool], Any] = {}

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        """Make the planned call with these arrays in the place of its first arguments.

        Parameters
        ----------
        *arrays : array_like
            At least one, each of the shape and dtype of the one in whose place it stands.
        out : ndarray, optional
            Array for the result, whatever name the function has for it.

        Returns
        -------
        ndarray
            What the function returns.

        Raises
        ------
        ValueError
            If the shape or dtype of an array is not the planned one.
        TypeError
            If there is no array, or more than the planned call had arguments.
        """
        given = arrays if out is None else (*arrays, out)
        shortcut = self._shortcuts.get((len(arrays), out is None))
        result = None if shortcut is None else shortcut.play(given)
        return self._long_way(arrays, out, given) if result is None else result

    def prepare(self, weight: Any) -> PreparedCall:
        """The planned call with these weights, which are brought into the kernels' order once.

        Parameters
        ----------
        weight : array_like
            The second argument of the planned call, of the planned shape and dtype.

        Returns
        -------
        PreparedCall
            ``prepared(image)``, ``prepared(image, out=result)``: the planned call with these weights.

        Raises
        ------
        ValueError
            If the shape or dtype of the weights is not the planned one.
        TypeError
            If the planned call has no second array.

        Notes
        -----
        Weights that are altered later are noticed: at each call they are compared with a copy, byte by byte, unless
        the array is read-only.

        Examples
        --------
        >>> import numpy as np, fastconv
        >>> image, weight = np.ones((1, 8, 8, 32), "f4"), np.ones((64, 32, 3, 3), "f4")
        >>> p = fastconv.plan(fastconv.nn.conv2d, image, weight, data_format="NHWC").prepare(weight)
        >>> p(image)[0, 0, 0, :3]
        array([288., 288., 288.], dtype=float32)
        """
        from fastconv.prepared import PreparedCall

        if len(self._likes) < 2 or self._likes[1][1] is None:
            raise TypeError(
                f"weight is the second argument of a planned call; {self.function.__name__} has no array there"
            )
        return PreparedCall(self, weight)

    def _long_way(self, arrays: tuple, out: Any, given: tuple) -> Any:
        self._check(arrays)
        args, kwargs = self._arguments(arrays, out)
        if config.settings() == self._settings:
            return self._make(args, kwargs, given, (len(arrays), out is None))
        with config.enforced(self._settings):
            return self._make(args, kwargs, given, (len(arrays), out is None))

    def _check(self, arrays: tuple, first: int = 0) -> None:
        """Whether arrays are like arguments of the planned call, from its `first` one on."""
        likes = self._likes[first:]
        if not 0 < len(arrays) <= len(likes):
            raise TypeError(f"a planned call takes 1 to {len(self._likes)} arrays; got {len(arrays) + first}")
        for array, like in zip(arrays, likes, strict=False):
            found = (np.shape(array), getattr(array, "dtype", None))
            if found != like:
                raise ValueError(
                    f"arrays must have the planned shape and dtype, {like[0]} {like[1]}; got {found[0]} {found[1]}"
                )

    def _arguments(self, arrays: tuple, out: Any) -> tuple[tuple, dict[str, Any]]:
        """Those of the planned call with these arrays in the place of its first ones."""
        n = len(arrays)
        args, kwargs = (*arrays, *self._args[n:]), self._kwargs
        if out is not None and self._out_index >= n:
            args = (*args[: self._out_index], out, *args[self._out_index + 1 :])
        elif out is not None:
            kwargs = kwargs | {self._out_name: out}
        return args, kwargs

    def _make(self, args: tuple, kwargs: dict[str, Any], given: tuple, key: tuple[int, bool]) -> Any:
        result = self.function(*args, **kwargs)
        if self._tapes is not None:
            self._shortcuts[key] = self._tapes.shortcut(args, kwargs, given)
        return result


def plan(function: Callable, /, *args: Any, **kwargs: Any) -> PlannedCall:
    """Return the plan of a call without computing it.

    Parameters
    ----------
    function : callable
        A function of fastconv.
    *args, **kwargs
        Its arguments.  Arrays are read for shape and dtype only.

    Returns
    -------
    PlannedCall
        Print it to see the choice, the estimates and each refusal.  Call it with an array like the first
        argument to compute: ``planned(image)`` is the planned call on that image, with the engine, threads and
        precision that were in force, ``planned(image, kernel)`` has another kernel of the same shape and
        dtype too, and ``planned(image, out=result)`` writes into an array.

    Raises
    ------
    TypeError
        If `function` cannot be called.
    ValueError
        If the call needs no plan (an empty result, for instance, or a function that is not fastconv's).

    Notes
    -----
    What a function does may depend on the values in its arrays (kernels of low rank are faster, numbers that are
    not finite take other ways): then a planned call does what suits the values that it is given.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> p = fastconv.plan(fastconv.correlate2d, np.ones((64, 64), "f4"), np.ones((3, 3), "f4"), "valid")
    >>> p.problem.out_shape
    (62, 62)
    >>> p(np.full((64, 64), 2, "f4"))[0, :3]
    array([18., 18., 18.], dtype=float32)
    """
    if not callable(function):
        raise TypeError(f"function must be one of fastconv's functions, and stand first; got {type(function).__name__}")
    captured = planned(function, args, kwargs)
    if not captured:
        raise ValueError(f"function {getattr(function, '__name__', function)!r} computed nothing that is planned")
    return PlannedCall(captured[-1], function, args, kwargs)


def planned(function: Callable, args: tuple, kwargs: dict[str, Any]) -> list[Plan]:
    """The plans of all that a call computes."""
    captured: list[Plan] = []
    token = replay.planning.set(captured)
    try:
        function(*args, **kwargs)
    finally:
        replay.planning.reset(token)
    return captured
