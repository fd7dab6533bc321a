"""Kernels in CUDA C++: files beside this one, compiled by NVRTC, which numba-cuda brings along.

What Numba makes of the same loops is slower (ARCHITECTURE.md has the numbers).  A file holds one kernel, ``extern "C"``, with
the file's name and the contract's arguments (`fastconv.engines.numba_cuda`): `elements.cuh` has the types of its weights and
its geometry, one parameter each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastconv.engines.numba_cuda.launch import RULES, Kernel

__all__ = ["FOLDER", "architecture", "compile_source"]

FOLDER = Path(__file__).parent


def architecture(kernel: Kernel, capability: tuple[int, int]) -> str:
    """What NVIDIA's compilers call the kind of GPU that a kernel is for."""
    return "{}{}".format(*capability) + "a" * (kernel.source is not None and kernel.source.needs_own)


def compile_source(kernel: Kernel, capability: tuple[int, int]) -> str:
    """A kernel's source as PTX; needs the compiler's library, but no GPU.

    Besides the source's macros there are ``THREADS`` and ``BLOCKS``, the kernel's bounds, ``WEIGHTS``, how many it has by value,
    the names of its ``GEOMETRY``, and ``RULE_FILL`` and so on.
    """
    from cuda.bindings import nvrtc

    assert kernel.source is not None
    name, macros = f"{kernel.source.name}.cu", {f"RULE_{rule.upper()}": code for rule, code in RULES.items()}
    macros |= {**dict(zip(("THREADS", "BLOCKS"), kernel.bounds, strict=True)), "WEIGHTS": kernel.constants}
    defined = {**macros, **dict(kernel.source.macros), "GEOMETRY": ", ".join(kernel.geometry._fields)}
    options = [f"-D{macro}={value}" for macro, value in defined.items()]
    options += [
        "--std=c++17",
        "--device-as-default-execution-space",
        f"--gpu-architecture=compute_{architecture(kernel, capability)}",
        f"--include-path={FOLDER}",
    ]
    program = _do(nvrtc.nvrtcCreateProgram, (FOLDER / name).read_bytes(), name.encode(), 0, [], [])
    try:
        if nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])[0]:
            log = bytearray(_do(nvrtc.nvrtcGetProgramLogSize, program))
            _do(nvrtc.nvrtcGetProgramLog, program, log)
            raise RuntimeError(log.rstrip(b"\0").decode())
        ptx = bytearray(_do(nvrtc.nvrtcGetPTXSize, program))
        _do(nvrtc.nvrtcGetPTX, program, ptx)
        return ptx.rstrip(b"\0").decode()
    finally:
        _do(nvrtc.nvrtcDestroyProgram, program)


def _do(function: Any, *arguments: Any) -> Any:
    error, *values = function(*arguments)
    if error:
        raise RuntimeError(f"{function.__name__} failed with {error.name}")
    return values[0] if values else None
