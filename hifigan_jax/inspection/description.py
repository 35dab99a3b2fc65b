"""What an inspection found in a file, as text of about ten lines and as JSON types."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hifigan_jax.errors import printable

_INDENT = 16  # columns of a fact's name


class Fact(NamedTuple):
    """One property of a file: its name, its value in JSON types, and the value for reading if that is not `str(value)`."""

    name: str
    value: Any
    text: str = ""

    def __str__(self) -> str:
        return self.text or str(self.value)


class Description(NamedTuple):
    """What a file is, its facts, what is wrong with it and how to fix it, and the command that uses it, if there is one."""

    kind: str
    facts: Sequence[Fact]
    problems: Sequence[str] = ()
    command: str | None = None


class Report(NamedTuple):
    """The inspection of one path: its description, or the error that prevented one, and what the readers logged."""

    path: str
    description: Description | None
    error: str | None = None
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        """The lines to print. An error is one line that names the path."""
        if self.description is None:
            return str(self.error)
        kind, facts, problems, command = self.description
        lines = [(fact.name, str(fact)) for fact in facts]
        lines += [("problem", text) for text in problems] + [("note", text) for text in self.notes]
        lines += [("use", command)] if command else []
        return "\n".join([f"{self.path}: {kind}", *(printable(f"  {name:{_INDENT}}{text}") for name, text in lines)])

    def as_json(self) -> dict[str, Any]:
        """The same as an object of JSON types; names of facts have underscores in place of spaces."""
        found = self.description or Description("", ())
        return {
            "path": self.path,
            "kind": found.kind or None,
            "facts": {fact.name.replace(" ", "_"): _json_value(fact.value) for fact in found.facts},
            "problems": list(found.problems),
            "notes": list(self.notes),
            "command": found.command,
            "error": self.error,
        }


def _json_value(value: Any) -> Any:
    """A value with null in place of NaN and infinities, which JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def command(program: str, *arguments: object) -> str:
    """A command of this package, as a shell takes it. Arguments that are Paths are not mistaken for flags."""
    written = [f"./{one}" if isinstance(one, Path) and str(one).startswith("-") else str(one) for one in arguments]
    return shlex.join(["hifigan-jax", program, *written])


def duration(seconds: float) -> str:
    """A duration for reading."""
    if seconds < 120:
        return f"{seconds:.2f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def listed(names: Sequence[Any], most: int = 4) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def first_of(problems: Sequence[str]) -> list[str]:
    """The first of some problems of one kind, and how many more there are, as one problem; none if there are none."""
    more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    return [f"{problems[0]}{more}"] if problems else []


def plural(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
