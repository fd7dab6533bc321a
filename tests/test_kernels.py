"""Kernels: what they do to pictures whose answer is known, and what OpenCV, scikit-image and SciPy have for them."""

from __future__ import annotations

import inspect
import re

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.filters
import skimage.morphology

from fastconv import kernels, ndimage

Y, X = np.mgrid[:21, :21].astype(np.float64)
# brighter to the right, up and right, up, up and left
RAMPS = {a: X * np.cos(np.deg2rad(a)) - Y * np.sin(np.deg2rad(a)) for a in range(0, 360, 45)}


@pytest.mark.parametrize("name", kernels.NAMES)
def test_every_name_is_a_kernel(name: str):
    kernel = kernels.named(name)
    assert kernel.ndim == 2 and kernel.dtype == np.float64
    # either a flat picture stays as it is, or it becomes black
    assert kernel.sum() == pytest.approx(0.0 if kernels.is_derivative(kernel) else 1.0)


@pytest.mark.parametrize("name", ["edge", "kirsch", "robinson"])
@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_compasses_answer_most_to_their_own_direction(name: str, angle: int):
    kernel = kernels.named(f"{name}-{angle}")
    answers = {a: ndimage.convolve(ramp, kernel)[10, 10] for a, ramp in RAMPS.items()}
    assert max(answers, key=lambda a: answers[a]) == angle
    np.testing.assert_array_equal(kernel, getattr(kernels, name)(angle - 360))


def test_edges_by_what_they_find():
    right, down = (
        ndimage.convolve(X, kernels.named("edge-vertical")),
        ndimage.convolve(Y, kernels.named("edge-horizontal")),
    )
    assert right[10, 10] == down[10, 10] == 6.0


ANGLES = {0: (0, 1), 45: (-1, 1), 90: (1, 0), 135: (1, 1)}


@pytest.mark.parametrize("name", ["line", "motion-blur", "gabor"])
@pytest.mark.parametrize("angle", ANGLES)
def test_lines_answer_to_lines_at_their_angle(name: str, angle: int):
    answers = {}
    for a, (down, right) in ANGLES.items():
        picture = np.zeros((21, 21))
        for i in range(-10, 11):
            picture[10 + i * down, 10 + i * right] = 1.0
        answers[a] = ndimage.convolve(picture, kernels.named(f"{name}-{angle}"))[10, 10]
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


# -- kernels with parameters ----------------------------------------------------------------------


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape)


@pytest.mark.parametrize("size, sigma", [(3, 0.8), (9, 2.0), (31, 5.0)])
def test_gaussian_is_opencvs(size: int, sigma: float):
    line = cv2.getGaussianKernel(size, sigma)[:, 0]
    np.testing.assert_allclose(kernels.gaussian(size, sigma), np.outer(line, line), rtol=1e-12)
    np.testing.assert_allclose(kernels.gaussian((size, 1), sigma)[:, 0], line, rtol=1e-12)


@pytest.mark.parametrize("shape", [(40,), (20, 24), (12, 13, 14)])
def test_gaussian_is_scipys_filter(shape: tuple[int, ...]):
    for sigma in (0.7, 1.0, [1.3, 0.4, 0.9][: len(shape)]):
        expected = scipy.ndimage.gaussian_filter(image(*shape), sigma)
        kernel = kernels.gaussian(sigma=sigma, ndim=len(shape))
        np.testing.assert_allclose(ndimage.convolve(image(*shape), kernel), expected, rtol=1e-12)


def test_gaussian_of_a_size_alone_fills_its_window():
    kernel = kernels.named("gaussian", 9)
    assert kernel.shape == (9, 9) and np.linalg.matrix_rank(kernel) == 1
    np.testing.assert_array_equal(kernel, np.flip(kernel))
    assert 0.005 < kernel[4, 0] / kernel[4, 4] < 0.06


@pytest.mark.parametrize("shape", [(20,), (20, 21), (9, 10, 11)])
def test_means_are_scipys(shape: tuple[int, ...]):
    n, x = len(shape), image(*shape)
    for size in (4, 5, [3, 4, 5][:n]):
        expected = scipy.ndimage.uniform_filter(x, size)
        np.testing.assert_allclose(scipy.ndimage.correlate(x, kernels.box(size, n)), expected, rtol=1e-12)
    inside = scipy.ndimage.generate_binary_structure(n, 1)
    np.testing.assert_array_equal(kernels.disk(1, n) > 0, inside)


def test_disks_are_those_of_scikit_image():
    for radius in (1, 2, 3, 5, 10):
        np.testing.assert_array_equal(kernels.disk(radius) > 0, skimage.morphology.disk(radius) > 0)
        np.testing.assert_array_equal(kernels.ball(radius) > 0, skimage.morphology.ball(radius) > 0)
        assert kernels.disk(radius).sum() == pytest.approx(1.0)
    assert kernels.disk(2.5).shape == (5, 5) and (kernels.disk(2.5) > 0).sum() == 21


def test_binomials_become_gaussians():
    np.testing.assert_array_equal(kernels.binomial(3) * 16, np.outer([1, 2, 1], [1, 2, 1]))
    np.testing.assert_allclose(kernels.binomial(33), kernels.gaussian(33, 32**0.5 / 2), atol=4e-4)


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_sobel_is_opencvs(size: int):
    difference, smooth = (line[:, 0] for line in cv2.getDerivKernels(1, 0, size))
    # OpenCV correlates, and of larger kernels repeats the smoothing of the difference
    np.testing.assert_array_equal(kernels.sobel(size), np.outer(smooth, difference[::-1]))
    np.testing.assert_array_equal(kernels.sobel(size, axis=0), np.outer(difference[::-1], smooth))


@pytest.mark.parametrize("name", ["sobel", "prewitt"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients_along_each_axis_are_scipys(name: str, ndim: int):
    x = image(*[8, 9, 10][:ndim])
    for axis in range(-ndim, ndim):
        expected = getattr(scipy.ndimage, name)(x, axis)
        kernel = getattr(kernels, name)(axis=axis, ndim=ndim)
        np.testing.assert_allclose(ndimage.convolve(x, kernel), expected, atol=1e-12)


def test_gradients_are_those_of_scikit_image():
    x = image(20, 21)
    for name, axis, letter in [(n, a, "hv"[a]) for n in ("sobel", "prewitt", "scharr") for a in (0, 1)]:
        kernel = getattr(kernels, name)(axis=axis)
        expected = getattr(skimage.filters, f"{name}_{letter}")(x)  # its weights' magnitudes add up to two
        np.testing.assert_allclose(ndimage.convolve(x, kernel / np.abs(kernel).sum() * 2), expected, atol=1e-12)
    for axis, name in enumerate(("neg", "pos")):
        expected = getattr(skimage.filters, f"roberts_{name}_diag")(x)
        np.testing.assert_allclose(np.abs(ndimage.convolve(x, kernels.roberts(axis))), np.abs(expected), atol=1e-12)


def test_scharr_is_opencvs():
    difference, smooth = (line[:, 0] for line in cv2.getDerivKernels(1, 0, cv2.FILTER_SCHARR))
    np.testing.assert_array_equal(kernels.scharr(), np.outer(smooth, difference[::-1]))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_laplacians_are_scipys(ndim: int):
    x = image(*[15, 16, 17][:ndim])
    np.testing.assert_allclose(ndimage.convolve(x, kernels.laplace(ndim=ndim)), scipy.ndimage.laplace(x), atol=1e-12)
    assert np.count_nonzero(kernels.laplace(ndim, ndim)) == 3**ndim
    wave = np.cos(0.05 * np.arange(201))
    kernel = kernels.laplacian_of_gaussian(sigma=2.0, ndim=1, truncate=6)
    np.testing.assert_allclose(
        ndimage.convolve(wave, kernel)[50:150], scipy.ndimage.gaussian_laplace(wave, 2.0, truncate=6)[50:150], atol=1e-7
    )


def test_difference_of_gaussians_is_that_of_scikit_image():
    x = image(40, 41)
    expected = skimage.filters.difference_of_gaussians(x, 1.0, 1.5, mode="reflect", truncate=8)
    kernel = kernels.difference_of_gaussians(sigma=1.0, ratio=1.5, truncate=8)
    np.testing.assert_allclose(ndimage.convolve(x, kernel), expected, atol=1e-9)


def test_difference_of_gaussians_is_nearly_the_laplacian():
    ours = kernels.difference_of_gaussians(25, 2.0).ravel()
    theirs = -kernels.laplacian_of_gaussian(25, 2.55).ravel()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99


@pytest.mark.parametrize("psi", [0.0, -np.pi / 2, 0.4])
@pytest.mark.parametrize("theta", [0.0, 0.5, 2.0])
def test_gabor_is_opencvs_and_scikit_images(theta: float, psi: float):
    expected = cv2.getGaborKernel((11, 15), 2.5, theta, 5.0, 0.7, psi)
    actual = kernels.gabor((15, 11), 2.5, theta, 5.0, 0.7, psi)
    np.testing.assert_allclose(actual, np.flip(expected), atol=1e-12)
    wave = skimage.filters.gabor_kernel(1 / 5.0, theta, sigma_x=2.5, sigma_y=2.5 / 0.7, offset=psi)
    ours = kernels.gabor(wave.shape, 2.5, theta, 5.0, 0.7, psi) / (2 * np.pi * 2.5 * 2.5 / 0.7)
    np.testing.assert_allclose(ours, wave.real, atol=1e-12)


def test_gabor_window_holds_the_gaussian():
    for gamma in (0.5, 1.0, 2.0):
        kernel = np.abs(kernels.gabor(sigma=2.0, gamma=gamma, theta=0.3, wavelength=100.0))
        assert max(kernel[0].max(), kernel[:, 0].max()) < 0.02


@pytest.mark.parametrize("angle", [0, 10, 45, 63, 90, 120, 179.5, 300, -20])
def test_motion_blur_is_a_line(angle: float):
    kernel = kernels.motion_blur(15, angle)
    assert kernel.sum() == pytest.approx(1.0) and (kernel >= 0).all()
    np.testing.assert_allclose(kernel, np.flip(kernel), atol=1e-12)
    y, x = np.mgrid[7:-8:-1, -7:8]
    off = np.abs(x * np.sin(np.deg2rad(angle)) - y * np.cos(np.deg2rad(angle)))
    assert off[kernel > 0].max() < 1.0 and (kernel[7, 7] == kernel.max())
    along = kernel.sum(0) if abs(np.cos(np.deg2rad(angle))) > 0.7 else kernel.sum(1)
    np.testing.assert_allclose(along, 1 / 15)


def test_sharpening_keeps_flat_areas_and_steepens_edges():
    step = (X > 10).astype(float)
    for kernel in (
        kernels.sharpen(),
        kernels.sharpen(0.5, 2),
        kernels.unsharp(7, 1.5),
        kernels.unsharp((3, 5), amount=0.3),
    ):
        sharper = ndimage.convolve(step, kernel)
        np.testing.assert_allclose(sharper[:, :5], 0.0, atol=1e-12)
        np.testing.assert_allclose(sharper[:, -5:], 1.0)
        assert sharper.max() > 1.05 and sharper.min() < -0.05
    np.testing.assert_allclose(kernels.unsharp(9, 2.0, amount=0.0), np.pad([[1.0]], 4), atol=1e-15)
    x = image(30, 31)
    expected = skimage.filters.unsharp_mask(x, radius=1.0, amount=0.7)  # clipped to [0, 1], borders by reflection
    actual = np.clip(ndimage.convolve(x, kernels.unsharp(9, 1.0, 0.7)), 0, 1)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_emboss_is_grey_where_flat_and_bright_along_its_angle():
    for angle in range(0, 360, 45):
        kernel = kernels.emboss(angle)
        assert kernel.sum() == 1.0
        answers = {a: ndimage.convolve(ramp, kernel)[10, 10] - ramp[10, 10] for a, ramp in RAMPS.items()}
        assert max(answers, key=lambda a: answers[a]) == angle


FUNCTIONS = [f for name, f in vars(kernels).items() if name in kernels.__all__ and inspect.isfunction(f)]
FORMULAS = [f for f in FUNCTIONS if f.__name__ not in ("is_derivative", "named", "parse")]


@pytest.mark.parametrize("function", FORMULAS, ids=lambda f: f.__name__)
def test_every_kernel_has_its_source_and_takes_its_defaults(function):
    for section in ("Parameters", "Returns", "Raises", "References", "Examples"):
        assert f"    {section}\n    ---" in function.__doc__, section
    assert re.search(r"doi:10\.\d{4,}/\S+", function.__doc__)
    kernel = function(sigma=1.5) if function is kernels.gaussian else function()
    assert kernel.dtype == np.float64 and kernel.flags.c_contiguous and kernel.flags.writeable
    assert not np.shares_memory(kernel, function(sigma=1.5) if function is kernels.gaussian else function())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: kernels.box(0), "size must be an integer of at least 1; got 0"),
        (lambda: kernels.box(2.0), "size must be an integer of at least 1; got 2.0"),
        (lambda: kernels.box((3, 3, 3)), "size must be one number or 2"),
        (lambda: kernels.box(3, ndim=0), "ndim must be an integer of at least 1; got 0"),
        (lambda: kernels.gaussian(), "size or sigma must be given"),
        (lambda: kernels.gaussian(5, -1.0), "sigma must be positive; got -1.0"),
        (lambda: kernels.gaussian(5, float("nan")), "sigma must be a finite number; got nan"),
        (lambda: kernels.gaussian(5, [1.0, 0.0]), "sigma must be positive; got 0.0"),
        (lambda: kernels.gaussian(sigma=1.0, truncate=0.0), "truncate must be positive; got 0.0"),
        (lambda: kernels.disk(0), "radius must be positive; got 0"),
        (lambda: kernels.sobel(4), "size must be an odd number of at least 3; got 4"),
        (lambda: kernels.sobel(1), "size must be an integer of at least 3; got 1"),
        (lambda: kernels.sobel(axis=2), r"axis must be in \[-2, 1\]; got 2"),
        (lambda: kernels.roberts(-3), r"axis must be in \[-2, 1\]; got -3"),
        (lambda: kernels.edge(30), "angle must be a multiple of 45 degrees; got 30"),
        (lambda: kernels.kirsch("up"), "angle must be a multiple of 45 degrees; got 'up'"),
        (lambda: kernels.laplace(3), "connectivity must be at most ndim, 2; got 3"),
        (lambda: kernels.difference_of_gaussians(ratio=0.5), "ratio must be above 1; got 0.5"),
        (lambda: kernels.motion_blur(4), "size must be an odd number; got 4"),
        (lambda: kernels.motion_blur(5, float("inf")), "angle must be a finite number; got inf"),
        (lambda: kernels.unsharp(4), "size must be odd along each axis; got 4"),
        (lambda: kernels.sharpen(float("nan")), "amount must be a finite number; got nan"),
        (lambda: kernels.gabor(wavelength=0.0), "wavelength must be positive; got 0.0"),
    ],
)
def test_wrong_arguments_are_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


# -- names ----------------------------------------------------------------------------------------


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
