"""Figures of a run, drawn with matplotlib, one PNG each.

An engine or rival keeps its colour and marker throughout.  On every speed-up axis 1 is
where both are as fast: blue is faster than the rival, red is slower.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.bench.report import NAMES
from fastconv.bench.results import Results, Row, geometric_mean

__all__ = ["FIGURES", "draw"]

COLOURS = {
    "numba": "#0b61a4", "cython": "#e07b00", "cuda": "#2a8c4a", "reference": "#7f7f7f",
    "scipy": "#8c564b", "opencv": "#b5179e", "torch": "#c1121f", "astropy": "#6a4c93", "float32": "#444444",
}  # fmt: skip
MARKERS = {
    "numba": "o",
    "cython": "s",
    "cuda": "p",
    "reference": "x",
    "scipy": "v",
    "opencv": "^",
    "torch": "D",
    "astropy": "P",
    "float32": "h",
}
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.7, "axes.axisbelow": True, "axes.edgecolor": "#888888",
    "legend.frameon": False, "figure.dpi": 110, "figure.facecolor": "white",
}  # fmt: skip


def draw(results: Results, folder: Path) -> dict[str, Path]:
    """Draw every figure that the results have data for; files by name."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    with matplotlib.rc_context(STYLE):
        for name, make in FIGURES.items():
            figure = make(results)
            if figure is not None:
                files[name] = folder / f"{name}.png"
                figure.savefig(files[name], bbox_inches="tight", dpi=100 if name in PHOTOGRAPHS else 160)
    return files


def label(name: str) -> str:
    return NAMES.get(name, name)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _sweep(results: Results) -> tuple[str, list[int], list[int]] | None:
    """The family with the most image and kernel sizes, and these sizes."""
    best: tuple[int, str] = (0, "")
    for family in dict.fromkeys(row.family for row in results.rows):
        cells = {(row.info["image_size"], row.info["kernel_size"]) for row in results.of(family=family)}
        best = max(best, (len(cells), family), key=lambda pair: pair[0])
    if not best[1]:
        return None
    rows = results.of(family=best[1])
    return best[1], sorted({r.info["image_size"] for r in rows}), sorted({r.info["kernel_size"] for r in rows})


# -- speed-up over image size and kernel size ------------------------------------------------


def speedup_sizes(results: Results) -> Any:
    """Speed-up over each rival: a map of image size and kernel size for each engine."""
    sweep = _sweep(results)
    engines = [engine for engine in results.engines if engine != "reference"]
    if sweep is None or not engines:
        return None
    family, images, kernels = sweep
    measured = [(engine, row.case) for engine in engines for row in results.of(family=family, contestant=engine)]
    rivals = [name for name in results.rivals if any(results.speedup(c, e, name) is not None for e, c in measured)]
    if not rivals:
        return None
    width = 1.7 + len(rivals) * (0.7 + 0.62 * len(kernels))
    figure = _figure(width, 1.1 + len(engines) * (0.75 + 0.42 * len(images)))
    axes = figure.subplots(len(engines), len(rivals), squeeze=False, sharex=True, sharey=True)
    for row, engine in zip(axes, engines, strict=True):
        for ax, rival in zip(row, rivals, strict=True):
            mesh = _speedup_map(ax, results, (family, images, kernels), engine, rival)
            ax.set_title(f"{engine} against {label(rival)}")
            if ax is row[0]:
                ax.set_ylabel("image")
            if row is axes[-1]:
                ax.set_xlabel("kernel")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8, pad=0.02, ticks=range(-4, 5))
    bar.ax.set_yticklabels(["1/16", "1/8", "1/4", "1/2", "1", "2", "4", "8", "16 or more"])
    bar.ax.tick_params(length=0)
    bar.set_label("times as fast")
    bar.outline.set_visible(False)
    figure.suptitle(_title(family), fontweight="bold", fontsize=12)
    return figure


def _speedup_map(ax: Any, results: Results, sweep: tuple[str, list[int], list[int]], engine: str, rival: str) -> Any:
    family, images, kernels = sweep
    values = np.full((len(images), len(kernels)), np.nan)
    for row in results.of(family=family, contestant=engine):
        s = results.speedup(row.case, engine, rival)
        if s is not None:
            values[images.index(row.info["image_size"]), kernels.index(row.info["kernel_size"])] = s
    mesh = ax.pcolormesh(np.log2(values), cmap="RdBu", vmin=-4, vmax=4, edgecolor="white", linewidth=1.5)
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks(np.arange(len(kernels)) + 0.5, [f"{k}×{k}" for k in kernels])
    ax.set_yticks(np.arange(len(images)) + 0.5, [f"{n}²" for n in images])
    for i in range(len(images)):
        for j in range(len(kernels)):
            s = values[i, j]
            text = "–" if np.isnan(s) else f"{s:.0f}×" if s >= 20 else f"{s:.1f}×" if s >= 1 else f"{s:.2f}×"
            dark = abs(np.log2(s)) > 2.4 if s == s else False
            ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=9, color="white" if dark else "#222222")
    return mesh


def _title(family: str) -> str:
    function, variant, dtype = family.split(":")
    return f"{function}, {variant}, {dtype}"


# -- speed-up of every operation -------------------------------------------------------------


def speedup_operations(results: Results) -> Any:
    """Every case's speed-up, by operation; large marks are geometric means."""
    engines = [engine for engine in results.engines if engine != "reference"]
    families = list(dict.fromkeys(row.family for row in results.rows))[::-1]
    if not engines or not results.rivals:
        return None
    figure = _figure(3.2 + 4.4 * len(engines), 1.5 + 0.27 * len(families))
    axes = figure.subplots(1, len(engines), squeeze=False, sharey=True, sharex=True)[0]
    for ax, engine in zip(axes, engines, strict=True):
        for i, rival in enumerate(results.rivals):
            shift = 0.26 * (i - (len(results.rivals) - 1) / 2)
            for y, family in enumerate(families):
                values = results.speedups(engine, rival, family=family)
                if values:
                    ax.plot(values, [y - shift] * len(values), ".", ms=4, color=COLOURS[rival], alpha=0.35, mew=0)
                    mean = geometric_mean(values)
                    ax.plot(mean, y - shift, MARKERS[rival], ms=6.5, color=COLOURS[rival], mec="white", mew=0.6)
            ax.plot([], [], MARKERS[rival], color=COLOURS[rival], label=f"against {label(rival)}")
        for y in range(0, len(families), 2):
            ax.axhspan(y - 0.5, y + 0.5, color="#f3f4f6", lw=0, zorder=0)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.set_xscale("log")
        ax.set_title(f"fastconv, {engine} engine")
        ax.set_xlabel("times as fast")
        ax.set_ylim(-0.5, len(families) - 0.2)
        ax.set_yticks(range(len(families)), [_title(family) for family in families], fontsize=8.5)
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    low, high = axes[0].get_xlim()
    for ax in axes:
        ax.axvspan(min(low, 0.5), 1.0, color="#c1121f", alpha=0.07, lw=0)
        ax.axvline(1.0, color="#c1121f", lw=1)
        ax.set_xlim(min(low, 0.5), high)
    axes[0].text(0.96, len(families) - 0.22, "slower", ha="right", va="top", fontsize=8.5, color="#c1121f")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(results.rivals))
    return figure


# -- against the machine's limits --------------------------------------------------------------


def gflops(results: Results) -> Any:
    """GFLOP/s of the direct sum over kernel size, one panel for each image size, with the direct sum's limit.

    Transforms and passes get by with less work: their marks are hollow, and may lie above the limit.
    """
    sweep = _sweep(results)
    if sweep is None:
        return None
    family, images, kernels = sweep
    images = images if len(images) <= 4 else images[:: -(-len(images) // 4)]
    ceilings = results.more.get("ceilings", {})
    peak = ceilings.get("fma_float64" if "float64" in family else "fma_float32")
    figure, least_work = _figure(1.6 + 3.7 * len(images), 4.4), False
    axes = figure.subplots(1, len(images), squeeze=False, sharey=True)[0]
    for ax, image in zip(axes, images, strict=True):
        for name in results.engines + results.rivals:
            rows = sorted(
                results.of(family=family, contestant=name, image_size=image), key=lambda r: r.info["kernel_size"]
            )
            points = [(r.info["kernel_size"], r.gflops) for r in rows if r.gflops]
            if points:
                ax.plot(*zip(*points, strict=True), **_line(results, name))
            hollow = [(r.info["kernel_size"], r.gflops) for r in rows if r.gflops and _is_indirect(r)]
            if hollow:
                style = _line(results, name) | {
                    "ls": "",
                    "mfc": "white",
                    "mec": COLOURS.get(name),
                    "mew": 1.6,
                    "label": None,
                }
                ax.plot(*zip(*hollow, strict=True), **style)
                least_work = True
        roof = (
            [(r.info["kernel_size"], _roof(results, r, peak)) for r in _one_each(results, family, image)]
            if peak
            else []
        )
        if roof:
            ax.plot(
                *zip(*roof, strict=True), color="#222222", lw=1.6, zorder=1.5,
                label="limit of direct sums: peak, or copy bandwidth",
            )  # fmt: skip
        ax.set_yscale("log")
        ax.set_xscale("log")
        ax.set_xticks(kernels, [str(k) for k in kernels])
        ax.set_xticks([], minor=True)
        ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        ax.set_title(f"image {image}×{image}")
        ax.set_xlabel("kernel size")
    axes[0].set_ylabel("GFLOP/s of the direct sum")
    if peak:
        top = peak / 1e9
        axes[0].text(kernels[0], top * 1.08, f"measured peak {top:.0f}", ha="left", va="bottom", fontsize=9)
        axes[0].set_ylim(top=max(top * 2.5, axes[0].get_ylim()[1]))
    if least_work:
        axes[0].plot([], [], "o", color="#444444", mfc="white", mew=1.6, label="by transforms or passes")
    figure.suptitle(_title(family), fontweight="bold", fontsize=12)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _is_indirect(row: Row) -> bool:
    """Whether an engine did less than the work of the direct sum."""
    return (row.info.get("implementation") or "").partition(":")[2] in ("overlap", "transforms", "separable", "lowrank")


def _line(results: Results, name: str) -> dict[str, Any]:
    ours = name in results.engines
    return {
        "color": COLOURS.get(name, "#444444"), "marker": MARKERS.get(name, "o"), "ms": 6 if ours else 5,
        "lw": 2.2 if ours else 1.2, "ls": "-" if ours else "--", "mec": "white", "mew": 0.6,
        "label": f"fastconv {name}" if ours else label(name),
    }  # fmt: skip


def _one_each(results: Results, family: str, image: int) -> list[Row]:
    """One row of each kernel size."""
    rows = {row.info["kernel_size"]: row for row in results.of(family=family, image_size=image)}
    return [rows[k] for k in sorted(rows)]


def _roof(results: Results, row: Row, peak: float) -> float:
    """GFLOP/s that neither the peak nor a copy of the problem's bytes allows to exceed."""
    copy = results.copy_rate(row.info.get("nbytes"))
    return min(peak, copy * row.info["flops"] / row.info["nbytes"] if copy else peak) / 1e9


def bandwidth(results: Results) -> Any:
    """GB/s of the cases that memory limits, over the bytes they move, below the measured copy."""
    ceilings = results.more.get("ceilings", {})
    copy = sorted((int(size), rate / 1e9) for size, rate in ceilings.get("copy", {}).items())
    balance = ceilings.get("fma_float32", 0.0) / (copy[-1][1] * 1e9) if copy else 20.0
    rows = [r for r in results.rows if r.gbytes and r.info["flops"] / r.info["nbytes"] < max(balance / 3, 1.0)]
    if not rows:
        return None
    figure = _figure(9.6, 5.2)
    ax = figure.subplots()
    if copy:
        ax.fill_between(*zip(*copy, strict=True), 1e-3, color="#222222", alpha=0.06, lw=0)
        ax.plot(*zip(*copy, strict=True), color="#222222", lw=1.8, label="measured copy")
    for i, name in enumerate(results.rivals + results.engines):
        points = [(r.info["nbytes"] * 1.04**i, r.gbytes) for r in rows if r.contestant == name]  # side by side
        if points:
            style = _line(results, name) | {"ls": "", "ms": 7 if name in results.engines else 5.5}
            ax.plot(*zip(*points, strict=True), alpha=0.85, **style)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter(lambda x, _: f"{x / 2**20:g} MiB" if x >= 2**20 else f"{x / 2**10:g} KiB")
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    lowest = min(r.gbytes for r in rows if r.gbytes)
    ax.set_ylim(bottom=max(lowest / 2, 1e-3))
    ax.set_xlabel("bytes that must move: the input read, the output written")
    ax.set_ylabel("GB/s")
    ax.set_title("Cases that memory limits")
    figure.legend(loc="outside right upper")
    return figure


# -- pictures ----------------------------------------------------------------------------------


def filters(results: Results) -> Any:
    """What filters do to real pictures, computed by fastconv."""
    from fastconv import kernels, ndimage
    from fastconv.bench.pictures import photo

    shown = (
        ("camera", "sobel-x"),
        ("coffee", "gaussian"),
        ("astronaut", "emboss"),
        ("brick", "edge-45"),
        ("chelsea", "sharpen"),
    )
    figure = _figure(2.5 * len(shown), 5.4)
    axes = figure.subplots(2, len(shown))
    for column, (picture, name) in zip(axes.T, shown, strict=True):
        image = photo(picture)[:300, 60:360]
        kernel = kernels.named(name, 11 if name == "gaussian" else None)
        filtered = ndimage.convolve(image.astype(np.float32), kernel.astype(np.float32), axes=(0, 1))
        pixels = np.clip(np.abs(filtered) if kernels.is_derivative(kernel) else filtered, 0, 255).astype(np.uint8)
        size = "×".join(map(str, kernel.shape))
        for ax, array, title in zip(column, (image, pixels), (picture, f"{name} {size}"), strict=True):
            ax.imshow(array, cmap="gray", vmin=0, vmax=255)
            ax.set_title(title, fontweight="normal")
            ax.set_axis_off()
    return figure


SHOWN_CASE = "ndimage.convolve:reflect:float32:512x512:k3x3"


def before_after(results: Results) -> Any:
    """A photograph, its edges, and the times of a filter of that size."""
    from fastconv import kernels, ndimage
    from fastconv.bench.pictures import photo

    rows = results.cases.get(SHOWN_CASE, {})
    if not rows:
        return None
    image = photo("camera")
    edges = [ndimage.convolve(image.astype(np.float32), kernels.named(f"sobel-{axis}")) for axis in "xy"]
    figure = _figure(11.0, 3.7)
    before, after, ax = figure.subplots(1, 3, width_ratios=(1, 1, 1.05))
    before.imshow(image, cmap="gray")
    after.imshow(np.clip(np.hypot(*edges) / 2.0, 0, 255), cmap="gray", vmin=0, vmax=255)
    for picture_ax, title in ((before, "a photograph"), (after, "its edges")):
        picture_ax.set_title(title)
        picture_ax.set_axis_off()
    ordered = sorted(rows.values(), key=lambda row: -row.median)
    names = [f"fastconv {row.contestant}" if row.kind == "engine" else label(row.contestant) for row in ordered]
    times = [row.median * 1e3 for row in ordered]
    ax.barh(names, times, color=[COLOURS.get(row.contestant, "#444444") for row in ordered], height=0.62)
    for y, milliseconds in enumerate(times):
        ax.text(milliseconds + max(times) * 0.02, y, f"{milliseconds:.2g} ms", va="center", fontsize=9)
    ax.set_xlim(0, max(times) * 1.18)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    ax.set_title("ndimage.convolve, float32, 512×512, 3×3")
    return figure


PHOTOGRAPHS = ("filters", "before-after")
FIGURES: dict[str, Callable[[Results], Any]] = {
    "speedup-sizes": speedup_sizes,
    "speedup-operations": speedup_operations,
    "gflops": gflops,
    "bandwidth": bandwidth,
    "filters": filters,
    "before-after": before_after,
}
