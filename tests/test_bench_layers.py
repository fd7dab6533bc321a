"""The benchmark of networks' layers: their cases, what is right, rivals, and the tables of the page.

Nothing here asserts a speed.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fastconv.bench import runner, target_report
from fastconv.bench.cases import CASES, select
from fastconv.bench.contestants import Unsupported, WrongOutput
from fastconv.bench.layer_truth import LayerChecker
from fastconv.bench.layers import LAYERS, Layer
from fastconv.bench.results import Results, case_info, entry
from fastconv.bench.rivals import ENGINES, RIVALS, choose
from fastconv.bench.targets import TARGETS, cases_of, outcomes

EFFORT = runner.Effort(seconds=0.002, blocks=2, patience=5.0)
ROWS = [layer for layer in LAYERS if layer.row]


def small(layer: Layer) -> Layer:
    """The layer with few channels and uneven sizes that strides do not fit."""
    shape, kernel = list(layer.shape), list(layer.kernel)
    if "conv" in layer.operation and layer.operation != "conv2d_bias":
        channels, filters = (5, 5) if layer.groups > 1 else (3, 4)
        kernel[:2] = filters, 1 if layer.groups > 1 else channels
        options = {**layer.keywords, "groups": channels if layer.groups > 1 else 1}
        layer = replace(layer, groups=options["groups"], options=tuple(options.items()))
    else:
        channels = 6
    if layer.layout:
        nhwc = layer.layout == "NHWC"
        shape = [2, 15, 13, channels] if nhwc else [2, channels, 15, 13]
        if layer.operation == "conv2d_bias":
            kernel[:2] = channels, channels
    else:
        shape = [min(n, size) for n, size in zip((2, 21, 5, 7), shape, strict=True)]
    return replace(layer, shape=tuple(shape), kernel=tuple(kernel))


# one of each function, window, stride and layout
KINDS = list(
    {(layer.family, layer.kernel[2:] if "conv" in layer.operation else ()): small(layer) for layer in ROWS}.values()
)


def name(layer: Layer) -> str:
    return f"{layer.family}:{'x'.join(map(str, layer.kernel))}"


def test_each_layer_has_both_layouts_and_a_place_in_a_table():
    twins: dict[str, set[str]] = {}
    for layer in ROWS:
        twins.setdefault(layer.anyhow, set()).add(layer.layout)
    assert set(map(frozenset, twins.values())) == {frozenset({"NCHW", "NHWC"}), frozenset({""})}
    assert set(cases_of(CASES, filters=False, layers=True)) == set(ROWS)
    for group in {target.group for target in TARGETS if target.group}:
        cells = [
            (layer.row, layer.layout, layer.batch)
            for layer in ROWS
            if any(target.has(layer.name) for target in TARGETS if target.group == group)
        ]
        assert len(set(cells)) == len(cells), group


@pytest.mark.parametrize("layer", KINDS, ids=name)
def test_everyone_computes_what_the_formula_gives(layer: Layer):
    x, arguments = layer.arguments()
    check = LayerChecker(layer, x, arguments)
    present, _ = choose(["torch", "float32"], RIVALS, "rivals")
    for contestant in (*present, *(ENGINES[engine] for engine in ("cython", "numba", "reference"))):
        with contestant.session(1):
            try:
                output = contestant.prepare(layer, x, arguments)()
            except Unsupported:
                assert contestant.name == "reference" or (
                    contestant.name == "float32" and "quantized" not in layer.name
                )
                continue
            check(contestant.name, output, contestant.slack(layer))


@pytest.mark.parametrize("layer", KINDS, ids=name)
def test_wrong_outputs_are_noticed(layer: Layer):
    x, arguments = layer.arguments()
    check = LayerChecker(layer, x, arguments)
    right = check.expected
    values = right[0] if isinstance(right, tuple) else right
    values = values if values.dtype.kind in "iu" else values.astype(x.dtype)
    check("right", lambda: (values, *right[1:]) if isinstance(right, tuple) else values)
    for place in (0, values.size // 2, values.size - 1):
        wrong = values.copy()
        wrong.reshape(-1)[place] += 3 if wrong.dtype.kind in "iu" else 0.01 * np.abs(values).max()
        with pytest.raises(WrongOutput, match="wrong is wrong at"):
            check("wrong", (wrong, *right[1:]) if isinstance(right, tuple) else wrong)
    with pytest.raises(WrongOutput, match="expected"):
        check("wrong", (values[..., :-1], *right[1:]) if isinstance(right, tuple) else values[..., :-1])


@pytest.mark.parametrize("pattern", ["conv2d:resnet50-stride-2-NHWC", "conv2d_weight:*depthwise*1-NCHW", "gelu"])
def test_layers_are_timed(pattern: str):
    outcome = runner.run_case(small(select(pattern)[0]), [ENGINES["cython"]], threads=1, effort=EFFORT)
    assert not outcome.wrong and not outcome.not_run
    (info,) = (one["extra_info"] for one in outcome.entries)
    assert info["row"] and info["batch"] and info["max_error"] <= info["tolerance"]


def made_up(times: dict[Layer, dict[str, float]]) -> Results:
    """Results of a run that never was."""
    known = {
        who: SimpleNamespace(name=who, kind="engine" if who in ENGINES else "rival", version=lambda: "1")
        for who in ("cython", "torch")
    }
    return Results(
        {
            "benchmarks": [
                entry(case.family, case.name, [seconds] * 2, case_info(case, known[who], 2, (1000, 1000)))
                for case, of in times.items()
                for who, seconds in of.items()
            ]
        }
    )


def test_the_table_shows_both_rivals_of_a_layer():
    first, last = (
        next(layer for layer in select(f"nn.conv2d:resnet50-stride-1-{layout}:*k64x64x3x3") if layer.batch == 1)
        for layout in ("NCHW", "NHWC")
    )
    results = made_up({first: {"cython": 1.0, "torch": 4.0}, last: {"cython": 2.0, "torch": 0.8}})
    found = {(o.target.name, o.target.against): o for o in outcomes(results)}
    assert found["dense convolution, NCHW", "torch"].mean == pytest.approx(4.0)
    assert found["dense convolution, NCHW", "torch either way"].mean == pytest.approx(0.8)
    assert found["dense convolution, NHWC", "torch"].mean == pytest.approx(0.4)
    assert found["dense convolution, NCHW", "torch"].reached and not found["dense convolution, NHWC", "torch"].reached
    assert found["dense convolution, NHWC", "torch either way"].reached, "nothing is asked"
    text = target_report.html(results)
    assert f"<td>{first.row}</td>" in text and "<th>NCHW cython, N=1</th>" in text
    assert '<span class="win">4.0×</span> <small>0.80×</small>' in text
    assert '<span class="loss">0.40×</span> <small>0.40×</small>' in text
    assert target_report.terminal(results).row_count == 4
