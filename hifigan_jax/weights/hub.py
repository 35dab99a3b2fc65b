"""Models in repositories of the Hugging Face Hub, named hf://OWNER/NAME[@REVISION][/FILE].

huggingface_hub downloads into its own cache, from HF_ENDPOINT, and reads only that cache if HF_HUB_OFFLINE is set.
"""

import errno
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from hifigan_jax.errors import CheckpointError, DiskError, UsageError

logger = logging.getLogger(__name__)

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"  # what we upload

_SOURCE = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@(refs/pr/\d+|[^/@]+))?(?:/(.+))?")  # pathlib makes one slash of two
_TORCH = (".pth", ".pt", ".pth.tar", ".ckpt", ".bin")
_STEP = re.compile(r"g_(\d{8,})")
_DISCRIMINATOR = re.compile(r"do_\d|discriminator|netD\.", re.IGNORECASE)  # in the names of files without a generator
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


class Place(NamedTuple):
    """A repository, and the revision and the file in it that are wanted; None: its main branch, and `choose`'s file."""

    repository: str
    revision: str | None
    file: str | None

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{quote(self.revision, safe='')}" if self.revision else "")


def is_hub(source: str | Path) -> bool:
    """Whether `source` names a repository and not a path."""
    return str(source).startswith("hf:/")


def parse(source: str | Path) -> Place:
    """The parts of hf://OWNER/NAME[@REVISION][/FILE], with %2F for a slash in the revision. Raises UsageError."""
    match = _SOURCE.fullmatch(str(source))
    if match is None or not {"", ".", ".."}.isdisjoint((match[3] or "file").split("/")):
        raise UsageError(f"{source}: expected hf://OWNER/NAME, hf://OWNER/NAME@REVISION or hf://OWNER/NAME@REVISION/FILE")
    return Place(match[1], match[2] and unquote(match[2]), match[3])


def fetch(source: str | Path) -> Path:
    """The path of the weights in the cache, downloaded if necessary, with their configuration in the same folder if there is one.

    Without a network, the newest revision in the cache is used. Raises UsageError if huggingface_hub is missing, CheckpointError
    if there is no such file, or several, or the Hub cannot be reached.
    """
    place, hub = parse(source), _huggingface_hub()
    with _one_line(place):
        found = _listing(hub, place)
        if found is None:
            return _cached(hub, place)
        name = place.file or choose(found, str(place))
        path = _download(hub, place, name, place.revision)
        commit = snapshot_of(path).name  # so that the configuration is of the same commit
        if config := config_of(name, found):
            _download(hub, place, config, commit)
    logger.info("%s: %s of revision %.8s", place, name, commit)
    return path


def snapshot_of(path: Path) -> Path:
    """The folder of a file's commit in the cache."""
    return next(folder for folder in path.parents if folder.parent.name == "snapshots")


def upload(target: str | Path, files: Mapping[str, Path], private: bool, message: str) -> str:
    """Commits the files to a repository, which is created if it does not exist; returns the address of the commit.

    A model card that exists is kept. Raises UsageError for a bad target, CheckpointError if the Hub refuses it.
    """
    place, hub = parse(target), _huggingface_hub()
    if place.file:
        raise UsageError(f"{target}: name a repository without a file: {place}")
    with _one_line(place):
        api = hub.HfApi()
        api.create_repo(place.repository, private=private, exist_ok=True)
        present = api.model_info(place.repository, revision=place.revision)
        if private and not present.private:
            raise UsageError(f"{place}: exists and is public: make it private in its settings, or choose a new name")
        if kept := any(one.rfilename == CARD for one in present.siblings):
            logger.info("%s: its %s is kept", place, CARD)
        names = [name for name in files if not (kept and name == CARD)]
        changes = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(files[name])) for name in names]
        commit = api.create_commit(place.repository, changes, commit_message=message, revision=place.revision)
    return str(commit.commit_url)


def choose(names: Iterable[str], repository: str) -> str:
    """The generator's file among those of a repository: model.safetensors, else the only .safetensors file, else the g_* file of
    the highest step, else the only PyTorch file. Raises CheckpointError if there is none, or several."""
    names = [name for name in sorted(names) if not _DISCRIMINATOR.search(_last(name))]
    steps = [name for name in names if _STEP.fullmatch(_last(name))]
    if len({name.rpartition("/")[0] for name in steps}) == 1:
        steps = [max(steps, key=lambda name: int(_last(name)[2:]))]
    kinds = (
        [name for name in names if name == WEIGHTS],
        [name for name in names if name.endswith(".safetensors")],
        steps,
        [name for name in names if name.lower().endswith(_TORCH)],
    )
    found = next(filter(None, kinds), [])
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(f"{repository}: contains no generator: no .safetensors, g_* or {', '.join(_TORCH[:2])} file")
    listed = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
    raise CheckpointError(f"{repository}: contains several models ({listed}): name one, as in {repository}/{found[0]}")


def config_of(name: str, names: Iterable[str]) -> str | None:
    """The configuration of a file of weights: config.json in its folder, else the only other JSON there, else None."""
    folder = name[: -len(_last(name))]
    beside = [other for other in names if other.endswith(".json") and other[: -len(_last(other))] == folder]
    if folder + CONFIG in beside:
        return folder + CONFIG
    return beside[0] if len(beside) == 1 else None


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _listing(hub: ModuleType, place: Place) -> list[str] | None:
    """The names of the files of a repository, or None if the Hub cannot be reached."""
    try:
        return [one.rfilename for one in hub.HfApi().model_info(place.repository, revision=place.revision).siblings]
    except hub.errors.HfHubHTTPError as error:
        if _status(error) < 500:
            raise
        reason = error
    except _unreachable(hub) as error:
        reason = error
    logger.info("%s: not connected to the Hub (%s): reading the cache", place, type(reason).__name__)
    return None


def _cached(hub: ModuleType, place: Place) -> Path:
    """The path of the weights in the cache's copy of a revision. Raises CheckpointError."""
    folder = Path(hub.constants.HF_HUB_CACHE) / f"models--{place.repository.replace('/', '--')}"
    revision = place.revision or hub.constants.DEFAULT_REVISION
    reference = folder / "refs" / revision
    snapshot = folder / "snapshots" / (reference.read_text().strip() if reference.is_file() else revision)
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    if not names or (place.file and place.file not in names):
        raise CheckpointError(f"{place}: the Hub cannot be reached, and its cache ({folder.parent}) does not contain it: connect")
    path = snapshot / (place.file or choose(names, str(place)))
    if not _intact(path):
        raise CheckpointError(f"{place}: {path} is damaged (its checksum differs): connect to the Hub to download it again")
    logger.info("%s: %s of revision %.8s", place, path.relative_to(snapshot).as_posix(), snapshot.name)
    return path


def _download(hub: ModuleType, place: Place, name: str, revision: str | None) -> Path:
    """The path of a file in the cache, downloaded if it is not there or damaged."""
    for again in (False, True):
        path = Path(hub.hf_hub_download(place.repository, name, revision=revision, force_download=again))
        if _intact(path):
            return path
    raise CheckpointError(f"{place}: {name} arrives damaged (its checksum differs): try again later")


def _intact(path: Path) -> bool:
    """Whether a file in the cache has the checksum that is its name there: SHA-256 of large files, else that of a Git object."""
    expected = Path(os.readlink(path)).name if path.is_symlink() else ""
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", expected):
        return True  # a file system without links, where the checksum is not known
    with open(path, "rb") as file:
        if len(expected) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == expected


@contextmanager
def _one_line(place: Place) -> Iterator[None]:
    """Turns what huggingface_hub raises into our errors, of one line."""
    hub = _huggingface_hub()
    try:
        yield
    except hub.errors.HfHubHTTPError as error:
        raise CheckpointError(f"{place}: {_answer(hub, place, error)}") from None
    except hub.errors.HFValidationError as error:  # a name that the Hub does not allow
        raise UsageError(f"{place}: {_first(error)}") from None
    except (hub.errors.EntryNotFoundError, *_unreachable(hub)) as error:
        raise CheckpointError(f"{place}: cannot reach the Hub ({_first(error)}): check the network and HF_ENDPOINT") from None
    except OSError as error:
        if error.errno in _DISK:
            raise DiskError(f"{error.filename or place}: cannot be written: {error.strerror}") from None
        raise CheckpointError(f"{place}: not transferred completely ({_first(error)}): try again") from None
    except (RuntimeError, ValueError, KeyError, TypeError) as error:  # of a transfer, or an unexpected answer
        raise CheckpointError(f"{place}: not transferred ({_first(error.__cause__ or error)}): try again") from None


def _answer(hub: ModuleType, place: Place, error: Any) -> str:
    """What the Hub's refusal means and what to do about it."""
    log_in = "run `hf auth login` or set HF_TOKEN"
    if isinstance(error, hub.errors.GatedRepoError):
        return f"access is restricted: request it at {hub.constants.ENDPOINT}/{place.repository}, then {log_in}"
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return f"has no revision {place.revision or 'main'!r}: choose a branch, a tag or a commit of it"
    if isinstance(error, hub.errors.EntryNotFoundError):
        return f"has no file {repr(place.file) if place.file else 'that it lists'}: choose another"
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return f"no such repository, or a private one: check the name, or {log_in}"
    if (status := _status(error)) in (401, 403):
        return f"no permission ({status}): {log_in} with a token that has it"
    return f"the Hub refuses this ({_first(error)}): try again later"


def _status(error: Any) -> int:
    return getattr(error.response, "status_code", 500)


def _first(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0]:.200}" if lines else type(error).__name__


def _unreachable(hub: ModuleType) -> tuple[type[BaseException], ...]:
    """The errors of a missing connection: those of the HTTP library, which depends on the version of huggingface_hub."""
    known = ("huggingface_hub", "builtins")
    library = [kind for kind in hub.errors.HfHubHTTPError.__mro__ if not kind.__module__.startswith(known)]
    return library[-1], hub.errors.OfflineModeIsEnabled


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError:
        raise UsageError("huggingface_hub is not installed: pip install 'hifigan-jax[hub]'") from None
    return huggingface_hub
