"""Windows of images as columns, and columns summed into images."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import contiguous_strides
from fastconv.engines.contract import DTYPE_CODES, FOLD_FIELDS, HALVES, NUMBERS, record
from fastconv.problem import FoldProblem
from fastconv.problem.pooling import itemsize

__all__ = ["Fold", "is_ready", "refuse"]

Steps = tuple[int, ...]

UNITS_PER_THREAD = 4
VECTOR = 16  # rows of sums are rounded up to so many elements


def refuse(problem: Any) -> str | None:
    """Why the kernels cannot do a problem, or None."""
    if not isinstance(problem, FoldProblem):
        return "is for folding"
    if len(problem.in_shape) != 2:
        return f"folds images of two axes, not {len(problem.in_shape)}"
    if problem.kind == "fold" and problem.dtype == "bool":
        return "does not add bool"
    return None if problem.dtype in (*NUMBERS, *HALVES) else f"does not read {problem.dtype}"


def _element(dtype: str) -> str:
    """What a kernel is made for: 16-bit floats are moved as they are, and added as float32."""
    return "float32" if dtype in HALVES else dtype


def is_ready(problem: FoldProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready(problem.kind, _element(problem.dtype))


class Fold:
    """Executes a `FoldProblem` with an engine's kernel."""

    def __init__(self, problem: FoldProblem, engine: Any):
        self.problem = problem
        self.size = itemsize(problem.dtype)
        self.kernel = engine.kernel(problem.kind, _element(problem.dtype))
        self._flops, self._nbytes = problem.flops, problem.nbytes
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_bound)

    def __call__(self, x: np.ndarray, w: None, out: np.ndarray, bias: None, fill: Any, threads: int) -> None:
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        run(self.kernel, self._bind(x.strides, out.strides, threads), x, None, out, None, None, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p, size = self.problem, itemsize(self.problem.dtype)
        shapes = (p.batch, p.channels, *p.in_shape), (p.batch, p.channels, *p.kernel_shape, *p.out_shape)
        images, columns = (tuple(size * step for step in contiguous_strides(shape, "int8")) for shape in shapes)
        threads = costs.threads_worth_using(self._flops, self._nbytes, threads)
        steps = (images, columns) if p.kind == "unfold" else (columns, images)
        return self._bind(*steps, threads).scratch_bytes * threads

    def _new_bound(self, x: Steps, out: Steps, threads: int) -> Bound:
        """The record for arrays of these strides."""
        p, size = self.problem, self.size
        images, columns = (x, out) if p.kind == "unfold" else (out, x)
        lanes = p.channels if images[1] == size and p.channels > 1 else 1
        acc_size = 4 if p.dtype in HALVES else size
        phase = -(-(-(-p.in_shape[1] // p.stride[1]) * lanes) // VECTOR) * VECTOR
        scratch_bytes = (p.stride[1] * phase + VECTOR) * acc_size * (p.kind == "fold")
        planes = p.batch * p.channels // lanes
        strips = min(p.in_shape[0], -(-threads * UNITS_PER_THREAD // planes)) if threads > 1 else 1
        strip = -(-p.in_shape[0] // strips)
        strips = -(-p.in_shape[0] // strip)
        values = {
            "scratch_bytes": scratch_bytes,
            "dtype": DTYPE_CODES[p.dtype], "size": size, "acc_size": acc_size, "channels": p.channels, "lanes": lanes,
            **_axes("", ("height", "width"), p.in_shape), **_axes("out_", ("height", "width"), p.out_shape),
            **_axes("kernel_", "yx", p.kernel_shape), **_axes("stride_", "yx", p.stride),
            **_axes("dilation_", "yx", p.dilation), **_axes("pad_", "yx", p.pad),
            **_axes("image_", ("n", "c", "row", "col"), images), **_axes("column_", "ncijyx", columns),
            "strip": strip, "n_strips": strips, "phase": phase,
        }  # fmt: skip
        units = planes * (p.kernel_shape[0] if p.kind == "unfold" else strips)
        return Bound(record(FOLD_FIELDS, values), units, scratch_bytes, (), ())


def _axes(prefix: str, names: Any, values: tuple[int, ...]) -> dict[str, int]:
    return {prefix + name: value for name, value in zip(names, values, strict=True)}
