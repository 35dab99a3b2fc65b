"""Conversion of generators and training runs between our checkpoints, the reference's PyTorch files, and safetensors."""

from pathlib import Path

from flax import traverse_util

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import save_config
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.loading import Generator, load_generator, paired_section
from hifigan_jax.training.reference import read_reference_state, state_shapes, write_reference_state
from hifigan_jax.training.state import from_parts, to_parts
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.reference_run import discriminator_file
from hifigan_jax.weights.safetensors_file import write_safetensors
from hifigan_jax.weights.torch_writer import write_torch_file

REFERENCE_DISCRIMINATORS = ("mpd", "msd")  # those that a do_* file of the reference contains


def convert(source: str | Path, target: Path, config: str | Path | None = None) -> list[Path]:
    """Converts `source`, anything that `load_generator` accepts, to `target`; returns the paths written.

    `hifigan-jax convert --help` lists the formats. Raises UsageError if the target exists, CheckpointError for a bad source,
    DiskError if the target cannot be written.
    """
    if target.exists():
        raise UsageError(f"{target}: already exists: choose a new name")
    only_generator = target.suffix in (".pth", ".safetensors")
    generator = load_generator(source, config, intact=() if only_generator else (checkpoint.TRAINING,))
    if target.suffix == ".pth":
        _write_generator(target, generator)
        return [target]
    if target.suffix == ".safetensors":
        write_safetensors(target, generator.config.generator.state_dict_of(generator.params), generator.config.to_json())
        return [target]
    origin = Path(generator.source)
    if (origin / "manifest.json").is_file():
        return _to_reference(generator, origin, target)
    if (paired := discriminator_file(origin)) is not None:
        return _run_from_reference(generator, (origin, paired), target)
    leaves = traverse_util.flatten_dict(generator.params, sep="/")
    return [checkpoint.write(target, {checkpoint.GENERATOR: leaves}, generator.config)]


def _to_reference(generator: Generator, step: Path, target: Path) -> list[Path]:
    if names := generator.config.generator.TORCH_FILES:
        return _to_pair(generator, step, target / names[0], target / names[1])
    if others := sorted(generator.config.discriminators.keys() - set(REFERENCE_DISCRIMINATORS)):
        raise UsageError(f"{step}: do_* files cannot contain {', '.join(others)}: convert only the generator, to a .pth file")
    if (step / checkpoint.TRAINING).is_dir():
        parts = {name: checkpoint.restore(step, name) for name in (checkpoint.GENERATOR, checkpoint.TRAINING)}
        like = state_shapes(generator.config)
        if difference := shape_difference(parts, to_parts(like)):
            raise CheckpointError(
                f"{step}: does not match its configuration: {difference}: convert only the generator, to a .pth file"
            )
        written = [*write_reference_state(target, from_parts(parts, like), generator.config)]
    else:
        written = [target / f"g_{max(checkpoint.read_manifest(step).step - 1, 0):08d}"]
        _write_generator(written[0], generator)
    save_config(generator.config, target / "config.json")
    return [*written, target / "config.json"]


def _to_pair(generator: Generator, step: Path, generator_file: Path, discriminator_file: Path) -> list[Path]:
    """Writes the weights of both networks, without the optimizers, which such families keep in other files."""
    written = [generator_file]
    _write_generator(generator_file, generator)
    section = paired_section(generator.config)
    if (step / checkpoint.TRAINING).is_dir() and section is not None:
        leaves = traverse_util.unflatten_dict(checkpoint.restore(step, checkpoint.TRAINING), sep="/")
        write_torch_file(discriminator_file, section.state_dict_of(leaves["discriminator"]["params"]))
        written.append(discriminator_file)
    config = generator_file.with_name("config.json")
    save_config(generator.config, config)
    return [*written, config]


def _run_from_reference(generator: Generator, pair: tuple[Path, Path], target: Path) -> list[Path]:
    state = read_reference_state(pair, generator.config)
    written = run_checkpoints.save(target, int(state.step), to_parts(state), generator.config, {}, keep=1)
    save_config(generator.config, target / "config.json")
    return [written, target / "config.json"]


def _write_generator(path: Path, generator: Generator) -> None:
    family = generator.config.generator
    state_dict = family.state_dict_of(generator.params)
    write_torch_file(path, {family.TORCH_KEY: state_dict} if family.TORCH_KEY else state_dict)
