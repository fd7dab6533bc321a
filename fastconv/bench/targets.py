"""What image filters and layers of networks on a CPU are to reach, and whether a run shows it.

Each target is a set of cases and what their times are held against: a rival, the best of
the rivals, the other engine, or what the machine allows.  All cells are kept, for the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fastconv.bench.case import Case
from fastconv.bench.layers import ELEMENTWISE
from fastconv.bench.results import Results, Row, geometric_mean

__all__ = ["TARGETS", "Cell", "Outcome", "Target", "cases_of", "is_copied", "outcomes"]


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes
    ----------
    name : str
        The work, for people.
    cases : tuple of str
        Shell patterns of the names of its cases.
    against : str
        A rival, ``"float32"`` being fastconv with floating-point numbers; ``"best"``, the fastest of them;
        ``"torch either way"``, PyTorch in the faster of both layouts; ``"peak"``, the machine's multiply-adds; ``"copy"``,
        copying as many bytes, timed in turn with the case; ``"numba"``, that engine.
    least : float
        What the geometric mean over the cases is to be at least; 0 if nothing is asked.
    least_cell : float
        What every case is to be at least.
    group : str
        The operation, if the cases are layers of networks: they share a table.
    """

    name: str
    cases: tuple[str, ...]
    against: str
    least: float
    least_cell: float = 0.0
    group: str = ""

    def has(self, case: str) -> bool:
        return any(fnmatchcase(case, pattern) for pattern in self.cases)


def _reflect(function: str, dtype: str) -> tuple[str, ...]:
    return (f"ndimage.{function}:reflect:{dtype}:*",)


_FILTER = "signal.correlate2d:valid:float32:"
_CACHED = tuple(f"{_FILTER}{n}x{n}:k{k}x{k}" for n in (512, 1024) for k in (5, 7, 9, 11, 15))

FILTERS = (
    Target("float32 2-D filter", _reflect("convolve", "float32"), "opencv", 4.0, 1.5),
    Target("float32 2-D filter", _reflect("convolve", "float32"), "scipy", 100.0),
    Target("float32 2-D filter, valid", (_FILTER + "*",), "opencv", 4.0, 1.5),
    Target("float32 2-D filter, valid", (_FILTER + "*",), "scipy", 200.0),
    Target("float32 2-D filter, 5×5 to 15×15 in cache", _CACHED, "peak", 0.75),
    Target("float32 3×3 on 4096×4096", (_FILTER + "4096x4096:k3x3",), "copy", 0.85),
    Target("uint8 2-D filter", _reflect("convolve", "uint8"), "opencv", 3.5),
    Target("Gaussian, float32", _reflect("gaussian_filter", "float32"), "opencv", 2.2),
    Target("Gaussian, uint8", _reflect("gaussian_filter", "uint8"), "opencv", 2.2),
    Target("box mean, float32", _reflect("uniform_filter", "float32"), "opencv", 3.0),
    Target("box mean, uint8", _reflect("uniform_filter", "uint8"), "opencv", 3.0),
    Target("maximum, float32", _reflect("maximum_filter", "float32"), "opencv", 2.0),
    Target("maximum, float32", _reflect("maximum_filter", "float32"), "scipy", 80.0),
    Target("maximum, uint8", _reflect("maximum_filter", "uint8"), "opencv", 2.0),
    Target("maximum, uint8", _reflect("maximum_filter", "uint8"), "scipy", 80.0),
    Target("large kernels", ("signal.correlate2d:same-large:*",), "best", 1.7),
    Target("small images", ("*:small:*",), "opencv", 1.0),
    Target("the cython engine", ("*:reflect:*", _FILTER + "*", "*:same-large:*", "*:small:*"), "numba", 0.8),
)


def _dense(function: str) -> tuple[str, ...]:
    return f"nn.{function}:resnet50-stride-*", f"nn.{function}:mobilenetv2-stride-*"


def _depthwise(function: str) -> tuple[str, ...]:
    return (f"nn.{function}:mobilenetv2-depthwise-*",)


def _prepared(kind: str) -> tuple[str, ...]:
    cases = _dense("quantized_conv2d") if kind == "dense" else _depthwise("quantized_conv2d")
    return tuple(case.replace("-", "-prepared-", 1) for case in cases)


# Times as fast as the same in float32 that convolutions of 8 bits are to be.
FASTER_THAN_FLOATS = {"prepared quantised convolution, dense": 2.5, "prepared quantised convolution, depthwise": 2.0}
# Operations of layers: name, cases without their layout, what their geometric mean is to be.
OPERATIONS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("dense convolution", _dense("conv2d"), 1.0),
    ("depthwise convolution", _depthwise("conv2d"), 1.0),
    ("input gradient, dense", _dense("grad.conv2d_input"), 1.0),
    ("input gradient, depthwise", _depthwise("grad.conv2d_input"), 1.0),
    ("weight gradient, dense", _dense("grad.conv2d_weight"), 1.0),
    ("weight gradient, depthwise", _depthwise("grad.conv2d_weight"), 1.0),
    ("bias gradient", ("nn.grad.conv2d_bias:*",), 1.0),
    ("quantised convolution, dense", _dense("quantized_conv2d"), 1.0),
    ("quantised convolution, depthwise", _depthwise("quantized_conv2d"), 1.0),
    ("prepared quantised convolution, dense", _prepared("dense"), 1.0),
    ("prepared quantised convolution, depthwise", _prepared("depthwise"), 1.0),
    ("pooling", ("nn.*pool2d:*",), 8.0),
    ("gradient of pooling", ("nn.grad.*pool2d_backward:*",), 1.0),
)


def _layers() -> Iterator[Target]:
    """Nothing less than half as fast as PyTorch in the same layout, and the geometric mean."""
    for group, cases, least in OPERATIONS:
        for layout in ("NCHW", "NHWC"):
            patterns = tuple(f"{case}-{layout}:*" for case in cases)
            name, asked = f"{group}, {layout}", least if layout == "NCHW" else 1.0
            yield Target(name, patterns, "torch", asked, 0.5, group)
            yield Target(name, patterns, "torch either way", 0.0, 0.0, group)
            if "quantised" in group:
                yield Target(name, patterns, "float32", FASTER_THAN_FLOATS.get(group, 0.0), 0.0, group)
    for group, form in (("activation", "nn.{}:*"), ("gradient of activation", "nn.grad.{}_backward:*")):
        yield Target(group, tuple(map(form.format, ELEMENTWISE)), "torch", 1.0, 0.5, group)


TARGETS = (*FILTERS, *_layers())


def cases_of(cases: Iterable[Case], *, filters: bool, layers: bool) -> list[Case]:
    """The cases of the targets for image filters and for layers."""
    wanted = [target for target in TARGETS if (layers if target.group else filters)]
    return [case for case in cases if any(target.has(case.name) for target in wanted)]


def is_copied(case: Case) -> bool:
    """Whether a target holds the case against copying as many bytes."""
    return any(target.against == "copy" and target.has(case.name) for target in TARGETS)


LIMITS = {"peak": "of the multiply-add peak", "copy": "of the copy bandwidth"}


@dataclass(frozen=True)
class Cell:
    """One case of a target, on one engine; `once`, the rival was timed by a single call; `row`, the layer.

    `errors`: the engine's and the rival's, root mean square, in parts of the values', if they are known.
    """

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    value: float
    once: bool = False
    row: str = ""
    batch: int = 0
    errors: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """What an engine reaches of a target."""

    target: Target
    engine: str
    cells: tuple[Cell, ...]

    @property
    def mean(self) -> float:
        return geometric_mean(cell.value for cell in self.cells) or 0.0

    @property
    def least(self) -> float:
        return min(cell.value for cell in self.cells)

    @property
    def reached(self) -> bool:
        return self.mean >= self.target.least and self.least >= self.target.least_cell


def outcomes(results: Results) -> list[Outcome]:
    """The targets that the results have cases of, for each engine."""
    found = []
    for target in TARGETS:
        for engine in results.engines:
            cells = tuple(_cells(results, target, engine))
            if cells:
                found.append(Outcome(target, engine, cells))
    return found


def _cells(results: Results, target: Target, engine: str) -> list[Cell]:
    cells = []
    for case, rows in results.cases.items():
        if engine in rows and engine != target.against and target.has(case):
            value = _value(results, rows, rows[engine], target.against)
            if value is not None:
                info, rival = rows[engine].info, rows.get(target.against)
                once = rival is not None and rival.kind == "rival" and rival.rounds == 1
                labels = info.get("row", ""), info.get("batch", 0)
                mine, other = (row.info.get("relative_error") if row else None for row in (rows[engine], rival))
                errors = None if mine is None or other is None else (mine, other)
                cells.append(Cell(tuple(info["shape"]), tuple(info["kernel"]), value, once, *labels, errors))
    return cells


def _value(results: Results, rows: dict[str, Row], ours: Row, against: str) -> float | None:
    """Times as fast, or the part of what the machine allows."""
    ceilings = results.more.get("ceilings", {})
    if against == "peak":
        return ours.gflops * 1e9 / ceilings["fma_float32"] if ours.gflops and ceilings else None
    if against == "best":
        times = [row.median for row in rows.values() if row.kind == "rival"]
        return min(times) / ours.median if times else None
    if against == "torch either way":
        other = results.layers.get((ours.info.get("layer", ""), "torch"))
        return other / ours.median if other and "torch" in rows else None
    return rows[against].median / ours.median if against in rows else None
