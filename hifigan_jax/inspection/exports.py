"""Descriptions of exported models: ONNX files and StableHLO folders."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hifigan_jax.config import Config, parse_config
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.inspection.description import Description, Fact, listed
from hifigan_jax.inspection.models import facts_of

# Numbers of the fields of ModelProto, OperatorSetIdProto and StringStringEntryProto in onnx.proto.
_PRODUCER, _GRAPH, _OPSETS, _METADATA = 2, 7, 8, 14
_LARGEST = 2**24  # bytes of a field that is read; the graph is skipped


def describe_onnx(path: Path) -> Description:
    """An ONNX file, by the fields around its graph, which is not read. Raises CheckpointError."""
    producer, opsets, metadata, has_graph = "", [], {}, False
    try:
        with open(path, "rb") as file:
            for number, value in _fields(file, path.stat().st_size):
                if number == _PRODUCER:
                    producer = value.decode()
                elif number == _OPSETS:
                    opsets.append(int(dict(_message(value)).get(2, 0)))
                elif number == _METADATA:
                    entry = dict(_message(value))
                    metadata[entry[1].decode()] = entry.get(2, b"").decode()
                has_graph |= number == _GRAPH
    except (ValueError, KeyError, AttributeError, TypeError):
        has_graph = False
    if not has_graph:
        raise CheckpointError(f"{path}: not an ONNX file, or damaged: export it again")
    facts = [Fact("producer", producer, producer or "unknown"), Fact("opsets", opsets, listed(opsets))]
    problems = []
    if "config" in metadata:
        facts += _model_facts(metadata["config"], path)
        kind = "generator (ONNX)"
    elif producer == "hifigan_jax":
        kind = "log-mel graph (ONNX)"
        facts += [Fact(key, metadata[key]) for key in ("sampling_rate", "num_mels", "hop_size") if key in metadata]
    else:
        kind, problems = "ONNX model", ["not exported by hifigan_jax: infer reads the weights that it was made from"]
    facts += [Fact(key, metadata[key]) for key in ("source", "url", "license") if key in metadata]
    return Description(kind, facts, problems)


def describe_stablehlo(folder: Path, manifest: Mapping[str, Any]) -> Description:
    """A folder of `hifigan-jax export stablehlo`, whose checksums are verified. Raises CheckpointError."""
    digests = manifest.get("sha256")
    for name, expected in (digests if isinstance(digests, dict) else {}).items():
        try:
            with open(folder / Path(name).name, "rb") as file:
                intact = hashlib.file_digest(file, "sha256").hexdigest() == expected
        except (OSError, ValueError) as error:  # ValueError: the name cannot be that of a file
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{folder}: {name} cannot be read: {reason}: export it again") from None
        if not intact:
            raise CheckpointError(f"{folder}: {name} is damaged (its checksum differs): export it again")
    facts = _model_facts(json.dumps(manifest.get("model")), folder)
    facts += [Fact(key, manifest[key]) for key in ("input", "output", "validity", "source", "license") if key in manifest]
    facts.append(Fact("platforms", manifest["platforms"], listed(manifest["platforms"])))
    return Description("generator (StableHLO)", facts)


def _model_facts(text: str, path: Path) -> list[Fact]:
    try:
        config: Config = parse_config(text, path, purpose="inference")
    except UsageError as error:
        raise CheckpointError(str(error)) from None
    return facts_of(config)


def _fields(file: io.BufferedIOBase, size: int) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message of `size` bytes: their numbers and values. Raises ValueError if it is damaged.

    https://protobuf.dev/programming-guides/encoding/
    """
    while file.tell() < size:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        match kind:
            case 0:
                yield number, _varint(file)
            case 1 | 5:
                yield number, file.read(8 if kind == 1 else 4)
            case 2:
                length = _varint(file)
                end = file.tell() + length
                if end > size:
                    raise ValueError("a field extends beyond the message")
                yield number, file.read(length) if number != _GRAPH and length <= _LARGEST else None
                file.seek(end)
            case _:
                raise ValueError("unknown wire type")


def _message(content: bytes) -> Iterator[tuple[int, Any]]:
    return _fields(io.BytesIO(content), len(content))


def _varint(file: io.BufferedIOBase) -> int:
    result = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        result |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return result
    raise ValueError("damaged varint")
