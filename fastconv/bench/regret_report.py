"""What the choices of algorithms came to: tables for a terminal, a figure, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastconv.bench.regret import ALGORITHMS, CHOICE, Regret
from fastconv.bench.report import time_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["draw_figure", "print_regret", "write_regret"]

WORST = 12
# At the 95th percentile the choice takes at most so many times longer than the best.
WANTED = 1.25
COLOURS = {"direct": "#0b61a4", "passes": "#2a8c4a", "overlap": "#e07b00", "transforms": "#b5179e"}
LOSS = "#c1121f"


def print_regret(regret: Regret, console: Console) -> None:
    """The worst choices, who was the best how often, and percentiles."""
    console.print(_worst_table(regret))
    names = {50: "median", 100: "maximum"}
    spread = ", ".join(f"{names.get(p, f'{p}%')} {ratio:.3f}" for p, ratio in regret.percentiles().items())
    best = [result.best for result in regret.results]
    console.print(
        f"time(choice)/time(best) of {len(regret.results)} problems, seed {regret.seed}, threads: {regret.threads}: {spread}; "
        f"it took {regret.seconds:.0f} s.\nThe best: "
        + ", ".join(f"{name} {best.count(name)}" for name in ALGORITHMS)
        + f".\nOne of them again: fastconv regret --seed {regret.seed} --only NUMBER",
        markup=False,
        highlight=False,
    )


def _worst_table(regret: Regret) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"The {min(WORST, len(regret.results))} worst choices", title_justify="left")
    for title in ("number", "ratio", CHOICE, *ALGORITHMS):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("problem", overflow="fold")
    for result in regret.worst[:WORST]:
        times = [time_text(result.seconds[name]) if name in result.seconds else "–" for name in (CHOICE, *ALGORITHMS)]
        ratio = Text(f"{result.ratio:.3f}", style="bold red" if result.ratio > WANTED else "")
        table.add_row(str(result.index), ratio, *times, Text(f"{result.problem}: {result.chosen}"))
    return table


def write_regret(regret: Regret, folder: Path) -> dict[str, Path]:
    """Write the JSON document and the figure; files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"json": folder / "regret.json"}
    files["json"].write_text(json.dumps(regret.document(), indent=1) + "\n")
    if regret.results:
        files["figure"] = draw_figure(regret, folder / "regret.png")
    return files


def draw_figure(regret: Regret, path: Path) -> Path:
    """Draw the best algorithm's time against the ratio, a dot for each problem, coloured by the best algorithm."""
    import matplotlib
    from matplotlib.figure import Figure

    from fastconv.bench.figures import STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 5.6), layout="constrained")
        ax, side = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
        for name, colour in COLOURS.items():
            points = [(result.seconds[name], result.ratio) for result in regret.results if result.best == name]
            if points:
                label = f"{name} ({len(points)})"
                ax.plot(
                    *zip(*points, strict=True), "o", ms=5.5, color=colour, alpha=0.8, mec="white", mew=0.5, label=label
                )
        ratios = sorted(result.ratio for result in regret.results)
        side.plot(np.arange(1, len(ratios) + 1) / len(ratios), ratios, drawstyle="steps-pre", color="#222222", lw=1.6)
        for axes in (ax, side):
            axes.axhspan(WANTED, max(ratios[-1] * 1.1, 1.6), color=LOSS, alpha=0.07, lw=0)
            axes.axhline(WANTED, color=LOSS, lw=1)
        for p, ratio in regret.percentiles().items():
            if p in (50, 95, 99):
                side.plot(p / 100, ratio, "o", ms=5, color="#222222")
                side.annotate(f"{p}%: {ratio:.2f} ", (p / 100, ratio), ha="right", va="bottom", fontsize=8.5)
        ax.set_xscale("log")
        ax.set_ylim(0.95, max(ratios[-1] * 1.1, 1.6))
        ax.xaxis.set_major_formatter(lambda x, _: time_text(x).replace(".0", ""))
        ax.text(
            0.01, WANTED, f" asked of 95%: at most {WANTED}", transform=ax.get_yaxis_transform(), va="bottom", color=LOSS,
            fontsize=8.5,
        )  # fmt: skip
        ax.set_xlabel("time of the best algorithm")
        ax.set_ylabel("time of what was chosen / time of the best")
        ax.set_title(
            f"How well algorithms are chosen: {len(ratios)} random correlations, seed {regret.seed}, "
            f"threads: {regret.threads}"
        )
        side.set_xlabel("share of the problems")
        side.set_xlim(0, 1.02)
        side.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        figure.legend(
            loc="outside lower center", ncols=4, handletextpad=0.2, title="the best algorithm (of how many problems)"
        )
        figure.savefig(path, dpi=150)
    return path
