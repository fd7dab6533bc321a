"""The Cython extensions; everything else stands in pyproject.toml."""

import platform
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

# One build of the CPU kernels per x86-64 level; fastconv.engines.cython_cpu picks one
# at import.  Flags are spelled out because older compilers lack -march=x86-64-vN.
V2 = ["-mssse3", "-msse4.1", "-msse4.2", "-mpopcnt"]
V3 = V2 + ["-mavx", "-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe"]
V4 = V3 + ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd", "-mprefer-vector-width=512"]
LEVELS = {"v2": V2, "v3": V3, "v4": V4} if platform.machine().lower() in ("x86_64", "amd64") else {"plain": []}

ENGINE = "fastconv/engines/cython_cpu"
HEADERS = sorted(str(path) for ending in ("*.pxi", "*.h") for path in Path(ENGINE).glob(ending))

extensions = [
    Extension(
        "fastconv.engines.threads._threads",
        ["fastconv/engines/threads/_threads.pyx", "fastconv/engines/threads/pool.c"],
        include_dirs=["fastconv/engines/threads", numpy.get_include()],
        depends=["fastconv/engines/threads/pool.h"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O2", "-pthread"],
        extra_link_args=["-pthread"],
    ),
    Extension(
        "fastconv.engines.threads._tape",
        ["fastconv/engines/threads/_tape.pyx"],
        include_dirs=["fastconv/engines/threads", ENGINE, numpy.get_include()],
        depends=["fastconv/engines/threads/pool.h", *HEADERS],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O2", "-Wno-unused-function"],
    ),
    Extension(
        "fastconv.engines.threads._intervals",
        ["fastconv/engines/threads/_intervals.pyx"],
        extra_compile_args=["-O2", "-ffp-contract=off"],
    ),
    Extension(
        "fastconv.memory._blocks",
        ["fastconv/memory/_blocks.pyx", "fastconv/memory/blocks.c"],
        include_dirs=["fastconv/memory", numpy.get_include()],
        depends=["fastconv/memory/blocks.h"],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_1_22_API_VERSION"),
        ],
        extra_compile_args=["-O2"],
    ),
] + [
    Extension(
        f"fastconv.engines.cython_cpu.{level}",
        [f"{ENGINE}/{level}.pyx"],
        include_dirs=[ENGINE],
        depends=HEADERS,
        extra_compile_args=["-O3", "-fno-math-errno", "-Wno-unused-function", *flags],
    )
    for level, flags in LEVELS.items()
]

setup(ext_modules=cythonize(extensions))
