"""What unpooling and the gradients of maxima share: indices examined, elements moved."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from fastconv.device import native, on_device
from fastconv.nn.pool.arguments import FLOATS, INTEGERS, Images
from fastconv.plan import execute
from fastconv.problem import UnpoolProblem
from fastconv.replay import by_value
from fastconv.validate import as_array, int_tuple, new_or_checked_out, type_name

__all__ = ["checked_indices", "max_unpool", "move"]

Shape = tuple[int, ...]


def checked_indices(
    images: Images, indices: Any, plane: Shape, like: str, *, examined: bool, none: bool = False
) -> Any:
    """The argument as an array of the images' shape, of flat positions in a plane if it is `examined`; `none`: or -1.

    Nothing of the caller's is written where the kernel may tell of positions outside the plane.  Those on a GPU cannot be
    examined, and what is written there tells nothing: the host does not wait for it.
    """
    places = as_array("indices", indices, empty=True)
    examined = (examined or on_device(images.x)) and not on_device(places)
    if examined:
        by_value()
    if type_name(places.dtype) != "int64":
        raise TypeError(f"indices must have dtype int64; got {places.dtype}")
    if places.shape != images.array.shape:
        raise ValueError(f"indices must have the shape of {like}, {images.array.shape}; got {places.shape}")
    if examined and places.size and not _all_inside(places, prod(plane), none):
        raise _outside(places, plane)
    return places


def _outside(places: np.ndarray, plane: Shape) -> ValueError:
    return ValueError(
        f"indices must be from 0 to {prod(plane) - 1}, positions in {plane}; got numbers from {places.min()} to {places.max()}"
    )


def _all_inside(places: np.ndarray, count: int, none: bool) -> bool:
    """Negative numbers are large ones without a sign: one pass over the indices."""
    if int(places.view(np.uint64).max()) < count:
        return True
    return none and int(places.min()) >= -1 and int(places.max()) < count


def move(kind: str, images: Images, places: Any, plane: Shape, planes: Any, threads: int | None) -> Any:
    """Elements of `images` to positions in `planes`, an array in the caller's layout, or (``"take"``) from there."""
    if planes.size or images.x.size:
        problem = UnpoolProblem(
            kind, images.sizes, plane, images.dtype, images.batch, images.channels, images.channels_last
        )
        where, target = images.canonical(places), images.canonical(planes)
        x, out = (target, images.x) if kind == "take" else (images.x, target)
        outside = None if on_device(x, where, out) else np.zeros(1, np.int64)
        execute(problem, x, where, out, bias=outside, threads=threads)
        if outside is not None and outside[0]:
            raise _outside(places, plane)
    return planes


def max_unpool(n: int, input: Any, indices: Any, sizes: tuple, data_format: str, out: Any, threads: int | None) -> Any:
    """See docstring in `fastconv.nn.max_unpool2d`."""
    images = Images("input", input, n, data_format, ("bool", *INTEGERS, *FLOATS))
    plane = _unpooled_size(images.sizes, *sizes)
    places = checked_indices(images, indices, plane, "input", examined=out is not None)
    result = new_or_checked_out(
        out, images.shape(plane), images.array.dtype, {"input": images.array, "indices": places}
    )
    return native(move("place", images, places, plane, result, threads))


def _unpooled_size(sizes: Shape, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Shape:
    n = len(sizes)
    kernel = int_tuple("kernel_size", kernel_size, n, minimum=1)
    steps = kernel if stride is None else int_tuple("stride", stride, n, minimum=1)
    pads = int_tuple("padding", padding, n, minimum=0)
    usual = tuple((m - 1) * s + k - 2 * p for m, s, k, p in zip(sizes, steps, kernel, pads, strict=True))
    if output_size is None:
        made = usual
    else:
        given = tuple(output_size) if isinstance(output_size, Iterable) else (output_size,) * n
        given = given[2:] if len(given) == n + 2 else given
        made = int_tuple("output_size", given, n, minimum=0)
        if not all(abs(m - u) < s for m, u, s in zip(made, usual, steps, strict=True)):
            raise ValueError(f"output_size must be less than stride {steps} from {usual}; got {output_size!r}")
    if min(made) < 1:
        raise ValueError(f"padding must leave something of the result: its size would be {made}; got {padding!r}")
    return made
