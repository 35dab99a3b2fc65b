"""`hifigan-jax benchmark`: measure the speed of synthesis and training on any device."""

import argparse
from functools import partial
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.cli.options import add_compute_dtype, add_set, count
from hifigan_jax.config import load_config
from hifigan_jax.errors import UsageError


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the program's arguments."""
    description = "Time synthesis or the training step with random weights and random data. Times include data transfers."
    result = argparse.ArgumentParser(name, description=description)
    result.add_argument("task", choices=("synthesis", "training"))
    result.add_argument("--config", required=True, metavar="JSON", help="for example configs/config_v1.json")
    result.add_argument(
        "--batch_size",
        type=count,
        metavar="N",
        help="global batch size (default: 1 in synthesis, the JSON's in training)",
    )
    result.add_argument(
        "--frames", type=count, nargs="+", default=[396], metavar="N", help="mel frames in synthesis (default 396)"
    )
    result.add_argument("--devices", type=count, metavar="N", help="use N devices (default: all); on a CPU, N virtual devices")
    result.add_argument("--rounds", type=count, default=9, metavar="N", help="timed calls; their median is shown (default 9)")
    add_compute_dtype(result, "float32")
    add_set(result)
    result.add_argument("--json", type=Path, metavar="FILE", help="write the results and how they were measured to this file")
    return result


def main(options: argparse.Namespace) -> int:
    """Measure and print; return the exit code."""
    training = options.task == "training"
    batch = options.batch_size or (None if training else 1)
    overrides = {"compute_dtype": options.compute_dtype} | ({"batch_size": batch} if batch else {})
    config = load_config(options.config, overrides, settings=dict(options.set))

    runtime.prepare(compile_cache=False, training=config.optimization.compute_dtype if training else None)
    import jax  # prepare() must run before this import

    if options.devices:
        jax.config.update("jax_num_cpu_devices", options.devices)
    from hifigan_jax import benchmark
    from hifigan_jax.flops import generator_flops, training_step_flops
    from hifigan_jax.training.setup import mesh_over

    if (options.devices or 1) > jax.device_count():
        raise UsageError(f"--devices {options.devices}: only {jax.device_count()} available")
    devices = jax.devices()[: options.devices]
    mesh = mesh_over(config, devices) if training else None
    peak = benchmark.peak_flops(options.compute_dtype) * (len(devices) if devices[0].platform != "cpu" else 1)
    batch_size = config.optimization.batch_size
    print(f"{options.task}, {options.config}, {options.compute_dtype}, batch {batch_size}, {benchmark.about(devices)}")
    print(f"peak of {options.compute_dtype} matrix products of sizes {benchmark.PRODUCT_SIZES}: {peak / 1e9:.0f} GFLOP/s")
    columns = ("frames", "median s", "min", "max", "x real time", "frames/s", "steps/s", "GFLOP/s", "of peak", "compile s", "MB")
    print("".join(f"{column:>12}" for column in columns))
    rows = []
    for frames in [config.optimization.segment_size // config.mel.hop_size] if training else options.frames:
        if training:
            work, flops = partial(benchmark.training, config, mesh), training_step_flops(config)
        else:
            work = partial(benchmark.synthesis, config, frames, batch_size, devices)
            flops = batch_size * generator_flops(config, frames)
        row = benchmark.measure(work, options.rounds) | {"frames": frames, "flops": flops}
        rows.append(row)
        print(_line(row, config, training, peak), flush=True)
    if options.json:
        benchmark.write_results(options.json, {"peak_flops": peak, "config": config.flat(), "rows": rows})
    return 0


def _line(row: dict, config, training: bool, peak: float) -> str:
    median, frames = row["median"], row["frames"] * config.optimization.batch_size
    cells = (
        f"{row['frames']}",
        f"{median:.4f}",
        f"{min(row['seconds']):.4f}",
        f"{max(row['seconds']):.4f}",
        f"{frames * config.mel.hop_size / config.mel.sampling_rate / median:.2f}",
        f"{frames / median:.0f}",
        f"{1 / median:.3f}" if training else "-",
        f"{row['flops'] / median / 1e9:.0f}",
        f"{row['flops'] / median / peak:.0%}",
        f"{row['compile_seconds']:.1f}",
        f"{row['peak_bytes'] / 1e6:.0f}",
    )
    return "".join(f"{cell:>12}" for cell in cells)
