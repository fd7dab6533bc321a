"""The CUDA engine on a machine without a GPU: its kernels run on Numba's simulator and compile to PTX.

On a machine with a GPU, see `on_cuda.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fastconv.algorithms import device_host, device_lines, device_streams
from fastconv.device import DeviceArray, as_device, native
from fastconv.engines.numba_cuda import define
from fastconv.problem import ConvProblem

TESTS = Path(__file__).parent

# The shared tests whose arrays are small enough for the simulator, which takes 1 us a tap.
SHARED = (
    "test_2d_mixed_dtypes or test_fillvalue or test_complex or test_boundary_aliases or test_any_2d "
    "or test_dtypes_1d or test_what_no_integer_holds or test_cval or test_origin or test_axes or test_mode_aliases "
    "or test_nan_stays or test_conv_mixed_dtypes or test_conv_dtypes or test_any_conv or test_avg_pool or test_max_pool "
    "or test_pool_nan or test_pool_out or test_any_max_pool or test_any_avg_pool"
)


def pytest_on_the_simulator(*arguments: str) -> None:
    """Run tests in a process of their own: Numba decides at its import whether it simulates."""
    environment = {"NUMBA_ENABLE_CUDASIM": "1", "FASTCONV_TEST_ENGINES": "cuda", "FASTCONV_TEST_EXAMPLES": "10"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=TESTS.parent, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout) and "skipped" not in done.stdout


@pytest.mark.parametrize("name", ["on_cuda", "on_cuda_direct", "on_cuda_lines", "on_cuda_ndimage", "on_cuda_pooling"])
def test_arrays_on_a_device(name):
    pytest_on_the_simulator(f"tests/{name}.py")


@pytest.mark.parametrize("name", ["signal", "ndimage", "nn"])
def test_what_all_engines_share(name):
    pytest_on_the_simulator(f"tests/test_{name}.py", "-k", SHARED)


def test_pooling_that_all_engines_share():
    """All but folding, and what takes more than the simulator's time."""
    others = "fold or workspace or many_channels or any_number or bad_input or finite_differences or unpooling_what"
    pytest_on_the_simulator("tests/test_pooling.py", "-k", f"not ({others})")


# -- what is missing is said ----------------------------------------------------------------------

ASK = """
import numpy as np, fastconv
image, kernel = np.ones((5, 4)), np.ones((2, 3))
with fastconv.use(engine="cuda"):
    try:
        fastconv.convolve2d(image, kernel)
    except RuntimeError as error:
        print(error)
assert fastconv.convolve2d(image, kernel, "valid").sum() == 48
"""


def output_of(program: str, **environment: str) -> str:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0", **environment}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=True
    ).stdout


def test_without_a_gpu():
    message = output_of(ASK, CUDA_VISIBLE_DEVICES="-1")
    assert "needs an NVIDIA GPU and its driver" in message and "other engines" in message


def test_without_numba_cuda():
    message = output_of("import sys; sys.modules['numba_cuda'] = None\n" + ASK)
    assert "needs the package numba-cuda: pip install " in message and "[cuda]" in message


class FakeDriver:
    """A driver whose calls fail, or answer, as they are told."""

    def __init__(self, **answers: object):
        self.answers = answers

    def __getattr__(self, name: str) -> object:
        from cuda.bindings import driver

        if not name.startswith("cu") or name in ("cuda",):
            return getattr(driver, name)

        def call(*arguments: object) -> tuple:
            answer = self.answers.get(name, 0)
            if isinstance(answer, str):
                return (getattr(driver.CUresult, f"CUDA_ERROR_{answer}"),)
            return driver.CUresult.CUDA_SUCCESS, answer

        call.__name__ = name
        return call


@pytest.mark.parametrize(
    "answers, message",
    [
        ({"cuInit": "NO_DEVICE"}, "needs an NVIDIA GPU and its driver: .*NO_DEVICE.*other engines"),
        ({"cuDeviceGetCount": 0}, "needs an NVIDIA GPU; the driver sees none.*other engines"),
        ({"cuDeviceGetCount": 1, "cuDriverGetVersion": 11080}, "driver for CUDA 12.0; this one is for 11.8: update it"),
    ],
)
def test_what_is_wrong_with_a_machine_is_said(monkeypatch, answers, message):
    from fastconv.engines.numba_cuda import driver

    monkeypatch.setattr(driver, "driver", FakeDriver(**answers))
    with pytest.raises(RuntimeError, match=message):
        driver.check()


@pytest.mark.parametrize(
    "error, kind, message",
    [
        ("OUT_OF_MEMORY", MemoryError, "no memory left on the GPU.*smaller ones"),
        ("ILLEGAL_ADDRESS", RuntimeError, "ILLEGAL_ADDRESS: an earlier kernel.*start a new one"),
        ("NO_BINARY_FOR_GPU", RuntimeError, "the driver is older than the compiler's libraries"),
        ("INVALID_VALUE", RuntimeError, "cuMemAllocAsync failed with CUDA_ERROR_INVALID_VALUE"),
    ],
)
def test_what_a_call_of_the_driver_lacked_is_said(monkeypatch, error, kind, message):
    from fastconv.engines.numba_cuda import driver

    monkeypatch.setattr(driver, "driver", FakeDriver(cuMemAllocAsync=error))
    with pytest.raises(kind, match=message):
        driver.allocate(100, 0)


def test_arrays_on_two_devices_are_refused(monkeypatch):
    from fastconv.engines.numba_cuda import launch

    class Runner:
        device_of = staticmethod(lambda address: address >> 32)

    monkeypatch.setattr(launch, "require", Runner)
    x, y = (DeviceArray.at(object(), device << 32, (4,), np.dtype("f4")) for device in (1, 2))
    with pytest.raises(ValueError, match=r"all arrays must be on one device; got arrays on devices \[1, 2\]"):
        launch.Call(x, None, y)


# -- compiled code is kept ------------------------------------------------------------------------


def test_machine_code_is_kept_on_disk(monkeypatch, tmp_path):
    from fastconv.engines.numba_cuda import cubins

    compiled = []
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cubins, "compile_ptx", lambda kernel, capability: (f"ptx of {kernel.name}", "entry"))
    monkeypatch.setattr(cubins, "link", lambda ptx, capability: compiled.append(ptx) or Code(ptx.encode()))
    cubins.cache_folder.cache_clear()
    try:
        first, second = define("max_2x2", "float32"), define("avg", "float32")
        for kernel, capability, driver in [
            (first, (9, 0), 13000), (first, (8, 0), 13000), (first, (9, 0), 12080), (second, (9, 0), 13000)
        ] * 2:  # fmt: skip
            assert cubins.code_of(kernel, capability, driver) == ("entry", f"ptx of {kernel.name}".encode())
        assert len(compiled) == len(cubins.cache_folder().sizes()) == 4
        for file in (tmp_path / "cuda").iterdir():
            file.write_bytes(b"damaged")
        assert cubins.code_of(first, (9, 0), 13000)[0] == "entry" and len(compiled) == 5
    finally:
        cubins.cache_folder.cache_clear()


class Code:
    def __init__(self, code: bytes):
        self.code = code


# -- calls seen before ----------------------------------------------------------------------------


class OnDevice:
    """An array of a library with CuPy's attributes, in host memory."""

    def __init__(self, shape: tuple[int, ...], dtype: object):
        self.memory = np.empty(shape, dtype)
        self.shape, self.strides, self.dtype = shape, self.memory.strides, self.memory.dtype
        self.data = Place(self.memory.ctypes.data)


class Place:
    device_id = 0

    def __init__(self, ptr: int):
        self.ptr = ptr


class Flagged(OnDevice):
    """An array that tells whether it is contiguous, made of memory that was allocated before."""

    _c_contiguous = True

    def __init__(self, shape: tuple[int, ...], dtype: str, memory=None):
        super().__init__(shape, dtype)
        self.data = memory or self.data


@pytest.mark.parametrize("kind", [OnDevice, Flagged])
def test_a_call_seen_before_goes_to_the_driver(kind):
    import ctypes

    from fastconv import replay
    from fastconv.engines.threads import _tape

    seen, others = [], [ctypes.c_void_p] * 3
    launcher = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_uint] * 7, *others)
    asker = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int))

    @launcher
    def launch(kernel, *rest):
        *sizes, stream, _, extra = rest
        words = (ctypes.c_void_p * 5).from_address(extra)
        size = ctypes.c_size_t.from_address(words[3]).value
        seen.append((kernel, tuple(sizes), stream, np.frombuffer(ctypes.string_at(words[1], size), np.int64).tolist()))
        return 0 if len(seen) < 3 else 700

    @asker
    def current(device):
        device[0] = 0
        return 0

    _tape.use_driver(*(ctypes.cast(function, ctypes.c_void_p).value for function in (launch, current)))
    allocated: list[tuple[int, Place]] = []

    @ctypes.CFUNCTYPE(ctypes.c_ssize_t)
    def stream():
        return 77

    def allocate(nbytes: int) -> Place:
        allocated.append((nbytes, Place(1 << 20)))
        return allocated[-1][1]

    if kind is OnDevice:
        _tape.Library(kind, kind, lambda: Place(77))
    else:
        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype, new_capsule.argtypes = (
            ctypes.py_object,
            [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
        )
        name = b"intptr_t (void)"
        capsule = new_capsule(ctypes.cast(stream, ctypes.c_void_p).value, name, None)
        _tape.Library(kind, kind, lambda: Place(78), memory=allocate, stream_of_c=capsule)

    def function():
        raise AssertionError("the long way")

    x, y, w = kind((4, 5), "f4"), kind((4, 5), "f4"), kind((3, 3), "f4")
    tapes = replay.device_tapes
    key, arrays = tapes.key(function, (x, w, "same"), {"k": 2})
    assert arrays == [x, w]
    launches = [(12345, (1, 2, 3, 32, 1, 1, 48), np.arange(5).tobytes(), [(0, 0, 4), (1, 1, 0), (2, 2, 8)])]
    tapes.store(key, _tape.DeviceTape(0, ((4, 5), np.dtype("f4")), 80, launches))
    for image in (x, y):
        result = tapes.recall(function, (image, w, "same"), {"k": 2})
        expected = [image.data.ptr + 4, w.data.ptr, result.data.ptr + 8, 3, 4]
        assert seen[-1] == (12345, (1, 2, 3, 32, 1, 1, 48), 77, expected)
    other = [((x, x, "same"), {"k": 2}), ((x, w, "full"), {"k": 2}), ((x, w, "same"), {}), ((x, w, "same"), {"out": y})]
    assert all(tapes.recall(function, *call) is None for call in other)
    assert tapes.recall(function, (x, w, "same"), {"k": 2}) is None  # the driver took no launch
    tapes.store(key, False)
    if kind is Flagged:
        assert [nbytes for nbytes, _ in allocated] == [80, 80, 80]
        x._c_contiguous = False  # strides count then
        assert tapes.key(function, (x, w, "same"), {"k": 2}) is not None


# -- host arrays in tiles -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_tiles_hold_every_row_once(seed, monkeypatch):
    r = np.random.default_rng(seed)
    batch, height, width = (int(n) for n in r.integers(1, (6, 300, 9)))
    monkeypatch.setattr(device_host, "TILE", int(r.integers(4, 4 * height * width * 2)))
    one = (1, 1)
    p = ConvProblem(
        (height, width), one, (height, width), *["float32"] * 4, (0, 0), ("fill",) * 2, one, one, batch=batch
    )
    parts = list(device_host._parts(p))
    rows = [(image, row) for first, images, start, count in parts for image in range(first, first + images)
            for row in range(start, start + count)]  # fmt: skip
    assert rows == [(image, row) for image in range(batch) for row in range(height)]
    most = max(device_host.TILE // (4 * width), height if any(images > 1 for _, images, *_ in parts) else 1)
    assert all(count <= max(most, 1) for *_, count in parts)


# -- compiled code --------------------------------------------------------------------------------

KERNELS = [
    ("filter", "float32", "float32", "float32", "float32", "float32", "", 0),
    ("filter", "float64", "float32", "float64", "float64", "float64", "", 0),
    ("filter", "int8", "uint8", "uint32", "uint32", "int8", "", 0),
    ("filter", "float32", "float32", "float32", "float32", "float32", "", 2),
    ("filter", "bool", "bool", "uint32", "uint32", "bool", "", 0),
    ("filter", "int64", "uint64", "uint64", "uint64", "int64", "", 0),
    ("filter", "complex64", "float32", "complex64", "complex64", "complex64", "", 0),
    ("filter", "float32", "complex128", "complex128", "complex128", "complex64", "", 0),
    ("filter", "uint8", "float64", "float64", "float64", "uint8", "order", 0),
    ("filter", "uint16", "float64", "float64", "float64", "uint64", "line", 0),
    ("filter", "int64", "float64", "float64", "float64", "bool", "antisymmetric", 0),
    ("moving", "max", "uint8", "uint8", "uint8", False, False),
    ("moving", "min", "float32", "float64", "float32", True, True),
    ("moving", "mean", "int16", "int64", "int16", False, False),
    ("moving", "mean", "float32", "float32", "float32", False, False),
    ("map", "copy", "float64", "int32"),
    ("map", "add", "complex64", "complex64"),
    ("map", "multiply", "bool", "bool"),
    ("map", "sqrt", "uint16", "uint16"),
    ("max", "float32", ""),
    ("max", "bool", "indices"),
    ("max_2x2", "float32"),
    ("avg", "float64"),
    ("avg", "int16"),
    ("max", "float16", "indices"),
    ("region", "max", "float16", "fractional", "indices"),
    ("region", "avg", "int8", "adaptive", ""),
    ("region", "squares", "float32", "steps", ""),
    ("wide", "avg", "float32", "adaptive", "", 256, 8, False),
    ("wide", "max", "float32", "adaptive", "indices", 256, 8, True),
    ("pool_gradient", "avg", "float32", "steps", True, False),
    ("pool_gradient", "avg", "float64", "adaptive", False, True),
    ("maxima", "float32", 3, 3, 2, 2, False),
    ("small_gradient", "float16", 3, 3, 3, 3, 1, 1, True),
    ("scatter", "add", "float32", 256, 1, True),
    ("scatter", "add", "float16", 1024, 8, False),
    ("scatter", "place", "bool", 256, 1, False),
    ("take", "int64"),
    ("avg", "float16"),
]
HAS_COMPILER = all(find_spec("nvidia") and list(Path(find_spec("nvidia").submodule_search_locations[0]).rglob(library))
                   for library in ("libnvvm.so*", "libnvrtc.so*"))  # fmt: skip
needs_compiler = pytest.mark.skipif(
    not HAS_COMPILER, reason="NVIDIA's compiler libraries are not installed (nvidia-nvvm, nvidia-cuda-nvrtc)"
)


@needs_compiler
@pytest.mark.parametrize("types", KERNELS, ids=lambda types: ":".join(map(str, types)))
def test_kernels_compile_to_lean_code(types):
    """Parameters are 64-bit slots; everything is inlined and stays in registers; exact sums are not fused."""
    from fastconv.engines.numba_cuda.cubins import compile_ptx

    kernel = define(*types)
    ptx, entry = compile_ptx(kernel, (9, 0))
    signature = ptx[ptx.index(f".entry {entry}") : ptx.index(")")]
    parameters = re.findall(r"\.param \.(\w+)", signature)
    scalars = sum(2 if name == "complex128" else 1 for name in kernel.scalars)
    assert len(parameters) == len(kernel.pointers) + scalars + len(kernel.geometry._fields)
    assert set(parameters) <= {"u64", "f64"}
    assert ".local" not in ptx and "call" not in ptx
    if types[0] in ("filter", "max", "max_2x2", "avg"):
        assert ("fma.rn" in ptx) == (types[0] == "filter" and types[4][0] in "fc" and not types[6])


# By tile: threads of a row, padded width, rest of the kernel.
WINDOW = (0, 2, 4, 4, 4, False, "", 128)
FAST = [
    *(("stream", k, k, -(k // 2) % 4, *shape, 1) for k, shape in device_streams.STREAM.items()),
    *(("stream", k, k, -(k // 2) % 4, *shape, 0) for k, shape in device_streams.STREAM_IN_REGISTERS.items()),
    *(("strip", k, k, -(k // 2) % 4, *shape, 1) for k, shape in device_streams.STRIP.items()),
    *(("halves", k, k, -(k // 2) % 4, *shape, 1) for k, shape in device_streams.HALVES.items()),
    *(("halves", k, k, -(k // 2) % 4, *shape, 0) for k, shape in device_streams.HALVES.items()),
    ("tile", 32, 32, 3, 7),
    ("tile", 8, 64, 0, 5),
    *(("lines", k, k, -(k // 2) % 4, *shape) for k, shape in device_lines.SHAPES.items()),
    *(("bytes", k, k, -(k // 2) % 16, 2, mode, 4) for k in (3, 5, 7) for mode in ("ring", "positive", "signed")),
    *(("matrix", k, k, -(k // 2) % 4, 16, digits, 12, 4, 2, 1) for k, digits in ((3, 3), (5, 0), (7, 0))),
    ("fourier", 128, 32, 0),
    ("windows", "float32", "max", 2, 2, 2, 2, *WINDOW),
    ("windows", "float16", "avg", 3, 3, 1, 1, 7, 2, 8, 8, 8, False, "parts", 128),
    ("windows", "float16", "max", 3, 3, 1, 1, 0, 2, 8, 1, 2, False, "", 128),
    ("windows", "float16", "max", 3, 3, 2, 2, 0, 2, 2, 8, 8, True, "", 128),
    ("windows", "float32", "avg", 4, 4, 1, 1, 0, 2, 2, 1, 1, True, "count", 128),
]


@needs_compiler
@pytest.mark.parametrize("types", FAST, ids=lambda types: ":".join(map(str, types)))
def test_fast_kernels_stay_in_registers(types):
    """The machine code, as nvJitLink makes it, has no stack and spills nothing."""
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink")
    from fastconv.engines.numba_cuda.cubins import architecture, compile_ptx

    kernel = define(*types)
    ptx = compile_ptx(kernel, (9, 0))[0].encode()
    options = [f"-arch=sm_{architecture(kernel, (9, 0))}", "-verbose"]
    handle = nvjitlink.create(len(options), options)
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, ptx, len(ptx), "kernel")
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    spills = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", log.decode())
    assert spills and set(spills) == {"0"}


@needs_compiler
def test_kernels_compile_with_a_numpy_that_lost_names():
    """numba-cuda 0.30 looks up numpy.row_stack, which NumPy 2.5 no longer has."""
    program = """
import numpy as np
vars(np).pop("row_stack", None)
removed = np.__getattr__
np.__getattr__ = lambda name: removed("no_such_name" if name == "row_stack" else name)
from fastconv.engines.numba_cuda import define
from fastconv.engines.numba_cuda.cubins import compile_ptx
print(".entry" in compile_ptx(define("max_2x2", "float32"), (8, 0))[0], hasattr(np, "row_stack"))
"""
    assert output_of(program).split() == ["True", "False"]


def test_slots_of_a_launch():
    from fastconv.engines.numba_cuda.driver import slots_of

    x = DeviceArray.at(object(), 1 << 40, (4, 5), np.dtype("complex64"))
    kernel = define("filter", "complex64", "complex64", "complex64", "complex64", "complex64", "", 0)
    geometry = kernel.geometry(*range(len(kernel.geometry._fields)))
    slots = slots_of(kernel, (x[::-1], x, x, None), (1.5 - 2j,), geometry)
    assert slots[:4].tolist() == [(1 << 40) + 3 * 40, 1 << 40, 1 << 40, 0]
    assert slots[4:6].view("float64").tolist() == [1.5, -2.0]
    assert tuple(slots[6:]) == geometry


# -- views without memory -------------------------------------------------------------------------


class Interface:
    """Any array of any library, by its interface; here of host memory, which nobody may read."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.__cuda_array_interface__ = array.__array_interface__


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, 1:],
        lambda a: a[None, None],
        lambda a: a[2],
        lambda a: a[..., ::-2],
        lambda a: np.flip(a),
        lambda a: np.moveaxis(a, -1, 0)[1:],
        lambda a: np.expand_dims(a.transpose(1, 0), (0, 2)),
        lambda a: a.conj(),
    ],
)
def test_views_lie_where_numpy_puts_them(view):
    host = np.zeros((7, 10), "float32")[1:, ::2]
    device = as_device("array", Interface(host))
    expected, actual = view(host), view(device)
    assert actual.address == expected.__array_interface__["data"][0]
    assert (actual.shape, actual.strides, actual.dtype) == (expected.shape, expected.strides, expected.dtype)
    assert actual.flags.c_contiguous == expected.flags.c_contiguous
    assert np.may_share_memory(device, actual) and native(actual).array is host


def test_elements_are_out_of_reach():
    device = as_device("array", Interface(np.zeros(4)))
    for function in (np.asarray, np.sum, np.isfinite, lambda a: a + 1, lambda a: a.astype("float32")):
        with pytest.raises(TypeError):
            function(device)
    assert device.astype("float64") is device


def test_bad_interfaces_are_refused():
    masked = Interface(np.zeros(4))
    masked.__cuda_array_interface__ = {**masked.__cuda_array_interface__, "mask": masked}
    with pytest.raises(TypeError, match="in1 must not be masked"):
        as_device("in1", masked)
    with pytest.raises(TypeError, match="in1 must be an array of numbers in native byte order; got dtype >f8"):
        as_device("in1", Interface(np.zeros(4, ">f8")))
    assert as_device("in1", [1, 2]) is None and as_device("in1", np.zeros(2)) is None
