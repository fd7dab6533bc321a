"""What a duel came to: tables for a terminal, a figure, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.bench.duel import Duel, Result
from fastconv.bench.report import time_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["draw_figure", "print_duel", "write_duel"]

WORST = 10
# Percentiles drawn, and of how many problems at least.
FEWEST = {50: 1, 90: 20, 99: 100}
KINDS = {
    "sums": ("convolve", "correlate", "convolve2d", "correlate2d", "convolve1d", "correlate1d", "sepfir2d"),
    "Fourier transforms": ("fftconvolve", "oaconvolve"),
    "Gaussians": ("gaussian_filter", "gaussian_filter1d", "gaussian_laplace", "gaussian_gradient_magnitude"),
    "derivatives": ("sobel", "prewitt", "laplace", "generic_gradient_magnitude", "generic_laplace"),
    "means": ("uniform_filter", "uniform_filter1d"),
    "ranks": ("median_filter", "percentile_filter", "rank_filter"),
    "functions": ("generic_filter", "vectorized_filter"),
    "maxima, minima, morphology": (),  # all others
}
COLOURS = ("#0b61a4", "#56b4e9", "#2a8c4a", "#e07b00", "#8c564b", "#b5179e", "#e6b800", "#5c6670")
LOSS = "#c1121f"


def print_duel(duel: Duel, console: Console) -> None:
    """Percentiles, the worst problems, what each function came to, and what was wrong."""
    for renderable in (_functions_table(duel), _worst_table(duel)):
        console.print(renderable)
    names = {50: "median", 100: "maximum"}
    spread = ", ".join(f"{names.get(p, f'{p}%')} {ratio:.3f}" for p, ratio in duel.percentiles().items())
    lost = sum(result.ratio > 1 for result in duel.results)
    lines = [
        f"time(fastconv)/time(SciPy) of {len(duel.results)} problems, seed {duel.seed}, threads: {duel.threads}: {spread}; "
        f"slower in {lost}; it took {duel.seconds:.0f} s.",
        f"One of them again: fastconv duel --seed {duel.seed} --only NUMBER",
    ]
    for item in duel.refused:
        lines.append(f"SciPy refuses #{item['index']} {item['problem']}: {item['message']}")
    for item in duel.wrong:
        lines.append(f"WRONG #{item['index']} {item['problem']}: {item['message']}")
    for line in lines:
        console.print(line, style="red" if line.startswith("WRONG") else "", markup=False, highlight=False)


def _worst_table(duel: Duel) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"The {min(WORST, len(duel.results))} worst problems", title_justify="left")
    for title in ("number", "ratio", "SciPy", "fastconv"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("problem", overflow="fold")
    for result in duel.worst[:WORST]:
        times = (time_text(result.medians[side]) for side in ("scipy", "fastconv"))
        table.add_row(str(result.index), _ratio(result.ratio), *times, Text(result.problem))
    return table


def _functions_table(duel: Duel) -> RenderableType:
    from rich.table import Table

    table = Table(title="time(fastconv)/time(SciPy) by function", title_justify="left")
    for i, title in enumerate(("function", "problems", "least", "median", "most")):
        table.add_column(title, justify="right" if i else "left")
    by_function: dict[str, list[float]] = {}
    for result in sorted(duel.results, key=lambda result: result.function):
        by_function.setdefault(result.function, []).append(result.ratio)
    for name, ratios in by_function.items():
        table.add_row(name, str(len(ratios)), *map(_ratio, (min(ratios), median(ratios), max(ratios))))
    return table


def _ratio(value: float) -> Any:
    from rich.text import Text

    return Text(f"{value:.3f}", style="bold red" if value > 1 else "")


def write_duel(duel: Duel, folder: Path, name: str = "duel") -> dict[str, Path]:
    """Write the JSON document and the figure, called so; files by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"json": folder / f"{name}.json"}
    files["json"].write_text(json.dumps(duel.document(), indent=1) + "\n")
    if duel.results:
        files["figure"] = draw_figure(duel, folder / f"{name}.png")
    return files


def draw_figure(duel: Duel, path: Path) -> Path:
    """Draw SciPy's time against the ratio, a dot for each problem, coloured by kind of function."""
    import matplotlib
    from matplotlib.figure import Figure

    from fastconv.bench.figures import STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 6.0), layout="constrained")
        ax, side = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
        for (kind, results), colour in zip(_by_kind(duel).items(), COLOURS, strict=True):
            if results:
                points = [(result.medians["scipy"], result.ratio) for result in results]
                label = f"{kind} ({len(results)})"
                ax.plot(
                    *zip(*points, strict=True), "o", ms=5.5, color=colour, alpha=0.8, mec="white", mew=0.5, label=label
                )
        ratios = sorted(result.ratio for result in duel.results)
        side.plot(np.arange(1, len(ratios) + 1) / len(ratios), ratios, drawstyle="steps-pre", color="#222222", lw=1.6)
        low, high = min(ratios[0] / 1.5, 0.08), max(ratios[-1] * 1.2, 1.6)
        for axes in (ax, side):
            axes.axhspan(1.0, high, color=LOSS, alpha=0.07, lw=0)
            axes.axhline(1.0, color=LOSS, lw=1)
        for p, ratio in duel.percentiles().items():
            if len(ratios) >= FEWEST.get(p, np.inf):
                side.plot(p / 100, ratio, "o", ms=5, color="#222222")
                side.annotate(f"{p}%: {ratio:.2f} ", (p / 100, ratio), ha="right", va="bottom", fontsize=8.5)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(low, high)
        times = [result.medians["scipy"] for result in duel.results]
        ax.set_xlim(min(times) / 3, max(times) * 3)  # a decade at least: each has one tick with a number
        ax.xaxis.set_minor_formatter("")
        ax.yaxis.set_minor_formatter("")
        ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        ax.xaxis.set_major_formatter(lambda x, _: time_text(x).replace(".0", ""))
        ax.set_xlabel("SciPy's time")
        ax.set_ylabel("time of fastconv / time of SciPy")
        problems = f"{len(ratios)} random problem{'s' * (len(ratios) > 1)}"
        ax.set_title(f"{problems}, seed {duel.seed}, threads: {duel.threads}")
        ax.text(0.005, 0.99, "SciPy is faster", color=LOSS, fontsize=9, va="top", transform=ax.transAxes)
        side.set_xlabel("share of the problems")
        side.set_xlim(0, 1.02)
        side.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        figure.legend(loc="outside lower center", ncols=4, handletextpad=0.2)
        figure.savefig(path, dpi=150)
    return path


def _by_kind(duel: Duel) -> dict[str, list[Result]]:
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    groups: dict[str, list[Result]] = {kind: [] for kind in KINDS}
    for result in duel.results:
        groups[kind_of.get(result.function.split(".")[1], list(KINDS)[-1])].append(result)
    return groups
