"""The targets of a run as a table for a terminal and as tables of every cell for the page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fastconv.bench import layer_report
from fastconv.bench.report import NAMES, provenance, times_text
from fastconv.bench.results import Results
from fastconv.bench.targets import LIMITS, Cell, Outcome, Target, outcomes

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["html", "markdown", "terminal"]

AGAINST = {"best": "the best rival", "torch either way": "PyTorch, faster layout"}
# Marks a rival's time that is one of one call.
ONCE = "†"


def terminal(results: Results) -> Table | None:
    """One line for each target and engine."""
    from rich.table import Table
    from rich.text import Text

    found = outcomes(results)
    if not found:
        return None
    table = Table(title="Targets: the geometric mean over all cells, and the least cell", title_justify="left")
    for i, title in enumerate(("work", "against", "engine", "cells", "at least", "measured", "least cell")):
        table.add_column(title, justify="right" if i > 2 else "left")
    for outcome in found:
        style = "green" if outcome.reached else "bold red"
        table.add_row(
            outcome.target.name,
            _against(outcome),
            outcome.engine,
            str(len(outcome.cells)),
            times_text(outcome.target.least) if outcome.target.least else "–",
            Text(times_text(outcome.mean), style=style),
            times_text(outcome.least),
        )
    return table


def markdown(results: Results) -> str:
    """A table for a README, a line for each target with the engines side by side; "" if the results have none."""
    found = outcomes(results)
    engines = list(dict.fromkeys(outcome.engine for outcome in found))
    rows: dict[Target, dict[str, Outcome]] = {}
    for outcome in found:
        rows.setdefault(outcome.target, {})[outcome.engine] = outcome
    lines = [
        " | ".join(["| work | against | cells", *engines]) + " |",
        "| --- | --- |" + " ---: |" * (1 + len(engines)),
    ]
    for target, by_engine in rows.items():
        one = next(iter(by_engine.values()))
        cells = [_mean_and_range(by_engine[engine]) if engine in by_engine else "–" for engine in engines]
        lines.append(" | ".join([f"| {target.name}", _against(one), str(len(one.cells)), *cells]) + " |")
    return "\n".join([*lines, "", provenance(results)]) if found else ""


def _mean_and_range(outcome: Outcome) -> str:
    most = max(cell.value for cell in outcome.cells)
    mean = times_text(outcome.mean)
    text = f"{mean} ({times_text(outcome.least)}…{times_text(most)})" if len(outcome.cells) > 1 else mean
    return f"**{text}**" if outcome.mean < min(1.0, outcome.target.least) else text


def html(results: Results) -> str:
    """Every target with a table of its cells, image sizes down and kernel sizes across."""
    found = outcomes(results)
    if not found:
        return ""
    intro = "<p>Each cell is times as fast as the rival, or the part reached of what the machine allows."
    if any(cell.once for outcome in found for cell in outcome.cells):
        intro += f" {ONCE}: a rival that takes that long was timed by a single call."
    intro += "</p>"
    groups = dict.fromkeys(outcome.target.group for outcome in found if outcome.target.group)
    return "".join(
        [
            '<h2 id="targets">Targets</h2>' + intro,
            *(_section(outcome) for outcome in found if not outcome.target.group),
            *(
                layer_report.section([outcome for outcome in found if outcome.target.group == group])
                for group in groups
            ),
        ]
    )


def _section(outcome: Outcome) -> str:
    title = f"{escape(outcome.target.name)}, {escape(outcome.engine)} against {escape(_against(outcome))}"
    return f"<h3>{title}</h3><p>{layer_report.verdict(outcome)}</p>" + _grid(outcome)


def _grid(outcome: Outcome) -> str:
    kernels = sorted({cell.kernel for cell in outcome.cells}, key=lambda kernel: (kernel[-1], kernel))
    shapes = sorted({cell.shape for cell in outcome.cells})
    cells: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Cell]] = {}
    for cell in outcome.cells:
        cells.setdefault((cell.shape, cell.kernel), []).append(cell)
    header = "".join(f"<th>{_times(kernel)}</th>" for kernel in kernels)
    rows = "".join(
        f"<tr><td>{_times(shape)}</td>"
        + "".join(_cell(outcome, cells.get((shape, kernel))) for kernel in kernels)
        + "</tr>"
        for shape in shapes
    )
    return f'<div class="scroll"><table><thead><tr><th></th>{header}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(outcome: Outcome, cells: list[Cell] | None) -> str:
    """Several functions may share a cell: the least to the most."""
    if cells is None:
        return "<td></td>"
    low, high = (limit(cell.value for cell in cells) for limit in (min, max))
    floor = outcome.target.least_cell or min(1.0, outcome.target.least)
    text = times_text(low) if low == high else f"{times_text(low)}…{times_text(high)}"
    mark = ONCE if any(cell.once for cell in cells) else ""
    return f'<td><span class="{"win" if low >= floor else "loss"}">{text}{mark}</span></td>'


def _against(outcome: Outcome) -> str:
    against = outcome.target.against
    return LIMITS.get(against) or AGAINST.get(against) or NAMES.get(against, against)


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))
