"""Time every convolution of a training step separately: forward, input gradients and kernel gradients.

    python benchmarks/layers.py --config configs/config_v1.json --batch_size 4 [--only discriminator] [--rounds 7] [--json FILE]

Layers with equal shapes are timed once. `in step` is the time of a layer in one training step. The generator runs one pass of
each kind on the batch. The discriminators process real and generated audio together: 2 forward passes (the second for the
generator's update), 1.5 passes of input gradients (the half is for the generated audio in the generator's update) and 1 of kernel
gradients.
GFLOP/s count the direct form of a convolution. Everything is float32; times are medians.
"""

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from hifigan_jax import runtime

runtime.prepare(training="float32")

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax.benchmark import about, measure, peak_flops, write_results  # noqa: E402
from hifigan_jax.config import load_config  # noqa: E402
from hifigan_jax.flops import Product, products  # noqa: E402
from hifigan_jax.models.convolution import conv1d, conv_transpose1d  # noqa: E402
from hifigan_jax.models.generator import Conditions  # noqa: E402
from hifigan_jax.training.setup import discriminator_of, generator_of  # noqa: E402

KINDS = ("forward", "inputs", "kernels")
FUNCTIONS = {function.__name__: function for function in (conv1d, conv_transpose1d)}
PASSES = {"generator": (1, 1, 1), "discriminator": (2, 1.5, 1)}


def by_shape(module: nn.Module, example: Any) -> dict[Product, list[str]]:
    """Group the names of a model's convolutions by shape; the keys are convolutions without a layer name."""
    found = defaultdict(list)
    for product in products(module, example):
        if product.function in FUNCTIONS:
            path = (part for part in product.layer.split("/")[1:] if "." not in part)  # modules, not their methods
            found[product._replace(layer="")].append("/".join(path))
    return found


def seconds(convolution: Product, rounds: int) -> np.ndarray:
    """Return the seconds of one call of each of KINDS."""
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=size), jnp.float32) for size in convolution.operands)
    apply = partial(FUNCTIONS[convolution.function], **dict(convolution.options))
    dy = jnp.asarray(random.normal(size=jax.eval_shape(apply, x, kernel).shape), jnp.float32)
    programs = (
        jax.jit(apply),
        jax.jit(lambda x, kernel: jax.vjp(lambda x: apply(x, kernel), x)[1](dy)[0]),
        jax.jit(lambda x, kernel: jax.vjp(lambda kernel: apply(x, kernel), kernel)[1](dy)[0]),
    )
    calls = (lambda program=program: jax.block_until_ready(program(x, kernel)) for program in programs)
    return np.array([measure(lambda call=call: call, rounds)["median"] for call in calls])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--only", choices=tuple(PASSES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config, rows = load_config(options.config), options.batch_size
    samples = config.optimization.segment_size
    models = {
        "generator": (generator_of(config), Conditions(np.zeros((rows, samples // config.mel.hop_size, config.mel.num_mels)))),
        "discriminator": (discriminator_of(config), np.zeros((2 * rows, samples))),
    }
    peak = peak_flops("float32")
    print(f"{options.config.stem}, batch {rows}, float32; {about(jax.devices())}")
    print(f"peak {peak / 1e9:.0f} GFLOP/s; GFLOP/s of each kind of pass, ms and GFLOP in a step")
    print(f"{'':44}" + "".join(f"{kind:>9}" for kind in KINDS) + f"{'in step':>9}{'GFLOP':>8}")
    results, total = [], np.zeros(2)
    for model, (module, example) in models.items():
        if options.only not in (None, model):
            continue
        for convolution, names in by_shape(module, example).items():
            took, work = seconds(convolution, options.rounds), convolution.operations
            in_step = len(names) * np.array([took @ PASSES[model], work * sum(PASSES[model])])
            total += in_step
            kernel = convolution.operands[1]
            label = f"{names[0]} {'x'.join(map(str, kernel))}" + (f" ({len(names)})" if len(names) > 1 else "")
            speeds = "".join(f"{work / one / 1e9:9.0f}" for one in took)
            print(f"{label:44}{speeds}{1e3 * in_step[0]:9.1f}{in_step[1] / 1e9:8.1f}", flush=True)
            results.append({"names": names, "kernel": kernel, "seconds": dict(zip(KINDS, took, strict=True))})
    print(f"{'all':44}{'':27}{1e3 * total[0]:9.1f}{total[1] / 1e9:8.1f}  {total[1] / total[0] / 1e9:.0f} GFLOP/s")
    if options.json:
        settings = {"config": options.config.stem, "batch_size": rows, "dtype": "float32"}
        write_results(options.json, {**settings, "peak_flops": peak, "layers": results})


if __name__ == "__main__":
    main()
