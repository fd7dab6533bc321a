"""Compiling ahead of time: what `warmup` asks of the Numba engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastconv import config, replay
from fastconv.plan import plan_for, planned

__all__ = ["warmup"]

Call = tuple[Callable, tuple, dict[str, Any]]

# A bar is drawn for so many calls or more.
MANY = 4


def warmup(function: Callable | None = None, /, *args: Any, **kwargs: Any) -> None:
    """Compile what the Numba engine needs, so that later calls find it ready.

    Parameters
    ----------
    function : callable, optional
        A function of fastconv.  Default: the filters, windows and pools that are used most, on bytes and float32,
        and float64 sums; a bar on the terminal tells how far it is.
    *args, **kwargs
        Its arguments.  Arrays are read for shape and dtype only.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        If `function` cannot be called.
    NotImplementedError
        If the Numba engine cannot do the call.

    Notes
    -----
    No call waits for a compiler unless the Numba engine is asked for by name: until its kernels are compiled, those
    of the Cython engine serve, and where they are as fast they go on serving.  A kernel takes one to three seconds, is
    good for every size of image, kernel and window, and is kept on disk (see `fastconv.show_config` for the folder): a
    later process loads it in a fraction of a second.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> image = np.ones((64, 64), "f4")
    >>> fastconv.warmup(fastconv.ndimage.median_filter, image, 3)
    >>> fastconv.plan(fastconv.ndimage.median_filter, image, 3).implementation
    'numba:rank'
    """
    if function is not None and not callable(function):
        raise TypeError(f"function must be one of fastconv's functions, and stand first; got {type(function).__name__}")
    calls = _common() if function is None else [(function, args, kwargs)]
    with config.use(engine="numba"), _bar(len(calls)) as step:
        for call, call_args, call_kwargs in calls:
            step(call.__name__)
            planned(call, call_args, call_kwargs)
    plan_for.cache_clear()  # plans and tapes made before passed the Numba engine over
    replay.forget()


def _common() -> list[Call]:
    """Calls that take the kernels that are used most."""
    from fastconv import ndimage, nn, signal

    calls: list[Call] = []
    for dtype in ("float32", "float64"):
        image, kernel = np.ones((64, 64), dtype), np.eye(3, 4, dtype=dtype)
        calls += [
            (signal.correlate2d, (image, kernel), {}),
            (signal.correlate2d, (image, kernel[:1].T * kernel[:1]), {}),
        ]
    for dtype in ("float32", "uint8"):
        image = np.ones((64, 64), dtype)
        calls += [
            (ndimage.correlate, (image, np.eye(3, 4)), {}),
            (ndimage.gaussian_filter, (image, 1.0), {}),
            (ndimage.uniform_filter, (image, 3), {}),
            (ndimage.maximum_filter, (image, 3), {}),
            (ndimage.minimum_filter, (image, 3), {}),
            (ndimage.median_filter, (image, 3), {}),
        ]
    images = np.ones((1, 16, 32, 32), "float32")
    calls += [
        (nn.conv2d, (images, np.ones((16, 16, 3, 3), "float32")), {}),
        (nn.max_pool2d, (images, 2), {}),
        (nn.avg_pool2d, (images, 2), {}),
    ]
    return calls


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on the terminal, where there is one and something to wait for; the function moves it on."""
    if total < MANY or not sys.stderr.isatty():
        yield lambda what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("compiling {task.description:<20}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=-1)
        yield lambda what: bar.update(task, description=what, advance=1)
