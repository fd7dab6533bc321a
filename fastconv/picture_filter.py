"""Filters for picture files, behind ``fastconv filter``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastconv import kernels, ndimage
from fastconv.install import install_command

__all__ = ["apply", "filter_file", "side_by_side"]


def filter_file(
    source: Path,
    target: Path,
    kernel: str,
    *,
    size: int | None = None,
    mode: str = "reflect",
    figure: Path | None = None,
) -> None:
    """Filter a picture file into another; optionally draw both into a figure.

    Raises
    ------
    ValueError
        Unknown kernel or mode, a file that is no picture, a target format that is unknown
        or cannot hold the picture.
    OSError
        A file that cannot be read or written.
    """
    weights = kernels.parse(kernel, size)
    image_module = _pillow()
    from PIL import UnidentifiedImageError

    known = image_module.registered_extensions()
    for name, path in (("OUT", target), ("--show", figure)):
        if path is not None and path.suffix.lower() not in known:
            raise ValueError(f"{name} must end in the suffix of a picture format, such as .png; got {str(path)!r}")
    try:
        with image_module.open(source) as file:
            picture = _pixels(file)
    except UnidentifiedImageError:
        raise ValueError(f"IN must be a picture file; {source} is not one that Pillow reads") from None
    filtered = apply(picture, weights, mode)
    image_module.fromarray(filtered).save(target)
    if figure is not None:
        side_by_side(picture, filtered, weights, kernel, figure)


def apply(picture: np.ndarray, kernel: np.ndarray, mode: str = "reflect") -> np.ndarray:
    """The convolution of a picture with a kernel, as a picture.

    Parameters
    ----------
    picture : ndarray
        Unsigned integers ``(H, W)`` or ``(H, W, C)``; of 2 or 4 channels the last is transparency, which stays.
    kernel : ndarray
        ``(K, L)``.
    mode : str, optional
        As in `fastconv.ndimage.convolve`.

    Returns
    -------
    ndarray
        Of the picture's shape and dtype: `fastconv.ndimage.convolve` in float32, its magnitude
        where the weights add up to zero, rounded and clipped to the dtype's range.  Such kernels of
        more than 3 x 3 weights are scaled: a step is as bright as after the Sobel kernel of 3 x 3.
    """
    alpha = picture.ndim == 3 and picture.shape[2] in (2, 4)
    pixels = picture[..., :-1] if alpha else picture
    result = ndimage.convolve(pixels.astype(np.float32), kernel.astype(np.float32), mode=mode, axes=(0, 1))
    if kernels.is_derivative(kernel):
        result = np.abs(result) * _brightness(kernel)
    filtered = np.clip(np.rint(result), 0, np.iinfo(picture.dtype).max).astype(picture.dtype)
    return np.concatenate([filtered, picture[..., -1:]], axis=2) if alpha else filtered


# What the Sobel kernel of 3 x 3 makes of a step by 1.
STEP = 4.0


def _brightness(kernel: np.ndarray) -> float:
    """What large derivatives are scaled by: their weights grow with their size, and most of a picture would be white."""
    return min(1.0, STEP / float(kernel[kernel > 0].sum())) if max(kernel.shape) > 3 else 1.0


def side_by_side(picture: np.ndarray, filtered: np.ndarray, kernel: np.ndarray, name: str, path: Path) -> None:
    """Draw picture, kernel and filtered picture into one figure file."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ModuleNotFoundError(
            f"figures need matplotlib, which is not installed: {install_command('bench')}"
        ) from None
    height, width = picture.shape[:2]
    figure = Figure(figsize=(12.0, 12.0 / 2.5 * height / width + 0.5), layout="constrained")
    before, middle, after = figure.subplots(1, 3, width_ratios=(1, 0.42, 1))
    top = np.iinfo(picture.dtype).max
    for ax, pixels, title in ((before, picture, "before"), (after, filtered, "after")):
        ax.imshow(
            pixels if pixels.ndim == 3 and pixels.dtype == np.uint8 else pixels.squeeze(), cmap="gray", vmin=0, vmax=top
        )
        ax.set_title(title)
        ax.set_axis_off()
    largest = np.abs(kernel).max() or 1.0
    middle.imshow(kernel, cmap="RdBu", vmin=-largest, vmax=largest)
    if max(kernel.shape) <= 5:
        for (y, x), weight in np.ndenumerate(kernel):
            dark = abs(weight) > 0.6 * largest
            middle.text(x, y, f"{weight:.3g}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    middle.set_title(f"{name if len(name) < 20 else 'kernel'} {'×'.join(map(str, kernel.shape))}")
    middle.set_xticks([])
    middle.set_yticks([])
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ModuleNotFoundError("picture files need Pillow, which is not installed: pip install pillow") from None
    return Image


def _pixels(file: Any) -> np.ndarray:
    """A Pillow picture as unsigned integers; palettes and rare modes become colours."""
    if file.mode in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(file)
    if file.mode.startswith("I;16"):
        return np.asarray(file).astype(np.uint16)
    if file.mode in ("1", "I", "F"):
        return np.asarray(file.convert("L"))
    return np.asarray(file.convert("RGBA" if "transparency" in file.info or "A" in file.mode else "RGB"))
