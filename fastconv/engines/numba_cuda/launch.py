"""From arrays to a launch: what every CUDA kernel of the library goes through.

A `Call` puts the arrays of one call on one device and does everything in the order of one
stream: the current stream of the library that the arrays belong to, the one that they name
themselves, or the default stream.  Device arrays are never copied, and the host never waits
for the device unless a result belongs on the host.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from fastconv.device import DeviceArray, recorded
from fastconv.dlpack import Handed
from fastconv.install import install_command

__all__ = [
    "BLOCK",
    "RULES",
    "Call",
    "Kernel",
    "Source",
    "block_and_grid",
    "new_handed_array",
    "new_numba_array",
    "require",
]

INSTALL = install_command("cuda")

# How kernels name the boundary rules of `fastconv.boundary`.
RULES = {rule: code for code, rule in enumerate(("fill", "nearest", "wrap", "reflect", "mirror"))}

# Threads of a block, and the most blocks along a grid's y and z.
BLOCK = 256
MAX_BLOCKS = 65535


@dataclass(frozen=True)
class Source:
    """A kernel in CUDA C++ (see `nvrtc`): the name of its file and of itself, and what it is compiled for.

    Where it `needs_own` features of one kind of GPU, its code runs on no later one.
    """

    name: str
    macros: tuple[tuple[str, int | str], ...]
    needs_own: bool = False

    @classmethod
    def of(cls, name: str, **macros: int | str) -> Source:
        """A source with its macros by name."""
        return cls(name, tuple((k, v if isinstance(v, str) else int(v)) for k, v in macros.items()))


@dataclass(frozen=True)
class Kernel:
    """A kernel by the contract of this package: a function, and the types of its arguments.

    Where there is a `source`, that is compiled, and the function is its twin for Numba's simulator.
    """

    function: Callable
    pointers: tuple[str, ...]
    scalars: tuple[str, ...]
    geometry: Any
    bounds: tuple[int, ...] = ()  # threads of a block at most, and how many blocks a multiprocessor shall hold
    constants: int = 0  # float32 numbers that go by value, behind the scalars
    source: Source | None = None
    name: str = ""  # tells its code on disk apart from that of all others; without one it is not kept there


@cache
def require() -> Any:
    """The module that runs kernels: `driver`, or `simulator` where Numba simulates CUDA.

    Raises
    ------
    RuntimeError
        If there is no numba-cuda, no driver or no GPU; it says what to do.
    """
    if find_spec("numba_cuda") is None:
        raise RuntimeError(f"engine 'cuda' needs the package numba-cuda: {INSTALL}. The other engines run without it.")
    simulated = bool(import_module("numba").config.ENABLE_CUDASIM)
    runner = import_module(f"fastconv.engines.numba_cuda.{'simulator' if simulated else 'driver'}")
    runner.check()
    return runner


def block_and_grid(inner: int, middle: int, outer: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Block and grid for outputs of these extents, one thread each; see the contract."""
    across = min(_power_of_two(inner), 32)
    down = min(_power_of_two(middle), BLOCK // across)
    across = min(_power_of_two(inner), BLOCK // down)
    return (across, down, 1), (-(-inner // across), min(-(-middle // down), MAX_BLOCKS), min(outer, MAX_BLOCKS))


def new_numba_array(shape: tuple[int, ...], dtype: np.dtype, like: DeviceArray) -> Any:
    """A new device array of Numba's, on the device of another and bound to its stream."""
    runner = require()
    with runner.current(runner.device_of(like.address)):
        return runner.numba_array(shape, dtype, _stream_of(like))


def new_handed_array(shape: tuple[int, ...], dtype: np.dtype, like: DeviceArray) -> Handed:
    """New memory for a result that a library without a stream of its own to name takes by DLPack."""
    runner = require()
    device = runner.device_of(like.address)
    with runner.current(device):
        return Handed(runner, shape, dtype, device)


class Call:
    """The arrays of one call, on one device and in the order of one stream.

    Parameters
    ----------
    *arrays : DeviceArray, ndarray or None
        The first device array decides on the device and the stream.
    """

    def __init__(self, *arrays: Any):
        self._runner = require()
        self._arrays = [array for array in arrays if isinstance(array, DeviceArray)]
        self._cleanup = ExitStack()
        self.stream = _stream_of(self._arrays[0]) if self._arrays else 0
        devices = {self._runner.device_of(array.address) for array in self._arrays}
        if len(devices) > 1:
            raise ValueError(f"all arrays must be on one device; got arrays on devices {sorted(devices)}")
        self.device = devices.pop() if devices else self._runner.current_device()

    def __enter__(self) -> Call:
        self._cleanup.enter_context(self._runner.current(self.device))
        for stream in {array.stream for array in self._arrays} - {None, self.stream}:
            self._runner.wait(self.stream, stream)
            _tell(None)
        return self

    def __exit__(self, *error: Any) -> None:
        self._cleanup.close()

    @property
    def has_matrix_units(self) -> bool:
        """Whether the device multiplies matrices of bytes."""
        return self._runner.capability(self.device) >= (8, 0)

    @property
    def has_warpgroups(self) -> bool:
        """Whether four warps of the device multiply matrices together, as those of sm_90 do."""
        return self._runner.capability(self.device) == (9, 0)

    def put(self, array: Any, *, contents: bool = True) -> Any:
        """The array itself, or for a host array as much device memory, with its contents if asked for."""
        if array is None or isinstance(array, DeviceArray):
            return array
        _tell(None)
        memory = self._runner.allocate(array.nbytes, self.stream)
        self._cleanup.callback(memory.free)
        if contents:
            self._runner.upload(np.ascontiguousarray(array), memory.address, self.stream)
        return DeviceArray.at(memory, memory.address, array.shape, array.dtype)

    def get(self, array: DeviceArray, out: Any) -> None:
        """Bring what `put` made of `out` back to the host; this waits for the device."""
        if isinstance(out, DeviceArray):
            return
        host = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
        self._runner.download(array.address, host, self.stream)
        if host is not out:
            out[...] = host

    def launch(
        self, kernel: Kernel, extents: Sequence[int], arrays: Sequence[Any], scalars: Sequence[Any], geometry: tuple
    ) -> None:
        """Start a kernel that has one thread for each output of the `extents`."""
        block, grid = block_and_grid(*extents)
        self.start(kernel, grid, block, arrays, scalars, geometry)

    def start(
        self,
        kernel: Kernel,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arrays: Sequence[Any],
        scalars: Sequence[Any],
        geometry: tuple,
        shared: int = 0,
        constants: Sequence[float] = (),
    ) -> None:
        """Start a kernel, with so many bytes of shared memory a block."""
        self._runner.run(kernel, grid, block, arrays, scalars, geometry, self.stream, shared, constants)
        if recorded.get() is not None:
            _tell(self._runner.prepared(kernel, grid, block, arrays, scalars, geometry, shared, constants))


def _tell(launch: Any) -> None:
    """Tell of a launch, or (None) of work that new addresses alone do not repeat."""
    launches = recorded.get()
    if launches is not None:
        launches.append(launch)


def _stream_of(array: DeviceArray) -> int:
    """The stream in whose order the array's library would now work on it."""
    if array.library == "torch":
        return sys.modules["torch"].cuda.current_stream(array.owner.device).cuda_stream
    if array.library == "cupy":
        return sys.modules["cupy"].cuda.get_current_stream().ptr
    return array.stream or 0


def _power_of_two(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()
