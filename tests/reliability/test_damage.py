"""Damage to any file of the newest checkpoint is harmless, or found, and the checkpoint before is used."""

import random

import mutants
import pytest

from hifigan_jax import run_checkpoints

NEWEST = f"{run_checkpoints.FOLDER}/{mutants.STEPS[-1]:08d}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return mutants.TinyRun.make(tmp_path_factory.mktemp("damage"))


def outcomes(run, chosen):
    """The outcomes by program, as sets."""
    found = [run.outcomes(name, harm) for name, _, harm in chosen]
    return {program: {outcome[program] for outcome in found} for program in ("inference", "training")}


def test_an_undamaged_run_is_resumed_and_loaded(run):
    assert run.outcomes(f"{NEWEST}/config.json", lambda _: None) == {"inference": "harmless", "training": "harmless"}


@pytest.mark.parametrize(("kind", "count"), [("config.json", 12), ("manifest.json", 12), ("generator/", 6), ("training/", 6)])
def test_bit_flips_do_no_harm(run, kind, count):
    draw = random.Random(kind)
    files = [name for name in run.newest_files() if name.startswith(f"{NEWEST}/{kind}")]
    sizes = {name: (run.folder / "run" / name).stat().st_size for name in files}
    chosen = []
    for _ in range(count):
        name = draw.choice([name for name, size in sizes.items() if size])
        chosen.append((name, "", mutants.flip(draw.randrange(8 * sizes[name]))))
    found = outcomes(run, chosen)
    expected = {
        "config.json": ({"detected"}, {"detected"}),
        "manifest.json": ({"detected", "harmless"}, {"detected", "harmless"}),
        "generator/": ({"detected"}, {"detected"}),
        "training/": ({"harmless"}, {"detected"}),
    }[kind]
    assert found["inference"] <= expected[0]
    assert found["training"] <= expected[1]
    assert "detected" in found["training"]


@pytest.mark.parametrize("how", mutants.TRUNCATIONS)
def test_truncated_and_deleted_files_are_found(run, how):
    harm, draw = mutants.TRUNCATIONS[how], random.Random(how)
    parts = [name for name in run.newest_files() if name.count("/") > 2 and (run.folder / "run" / name).stat().st_size]
    names = [f"{NEWEST}/config.json", f"{NEWEST}/manifest.json", *draw.sample(parts, 2)]
    assert outcomes(run, [(name, how, harm) for name in names])["training"] == {"detected"}


@pytest.mark.parametrize("part", ["generator", "training"])
def test_a_deleted_part_is_found(run, part):
    assert run.outcomes(f"{NEWEST}/{part}", mutants.delete)["training"] == "detected"
