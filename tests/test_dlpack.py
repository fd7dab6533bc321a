"""Arrays of libraries that hand them over by DLPack, here NumPy's as if they were on a GPU."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from cases import integers

from fastconv import device, dlpack


class OnGpu:
    """What another library would have on a GPU."""

    def __init__(self, array):
        self.array, self.streams = array, []

    def __dlpack_device__(self):
        return dlpack.CUDA[0], 0

    def __dlpack__(self, *, stream):
        self.streams.append(stream)
        return self.array.__dlpack__()


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool", "complex64"])
def test_arrays_are_read_where_they_lie(dtype):
    whole = integers((5, 6, 4), dtype)
    for view in (whole, whole[1:, ::2], whole.T, whole[..., 2], whole[0, 0, 0:1], whole[3:3]):
        given = OnGpu(view)
        found = device.as_device("x", given)
        assert given.streams == [dlpack.LEGACY]
        assert (found.shape, found.dtype, found.owner) == (view.shape, view.dtype, given)
        assert found.address == view.ctypes.data or not view.size
        if view.size:
            assert found.strides == view.strides
        assert found.flags.writeable


def test_what_is_on_the_host_is_no_device_array():
    class Host(OnGpu):
        def __dlpack_device__(self):
            return 1, 0

    given = Host(np.ones(3))
    assert device.as_device("x", given) is None
    assert not given.streams


def test_types_without_numbers_are_named(monkeypatch):
    monkeypatch.setitem(dlpack._KINDS, "f", 99)
    with pytest.raises(TypeError, match="image must be an array of numbers; got DLPack's type 2 of 64 bits"):
        device.as_device("image", OnGpu(np.ones(3)))


class Runner:
    """Hands out the host's memory, and tells who was to wait."""

    def __init__(self):
        self.live, self.waits = {}, []

    def allocate(self, nbytes, stream):
        memory, runner = np.zeros(nbytes, np.uint8), self

        class Memory:
            address = memory.ctypes.data

            def free(self):
                del runner.live[self.address]

        runner.live[Memory.address] = memory
        return Memory()

    def wait(self, stream, other):
        self.waits.append((stream, other))


def test_results_are_handed_over_and_given_back(monkeypatch):
    monkeypatch.setattr(dlpack, "CUDA", (1,))  # so that NumPy takes them
    runner = Runner()
    handed = dlpack.Handed(runner, (3, 4), np.dtype("float32"), 0)
    assert device.as_device("x", handed).address == handed.address
    taken = np.from_dlpack(handed)
    taken_again = np.from_dlpack(handed)
    assert taken.shape == (3, 4) and taken.dtype == np.float32 and taken.ctypes.data == handed.address
    handed.__dlpack__(stream=7)  # nobody takes this one
    assert runner.waits == [(7, 0)]
    del handed
    gc.collect()
    assert len(runner.live) == 1
    del taken, taken_again
    gc.collect()
    assert not runner.live and not dlpack._out


def test_only_what_was_made_for_it_becomes_an_array_of_jax(monkeypatch):
    class Jax:
        class dlpack:
            from_dlpack = staticmethod(lambda array: ("jax", array))

    monkeypatch.setitem(dlpack.sys.modules, "jax", Jax)
    handed, other = dlpack.Handed(Runner(), (2,), np.dtype("int32"), 0), np.ones(3)
    assert dlpack.handed_over(other) is other
    assert dlpack.handed_over((other, other)) == (other, other)
    assert dlpack.handed_over(handed) == ("jax", handed)
    assert dlpack.handed_over((handed, other)) == (("jax", handed), other)
