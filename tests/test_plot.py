"""Pictures of filters, feature maps and images: what is drawn, with which colours, and where."""

from __future__ import annotations

import builtins

import matplotlib
import numpy as np
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt

from fastconv import plot


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(figure) -> list[np.ndarray]:
    """The arrays of all pictures."""
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes]


def limits(figure) -> list[tuple[float, float]]:
    return [ax.images[0].get_clim() for ax in figure.axes]


def names(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def test_filters_of_every_layout():
    w = np.random.default_rng(0).normal(size=(4, 3, 5, 2))
    figure = plot.show_filters(w)
    assert len(figure.axes) == 12
    for picture, kernel in zip(drawn(figure), w.reshape(-1, 5, 2), strict=True):
        np.testing.assert_array_equal(picture, kernel)
    other = plot.show_filters(w.transpose(2, 3, 1, 0), data_format="HWIO")
    for a, b in zip(drawn(figure), drawn(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(plot.show_filters(w[:, 0]).axes) == 4 and len(plot.show_filters(w[0, 0]).axes) == 1
    assert len(plot.show_filters(w, max_count=5, columns=3).axes) == 5
    colours = drawn(plot.show_filters(w, colour=True))
    assert [c.shape for c in colours] == [(5, 2, 3)] * 4 and all(c.min() >= 0 and c.max() <= 1 for c in colours)
    assert np.allclose(colours[0][w[0].transpose(1, 2, 0) == 0], 0.5)


def test_scales():
    signed, positive = np.array([[-1.0, 0.5]]), np.array([[0.0, 4.0]])
    figure = plot.show_filters([signed, positive])
    assert limits(figure) == [(-1, 1), (-4, 4)]
    assert {ax.images[0].get_cmap().name for ax in figure.axes} == {"RdBu_r"}
    assert limits(plot.show_filters([signed, positive], shared=True)) == [(-4, 4)] * 2
    figure = plot.show_feature_maps(np.stack([positive, positive * 2]))
    assert limits(figure) == [(0, 8)] * 2 and figure.axes[0].images[0].get_cmap().name == "gray"
    assert limits(plot.show_feature_maps(np.stack([positive, positive * 2]), shared=False)) == [(0, 4), (0, 8)]
    assert plot.show_feature_maps(positive[None], cmap="viridis").axes[0].images[0].get_cmap().name == "viridis"
    assert limits(plot.show_feature_maps([np.array([[0, np.nan, np.inf, 3]]), np.full((2, 2), 5.0)], shared=False)) == [
        (0, 3),
        (0, 5),
    ]
    many = np.append(np.linspace(-1, 1, 999), 50).reshape(25, 40)
    low, high = limits(plot.show_feature_maps(many, clip=0.01))[0]
    assert low == -high and 0.9 < high < 1.1


def test_feature_maps_of_every_layout():
    maps = np.random.default_rng(0).normal(size=(2, 3, 6, 8))
    figure = plot.show_feature_maps(maps, titles=list("abcdef"))
    assert names(figure) == list("abcdef") and len(figure.axes) == 6
    rows = {ax.get_subplotspec().rowspan.start for ax in figure.axes}
    assert rows == {0, 1}  # an image in each row
    other = plot.show_feature_maps(maps.transpose(0, 2, 3, 1), data_format="NHWC")
    for a, b in zip(drawn(figure), drawn(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(plot.show_feature_maps(maps[0]).axes) == 3
    assert len(plot.show_feature_maps(maps[0].transpose(1, 2, 0), data_format="NHWC").axes) == 3
    assert len(plot.show_feature_maps(maps[0, 0]).axes) == 1
    assert names(plot.show_feature_maps({"x": maps[0, 0], "y": maps[0, 1, :3]})) == ["x", "y"]


def test_before_and_after():
    grey, colour = np.eye(6), np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert names(plot.show_before_after(grey, grey)) == ["before", "after"]
    assert names(plot.show_before_after(grey, {"edges": grey - 0.5, "more": grey})) == ["before", "edges", "more"]
    assert names(plot.show_before_after(grey, [grey, grey], titles=["a", "b", "c"])) == ["a", "b", "c"]
    np.testing.assert_array_equal(drawn(plot.show_before_after(colour, colour))[0], colour / 255)
    first = drawn(plot.show_before_after(np.moveaxis(colour, -1, 0), np.moveaxis(colour, -1, 0), channels_last=False))
    np.testing.assert_array_equal(first[1], colour / 255)
    signed = colour.astype(float) - 128  # 0 is grey
    assert np.allclose(drawn(plot.show_before_after(colour, signed))[1], signed / np.abs(signed).max() / 2 + 0.5)


def test_axes_of_the_caller():
    figure, axes = plt.subplots(2, 2)
    assert plot.show_feature_maps(np.ones((3, 4, 5)), axes=axes) is figure
    assert [len(ax.images) for ax in axes.ravel()] == [1, 1, 1, 0]


def test_numbers():
    texts = [t.get_text() for t in plot.show_filters(np.array([[1.0, -2.5]]), numbers=True).axes[0].texts]
    assert texts == ["1", "-2.5"]
    assert not plot.show_filters(np.ones((9, 9)), numbers=True).axes[0].texts


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plot.show_filters(np.ones(3)), "weight must have 2 to 4 dimensions"),
        (lambda: plot.show_filters(np.ones((2, 2)), data_format="HW"), "data_format must be one of 'OIHW', 'HWIO'"),
        (lambda: plot.show_filters(np.ones((2, 2, 2, 2)), colour=True), "colour needs filters of 3 channels"),
        (lambda: plot.show_filters([]), "at least one picture"),
        (lambda: plot.show_filters(np.ones((2, 2)), max_count=0), "max_count must be at least 1"),
        (lambda: plot.show_feature_maps(np.ones((2, 3, 4, 5, 6))), "maps must have 2 to 4 dimensions"),
        (
            lambda: plot.show_feature_maps(np.ones((3, 4, 5)), titles=["a"]),
            "titles must name each of the 3 pictures; got 1",
        ),
        (
            lambda: plot.show_feature_maps(np.ones((3, 4, 5)), axes=[plt.gca()]),
            "axes must have a place for each of the 3",
        ),
        (lambda: plot.show_before_after(np.ones((3, 4, 5)), np.ones((3, 4))), "images must have two axes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_matplotlib(monkeypatch):
    imported = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"fastconv.plot needs matplotlib: pip install .*\[plot\]'"):
        plot.show_filters(np.ones((3, 3)))
