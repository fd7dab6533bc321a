"""Pictures of filters, of feature maps, and of images before and after.

Needs matplotlib: ``pip install fastconv[plot]``.  Numbers of both signs are drawn on a scale that is symmetric about 0, red
above and blue below it, so that the colour of 0 is the same in all pictures; others in grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.install import install_command
from fastconv.validate import choice

__all__ = ["show_before_after", "show_feature_maps", "show_filters"]

SIGNED, UNSIGNED = "RdBu_r", "gray"
FILTERS = {"OIHW": (0, 1, 2, 3), "HWIO": (3, 2, 0, 1)}
MAPS = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}
# Inches of a picture.
FILTER_INCHES, MAP_INCHES, IMAGE_INCHES = 1.1, 1.9, 3.6
# Numbers are written into weights of kernels up to this size.
WRITTEN = 7


def show_filters(
    weight: Any,
    *,
    data_format: str = "OIHW",
    titles: Sequence[str] | None = None,
    max_count: int = 64,
    columns: int | None = None,
    cmap: str | None = None,
    colour: bool = False,
    numbers: bool = False,
    shared: bool = False,
    axes: Any = None,
) -> Any:
    """Draw the kernels of filters.

    Parameters
    ----------
    weight : array_like, sequence or mapping
        ``(O, I, kH, kW)`` or ``(kH, kW, I, O)``, see `data_format`; ``(O, kH, kW)``; one kernel ``(kH, kW)``; a sequence
        of kernels of any sizes, or a mapping from titles to them.
    data_format : {"OIHW", "HWIO"}, optional
        Order of the axes of four-dimensional weights.
    titles : sequence of str, optional
        Of the pictures.
    max_count : int, optional
        At most so many pictures are drawn.
    columns : int, optional
        Pictures in a row; default about as many as there are rows, or the channels of a filter.
    cmap : str, optional
        Colours; default blue, white and red about 0 if some weights are negative, else grey.
    colour : bool, optional
        Draw filters of three channels as pictures in colour, rather than each channel; 0 is grey.
    numbers : bool, optional
        Write the weights of small kernels into the pictures.
    shared : bool, optional
        Whether all pictures have the scale of the largest weight, rather than each its own.
    axes : array of matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        Wrong dimensions or `data_format`, fewer titles or axes than pictures.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastconv import kernels, plot
    >>> figure = plot.show_filters({"sobel": kernels.sobel(), "laplace": kernels.laplace()}, numbers=True)
    >>> [ax.get_title() for ax in figure.axes]
    ['sobel', 'laplace']
    """
    pictures, titles, channels = _kernels(weight, choice("data_format", data_format, FILTERS), titles, colour)
    columns = columns or (channels if channels > 1 else None)
    figure, places = _grid(pictures, titles, max_count, columns, FILTER_INCHES, axes)
    limits = _limits(pictures, shared)
    for ax, picture, limit in zip(places, pictures, limits, strict=False):
        image = _draw(ax, picture, limit, cmap)
        if numbers and picture.ndim == 2 and max(picture.shape) <= WRITTEN:
            _write(ax, picture, image)
    return figure


def show_feature_maps(
    maps: Any,
    *,
    data_format: str = "NCHW",
    titles: Sequence[str] | None = None,
    max_count: int = 64,
    columns: int | None = None,
    cmap: str | None = None,
    shared: bool = True,
    clip: float = 0.0,
    axes: Any = None,
) -> Any:
    """Draw the channels of images.

    Parameters
    ----------
    maps : array_like, sequence or mapping
        ``(N, C, H, W)`` or ``(N, H, W, C)``, see `data_format`, or the same without N; one map ``(H, W)``; a sequence of
        maps of any sizes, or a mapping from titles to them.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes.
    titles : sequence of str, optional
        Of the pictures.
    max_count : int, optional
        At most so many pictures are drawn.
    columns : int, optional
        Pictures in a row; default about as many as there are rows, or the channels of several images.
    cmap : str, optional
        Colours; default blue, white and red about 0 if some values are negative, else grey.
    shared : bool, optional
        Whether all pictures have the scale of the largest value, rather than each its own.
    clip : float, optional
        The part of the values, from 0 to 1, that may lie beyond the scale.
    axes : array of matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        Wrong dimensions or `data_format`, fewer titles or axes than pictures.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import plot
    >>> figure = plot.show_feature_maps(np.random.default_rng(0).normal(size=(1, 8, 12, 16)))
    >>> len(figure.axes)
    8
    """
    order = choice("data_format", data_format, MAPS)
    if isinstance(maps, Mapping | list | tuple):
        pictures, titles = _named(maps, titles)
        channels = 1
    else:
        array = np.asarray(maps)
        if array.ndim not in (2, 3, 4):
            raise ValueError(f"maps must have 2 to 4 dimensions; got shape {array.shape}")
        array = array if array.ndim != 2 else (array[None] if order == MAPS["NCHW"] else array[..., None])
        array = (array if array.ndim == 4 else array[None]).transpose(order)
        pictures, channels = list(array.reshape(-1, *array.shape[2:])), array.shape[1] if len(array) > 1 else 1
    columns = columns or (channels if channels > 1 else None)
    figure, places = _grid(pictures, titles, max_count, columns, MAP_INCHES, axes)
    for ax, picture, limit in zip(places, pictures, _limits(pictures, shared, clip), strict=False):
        _draw(ax, picture, limit, cmap)
    return figure


def show_before_after(
    before: Any,
    after: Any,
    *,
    titles: Sequence[str] | None = None,
    channels_last: bool = True,
    cmap: str | None = None,
    clip: float = 0.0,
    axes: Any = None,
) -> Any:
    """Draw an image beside what was made of it.

    Parameters
    ----------
    before : array_like
        ``(H, W)``, or ``(H, W, 3)`` in colour.
    after : array_like, sequence or mapping
        The same after an operation, of any size; or several, or a mapping from titles to them.
    titles : sequence of str, optional
        Of all pictures; default "before" and "after", or the titles of the mapping.
    channels_last : bool, optional
        Whether the colours stand last, rather than first.
    cmap : str, optional
        Colours of pictures without colour; default grey, or blue, white and red about 0 if some values are negative.
    clip : float, optional
        The part of the values, from 0 to 1, that may lie beyond the scale.
    axes : array of matplotlib.axes.Axes, optional
        Where to draw; default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        Wrong dimensions, fewer titles or axes than pictures.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage, plot
    >>> image = np.eye(16)
    >>> figure = plot.show_before_after(image, {"blurred": ndimage.gaussian_filter(image, 1)})
    >>> [ax.get_title() for ax in figure.axes]
    ['before', 'blurred']
    """
    several = isinstance(after, Mapping | list | tuple)
    results, names = _named(after if several else [after], None)
    pictures = [np.asarray(before), *results]
    titles = titles if titles is not None else ["before", *(names or ["after"] + [""] * (len(results) - 1))]
    for picture in pictures:
        if picture.ndim not in (2, 3) or (
            picture.ndim == 3 and picture.shape[-1 if channels_last else 0] not in (3, 4)
        ):
            raise ValueError(f"images must have two axes, or a third one of 3 colours; got shape {picture.shape}")
    pictures = [np.moveaxis(p, 0, -1) if p.ndim == 3 and not channels_last else p for p in pictures]
    figure, places = _grid(pictures, titles, len(pictures), min(len(pictures), 4), IMAGE_INCHES, axes)
    for ax, picture in zip(places, pictures, strict=False):
        _draw(ax, picture, _limit(picture, clip), cmap)
    return figure


# -- pictures -----------------------------------------------------------------------------------


def _kernels(
    weight: Any, order: tuple[int, ...], titles: Sequence[str] | None, colour: bool
) -> tuple[list[np.ndarray], Sequence[str] | None, int]:
    """Pictures of kernels, their titles, and how many belong to a filter."""
    if isinstance(weight, Mapping | list | tuple):
        return *_named(weight, titles), 1
    array = np.asarray(weight)
    if array.ndim not in (2, 3, 4):
        raise ValueError(f"weight must have 2 to 4 dimensions; got shape {array.shape}")
    if array.ndim < 4:
        return list(array.reshape(-1, *array.shape[-2:])), titles, 1
    array = array.transpose(order)
    if colour:
        if array.shape[1] != 3:
            raise ValueError(f"colour needs filters of 3 channels; got {array.shape[1]}")
        return list(np.moveaxis(array, 1, -1)), titles, 1
    return list(array.reshape(-1, *array.shape[2:])), titles, array.shape[1]


def _named(pictures: Any, titles: Sequence[str] | None) -> tuple[list[np.ndarray], Sequence[str] | None]:
    """The pictures of a sequence or mapping, and their titles."""
    if isinstance(pictures, Mapping):
        titles, pictures = titles if titles is not None else list(pictures), list(pictures.values())
    return [np.asarray(picture) for picture in pictures], titles


def _limit(picture: np.ndarray, clip: float = 0.0) -> tuple[float, float]:
    """The smallest and largest number of a picture's scale: symmetric about 0 if there are numbers of both signs."""
    if picture.dtype == np.uint8 and picture.ndim == 3:
        return 0.0, 255.0
    values = picture[np.isfinite(picture)].astype(float)
    if values.size == 0:
        return 0.0, 1.0
    low, high = values.min(), values.max()
    if low < 0:
        largest = float(np.quantile(np.abs(values), 1 - clip)) or float(np.abs(values).max())
        return -largest, largest
    if picture.ndim == 3:  # matplotlib's ranges of colours
        return 0.0, 1.0 if high <= 1 else max(high, 255.0)
    return (low if high / 2 < low < high else 0.0), float(np.quantile(values, 1 - clip)) or high or 1.0


def _limits(pictures: list[np.ndarray], shared: bool, clip: float = 0.0) -> list[tuple[float, float]]:
    """Scales of pictures that belong together: if one has numbers of both signs, so have all."""
    if shared:
        return [_limit(np.concatenate([np.ravel(picture) for picture in pictures])[None], clip)] * len(pictures)
    limits = [_limit(picture, clip) for picture in pictures]
    return [(-high, high) for _, high in limits] if min(low for low, _ in limits) < 0 else limits


def _draw(ax: Any, picture: np.ndarray, limit: tuple[float, float], cmap: str | None) -> Any:
    """A picture without ticks."""
    low, high = limit
    ax.set_xticks([])
    ax.set_yticks([])
    if picture.ndim == 3:
        picture = np.clip((picture - low) / (high - low), 0, 1)
    return ax.imshow(
        picture, cmap=cmap or (SIGNED if low < 0 else UNSIGNED), vmin=low, vmax=high, interpolation="nearest"
    )


def _write(ax: Any, kernel: np.ndarray, image: Any) -> None:
    """Weights as numbers, white on dark colours."""
    for (row, column), value in np.ndenumerate(kernel):
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        ax.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color="white" if dark else "black")


def _grid(
    pictures: list[np.ndarray], titles: Iterable[str] | None, most: int, columns: int | None, inches: float, axes: Any
) -> tuple[Any, list[Any]]:
    """A figure, and the places of the pictures in it."""
    if not pictures:
        raise ValueError("there must be at least one picture; got none")
    if most < 1:
        raise ValueError(f"max_count must be at least 1; got {most}")
    del pictures[most:]
    count = len(pictures)
    if axes is not None:
        places = list(np.ravel(axes))
        figure = places[0].figure if places else None
    else:
        columns = min(columns or int(np.ceil(np.sqrt(count * 1.5))), count)
        rows = -(-count // columns)
        height = float(np.median([p.shape[0] / p.shape[1] for p in pictures]))
        title = 0.25 if titles is not None else 0.05
        size = (columns * inches, rows * (inches * min(max(height, 0.3), 3.0) + title))
        figure = _pyplot().figure(figsize=size, layout="constrained")
        places = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
        for unused in places[count:]:
            unused.remove()
    if len(places) < count:
        raise ValueError(f"axes must have a place for each of the {count} pictures; got {len(places)}")
    if titles is not None:
        titles = list(titles)
        if len(titles) < count:
            raise ValueError(f"titles must name each of the {count} pictures; got {len(titles)}")
        for ax, text in zip(places, titles, strict=False):
            ax.set_title(text, fontsize=9)
    return figure, places


def _pyplot() -> Any:
    """matplotlib's pyplot, which is imported when the first figure is made."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(f"fastconv.plot needs matplotlib: {install_command('plot')}") from error
    return matplotlib.pyplot
