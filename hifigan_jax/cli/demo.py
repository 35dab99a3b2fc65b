"""`hifigan-jax demo`: a static page that resynthesizes a visitor's recording in the browser."""

import argparse
import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(
        name,
        description="Write a static page that resynthesizes a dropped, chosen or recorded sound with this model, in its visitor's"
        " browser. Serve the folder with any web server, for example `python -m http.server --directory SITE`.",
    )
    result.add_argument("checkpoint", metavar="CHECKPOINT", help="as for infer --checkpoint_file; V2 suits browsers best")
    result.add_argument("site", type=Path, metavar="SITE", help="folder to write: new, empty, or an earlier demo")
    result.add_argument("--config", metavar="JSON", help="the model's configuration, if there is none next to the weights")
    result.add_argument(
        "--runtime",
        type=Path,
        metavar="DIR",
        help="copy ONNX Runtime Web from DIR, npm's package onnxruntime-web; default: the page loads it from cdn.jsdelivr.net",
    )
    result.add_argument(
        "--precision", choices=("float32", "float16"), default="float32", help="of the stored weights; float16 halves their size"
    )
    result.add_argument("--sample", type=Path, metavar="FILE", help="a recording that the page offers")
    result.add_argument("--name", metavar="TEXT", help="name of the model on the page; default: the name of CHECKPOINT")
    return result


def main(options: argparse.Namespace) -> int:
    """Writes the page; returns the exit code."""
    from hifigan_jax.export.demo import refuse_other_files, write_demo  # imports jax
    from hifigan_jax.loading import load_generator
    from hifigan_jax.weights.hub import is_hub

    refuse_other_files(options.site)  # before a download
    generator = load_generator(options.checkpoint, options.config)
    source = options.checkpoint
    name = options.name or (source.removeprefix("hf://") if is_hub(source) else Path(source).resolve().name)
    write_demo(generator, options.site, name, options.precision, options.runtime, options.sample)
    logger.info("written: %s: serve it with `python -m http.server --directory %s`", options.site / "index.html", options.site)
    return 0
