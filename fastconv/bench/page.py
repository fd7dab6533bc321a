"""One self-contained HTML page of a run: figures, tables, machine, losses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path

from fastconv.bench import target_report
from fastconv.bench.report import (
    NAMES,
    best_speedup,
    case_sizes,
    compile_seconds,
    family_title,
    loss_counts,
    provenance,
    spread_text,
    summary,
    time_text,
    times_text,
)
from fastconv.bench.results import Results, geometric_mean

__all__ = ["page"]

LONG = 100  # lines of a table that is closed at first

CAPTIONS = {
    "speedup-sizes": "Times as fast as each rival, over image size and kernel size. Red is slower.",
    "speedup-operations": "Times as fast as each rival, for every operation: small dots are cases, "
    "large marks their geometric means.",
    "gflops": "Arithmetic a second over kernel size. The black line is what this machine allows: its measured multiply-add "
    "peak, or the copy bandwidth for the bytes that must move.",
    "bandwidth": "Bytes moved a second in the cases that memory limits, below the measured speed of copying as many bytes.",
    "before-after": "A photograph, its edges (both Sobel filters), and the time that one filter of this size takes.",
    "filters": "Filters on real pictures, computed by fastconv: above the pictures, below the results.",
}

CSS = """
:root { --blue: #0b61a4; --red: #b3101d; --ink: #1c2126; --soft: #5c6670; --line: #dfe3e7; --wash: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.25rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 2rem; margin: 0 0 .3rem; } h2 { font-size: 1.3rem; margin: 2.8rem 0 .6rem; }
p { max-width: 60rem; } .soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .8rem; margin: 1.5rem 0; }
.tile { background: var(--wash); border-radius: .5rem; padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.15; color: var(--blue); } .tile.lost b { color: var(--red); }
.tile .lost { color: var(--red); font-weight: 600; }
figure { margin: 1.2rem 0 2rem; } figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .4rem; max-width: 60rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .32rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { background: var(--wash); font-weight: 600; position: sticky; top: 0; }
th:first-child, td:first-child, td.text, th.text { text-align: left; } td.wide { white-space: normal; }
tr.family td { background: #fff; font-weight: 600; padding-top: 1rem; }
.win { color: var(--blue); } .loss { color: var(--red); font-weight: 700; background: #fdecee; }
.wrong { background: var(--red); color: #fff; padding: .8rem 1.1rem; border-radius: .5rem; }
small { color: var(--soft); } summary { cursor: pointer; color: var(--blue); margin: .4rem 0 .8rem; }
a { color: var(--blue); text-decoration: none; }
"""


def page(results: Results, figures: dict[str, Path]) -> str:
    """The page as HTML text; the figures' files are embedded."""
    sections = [
        _head(results),
        _wrong(results),
        _tiles(results),
        target_report.html(results),
        *(_figure(name, path) for name, path in figures.items()),
        _losses(results),
        _summary(results),
        _cases(results),
        _overheads(results),
        _not_run(results),
        _machine(results),
    ]
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>fastconv benchmark</title><style>{CSS}</style></head>"
    )
    return "\n".join([head + "<body>", *filter(None, sections), "</body></html>\n"])


def _head(results: Results) -> str:
    return (
        f'<h1>fastconv benchmark</h1><p class="soft">{escape(provenance(results))} '
        "Engines and rivals run in turn, in blocks, each call returning a new result; times are medians, "
        "± is half the interquartile range (“once”: a single, long call).</p>"
    )


def _wrong(results: Results) -> str:
    items = "".join(f"<li>{escape(item['case'])}: {escape(item['message'])}</li>" for item in results.wrong)
    return f'<div class="wrong"><b>Wrong outputs</b><ul>{items}</ul></div>' if items else ""


def _tiles(results: Results) -> str:
    tiles = []
    for engine, rival, count, lost in loss_counts(results):
        mean = geometric_mean(results.speedups(engine, rival))
        kind = "tile lost" if mean is not None and mean < 1 else "tile"
        losses = f'<span class="lost">slower in {lost} of {count}</span>' if lost else f"faster in all {count}"
        who = f"{escape(engine)} against {escape(NAMES.get(rival, rival))}"
        tiles.append(f'<div class="{kind}"><b>{times_text(mean)}</b>{who}<br>{losses} cases</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _figure(name: str, path: Path) -> str:
    data = b64encode(path.read_bytes()).decode()
    caption = escape(CAPTIONS.get(name, ""))
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f'<figure id="{name}">{image}<figcaption>{caption}</figcaption></figure>'


def _losses(results: Results) -> str:
    losses = results.losses()
    if not results.rivals:
        return ""
    title = f'<h2 id="losses">Where fastconv loses ({len(losses)})</h2>'
    if not losses:
        return title + "<p>Nowhere in this run.</p>"
    rows = []
    for case, engine, rival, s in losses:
        times = (time_text(results.cases[case][name].median) for name in (engine, rival))
        rows.append(_row([escape(case), engine, NAMES.get(rival, rival), *times, _speed(s)]))
    return title + _table(["case", "engine", "rival", "fastconv", "rival's time", "times as fast"], rows)


def _summary(results: Results) -> str:
    header, body = summary(results)
    rows = []
    for family, count, *cells in body:
        texts = []
        for cell in cells:
            if cell is None:
                texts.append("–")
                continue
            mean, least, most = cell
            span = "" if least == most else f" <small>{times_text(least)}…{times_text(most)}</small>"
            texts.append(_speed(mean) + span)
        rows.append(_row([escape(family_title(family)), str(count), *texts]))
    if not rows:
        return ""
    return "<h2>By operation</h2><p>Geometric means over sizes, and the least and the most.</p>" + _table(header, rows)


def _cases(results: Results) -> str:
    names = results.engines + results.rivals
    compiles = "numba" in results.engines
    header = ["case", *(NAMES.get(name, name) for name in names), "against the best rival"]
    header += ["numba compiles"] * compiles
    rows, last = [], ""
    for case, of in results.cases.items():
        first = next(iter(of.values()))
        if first.family != last:
            last = first.family
            rows.append(f'<tr class="family"><td colspan="{len(header)}">{escape(family_title(last))}</td></tr>')
        sizes, source = escape(case_sizes(first)), escape(first.info["picture"])
        cells = [f'<span title="{escape(case)}">{sizes}</span> <small>{source}</small>']
        for name in names:
            row = of.get(name)
            rate = f"{row.gflops:.3g} GFLOP/s, {row.gbytes:.3g} GB/s" if row and row.gflops and row.gbytes else ""
            cells.append(
                f'<span title="{rate}">{time_text(row.median)}</span> <small>{spread_text(row)}</small>' if row else "–"
            )
        cells.append(_speed(best_speedup(results, case)))
        if compiles:
            seconds = compile_seconds(of.get("numba"))
            cells.append("" if seconds is None else time_text(seconds))
        rows.append(_row(cells))
    note = "<p>“numba compiles” is how much longer the engine's first call took: it compiled, or loaded from the disk cache.</p>"
    return "<h2>All cases</h2>" + (note if compiles else "") + _table(header, rows)


def _overheads(results: Results) -> str:
    if not results.overheads:
        return ""
    rows = [_row([escape(r.case), r.contestant, *map(time_text, (r.median, r.q1, r.q3))]) for r in results.overheads]
    memory = [
        f"<li>{escape(m['what'])}, {escape(m['engine'])}: {m['extra'] / 1024:.0f} KiB, "
        f"{m['extra'] / m['input']:.2%} of the input</li>"
        for m in results.more.get("memory", [])
    ]
    header = ["what", "who", "median", "quarter below", "quarter above"]
    return (
        "<h2>What a call costs besides its sum</h2>"
        + _table(header, rows)
        + (f"<p>Memory besides input and output:</p><ul>{''.join(memory)}</ul>" if memory else "")
    )


def _not_run(results: Results) -> str:
    items = [f"<li>{escape(name)} takes no part: {escape(why)}</li>" for name, why in results.missing.items()]
    rows = [_row([escape(i["case"]), escape(i["contestant"]), escape(i["reason"])]) for i in results.not_run]
    if not items and not rows:
        return ""
    missing = f"<ul>{''.join(items)}</ul>" if items else ""
    return '<h2 id="not-run">Not run</h2>' + missing + (_table(["case", "who", "why"], rows) if rows else "")


def _machine(results: Results) -> str:
    info, more = results.document["machine_info"], results.more
    facts = {
        "processor": info["cpu"].get("brand_raw", ""),
        "system": f"{info['system']} {info['release']}, {info['machine']}",
    }
    ceilings = more.get("ceilings")
    if ceilings:
        facts["peak, float32"] = f"{ceilings['fma_float32'] / 1e9:.0f} GFLOP/s on {more['threads']} threads"
        facts["peak, float64"] = f"{ceilings['fma_float64'] / 1e9:.0f} GFLOP/s"
        rates = (f"{rate / 1e9:.0f} GB/s moving {int(size) // 1024} KiB" for size, rate in ceilings["copy"].items())
        facts["copy"] = ", ".join(rates)
    facts |= more.get("versions", {})
    facts["commit"] = str(results.document["commit_info"].get("id"))
    rows = [
        f'<tr><td>{escape(name)}</td><td class="text wide">{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    ]
    return "<h2>Machine and versions</h2>" + _table([], rows)


def _speed(value: float | None) -> str:
    kind = "" if value is None else "win" if value >= 1 else "loss"
    return f'<span class="{kind}">{times_text(value)}</span>'


def _row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _table(header: list[str], rows: list[str]) -> str:
    head = "<thead><tr>" + "".join(f"<th>{escape(title)}</th>" for title in header) + "</tr></thead>" if header else ""
    table = f'<div class="scroll"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'
    return f"<details><summary>{len(rows)} lines</summary>{table}</details>" if len(rows) > LONG else table
