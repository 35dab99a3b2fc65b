import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import trees

TREE = {"conv_pre": {"kernel": np.zeros((7, 80, 4)), "bias": np.zeros(4)}, "gain": np.zeros(())}


def test_leaves_are_named_by_path():
    leaves = trees.named_leaves(TREE)
    assert leaves.keys() == {"conv_pre/kernel", "conv_pre/bias", "gain"}
    assert leaves["conv_pre/kernel"] is TREE["conv_pre"]["kernel"]
    assert trees.named_leaves([TREE["gain"], (TREE["gain"],)]).keys() == {"0", "1/0"}


def test_shapes_as_text():
    assert trees.shapes(TREE) == {"conv_pre/kernel": "[7, 80, 4]", "conv_pre/bias": "[4]", "gain": "[]"}


@pytest.mark.parametrize(
    ("tree", "difference"),
    [
        (TREE, None),
        (TREE | {"gain": np.ones((), np.float32)}, None),  # values and dtypes do not count
        (TREE | {"gain": np.zeros(1)}, "gain is [1], expected []"),
        (TREE | {"more": np.zeros(2)}, "more is [2], expected none"),
        ({"gain": TREE["gain"]}, "conv_pre/bias is missing, expected [4]"),
        ({"gain": np.zeros(1)}, "conv_pre/bias is missing, expected [4]"),  # the first of several
    ],
)
def test_the_first_difference_between_shapes(tree, difference):
    assert trees.shape_difference(tree, TREE) == difference


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_first_array_with_a_value_that_is_not_finite_is_named(value, dtype):
    good = {"step": np.int32(2**31 - 1), "bias": np.zeros(0, np.float32), "gain": jnp.full((), -1e-8, dtype)}
    assert trees.first_non_finite(good) is None
    bad = jnp.ones((3, 4), dtype).at[2, 1].set(value)
    assert trees.first_non_finite(good | {"conv/v": bad, "post/v": bad}) == "conv/v"


def test_of_no_arrays_none_is_named():
    assert trees.first_non_finite({}) is None
