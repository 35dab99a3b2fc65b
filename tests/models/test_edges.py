import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.models.edges import FULL_ROWS, Edges

NUMPY_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}
FRAMES = 40
LONG = [  # utterances [start, stop) of each row, in frames; the gaps are as long as the largest padding on both sides
    [(0, 7), (13, 19), (25, 40)],
    [(4, 11)],
    [(33, 40)],
    [],
]
SHORT = [[(0, 1), (7, 8), (14, 16), (39, 40)], [(0, 40)], [(20, 21)]]  # too short to be reflected

each_mode = pytest.mark.parametrize("mode", NUMPY_MODES)
each_rate = pytest.mark.parametrize("rate", [1, 3])
each_padding = pytest.mark.parametrize(("before", "after"), [(3, 3), (5, 1), (0, 4), (2, 0), (0, 0)])


def edges_of(rows, rate):
    inside = np.zeros((len(rows), FRAMES), bool)
    for row, utterances in enumerate(rows):
        for start, stop in utterances:
            inside[row, start:stop] = True
    return Edges(jnp.asarray(inside)).upsampled(rate)


def each_padded_alone(x, rows, rate, before, after, mode):
    expected = np.zeros((x.shape[0], before + x.shape[1] + after, x.shape[2]), np.float32)
    for row, utterances in enumerate(rows):
        for start, stop in utterances:
            alone = np.pad(x[row, start * rate : stop * rate], ((before, after), (0, 0)), mode=NUMPY_MODES[mode])
            expected[row, start * rate : stop * rate + before + after] = alone
    return expected


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def padded(edges, x, before, after, mode):
    return edges.pad(x, before, after, mode)


@each_mode
@each_rate
@each_padding
def test_every_utterance_is_padded_as_if_it_were_alone(normal, rate, before, after, mode):
    for rows in [LONG] if mode == "reflect" else [LONG, SHORT]:
        x = normal(len(rows), FRAMES * rate, 2)
        expected = each_padded_alone(np.asarray(x), rows, rate, before, after, mode)
        np.testing.assert_array_equal(padded(edges_of(rows, rate), x, before, after, mode), expected)


@each_mode
@each_padding
def test_full_rows_are_padded_as_by_jax(normal, before, after, mode):
    x = normal(2, 9, 3)
    expected = jnp.pad(x, ((0, 0), (before, after), (0, 0)), mode=NUMPY_MODES[mode])
    np.testing.assert_array_equal(FULL_ROWS.pad(x, before, after, mode), expected)


@each_rate
@pytest.mark.parametrize("before", [0, 1, 5])
def test_extended_masks_every_utterance_and_its_padding(rate, before):
    for rows in (LONG, SHORT):
        expected = np.zeros((len(rows), before + FRAMES * rate), bool)
        for row, utterances in enumerate(rows):
            for start, stop in utterances:
                expected[row, start * rate : stop * rate + before] = True
        np.testing.assert_array_equal(edges_of(rows, rate).extended(before), expected)


def test_zero_clears_positions_outside_the_utterances(normal):
    x = normal(1, 6, 2)
    edges = Edges(jnp.asarray([[False, True, False]])).upsampled(2)
    np.testing.assert_array_equal(edges.mask(), [[False, False, True, True, False, False]])
    np.testing.assert_array_equal(edges.zero(x), np.concatenate([np.zeros((1, 2, 2)), x[:, 2:4], np.zeros((1, 2, 2))], axis=1))


def test_full_rows_have_no_positions_outside(normal):
    x = normal(1, 6, 2)
    assert FULL_ROWS.upsampled(4).mask() is None
    assert FULL_ROWS.upsampled(4).extended(3) is None
    np.testing.assert_array_equal(FULL_ROWS.upsampled(4).zero(x), x)
