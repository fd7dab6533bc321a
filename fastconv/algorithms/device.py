"""Direct filters and pooling on a GPU, for arrays that live there and for host arrays sent there.

The host's part is small: the geometry record, chosen once for each set of strides, and a
launch (`fastconv.engines.numba_cuda` has the contract).  A problem with fewer than three
spatial axes gets axes of size 1 in front; a filter along more has its further axes in the geometry, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.device_host import by_tiles
from fastconv.device import DeviceArray
from fastconv.problem import ConvProblem, PoolProblem, SeparableProblem

__all__ = ["DeviceFilter", "DevicePool", "Problem", "Steps", "executor", "refuse", "steps_of"]

Problem = ConvProblem | PoolProblem | SeparableProblem
Steps = tuple[int, ...]
AXES = "zyx"
ORDERED = ("line", "symmetric", "antisymmetric")
ACCUMULATORS = ("float32", "float64", "uint32", "uint64", "complex64", "complex128")
ELEMENTS = (*ACCUMULATORS, "bool", "int8", "uint8", "int16", "uint16", "int32", "int64")
POOLED = ("float16", *(name for name in ELEMENTS if name[0] != "c"))


def refuse(problem: Problem) -> str | None:
    """Why the plain kernels cannot do a problem, or None."""
    if not isinstance(problem, Problem):
        return "has no kernels for this on a GPU"
    if isinstance(problem, SeparableProblem):
        special = problem.combined or problem.continued
        return (
            "combines no results, and continues those of a pass as it does the image"
            if special
            else refuse(problem.conv)
        )
    if isinstance(problem, PoolProblem):
        if len(problem.in_shape) > len(AXES):
            return f"pools at most {len(AXES)} axes"
        if problem.kind == "lp":
            return "sums no powers"
        return None if problem.dtype in POOLED else f"does not pool {problem.dtype}"
    if problem.acc not in ACCUMULATORS:
        return f"does not sum in {problem.acc}"
    for dtype in (problem.in_dtype, problem.out_dtype):
        if dtype not in ELEMENTS:
            return f"does not read or write {dtype}"
    if problem.saturate:
        return "does not clamp results"
    if problem.activation:
        return "applies no activation"
    if problem.exact and problem.acc != "float64":
        return f"does not add in the order {problem.exact!r} in {problem.acc}"
    if problem.exact in ORDERED and max(problem.kernel_shape[: -len(AXES)], default=1) > 1:
        return f"adds in the order {problem.exact!r} along the last {len(AXES)} axes only"
    return None


def executor(problem: Problem, engine: Any) -> DeviceFilter | DevicePool:
    """The executor of a problem."""
    if isinstance(problem, SeparableProblem):
        return DeviceLines(problem, engine)
    return DevicePool(problem, engine) if isinstance(problem, PoolProblem) else DeviceFilter(problem, engine)


class DeviceFilter:
    """Executes a `ConvProblem` with the filter kernel of a GPU."""

    def __init__(self, problem: ConvProblem, engine: Any):
        self.problem = problem
        self.engine = engine
        self.kernel(None, None)
        self.geometry = lru_cache(maxsize=8)(self._geometry)

    def kernel(self, w: Any, bias: Any) -> Any:
        """The kernel for weights and biases as they lie on the device."""
        p = self.problem
        types = [p.acc if array is None else array.dtype.name for array in (w, bias)]
        if not set(types) <= set(ELEMENTS):
            raise TypeError(f"kernels on a GPU must have one of the dtypes {', '.join(ELEMENTS)}; got {types[0]}")
        further = max(p.ndim - len(AXES), 0)
        return self.engine.kernel("filter", p.in_dtype, *types, p.acc, p.out_dtype, p.exact, further)

    def __call__(self, x: Any, w: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        p = self.problem
        if out.size == 0 or by_tiles(self.problem, self.engine, x, w, out, bias, fill):
            return
        w, bias = (a if a is None or isinstance(a, DeviceArray) else np.asarray(a).astype(p.acc) for a in (w, bias))
        with self.engine.Call(out, x, w, bias) as call:
            target = call.put(out, contents=False)
            self.start(call, call.put(x), w, target, call.put(bias), fill)
            call.get(target, out)

    def start(self, call: Any, x: Any, w: Any, out: Any, bias: Any, fill: Any) -> None:
        """Launch the kernel on an image and a result that lie on the device."""
        w = call.put(w)
        kernel = self.kernel(w, bias)
        geometry = self.geometry(kernel.geometry, *(steps_of(array) for array in (x, w, out, bias)))
        call.launch(kernel, geometry[:3], (x, w, out, bias), (fill,), geometry)

    def workspace(self, threads: int) -> int:
        """Device arrays need no scratch memory; host arrays are copied, which is not counted."""
        return 0

    def _geometry(self, record: Any, x: Steps, w: Steps, out: Steps, bias: Steps) -> Any:
        p = self.problem
        values = {
            **_extents(p, p.filters),
            "group_filters": p.filters // p.groups, "group_channels": p.channels // p.groups,
            "has_bias": int(p.bias), "bias_f": bias[0] if bias else 0,
            **_axes("rule_%s", [self.engine.RULES[rule] for rule in p.boundary], 0),
            **_strides("x_", "nc", x), **_strides("w_", "fc", w), **_strides("out_", "nf", out),
        }  # fmt: skip
        rules = [self.engine.RULES[rule] for rule in p.boundary]
        extents = (p.in_shape, p.out_shape, p.kernel_shape, p.stride, p.dilation, p.pad, rules)
        axes = zip(*extents, x[2:], w[2:], out[2:], strict=True)  # as the kernel's record has them
        further = (number for axis in list(axes)[: -len(AXES)] for number in axis)
        return record(*(values[name] for name in record._fields[: len(values)]), *further)


class DeviceLines(DeviceFilter):
    """Executes a `SeparableProblem` with the outer product of its lines."""

    def __init__(self, problem: SeparableProblem, engine: Any):
        super().__init__(problem.conv, engine)
        self.lines = problem

    def __call__(self, x: Any, w: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        super().__call__(x, self.lines.kernel(w)[None, None], out, bias, fill, threads)


class DevicePool:
    """Executes a `PoolProblem` with the pooling kernels of a GPU."""

    def __init__(self, problem: PoolProblem, engine: Any):
        self.problem = problem
        self.engine = engine
        self.kernel = engine.kernel(*self._kernel_name())
        self.geometry = lru_cache(maxsize=8)(self._geometry)

    def _kernel_name(self) -> tuple[str, ...]:
        p = self.problem
        if p.kind == "avg":
            return ("avg", p.dtype)
        if p.indices:
            return ("max", p.dtype, "indices")
        two = p.kernel_shape == p.stride == (2, 2) and p.pad == (0, 0) and p.dilation == (1, 1) and p.dtype != "float16"
        inside = all(2 * n <= size for n, size in zip(p.out_shape, p.in_shape, strict=True))
        return ("max_2x2", p.dtype) if two and inside else ("max", p.dtype, "")

    def __call__(self, x: Any, indices: Any, out: Any, bias: Any, fill: Any, threads: int) -> None:
        if out.size == 0:
            return
        with self.engine.Call(out, x, indices) as call:
            source, where, target = call.put(x), call.put(indices, contents=False), call.put(out, contents=False)
            self.start(call, source, where, target)
            call.get(target, out)
            if indices is not None:
                call.get(where, indices)

    def start(self, call: Any, x: Any, indices: Any, out: Any) -> None:
        """Launch the kernel on an image and results that lie on the device."""
        geometry = self.geometry(self.kernel.geometry, steps_of(x), steps_of(indices), steps_of(out))
        call.launch(self.kernel, geometry[:3], (x, indices, out), (), geometry)

    def workspace(self, threads: int) -> int:
        """Device arrays need no scratch memory; host arrays are copied, which is not counted."""
        return 0

    def _geometry(self, record: Any, x: Steps, indices: Steps, out: Steps) -> Any:
        p = self.problem
        values = {
            **_extents(p, p.channels),
            "include_pad": int(p.count_include_pad), "divisor": p.divisor, **_axes("after_%s", p.pad_after or p.pad, 0),
            **_strides("x_", "nc", x), **_strides("indices_", "nc", indices), **_strides("out_", "nc", out),
        }  # fmt: skip
        return record(**values)


def _extents(p: ConvProblem | PoolProblem, filters: int) -> dict[str, int]:
    """The grid's extents and the numbers of the last three axes."""
    depth, height, width = _padded(p.out_shape, 1)
    batch = p.batch * prod(p.out_shape[: -len(AXES)])
    planar = (width, height, batch * filters * depth)
    channels_last = (filters, width, batch * depth * height)
    return {
        **dict(zip(("inner", "middle", "outer"), channels_last if p.channels_last else planar, strict=True)),
        "channels_last": int(p.channels_last), "filters": filters,
        **dict(zip(("depth", "height", "width"), _padded(p.in_shape, 1), strict=True)),
        **dict(zip(("out_depth", "out_height", "out_width"), _padded(p.out_shape, 1), strict=True)),
        **_axes("kernel_%s", p.kernel_shape, 1), **_axes("stride_%s", p.stride, 1),
        **_axes("dilation_%s", p.dilation, 1), **_axes("pad_%s", p.pad, 0),
    }  # fmt: skip


def _padded(values: Sequence[int], missing: int) -> tuple[int, ...]:
    return (missing,) * (len(AXES) - len(values)) + tuple(values[-len(AXES) :])


def _axes(name: str, values: Sequence[int], missing: int) -> dict[str, int]:
    return {name % axis: value for axis, value in zip(AXES, _padded(values, missing), strict=True)}


def _strides(prefix: str, outer: str, steps: Steps) -> dict[str, int]:
    values = (*steps[:2], *_padded(steps[2:], 0)) if steps else (0,) * 5
    return {prefix + name: step for name, step in zip((*outer, *AXES), values, strict=True)}


def steps_of(array: DeviceArray | None) -> Steps:
    """Strides in elements; none for an absent array."""
    if array is None:
        return ()
    size = array.dtype.itemsize
    if any(step % size for step in array.strides) or array.address % size:
        raise ValueError(f"device arrays must be aligned to their elements; got {array}")
    return tuple(step // size for step in array.strides)
