"""Runs a CUDA C++ kernel of `engines.numba_cuda` on the host: `emulated.h` gives CUDA's words a meaning there."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from shutil import which
from tempfile import mkdtemp
from typing import Any

import numpy as np

from fastconv.engines.numba_cuda.launch import RULES, Kernel
from fastconv.engines.numba_cuda.nvrtc import FOLDER

HEADER = Path(__file__).with_name("emulated.h")

# Headers of the kernels, and what in them is instructions of PTX, which `emulated.h` has in other words.
HEADERS = ("matrix_units", "staging", "elements")
INSTRUCTIONS = (
    *("shared_address", "copy_async", "copy_vector", "store_shared", "load_shared", "commit_async", "wait_but"),
    *("rounded_to_half", "of_half", "largest_of_warp", "described", "publish"),
    *("begin_products", "multiply_bands", "end_products", "await_products", "settle"),
)

ENTRY = """
extern "C" void go(const float* x, const float* w, float* out, const float* bias, double fill, const float* weights,
                   const long long* numbers, int grid_x, int grid_y, int grid_z, size_t shared, const float* begin,
                   const float* end) {
  Geometry g;
  std::memcpy(&g, numbers, sizeof g);
#if WEIGHTS
  Weights all;
  std::memcpy(&all, weights, sizeof all);
  run_grid(grid_x, grid_y, grid_z, THREADS, shared, begin, end, [&] { KERNEL(x, w, out, bias, fill, all, g); });
#else
  run_grid(grid_x, grid_y, grid_z, THREADS, shared, begin, end, [&] { KERNEL(x, w, out, bias, fill, g); });
#endif
}
"""


@cache
def compiled(kernel: Kernel) -> Any:
    """The kernel's launch as a function of the host."""
    source = kernel.source
    assert source is not None
    macros = {f"RULE_{rule.upper()}": code for rule, code in RULES.items()} | dict(source.macros)
    macros |= {
        "THREADS": kernel.bounds[0],
        "BLOCKS": kernel.bounds[1],
        "WEIGHTS": kernel.constants,
        "KERNEL": source.name,
    }
    defined = {**macros, "GEOMETRY": ", ".join(kernel.geometry._fields)}
    text = (FOLDER / f"{source.name}.cu").read_text()
    for header in HEADERS:
        contents = (FOLDER / f"{header}.cuh").read_text().replace("#pragma once", "")
        for name in INSTRUCTIONS:
            pattern = rf"(template <int COUNT>\n)?__device__ inline [\w ]+ {name}\(.*?(}}\n|\n}}\n)"
            contents = re.sub(pattern, "", contents, count=1, flags=re.DOTALL)
        assert "asm" not in contents, f"{header}.cuh: emulated.h knows no other word for an instruction"
        text = text.replace(f'#include "{header}.cuh"', contents)
    text = text.replace("extern __shared__ float4 memory[];", "float4* memory = (float4*)shared_memory;")
    text = text.replace("__shared__", "static")
    lines = [f"#define {name} {value}" for name, value in defined.items()]
    folder = Path(mkdtemp())
    (folder / "kernel.cpp").write_text("\n".join([*lines, HEADER.read_text(), text, ENTRY]))
    command = [
        which("g++") or "c++",
        "-std=c++20",
        "-O1",
        "-w",
        "-shared",
        "-fPIC",
        "kernel.cpp",
        "-o",
        "kernel.so",
    ]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernel.so")).go


def run(
    kernel: Kernel,
    grid: Sequence[int],
    arrays: Sequence[np.ndarray | None],
    fill: float,
    geometry: tuple,
    shared: int,
    weights: np.ndarray | None = None,
) -> None:
    """Launch a kernel on arrays of the host, the first of which is the image: nothing else may be read for it."""
    places = [ctypes.c_void_p(None if array is None else array.ctypes.data) for array in arrays]
    low, high = np.lib.array_utils.byte_bounds(arrays[0])

    numbers, constants = (
        np.array(geometry, np.int64),
        np.zeros(1, "f4") if weights is None else np.ascontiguousarray(weights, "f4"),
    )
    compiled(kernel)(
        *places, ctypes.c_double(fill), ctypes.c_void_p(constants.ctypes.data), ctypes.c_void_p(numbers.ctypes.data),
        *grid, ctypes.c_size_t(shared), ctypes.c_void_p(low), ctypes.c_void_p(high),
    )  # fmt: skip
