"""Axes of arrays on a GPU as plain kernels loop over them: four, neighbours in memory last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from fastconv.device import DeviceArray

__all__ = ["NAMES", "Axis", "extents", "nested", "numbers", "places"]

NAMES = "bzyx"


class Axis(NamedTuple):
    """An axis: its size, the step of each array along it in elements, and the window that is moved along it."""

    size: int
    steps: tuple[int, ...]
    window: int = 1
    pad: int = 0
    rule: int = 0
    tap: int = 0  # from one tap to the next


def nested(axes: Iterable[Axis], arrays: int) -> tuple[list[Axis], list[Axis]]:
    """Axes that a launch is made for each place of, and the four of a kernel.

    They are ordered by the steps of the last array, and merged where all arrays allow it.
    """
    merged: list[Axis] = []
    for axis in sorted(axes, key=lambda axis: -abs(axis.steps[-1])):
        if axis.size == axis.window == 1:
            continue
        outer = merged[-1] if merged else None
        if outer is not None and outer.window == axis.window == 1 and _follow(outer, axis):
            merged[-1] = axis._replace(size=outer.size * axis.size)
        else:
            merged.append(axis)
    further = [axis for axis in merged if axis.window == 1][: max(len(merged) - len(NAMES), 0)]
    inner = [axis for axis in merged if axis not in further]
    return further, [Axis(1, (0,) * arrays)] * (len(NAMES) - len(inner)) + inner


def _follow(outer: Axis, inner: Axis) -> bool:
    return all(step == inner.size * other for step, other in zip(outer.steps, inner.steps, strict=True))


def places(
    further: Sequence[Axis], axes: Sequence[Axis], arrays: Sequence[DeviceArray]
) -> Iterator[Sequence[DeviceArray]]:
    """The arrays as they begin at each place along the axes that kernels do not loop over."""
    if not further:
        yield arrays
        return
    for index in product(*(range(axis.size) for axis in further)):
        yield [
            DeviceArray.at(
                array.owner,
                array.address + array.itemsize * sum(i * axis.steps[k] for i, axis in zip(index, further, strict=True)),
                tuple(axis.size for axis in axes),
                array.dtype,
                tuple(axis.steps[k] * array.itemsize for axis in axes),
                array.stream,
            )
            for k, array in enumerate(arrays)
        ]


def extents(axes: Sequence[Axis]) -> tuple[int, int, int]:
    """Inner, middle and outer extents of the grid."""
    return axes[3].size, axes[2].size, axes[1].size * axes[0].size


def numbers(axes: Sequence[Axis], arrays: Sequence[str], *fields: str) -> dict[str, Any]:
    """What a kernel's record tells of each axis: the fields named, and the step of each array by its name."""
    values = dict(zip(("inner", "middle", "outer"), extents(axes), strict=True))
    for name, axis in zip(NAMES, axes, strict=True):
        values |= {f"{field}_{name}": getattr(axis, field) for field in ("size", *fields)}
        values |= {f"{array}_{name}": step for array, step in zip(arrays, axis.steps, strict=True)}
    return values
