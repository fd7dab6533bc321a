"""Index maps of the boundary rules against numpy.pad and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from fastconv.boundary import NDIMAGE_MODES, SIGNAL_BOUNDARIES, edge_map, index_map

# The same rules by the names of numpy.pad.
NUMPY_MODES = {"reflect": "symmetric", "nearest": "edge", "mirror": "reflect", "wrap": "wrap"}
SIZES = [1, 2, 3, 4, 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", NUMPY_MODES)
def test_rules_are_those_of_numpy_pad(rule, size):
    before, after = 17, 23  # several times around
    expected = np.pad(np.arange(size), (before, after), NUMPY_MODES[rule])
    np.testing.assert_array_equal(index_map(np.arange(-before, size + after), size, rule), expected)


@pytest.mark.parametrize("size", SIZES)
def test_fill_marks_what_is_outside(size):
    expected = np.pad(np.arange(size), (5, 4), constant_values=-1)
    np.testing.assert_array_equal(index_map(np.arange(-5, size + 4), size, "fill"), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", ["fill", *NUMPY_MODES])
def test_edge_map_is_the_outer_part_of_the_index_map(rule, size):
    whole = index_map(np.arange(-6, size + 3), size, rule)
    np.testing.assert_array_equal(edge_map(size, 6, 3, rule), np.concatenate([whole[:6], whole[6 + size :]]))
    assert edge_map(size, 0, 0, rule).size == 0


@pytest.mark.parametrize("mode", NDIMAGE_MODES)
def test_ndimage_modes_are_those_of_scipy(mode):
    line, shift = np.arange(1.0, 5.0), np.zeros(19)
    shift[-1] = 1  # reads nine to the right: beyond the edge twice
    places = index_map(np.arange(4) + 9, 4, NDIMAGE_MODES[mode])
    expected = scipy.ndimage.correlate1d(line, shift, mode=mode, cval=-7)
    np.testing.assert_array_equal(np.where(places < 0, -7, line[places]), expected)


def test_unknown_rule():
    with pytest.raises(ValueError, match="'sideways'"):
        index_map(np.arange(3), 3, "sideways")


def test_every_name_stands_for_a_rule():
    for rule in {*NDIMAGE_MODES.values(), *SIGNAL_BOUNDARIES.values()}:
        index_map(np.arange(3), 3, rule)
