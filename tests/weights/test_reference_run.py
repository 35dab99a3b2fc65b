"""Small runs in the reference's format: one layer of each kind, with its tensor names and order."""

import jax
import numpy as np
import pytest

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights.reference_run import discriminator_file, find_pairs, read_run, write_run
from hifigan_jax.weights.torch_file import read_torch_file
from hifigan_jax.weights.torch_writer import write_torch_file

GENERATOR = {"conv_pre": (4, 3, 7), "ups.0": (4, 2, 6), "resblocks.0.convs.0": (2, 2, 3), "conv_post": (1, 2, 7)}
MPD = {"discriminators.0.convs.0": (2, 1, 5, 1), "discriminators.0.conv_post": (1, 2, 3, 1)}
MSD = {"discriminators.1.convs.0": (2, 1, 15), "discriminators.1.conv_post": (1, 2, 3)}
SPECTRAL = {"discriminators.0.convs.0": (2, 1, 15), "discriminators.0.conv_post": (1, 2, 3)}


def state_dict(random, layers, spectral=None):
    def draw(*shape):
        return random.normal(size=shape).astype(np.float32)

    tensors = {}
    for name, shape in (spectral or {}).items():
        tensors[f"{name}.bias"] = draw(shape[0])
        tensors[f"{name}.weight_orig"] = draw(*shape)
        tensors[f"{name}.weight_u"], tensors[f"{name}.weight_v"] = draw(shape[0]), draw(shape[1] * shape[2])
    for name, shape in layers.items():
        tensors[f"{name}.bias"] = draw(shape[1 if name == "ups.0" else 0])
        tensors[f"{name}.weight_g"], tensors[f"{name}.weight_v"] = draw(shape[0], *(1 for _ in shape[1:])), draw(*shape)
    return tensors


def optimizer(random, *state_dicts):
    """An AdamW state_dict, whose parameters are numbered through the state_dicts, without buffers."""
    parameters = [
        value
        for tensors in state_dicts
        for name, value in tensors.items()
        if not name.endswith("weight_u") and not (name.endswith("weight_v") and name[:-1] + "u" in tensors)
    ]
    moments = [{"step": 7, "exp_avg": random.normal(size=p.shape).astype(np.float32), "exp_avg_sq": p**2} for p in parameters]
    return {"state": dict(enumerate(moments)), "param_groups": [{"lr": 1e-4, "params": list(range(len(parameters)))}]}


@pytest.fixture
def contents(rng):
    generator, mpd, msd = state_dict(rng, GENERATOR), state_dict(rng, MPD), state_dict(rng, MSD, SPECTRAL)
    rest = {"mpd": mpd, "msd": msd, "optim_g": optimizer(rng, generator), "optim_d": optimizer(rng, msd, mpd)}
    return {"generator": generator}, rest | {"steps": 6, "epoch": 2}


@pytest.fixture
def written(contents, tmp_path):
    """written(**changes): the pair of files, with changes to the content of the do_* file."""

    def write(**changes):
        write_torch_file(tmp_path / "g_00000006", contents[0])
        write_torch_file(tmp_path / "do_00000006", contents[1] | changes)
        return tmp_path / "g_00000006", tmp_path / "do_00000006"

    return write


def test_a_run_is_read_as_worked_out_by_hand(contents, written):
    run = read_run(*written())
    (generator, rest) = contents
    assert (run["steps"], run["epoch"]) == (6, 2)
    assert [(run[network]["count"], run[network]["lr"]) for network in ("generator", "discriminator")] == [(7, 1e-4)] * 2
    np.testing.assert_array_equal(
        run["generator"]["params"]["ups_0"]["v"], generator["generator"]["ups.0.weight_v"].transpose(2, 0, 1)
    )
    # Entries of optim_g: bias, weight_g, weight_v of conv_pre, then of ups.0. Of optim_d: MSD's come first.
    np.testing.assert_array_equal(run["generator"]["mu"]["ups_0"]["bias"], rest["optim_g"]["state"][3]["exp_avg"])
    of_d = run["discriminator"]
    np.testing.assert_array_equal(of_d["mu"]["msd_0"]["convs_0"]["bias"], rest["optim_d"]["state"][0]["exp_avg"])
    np.testing.assert_array_equal(
        of_d["nu"]["msd_0"]["convs_0"]["kernel"], rest["optim_d"]["state"][1]["exp_avg_sq"].transpose(2, 1, 0)
    )
    np.testing.assert_array_equal(of_d["mu"]["mpd_0"]["convs_0"]["g"], rest["optim_d"]["state"][11]["exp_avg"].ravel())
    layer = "discriminators.0.convs.0."
    np.testing.assert_array_equal(run["spectral"]["msd_0"]["convs_0"]["u"], rest["msd"][layer + "weight_u"])
    np.testing.assert_array_equal(run["spectral"]["msd_0"]["convs_0"]["v"].T.ravel(), rest["msd"][layer + "weight_v"])


def test_a_run_is_written_back_bit_for_bit(contents, written, tmp_path):
    run = read_run(*written())
    shuffled = jax.tree.map(lambda leaf: leaf, run)  # jax sorts the keys of dictionaries, as it does in training
    pair = write_run(tmp_path / "again", shuffled, (0.8, 0.99), 0.01, 2e-4)
    for path, content in zip(pair, contents, strict=True):
        ours = read_torch_file(path)
        assert ours.keys() == content.keys()
        for key in ("generator", "mpd", "msd"):
            assert [*ours.get(key, {})] == [*content.get(key, {})]
        for optim in ("optim_g", "optim_d"):
            if optim in content:
                assert ours[optim].pop("param_groups")[0]["params"] == content[optim]["param_groups"][0]["params"]
                ours[optim], content[optim] = ours[optim]["state"], content[optim]["state"]
        jax.tree.map(np.testing.assert_array_equal, ours, content)


def test_tensor_names_of_distributed_training_are_accepted(contents, written):
    plain = read_run(*written())
    prefixed = {key: {f"module.{name}": value for name, value in contents[1][key].items()} for key in ("mpd", "msd")}
    jax.tree.map(np.testing.assert_array_equal, read_run(*written(**prefixed)), plain)


def test_a_run_without_updates_has_moments_of_zero(contents, written):
    fresh = {"state": {}, "param_groups": contents[1]["optim_g"]["param_groups"]}
    network = read_run(*written(optim_g=fresh))["generator"]
    assert network["count"] == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves((network["mu"], network["nu"])))


def changed_entry(contents, **changes):
    optim = contents[1]["optim_d"]
    return optim | {"state": optim["state"] | {3: optim["state"][3] | changes}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {"mpd": None}, "has no 'mpd'"),
        (lambda c: {"optim_d": 5}, "has no 'optim_d'"),
        (lambda c: {"steps": "many"}, "'steps' should be a whole number, not 'many'"),
        (lambda c: {"epoch": 2**40}, "'epoch' should be a whole number"),
        (lambda c: {"optim_g": {"state": {}}}, "not AdamW's"),
        (lambda c: {"optim_g": {"state": {}, "param_groups": []}}, "not AdamW's"),
        (lambda c: {"optim_g": c[1]["optim_d"]}, "an optimizer state has 16 tensors for 12 parameters"),
        (lambda c: {"optim_d": changed_entry(c, step=8)}, "different update counts"),
        (lambda c: {"optim_d": changed_entry(c, exp_avg=np.zeros(9))}, "exp_avg of msd .* does not have the shape"),
        (lambda c: {"mpd": {"discriminators.0.convs.0.bias": 5}}, "unexpected tensors"),
        (lambda c: {"mpd": {5: np.zeros(3)}}, "unexpected tensors"),
        (lambda c: {"mpd": {"discriminators.0.convs.0.weight_v": np.zeros(3)}}, "unexpected tensors"),
        (lambda c: {"optim_d": {"state": [], "param_groups": [{"lr": 1, "params": ["a"] * 16}]}}, "unexpected tensors"),
        (lambda c: {"msd": c[1]["msd"] | {"other.running_mean": np.zeros(1)}}, "unknown tensor name other.running_mean"),
    ],
)
def test_an_invalid_run_is_refused_with_file_and_reason(change, message, contents, written):
    pair = written(**change(contents))
    with pytest.raises(CheckpointError, match=rf"^{pair[1]}: .*{message}"):
        read_run(*pair)


def test_a_g_file_without_a_generator_is_refused(written):
    pair = written()
    with pytest.raises(CheckpointError, match=rf"^{pair[1]}: has no 'generator'"):
        read_run(pair[1], pair[1])


def test_pairs_are_found_newest_first(tmp_path):
    both, one = ("00000005", "00000010", "100000000", "best", "5"), ("g_00000015", "do_00000020")
    for name in (*(f"{kind}_{step}" for kind in ("g", "do") for step in both), *one):
        (tmp_path / name).touch()
    assert [pair[0].name for pair in find_pairs(tmp_path)] == ["g_100000000", "g_00000010", "g_00000005"]
    assert discriminator_file(tmp_path / "g_00000015") is None
    assert discriminator_file(tmp_path / "g_00000010") == tmp_path / "do_00000010"
