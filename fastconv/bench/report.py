"""Reports of a run: the tables for a terminal and a README, and everything in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastconv.bench.results import Results, Row, geometric_mean
from fastconv.install import install_command

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "markdown_table",
    "marks",
    "prepare",
    "print_tables",
    "spread_text",
    "time_text",
    "times_text",
    "update_readme",
    "write_all",
]

NAMES = {"scipy": "SciPy", "opencv": "OpenCV", "torch": "PyTorch", "astropy": "astropy", "float32": "own float32"}


def prepare(folder: Path, readme: Path | None = None) -> None:
    """Find out before the run whether its reports can be written."""
    for module, distribution in (("matplotlib", "matplotlib"), ("skimage", "scikit-image")):
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"{distribution} is not installed: {install_command('bench')}")
    folder.mkdir(parents=True, exist_ok=True)
    if readme is not None:
        _marked(readme)


def write_all(results: Results, folder: Path) -> dict[str, Path]:
    """Write the JSON document, the figures and the page; files by name."""
    from fastconv.bench import figures, page

    folder.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw(results, folder)
    files = {"json": folder / "benchmark.json", **drawn, "page": folder / "index.html"}
    results.save(files["json"])
    files["page"].write_text(page.page(results, drawn))
    return files


def time_text(seconds: float) -> str:
    """Three digits and a unit."""
    rounded = float(f"{seconds:.3g}")
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if rounded >= size:
            return f"{rounded / size:.4g} {unit}"
    return f"{rounded * 1e9:.4g} ns"


def spread_text(row: Row) -> str:
    """Half the interquartile range in percent; nothing is known of a single call's."""
    return "once" if row.rounds == 1 else f"±{row.spread:.0%}"


def times_text(speedup: float | None) -> str:
    """A speed-up, with more digits where it matters."""
    if speedup is None:
        return "–"
    return f"{speedup:.0f}×" if speedup >= 20 else f"{speedup:.1f}×" if speedup >= 1.05 else f"{speedup:.2f}×"


def family_title(family: str) -> str:
    function, variant, dtype = family.split(":")
    return f"{function} {variant} {dtype}"


def case_sizes(row: Row) -> str:
    """Image and kernel of a row's case."""
    shape, kernel = ("×".join(map(str, row.info[what])) for what in ("shape", "kernel"))
    return f"{shape}, {kernel}"


# -- terminal ----------------------------------------------------------------------------------


def print_tables(results: Results, console: Console) -> None:
    """Every case, the summary, the overheads, and what was not run or wrong."""
    from fastconv.bench import target_report

    tables = (
        _cases_table(results),
        _summary_table(results),
        target_report.terminal(results),
        _overheads_table(results),
    )
    for renderable in tables:
        if renderable is not None:
            console.print(renderable)
    for line in notes(results):
        console.print(line, style="red" if line.startswith("WRONG") else "", markup=False, highlight=False)


def notes(results: Results) -> Iterator[str]:
    """Ceilings, losses, what is missing, what was not run, and wrong outputs, a line each."""
    ceilings = results.more.get("ceilings", {})
    if ceilings:
        copy = {int(size): rate for size, rate in ceilings["copy"].items()}
        yield (
            f"Measured on {results.more['threads']} threads: {ceilings['fma_float32'] / 1e9:.0f} GFLOP/s float32 peak, "
            f"{copy[max(copy)] / 1e9:.1f} GB/s copied from memory, {max(copy.values()) / 1e9:.0f} GB/s from cache."
        )
    for memory in results.more.get("memory", []):
        share = memory["extra"] / memory["input"]
        yield f"Extra memory of {memory['what']}, {memory['engine']}: {memory['extra'] / 1024:.0f} KiB, {share:.2%} of the input."
    for engine, rival, count, lost in loss_counts(results):
        yield f"{engine} is slower than {NAMES.get(rival, rival)} in {lost} of {count} cases."
    for name, why in results.missing.items():
        yield f"MISSING {name}: {why}"
    reasons: dict[tuple[str, str], int] = {}
    for item in results.not_run:
        key = (item["contestant"], item["reason"])
        reasons[key] = reasons.get(key, 0) + 1
    for (name, reason), count in reasons.items():
        yield f"Not run: {name}, {count} case{'s' if count > 1 else ''}: {reason}"
    for item in results.wrong:
        yield f"WRONG {item['case']}: {item['message']}"


def loss_counts(results: Results) -> list[tuple[str, str, int, int]]:
    """Engine, rival, cases that both ran, and how many of them the rival won."""
    counts = []
    for engine in (e for e in results.engines if e != "reference"):
        for rival in results.rivals:
            values = results.speedups(engine, rival)
            if values:
                counts.append((engine, rival, len(values), sum(s < 1 for s in values)))
    return counts


def _cases_table(results: Results) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    names = results.engines + results.rivals
    table = Table(title="Median time and spread (half the interquartile range)", title_justify="left")
    table.add_column("case", overflow="fold")
    for name in names:
        table.add_column(NAMES.get(name, name), justify="right", no_wrap=True)
    table.add_column("against the best", justify="right", no_wrap=True)
    if "numba" in results.engines:
        table.add_column("numba compiles", justify="right", no_wrap=True)
    last = ""
    for case, rows in results.cases.items():
        first = next(iter(rows.values()))
        if first.family != last:
            last = first.family
            table.add_section()
            table.add_row(Text(family_title(last), style="bold"))
        cells: list[Any] = [Text("  " + case_sizes(first))]
        cells += [
            f"{time_text(rows[name].median)} {spread_text(rows[name])}" if name in rows else "–" for name in names
        ]
        speed = best_speedup(results, case)
        cells.append(Text(times_text(speed), style="" if speed is None else "green" if speed >= 1 else "bold red"))
        if "numba" in results.engines:
            compile_time = compile_seconds(rows.get("numba"))
            cells.append("" if compile_time is None else time_text(compile_time))
        table.add_row(*cells)
    return table


def best_speedup(results: Results, case: str) -> float | None:
    """The fastest engine against the fastest rival."""
    rival = results.best_rival(case)
    ours = [row.median for row in results.cases[case].values() if row.kind == "engine"]
    return rival.median / min(ours) if rival and ours else None


def compile_seconds(row: Row | None) -> float | None:
    """How much longer the first call took, if that was long enough to be a compilation or a load from disk."""
    if row is None or "first_call" not in row.info:
        return None
    extra = row.info["first_call"] - row.median
    return extra if extra > 0.05 else None


def _summary_table(results: Results) -> RenderableType | None:
    from rich.table import Table
    from rich.text import Text

    header, body = summary(results)
    if not body:
        return None
    table = Table(title="Times as fast: geometric mean, and the least and most of several cases", title_justify="left")
    for i, title in enumerate(header):
        table.add_column(title, justify="right" if i else "left", no_wrap=not i)
    for name, count, *cells in body:
        texts = [Text(_cell(cell), style="bold red" if cell and cell[0] < 1 else "") for cell in cells]
        table.add_row(family_title(name), str(count), *texts)
    return table


def _overheads_table(results: Results) -> RenderableType | None:
    from rich.table import Table

    if not results.overheads:
        return None
    table = Table(title="What a call costs besides its sum", title_justify="left")
    for i, title in enumerate(("what", "who", "median", "quarter below", "quarter above")):
        table.add_column(title, justify="right" if i > 1 else "left")
    for row in results.overheads:
        table.add_row(row.case, row.contestant, *map(time_text, (row.median, row.q1, row.q3)))
    return table


# -- summary, README -----------------------------------------------------------------------------

Cell = tuple[float, float, float] | None  # geometric mean, least, most


def summary(results: Results) -> tuple[list[str], list[list[Any]]]:
    """Header and body: each family's speed-ups of every engine over every rival."""
    engines = [engine for engine in results.engines if engine != "reference"]
    pairs = [(engine, rival) for engine in engines for rival in results.rivals if results.speedups(engine, rival)]
    header = ["operation", "cases", *(f"{engine} vs {NAMES.get(rival, rival)}" for engine, rival in pairs)]
    body = []
    for family in dict.fromkeys(row.family for row in results.rows):
        cells = [_mean(results.speedups(engine, rival, family=family)) for engine, rival in pairs]
        body.append([family, len({row.case for row in results.of(family=family)}), *cells])
    return header, body if pairs else []


def _mean(values: list[float]) -> Cell:
    mean = geometric_mean(values)
    return None if mean is None else (mean, min(values), max(values))


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    mean, least, most = cell
    return times_text(mean) if least == most else f"{times_text(mean)} ({times_text(least)}…{times_text(most)})"


def markdown_table(results: Results) -> str:
    """The summary for a README, losses in bold, with machine, versions and date."""
    header, body = summary(results)
    lines = [_markdown_row(header), _markdown_row(["---", *["---:"] * (len(header) - 1)])]
    for family, count, *cells in body:
        texts = [f"**{_cell(cell)}**" if cell and cell[0] < 1 else _cell(cell) for cell in cells]
        lines.append(_markdown_row([f"`{family_title(family)}`", str(count), *texts]))
    counts = [
        f"{lost} of {count} against {NAMES.get(rival, rival)} ({engine})"
        for engine, rival, count, lost in loss_counts(results)
    ]
    if counts:
        lines += ["", f"Slower than the rival (times as fast below 1): {'; '.join(counts)}."]
    return "\n".join([*lines, "", provenance(results)])


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def provenance(results: Results) -> str:
    """Where and with what the numbers were measured, in one sentence."""
    machine, versions = results.document["machine_info"], results.more.get("versions", {})
    libraries = [f"{name} {versions[name]}" for name in LIBRARIES if name in versions]
    commit = results.document["commit_info"].get("id", "unknown")[:10]
    threads = results.more.get("threads") or machine.get("threads", "?")
    return (
        f"Measured {results.document['datetime'][:10]} on {machine['cpu'].get('brand_raw') or machine['machine']}, "
        f"{threads} thread{'s' if threads != 1 else ''} for all, Python {machine['python_version']}, {', '.join(libraries)}"
        f"{f', commit {commit}' if commit != 'unknown' else ''}. "
        "Times as fast as the rival: geometric mean (least…most) over image and kernel sizes; "
        "each output was checked."
    )


LIBRARIES = ("fastconv", "numpy", "scipy", "numba", "opencv-python-headless", "opencv-python", "torch", "astropy")


def update_readme(results: Results, readme: Path) -> None:
    """Put the tables between their marks in a Markdown file; it may have marks for one of them or for both."""
    from fastconv.bench import target_report

    text = readme.read_text()
    for name, table in (("benchmark", markdown_table(results)), ("targets", target_report.markdown(results))):
        if name in _marked(readme) and table:
            begin, end = marks(name)
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    readme.write_text(text)


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a table in a Markdown file."""
    return f"<!-- {name} table -->", f"<!-- /{name} table -->"


def _marked(readme: Path) -> list[str]:
    """The tables that a Markdown file has marks for."""
    text = readme.read_text()
    found = [name for name in ("benchmark", "targets") if -1 < text.find(marks(name)[0]) < text.find(marks(name)[1])]
    if not found:
        raise ValueError(f"readme must have the lines {' and '.join(marks('benchmark'))}; {readme} has not")
    return found
