"""Several layers as one plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.algorithms.weights import aligned
from fastconv.nn.stages import Stage, stages_of
from fastconv.nn.steps import Step, steps_of
from fastconv.plan import Plan
from fastconv.validate import as_array, int_tuple, new_or_checked_out

__all__ = ["Sequence"]


class Sequence:
    """Plan several layers for images of one shape, and compute them as one.

    The same as ``for layer in layers: image = layer(image)``, but that weights are packed once, results between layers
    go to memory that stays, activations after convolutions are applied to their sums before these are stored, and where
    results between layers are larger than the caches, the layers are computed one strip of rows, or one image, after the
    other.

    Parameters
    ----------
    layers : iterable of callable
        Functions of `fastconv.nn`: `conv2d`, `max_pool2d`, `avg_pool2d`, `adaptive_avg_pool2d`, `adaptive_max_pool2d` and
        the activations, or `functools.partial` of them with their arguments behind the first one as keywords.
    input : array_like
        Like the images to come: ``(N, C, H, W)``, or ``(N, H, W, C)`` for ``data_format="NHWC"``.  It is read for shape and
        dtype only.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes, for all layers.
    strip : "auto" or int, optional
        How many rows of a result neighbouring layers compute at a time, all that can be done so; 0: all rows, layer by
        layer.  "auto" takes strips where results between layers are larger than the caches and cost much beside the sums.

    Attributes
    ----------
    plans : tuple of Plan
        Of the layers, for all rows; activations that are applied to sums have none of their own.
    shape : tuple of int
        Of the result.
    dtype : dtype
        Of the result.
    nbytes : int
        Of the memory that stays from call to call, packed weights not counted.

    Raises
    ------
    TypeError
        Layers that are other functions, or have positional arguments, or arguments of the wrong type; an `input` that is
        not made of numbers.
    ValueError
        No layers, an `input` that has not four dimensions or is empty, arguments that do not fit what comes from the layer
        before (the message names the layer), `strip` below 0.

    See Also
    --------
    fastconv.plan : The plan of one call.

    Notes
    -----
    Weights are copied: those that are altered later are not noticed.  Engine, threads and precision are those in force
    when the sequence is made.  Results are those of the functions called one by one, apart from rounding: strips may be
    summed by another algorithm, and `precision` bounds the error of each.

    All rows are computed once: those that the windows of the next strip read, too, are kept.  Several threads may call the
    same sequence; each call that runs beside others takes memory of its own.

    Examples
    --------
    >>> from functools import partial
    >>> import numpy as np
    >>> from fastconv import nn
    >>> image, weight = np.ones((1, 3, 8, 8), "f4"), np.ones((4, 3, 3, 3), "f4")
    >>> layers = [partial(nn.conv2d, weight=weight, padding=1), nn.relu, partial(nn.max_pool2d, kernel_size=2)]
    >>> sequence = nn.Sequence(layers, image)
    >>> sequence(image)[0, 0]
    array([[27., 27., 27., 27.],
           [27., 27., 27., 27.],
           [27., 27., 27., 27.],
           [27., 27., 27., 27.]], dtype=float32)
    """

    def __init__(self, layers: Iterable[Any], input: Any, *, data_format: str = "NCHW", strip: int | str = "auto"):
        image = as_array("input", input, ndim=4)
        if image.size == 0:
            raise ValueError(f"input must not be empty; got shape {image.shape}")
        rows = None
        if strip != "auto":
            if isinstance(strip, str):
                raise ValueError(f"strip must be 'auto' or a number of rows; got {strip!r}")
            (rows,) = int_tuple("strip", strip, 1, minimum=0)
        steps = steps_of(layers, image.shape, image.dtype, data_format)
        if not steps:
            raise ValueError("layers must have at least one layer; got none")
        self._stages = stages_of(steps, rows)
        self._input = image.shape, image.dtype
        self._free: list[_Memory] = []
        self.shape, self.dtype = steps[-1].shape, steps[-1].dtype
        self.plans: tuple[Plan, ...] = tuple(step.planned for step in steps)

    def __call__(self, input: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Compute all layers.

        Parameters
        ----------
        input : array_like
            Of the planned shape and dtype.
        out : ndarray, optional
            Array for the result, apart from the input in memory.

        Returns
        -------
        ndarray
            What the last layer makes.

        Raises
        ------
        ValueError
            If `input` has not the planned shape and dtype, or `out` cannot take the result.
        TypeError
            If `out` is not an array of the result's dtype.
        """
        image = as_array("input", input, ndim=4)
        if (image.shape, image.dtype) != self._input:
            raise ValueError(
                f"input must have the planned shape and dtype, {self._input[0]} {self._input[1]}; "
                f"got {image.shape} {image.dtype}"
            )
        result = new_or_checked_out(out, self.shape, self.dtype, {"input": image})
        try:
            memory = self._free.pop()
        except IndexError:
            memory = _Memory(self._stages)
        for stage, inner, whole in zip(self._stages, memory.inner, [*memory.whole, result], strict=True):
            stage.run(image, whole, inner)
            image = whole
        self._free.append(memory)
        return result

    @property
    def nbytes(self) -> int:
        """Bytes of the memory that stays from call to call, packed weights not counted."""
        return sum(_turns(self._stages)) + sum(sum(stage.nbytes) for stage in self._stages)

    def __str__(self) -> str:
        shape, dtype = self._input
        steps = sum(len(stage.steps) for stage in self._stages)
        lines = [f"sequence        {steps} layers, {shape} {dtype} -> {self.shape} {self.dtype}"]
        for stage in self._stages:
            lines += [f"{'all rows' if not stage.rows else 'strips':<16}{_line(step)}" for step in stage.steps]
            lines += [f"{'':<16}{stage.why}"] * bool(stage.why)
        return "\n".join([*lines, f"{'between':<16}{self.nbytes / 2**20:.3g} MiB kept"])


class _Memory:
    """What is between the stages, in two blocks that are used in turn, and inside them."""

    def __init__(self, stages: list[Stage]):
        blocks = [aligned(size, "uint8") for size in _turns(stages)]
        ends = [stage.steps[-1] for stage in stages[:-1]]
        self.whole = [_shaped(blocks[i % 2][: step.nbytes], step.shape, step.dtype) for i, step in enumerate(ends)]
        self.inner = [
            [
                _shaped(aligned(size, "uint8"), shape, step.dtype)
                for size, shape, step in zip(stage.nbytes, stage.between, stage.steps, strict=False)
            ]
            for stage in stages
        ]


def _shaped(memory: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return memory.view(dtype).reshape(shape)


def _turns(stages: list[Stage]) -> tuple[int, int]:
    """Bytes of the two blocks between stages."""
    sizes = [stage.steps[-1].nbytes for stage in stages[:-1]]
    return max(sizes[::2], default=0), max(sizes[1::2], default=0)


def _line(step: Step) -> str:
    return f"{' + '.join(step.labels)} -> {step.shape}, {step.planned.implementation}"
