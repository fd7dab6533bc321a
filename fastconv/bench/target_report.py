"""The targets of a run as a table for a terminal and as tables of every cell for the page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fastconv.bench import layer_report
from fastconv.bench.report import provenance, times_text
from fastconv.bench.results import Results
from fastconv.bench.targets import Cell, Outcome, Target, outcomes

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["html", "markdown", "terminal"]

# Marks a rival's time that is one of one call.
ONCE = "†"


def terminal(results: Results) -> Table | None:
    """One line for each target that asks for something, the engines side by side."""
    from rich.table import Table
    from rich.text import Text

    engines, rows = _by_target([outcome for outcome in outcomes(results) if outcome.target.least])
    if not rows:
        return None
    table = Table(title="Targets: the geometric mean over all cells, and the least cell", title_justify="left")
    for i, title in enumerate(("work", "against", "cells", "at least", *engines)):
        table.add_column(title, justify="right" if i > 1 else "left")
    for target, by_engine in rows.items():
        found = [by_engine.get(engine) for engine in engines]
        cells = [
            Text(
                f"{times_text(outcome.mean)} ({times_text(outcome.least)})", "green" if outcome.reached else "bold red"
            )
            if outcome
            else ""
            for outcome in found
        ]
        count = len(next(iter(by_engine.values())).cells)
        table.add_row(target.name, layer_report.against(target), str(count), f"{target.least:g}×", *cells)
    return table


def markdown(results: Results) -> str:
    """A table for a README, a line for each target with the engines side by side; "" if the results have none."""
    found = outcomes(results)
    engines, rows = _by_target(found)
    lines = [
        " | ".join(["| work | against | cells | at least", *engines]) + " |",
        "| --- | --- |" + " ---: |" * (2 + len(engines)),
    ]
    for target, by_engine in rows.items():
        one = next(iter(by_engine.values()))
        cells = [_mean_and_range(by_engine[engine]) if engine in by_engine else "–" for engine in engines]
        rival = layer_report.against(target)
        asked = f"{target.least:g}×" if target.least else "–"
        lines.append(" | ".join([f"| {target.name}", rival, str(len(one.cells)), asked, *cells]) + " |")
    return "\n".join([*lines, "", provenance(results)]) if found else ""


def _by_target(found: list[Outcome]) -> tuple[list[str], dict[Target, dict[str, Outcome]]]:
    """The engines, and what each reaches of each target."""
    rows: dict[Target, dict[str, Outcome]] = {}
    for outcome in found:
        rows.setdefault(outcome.target, {})[outcome.engine] = outcome
    return list(dict.fromkeys(outcome.engine for outcome in found)), rows


def _mean_and_range(outcome: Outcome) -> str:
    most = max(cell.value for cell in outcome.cells)
    mean = times_text(outcome.mean)
    text = f"{mean} ({times_text(outcome.least)}…{times_text(most)})" if len(outcome.cells) > 1 else mean
    return f"**{text}**" if outcome.mean < min(1.0, outcome.target.least) else text


def html(results: Results) -> str:
    """All targets in one table; then each with its cells, image sizes down and kernel sizes across, or layers down."""
    found = outcomes(results)
    if not found:
        return ""
    intro = (
        "<p>Each cell is times as fast as the rival, or the part reached of what the machine allows. Of layers it shows in "
        "small print, too, the part reached of what the multiply-add peak or copying as many bytes allows a direct sum, "
        "whichever binds (Winograd's sums may exceed it), and the relative error, PyTorch's in brackets.</p><p>"
        "Prepared: weights packed once, and constant; plain: the function, which packs them at each call; fast: prepared, "
        "with <code>precision='fast'</code>.</p><p>"
    )
    if any(cell.once for outcome in found for cell in outcome.cells):
        intro += f" {ONCE}: a rival that takes that long was timed by a single call."
    intro += "</p>"
    groups = dict.fromkeys(outcome.target.group for outcome in found if outcome.target.group)
    return "".join(
        [
            '<h2 id="targets">Targets</h2>' + intro + _overview(found),
            *(_section(outcome) for outcome in found if not outcome.target.group),
            *(
                layer_report.section([outcome for outcome in found if outcome.target.group == group])
                for group in groups
            ),
        ]
    )


def _overview(found: list[Outcome]) -> str:
    """A line for each target that asks for something, the engines side by side."""
    engines, rows = _by_target([outcome for outcome in found if outcome.target.least])
    titles = ("cells", "asked", *map(escape, engines))
    header = '<th></th><th class="text">against</th>' + "".join(f"<th>{title}</th>" for title in titles)
    lines = []
    for target, by_engine in rows.items():
        asked = f"{target.least:g}×" + (f", each {target.least_cell:g}×" if target.least_cell else "")
        cells = [
            f'<td><span class="{"win" if outcome.reached else "loss"}">{times_text(outcome.mean)}</span> '
            f"<small>{times_text(outcome.least)}…</small></td>"
            if (outcome := by_engine.get(engine))
            else "<td></td>"
            for engine in engines
        ]
        count = len(next(iter(by_engine.values())).cells)
        name = f'<a href="#{layer_report.anchor(target)}">{escape(target.name)}</a>'
        rival = escape(layer_report.against(target))
        lines.append(
            f'<tr><td>{name}</td><td class="text">{rival}</td><td>{count}</td><td>{asked}</td>{"".join(cells)}</tr>'
        )
    body = "".join(lines)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def _section(outcome: Outcome) -> str:
    rival = escape(layer_report.against(outcome.target))
    title = f"{escape(outcome.target.name)}, {escape(outcome.engine)} against {rival}"
    return f'<h3 id="{layer_report.anchor(outcome.target)}">{title}</h3><p>{layer_report.verdict(outcome)}</p>' + _grid(
        outcome
    )


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


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))
