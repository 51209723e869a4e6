"""Heat maps finer than patches: what up-sampling keeps, and the slow version of it."""

import math

import numpy as np
import pytest

from tvau_runtime.errors import FrameError
from tvau_runtime.refinement import FINEST, SOFTENING, upsample


def slowly(values, size):
    """Pixel by pixel: the log-odds of the four nearest patches, weighted by distance."""
    rows, columns = values.shape

    def odds(row, column):
        heat = SOFTENING + (1 - 2 * SOFTENING) * float(values[row, column])
        return math.log(heat / (1 - heat))

    out = np.empty(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * rows / size[0] - 0.5, 0), rows - 1)
            x = min(max((j + 0.5) * columns / size[1] - 0.5, 0), columns - 1)
            total = 0.0
            for row in {math.floor(y), math.ceil(y)}:
                for column in {math.floor(x), math.ceil(x)}:
                    total += (1 - abs(y - row)) * (1 - abs(x - column)) * odds(row, column)
            out[i, j] = (1 / (1 + math.exp(-total)) - SOFTENING) / (1 - 2 * SOFTENING)
    return out


@pytest.mark.parametrize("size", [(12, 20), (15, 25), (3, 5), (4, 9), (24, 40)])
def test_it_is_as_the_slow_one(size):
    values = np.random.default_rng(0).random((3, 5)).astype(np.float32)
    values[0, 0], values[2, 4] = 0, 1
    np.testing.assert_allclose(upsample(values, size), slowly(values, size), atol=2e-6)


@pytest.mark.parametrize("size", [(1, 1), (8, 10), (112, 140), (37, 500), (480, 640)])
def test_shape_and_range_at_any_size(size):
    values = np.random.default_rng(1).random((8, 10)).astype(np.float32) ** 4
    values[2, 3], values[5, 5] = 0, 1
    fine = upsample(values, size)
    assert fine.shape == size and fine.dtype == np.float32
    assert fine.min() >= 0 and fine.max() <= 1


@pytest.mark.parametrize("value", [0.0, 1e-4, 0.1, 0.5, 0.97, 1.0])
def test_a_map_of_one_value_stays_so(value):
    fine = upsample(np.full((8, 10), value, np.float32), (240, 320))
    np.testing.assert_allclose(fine, value, atol=1e-6)


def test_a_patchs_middle_keeps_its_value():
    values = np.random.default_rng(2).random((4, 6)).astype(np.float32)
    np.testing.assert_allclose(upsample(values, (20, 30))[2::5, 2::5], values, atol=1e-5)


def test_beyond_the_finest_grid_it_goes_on_linearly():
    values = np.random.default_rng(3).random((2, 3)).astype(np.float32)
    size = (2 * FINEST * 4, 3 * FINEST * 4)
    np.testing.assert_allclose(upsample(values, size), slowly(values, size), atol=0.01)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 4, 4)])
def test_refuses_what_is_no_heat_map(shape):
    with pytest.raises(FrameError, match=r"a heat map must be \[gh, gw\]"):
        upsample(np.zeros(shape, np.float32), (8, 8))
