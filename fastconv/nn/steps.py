"""The layers of a `Sequence` as planned calls: what each makes of its input, and whether it can be done by strips of rows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import prod
from typing import Any, cast

import numpy as np

import fastconv.nn
from fastconv.nn.arguments import is_channels_last, result_shape
from fastconv.nn.strips import Window
from fastconv.plan import PlannedCall, plan
from fastconv.prepared import PreparedCall
from fastconv.problem import ACTIVATIONS, ActivationProblem, ConvProblem, PoolProblem

__all__ = ["Step", "steps_of"]

POOLS = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
ELEMENTWISE = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "elu", "softplus", "mish",
               "hardsigmoid", "softsign", "logsigmoid", "hardtanh")  # fmt: skip
LAYERS = ("conv2d", *POOLS, *ELEMENTWISE)
# The parameter of an activation of finished sums; others have none, or are not applied there.
SLOPES = {"leaky_relu": "negative_slope", "elu": "alpha"}
# What the sequence gives to its layers, or does not offer.
TAKEN = ("input", "data_format", "out", "inplace", "return_indices", "threads")


class Step:
    """A function of `fastconv.nn` and its arguments, planned for one input."""

    def __init__(self, name: str, arguments: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype, data_format: str):
        self.name, self.arguments, self.labels = name, dict(arguments), [name]
        self.weight = None
        if name == "conv2d":
            self.weight = np.array(self.arguments.pop("weight"))  # a copy, which nobody can alter
            self.weight.flags.writeable = False
        if name not in ELEMENTWISE:
            self.arguments["data_format"] = data_format
        self.in_shape, self.in_dtype, self.channels_last = shape, dtype, is_channels_last(data_format, 2)
        self._plan()

    def _plan(self) -> None:
        self.run = self._call(np.empty(self.in_shape, self.in_dtype))
        self.planned = self.run if isinstance(self.run, PlannedCall) else self.run.planned
        self.shape, self.dtype = self.in_shape, self.in_dtype
        self.problem = problem = cast(Any, self.planned.problem)
        if not isinstance(problem, ActivationProblem):
            channels = getattr(problem, "filters", problem.channels)
            self.shape = result_shape(problem.batch, channels, problem.out_shape, self.channels_last, True)
            self.dtype = np.dtype(getattr(problem, "out_dtype", self.in_dtype))
        self.window, self.across = self._window(problem)

    def _call(self, like: np.ndarray, **changes: Any) -> PlannedCall | PreparedCall:
        function, arguments = getattr(fastconv.nn, self.name), self.arguments | changes
        if self.weight is None:
            return plan(function, like, **arguments)
        return plan(function, like, self.weight, **arguments).prepare(self.weight)

    def _window(self, problem: Any) -> tuple[Window | None, tuple[int, int]]:
        """What rows are read (None: they cannot be told apart), and the padding of columns."""
        height = self.in_shape[self.rows_axis]
        if isinstance(problem, ActivationProblem):
            return Window(height, height), (0, 0)
        if not isinstance(problem, ConvProblem | PoolProblem):
            return None, (0, 0)
        if isinstance(problem, ConvProblem) and set(problem.boundary) != {"fill"}:
            return None, (0, 0)
        spans = [(k - 1) * d + 1 for k, d in zip(problem.kernel_shape, problem.dilation, strict=True)]
        axes = [
            Window(*axis)
            for axis in zip(problem.in_shape, problem.out_shape, spans, problem.stride, problem.pad, strict=True)
        ]
        beyond = [max(0, axis.reads((0, axis.rows_out))[1] - axis.rows_in) for axis in axes]
        if axes[0].pad >= axes[0].span or beyond[0] >= axes[0].span:  # some windows hold no row at all
            return None, (0, 0)
        if isinstance(problem, PoolProblem):  # windows that reach beyond the padding have no such strip
            after = problem.pad_after or problem.pad
            if any(n > pad for n, pad in zip(beyond, after, strict=True)):
                return None, (0, 0)
        return axes[0], (problem.pad[1], beyond[1])

    @property
    def rows_axis(self) -> int:
        """The axis of rows, of input and result."""
        return 1 if self.channels_last else 2

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def flops(self) -> int:
        """Of the direct sum."""
        return int(self.problem.flops)

    def shape_of(self, rows: int) -> tuple[int, ...]:
        """Of so many rows of one image of the result."""
        return _strip_shape(self.shape, self.rows_axis, rows)

    def strip(self, read: int, zeros: tuple[int, int]) -> PlannedCall | PreparedCall:
        """The call for so many rows of one image, and `zeros` (before, after) them."""
        like = np.empty(_strip_shape(self.in_shape, self.rows_axis, read), self.in_dtype)
        if self.name in ELEMENTWISE:
            return self._call(like)
        changes: dict[str, Any] = {"padding": (zeros, self.across)}
        if self.name != "conv2d":
            changes["ceil_mode"] = False
        if self.name == "avg_pool2d":
            changes["count_include_pad"] = self.problem.count_include_pad
        return self._call(like, **changes)

    def takes(self, name: str, arguments: dict[str, Any]) -> bool:
        """Whether a layer becomes the activation of this one's sums, which then is planned so."""
        slope = SLOPES.get(name)
        if self.name != "conv2d" or self.arguments.get("activation") is not None or name not in ACTIVATIONS:
            return False
        if self.dtype not in (np.float32, np.float64) or not set(arguments) <= {slope}:
            return False  # results of 16 bits are rounded before the function is applied
        self.arguments["activation"] = (name, arguments[slope]) if slope in arguments else name
        self.labels.append(name)
        self._plan()
        return True


def _strip_shape(shape: tuple[int, ...], axis: int, rows: int) -> tuple[int, ...]:
    return (1, *shape[1:axis], rows, *shape[axis + 1 :])


def steps_of(layers: Iterable[Any], shape: tuple[int, ...], dtype: np.dtype, data_format: str) -> list[Step]:
    """The layers one after the other, activations of sums with the convolutions that make these."""
    steps: list[Step] = []
    for i, layer in enumerate(layers):
        name, arguments = _function_of(i, layer)
        try:
            if not (steps and steps[-1].takes(name, arguments)):
                steps.append(Step(name, arguments, shape, dtype, data_format))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layers[{i}] must be a {name} of {shape} {dtype}: {error}") from error
        shape, dtype = steps[-1].shape, steps[-1].dtype
    return steps


def _function_of(i: int, layer: Any) -> tuple[str, dict[str, Any]]:
    """The name of a layer's function, and its arguments."""
    function, positional, arguments = layer, (), {}
    if isinstance(layer, partial):
        function, positional, arguments = layer.func, layer.args, layer.keywords
    name = getattr(function, "__name__", "")
    if name not in LAYERS or getattr(fastconv.nn, name) is not function:
        raise TypeError(
            f"layers[{i}] must be a function of fastconv.nn, or functools.partial of one: {', '.join(LAYERS)}; got {layer!r}"
        )
    if positional:
        raise TypeError(f"layers[{i}] must have its arguments as keywords; got {len(positional)} without")
    taken = [key for key in arguments if key in TAKEN]
    if taken:
        raise ValueError(f"layers[{i}] must not have the argument {taken[0]}, which is the sequence's")
    if name == "conv2d" and "weight" not in arguments:
        raise TypeError(f"layers[{i}] must have weight=, as every conv2d")
    return name, dict(arguments)
