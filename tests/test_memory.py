"""The memory of large results is kept, within its limit, and belongs to the arrays while they live."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

import fastconv
from fastconv import memory
from fastconv.memory import _blocks

MIB = 2**20
LARGE = (20, MIB)


@pytest.fixture(autouse=True)
def nothing_kept():
    memory.keep(0)
    memory.keep(64 * MIB)
    yield
    memory.keep(0)
    memory.keep(memory.DEFAULT_MIB * MIB)


def large(shape=LARGE, dtype="u1"):
    return memory.empty(shape, np.dtype(dtype))


def test_freed_memory_is_used_again():
    first = large()
    first[...] = 7
    at = first.ctypes.data
    assert memory.kept() == 0
    del first
    assert memory.kept() == 22 * MIB  # whole huge pages
    second, third = large(), large()
    assert second.ctypes.data == at != third.ctypes.data
    assert memory.kept() == 0


def test_results_of_as_many_huge_pages_use_the_same_memory():
    array = large((20, MIB))
    at = array.ctypes.data
    del array
    assert large((21, MIB)).ctypes.data == at


def test_small_results_and_other_byte_orders_are_numpys():
    for array in (large((4, 4)), large((4, MIB), ">f8")):
        del array
        assert memory.kept() == 0


def test_no_more_is_kept_than_the_limit_and_the_oldest_goes_first():
    arrays = [large((16 + i, MIB)) for i in range(4)]
    at = arrays[-1].ctypes.data
    while arrays:
        arrays.pop(0)  # 16, 17, 18, 19 MiB
    assert 54 * MIB <= memory.kept() <= 64 * MIB  # 16 MiB are gone
    newest = large((19, MIB))
    assert newest.ctypes.data == at
    memory.keep(0)
    del newest
    assert memory.kept() == 0


def test_many_sizes():
    memory.keep(2**40)
    for i in range(40):
        large((16, MIB + 4096 * i))
    assert memory.kept() < 17 * 17 * MIB


def test_arrays_own_their_data_and_can_be_resized():
    array = large()
    assert array.flags.owndata and array.base is None
    array[...] = 3
    array.resize((24, MIB), refcheck=False)
    assert (array[:20] == 3).all() and not array[20:].any()
    array.resize((2, 5), refcheck=False)
    assert (array == 3).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_system_is_offered_what_nobody_wants_for_seconds():
    def offered():
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("LazyFree:"))

    for _ in range(2):  # again when the first watch has ended
        before = offered()
        array = large()
        array[...] = 7
        del array
        assert offered() - before < MIB
        deadline = time.monotonic() + 20
        while offered() - before < 19 * MIB and time.monotonic() < deadline:
            time.sleep(0.1)
        assert offered() - before >= 19 * MIB
        assert memory.kept() == 22 * MIB  # still there for who asks
        again = large()
        again[...] = 1
        time.sleep(1.5)
        memory.keep(0)
        memory.keep(64 * MIB)
        del again


def test_tracemalloc_sees_results():
    tracemalloc.start()
    try:
        array = large()
        assert 20 * MIB <= tracemalloc.get_traced_memory()[0] < 21 * MIB
        del array
        assert tracemalloc.get_traced_memory()[0] < MIB
    finally:
        tracemalloc.stop()


def test_results_of_threads_are_apart():
    def work(value, wrong):
        for _ in range(30):
            mine = large((16, MIB))
            mine[:, ::4096] = value
            if (mine[:, ::4096] != value).any():
                wrong.append(value)

    wrong: list[int] = []
    threads = [threading.Thread(target=work, args=(i, wrong)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_functions_return_such_results():
    image = np.ones((2048, 2048), np.float32)
    for function, arguments in (
        (fastconv.ndimage.uniform_filter, (3,)),
        (fastconv.convolve2d, (np.ones((3, 3)), "same")),
    ):
        result = function(image, *arguments)
        at = result.ctypes.data
        del result
        again = function(image, *arguments)
        assert again.ctypes.data == at and again[5, 5] == pytest.approx(
            image[5, 5] * (9 if function is fastconv.convolve2d else 1)
        )


def test_workspace_that_would_not_be_kept_is_mallocs():
    """New huge pages for a few KiB take longer than small calls."""
    for limit, size, kept in ((64, 100_000, True), (1, 100_000, False), (0, 100_000, False), (0, 5 * MIB, True)):
        memory.keep(limit * MIB)
        room = _blocks.workspace(size)
        assert (room is not None) == kept
        assert room is None or room.nbytes == size
    memory.keep(64 * MIB)
    x, w = np.ones((1, 14, 14, 64), "f4"), np.ones((384, 64, 1, 1), "f4")
    for limit in (64, 0):
        memory.keep(limit * MIB)
        for _ in range(4):  # replayed from the second call on
            assert (fastconv.nn.conv2d(x, w, data_format="NHWC") == 64).all()
        assert memory.kept() == (2 * MIB if limit else 0)


def test_results_begin_with_a_cache_line():
    for nbytes in (memory.LINES, 100_004, memory.NUMPYS - 4):
        arrays = [memory.empty((nbytes // 4,), np.dtype("f4")) for _ in range(5)]
        assert not any(array.ctypes.data % 64 for array in arrays)
        array = arrays.pop()
        array[...] = np.arange(array.size)
        array.resize((3 * array.size,), refcheck=False)
        assert (array[: nbytes // 4] == np.arange(nbytes // 4, dtype="f4")).all() and not array[nbytes // 4 :].any()
        array.resize((7,), refcheck=False)
        assert array.tolist() == list(range(7))


def test_a_failed_allocation_is_a_memory_error():
    with pytest.raises(MemoryError):
        large((2**40, 2**10))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own():
    array = large()
    array[...] = 1
    child = os.fork()
    if child == 0:
        array[...] = 2
        del array
        other = large()
        other[...] = 3
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (array == 1).all()


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("32", 32 * MIB), ("", 512 * MIB), ("much", 512 * MIB)])
def test_the_limit_is_the_environments(text, limit):
    program = (
        "import numpy as np; from fastconv import memory; memory.empty((20, 2**20), np.dtype('u1'))\n"
        "print(memory.kept() > 0, memory._limit())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FASTCONV_KEEP_MIB": text},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [str(limit > 0), str(limit)]
