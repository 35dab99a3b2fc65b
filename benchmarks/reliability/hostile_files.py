"""Reads weights, mels and statistics that try to run code, in every place and format, and files that ask for absurd resources.

    python benchmarks/reliability/hostile_files.py

All must be refused with an exception of the package; none may create its canary file, start a process or import torch. The
package's source is searched for calls that could run code from a file.
"""

import io
import itertools
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import common
import dangerous_calls
import numpy as np
import pickles

from hifigan_jax import mel_conversion, mel_file
from hifigan_jax.errors import HifiganError
from hifigan_jax.weights.torch_file import read_torch_file

SECONDS = 5
_PROCESSES = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"}


def main() -> None:
    started: list[str] = []
    sys.addaudithook(lambda event, _: started.append(event) if event in _PROCESSES else None)
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-") as name:
        folder = pathlib.Path(name)
        canary, path, problems, count = folder / "canary", folder / "hostile", [], 0
        for case, content, read in cases(str(canary)):
            path.write_bytes(content)
            began = time.process_time()
            outcome = refusal(read, path)
            if outcome or canary.exists() or started or time.process_time() - began > SECONDS:
                problems.append(f"{case}: {outcome} {started}, canary {canary.exists()}")
                canary.unlink(missing_ok=True)
                started.clear()
            count += 1
    calls = dangerous_calls.dangerous_calls()
    problems += ["torch was imported"] if "torch" in sys.modules else []
    common.result(
        "R16",
        "weights and mels that try to run code or use up memory",
        f"{count:,} refused, 0 executed",
        f"{count - len(problems):,} refused, {len(problems) + len(calls)} problems" if problems or calls else f"{count:,}, 0",
        not problems and not calls,
        problems=problems[:50],
        calls=calls,
    )


def cases(canary: str) -> Iterator[tuple[str, bytes, Callable[[pathlib.Path], object]]]:
    """Each file, by name, and what reads it."""
    for (form, make), gadget, place in itertools.product(pickles.FORMATS.items(), pickles.GADGETS, pickles.HIDING_PLACES):
        call = pickles.opcodes(call_of(gadget, canary), {}, form == "legacy")
        yield f"{form}, {gadget}, {place}", make(pickles.HIDING_PLACES[place](call)), read_torch_file
    for (form, make), opcode in itertools.product(pickles.FORMATS.items(), pickles.CALLS):
        yield f"{form}, {opcode}", make(pickles.call_by(opcode, canary)), read_torch_file
    for (form, make), bomb in itertools.product(pickles.FORMATS.items(), pickles.TIME_BOMBS):
        yield f"{form}, {bomb}", make(pickles.TIME_BOMBS[bomb]), read_torch_file
    for gadget in pickles.GADGETS:
        content = object_array(b"\x80\x02" + pickles.opcodes(call_of(gadget, canary), {}, True) + b".")
        yield f"mel, {gadget}", content, lambda path: mel_file.read_mel(path, 80)
        yield f"statistics, {gadget}", content, lambda path: mel_conversion.read_statistics(path, 80)


def call_of(gadget: str, canary: str) -> pickles.Call:
    """The call of a gadget that creates the file `canary`."""
    module, _, name = gadget.rpartition(".")
    return pickles.Call(pickles.Global(module, name), pickles.filled(pickles.GADGETS[gadget], canary))


def object_array(pickled: bytes) -> bytes:
    """A .npy file of an array of objects, which numpy stores as a pickle."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (80, 9)})
    return file.getvalue() + pickled


def refusal(read: Callable[[pathlib.Path], object], path: pathlib.Path) -> str:
    """What is wrong with how a file is refused; empty if nothing is."""
    try:
        read(path)
    except HifiganError:
        return ""
    except BaseException as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return "read"


if __name__ == "__main__":
    main()
