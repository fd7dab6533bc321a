"""Measures what work costs on this machine, for the choice of algorithms: `tune`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from math import log2, prod
from typing import Any

import numpy as np

from fastconv import costs, rates
from fastconv.config import get_num_threads, use
from fastconv.rates import Rates

__all__ = ["tune"]

# Of a measurement: shortest block of calls, and blocks of which the fastest counts.
BLOCK_SECONDS, BLOCKS = 2e-3, 5
# Two rates fitted together are believed within this factor of the usual ones.
BELIEVABLE = 4.0
# Kernels of one to three axes on images of about as many outputs, in whole tiles; those of separable passes and of transforms.
Shape = tuple[int, ...]
DIRECT: dict[int, list[tuple[Shape, Shape]]] = {
    1: [((60_000,), (9,)), ((60_000,), (61,)), ((250_000,), (25,))],
    2: [((256, 256), (5, 5)), ((256, 256), (11, 11)), ((256, 256), (23, 23)), ((640, 640), (9, 9))],
    3: [((32, 64, 32), (3, 3, 3)), ((32, 64, 32), (7, 5, 5)), ((64, 64, 64), (5, 5, 7))],
}
LINES: list[tuple[Shape, Shape]] = [((512, 512), (25, 25)), ((512, 512), (41, 41)), ((1024, 1024), (25, 25))]
SOLID = ((48, 48, 48), (11, 11, 11))
TRANSFORMS: list[tuple[Shape, Shape]] = [
    ((300, 300), (31, 31)),
    ((512, 512), (63, 63)),
    ((1024, 1024), (31, 31)),
    ((60_000,), (501,)),
    ((40, 40, 40), (9, 9, 9)),
]
LARGE = (4096, 4096)

Progress = Callable[[str, int, int], None]


def tune(*, reset: bool = False, save: bool = True, progress: Progress | None = None) -> dict[str, Any]:
    """Measure what work costs on this machine, and choose algorithms by it from now on.

    Parameters
    ----------
    reset : bool, optional
        Measure nothing: remove what was saved before, and go back to the rates that fastconv came with.
    save : bool, optional
        Keep the rates for later processes, in a file below ``FASTCONV_CACHE_DIR`` or the user's cache folder; its name has
        fastconv's version and the processor's.  Where nothing can be written they hold in this process alone.
    progress : callable, optional
        Called with a line of text, the number of measurements done and of all.

    Returns
    -------
    dict
        ``"rates"``: the rates in force, by name (`fastconv.rates.Rates` tells what they are); ``"saved"``: the file
        as a string, or None; ``"seconds"``: how long it took.

    Raises
    ------
    NotImplementedError
        If the engine in force has no kernels.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.tune(reset=True)["rates"]["min_seconds"]
    1e-05
    """
    start = time.perf_counter()
    saved = None
    if reset:
        rates.forget()
        _forget_choices()
    else:
        found = _measured(progress or (lambda what, done, total: None))
        saved = rates.save(found) if save else None
        rates.use(found)
        _forget_choices()
    return {
        "rates": dict(vars(rates.current())),
        "saved": None if saved is None else str(saved),
        "seconds": time.perf_counter() - start,
    }


def _forget_choices() -> None:
    """Drop what was chosen by other rates."""
    from fastconv import choice, replay
    from fastconv.algorithms import fourier, overlap
    from fastconv.plan import plan_for
    from fastconv.signal.fourier import forget_ways

    for function in (choice.ways_of, fourier.best_blocks, overlap.best_blocks, plan_for):
        function.cache_clear()
    forget_ways()
    replay.forget()


# -- measuring ------------------------------------------------------------------------------------


@dataclass
class Sample:
    """A measured problem."""

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: str
    seconds: float

    @property
    def flops(self) -> int:
        return 2 * prod(self.shape) * prod(self.kernel)

    @property
    def outputs(self) -> int:
        return prod(self.shape)


def _measured(progress: Progress) -> Rates:
    """The rates of this machine."""
    found = Rates()
    steps = list(_steps())
    for done, (what, fit) in enumerate(steps):
        progress(what, done, len(steps))
        with use(threads=1):
            found = fit(found)
    progress("threads", len(steps), len(steps))
    return replace(found, min_seconds=_least_worth_two_threads(found)) if get_num_threads() > 1 else found


def _steps() -> Iterator[tuple[str, Callable[[Rates], Rates]]]:
    yield "bandwidth", _fit_bandwidth
    yield "direct sums", _fit_sums
    yield "sums in other types", _fit_other_sums
    yield "separable passes", _fit_lines
    yield "Fourier transforms", _fit_transforms
    yield "scipy.fft", _fit_fourier


def _fit_bandwidth(found: Rates) -> Rates:
    x, out = np.ones(LARGE, np.float32), np.empty(LARGE, np.float32)
    return replace(found, bandwidth=2 * x.nbytes / _seconds(lambda: np.copyto(out, x)))


def _fit_sums(found: Rates) -> Rates:
    sums: list[float] = []
    outputs: list[float] = []
    for problems in DIRECT.values():
        samples = [_sample("direct", shape, kernel) for shape, kernel in problems]
        each, base = _two_rates(
            [(s.flops, s.outputs, s.seconds) for s in samples], (Rates.sums[len(sums)], Rates.outputs[len(sums)])
        )
        sums.append(each)
        outputs.append(base)
    return replace(found, sums=tuple(sums), outputs=tuple(outputs), flops=0.6 / sums[1])


def _fit_other_sums(found: Rates) -> Rates:
    shape, kernel = DIRECT[2][1]
    base = _sample("direct", shape, kernel).seconds
    ratios = {
        dtype: _sample("direct", shape, kernel, dtype).seconds / base for dtype in ("float64", "uint32", "uint64")
    }
    return replace(
        found, sums_float64=ratios["float64"], sums_uint32=ratios["uint32"], sums_uint64=ratios["uint64"],
        sums_exact=_sample("direct", shape, kernel, "uint8").seconds / base,
    )  # fmt: skip


def _fit_lines(found: Rates) -> Rates:
    samples = [_sample("passes", shape, kernel) for shape, kernel in LINES]
    rows = [
        (s.outputs * sum(s.kernel), s.outputs * len(s.kernel), s.seconds - costs.PASSES_CALL_SECONDS) for s in samples
    ]
    tap, output = _two_rates(rows, (Rates.line_tap, Rates.line_output))
    fitted = replace(found, line_tap=tap, line_output=output)
    shape, kernel = SOLID

    def ratio(shape: tuple[int, ...], kernel: tuple[int, ...], rank: int) -> float:
        each = sum(tap * k + output for k in kernel) * prod(shape) * rank
        seconds = _sample("passes", shape, kernel, rank=rank).seconds - rank * costs.PASSES_CALL_SECONDS
        return max(seconds / each, 1.0)

    return replace(fitted, sums_of_passes=ratio(*LINES[0], 2), solid_passes=ratio(shape, kernel, 1))


def _fit_transforms(found: Rates) -> Rates:
    """Points and halvings are fitted to what the estimates leave of the measured times."""
    rows = []
    for shape, kernel in TRANSFORMS:
        with _rates(replace(found, point=1e-9, halving=1e-15)):
            sample, points, estimate = _transformed(shape, kernel, found)
        rest = max(sample.seconds - costs.OVERLAP_CALL_SECONDS - _moved(sample, found), sample.seconds / 4)
        rows.append((estimate / 1e-9, estimate / 1e-9 * log2(points), rest))
    point, halving = _two_rates(rows, (Rates.point, Rates.halving))
    fitted = replace(found, point=point, halving=halving)
    shape, kernel = TRANSFORMS[1]
    with _rates(fitted):
        ratio = _sample("overlap", shape, kernel, "float64").seconds / _sample("overlap", shape, kernel).seconds
    return replace(fitted, double=ratio)


def _transformed(shape: tuple[int, ...], kernel: tuple[int, ...], found: Rates) -> tuple[Sample, int, float]:
    """A problem by transforms: its time, the points of a transform, and the seconds estimated for the transforms alone."""
    from fastconv.algorithms.overlap_blocks import best_blocks, call_seconds

    sample = _sample("overlap", shape, kernel)
    problem = replace(_planned("overlap", sample), transforms="overlap")
    blocks = best_blocks(problem, 1)
    assert blocks is not None
    return sample, blocks.points, blocks.seconds - call_seconds(problem, 1) - problem.nbytes / found.bandwidth


def _moved(sample: Sample, found: Rates) -> float:
    return (2 * sample.outputs + prod(sample.kernel)) * 4 / found.bandwidth


def _fit_fourier(found: Rates) -> Rates:
    from fastconv.algorithms.transforms import blocks_for

    ratios = []
    with _rates(replace(found, fourier=1.0)):
        for shape, kernel in TRANSFORMS[:3]:
            sample = _sample("transforms", shape, kernel)
            blocks = blocks_for(_planned("transforms", sample), False, 1)
            assert blocks is not None
            ratios.append((sample.seconds - costs.FOURIER_CALL_SECONDS) / (blocks.seconds - costs.FOURIER_CALL_SECONDS))
    return replace(found, fourier=float(np.exp(np.mean(np.log(ratios)))))


def _least_worth_two_threads(found: Rates) -> float:
    """The least work, in seconds of one thread as estimated, that two threads do in nine tenths of the time."""
    from fastconv.plan import plan_for

    least = Rates.min_seconds
    with _rates(replace(found, min_seconds=1e-12)):
        for side in (256, 192, 160, 128, 96, 80, 64, 48, 32):
            problem = _planned("direct", Sample((side, side), (3, 3), "float32", 0.0))
            plan_for.cache_clear()
            x, w, out = _arrays(problem)
            plan = plan_for(problem)
            one, two = (_seconds(partial(plan.execute, x, w, out, threads=n)) for n in (1, 2))
            if two > 0.9 * one:
                break
            least = costs.seconds_one_thread(problem.flops, problem.nbytes)
    return least


# -- problems ---------------------------------------------------------------------------------------


class _rates:
    """A context with other rates in force."""

    def __init__(self, other: Rates):
        self.other = other

    def __enter__(self) -> None:
        self.before = rates.current()
        rates.use(self.other)
        _forget_choices()

    def __exit__(self, *exc: object) -> None:
        rates.use(self.before)
        _forget_choices()


def _sample(
    algorithm: str, shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str = "float32", rank: int = 1
) -> Sample:
    """Time a correlation by an algorithm on one thread; the rank is that of kernels for passes."""
    sample = Sample(shape, kernel, dtype, 0.0)
    call = _call(sample, rank if algorithm == "passes" else 0)
    from fastconv.choice import forced

    with use(threads=1), forced(algorithm):
        sample.seconds = _seconds(call)
    return sample


def _call(sample: Sample, rank: int) -> Callable[[], Any]:
    from fastconv import ndimage, signal

    rng = np.random.default_rng(0)
    x = (rng.random(sample.shape) * 200).astype(sample.dtype)
    w: Any = rng.uniform(0.5, 1.0, sample.kernel)
    if rank:
        w = sum(reduce(np.multiply.outer, (rng.uniform(0.5, 1.0, k) for k in sample.kernel)) for _ in range(rank))
    if sample.dtype == "uint8":
        return lambda: ndimage.correlate(x, w / w.sum(), mode="nearest")
    w = (w * 8).astype(sample.dtype)
    return lambda: signal.correlate(x, w, "same")


def _planned(algorithm: str, sample: Sample) -> Any:
    """The problem of a sample, by an algorithm."""
    from fastconv import signal
    from fastconv.choice import forced
    from fastconv.plan import plan

    x, w = np.full(sample.shape, 0.5, np.float32), np.full(sample.kernel, 0.3, np.float32)
    with forced(algorithm):
        return plan(signal.correlate, x, w, "same").problem


def _arrays(problem: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shapes = (problem.in_shape, problem.kernel_shape, problem.out_shape)
    x, w, out = (np.ones((1, 1, *shape), np.float32) for shape in shapes)
    return x, w, out


def _seconds(call: Callable[[], Any]) -> float:
    """The least time of a call."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    times, best = max(1, int(BLOCK_SECONDS / once)), once
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, (time.perf_counter() - start) / times)
    return best


def _two_rates(rows: Sequence[tuple[float, float, float]], usual: tuple[float, float]) -> tuple[float, float]:
    """The numbers a and b with the least relative errors of ``a * row[0] + b * row[1] = row[2]``.

    A few noisy times may not tell the two apart: unless both are within a factor of `BELIEVABLE` of the usual ones,
    machines apart, the usual ones are kept and scaled.
    """
    table = np.array(rows)
    a, b = table[:, 0] / table[:, 2], table[:, 1] / table[:, 2]
    x, y = np.linalg.lstsq(np.stack([a, b], 1), np.ones(len(rows)), rcond=None)[0]
    at_usual = usual[0] * a + usual[1] * b
    scale = at_usual.sum() / np.square(at_usual).sum()
    x0, y0 = scale * usual[0], scale * usual[1]
    if not (x0 / BELIEVABLE < x < x0 * BELIEVABLE and y0 / BELIEVABLE < y < y0 * BELIEVABLE):
        x, y = x0, y0
    return float(x), float(y)
