"""Trains and synthesizes with a checkpoint and the configuration of another model.

    python benchmarks/reliability/refusals.py

Every change must be refused with exit code 4 and the name of the key, without a change to any file.
"""

import hashlib
import json
import pathlib

import common
import numpy as np

# Keys that define the model, its discriminators or its mel
MODEL = {
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 10],
    "upsample_initial_channel": 32,
    "resblock_kernel_sizes": [5],
    "resblock_dilation_sizes": [[1, 3]],
}
MEL = {
    "num_mels": 64,
    "n_fft": 2048,
    "hop_size": 128,
    "win_size": 512,
    "sampling_rate": 24000,
    "fmin": 20,
    "fmax": 7600,
    "mel_convention": "melgan",
}
DISCRIMINATORS = {"mpd_periods": [3], "discriminator_channel_mult": 0.125, "discriminators": ["mpd", "msd"]}
ALONG = {  # keys that must change along for the configuration to be valid
    "resblock": {"resblock_dilation_sizes": [[1, 2, 3]]},
    "upsample_rates": {"upsample_kernel_sizes": [16, 16, 4, 4]},
    "discriminators": {"discriminator_channel_mult": 0.125},
    "hop_size": {"upsample_rates": [8, 4, 4], "n_fft": 1024},
}


def main() -> None:
    with common.work_folder() as folder, common.shared_programs():
        assert common.train(common.configuration(folder), max_steps=1).code == 0
        run, problems, cases = folder / "run", [], 0
        before = digest(run)
        for key, value in (MODEL | MEL | DISCRIMINATORS).items():
            changes = {key: value} | ALONG.get(key, {})
            for program, outcome in outcomes(folder, changes, key):
                cases += 1
                if outcome.code != 4 or not outcome.about(key):
                    problems.append(f"{program}, {key}: exit code {outcome.code}: {outcome.messages[-1:]}")
        if digest(run) != before:
            problems.append("files of the run changed")
        cases += 1
        problems += of_other_dtype(folder, run)
    common.result(
        "R19",
        "checkpoint of another model, mel or dtype: key named",
        f"{cases} of {cases}",
        f"{cases - len(problems)} of {cases}",
        not problems,
        problems=problems,
    )


def outcomes(folder: pathlib.Path, changes: dict, key: str):
    """The programs with a configuration that differs from the run's, and their outcomes."""
    import programs

    config = common.configuration(folder, "other", **changes, checkpoint_path=str(folder / "run"))
    yield "train.py", common.train(config, max_steps=2)
    if key not in DISCRIMINATORS:
        options = {"input_wavs_dir": folder / "in", "output_dir": folder / "out", "checkpoint_file": folder / "run"}
        yield "infer.py", programs.infer(**options, config=config)


def of_other_dtype(folder: pathlib.Path, run: pathlib.Path) -> list[str]:
    """Training from a checkpoint whose moments have another dtype."""
    from hifigan_jax import checkpoint
    from hifigan_jax.config import load_config

    step = run / "checkpoints" / "00000001"
    parts = {name: checkpoint.restore(step, name) for name in ("generator", "training")}
    halved = {name: leaf.astype(np.float16) if leaf.dtype == np.float32 else leaf for name, leaf in parts["training"].items()}
    data = checkpoint.read_manifest(step).data
    checkpoint.write(step, parts | {"training": halved}, load_config(step / "config.json"), 1, data)
    outcome = common.train(common.configuration(folder), max_steps=2)
    text = " ".join(outcome.messages)
    good = outcome.code == 4 and "float16" in text and "Traceback" not in text
    return [] if good else [f"float16: exit code {outcome.code}: {outcome.messages[-2:]}"]


def digest(run: pathlib.Path) -> str:
    """A digest of the names and contents of a run's checkpoints and configuration."""
    files = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(run.rglob("*")) if path.is_file()}
    return json.dumps({name: value for name, value in files.items() if "/logs/" not in name})


if __name__ == "__main__":
    main()
