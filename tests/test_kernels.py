"""Named kernels: what they do to pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from fastconv import kernels, ndimage

Y, X = np.mgrid[:21, :21].astype(np.float64)
# brighter to the right, up and right, up, up and left
RAMPS = {0: X, 45: (X - Y) / 2**0.5, 90: -Y, 135: (-X - Y) / 2**0.5}


@pytest.mark.parametrize("name", kernels.NAMES)
def test_every_name_is_a_kernel(name: str):
    kernel = kernels.named(name)
    assert kernel.ndim == 2 and kernel.dtype == np.float64
    # either a flat picture stays as it is, or it becomes black
    assert kernel.sum() == pytest.approx(0.0 if kernels.is_derivative(kernel) else 1.0)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_edges_answer_most_to_their_own_direction(angle: int):
    answers = {a: ndimage.convolve(ramp, kernels.named(f"edge-{angle}"))[10, 10] for a, ramp in RAMPS.items()}
    assert max(answers, key=lambda a: answers[a]) == angle


@pytest.mark.parametrize("angle, step", [(0, (0, 1)), (45, (-1, 1)), (90, (1, 0)), (135, (1, 1))])
def test_lines_answer_to_lines_at_their_angle(angle: int, step: tuple[int, int]):
    picture = np.zeros((21, 21))
    for i in range(-10, 11):
        picture[10 + i * step[0], 10 + i * step[1]] = 1.0
    answers = {a: ndimage.convolve(picture, kernels.named(f"line-{a}"))[10, 10] for a in (0, 45, 90, 135)}
    assert max(answers, key=lambda a: answers[a]) == angle


@pytest.mark.parametrize("name, axis", [("sobel-x", 1), ("sobel-y", 0), ("prewitt-x", 1), ("prewitt-y", 0)])
def test_gradients_are_scipys(name: str, axis: int):
    picture = np.random.default_rng(0).random((12, 15))
    theirs = getattr(scipy.ndimage, name[:-2])(picture, axis=axis)
    np.testing.assert_allclose(ndimage.convolve(picture, kernels.named(name)), theirs, atol=1e-12)


def test_larger_sobel_is_the_smaller_one_smoothed():
    smoothed = scipy.ndimage.convolve(
        np.pad(kernels.named("sobel-x"), 1), np.outer([1, 2, 1], [1, 2, 1]), mode="constant"
    )
    np.testing.assert_array_equal(kernels.named("sobel-x", 5), smoothed)
    np.testing.assert_array_equal(kernels.named("sobel-y", 5), kernels.named("sobel-x", 5).T)


def test_gaussian_is_symmetric_and_separable():
    kernel = kernels.named("gaussian", 9)
    assert kernel.shape == (9, 9) and np.linalg.matrix_rank(kernel) == 1
    np.testing.assert_array_equal(kernel, np.flip(kernel))
    assert kernel[4, 4] == kernel.max()


@pytest.mark.parametrize(
    "name, size, message",
    [
        ("blurr", None, "kernel must be one of .*; got 'blurr'"),
        ("blur", 4, "odd number of at least 3; got 4"),
        ("blur", 1, "odd number of at least 3; got 1"),
        ("emboss", 5, "size of 'emboss' can only be 3; got 5"),
    ],
)
def test_unknown_names_and_sizes_are_refused(name: str, size: int | None, message: str):
    with pytest.raises(ValueError, match=message):
        kernels.named(name, size)


def test_numbers_are_kernels_too():
    np.testing.assert_array_equal(kernels.parse("[[0, 1], [-1, 2.5]]"), [[0, 1], [-1, 2.5]])
    np.testing.assert_array_equal(kernels.parse(" sobel-x "), kernels.named("sobel-x"))


@pytest.mark.parametrize(
    "text", ["[[1, 2], [3]]", "[1, 2]", "[[]]", "[[1, 'x']]", "[[1, 2]", "[[__import__('os')]]", "[[1e999]]", "[[1j]]"]
)
def test_other_texts_are_refused(text: str):
    with pytest.raises(ValueError, match="kernel must"):
        kernels.parse(text)


def test_numbers_have_no_size():
    with pytest.raises(ValueError, match="size goes with a kernel's name"):
        kernels.parse("[[1]]", 3)
