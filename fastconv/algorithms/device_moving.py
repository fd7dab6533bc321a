"""Moving maxima, minima and means on a GPU, and the elementwise operations that put filters together there."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.device import ELEMENTS, Steps, steps_of
from fastconv.algorithms.device_axes import NAMES, Axis, extents, nested, numbers, places
from fastconv.device import DeviceArray, new_array
from fastconv.problem import WindowProblem

__all__ = ["Moving", "elementwise", "refuse"]

# Windows of so few taps are taken at once, not axis by axis: what lies between would go through memory.
AT_ONCE = 25


def refuse(problem: Any) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, WindowProblem):
        return "is for moving windows"
    if problem.kind not in ("max", "min", "mean"):
        return "is for maxima, minima and means"
    if not {problem.dtype, problem.out_dtype} <= set(ELEMENTS):
        return f"does not read {problem.dtype} and write {problem.out_dtype}"
    if not problem.passes and sum(taps > 1 for taps in problem.window) > len(NAMES):
        return f"moves windows along at most {len(NAMES)} axes"
    return None


class Moving:
    """Executes a `WindowProblem` with a thread for each element, a launch for each pass."""

    def __init__(self, problem: WindowProblem, engine: Any):
        self.problem, self.engine = problem, engine
        self.steps = _steps(problem)
        self.kernels = [
            engine.kernel("moving", p.kind, p.dtype, p.acc, p.out_dtype, bool(p.footprint), p.structure)
            for p in self.steps
        ]
        self.layout = lru_cache(maxsize=8)(self._layout)

    def __call__(self, x: Any, w: Any, out: Any, bias: None, fill: Any, threads: int) -> None:
        p = self.problem
        if out.size == 0:
            return
        footprint = np.frombuffer(p.footprint, np.uint8) if p.footprint else None
        beyond = np.asarray(fill).astype(p.acc).item()
        with self.engine.Call(out, x) as call:
            taps, raised = call.put(footprint), call.put(None if w is None else np.ascontiguousarray(w, p.acc))
            source, target = call.put(x), call.put(out, contents=False)
            spare: Any = self._spare(call, out) if len(self.steps) > 1 else None
            for i, kernel in enumerate(self.kernels, 1):
                destination = spare if (len(self.steps) - i) % 2 else target
                further, axes, geometry = self.layout(i - 1, kernel.geometry, steps_of(source), steps_of(destination))
                for here, there in places(further, axes, (source, destination)):
                    call.launch(kernel, extents(axes), (here, taps, raised, there), (beyond,), geometry)
                source = destination
            call.get(target, out)

    def workspace(self, threads: int) -> int:
        """Bytes between passes."""
        p = self.problem
        return prod(p.shape) * np.dtype(p.out_dtype).itemsize * (len(self.steps) > 1)

    def _spare(self, call: Any, out: Any) -> Any:
        if isinstance(out, DeviceArray):
            return new_array(out.shape, out.dtype, (out,))
        return call.put(out, contents=False)

    def _layout(self, step: int, record: Any, x: Steps, out: Steps) -> tuple[list[Axis], list[Axis], Any]:
        p = self.steps[step]
        taps = [prod(p.window[axis + 1 :]) for axis in range(len(p.window))]
        rules = [self.engine.RULES[rule] for rule in p.boundary]
        described = zip(p.shape, zip(x, out, strict=True), p.window, p.pad, rules, taps, strict=True)
        further, axes = nested((Axis(*axis) for axis in described), 2)
        return further, axes, record(**numbers(axes, ("x", "out"), "window", "pad", "rule", "tap"))


def _steps(p: WindowProblem) -> list[WindowProblem]:
    """The passes as problems of their own."""
    windowed = sum(taps > 1 for taps in p.window)
    exact = p.kind != "mean" and p.dtype == p.acc == p.out_dtype  # then the order is all the same
    if not p.passes or (exact and p.taps <= AT_ONCE and windowed <= len(NAMES)):
        return [replace(p, passes=())]
    steps: list[WindowProblem] = []
    for axis in p.passes:

        def along(values: tuple[int, ...], other: int, axis: int = axis) -> tuple[int, ...]:
            return tuple(value if a == axis else other for a, value in enumerate(values))

        dtype = p.out_dtype if steps else p.dtype
        steps.append(replace(p, window=along(p.window, 1), pad=along(p.pad, 0), dtype=dtype, passes=()))
    return steps


def elementwise(operation: str, out: DeviceArray, *arrays: DeviceArray) -> None:
    """Store an operation of `fastconv.engines.numba_cuda.elementwise` on arrays of one shape, which may be `out`."""
    from fastconv.engines import numba_cuda as engine

    dtypes = {array.dtype for array in arrays}
    if len(dtypes) > 1 or not {out.dtype.name, *(dtype.name for dtype in dtypes)} <= set(ELEMENTS):
        raise TypeError(
            f"arrays on a GPU must have one of the dtypes {', '.join(ELEMENTS)}, all the same; got {arrays}"
        )
    if any(array.shape != out.shape for array in arrays):
        raise ValueError(f"arrays on a GPU must have the shape {out.shape} of the result; got {arrays}")
    if out.size == 0:
        return
    kernel = engine.kernel("map", operation, arrays[0].dtype.name, out.dtype.name)
    operands = (arrays[0], arrays[-1], out)
    steps = zip(*(steps_of(array) for array in operands), strict=True)
    further, axes = nested((Axis(*axis) for axis in zip(out.shape, steps, strict=True)), 3)
    geometry = kernel.geometry(**numbers(axes, ("first", "second", "out")))
    with engine.Call(out, *arrays) as call:
        for here in places(further, axes, operands):
            call.launch(kernel, extents(axes), here, (), geometry)
