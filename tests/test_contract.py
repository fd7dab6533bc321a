"""The kernel contract: records as the algorithms write them, structs as the engines read them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.engines import contract, cython_cpu, numba_cpu

CYTHON_SOURCES = sorted((Path(fastconv.__file__).parent / "engines" / "cython_cpu").glob("*.pxi"))
RECORDS = [name for name in contract.__all__ if name.endswith("_FIELDS")]
STRUCT = re.compile(r"^cdef struct (\w+):\n((?:    .+\n|\n)+)", re.MULTILINE)


def cython_structs() -> dict[str, list[str]]:
    """Field names of every ``...Args`` struct in the .pxi files, in order, structs within it spelled out."""
    bodies = dict(match for source in CYTHON_SOURCES for match in STRUCT.findall(source.read_text()))

    def fields(struct: str) -> list[str]:
        found = []
        for line in bodies[struct].splitlines():
            line = re.sub(r"#.*", "", line).strip()
            inner = line.split()[0] if line else ""
            found += fields(inner) if inner in bodies else re.findall(r"(\w+)\s*(?:,|$)", line)
        return found

    return {name: fields(name) for name in bodies if name.endswith("Args")}


def struct_name(record: str) -> str:
    return "".join(word.capitalize() for word in record.removesuffix("_FIELDS").split("_")) + "Args"


def fields_of(record: str) -> tuple[str, ...]:
    return getattr(contract, record)


@pytest.mark.parametrize("record", RECORDS)
def test_cython_structs_repeat_the_fields(record):
    structs = cython_structs()
    assert struct_name(record) in structs
    fields = structs[struct_name(record)]
    if record == "POOL_FIELDS":
        assert fields[1] == "idx"  # pooling passes its index array in the place of the weights
        fields[1] = "w"
    assert fields == list(fields_of(record))


def test_every_struct_has_a_record():
    assert set(cython_structs()) == {struct_name(record) for record in RECORDS}


@pytest.mark.parametrize("record", RECORDS)
def test_records_start_with_the_header_and_fit(record):
    fields = fields_of(record)
    assert fields[: len(contract.HEADER)] == contract.HEADER
    assert len(set(fields)) == len(fields) <= contract.MAX_SLOTS


def test_launch_knows_the_sizes():
    source = (Path(fastconv.__file__).parent / "engines" / "threads" / "_threads.pyx").read_text()
    assert f"MAX_SLOTS = {contract.MAX_SLOTS}\n" in source
    assert f"HEADER = {len(contract.HEADER)}\n" in source


def test_codes_in_the_c_headers():
    """The enums of the C headers name dtypes and orders of summation by the same numbers."""
    header = (CYTHON_SOURCES[0].parent / "tiles_all.h").read_text()
    names = re.search(r"enum \{ (BOOL,[^}]*) \}", header).group(1).split(", ")
    assert {name.strip().lower(): code for code, name in enumerate(names)} == contract.DTYPE_CODES
    assert (
        f"enum {{ SATURATE = {contract.SATURATE} }};" in header
        and max(contract.DTYPE_CODES.values()) < contract.SATURATE
    )
    orders = re.search(
        r"enum \{ ORDER_C = (\d), ORDER_LINE = (\d), ORDER_SYMMETRIC = (\d), ORDER_ANTISYMMETRIC = (\d) \}",
        (CYTHON_SOURCES[0].parent / "exact.h").read_text(),
    )
    wanted = [contract.EXACT_CODES[order] for order in ("order", "line", "symmetric", "antisymmetric")]
    assert list(map(int, orders.groups())) == wanted


def test_record_wants_every_slot():
    geometry = dict.fromkeys(contract.FILTER_FIELDS[len(contract.HEADER) :], 3)
    slots = contract.record(contract.FILTER_FIELDS, geometry)
    assert slots.dtype == np.int64
    assert slots.tolist() == [0] * len(contract.HEADER) + [3] * len(geometry)
    with pytest.raises(KeyError, match="strip"):
        contract.record(contract.FILTER_FIELDS, {k: v for k, v in geometry.items() if k != "strip"})
    with pytest.raises(KeyError, match="surplus"):
        contract.record(contract.FILTER_FIELDS, {**geometry, "surplus": 1})


# -- twins --------------------------------------------------------------------------------------

# What the Numba engine leaves to others: SciPy's transforms, and its own filter in double.
ONLY_CYTHON = {
    "depthwise8",
    "depthwise_input",
    "overlap",
    "lines",
    "panels",
    "panels8",
    "panel_weights",
    "panel_weights8",
    "pointwise_gradient",
    "winograd_gradient",
    "winograd_line",
    "winograd_line_weights",
    "winograd_pieces",
}


@pytest.mark.parametrize("engine", [cython_cpu, numba_cpu], ids=["cython", "numba"])
def test_cpu_engines_have_the_same_face(engine):
    rows, row_bytes = engine.TILE
    assert rows >= 1 and row_bytes % 16 == 0
    assert engine.LINE[0] == 1
    address = engine.kernel("filter", "float32")
    assert isinstance(address, int) and address != 0
    assert engine.is_ready("filter", "float32")
    with pytest.raises(KeyError):
        engine.kernel("no such operation", "float32")


def test_cpu_engines_have_the_same_kernels():
    operations = {name.split(":")[0] for name in cython_cpu._build.KERNELS}
    assert set(numba_cpu._MODULES) == operations - ONLY_CYTHON
    for operation, module in numba_cpu._MODULES.items():
        names = dict.fromkeys(("max_pool", "max_pool_indices", "avg_pool"), "pool") | {"unfold": "fold"}
        names |= dict.fromkeys(("deform_places", "deform_image"), "deform_gradient")
        record = f"{names.get(operation, operation).upper()}_FIELDS"
        assert fields_of(record) == import_module(f"fastconv.engines.numba_cpu.{module}").FIELDS


def test_engine_modules_exist():
    from fastconv.table import _ENGINE_MODULES

    for name in _ENGINE_MODULES.values():
        assert import_module(name)
