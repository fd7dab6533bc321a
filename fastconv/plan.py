"""From a problem to an implementation: the first in the table that does not refuse and is ready."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import config, costs, replay
from fastconv.device import on_device
from fastconv.problem import ConvProblem, NormalizedProblem, PoolProblem, WindowProblem
from fastconv.table import TABLE, Implementation

__all__ = ["Plan", "execute", "plan", "plan_for", "warmup"]

Problem = ConvProblem | NormalizedProblem | PoolProblem | WindowProblem


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
            f"work            {p.flops / 1e6:.3g} MFLOP, {p.nbytes / 1e6:.3g} MB at least",
            f"one thread      about {costs.seconds_one_thread(p.flops, p.nbytes) * 1e6:.3g} us",
            f"workspace       {self.workspace() / 1024:.3g} KiB",
        ]
        return "\n".join(lines + [f"passed over     {name}: {why}" for name, why in self.refusals])


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


def plan(function: Any, /, *args: Any, **kwargs: Any) -> Plan:
    """Return the plan of a call without computing it.

    Parameters
    ----------
    function : callable
        A function of fastconv.
    *args, **kwargs
        Its arguments.  Arrays are read for shape and dtype only.

    Returns
    -------
    Plan
        Print it to see the choice, the estimates and each refusal.

    Raises
    ------
    ValueError
        If the call needs no plan (an empty result, for instance).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> p = fastconv.plan(fastconv.correlate2d, np.ones((64, 64), "f4"), np.ones((3, 3), "f4"), "valid")
    >>> p.problem.out_shape
    (62, 62)
    """
    token = replay.planning.set([])
    try:
        function(*args, **kwargs)
        captured = replay.planning.get()
    finally:
        replay.planning.reset(token)
    if not captured:
        raise ValueError(f"function {getattr(function, '__name__', function)!r} computed nothing that is planned")
    return captured[-1]


def warmup(function: Any = None, /, *args: Any, **kwargs: Any) -> None:
    """Compile what the Numba engine needs, so that later calls find it ready.

    Parameters
    ----------
    function : callable, optional
        A function of fastconv; default: the float32 and float64 filters.
    *args, **kwargs
        Its arguments.  Arrays are read for shape and dtype only.

    Returns
    -------
    None

    Raises
    ------
    NotImplementedError
        If the Numba engine cannot do the call.

    Notes
    -----
    Compiled code is kept on disk: in a later process `warmup` loads it in a fraction of a second.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> image, kernel = np.ones((64, 64), "f4"), np.ones((3, 3), "f4")
    >>> fastconv.warmup(fastconv.correlate2d, image, kernel, "valid")
    >>> fastconv.plan(fastconv.correlate2d, image, kernel, "valid").implementation
    'numba:filter'
    """
    with config.use(engine="numba"):
        if function is not None:
            plan(function, *args, **kwargs)
        else:
            from fastconv.signal import correlate2d

            for dtype in ("float32", "float64"):
                plan(correlate2d, np.ones((64, 64), dtype), np.ones((3, 3), dtype), "valid")
    plan_for.cache_clear()  # plans and tapes made before passed the Numba engine over
    replay.forget()
