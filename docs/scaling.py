"""The tables of docs/scaling.md: FLOPs and parameters from shapes, bytes from compiled programs, peaks from datasheets.

python docs/scaling.py roofline     # takes seconds
python docs/scaling.py compile      # what XLA says of the programs: about half a minute each
"""

import argparse

import jax
import jax.numpy as jnp

from hifigan_jax import flops
from hifigan_jax.config import Config, load_config, packaged_config
from hifigan_jax.data import Batch
from hifigan_jax.models.generator import Conditions
from hifigan_jax.training.setup import first_state, mesh_over, train_step

# name: devices, peak FLOP/s as (the float32 of this package, bfloat16), bytes/s of memory, bytes/s of an all-reduce
MACHINES = {
    "1 H100": (1, (67e12, 989e12), 3.35e12, None),
    "8 H100": (8, (67e12, 989e12), 3.35e12, 450e9),
    "TPU v5e-8": (8, (197e12 / 6, 197e12), 0.819e12, 200e9),
    "64 hosts, 512 H100": (512, (67e12, 989e12), 3.35e12, 400e9),
    "64 hosts, 256 TPU v5e": (256, (197e12 / 6, 197e12), 0.819e12, 200e9),
}
# bytes accessed by `compile`: whatever the batch, and for each row of it
BYTES = {"config_v1": (13.8e9, 5.16e9), "config_v3": (12.4e9, 4.07e9)}
SYNTHESIS_BYTES = 10.1e6  # a mel frame, V1
HOURS = 1e6


def training_table() -> None:
    """Milliseconds of a step, by machine and batch."""
    print("| model | machine | batch | devices | compute f32 | compute bf16 | memory | all-reduce | longest (f32; bf16) |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in BYTES:
        config = load_config(packaged_config(name))
        for machine, (devices, peaks, memory, link) in MACHINES.items():
            for batch in (16, 128):
                used = min(devices, batch)  # a device has at least one row
                operations = flops.training_step_flops(config) / config.optimization.batch_size * batch / used
                fixed, row = BYTES[name]
                times = [operations / peak for peak in peaks]
                in_memory = (fixed + row * batch / used) / memory
                reduced = 0 if link is None else 2 * (used - 1) / used * parameter_bytes(config) / link
                limits = "; ".join(limit(compute, in_memory, reduced) for compute in times)
                cells = (f"{1e3 * seconds:.2f}" for seconds in (*times, in_memory, reduced))
                print(f"| {name[-2:].upper()} | {machine} | {batch} | {used} | {' | '.join(cells)} | {limits} |")


def synthesis_table() -> None:
    """Hours that a million hours of speech take, V1."""
    config = load_config(packaged_config("config_v1"))
    frames = HOURS * 3600 * config.mel.sampling_rate / config.mel.hop_size
    of_frame = (flops.generator_flops(config, 1000) - flops.generator_flops(config, 500)) / 500
    print(f"\nV1: {of_frame / 1e9:.3f} GFLOP a frame; {frames:.3g} frames; {frames * of_frame:.3g} FLOP\n")
    print("| machine | compute f32, h | compute bf16, h | memory, h | times real time (f32; bf16), by the slower of the two |")
    print("|---|---|---|---|---|")
    for machine, (devices, peaks, memory, _) in MACHINES.items():
        times = [frames * of_frame / peak / devices / 3600 for peak in peaks]
        in_memory = frames * SYNTHESIS_BYTES / memory / devices / 3600
        speeds = "; ".join(f"{HOURS / max(time, in_memory):,.0f}" for time in times)
        print(f"| {machine} | {' | '.join(f'{hours:,.1f}' for hours in (*times, in_memory))} | {speeds} |")


def limit(compute: float, memory: float, reduced: float) -> str:
    """The largest of the three, in words."""
    return max(("compute", compute), ("memory", memory), ("all-reduce", reduced), key=lambda pair: pair[1])[0]


def parameter_bytes(config: Config) -> int:
    """Of both networks' gradients, which every step exchanges once."""
    state = _state(config)
    return sum(4 * leaf.size for leaf in jax.tree.leaves((state.generator.params, state.discriminator.params)))


def compile_table() -> None:
    """XLA's own figures of the training step's program for this machine's backend, and of V1's synthesis."""
    print("| model | batch | accumulation_steps | rematerialize | temporary memory, GB | GFLOP | GB accessed |")
    print("|---|---|---|---|---|---|---|")
    options = [{}, {"accumulation_steps": 4}, {"accumulation_steps": 16}, {"rematerialize": True}]
    options += [{"accumulation_steps": 4, "rematerialize": True}, {"batch_size": 8}]
    for name, changes in [("config_v1", change) for change in options] + [("config_v3", change) for change in ({}, options[-1])]:
        c = load_config(packaged_config(name), changes)
        batch = Batch(jax.ShapeDtypeStruct((c.optimization.batch_size, c.optimization.segment_size), jnp.float32), None)
        row = (name[-2:].upper(), c.optimization.batch_size, c.optimization.accumulation_steps, c.optimization.rematerialize)
        step = train_step(c, 1000, mesh_over(c, jax.devices()[:1]))
        print(f"| {' | '.join(map(str, (*row, *figures(step.lower(_state(c), batch)))))} |", flush=True)
    c = load_config(packaged_config("config_v1"))
    generator = c.generator.build(c.mel, folded=True)
    for rows in (1, 16):
        conditions = Conditions(jax.ShapeDtypeStruct((rows, 512, c.mel.num_mels), jnp.float32))
        params = jax.eval_shape(generator.init, jax.random.key(0), conditions)
        print(f"synthesis of {rows} x 512 frames:", *figures(jax.jit(generator.apply).lower(params, conditions)), flush=True)


def figures(lowered) -> tuple[str, str, str]:
    """Temporary memory in GB, GFLOP and GB accessed; the body of a loop is counted once, whatever its number of rounds."""
    compiled = lowered.compile({"xla_backend_optimization_level": 0})  # of LLVM; it changes none of these
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return tuple(f"{number / 1e9:.3f}" for number in (memory.temp_size_in_bytes, cost["flops"], cost["bytes accessed"]))


def _state(config: Config):
    return jax.eval_shape(lambda: first_state(config))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("roofline", "compile"))
    if parser.parse_args().table == "compile":
        compile_table()
    else:
        training_table()
        synthesis_table()
