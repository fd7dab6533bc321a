"""Fractional max pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv import config
from fastconv.algorithms.intervals import intervals
from fastconv.device import as_device
from fastconv.nn.arguments import is_channels_last
from fastconv.nn.pool.arguments import FLOATS, INTEGERS, Images, computed
from fastconv.problem import RegionPoolProblem
from fastconv.replay import contiguous, remembered
from fastconv.validate import int_tuple

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d"]


def fractional_max_pool2d(
    input: Any,
    kernel_size: int | Iterable[int],
    output_size: int | Iterable[int] | None = None,
    output_ratio: float | Iterable[float] | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    generator: Any = None,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of windows at random intervals, different for each channel of a batch of images.

        out[n, c, y, x] = max over i, j of input[n, c, start(y) + i, start(x) + j]
        start(x) = floor((x + u) * a) - floor(u * a), a = (in - kernel_size) / (out - 1)

    with the axis' sizes ``in`` and ``out`` and a random number ``0 <= u < 1`` for each channel and axis; the
    last window ends with the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int or pair
        Size of the window along the spatial axes.
    output_size : int or pair, optional
        Size of the result along the spatial axes; this or `output_ratio` must be given.
    output_ratio : float or pair, optional
        Size of the result as a part of the input's, between 0 and 1.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    _random_samples : array_like, optional
        The numbers u, ``(N, C, 2)``: for columns, then rows.
    generator : numpy.random.Generator or int, optional
        What draws them, or its seed, if they are not given.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.  With
        `return_indices` it may be a pair of arrays.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one image, of the input's dtype.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``row*W + column`` of each maximum:
        the first of equals, the last NaN.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, random samples of another shape or beyond 0 and 1, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.fractional_max_pool2d`: integers and bool are taken, random numbers are NumPy's
    and lie on the host.

    References
    ----------
    B. Graham, "Fractional Max-Pooling" (2014), doi:10.48550/arXiv.1412.6071.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import fractional_max_pool2d
    >>> image = np.arange(30).reshape(1, 5, 6)
    >>> fractional_max_pool2d(image, 2, (3, 4), generator=0).shape
    (1, 3, 4)
    """
    samples = _samples(2, input, _random_samples, generator, data_format)
    sizes = (kernel_size, output_size, output_ratio)
    return _pooled(input, samples, 2, *sizes, return_indices, data_format, out, threads)


def fractional_max_pool3d(
    input: Any,
    kernel_size: int | Iterable[int],
    output_size: int | Iterable[int] | None = None,
    output_ratio: float | Iterable[float] | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    generator: Any = None,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of windows at random intervals, different for each channel of a batch of solids.

        out[n, c, z, y, x] = max over h, i, j of input[n, c, start(z) + h, start(y) + i, start(x) + j]
        start(x) = floor((x + u) * a) - floor(u * a), a = (in - kernel_size) / (out - 1)

    with the axis' sizes ``in`` and ``out`` and a random number ``0 <= u < 1`` for each channel and axis; the
    last window ends with the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int or triple
        Size of the window along the spatial axes.
    output_size : int or triple, optional
        Size of the result along the spatial axes; this or `output_ratio` must be given.
    output_ratio : float or triple, optional
        Size of the result as a part of the input's, between 0 and 1.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    _random_samples : array_like, optional
        The numbers u, ``(N, C, 3)``: for planes, rows, columns.
    generator : numpy.random.Generator or int, optional
        What draws them, or its seed, if they are not given.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.  With
        `return_indices` it may be a pair of arrays.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one solid, of the input's dtype.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``(plane*H + row)*W + column`` of each maximum:
        the first of equals, the last NaN.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, random samples of another shape or beyond 0 and 1, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.fractional_max_pool3d`: integers and bool are taken, random numbers are NumPy's
    and lie on the host.

    References
    ----------
    B. Graham, "Fractional Max-Pooling" (2014), doi:10.48550/arXiv.1412.6071.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import fractional_max_pool3d
    >>> solid = np.arange(60).reshape(1, 2, 5, 6)
    >>> fractional_max_pool3d(solid, (1, 2, 2), (2, 3, 4), generator=0).shape
    (1, 2, 3, 4)
    """
    samples = _samples(3, input, _random_samples, generator, data_format)
    sizes = (kernel_size, output_size, output_ratio)
    return _pooled(input, samples, 3, *sizes, return_indices, data_format, out, threads)


@remembered(("input", "samples"))
def _pooled(
    input: Any, samples: Any, n: int, kernel_size: Any, output_size: Any, output_ratio: Any, return_indices: Any,
    data_format: str, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The maxima of windows that begin where the samples tell."""
    images, indices = Images("input", input, n, data_format, ("bool", *INTEGERS, *FLOATS)), bool(return_indices)
    kernel = int_tuple("kernel_size", kernel_size, n, minimum=1)
    made = _output_size(images.sizes, output_size, output_ratio)
    for size, k, count in zip(images.sizes, kernel, made, strict=True):
        if count + k - 1 > size:
            raise ValueError(
                f"output_size must be at most input size - kernel_size + 1 along each axis; got {made} "
                f"for an input of {images.sizes} and a kernel_size of {kernel}"
            )
    if samples.dtype.kind != "f":
        raise TypeError(f"_random_samples must be floating point numbers; got dtype {samples.dtype}")
    if samples.shape != (images.batch, images.channels, n):
        raise ValueError(f"_random_samples must have shape {(images.batch, images.channels, n)}; got {samples.shape}")
    results = images.results(made, out, indices)
    starts = None
    if samples.size:
        precise = contiguous(samples, np.float64 if images.dtype == "float64" else np.float32)
        starts = intervals(precise, images.sizes, kernel, made, config.resolve_threads(threads))
        if starts is None:
            raise ValueError("_random_samples must be from 0 to 1; got others")
    problem = RegionPoolProblem(
        "max", images.sizes, made, images.dtype, kernel, images.batch, images.channels, indices, images.channels_last
    )
    return computed(problem, images, images.x, results, starts, threads)


def _output_size(sizes: tuple[int, ...], output_size: Any, output_ratio: Any) -> tuple[int, ...]:
    n = len(sizes)
    if output_size is not None:
        return int_tuple("output_size", output_size, n, minimum=1)
    if output_ratio is None:
        raise ValueError("output_size or output_ratio must be given; got None for both")
    ratios = tuple(output_ratio) if isinstance(output_ratio, Iterable) else (output_ratio,) * n
    try:
        ratios = tuple(float(r) for r in ratios)
    except (TypeError, ValueError):
        raise TypeError(f"output_ratio must be a number or {n} numbers; got {output_ratio!r}") from None
    if len(ratios) != n or not all(0 < r < 1 for r in ratios):
        raise ValueError(f"output_ratio must be between 0 and 1 for each of {n} axes; got {output_ratio!r}")
    return tuple(max(int(size * r), 1) for size, r in zip(sizes, ratios, strict=True))


def _samples(n: int, input: Any, given: Any, generator: Any, data_format: str) -> np.ndarray:
    """Numbers from 0 to 1, three or two for each channel of each image."""
    if given is not None:
        if as_device("_random_samples", given) is not None:
            raise TypeError(
                "_random_samples must be on the host, where the windows follow from them; got a device array"
            )
        return np.asarray(given)
    shape, last = tuple(np.shape(input)), is_channels_last(data_format, n)
    batch, channels = shape[0] if len(shape) == n + 2 else 1, shape[-1 if last else -n - 1] if len(shape) > n else 1
    found: Any = as_device("input", input)
    dtype = (np.asarray(input) if found is None else found).dtype
    precision = np.float64 if dtype == np.float64 else np.float32
    return (_drawn() if generator is None else np.random.default_rng(generator)).random((batch, channels, n), precision)


# The process, and its generator: a new one takes 15 us.
_generators: dict[int, np.random.Generator] = {}


def _drawn() -> np.random.Generator:
    """A generator that no other process has."""
    process = os.getpid()
    if process not in _generators:
        _generators.clear()
        _generators[process] = np.random.default_rng()
    return _generators[process]
