"""What a group of targets reaches for the layers of networks, as one table of the page."""

from __future__ import annotations

from html import escape

from fastconv.bench.report import NAMES, times_text
from fastconv.bench.targets import LIMITS, Cell, Outcome, Target

__all__ = ["against", "anchor", "section", "verdict"]

AGAINST = {
    "torch either way": "PyTorch in the faster layout",
    "float32": "its own float32",
    "best": "the best rival",
    **LIMITS,
}


def against(target: Target) -> str:
    return AGAINST.get(target.against) or NAMES.get(target.against, target.against)


def verdict(outcome: Outcome) -> str:
    """The geometric mean, what is asked, the least cell, and errors beside PyTorch's."""
    target = outcome.target
    wanted = [f"at least {target.least:g}×"] * bool(target.least)
    wanted += [f"no cell under {target.least_cell:g}×"] * bool(target.least_cell)
    kind = "win" if outcome.reached else "loss"
    asked = f" ({', '.join(wanted)})" if wanted else ""
    errors = ""
    if outcome.error:
        accurate = "win" if outcome.error <= target.most_error else "loss"
        errors = f' Errors are <b class="{accurate}">{times_text(outcome.error)}</b> PyTorch\'s.'
    mean = f'{outcome.kind_of_mean} <b class="{kind}">{times_text(outcome.mean)}</b>{asked}'
    return f"{mean}, least {times_text(outcome.least)}.{errors}"


def anchor(target: Target) -> str:
    """The name of its place on the page."""
    words = "".join(c if c.isalnum() else " " for c in f"{target.group or target.name} {target.against}".lower())
    return "-".join(words.split())


def section(outcomes: list[Outcome]) -> str:
    """Layers down; engines, layouts and batches across.

    Cells are those against the group's first rival; if that is PyTorch in the same layout, the faster one's are beside.
    """
    first = outcomes[0].target
    main, beside = (
        {
            (cell.row, outcome.target.column, outcome.engine, cell.batch): (outcome.target, cell)
            for outcome in outcomes
            if outcome.target.against == rival
            for cell in outcome.cells
        }
        for rival in (first.against, "torch either way" if first.against == "torch" else "")
    )
    lines = [
        f"<li>{escape(outcome.target.column)} {escape(outcome.engine)}: {verdict(outcome)}"
        f"{'' if outcome.target.against == first.against else f' ({against(outcome.target)})'}</li>"
        for outcome in outcomes
    ]
    called = list(dict.fromkeys(key[1] for key in main))
    columns = sorted({key[1:] for key in main}, key=lambda column: (column[1], called.index(column[0]), column[2]))
    header = "".join(f"<th>{escape(f'{way} {engine}')}, N={batch}</th>" for way, engine, batch in columns)
    body = "".join(
        f"<tr><td>{escape(row)}</td>"
        + "".join(_cell(main.get((row, *column)), beside.get((row, *column))) for column in columns)
        + "</tr>"
        for row in dict.fromkeys(key[0] for key in main)
    )
    table = f"<thead><tr><th></th>{header}</tr></thead><tbody>{body}</tbody>"
    return (
        f'<h3 id="{anchor(first)}">{escape(first.group)}: {escape(against(first))}</h3><ul>{"".join(lines)}</ul>'
        f'<details><summary>Every layer</summary><div class="scroll"><table>{table}</table></div></details>'
    )


def _cell(main: tuple[Target, Cell] | None, beside: tuple[Target, Cell] | None) -> str:
    """Blue where what the mean is to be is reached, or 1; red below what every cell is to be, or half of that."""
    if main is None:
        return "<td></td>"
    target, cell = main
    good = min(1.0, target.least or 1.0)
    kind = "win" if cell.value >= good else "loss" if cell.value < (target.least_cell or good / 2) else "soft"
    notes = [times_text(beside[1].value)] if beside else []
    notes += [f"{cell.limit:.0%}"] if cell.limit is not None else []
    errors = "<br><small>{:.1e} ({:.1e})</small>".format(*cell.errors) if cell.errors else ""
    return f'<td><span class="{kind}">{times_text(cell.value)}</span> <small>{" ".join(notes)}</small>{errors}</td>'
