"""Times every convolution of a training step by itself: forward, the inputs' gradients and the kernels' gradients.

    python benchmarks/layers.py --config configs/config_v1.json --batch_size 4 [--only discriminator] [--rounds 7] [--json FILE]

Layers with equal shapes are timed once. `in step` is a layer's time in all the passes that a step makes: generator 1 of each
kind, on the batch; discriminators, on real and fake together, 2 forward (the second when the generator moves), 1.5 for the inputs
(its half is the fake's in the generator's move), 1 for the kernels. GFLOP/s count the direct form. Figures are medians of calls.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare(onednn=False, keep=False)

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax.benchmark import about, measure, peak_flops  # noqa: E402
from hifigan_jax.config import load_config  # noqa: E402
from hifigan_jax.models import build_discriminator, build_generator  # noqa: E402
from hifigan_jax.models.convolution import conv1d, conv_transpose1d  # noqa: E402
from hifigan_jax.models.layers import Conv, ConvTranspose, SpectralConv  # noqa: E402

KINDS = ("forward", "inputs", "kernels")
PASSES = {"generator": (1, 1, 1), "discriminator": (2, 1.5, 1)}
Shape = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[str, int], ...]]  # of x, of the kernel, and how it is applied


def layers_of(module: nn.Module, example: np.ndarray) -> dict[Shape, list[str]]:
    """The names of a model's convolutions by their shapes."""
    found = defaultdict(list)

    def intercept(call, arguments, options, context):
        layer, y = context.module, call(*arguments, **options)
        if context.method_name == "__call__" and isinstance(layer, Conv | ConvTranspose | SpectralConv):
            x = arguments[0]
            groups, stride, dilation = (getattr(layer, name, 1) for name in ("groups", "stride", "dilation"))
            how = {"stride": stride}
            if not isinstance(layer, ConvTranspose):
                how |= {"dilation": dilation, "groups": groups, "padding": dilation * (layer.kernel_size - 1) // 2}
            kernel = (layer.kernel_size, x.shape[-1] // groups, layer.features)
            found[x.shape, kernel, tuple(how.items())].append("/".join(layer.path))
        return y

    with nn.intercept_methods(intercept):
        jax.eval_shape(lambda: module.init(jax.random.key(0), example))
    return found


def seconds(shape: Shape, dtype: str, rounds: int) -> tuple[float, float, float]:
    """Of one call of each kind; a call takes its arrays in `dtype`."""
    x_shape, kernel_shape, how = shape[0], shape[1], dict(shape[2])
    conv = conv1d if "groups" in how else conv_transpose1d
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=size), dtype) for size in (x_shape, kernel_shape))

    def apply(x, kernel):
        return conv(x, kernel, **how)

    dy = jnp.asarray(random.normal(size=jax.eval_shape(apply, x, kernel).shape), dtype)
    programs = (
        jax.jit(apply),
        jax.jit(lambda x, kernel: jax.vjp(lambda x: apply(x, kernel), x)[1](dy)[0]),
        jax.jit(lambda x, kernel: jax.vjp(lambda kernel: apply(x, kernel), kernel)[1](dy)[0]),
    )
    return tuple(median_of(lambda program=program: jax.block_until_ready(program(x, kernel)), rounds) for program in programs)


def median_of(call: Callable[[], object], rounds: int) -> float:
    """Seconds of one call."""
    return measure(lambda: call, rounds)["median"]


def operations(shape: Shape) -> int:
    """Of one pass in the direct form."""
    (rows, length, _), kernel, how = shape[0], shape[1], dict(shape[2])
    if "groups" in how:
        length = (length + 2 * how["padding"] - how["dilation"] * (kernel[0] - 1) - 1) // how["stride"] + 1
    return 2 * rows * length * int(np.prod(kernel))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--compute_dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--only", choices=tuple(PASSES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config, rows = load_config(options.config), options.batch_size
    models = {
        "generator": (build_generator(config), (rows, config.segment_size // config.hop_size, config.num_mels)),
        "discriminator": (build_discriminator(config), (2 * rows, config.segment_size)),
    }
    peak = peak_flops(options.compute_dtype)
    print(f"{options.config.stem}, batch {rows}, {options.compute_dtype}; {about(jax.devices())}")
    print(f"peak {peak / 1e9:.0f} GFLOP/s; GFLOP/s of each kind of pass, ms and GFLOP in a step")
    print(f"{'':44}" + "".join(f"{kind:>9}" for kind in KINDS) + f"{'in step':>9}{'GFLOP':>8}")
    results, total = [], np.zeros(2)
    for model, (module, size) in models.items():
        if options.only not in (None, model):
            continue
        for shape, names in layers_of(module, np.zeros(size, np.float32)).items():
            took = np.array(seconds(shape, options.compute_dtype, options.rounds))
            work = operations(shape)
            in_step = len(names) * np.array([took @ PASSES[model], work * sum(PASSES[model])])
            total += in_step
            label = f"{names[0]} {'x'.join(map(str, shape[1]))}" + (f" ({len(names)})" if len(names) > 1 else "")
            speeds = "".join(f"{work / one / 1e9:9.0f}" for one in took)
            print(f"{label:44}{speeds}{1e3 * in_step[0]:9.1f}{in_step[1] / 1e9:8.1f}", flush=True)
            results.append({"names": names, "kernel": shape[1], "seconds": dict(zip(KINDS, took, strict=True))})
    print(f"{'all':44}{'':27}{1e3 * total[0]:9.1f}{total[1] / 1e9:8.1f}  {total[1] / total[0] / 1e9:.0f} GFLOP/s")
    if options.json:
        setting = {"config": str(options.config), "batch_size": rows, "dtype": options.compute_dtype, "on": about(jax.devices())}
        options.json.write_text(json.dumps({**setting, "peak": peak, "layers": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
