"""The command line: ``fastconv bench``, ``duel``, ``regret``, ``tune`` and more (or ``python -m fastconv``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from fastconv.bench.case import Case
    from fastconv.bench.contestants import Contestant
    from fastconv.bench.duel import Duel
    from fastconv.bench.random_problems import Problem
    from fastconv.bench.results import Results
    from fastconv.bench.runner import Effort

app = typer.Typer(
    help="Fast convolution, cross-correlation and pooling: benchmark, configuration, picture filters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Wrong input ends in one line on stderr and exit status 2."""
    try:
        yield
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        typer.secho(f"fastconv: {error}", fg="red", err=True)
        raise typer.Exit(2) from error


Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for figures, page and results.")]
Readme = Annotated[Path | None, typer.Option(metavar="FILE", help="Rewrite the table in this Markdown file.")]
RESULTS = Path("bench-results")


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="All operations at few sizes: under two minutes.")] = False,
    cases: Annotated[str | None, typer.Option(metavar="GLOB", help="Cases by name: 'correlate2d*512x512*'.")] = None,
    targets: Annotated[bool, typer.Option("--targets", help="The cases of the targets for image filters.")] = False,
    networks: Annotated[
        bool, typer.Option("--networks", help="The convolution layers of networks of the targets, beside PyTorch.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Gradients, pooling and other operations of networks, beside PyTorch.")
    ] = False,
    engines: Annotated[str, typer.Option(metavar="NAMES", help="Engines, with commas.")] = "numba,cython",
    rivals: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="With commas, or 'none'; default scipy,opencv,torch,astropy."),
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads for all; default all processors.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Results, in pytest-benchmark's format.")] = None,
    out: Out = RESULTS,
    readme: Readme = None,
    patience: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Leave out who would take longer for one call."),
    ] = None,
    list_cases: Annotated[bool, typer.Option("--list", help="Print the names of the cases and stop.")] = False,
) -> None:
    """Time fastconv against other libraries on real pictures; check every result; write table, figures and page."""
    from fastconv.bench import report as reports

    with _told_plainly():
        from fastconv.bench.cases import select
        from fastconv.bench.runner import FULL, LAYERS, QUICK, TARGETS
        from fastconv.bench.targets import cases_of
        from fastconv.config import resolve_threads

        chosen = select(cases, quick=quick)
        chosen_parts = {"filters": targets, "networks": networks, "layers": layers}
        parts = [part for part, wanted in chosen_parts.items() if wanted]
        if parts:
            chosen = cases_of(chosen, parts, resolve_threads(threads))
        if not chosen:
            raise ValueError(f"--cases must match the name of a case (see --list); got {cases!r}")
        if list_cases:
            typer.echo("\n".join(case.name for case in chosen))
            return
        without_filters = "torch,float32" if layers else "torch"
        theirs = rivals or (without_filters if parts and not targets else "scipy,opencv,torch,astropy")
        n, contestants, missing = _contestants(_names(engines), _names(theirs), threads)
        if (networks or layers) and rivals is None and "torch" in missing:
            raise ValueError("--networks and --layers compare with PyTorch: pip install torch, or say --rivals none")
        reports.prepare(out, readme)
        if json is not None:
            json.parent.mkdir(parents=True, exist_ok=True)
    effort = QUICK if quick else TARGETS if targets else LAYERS.times(len(parts)) if parts else FULL
    results = _measure(chosen, contestants, missing, n, effort if patience is None else effort.with_patience(patience))
    with _told_plainly():
        if json is not None:
            results.save(json)
        _report(results, out, readme)
    if results.wrong:
        raise typer.Exit(1)


@app.command()
def duel(
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, help="Number of problems.")] = 300,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="What the problems are drawn from.")] = 0,
    only: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="These of the seed's problems, with commas.")
    ] = None,
    functions: Annotated[str | None, typer.Option(metavar="GLOB", help="By name: 'ndimage.*filter1d'.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads; default all processors.")] = None,
    out: Out = RESULTS,
    list_problems: Annotated[bool, typer.Option("--list", help="Print the problems and stop.")] = False,
) -> None:
    """Time random calls of all functions that SciPy has too on both; check every result."""
    from fastconv.bench import random_problems
    from fastconv.bench import report as reports

    with _told_plainly():
        if only is None:
            chosen = list(random_problems.problems(count, seed, functions))
        else:
            chosen = [random_problems.draw(seed, int(number)) for number in _names(only)]
        if list_problems:
            typer.echo("\n".join(f"#{problem.index} {problem}" for problem in chosen))
            return
        reports.prepare(out)
        from fastconv.config import resolve_threads

        threads = resolve_threads(threads)
    result = _duel(chosen, seed, threads)
    with _told_plainly():
        _report_duel(result, out, "duel" if only is None else "duel-only")  # beside what a whole run has left
    if result.wrong:
        raise typer.Exit(1)


@app.command()
def regret(
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, help="Number of problems.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="What the problems are drawn from.")] = 0,
    only: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="These of the seed's problems, with commas.")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads; default all processors.")] = None,
    out: Out = RESULTS,
    list_problems: Annotated[bool, typer.Option("--list", help="Print the problems and stop.")] = False,
) -> None:
    """Time random correlations by every algorithm, and as fastconv chooses."""
    from rich.console import Console

    from fastconv.bench import regret as regrets
    from fastconv.bench import regret_report
    from fastconv.bench import report as reports
    from fastconv.config import resolve_threads

    with _told_plainly():
        chosen = [regrets.draw(seed, i) for i in (range(count) if only is None else map(int, _names(only)))]
        if list_problems:
            typer.echo("\n".join(f"#{problem.index} {problem}" for problem in chosen))
            return
        reports.prepare(out)
        threads = resolve_threads(threads)
    with _progress_bar(Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(chosen), completed=-1)

        def progress(problem: regrets.Correlation) -> None:
            bar.update(task, description=f"#{problem.index} {problem}", advance=1)

        result = regrets.run(chosen, seed=seed, threads=threads, progress=progress)
        bar.update(task, description="done", advance=1)
    console = Console()
    with _told_plainly():
        regret_report.print_regret(result, Console(width=max(console.width, 150)))
        for name, path in regret_report.write_regret(result, out).items():
            console.print(f"{name:<20} {path}", highlight=False, soft_wrap=True)


@app.command()
def tune(
    reset: Annotated[bool, typer.Option("--reset", help="Remove what was saved before.")] = False,
    save: Annotated[bool, typer.Option(help="Keep what is measured for later processes.")] = True,
) -> None:
    """Measure what work costs on this machine, for the choice of algorithms; saves it."""
    from rich.console import Console

    from fastconv.rates import described
    from fastconv.tuning import tune as measure

    console = Console(stderr=True)
    with _told_plainly(), _progress_bar(console) as bar:
        task = bar.add_task("")
        result = measure(
            reset=reset,
            save=save,
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    typer.echo("\n".join(described(result["rates"])))
    kept = "removed what was saved" if reset else result["saved"] or "not saved: they hold in this process alone"
    typer.echo(f"{'saved':<16} {kept}")


@app.command()
def report(
    source: Annotated[Path, typer.Argument(metavar="JSON", help="Results of `bench` or of `pytest benchmarks`.")],
    out: Out = RESULTS,
    readme: Readme = None,
) -> None:
    """Make table, figures and page anew from earlier results."""
    with _told_plainly():
        from fastconv.bench.results import Results

        _report(Results.load(source), out, readme)


@app.command()
def info(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Delete the kernels that the Numba engine compiled.")
    ] = False,
) -> None:
    """Print engines, SIMD level, threads, caches and versions."""
    from fastconv import about

    if clear_cache:
        with _told_plainly():
            typer.echo(about.clear_cache())
        return
    about.show_config()
    about.show_versions()


def _list_kernels(wanted: bool) -> None:
    if wanted:
        from fastconv import kernels

        typer.echo("\n".join(kernels.NAMES))
        raise typer.Exit


@app.command(name="filter")
def filter_picture(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Picture file, grey or colour.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write the filtered picture.")],
    kernel: Annotated[str, typer.Option(metavar="NAME", help="A kernel's name, or rows: '[[0, 1], [-1, 0]]'.")],
    size: Annotated[int | None, typer.Option(metavar="N", help="Of the kernel, for those that have sizes.")] = None,
    mode: Annotated[str, typer.Option(help="Beyond the edges: reflect, constant, nearest, mirror, wrap.")] = "reflect",
    show: Annotated[Path | None, typer.Option(metavar="FIG", help="Draw before, kernel and after there.")] = None,
    list_kernels: Annotated[
        bool, typer.Option("--list-kernels", is_eager=True, callback=_list_kernels, help="Print the kernels' names.")
    ] = False,
) -> None:
    """Filter a picture file by convolution with a kernel."""
    with _told_plainly():
        from fastconv import picture_filter

        picture_filter.filter_file(source, target, kernel, size=size, mode=mode, figure=show)
    for path in (target, *([show] if show else [])):
        typer.echo(f"wrote {path}")


@app.command(context_settings={"allow_interspersed_args": False})  # what follows the program is the program's
def run(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="Script, or with -m a module.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="...", help="The program's own.")] = None,
    module: Annotated[bool, typer.Option("-m", help="PROGRAM is a module.")] = False,
    numpy: Annotated[bool, typer.Option("--numpy", help="Patch numpy.convolve and numpy.correlate too.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Tell in the end what was served.")] = False,
) -> None:
    """Run a Python program with SciPy's filters and convolutions on fastconv."""
    from fastconv.interop.program import Program

    with _told_plainly():
        found = Program(program, arguments or [], module=module)
    found.run(numpy=numpy, report=report)


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name.strip() for name in text.split(",") if name.strip()]


def _contestants(
    engines: list[str], rivals: list[str], threads: int | None
) -> tuple[int, list[Contestant], dict[str, str]]:
    """Number of threads, who takes part, and why others do not."""
    from rich.console import Console

    from fastconv.bench.rivals import ENGINES, RIVALS, choose
    from fastconv.config import resolve_threads

    n = resolve_threads(threads)
    ours, no_engine = choose(engines, ENGINES, "--engines")
    theirs, no_rival = choose(rivals, RIVALS, "--rivals")
    if not ours:
        raise ValueError(
            f"--engines must name an engine that runs here; got {', '.join(engines) or 'none'} {no_engine}"
        )
    missing = no_engine | no_rival
    for name, why in missing.items():
        Console(stderr=True).print(f"[yellow]{name} takes no part:[/] {why}", highlight=False)
    return n, ours + theirs, missing


def _measure(
    cases: list[Case],
    contestants: list[Contestant],
    missing: dict[str, str],
    threads: int,
    effort: Effort,
) -> Results:
    """Run the benchmark with a progress bar."""
    from rich.console import Console

    from fastconv.bench import overheads, runner

    measured = [contestant.name for contestant in contestants if contestant.name in ("cython", "numba")]
    with _progress_bar(Console(stderr=True)) as bar:
        task = bar.add_task("")

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        return runner.run(
            cases,
            contestants,
            threads=threads,
            effort=effort,
            missing=missing,
            overheads=lambda: overheads.measure(threads, measured, 15 if effort.blocks > 5 else 5),
            progress=progress,
        )


def _duel(problems: list[Problem], seed: int, threads: int) -> Duel:
    """Run the duel with a progress bar."""
    from rich.console import Console

    from fastconv.bench import duel as duels

    with _progress_bar(Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(problems), completed=-1)

        def progress(problem: Problem) -> None:
            bar.update(task, description=f"#{problem.index} {problem}", advance=1)

        duel = duels.run(problems, seed=seed, threads=threads, progress=progress)
        bar.update(task, description="done", advance=1)
    return duel


def _report_duel(duel: Duel, out: Path, name: str) -> None:
    from rich.console import Console

    from fastconv.bench import duel_report

    console = Console()
    duel_report.print_duel(duel, Console(width=max(console.width, 150)))
    for kind, path in duel_report.write_duel(duel, out, name).items():
        console.print(f"{kind:<20} {path}", highlight=False, soft_wrap=True)


def _progress_bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    room = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # what the bar and the numbers leave of the line
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=room),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )


def _report(results: Results, out: Path, readme: Path | None) -> None:
    from rich.console import Console

    from fastconv.bench import report as reports

    console = Console()
    reports.print_tables(results, Console(width=max(console.width, 150)))
    files = reports.write_all(results, out)
    if readme is not None:
        reports.update_readme(results, readme)
        files["table"] = readme
    for name, path in files.items():
        console.print(f"{name:<20} {path}", highlight=False, soft_wrap=True)
    for item in results.wrong:
        typer.secho(f"WRONG {item['case']}: {item['message']}", fg="red", err=True)


def main() -> None:
    """Entry point of the console command."""
    app(prog_name="fastconv")


if __name__ == "__main__":
    main()
