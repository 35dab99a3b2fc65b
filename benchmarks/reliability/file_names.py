"""Synthesizes and trains with unusual file names, and with lists, links and names that lead out of a folder.

    python benchmarks/reliability/file_names.py

Every file with an unusual name must be used. No file outside the folders of input and output may be written, nor one outside the
folder of recordings be used for training.
"""

import hashlib
import os
import pathlib
import sys

import common
import inputs
from make_tiny import make_tiny

from hifigan_jax import runtime

NAMES = (
    *(
        "with space",
        " begins with a space",
        "ends with a space ",
        "größe",
        "中文",
        "🎤",
        "e\u0301 decomposed",
        "\u00e9 composed",
        "A",
        "a",
    ),
    *(
        "line\nbreak",
        "tab\there",
        "quote'",
        'quote"',
        "back\\slash",
        "-starts-with-a-dash",
        "--flag",
        "%s%n",
        "*",
        "?",
        "[a-z]",
        "$HOME",
    ),
    *(
        "`id`",
        "; rm -rf x",
        "a|b",
        "#",
        "~",
        "name.with.dots",
        "ends with a dot.",
        "CON",
        "\x1b[31mred",
        "\u202eright to left",
    ),
    *("a" * 200, os.fsdecode(b"gr\xfcn"), "a_generated", "{}", "NaN", "null"),
)
# Entries of a list, outside the folder of recordings; {outside} is a folder with a.wav
ENTRIES = (
    *("{outside}/a", "{outside}/a.wav|text", "../outside/a", "../outside/a.wav", "./../outside/a", "below/../../outside/a"),
    *("link_to_outside/a", "link_to_a", "link_to_a.wav|x", "/etc/passwd", "/etc/passwd|x", "../../../../../../../etc/passwd"),
    *("/proc/self/environ", "/dev/zero", "a\0b", "\0", "//{outside}/a", "below/link/a"),
)
_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.rmtree"}


class Audit:
    """The paths that this process has written, renamed or removed."""

    def __init__(self):
        self.written: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = arguments
            writes = isinstance(mode, str) and set(mode) & set("wax+")
            if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
                self.written.append(os.fsdecode(path))
        elif event in _WRITES:
            self.written += [os.fsdecode(path) for path in arguments if isinstance(path, str | bytes | os.PathLike)]

    def outside(self, *folders: pathlib.Path) -> list[str]:
        """The paths that are in none of these folders, nor in the cache of compiled programs."""
        programs = os.environ.get("JAX_COMPILATION_CACHE_DIR") or runtime.compile_cache_folder()
        allowed = tuple(os.path.realpath(folder) for folder in (*folders, programs))
        found = {path for path in self.written if not os.path.realpath(path).startswith((*allowed, "/dev/null", "/proc/self"))}
        return sorted(path for path in found if "__pycache__" not in path and os.path.isabs(path))


def main() -> None:
    problems: list[str] = []
    with common.work_folder() as folder, common.shared_programs():
        audit = Audit()
        outside = folder / "outside"
        inputs.record(outside, "a.wav", "target.wav")
        before = digest(outside)
        model = make_tiny(folder / "tiny")
        problems += unusual_names(folder, model)
        problems += links(folder, model, outside)
        problems += collisions(folder, model)
        problems += lists(folder, outside)
        problems += [] if digest(outside) == before else ["files outside changed"]
        written = audit.outside(folder)
        problems += [f"written: {path}" for path in written]
    cases = 2 * len(NAMES) + len(ENTRIES) + 5
    common.result(
        "R17",
        f"{len(NAMES)} unusual names, {len(ENTRIES)} ways out of a folder",
        "all used, none outside",
        f"{len(problems)} problems" if problems else "all, none",
        not problems,
        cases=cases,
        problems=problems[:50],
    )


def unusual_names(folder: pathlib.Path, model: pathlib.Path) -> list[str]:
    """The names that infer.py or train.py does not use."""
    import programs

    source = folder / "unusual"
    inputs.record(source, "0.wav")
    for name in NAMES:
        os.link(source / "0.wav", source / f"{name}.wav")
    outcome = programs.infer(input_wavs_dir=source, output_dir=folder / "unusual_out", checkpoint_file=model)
    files = {path.name for path in (folder / "unusual_out").iterdir()}
    problems = [f"infer.py: {name!r}" for name in NAMES if f"{name}_generated.wav" not in files]
    problems += [] if outcome.code == 0 else [f"infer.py: exit code {outcome.code}: {outcome.messages[-3:]}"]
    found = programs.corpus(common.configuration(folder), folder / "index.json", input_wavs_dir=str(source))
    return problems + [f"train.py: {name!r}" for name in NAMES if f"{name}.wav" not in found.names]


def links(folder: pathlib.Path, model: pathlib.Path, outside: pathlib.Path) -> list[str]:
    """What is wrong where the name of an output is a link to a file outside."""
    import programs

    inputs.record(folder / "one", "a.wav")
    output = folder / "one_out"
    output.mkdir()
    (output / "a_generated.wav").symlink_to(outside / "target.wav")
    outcome = programs.infer(input_wavs_dir=folder / "one", output_dir=output, checkpoint_file=model)
    good = outcome.code == 0 and not (output / "a_generated.wav").is_symlink()
    return [] if good else [f"output that is a link: exit code {outcome.code}: {outcome.messages[-2:]}"]


def collisions(folder: pathlib.Path, model: pathlib.Path) -> list[str]:
    """What is wrong where two inputs have the same output, and where only their folders differ."""
    import programs

    inputs.record(folder / "same", "a.wav", "a.flac")
    outcome = programs.infer(input_wavs_dir=folder / "same", output_dir=folder / "same_out", checkpoint_file=model)
    problems = [] if outcome.code == 2 and outcome.about("a.flac") else [f"a.wav and a.flac: exit code {outcome.code}"]
    inputs.record(folder / "apart", "a.wav", "below/a.wav", "below/below/a.wav")
    outcome = programs.infer(input_wavs_dir=folder / "apart", output_dir=folder / "apart_out", checkpoint_file=model)
    count = len(list((folder / "apart_out").rglob("*.wav")))
    return problems + ([] if outcome.code == 0 and count == 3 else [f"a.wav in three folders: {count} outputs"])


def lists(folder: pathlib.Path, outside: pathlib.Path) -> list[str]:
    """The entries of a list by which a file outside the folder of recordings is used, or that end in a foreign exception."""
    import programs

    from hifigan_jax.errors import HifiganError

    source, problems = folder / "listed" / "wavs", []
    inputs.record(source, "a.wav", "b.wav", "c.wav", "below/d.wav")
    outside.rename(folder / "listed" / "outside")
    (folder / "outside").symlink_to(folder / "listed" / "outside")
    (source / "link_to_outside").symlink_to(folder / "outside")
    (source / "below" / "link").symlink_to(folder / "outside")
    (source / "link_to_a.wav").symlink_to(folder / "outside" / "a.wav")
    for entry in ENTRIES:
        entry = entry.format(outside=folder / "outside")
        (folder / "list.txt").write_text("\n".join(("b", "c", entry)), encoding="utf-8")
        keys = {"input_wavs_dir": str(source), "input_training_file": str(folder / "list.txt")}
        try:
            found = programs.corpus(common.configuration(folder), folder / "index.json", **keys)
        except HifiganError:
            continue
        except Exception as error:
            problems.append(f"list entry {entry!r}: {type(error).__name__}: {error}")
            continue
        if {*found.names} - {"b.wav", "c.wav"} or not found.messages:
            problems.append(f"list entry {entry!r}: {found.names}, {len(found.messages)} messages")
    return problems


def digest(folder: pathlib.Path) -> str:
    """A digest of the names and contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


if __name__ == "__main__":
    main()
