"""What a group of targets reaches for the layers of networks, as one table of the page."""

from __future__ import annotations

from html import escape

from fastconv.bench.report import times_text
from fastconv.bench.targets import Cell, Outcome

__all__ = ["section", "verdict"]

AGAINST = {"torch": "PyTorch", "torch either way": "PyTorch in the faster layout", "float32": "its own float32"}
Column = tuple[str, str, int]  # layout, engine, batch


def verdict(outcome: Outcome) -> str:
    """The geometric mean, what is asked, and the least cell."""
    target = outcome.target
    wanted = [f"at least {times_text(target.least)}"] * bool(target.least)
    wanted += [f"no cell under {times_text(target.least_cell)}"] * bool(target.least_cell)
    kind = "win" if outcome.reached else "loss"
    asked = f" ({', '.join(wanted)})" if wanted else ""
    return f'Geometric mean <b class="{kind}">{times_text(outcome.mean)}</b>{asked}, least {times_text(outcome.least)}.'


def section(outcomes: list[Outcome]) -> str:
    """Layers down, layouts, engines and batches across; small, against PyTorch in the faster of both layouts.

    Below, where they are known, the errors of both: root mean square, in parts of the values'.
    """
    same, either = (
        {
            _column(outcome, cell): cell
            for outcome in outcomes
            if outcome.target.against == against
            for cell in outcome.cells
        }
        for against in ("torch", "torch either way")
    )
    rows = dict.fromkeys(row for row, _ in same)
    columns = sorted({column for _, column in same})
    lines = [
        f"<li>{escape(outcome.target.name.removeprefix(outcome.target.group).lstrip(', '))} {escape(outcome.engine)} against "
        f"{AGAINST[outcome.target.against]}: {verdict(outcome)}</li>"
        for outcome in outcomes
    ]
    header = "".join(f"<th>{escape(' '.join(column[:2]))}, N={column[2]}</th>" for column in columns)
    body = "".join(
        f"<tr><td>{escape(row)}</td>"
        + "".join(_cell(same.get((row, column)), either.get((row, column))) for column in columns)
        + "</tr>"
        for row in rows
    )
    return (
        f"<h3>{escape(outcomes[0].target.group)}</h3><ul>{''.join(lines)}</ul>"
        f'<div class="scroll"><table><thead><tr><th></th>{header}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _column(outcome: Outcome, cell: Cell) -> tuple[str, Column]:
    layout = outcome.target.name.removeprefix(outcome.target.group).lstrip(", ")
    return cell.row, (layout, outcome.engine, cell.batch)


def _cell(same: Cell | None, either: Cell | None) -> str:
    """Red below what every cell is to be, grey between that and 1."""
    if same is None:
        return "<td></td>"
    kind = "win" if same.value >= 1 else "loss" if same.value < 0.5 else "soft"
    small = f" <small>{times_text(either.value)}</small>" if either else ""
    errors = "<br><small>{:.1e} ({:.1e})</small>".format(*same.errors) if same.errors else ""
    return f'<td><span class="{kind}">{times_text(same.value)}</span>{small}{errors}</td>'
