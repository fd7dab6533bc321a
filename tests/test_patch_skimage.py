"""scikit-image with the patch on: its calls of SciPy are served, its results stay, nothing of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from skimage import feature, filters, metrics, morphology, restoration, transform
from skimage.data import camera

import fastconv

BYTES = camera()[100:228, 130:290]
SINGLE = (BYTES / 255).astype(np.float32)
DOUBLE = BYTES / 255
NOISY = SINGLE + np.random.default_rng(0).normal(0, 0.01, SINGLE.shape).astype(np.float32)
DISK = morphology.disk(3)
BOX = morphology.footprint_rectangle((3, 5))
PSF = np.array([[1, 2, 3], [2, 4, 6], [1, 2, 3.0]]) / 24

# The call, and the functions of SciPy that it rests on.
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "gaussian": (lambda: filters.gaussian(SINGLE, 2), "gaussian_filter"),
    "gaussian of bytes": (lambda: filters.gaussian(BYTES, (1, 3)), "gaussian_filter"),
    "sobel": (lambda: filters.sobel(SINGLE), "convolve"),
    "prewitt": (lambda: filters.prewitt(DOUBLE), "convolve"),
    "scharr": (lambda: filters.scharr(SINGLE), "convolve"),
    "farid": (lambda: filters.farid(SINGLE), "convolve"),
    "roberts": (lambda: filters.roberts(SINGLE), "convolve"),
    "laplace": (lambda: filters.laplace(SINGLE), "convolve"),
    "median": (lambda: filters.median(BYTES, DISK), "median_filter"),
    "unsharp_mask": (lambda: filters.unsharp_mask(SINGLE, 3), "gaussian_filter"),
    "difference_of_gaussians": (lambda: filters.difference_of_gaussians(SINGLE, 1, 4), "gaussian_filter"),
    "threshold_local": (lambda: filters.threshold_local(SINGLE, 35), "gaussian_filter"),
    "sato": (lambda: filters.sato(SINGLE, sigmas=[1, 2]), "gaussian_filter"),
    "canny": (lambda: feature.canny(SINGLE, 2), "gaussian_filter sobel"),
    "corner_harris": (lambda: feature.corner_harris(SINGLE), "gaussian_filter sobel"),
    "peak_local_max": (lambda: feature.peak_local_max(NOISY, min_distance=5), "maximum_filter"),
    "match_template": (lambda: feature.match_template(DOUBLE, DOUBLE[20:50, 30:50]), "fftconvolve"),
    "dilation": (lambda: morphology.dilation(BYTES, DISK), "grey_dilation"),
    "erosion": (lambda: morphology.erosion(SINGLE, BOX), "grey_erosion"),
    "white_tophat": (lambda: morphology.white_tophat(BYTES, BOX), "grey_dilation grey_erosion"),
    "structural_similarity": (
        lambda: metrics.structural_similarity(DOUBLE, NOISY.astype(float), data_range=1, full=True)[1],
        "uniform_filter",
    ),
    "rescale": (lambda: transform.rescale(SINGLE, 0.5, anti_aliasing=True), "gaussian_filter"),
    "richardson_lucy": (lambda: restoration.richardson_lucy(DOUBLE, PSF, 3), "convolve"),
}


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    fastconv.patch_report(reset=True)
    yield
    assert fastconv.patch_map(active=True) == {}


@pytest.mark.parametrize("name", CALLS)
def test_it_is_served_and_equal(name):
    call, functions = CALLS[name]
    expected = np.asarray(call())
    with fastconv.patched_scipy():
        got = np.asarray(call())
    served = fastconv.patch_report(reset=True)
    assert {full.rpartition(".")[2] for full in served} == set(functions.split())
    assert all(counts.served and not counts.fallen_back and not counts.rejected for counts in served.values())
    assert got.dtype == expected.dtype
    if got.dtype.kind == "f":
        np.testing.assert_allclose(got, expected, rtol=0, atol=3e-6 * np.abs(expected).max())
    else:
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.asarray(call()), expected)  # without the patch again
    assert fastconv.patch_report() == {}
