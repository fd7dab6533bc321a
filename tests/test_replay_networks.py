"""Calls of `fastconv.nn` that are replayed give what a fresh call gives, for other arrays that look the same."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import fastconv
from fastconv import nn, replay
from fastconv.nn import grad
from fastconv.testing import assert_identical

ml_dtypes = pytest.importorskip("ml_dtypes")

C, S = 6, 7
RNG = np.random.default_rng(5)


def numbers(*shape, dtype="float32"):
    if np.dtype(dtype).kind in "iu":
        return RNG.integers(0, 100, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


def plays() -> int:
    return sum(memory.plays for memory in replay.memories)


def fresh(function, args, kwargs):
    """The result of the function without any tape."""
    if function is nn.fractional_max_pool2d:  # it draws the samples of a function that is replayed
        with fastconv.use(engine="reference"):
            return function(*args, **kwargs)
    return function.__wrapped__(*args, **kwargs)


def same(found, wanted) -> None:
    assert type(found) is type(wanted)
    for a, b in zip(*(pair if isinstance(pair, tuple) else (pair,) for pair in (found, wanted)), strict=True):
        assert_identical(a, b)
        assert a.strides == b.strides


def planes(*shape):
    """Complex numbers."""
    return numbers(*shape) + 1j * numbers(*shape)


def images(dtype="float32", last=False):
    return numbers(2, S, S, C, dtype=dtype) if last else numbers(2, C, S, S, dtype=dtype)


def pooled(**kwargs):
    return nn.max_pool2d(
        images(kwargs.pop("dtype", "float32"), kwargs.get("data_format") == "NHWC"), 2, return_indices=True, **kwargs
    )


# Functions, what makes their arguments, and options: arrays differ from call to call.
CALLS = {
    "conv": (nn.conv2d, lambda: (images(), numbers(4, C, 3, 3)), {"padding": 1}),
    "conv bias": (nn.conv2d, lambda: (images(), numbers(4, C, 3, 3), numbers(4)), {"padding": 1, "activation": "relu"}),
    "conv list": (nn.conv2d, lambda: (images(), numbers(4, C, 3, 3), numbers(4).tolist()), {}),
    "conv bias64": (nn.conv2d, lambda: (images("float64"), numbers(4, C, 3, 3), numbers(4)), {"padding": 1}),
    "conv last": (nn.conv2d, lambda: (images(last=True), numbers(20, C, 3, 3), numbers(20)), {"data_format": "NHWC"}),
    "conv half": (
        nn.conv2d,
        lambda: (images("float16"), numbers(4, C, 3, 3, dtype="float16"), numbers(4, dtype="float16")),
        {},
    ),
    "conv bfloat16": (
        nn.conv2d,
        lambda: tuple(a.astype(ml_dtypes.bfloat16) for a in (images(), numbers(4, C, 3, 3), numbers(4))),
        {"padding": "same"},
    ),
    "conv integers": (nn.conv2d, lambda: (images("uint8"), numbers(4, C, 3, 3, dtype="int16")), {"padding": 1}),
    "conv turned weight": (nn.conv2d, lambda: (images(), numbers(C, 4, 3, 3).swapaxes(0, 1)[..., ::-1]), {}),
    "conv reflect": (nn.conv2d, lambda: (images(), numbers(4, C, 3, 3)), {"padding": 2, "padding_mode": "reflect"}),
    "conv1d causal": (nn.conv1d, lambda: (numbers(2, C, 20), numbers(4, C, 3), numbers(4)), {"padding": "causal"}),
    "conv3d": (nn.conv3d, lambda: (numbers(1, C, 4, 5, 6), numbers(4, C, 2, 2, 2), numbers(4)), {"stride": 2}),
    "complex": (nn.conv2d, lambda: (images("complex64"), numbers(4, C, 3, 3)), {"padding": 1}),
    "depthwise": (nn.conv2d, lambda: (images(), numbers(C, 1, 3, 3), numbers(C)), {"groups": C, "padding": 1}),
    "transposed": (nn.conv_transpose2d, lambda: (images(), numbers(C, 4, 3, 3), numbers(4)), {"padding": 1}),
    "transposed stride": (nn.conv_transpose2d, lambda: (images(), numbers(C, 4, 3, 3), numbers(4)), {"stride": 2}),
    "transposed groups": (nn.conv_transpose2d, lambda: (images(), numbers(C, 2, 3, 3)), {"stride": 2, "groups": 2}),
    "deform": (
        nn.deform_conv2d,
        lambda: (images(), numbers(2, 18, S, S), numbers(4, C, 3, 3), numbers(4)),
        {"padding": 1},
    ),
    "max": (nn.max_pool2d, lambda: (images(),), {"kernel_size": 3, "stride": 2}),
    "max indices": (nn.max_pool2d, lambda: (images(),), {"kernel_size": 2, "return_indices": True}),
    "max indices last": (
        nn.max_pool2d,
        lambda: (images(last=True),),
        {"kernel_size": 2, "return_indices": True, "data_format": "NHWC"},
    ),
    "max bfloat16": (
        nn.max_pool2d,
        lambda: (images().astype(ml_dtypes.bfloat16),),
        {"kernel_size": 2, "return_indices": True},
    ),
    "adaptive max": (nn.adaptive_max_pool2d, lambda: (images(),), {"output_size": 3, "return_indices": True}),
    "fractional": (
        nn.fractional_max_pool2d,
        lambda: (images(),),
        {"kernel_size": 2, "output_size": 3, "return_indices": True, "_random_samples": RNG.random((2, C, 2))},
    ),
    "unpool": (nn.max_unpool2d, pooled, {"kernel_size": 2, "output_size": (S, S)}),
    "unpool last": (
        nn.max_unpool2d,
        lambda: pooled(data_format="NHWC"),
        {"kernel_size": 2, "output_size": (S, S), "data_format": "NHWC"},
    ),
    "unfold": (nn.unfold, lambda: (images(),), {"kernel_size": 3, "padding": 1}),
    "fold": (nn.fold, lambda: (numbers(2, C * 4, 36),), {"output_size": S, "kernel_size": 2}),
    "relu": (nn.relu, lambda: (images()[:, ::-1, :, ::2],), {}),
    "input": (
        lambda: grad.conv2d_input,
        lambda: ((2, C, S, S), numbers(4, C, 3, 3), numbers(2, 4, S, S)),
        {"padding": 1},
    ),
    "input stride": (
        lambda: grad.conv2d_input,
        lambda: ((2, C, S, S), numbers(4, C, 3, 3), numbers(2, 4, 4, 4)),
        {"stride": 2, "padding": 1},
    ),
    "input depthwise": (
        lambda: grad.conv2d_input,
        lambda: ((2, C, S, S), numbers(C, 1, 3, 3), numbers(2, C, S, S)),
        {"padding": 1, "groups": C},
    ),
    "weight": (lambda: grad.conv2d_weight, lambda: (images(), (4, C, 3, 3), numbers(2, 4, S, S)), {"padding": 1}),
    "weight depthwise": (
        lambda: grad.conv2d_weight,
        lambda: (images(), (C, 1, 3, 3), numbers(2, C, S, S)),
        {"padding": 1, "groups": C},
    ),
    "bias": (lambda: grad.conv2d_bias, lambda: (images(),), {}),
    "transposed input": (
        lambda: grad.conv_transpose2d_input,
        lambda: ((2, C, S, S), numbers(C, 4, 3, 3), numbers(2, 4, S, S)),
        {"padding": 1},
    ),
    "transposed weight": (
        lambda: grad.conv_transpose2d_weight,
        lambda: (images(), (C, 8, 3, 3), numbers(2, 8, S, S)),
        {"padding": 1},
    ),
    "max backward": (lambda: grad.max_pool2d_backward, pooled, {"input_shape": (2, C, S, S)}),
    "average backward": (
        lambda: grad.avg_pool2d_backward,
        lambda: (numbers(2, C, 3, 3),),
        {"input_shape": (2, C, S, S), "kernel_size": 2},
    ),
    "adaptive backward": (
        lambda: grad.adaptive_avg_pool2d_backward,
        lambda: (numbers(2, C, 3, 3),),
        {"input_shape": (2, C, S, S)},
    ),
    "unpool backward": (lambda: grad.max_unpool2d_backward, lambda: (images(), pooled()[1]), {}),
    "gelu backward": (lambda: grad.gelu_backward, lambda: (images(), images()), {}),
}


def call_of(name):
    function, arguments, options = CALLS[name]
    return (function() if function.__name__ == "<lambda>" else function), arguments, options


def shifted(array):
    """The same numbers at another place in a cache line, and read-only."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        return array
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = (-memory.ctypes.data) % 64 + array.itemsize
    moved = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    moved.flags.writeable = False
    return moved


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_replayed(name, threads):
    function, arguments, options = call_of(name)
    options = options | {"threads": threads}
    function(*arguments(), **options)
    for i in range(4):
        args = tuple(shifted(a) for a in arguments()) if i % 2 else arguments()
        before = plays()
        result = function(*args, **options)
        assert plays() == before + 1, "was not replayed"
        same(result, fresh(function, args, options))
    special = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in arguments())
    if special[-1] is not None and getattr(special[-1], "dtype", None) == np.float32:
        special[-1].flat[::5], special[-1].flat[1] = np.nan, -np.inf
    same(function(*special, **options), fresh(function, special, options))


@pytest.mark.parametrize("name", CALLS)
def test_results_go_where_they_are_to(name):
    """Arrays for the result are written, those between whose elements others lie too."""
    function, arguments, options = call_of(name)
    args = arguments()
    wanted = fresh(function, args, options)
    several = isinstance(wanted, tuple)
    wide = [np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype) for a in (wanted if several else (wanted,))]
    outs = [array[..., ::2] for array in wide]
    for _ in range(3):
        args = arguments()
        for array in wide:
            array.fill(7)
        found = function(*args, **options, out=tuple(outs) if several else outs[0])
        likes = fresh(function, args, options)
        pairs = (found, likes) if several else ((found,), (likes,))
        for array, out, part, like in zip(wide, outs, *pairs, strict=True):
            assert part is out
            np.testing.assert_array_equal(out, like)
            assert (array[..., 1::2] == 7).all()


def test_in_place():
    for _ in range(3):
        x = images()
        wanted, before = fresh(nn.silu, (x,), {}), plays()
        assert nn.silu(x, inplace=True) is x
        same(x, wanted)
        g, x = images(), images()
        wanted = fresh(grad.tanh_backward, (g, x), {})
        assert grad.tanh_backward(g, x, out=g) is g
        same(g, wanted)
        y = images()
        wanted = fresh(nn.relu, (y,), {})
        assert nn.relu(y, out=y[:]).base is y
        same(y, wanted)
    assert plays() == before + 3
    g, x = images(), images()  # the same shapes, but not the same array
    out = np.empty_like(g)
    wanted = fresh(grad.tanh_backward, (g, x), {})
    same(grad.tanh_backward(g, x, out=out), wanted)
    same(grad.tanh_backward(g, x, out=x), wanted)
    with pytest.raises(ValueError, match="overlap"):
        nn.relu(x[:1], out=x.reshape(-1)[1 : 1 + C * S * S].reshape(1, C, S, S))


def test_the_same_array_twice():
    """Calls on one array and on two that look the same do not share a tape."""
    square, other = numbers(3, 3, 3, 3), numbers(3, 3, 3, 3)
    for _ in range(3):
        for args in ((square, square), (square, other), (other, square), (other, other)):
            same(nn.conv2d(*args, padding=1), fresh(nn.conv2d, args, {"padding": 1}))
    shared = numbers(4, 3, 3, 3)
    for _ in range(3):
        for args in ((shared[:3], shared[1:]), (square, other)):
            same(nn.conv2d(*args, padding=1), fresh(nn.conv2d, args, {"padding": 1}))


def test_weights_and_bias_that_change():
    x, w, b = images(), numbers(4, C, 3, 3), numbers(4)
    for i in range(4):
        w[i], b[i] = i, -i
        same(nn.conv2d(x, w, b), fresh(nn.conv2d, (x, w, b), {}))
        w[0, 0] = np.nan
        same(nn.conv2d(x, weight=w, bias=b), fresh(nn.conv2d, (x, w, b), {}))
        w[0, 0] = 1


def test_samples_that_change():
    x = images()
    for _ in range(3):
        options = {"kernel_size": 2, "output_size": 4, "_random_samples": RNG.random((2, C, 2), np.float32)}
        same(nn.fractional_max_pool2d(x, **options), fresh(nn.fractional_max_pool2d, (x,), options))
    for wrong in (np.nan, -0.1, 1.1):
        options["_random_samples"][1, 2, 1] = wrong
        with pytest.raises(ValueError, match="from 0 to 1"):
            nn.fractional_max_pool2d(x, **options)
    drawn = [nn.fractional_max_pool2d(x, 2, 4, return_indices=True)[1].tobytes() for _ in range(5)]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_complex_weights_that_change(data_format):
    """NumPy makes real matrices of them, which are no constants."""
    for function in (nn.conv_transpose2d, nn.conv2d):
        for _ in range(4):
            x, w = planes(2, 5, 5, 5), planes(5, 5, 3, 3)
            same(function(x, w, data_format=data_format), fresh(function, (x, w), {"data_format": data_format}))


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("stride", [1, 2])
def test_prepared_weights_that_change(stride, data_format):
    x, w, b = numbers(2, 6, 6, 6), numbers(6, 8, 3, 3), numbers(8)
    options = {"stride": stride, "data_format": data_format}
    prepared = fastconv.plan(nn.conv_transpose2d, x, w, b, **options).prepare(w)
    for _ in range(4):
        for _ in range(3):
            wanted = fresh(nn.conv_transpose2d, (x, w, b), options)
            np.testing.assert_allclose(prepared(x), wanted, rtol=1e-4, atol=1e-4)
        w[1, 2] += 1


@pytest.mark.parametrize("place", [-2, S * S, 2**40, -(2**63)])
@pytest.mark.parametrize("function", ["max_unpool2d", "max_pool2d_backward"])
def test_wrong_indices_are_refused(function, place):
    values, indices = pooled()
    call = {
        "max_unpool2d": lambda i, **out: nn.max_unpool2d(values, i, 2, output_size=(S, S), **out),
        "max_pool2d_backward": lambda i, **out: grad.max_pool2d_backward(values, i, (2, C, S, S), **out),
    }[function]
    for _ in range(3):
        call(indices)
    wrong = indices.copy()
    wrong[1, 2, 1, 1] = place
    out = np.full((2, C, S, S), 3, np.float32)
    for _ in range(2):
        with pytest.raises(ValueError, match="indices must be from 0 to"):
            call(wrong)
        with pytest.raises(ValueError, match="indices must be from 0 to"):
            call(wrong, out=out)
        assert (out == 3).all()
        call(indices)
    with pytest.raises(TypeError, match="int64"):
        call(indices.astype(np.int32))


def test_settings_and_bad_arguments():
    x, w = images(), numbers(4, C, 3, 3)
    for _ in range(3):
        wanted = nn.conv2d(x, w)
        with fastconv.use(engine="reference"):
            before = plays()
            np.testing.assert_allclose(nn.conv2d(x, w), wanted, rtol=1e-3, atol=1e-4)
            assert plays() == before
    for bad in ({"stride": 0}, {"padding": "nothing"}, {"groups": 4}, {"bias": numbers(3)}):
        with pytest.raises(ValueError):
            nn.conv2d(x, w, **bad)
    out = np.empty((2, 4, S - 2, S - 2), np.float32)
    nn.conv2d(x, w, out=out)
    nn.conv2d(x, w, out=out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        nn.conv2d(x, w, out=out)
    with pytest.raises(ValueError, match="overlap"):
        nn.max_pool2d(x, 1, out=x[:])


def test_subclasses_are_taken_for_arrays():
    x, w = images(), numbers(4, C, 3, 3)
    for _ in range(3):
        same(nn.conv2d(x, w), fresh(nn.conv2d, (x, w), {}))
        same(nn.conv2d(np.ma.masked_array(x), w), fresh(nn.conv2d, (x, w), {}))


def test_many_threads():
    """Tapes are played by several threads at a time."""
    calls = [
        (call_of(name), call_of(name)[1]()) for name in ("conv bias", "transposed stride", "max indices", "unpool")
    ]
    wanted = [fresh(call[0], args, call[2]) for call, args in calls]
    errors = []

    def work():
        try:
            for _ in range(40):
                for (call, args), result in zip(calls, wanted, strict=True):
                    same(call[0](*args, **call[2]), result)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_nothing_is_kept():
    """Arrays are let go, and memory does not grow."""
    calls = [(call_of(name), call_of(name)[1]()) for name in CALLS]
    for (function, _, options), args in calls * 3:
        function(*args, **options)
    arrays = [a for _, args in calls for a in args if isinstance(a, np.ndarray)]
    counts = [sys.getrefcount(a) for a in arrays]
    gc.collect()
    tracemalloc.start()
    for (function, _, options), args in calls * 5:
        function(*args, **options)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for (function, _, options), args in calls * 20:
        function(*args, **options)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    assert [sys.getrefcount(a) for a in arrays] == counts
