"""Compute the tables of docs/multi-host.md: FLOPs from shapes, bytes from compiled programs, peaks from datasheets.

    python benchmarks/scaling.py compile [--json docs/results/memory.json]
    python benchmarks/scaling.py roofline [--json docs/results/roofline.json]

The first compiles eight programs, which takes about half a minute each. The second takes seconds and reads
docs/results/memory.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from hifigan_jax import flops
from hifigan_jax.benchmark import write_results
from hifigan_jax.config import Config, load_config, packaged_config
from hifigan_jax.data import Batch
from hifigan_jax.models.generator import Conditions
from hifigan_jax.training.setup import first_state, mesh_over, train_step

# name: devices, peak FLOP/s in (float32 as computed here, bfloat16), bytes/s of memory, bytes/s of an all-reduce
MACHINES = {
    "1 H100": (1, (67e12, 989e12), 3.35e12, None),
    "8 H100": (8, (67e12, 989e12), 3.35e12, 450e9),
    "TPU v5e-8": (8, (197e12 / 6, 197e12), 0.819e12, 200e9),
    "64 hosts, 512 H100": (512, (67e12, 989e12), 3.35e12, 400e9),
    "64 hosts, 256 TPU v5e": (256, (197e12 / 6, 197e12), 0.819e12, 200e9),
}
MEMORY = Path(__file__).parent.parent / "docs" / "results" / "memory.json"  # written by `compile`
HOURS = 1e6


OPTIONS = ({}, {"rematerialize": True}, {"accumulation_steps": 4}, {"accumulation_steps": 4, "rematerialize": True})
OPTIONS += ({"accumulation_steps": 16}, {"batch_size": 8})


def roofline() -> dict[str, Any]:
    """Return the roofline of a training step of V1 and of the synthesis of HOURS of speech with V1."""
    compiled = json.loads(MEMORY.read_text(encoding="utf-8"))
    fixed, per_row = step_bytes(compiled["training"])
    synthesis = compiled["synthesis"][-1]
    per_frame = synthesis["bytes_accessed"] / synthesis["rows"] / synthesis["frames"]
    return {
        "bytes_per_step": fixed,
        "bytes_per_row": per_row,
        "bytes_per_frame": per_frame,
        "training": [training_row(machine, batch, fixed, per_row) for machine in MACHINES for batch in (16, 128)],
        "synthesis": [synthesis_row(machine, per_frame) for machine in MACHINES],
    }


def step_bytes(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the bytes that a step accesses whatever its batch, and those for each row, from two batch sizes."""
    plain = [row for row in rows if row["accumulation_steps"] == 1 and not row["rematerialize"]]
    (small, few), (large, many) = sorted((row["batch_size"], row["bytes_accessed"]) for row in plain)
    per_row = (many - few) / (large - small)
    return few - small * per_row, per_row


def training_row(machine: str, batch: int, fixed: float, per_row: float) -> dict[str, Any]:
    """Return the milliseconds of a training step that arithmetic, memory traffic and the all-reduce would take."""
    devices, peaks, memory, link = MACHINES[machine]
    config = load_config(packaged_config("config_v1"))
    used = min(devices, batch)  # a device has at least one row
    operations = flops.training_step_flops(config) / config.optimization.batch_size * batch / used
    seconds = {
        "compute float32": operations / peaks[0],
        "compute bfloat16": operations / peaks[1],
        "memory": (fixed + per_row * batch / used) / memory,
        "all-reduce": 0 if link is None else 2 * (used - 1) / used * parameter_bytes(config) / link,
    }
    return {
        "config": "config_v1",
        "machine": machine,
        "batch": batch,
        "devices": used,
        "ms": {k: 1e3 * v for k, v in seconds.items()},
    }


def synthesis_row(machine: str, bytes_per_frame: float) -> dict[str, Any]:
    """Return the hours that V1 would take for HOURS of speech, by arithmetic and by memory traffic."""
    devices, peaks, memory, _ = MACHINES[machine]
    config = load_config(packaged_config("config_v1"))
    frames = HOURS * 3600 * config.mel.sampling_rate / config.mel.hop_size
    flops_per_frame = (flops.generator_flops(config, 1000) - flops.generator_flops(config, 500)) / 500
    seconds = {
        "compute float32": frames * flops_per_frame / peaks[0],
        "compute bfloat16": frames * flops_per_frame / peaks[1],
        "memory": frames * bytes_per_frame / memory,
    }
    return {"config": "config_v1", "machine": machine, "hours": {k: v / devices / 3600 for k, v in seconds.items()}}


def parameter_bytes(config: Config) -> int:
    """Return the bytes of both networks' gradients, which every step exchanges once."""
    state = _state(config)
    return sum(4 * leaf.size for leaf in jax.tree.leaves((state.generator.params, state.discriminator.params)))


def compiled() -> dict[str, Any]:
    """Return XLA's own figures of V1's training step on this machine's backend, and of V1's synthesis."""
    training = []
    for changes in OPTIONS:
        config = load_config(packaged_config("config_v1"), changes)
        options = config.optimization
        batch = Batch(jax.ShapeDtypeStruct((options.batch_size, options.segment_size), jnp.float32), None)
        step = train_step(config, 1000, mesh_over(config, jax.devices()[:1]))
        row = {key: getattr(options, key) for key in ("batch_size", "accumulation_steps", "rematerialize")}
        training.append({"config": "config_v1", **row, **figures(step.lower(_state(config), batch))})
        print(training[-1], flush=True)
    config = load_config(packaged_config("config_v1"))
    generator, synthesis = config.generator.build(config.mel, folded=True), []
    for rows in (1, 16):
        conditions = Conditions(jax.ShapeDtypeStruct((rows, 512, config.mel.num_mels), jnp.float32))
        params = jax.eval_shape(generator.init, jax.random.key(0), conditions)
        row = {"config": "config_v1", "rows": rows, "frames": 512}
        synthesis.append({**row, **figures(jax.jit(generator.apply).lower(params, conditions))})
        print(synthesis[-1], flush=True)
    return {"training": training, "synthesis": synthesis}


def figures(lowered) -> dict[str, float]:
    """Return temporary memory, FLOP and bytes accessed. The body of a loop is counted once, however often it runs."""
    compiled = lowered.compile({"xla_backend_optimization_level": 0})  # LLVM's level changes none of these figures
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return {"temporary_bytes": memory.temp_size_in_bytes, "flop": cost["flops"], "bytes_accessed": cost["bytes accessed"]}


def _state(config: Config):
    return jax.eval_shape(lambda: first_state(config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("roofline", "compile"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    content = roofline() if options.table == "roofline" else compiled()
    if options.table == "roofline":
        for row in (*content["training"], *content["synthesis"]):
            print(row)
    if options.json:
        write_results(options.json, content)


if __name__ == "__main__":
    main()
