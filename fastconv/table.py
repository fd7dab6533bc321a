"""The one ordered table of implementations: best first, the reference last and complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any

from fastconv.problem import ConvProblem, LinesProblem, Problem, SeparableProblem

__all__ = ["TABLE", "Implementation", "first_row"]


@dataclass(frozen=True)
class Implementation:
    """An algorithm on an engine.

    `algorithm` is a module of `fastconv.algorithms` with ``refuse(problem)``, a sentence
    why it cannot do the problem or None, and the executor class `executor`, called with
    the problem and the engine's module.  `leaves`, another function like ``refuse``, tells what
    this row leaves to others, besides.
    """

    algorithm: str
    executor: str
    engine: str
    leaves: str = ""

    @property
    def name(self) -> str:
        return f"{self.engine}:{self.algorithm}"

    def refuse(self, problem: Problem) -> str | None:
        """Why this implementation cannot do the problem, or None."""
        has, why = _NEEDS.get(self.algorithm, (None, ""))
        if has is not None and not has(problem):
            return why
        module = self._module()
        return module.refuse(problem) or (getattr(module, self.leaves)(problem) if self.leaves else None)

    def build(self, problem: Problem) -> Any:
        """The executor of the problem; compiles what is not compiled yet."""
        return getattr(self._module(), self.executor)(problem, self._engine_module())

    def is_ready(self, problem: Problem) -> bool:
        """Whether `build` returns at once."""
        return self.engine != "numba" or self._module().is_ready(problem, self._engine_module())

    def _module(self) -> Any:
        return import_module(f"fastconv.algorithms.{self.algorithm}")

    def _engine_module(self) -> Any:
        return import_module(_ENGINE_MODULES[self.engine])


_ENGINE_MODULES = {
    "numba": "fastconv.engines.numba_cpu",
    "cython": "fastconv.engines.cython_cpu",
    "cuda": "fastconv.engines.numba_cuda",
    "reference": "fastconv.reference",
}

TABLE = (
    Implementation("conv8", "executor", "cython"),
    Implementation("conv8", "executor", "numba"),
    Implementation("depthwise_planes", "DepthwisePlanes", "cython"),
    Implementation("overlap_planes", "OverlapPlanes", "cython"),
    Implementation("depthwise", "executor", "cython"),
    Implementation("depthwise", "Depthwise", "numba", leaves="several_a_group"),
    Implementation("winograd", "Winograd", "cython"),
    Implementation("winograd", "Winograd", "numba", leaves="larger_kernels"),
    Implementation("winograd_line", "WinogradLine", "cython"),
    Implementation("panels", "Panels", "cython"),
    Implementation("conv", "Conv", "cython"),
    Implementation("conv", "Conv", "numba"),
    Implementation("overlap", "Overlap", "cython"),
    Implementation("transforms", "Transforms", "cython"),
    Implementation("transforms", "Transforms", "numba"),
    Implementation("separable", "Separable", "cython"),
    Implementation("separable", "Separable", "numba"),
    Implementation("lines", "Lines", "cython", leaves="not_bytes"),
    Implementation("lines", "Passes", "cython", leaves="one_pass"),
    Implementation("lines", "Passes", "numba", leaves="one_pass"),
    Implementation("lowrank", "LowRank", "cython"),
    Implementation("lowrank", "LowRank", "numba"),
    Implementation("filter", "Filter", "cython"),
    Implementation("filter", "Filter", "numba"),
    Implementation("normalized", "Normalized", "cython"),
    Implementation("normalized", "Normalized", "numba"),
    Implementation("pool", "Pool", "cython"),
    Implementation("pool", "Pool", "numba"),
    Implementation("unpool", "Unpool", "cython"),
    Implementation("unpool", "Unpool", "numba"),
    Implementation("fold", "Fold", "cython"),
    Implementation("fold", "Fold", "numba"),
    Implementation("rank", "Rank", "numba"),
    Implementation("rank", "Rank", "cython"),
    Implementation("sliding", "Sliding", "cython"),
    Implementation("sliding", "Sliding", "numba"),
    Implementation("taps", "Taps", "cython"),
    Implementation("taps", "Taps", "numba"),
    Implementation("activation", "Activation", "cython"),
    Implementation("activation", "Activation", "numba"),
    Implementation("softmax", "Softmax", "cython"),
    Implementation("softmax", "Softmax", "numba"),
    Implementation("depthwise_input", "DepthwiseInput", "cython"),
    Implementation("transposed", "Transposed", "cython", leaves="beyond_cython"),
    Implementation("transposed", "Transposed", "numba", leaves="beyond_numba"),
    Implementation("depthwise_gradient", "DepthwiseGradient", "cython"),
    Implementation("depthwise_gradient", "DepthwiseGradient", "numba"),
    Implementation("pointwise_gradient", "PointwiseGradient", "cython"),
    Implementation("winograd_gradient", "WinogradGradient", "cython"),
    Implementation("weight_gradient", "WeightGradient", "cython"),
    Implementation("weight_gradient", "WeightGradient", "numba"),
    Implementation("bias_gradient", "BiasGradient", "cython"),
    Implementation("bias_gradient", "BiasGradient", "numba"),
    Implementation("quantized", "Quantized", "cython", leaves="beyond_cython"),
    Implementation("quantized", "Quantized", "numba", leaves="beyond_numba"),
    Implementation("deform", "Deform", "cython", leaves="beyond_cython"),
    Implementation("deform", "Deform", "numba", leaves="beyond_numba"),
    Implementation("deform_gradient", "DeformGradient", "cython", leaves="beyond_cython"),
    Implementation("deform_gradient", "DeformGradient", "numba", leaves="beyond_numba"),
    Implementation("device_lines", "executor", "cuda"),
    Implementation("device_fourier", "Fourier", "cuda"),
    Implementation("device_tile", "executor", "cuda"),
    Implementation("device_bytes", "executor", "cuda"),
    Implementation("device_windows", "executor", "cuda"),
    Implementation("device_moving", "Moving", "cuda"),
    Implementation("device_pooling", "executor", "cuda"),
    Implementation("device", "executor", "cuda"),
    Implementation("naive", "Naive", "reference"),
)


def _several(p: Any) -> bool:
    return not isinstance(p, ConvProblem) or p.channels * p.filters > 1 or max(p.stride + p.dilation, default=1) > 1


def _dense_planes(p: Any) -> bool:
    return isinstance(p, ConvProblem) and not p.channels_last and min(p.channels, p.filters) > 8 and p.groups == 1


def _large_planes(p: Any) -> bool:
    return isinstance(p, ConvProblem) and p.groups > 1 and prod(p.kernel_shape) > 100


def _one_line(p: Any) -> bool:
    return isinstance(p, ConvProblem) and p.precision != "strict" and p.ndim == 2 and min(p.kernel_shape) == 1


# What most problems lack, and then need not have the algorithm imported for: ten milliseconds of a process's first call.
_NEEDS: dict[str, tuple[Callable[[Any], object], str]] = {
    "conv8": (lambda p: "int8" in getattr(getattr(p, "conv", p), "in_dtype", ""), "is for 8-bit numbers"),
    "winograd": (
        lambda p: getattr(p, "precision", "strict") != "strict",
        "is for layers of nn, in default or fast precision",
    ),
    "winograd_line": (_one_line, "is for layers with kernels along one of two axes, in default or fast precision"),
    "depthwise_planes": (_large_planes, "is for depthwise kernels of many taps"),
    "overlap_planes": (_large_planes, "is for depthwise kernels of many taps"),
    "depthwise": (lambda p: getattr(p, "groups", 1) > 1, "is for several groups"),
    "panels": (_dense_planes, "is for many channels and filters of planes"),
    "conv": (_several, "is for several channels or filters, or steps"),
    "overlap": (lambda p: getattr(p, "transforms", ""), "is for large kernels and finite numbers"),
    "transforms": (lambda p: getattr(p, "transforms", ""), "is for large kernels and finite numbers"),
    "lines": (
        lambda p: isinstance(p, LinesProblem) or getattr(p, "exact", ""),
        "is for one-dimensional correlations truncated to integers",
    ),
    "lowrank": (
        lambda p: isinstance(p, SeparableProblem) or getattr(p, "rank", 0),
        "is for large kernels that are sums of a few outer products",
    ),
}


def first_row(problem: Problem, engine: str) -> Implementation | None:
    """The first implementation on an engine that does not refuse a problem: for algorithms that are made of others."""
    return next((row for row in TABLE if row.engine == engine and row.refuse(problem) is None), None)
