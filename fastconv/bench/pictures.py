"""Real pictures of any size, from the few that come inside the scikit-image package."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv.install import install_command

__all__ = ["COLOUR", "GREY", "images", "photo", "picture"]

GREY = ("camera", "brick", "grass", "gravel", "moon", "coins")
COLOUR = ("astronaut", "coffee", "chelsea", "rocket")


@lru_cache(maxsize=16)
def photo(name: str) -> np.ndarray:
    """A picture of scikit-image as it is, uint8: ``(H, W)`` or ``(H, W, 3)``."""
    try:
        import skimage.data
    except ImportError:
        raise ModuleNotFoundError(
            f"the benchmark's pictures come from scikit-image, which is not installed: {install_command('bench')}"
        ) from None
    return np.ascontiguousarray(getattr(skimage.data, name)())


def picture(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A picture cut or mirrored to a shape: a line, an image, or a stack of slowly drifting cuts.

    Integers are the pixels, 0 to 255; floating-point numbers are pixels / 255, and complex
    ones have the picture upside down for their imaginary part.
    """
    source = photo(name)
    if source.ndim == 3 and (len(shape) != 3 or shape[-1] != 3):
        source = source @ np.array([0.299, 0.587, 0.114])
    if len(shape) == 1:
        rows = -(-shape[0] // source.shape[1])
        pixels = _cut(source, rows, source.shape[1]).reshape(-1)[: shape[0]]
    elif len(shape) == 3 and source.ndim == 2:
        pixels = np.stack([_cut(source, shape[1], shape[2], start=(3 * z, 2 * z)) for z in range(shape[0])])
    else:
        pixels = _cut(source, shape[0], shape[1])
    return _as_dtype(pixels, dtype)


def images(name: str, batch: int, channels: int, height: int, width: int, dtype: str) -> np.ndarray:
    """A batch ``(N, C, H, W)`` of cuts of a picture; channels beyond the colours are cuts too."""
    source = photo(name)
    planes = [source] if source.ndim == 2 else [source[..., c] for c in range(3)]
    stack = [
        _cut(
            planes[c % len(planes)],
            height,
            width,
            start=(37 * n + 5 * (c // len(planes)), 61 * n + 11 * (c // len(planes))),
        )
        for n in range(batch)
        for c in range(channels)
    ]
    return _as_dtype(np.stack(stack).reshape(batch, channels, height, width), dtype)


def _cut(source: np.ndarray, height: int, width: int, start: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Rows and columns from `start`, the picture continued by its mirror images."""

    def mirrored(first: int, count: int, size: int) -> np.ndarray:
        places = np.arange(first, first + count) % (2 * size)
        return np.minimum(places, 2 * size - 1 - places)

    return source[mirrored(start[0], height, source.shape[0])][:, mirrored(start[1], width, source.shape[1])]


def _as_dtype(pixels: np.ndarray, dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return np.ascontiguousarray(np.rint(pixels), dtype=kind)
    values = (pixels + 1j * pixels[::-1]) if kind.kind == "c" else pixels
    return np.ascontiguousarray(values / 255.0, dtype=kind)
