"""Concurrent callers, forks, the number of threads, the GIL."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
from cases import integers, values

import fastconv
from fastconv.engines.threads import _threads
from fastconv.testing import assert_identical


@pytest.fixture(autouse=True)
def _same_number_of_threads_afterwards():
    before = _threads.get_num_threads()
    yield
    _threads.set_num_threads(before)


def work(seed: int, threads: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A result that takes several units on several threads, and the images it came from."""
    image, kernel = integers((150, 170), "float32", seed), integers((5, 4), "float32", seed + 1)
    return fastconv.correlate2d(image, kernel, "same", threads=threads), image


# -- concurrent callers -------------------------------------------------------------------------


def test_callers_from_several_python_threads(engine):
    """Jobs of different sizes at once: each gets its own result."""
    desired = {seed: work(seed, threads=1)[0] for seed in range(8)}
    context = contextvars.copy_context()  # the engine in force

    def caller(seed: int) -> None:
        for _ in range(3 if engine == "reference" else 60):
            assert_identical(work(seed)[0], desired[seed])

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(context.copy().run, caller, seed) for seed in desired]:
            future.result(timeout=120)


def test_use_is_private_to_its_thread():
    with fastconv.use(engine="reference", threads=3), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: fastconv.config.current_engine()).result() == "auto"
        assert fastconv.get_num_threads() == 3
        with fastconv.use(threads=1):
            assert (fastconv.config.current_engine(), fastconv.get_num_threads()) == ("reference", 1)
        assert fastconv.get_num_threads() == 3
    assert fastconv.config.current_engine() == "auto"


@pytest.mark.parametrize("engine", ["cython", "numba"])
def test_the_gil_is_released(engine):
    """Another Python thread runs while a kernel does: it gets most of its normal turns."""
    image, kernel = values((1500, 1500), "float64"), values((25, 25), "float64", 1)
    out = np.empty_like(image)
    turns, stop = [], threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns.append(time.perf_counter())
            time.sleep(1e-4)

    with fastconv.use(engine=engine, threads=1):
        fastconv.correlate2d(image[:64, :64], kernel, "same")  # compiled
        counter = threading.Thread(target=count)
        counter.start()
        begin = time.perf_counter()
        fastconv.correlate2d(image, kernel, "same", out=out)
        end = time.perf_counter()
        stop.set()
        counter.join()
    during = sum(begin < turn < end for turn in turns)
    assert during >= 3, f"{during} turns in {end - begin:.3f} s"


def test_signal_handlers_run_between_calls():
    """Workers block signals: they reach the main thread."""
    seen = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread()))
    try:
        for _ in range(20):
            work(0)
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert seen == [threading.main_thread()] * 20


# -- forks --------------------------------------------------------------------------------------

FORK = """
import os, sys, threading
sys.path.insert(0, {tests!r})
import numpy as np, fastconv
from test_threads import work

desired = work(3, threads=1)[0]
with fastconv.use(engine={engine!r}):
    assert (work(3)[0] == desired).all()  # the pool has workers
    noise = threading.Event()
    if {busy}:  # another thread is inside the pool while this one forks
        threading.Thread(target=lambda: [work(1) for _ in iter(noise.is_set, True)], daemon=True).start()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            ok = all((work(3)[0] == desired).all() for _ in range(5))
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0 if (work(3)[0] == desired).all() else 3)
            ok = ok and os.waitpid(grandchild, 0)[1] == 0
            os._exit(0 if ok else 4)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    noise.set()
    assert (work(3)[0] == desired).all()  # the parent goes on
assert codes == [0] * 8, codes
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("engine", ["cython", "numba"])
def test_children_of_a_fork_compute(engine, busy):
    code = FORK.format(tests=os.path.dirname(__file__), engine=engine, busy=busy)
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_multiprocessing_with_fork():
    code = (
        "import sys, multiprocessing as m\n"
        f"sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from test_threads import work\n"
        "desired = work(2)[0]\n"
        "with m.get_context('fork').Pool(2) as pool:\n"
        "    for result, _ in pool.map(work, [2] * 6): assert (result == desired).all()\n"
    )
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# -- how many threads ---------------------------------------------------------------------------


def test_precedence():
    fastconv.set_num_threads(3)
    assert fastconv.get_num_threads() == 3
    with fastconv.use(threads=5):
        assert fastconv.get_num_threads() == 5
        assert fastconv.config.resolve_threads(2) == 2
    assert fastconv.get_num_threads() == 3


def test_threadpoolctl_governs_the_pool():
    fastconv.set_num_threads(4)
    with threadpoolctl.threadpool_limits(1):
        assert fastconv.get_num_threads() == 1
    assert fastconv.get_num_threads() == 4
    with threadpoolctl.threadpool_limits({"fastconv": 2}):
        assert fastconv.get_num_threads() == 2
    assert fastconv.get_num_threads() == 4
    found = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "fastconv"]
    assert [info["num_threads"] for info in found] == [4]


def test_one_thread_starts_no_workers():
    code = (
        "import numpy as np, fastconv\n"
        "from fastconv.engines.threads import _threads\n"
        "image = np.ones((600, 600), 'f4')\n"
        "with fastconv.use(threads=1): fastconv.correlate2d(image, np.ones((9, 9), 'f4'))\n"
        "assert _threads.pool_size() == 0, _threads.pool_size()\n"
        "fastconv.correlate2d(image, np.ones((9, 9), 'f4'), threads=3)\n"
        "assert _threads.pool_size() == 2, _threads.pool_size()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({"FASTCONV_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "5", "OMP_NUM_THREADS": "7"}, 3),
        ({"NUMBA_NUM_THREADS": "5", "OMP_NUM_THREADS": "7"}, 5),
        ({"OMP_NUM_THREADS": "7,2"}, 7),
        ({"FASTCONV_NUM_THREADS": "many", "OMP_NUM_THREADS": "0"}, len(os.sched_getaffinity(0))),
        ({}, len(os.sched_getaffinity(0))),
    ],
)
def test_environment(variables, expected):
    names = ("FASTCONV_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
    environment = {**{k: v for k, v in os.environ.items() if k not in names}, **variables}
    code = "import fastconv; print(fastconv.get_num_threads())"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    assert int(result.stdout) == expected


def test_more_threads_than_units_or_processors(engine):
    for shape in ((1, 7), (300, 300)):
        image, kernel = integers(shape, "float32"), integers((1, 3), "float32", 1)
        desired = fastconv.correlate2d(image, kernel, threads=1)
        assert_identical(fastconv.correlate2d(image, kernel, threads=64), desired)
        assert_identical(fastconv.correlate2d(image, kernel, threads=1000), desired)


def test_idle_workers_wake_again():
    desired, _ = work(5, threads=1)
    for pause in (0, 0.001, 0.02, 0.2):
        time.sleep(pause)
        assert_identical(work(5)[0], desired)
