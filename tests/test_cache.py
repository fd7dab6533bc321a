"""The disk cache of compiled kernels: private, bounded, shared by processes, never in the way."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import folders as user_folders
from fastconv.engines import numba_cpu
from fastconv.engines import private_folder as folders
from fastconv.engines.private_folder import PrivateFolder
from fastconv.plan import plan_for, planned

LIMIT = 1 << 20


@pytest.fixture
def folder(tmp_path) -> PrivateFolder:
    return PrivateFolder(tmp_path / "a" / "kernels", LIMIT)


def run(code: str, cache: Path, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "FASTCONV_CACHE_DIR": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert not err
    return out


# -- the folder ---------------------------------------------------------------------------------


def test_blobs_are_kept(folder):
    assert folder.read("x") is None and not folder.problem
    folder.write("x", b"first")
    folder.write("x", b"second")
    assert folder.read("x") == b"second"
    assert PrivateFolder(folder.path, LIMIT).read("x") == b"second"
    assert os.listdir(folder.path) == ["x"]
    assert list(folder.sizes()) == ["x"]
    folder.clear()
    assert folder.read("x") is None and not os.listdir(folder.path)


def test_only_the_owner_may_read(folder):
    folder.write("x", b"code")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / "x").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, mode):
    tmp_path.chmod(mode)
    folder = PrivateFolder(tmp_path, LIMIT)
    assert "others" in folder.problem
    folder.write("x", b"code")
    folder.clear()
    assert folder.read("x") is None and not os.listdir(tmp_path) and folder.sizes() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="files of another user take an administrator to make")
def test_what_another_user_owns_is_not_used(folder):
    folder.write("x", b"code")
    os.chown(folder.path / "x", 12345, -1)
    assert folder.read("x") is None
    os.chown(folder.path, 12345, -1)
    assert "others" in PrivateFolder(folder.path, LIMIT).problem


def test_a_file_that_others_may_write_to_and_a_link_are_not_read(folder, tmp_path):
    folder.write("x", b"code")
    (folder.path / "link").symlink_to(folder.path / "x")
    assert folder.read("link") is None
    (folder.path / "x").chmod(0o666)
    assert folder.read("x") is None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(folder.path)
    assert PrivateFolder(elsewhere, LIMIT).problem


def test_damaged_files_are_no_blobs(folder):
    folder.write("x", bytes(1000))
    content = (folder.path / "x").read_bytes()
    for damaged in (b"", content[:16], content[:-1], content[:-1] + b"\1", content + b"\0"):
        (folder.path / "x").write_bytes(damaged)
        assert folder.read("x") is None


def test_the_folder_is_bounded_and_what_was_used_longest_ago_goes_first(folder):
    blob = bytes(LIMIT // 8 - 64)
    for i in range(8):
        folder.write(f"blob {i}", blob)
        os.utime(folder.path / f"blob {i}", (1000 + i, 1000 + i))
    assert len(folder.sizes()) == 8
    assert folder.read("blob 0") == blob  # used again
    folder.write("blob 8", blob)
    folder.write("blob 9", blob)
    assert set(folder.sizes()) == {f"blob {i}" for i in (0, 3, 4, 5, 6, 7, 8, 9)}
    assert sum(folder.sizes().values()) <= LIMIT


def test_drafts_of_processes_that_died_are_deleted(folder):
    folder.write("x", b"code")
    for name, age in ((".old.0123", folders.ABANDONED + 60), (".new.4567", 60)):
        (folder.path / name).write_bytes(b"half")
        os.utime(folder.path / name, (time.time() - age,) * 2)
    folder.write("y", b"code")
    assert set(os.listdir(folder.path)) == {"x", "y", ".new.4567"}


def test_folders_that_cannot_be_made_are_told_of(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/fastconv/kernels")):
        folder = PrivateFolder(path, LIMIT)
        assert folder.problem
        folder.write("x", b"code")
        assert folder.read("x") is None


def test_a_folder_may_vanish(folder):
    folder.path.rmdir()
    folder.write("x", b"code")
    assert folder.read("x") is None and folder.sizes() == {}
    folder.clear()


def write_and_read(path: str, seed: int) -> None:
    """Blobs of few names, in a folder that is always too full."""
    folder = PrivateFolder(Path(path), LIMIT // 16)
    for i in range(60):
        name = str((i * 7 + seed) % 5)
        folder.write(name, name.encode() * (LIMIT // 64))
        blob = folder.read(str(i % 5))
        assert blob is None or blob == str(i % 5).encode() * (LIMIT // 64)


def test_many_processes_write_and_delete_the_same_files(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from test_cache import write_and_read\n"
        "write_and_read({path!r}, {seed})"
    )
    children = [run(code.format(path=str(tmp_path / "x"), seed=seed), tmp_path) for seed in range(8)]
    for child in children:
        output(child)
    assert sum(file.stat().st_size for file in (tmp_path / "x").iterdir()) <= LIMIT // 16
    assert not list((tmp_path / "x").glob(".*"))


# -- kernels in it ------------------------------------------------------------------------------

# The kernel that compiles in the shortest time; whether it came from the disk.
KERNEL = """
import numpy as np, fastconv
from fastconv.engines import numba_cpu
from fastconv.engines.numba_cpu import jit
found = []
load = jit._KernelCache.load_overload
jit._KernelCache.load_overload = lambda *a: found.append(load(*a)) or found[-1]
inside = np.array([[1, 1, 0], [0, 1, 1]])
with fastconv.use(engine="numba"):
    result = fastconv.ndimage.maximum_filter(np.arange(12.0).reshape(3, 4), footprint=inside)
assert result.tolist() == [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]], result
print(found[0] is not None)
"""


def test_kernels_come_from_the_disk_the_second_time_and_damage_costs_a_compilation(tmp_path):
    assert output(run(KERNEL, tmp_path)) == "False\n"
    (file,) = (tmp_path / "numba").iterdir()
    assert output(run(KERNEL, tmp_path)) == "True\n"
    content = file.read_bytes()
    folder = PrivateFolder(tmp_path / "numba", LIMIT)
    folder.write(file.name, b"no pickle")  # with the right checksum
    assert output(run(KERNEL, tmp_path)) == "False\n"
    file.write_bytes(content[: len(content) // 2])
    assert output(run(KERNEL, tmp_path)) == "False\n"
    assert output(run(KERNEL, tmp_path)) == "True\n"
    # Code for another processor is another file.
    assert output(run(KERNEL, tmp_path, NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="")) == "False\n"
    assert len(list((tmp_path / "numba").iterdir())) == 2


EIGHT = f"""
import os, numba
from fastconv.engines.numba_cpu import taps
children = []  # of a process that has imported all and compiled nothing
while len(children) < 8 and (child := os.fork()):
    children.append(child)
if len(children) == 8:
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
    raise SystemExit
{KERNEL}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_eight_processes_at_once(tmp_path):
    assert len(re.findall("True|False", output(run(EIGHT, tmp_path)))) == 8  # lines may run into one another
    assert len(list((tmp_path / "numba").iterdir())) == 1  # no drafts
    assert output(run(KERNEL, tmp_path)) == "True\n"


@pytest.mark.parametrize("place", ["file", "no such folder"])
def test_without_a_folder_kernels_stay_in_memory(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    cache = tmp_path / "file" if place == "file" else Path("/proc/fastconv")
    assert output(run(KERNEL, cache)) == "False\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator writes everywhere")
def test_a_home_that_is_read_only(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    code = f"import os; os.environ.pop('FASTCONV_CACHE_DIR')\n{KERNEL}"
    assert output(run(code, tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))) == "False\n"


@pytest.mark.parametrize("home", ["", "/elsewhere"])
def test_the_users_cache_folder(monkeypatch, home):
    platformdirs = pytest.importorskip("platformdirs")
    monkeypatch.delenv("FASTCONV_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert user_folders.cache() == platformdirs.user_cache_dir("fastconv", appauthor=False)


# -- how many there are -------------------------------------------------------------------------


def test_specialisations_are_few():
    assert set(numba_cpu.SPECIALISATIONS) == set(numba_cpu._MODULES)
    names = [f"{operation}-{rest}" for operation, rests in numba_cpu.SPECIALISATIONS.items() for rest in rests]
    assert len(names) == len(set(names)) <= 192


def test_every_kernel_that_functions_ask_for_is_listed(monkeypatch):
    asked = set()
    monkeypatch.setattr(numba_cpu, "kernel", lambda *names: asked.add("-".join(filter(None, names))) or 0)
    structure, footprint = np.arange(9.0).reshape(3, 3), np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    nd, nn = fastconv.ndimage, fastconv.nn
    plan_for.cache_clear()
    for dtype in ("bool", "complex64", *numba_cpu.SPECIALISATIONS["max_pool"]):
        image, images = np.ones((40, 50), dtype), np.ones((1, 16, 20, 20), dtype)
        calls = [(nd.maximum_filter, (image, 3)), (nd.minimum_filter, (image, 3)), (nd.uniform_filter, (image, 4))]
        calls += [(nd.uniform_filter, (image, 300)), (nd.uniform_filter, (image, 3, "float64"))]
        calls += [(nd.maximum_filter, (image, None, footprint)), (nd.minimum_filter, (image, None, footprint))]
        calls += [(nd.grey_dilation, (image, None, None, structure)), (nd.grey_erosion, (image, None, None, structure))]
        calls += [
            (nd.median_filter, (image, 3)),
            (nd.gaussian_filter, (image, 1.0)),
            (nd.correlate, (image, structure)),
        ]
        calls += [
            (nd.correlate, (image, structure, "float64")),
            (fastconv.correlate2d, (image, footprint.astype(dtype))),
        ]
        calls += [(fastconv.correlate2d, (image, np.ones((5, 5), dtype))), (nn.conv2d, (images, images[:, :, :3, :3]))]
        calls += [(nn.max_pool2d, (images, 2)), (nn.max_pool2d, (images, 2, 2, 0, 1, False, True))]
        calls += [(nn.avg_pool2d, (images, size)) for size in (2, 20)] + [
            (nn.conv2d, (images, np.ones((16, 16, 1, 1), dtype)))
        ]
        taps, columns = np.ones((16, 1, 3, 3), dtype), np.ones((1, 64, 100), dtype)
        calls += [(nn.conv2d, (images, taps, None, 1, 0, 1, 16)), (nn.conv_transpose2d, (images, images[:, :, :3, :3]))]
        calls += [(nn.unfold, (images, 2)), (nn.fold, (columns, 11, 2)), (nn.relu, (images,))]
        calls += [(nn.max_unpool2d, (images, np.arange(6400).reshape(images.shape) % 400, 2))]
        calls += [(nn.grad.conv2d_weight, (images, (16, 16, 3, 3), np.ones((1, 16, 18, 18), dtype)))]
        calls += [(nn.grad.conv2d_weight, (images, (16, 1, 3, 3), np.ones((1, 16, 18, 18), dtype), 1, 0, 1, 16))]
        calls += [(nn.deform_conv2d, (images, np.ones((1, 18, 18, 18), dtype), np.ones((16, 16, 3, 3), dtype)))]
        for function, args in calls:
            with fastconv.use(engine="numba"), contextlib.suppress(NotImplementedError, TypeError, ValueError):
                planned(function, args, {})
    plan_for.cache_clear()  # of addresses that are none
    listed = {f"{operation}-{rest}" for operation, rests in numba_cpu.SPECIALISATIONS.items() for rest in rests}
    assert asked <= listed, sorted(asked - listed)
    assert len(asked) > 2 / 3 * len(listed), sorted(listed - asked)
