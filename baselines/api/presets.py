"""Presets: what is known of a server, as data. One TOML file each, bundled or the user's own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from ffr_eval.errors import InputError
from ffr_eval.jsonl import problem
from ffr_eval.plugins import nearest

Feature: TypeAlias = Literal[
    "images",
    "image_detail",
    "json_schema",
    "tool",
    "logprobs",
    "seed",
    "temperature",
    "top_p",
    "reasoning_effort",
]
"""What a server may have; the last six are also names of fields in a request."""

_Positive: TypeAlias = Annotated[int, Meta(ge=1)]
_Url: TypeAlias = Annotated[str, Meta(min_length=1)]
_Variable: TypeAlias = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]

_T = TypeVar("_T")
_REMEDY: Final = "docs/api.md lists the fields of a preset"
_NO_PRESET: Final = "_none"


class ImageTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many tokens an image takes.

    Attributes:
        kind: ``tiles``: scaled into 2048 × 2048 and to a shorter side of 768, then ``base`` and
            ``each`` for every tile begun; ``grid``: ``base``, and ``each`` for every tile begun of
            the image as it is; ``area``: ``base``, and one for ``size`` pixels.
        size: Pixels along a tile, or, for ``area``, pixels of a token.
        base: Tokens of an image, whatever its size.
        each: Tokens of a tile.
        most: No image takes more than so many.
    """

    kind: Literal["tiles", "grid", "area"] = "grid"
    size: _Positive = 28
    base: Annotated[int, Meta(ge=0)] = 0
    each: Annotated[float, Meta(ge=0)] = 1
    most: _Positive | None = None


class KnownModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is special about some models of a server.

    Attributes:
        prefix: The models whose names begin so; of several prefixes the longest counts.
        context: Tokens that prompt and answer may have together.
        without: What they lack, of what the server has.
        image_tokens: In the place of the server's.
    """

    prefix: str
    context: _Positive | None = None
    without: tuple[Feature, ...] = ()
    image_tokens: ImageTokens | None = None


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of a server.

    Attributes:
        title: Its name, for people.
        base_url: Where it is, up to what ``/chat/completions`` is added to.
        example: A model that it has, for messages.
        key_env: The environment variable with the key.
        key_optional: Whether it may be asked without a key.
        max_tokens: The name of the request's field for the length of the answer.
        features: What it has.
        context: Tokens that prompt and answer may have together, unless a model says otherwise.
        priced: Whether the bundled price table applies.
        image_tokens: How many tokens an image takes, unless a model says otherwise.
        models: What is special about some of its models.
    """

    title: str
    base_url: _Url | None = None
    example: str | None = None
    key_env: _Variable | None = None
    key_optional: bool = False
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    features: tuple[Feature, ...]
    context: _Positive | None = None
    priced: bool = True
    image_tokens: ImageTokens = ImageTokens()
    models: tuple[KnownModel, ...] = ()

    def known(self, model: str) -> KnownModel:
        """What is known of a model."""
        fitting = [rule for rule in self.models if model.startswith(rule.prefix)]
        return max(fitting, key=lambda rule: len(rule.prefix), default=KnownModel(""))

    def has(self, feature: Feature, model: str) -> bool:
        """Whether a model of the server has a feature."""
        return feature in self.features and feature not in self.known(model).without

    def context_of(self, model: str) -> int | None:
        """Tokens that prompt and answer of a model may have together."""
        return self.known(model).context or self.context

    def image_tokens_of(self, model: str) -> ImageTokens:
        """How many tokens an image takes."""
        return self.known(model).image_tokens or self.image_tokens


def preset_names() -> list[str]:
    """The bundled presets."""
    folder = files(__package__) / "presets"
    names = (entry.name.removesuffix(".toml") for entry in folder.iterdir())
    return sorted(name for name in names if not name.startswith("_"))


def load_preset(name: str | None) -> Preset:
    """A preset.

    Args:
        name: A bundled one, or a TOML file; ``None`` for what may be assumed of any server.

    Raises:
        InputError: If there is none of that name, or the file is malformed.
    """
    if name is None:
        return _bundled(_NO_PRESET)
    if name in preset_names():
        return _bundled(name)
    path = Path(name).expanduser()
    if path.suffix == ".toml" or "/" in name:
        try:
            return read_toml(path, Preset, _REMEDY)
        except OSError as error:
            message = f"{name}: cannot be read: {error.strerror}"
            raise InputError(message, field="option preset", remedy="check the path") from None
    raise InputError(
        f"unknown preset {name!r}",
        field="option preset",
        remedy=f"{nearest(name, preset_names())}; or give a file: preset=FILE.toml",
    )


def read_toml(path: Path, kind: type[_T], remedy: str) -> _T:
    """A TOML file of the user.

    Raises:
        InputError: If it is malformed, with the field.
        OSError: If it cannot be read.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise problem(error, path, None, remedy) from None


@cache
def _bundled(name: str) -> Preset:
    file = files(__package__) / "presets" / f"{name}.toml"
    return msgspec.toml.decode(file.read_bytes(), type=Preset)
