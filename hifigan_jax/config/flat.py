"""Conversion between the flat JSON on disk and the sections in memory.

Each key goes to every section that declares it: the common sections, the generator family selected by "generator", and the
discriminators selected by "discriminators".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pydantic

from hifigan_jax.config.sections import Data, Losses, Mel, Optimization, Run, Section
from hifigan_jax.errors import UsageError, did_you_mean
from hifigan_jax.models.family import DiscriminatorConfig, GeneratorConfig
from hifigan_jax.models.registry import DISCRIMINATORS, GENERATORS

COMMON: dict[str, type[Section]] = {"mel": Mel, "losses": Losses, "optimization": Optimization, "data": Data, "run": Run}
# Keys of the reference's JSONs without effect here: devices are detected, and the number of frequencies follows from n_fft.
IGNORED_KEYS = ("num_gpus", "num_freq", "dist_config")
SELECTORS = ("generator", "discriminators")  # keys that select the family and the discriminators


class Problem(NamedTuple):
    """A problem with one key, or with a combination of keys (key "")."""

    key: str
    text: str


_UNION = re.compile(r"(float|constrained-\w+|(tuple|function-\w+)\[.*)$")  # pydantic's names of the types in a union


class ConfigError(ValueError):
    """An invalid flat configuration. `problems` is never empty; problems with single keys come first."""

    def __init__(self, problems: list[Problem]):
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems


class Config(pydantic.BaseModel):
    """A validated, immutable configuration. Two of them describe the same model if their `generator` and `mel` are equal."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    generator: pydantic.SerializeAsAny[GeneratorConfig]
    discriminators: dict[str, pydantic.SerializeAsAny[DiscriminatorConfig]]  # by name in the registry
    mel: Mel
    losses: Losses
    optimization: Optimization
    data: Data
    run: Run

    @classmethod
    def from_flat(cls, content: Mapping[str, Any], for_training: bool = True) -> "Config":
        """The configuration from a flat mapping, `for_training` also checked for conflicts in training. Raises ConfigError."""
        content = {key: value for key, value in content.items() if key not in IGNORED_KEYS}
        family, discriminators = _selected(content)
        sections = {"generator": family, **{f"discriminator {name}": kind for name, kind in discriminators.items()}, **COMMON}
        problems = [*_unknown_keys(content, sections.values())]
        content = _with_default_losses(content, family)
        built = {name: _section(kind, content, problems) for name, kind in sections.items()}
        if problems:
            raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: not problem.key))
        config = cls(
            generator=built["generator"],
            discriminators={name: built[f"discriminator {name}"] for name in discriminators},
            **{name: built[name] for name in COMMON},
        )
        problems = [*config.generator.mel_problems(config.mel), *(_training_problems(config) if for_training else ())]
        if problems:
            raise ConfigError([Problem("", text) for text in problems])
        return config

    def flat(self) -> dict[str, Any]:
        """The inverse of `from_flat`: all keys and their values, as JSON types."""
        content: dict[str, Any] = {"generator": name_of(self.generator, GENERATORS), "discriminators": [*self.discriminators]}
        for section in (self.generator, *self.discriminators.values(), *(getattr(self, name) for name in COMMON)):
            content |= section.model_dump(mode="json")
        return content

    def to_json(self) -> str:
        """The flat JSON. `load_config` reads it back as the same configuration."""
        return json.dumps(self.flat(), indent=4) + "\n"

    def replace(self, changes: Mapping[str, Any]) -> "Config":
        """A copy with the values of some flat keys changed. Raises UsageError, also for new conflicts in training."""
        try:
            changed = self.from_flat(self.flat() | dict(changes), for_training=False)
        except ConfigError as error:
            raise UsageError(error.problems[0].text) from None
        known = [*_training_problems(self)]
        for problem in _training_problems(changed):
            if problem not in known:
                raise UsageError(problem)
        return changed

    @property
    def loss_mel(self) -> Mel:
        """The mel of the mel loss and of validation, up to fmax_for_loss."""
        return self.mel.replace(fmax=self.losses.fmax_for_loss)


def model_keys(content: Mapping[str, Any]) -> set[str]:
    """The keys that describe the generator and its mel, for the family in a flat mapping. Raises ConfigError."""
    return {"generator", *_family(content).model_fields, *Mel.model_fields}


def default_of(key: str) -> Any:
    """The default of a key of the common sections."""
    return next(section.model_fields[key].default for section in COMMON.values() if key in section.model_fields)


def name_of(section: Section, registry: Mapping[str, type[Section]]) -> str:
    """The name of a section's class in its registry."""
    return next(name for name, kind in registry.items() if kind is type(section))


def model_differences(found: Config, expected: Config, discriminators: bool = False) -> list[str]:
    """The differences in generator and mel (with `discriminators`, also in these), one text per key with both values."""
    one, other = (_model_keys(config, discriminators) for config in (found, expected))
    keys = [key for key in one | other if one.get(key) != other.get(key)]
    return [f"{key} is {one.get(key, 'absent')}, expected {other.get(key, 'absent')}" for key in keys]


def _model_keys(config: Config, discriminators: bool) -> dict[str, Any]:
    sections: list[Section] = [config.generator, config.mel]
    names: dict[str, Any] = {"generator": name_of(config.generator, GENERATORS)}
    if discriminators:
        sections += config.discriminators.values()
        names["discriminators"] = sorted(config.discriminators)
    return names | {key: value for section in sections for key, value in section}


def _family(content: Mapping[str, Any]) -> type[GeneratorConfig]:
    name = content.get("generator", "hifigan")
    if not isinstance(name, str) or name not in GENERATORS:
        raise ConfigError([_unknown_name("generator", name, GENERATORS)])
    return GENERATORS[name]


def _selected(content: Mapping[str, Any]) -> tuple[type[GeneratorConfig], dict[str, type[DiscriminatorConfig]]]:
    family = _family(content)
    names = content.get("discriminators", family.DEFAULT_DISCRIMINATORS)
    if not isinstance(names, list | tuple):
        raise ConfigError([Problem("discriminators", f"discriminators: input should be a list of names, not {names!r:.60}")])
    if not names:
        raise ConfigError([Problem("discriminators", "discriminators: list should have at least 1 item, not []")])
    for i, one in enumerate(names):
        if not isinstance(one, str) or one not in DISCRIMINATORS:
            raise ConfigError([_unknown_name(f"discriminators.{i}", one, DISCRIMINATORS)])
        if one in names[:i]:
            raise ConfigError([Problem("discriminators", f"discriminators: {one!r} is listed twice: remove one")])
    return family, {one: DISCRIMINATORS[one] for one in names}


def _unknown_name(key: str, value: Any, registry: Mapping[str, type[Section]]) -> Problem:
    hint = did_you_mean(value, registry) if isinstance(value, str) else ""
    return Problem(key, f"{key}: input should be {' or '.join(map(repr, registry))}, not {value!r:.60}{hint}")


def _unknown_keys(content: Mapping[str, Any], sections: Iterable[type[Section]]) -> Iterator[Problem]:
    """Keys that no section declares, each with its owner or a similar known key.

    Those without an owner come first: keys belong to a family that is not used if "generator" is misspelled.
    """
    declared = {key for section in sections for key in section.model_fields}.union(SELECTORS)
    owners = {key: _owner(key) for key in content if key not in declared}
    for key, owner in sorted(owners.items(), key=lambda item: item[1] is not None):
        if owner:
            kind, name, section = owner
            field = section.model_fields[key]
            if kind == "discriminator" and not field.is_required() and _plain(content[key]) == _plain(field.default):
                continue  # older resolved configurations always listed it; its default has no effect
            yield Problem(key, f"key {key!r} belongs to the {kind} {name!r}, which this configuration does not use: remove it")
        else:
            yield Problem(key, f"unknown key {key!r}{_hint(key)}")


def _owner(key: str) -> tuple[str, str, type[Section]] | None:
    for kind, registry in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS)):
        for name, section in registry.items():
            if key in section.model_fields:
                return kind, name, section
    return None


def _hint(key: str) -> str:
    """A hint at the known key closest to an unknown one, also by the names that other projects use."""
    sections = [*COMMON.values(), *GENERATORS.values(), *DISCRIMINATORS.values()]
    foreign = {name: ours for section in sections for name, ours in section.ALSO_CALLED.items()}
    if key.lower() in foreign:
        return f"; did you mean {foreign[key.lower()]!r}?"
    return did_you_mean(key, [*SELECTORS, *(name for section in sections for name in section.model_fields)])


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _with_default_losses(content: dict[str, Any], family: type[GeneratorConfig]) -> dict[str, Any]:
    """`content` with the family's default losses for all losses and weights that it does not set."""
    weights = content.get("loss_weights", {})
    if isinstance(weights, dict):
        weights = family.DEFAULT_LOSSES["loss_weights"] | weights
    return {**family.DEFAULT_LOSSES, **content, "loss_weights": weights}


def _section(kind: type[Section], content: Mapping[str, Any], problems: list[Problem]) -> Section | None:
    """The section from its keys in `content`. If they are invalid, appends to `problems` and returns None."""
    try:
        return kind.model_validate({key: value for key, value in content.items() if key in kind.model_fields})
    except pydantic.ValidationError as error:
        problems.extend(Problem(str(one["loc"][0]) if one["loc"] else "", message_of(one)) for one in error.errors())
        return None


def message_of(error: Mapping[str, Any]) -> str:
    """One line about one of the errors of a pydantic.ValidationError: the key, what is wrong, and the value."""
    key = ".".join(str(part) for part in error["loc"] if not _UNION.match(str(part)))
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    if error["type"] == "value_error":
        return (f"{key}: " if key else "") + str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key}: {message}, not {error['input']!r:.60}"


def _training_problems(c: Config) -> Iterator[str]:
    """Conflicts between sections that only training has, one line each."""
    training = c.optimization
    yield from c.mel.band_problems("fmax_for_loss", c.losses.fmax_for_loss)
    if training.segment_size % c.mel.hop_size:
        yield f"segment_size {training.segment_size} must be a multiple of hop_size {c.mel.hop_size}"
    if training.segment_size < c.mel.shortest:
        too_short = f"segment_size {training.segment_size} is too short for n_fft {c.mel.n_fft}"
        yield f"{too_short}: make it larger than {c.mel.shortest - 1}, the mel's padding"
    for discriminator in c.discriminators.values():
        yield from discriminator.training_problems(training)
