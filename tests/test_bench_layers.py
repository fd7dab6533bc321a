"""The benchmark of networks' layers: their cases, what is right, rivals, and the tables of the page.

Nothing here asserts a speed.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from fastconv.bench import runner, target_report
from fastconv.bench.cases import CASES, select
from fastconv.bench.contestants import Unsupported, WrongOutput
from fastconv.bench.layer_truth import LayerChecker
from fastconv.bench.layers import LAYERS, Layer
from fastconv.bench.network_layers import NETWORK_LAYERS
from fastconv.bench.networks import NETWORKS
from fastconv.bench.results import Results, case_info, entry
from fastconv.bench.rivals import ENGINES, RIVALS, choose
from fastconv.bench.targets import TARGETS, cases_of, outcomes
from fastconv.bench.unfused import parts

EFFORT = runner.Effort(seconds=0.002, blocks=2, patience=5.0)
ROWS = [layer for layer in (*LAYERS, *NETWORK_LAYERS) if layer.row]


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
    assert set(cases_of(CASES, ["networks", "layers"], 16)) == set(ROWS)
    large = {layer.name for layer in ROWS if layer.batch == 16}
    assert {layer.name for layer in ROWS} - {
        layer.name for layer in cases_of(CASES, ["networks", "layers"], 2)
    } == large
    for group, against in {(target.group, target.against) for target in TARGETS if target.group}:
        of = [target for target in TARGETS if (target.group, target.against) == (group, against)]
        cells = [(target.column, layer.row, layer.batch) for target in of for layer in ROWS if target.has(layer.name)]
        assert len(set(cells)) == len(cells), group


def test_the_networks_have_all_their_layers_in_every_way():
    assert {name: len(layers) for name, layers in NETWORKS.items()} == {"resnet50": 23, "vgg16": 9, "mobilenetv2": 30}
    for way, n, layout in product(("prepared", "fast", "plain"), (1, 32), ("NCHW", "NHWC")):
        count = len(select(f"nn.conv2d:*-stride-?-{way}-{layout}:float32:{n}x"))
        assert n == 1 or way == "prepared" or not count
        target = next(t for t in TARGETS if t.name == f"convolution layers, {way} {layout}")
        assert sum(target.has(layer.name) for layer in ROWS) == 62
    wide = next(t for t in TARGETS if t.group.startswith("3×3 layers of stride 1"))
    kernels = {layer.kernel for layer in ROWS if wide.has(layer.name)}
    assert {kernel[2:] for kernel in kernels} == {(3, 3)} and min(kernel[1] for kernel in kernels) == 64
    assert {layer.precision for layer in select("*-fast-*")} == {"fast"}


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
        wrong.reshape(-1)[place] += 3 if wrong.dtype.kind in "iu" else 0.01 * max(1.0, np.abs(values).max())
        with pytest.raises(WrongOutput, match="wrong is wrong at"):
            check("wrong", (wrong, *right[1:]) if isinstance(right, tuple) else wrong)
    with pytest.raises(WrongOutput, match="expected"):
        check("wrong", (values[..., :-1], *right[1:]) if isinstance(right, tuple) else values[..., :-1])


@pytest.mark.parametrize(
    "pattern",
    ["conv2d:resnet50-stride-2-prepared-NHWC", "conv2d_weight:*depthwise*1-plain-NCHW", "gelu", "conv2d:resnet*-fast-"],
)
def test_layers_are_timed(pattern: str):
    outcome = runner.run_case(small(select(pattern)[0]), [ENGINES["cython"]], threads=1, effort=EFFORT)
    assert not outcome.wrong and not outcome.not_run
    (info,) = (one["extra_info"] for one in outcome.entries)
    assert info["row"] and info["batch"] and info["max_error"] <= info["tolerance"]


def test_what_fusing_saves_is_measured_of_the_parts():
    layer = small(select("nn.conv2d:resnet50-stride-1-fused-NHWC")[0])
    outcome = runner.run_case(layer, [ENGINES["cython"]], threads=2, effort=EFFORT)
    assert not outcome.wrong and not outcome.not_run
    assert [one["extra_info"]["contestant"] for one in outcome.entries] == ["cython", "cython alone", "cython unfused"]
    x, w = layer.arguments()
    fused, alone, unfused = (c.prepare(layer, x, w)() for c in (ENGINES["cython"], *parts(ENGINES["cython"])))
    np.testing.assert_allclose(fused, unfused, atol=1e-5)
    assert alone.min() < 0 and unfused.min() == 0
    known = SimpleNamespace(kind="engine", version=lambda: "1")
    seconds = {"cython": 1.1, "cython alone": 1.0, "cython unfused": 1.5}
    one = select("nn.conv2d:resnet50-stride-1-fused-NHWC")[0]
    results = Results(
        {
            "benchmarks": [
                entry(one.family, one.name, [t] * 2, case_info(one, SimpleNamespace(name=name, **vars(known)), 2, None))
                for name, t in seconds.items()
            ]
        }
    )
    (found,) = (o for o in outcomes(results) if o.target.against == "unfused" and o.engine == "cython")
    assert found.mean == pytest.approx(0.8) and found.cells[0].weight == pytest.approx(0.5)


@pytest.mark.parametrize("operation", ["nn.conv2d:resnet50-stride-1-prepared-NHWC", "nn.max_pool2d:*indices-NCHW"])
def test_three_images_of_a_large_batch_are_looked_at(operation: str):
    layer = small(select(operation)[0])
    layer = replace(layer, shape=(11, *layer.shape[1:]))
    x, arguments = layer.arguments()
    check = LayerChecker(layer, x, arguments)
    with ENGINES["cython"].session(1):
        right = ENGINES["cython"].prepare(layer, x, arguments)()
    check("right", right)
    for image in (0, 10):
        wrong = tuple(values.copy() for values in right) if isinstance(right, tuple) else right.copy()
        (wrong[0] if isinstance(wrong, tuple) else wrong)[image] += 1
        with pytest.raises(WrongOutput, match="is wrong at"):
            check("wrong", wrong)
    with pytest.raises(WrongOutput, match="gave shape"):
        check("short", tuple(values[:4] for values in right) if isinstance(right, tuple) else right[:4])


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


def test_the_table_shows_both_rivals_of_a_pooling():
    first, last = (
        next(layer for layer in select(f"nn.max_pool2d:2x2-stride-2-{layout}:*") if layer.batch == 1)
        for layout in ("NCHW", "NHWC")
    )
    results = made_up({first: {"cython": 1.0, "torch": 4.0}, last: {"cython": 2.0, "torch": 0.8}})
    found = {(o.target.name, o.target.against): o for o in outcomes(results)}
    assert found["pooling, NCHW", "torch"].mean == pytest.approx(4.0)
    assert found["pooling, NCHW", "torch either way"].mean == pytest.approx(0.8)
    assert found["pooling, NHWC", "torch"].mean == pytest.approx(0.4)
    assert not found["pooling, NCHW", "torch"].reached, "12 is asked"
    assert found["pooling, NHWC", "torch either way"].reached, "nothing is asked"
    text = target_report.html(results)
    assert f"<td>{first.row}</td>" in text and "<th>NCHW cython, N=1</th>" in text
    assert '<span class="win">4.0×</span> <small>0.80×</small>' in text
    assert '<span class="loss">0.40×</span> <small>0.40×</small>' in text
    assert target_report.terminal(results).row_count == 2


def test_layers_are_held_against_the_faster_layout_with_limit_and_error_beside():
    layers = [
        next(
            layer for layer in select(f"nn.conv2d:resnet50-stride-1-prepared-{layout}:*k64x64x3x3") if layer.batch == 1
        )
        for layout in ("NCHW", "NHWC")
    ]
    results = made_up({layers[0]: {"cython": 1.0, "torch": 3.0}, layers[1]: {"cython": 2.0, "torch": 2.4}})
    for one in results.document["benchmarks"]:
        one["extra_info"]["relative_error"] = {"cython": 3e-7, "torch": 2e-7}[one["extra_info"]["contestant"]]
    ceilings = {"fma_float32": 2000.0, "copy": {"100": 1e4, "10000": 1e4}}
    found = Results({**results.document, "fastconv": {"ceilings": ceilings}})
    outcome = {o.target.name: o for o in outcomes(found)}
    assert outcome["convolution layers, prepared NCHW"].mean == pytest.approx(2.4)
    assert outcome["convolution layers, prepared NHWC"].mean == pytest.approx(1.2)
    assert outcome["3×3 layers of stride 1, 64 channels and more, prepared NCHW"].reached
    assert not outcome["convolution layers, prepared NHWC"].reached, "1.45 is asked"
    assert outcome["convolution layers, prepared NHWC"].error == pytest.approx(1.5)
    cell = outcome["convolution layers, prepared NHWC"].cells[0]
    assert cell.limit == pytest.approx(1000 / 2000 / 2.0), "a thousand operations in two seconds"
    text = target_report.html(found)
    assert '<span class="win">1.2×</span> <small>25%</small><br><small>3.0e-07 (2.0e-07)</small>' in text
    assert 'Errors are <b class="loss">1.5×</b> PyTorch\'s.' in text
