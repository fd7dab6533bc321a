"""Elements moved to and from positions in planes: unpooling, and gradients of maxima."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.pool_windows import spread
from fastconv.engines.contract import DTYPE_CODES, HALVES, NUMBERS, UNPOOL_FIELDS, UNPOOL_KINDS, record
from fastconv.problem import UnpoolProblem
from fastconv.problem.pooling import itemsize

__all__ = ["Unpool", "is_ready", "refuse"]

Steps = tuple[int, ...]

UNITS_PER_THREAD = 4
# Channels that are next to each other are not parted: threads that write to neighbouring lines take 2 to 5 times as long together
# as one alone (112x112x64: 0.47 and 0.14 ms).
# Positions of a plane whose 16-bit floats are added at once, in scratch memory.
STAGED = 2**19


def refuse(problem: Any) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    if not isinstance(problem, UnpoolProblem):
        return "is for unpooling"
    if len(problem.shape) > 3:
        return f"moves elements of at most three axes, not {len(problem.shape)}"
    if problem.kind == "add" and problem.dtype not in ("float32", "float64", *HALVES):
        return f"does not add {problem.dtype}"
    return None if problem.dtype in (*NUMBERS, *HALVES) else f"does not move {problem.dtype}"


def _element(dtype: str) -> str:
    """What a kernel is made for: 16-bit floats are moved as they are, and added as float32."""
    return "float32" if dtype in HALVES else dtype


def is_ready(problem: UnpoolProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("unpool", _element(problem.dtype))


class Unpool:
    """Executes an `UnpoolProblem` with an engine's kernel."""

    def __init__(self, problem: UnpoolProblem, engine: Any):
        self.problem = problem
        self.size = itemsize(problem.dtype)
        self.kernel = engine.kernel("unpool", _element(problem.dtype))
        self._flops, self._nbytes = problem.flops, problem.nbytes
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(
        self, x: np.ndarray, indices: np.ndarray, out: np.ndarray, outside: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        elements, planes = (out, x) if self.problem.kind == "take" else (x, out)
        bound = self._bind(elements.strides, indices.strides, planes.strides, threads)
        run(self.kernel, bound, elements, indices, planes, outside, None, threads, writes=(out,), report=outside)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        return self._scratch_bytes * threads

    @property
    def _staged(self) -> bool:
        return self.problem.kind == "add" and self.problem.dtype in HALVES

    @property
    def _scratch_bytes(self) -> int:
        # and one element on its way
        return (4 * min(prod(self.problem.plane_shape), STAGED) + 8) * self._staged

    def _new_bound(self, x: Steps, idx: Steps, planes: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p, size = self.problem, self.size
        axes = tuple(range(3 - len(p.shape), 3))
        shape, plane_shape = spread(axes, p.shape, 1), spread(axes, p.plane_shape, 1)
        together = planes[1] == size and x[1] == size and idx[1] == 8 and not self._staged
        parted = threads > 1 and not together
        chunk = -(-p.channels * p.batch // (threads * UNITS_PER_THREAD)) if parted else p.channels
        chunk = min(p.channels, chunk)
        steps = planes[2:]
        flat = _follow(steps, p.plane_shape)
        if _follow(x[2:], p.shape) and _follow(idx[2:], p.shape):  # one long row
            shape = (1, 1, prod(shape))
        values = {
            "scratch_bytes": self._scratch_bytes,
            "kind": UNPOOL_KINDS[p.kind], "dtype": DTYPE_CODES[p.dtype], "size": size,
            "channels": p.channels, "chunk": chunk, "apart": not together, "flat": flat, "staged": self._staged,
            **dict(zip(("depth", "height", "width"), shape, strict=True)),
            **dict(zip(("plane_depth", "plane_height", "plane_width"), plane_shape, strict=True)),
            **_steps("x", x, axes), **_steps("idx", idx, axes), **_steps("plane", planes, axes),
        }  # fmt: skip
        if flat and len(steps) < 3:  # axes that are not there are as far apart as they would be
            values["plane_row"] = values["plane_row"] or plane_shape[2] * values["plane_col"]
            values["plane_z"] = values["plane_z"] or plane_shape[1] * values["plane_row"]
        return Bound(record(UNPOOL_FIELDS, values), p.batch * -(-p.channels // chunk), self._scratch_bytes, (), ())


def _follow(steps: Steps, shape: tuple[int, ...]) -> bool:
    """Whether rows and planes of an array follow each other without gaps."""
    return all(a == n * b for a, n, b in zip(steps, shape[1:], steps[1:], strict=False))


def _steps(name: str, steps: Steps, axes: tuple[int, ...]) -> dict[str, int]:
    values = (*steps[:2], *spread(axes, steps[2:], 0))
    return {f"{name}_{axis}": step for axis, step in zip(("n", "c", "z", "row", "col"), values, strict=True)}
