"""Encoders by name.

A specification is ``NAME`` or ``NAME:MODEL``. What stands after the colon is the encoder's model:

* ``static``, ``sentence-transformers:sentence-transformers/all-MiniLM-L6-v2``, ``gme:FOLDER``;
* ``open_clip:ARCHITECTURE/PRETRAINED``, cut at the first slash, for example
  ``open_clip:ViT-B-32/openai``. The second part may be a file: ``open_clip:ViT-B-32/weights.pt``
  if it is given relative to the current folder, and with two slashes if it is absolute
  (``open_clip:ViT-B-32//data/weights.pt``). A folder, an ``hf-hub:`` or a ``local-dir:`` name
  stands for both parts (see :mod:`baselines.encoders.open_clip`).

Where this is not enough, the options say it: ``model=…``, ``pretrained=…``.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from baselines.encoders.encoder import Encoder
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.plugins import ENCODERS, broken, load, nearest, registered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from baselines.machine import Machine

ALIASES: Final = {"clip": "open_clip", "sentence": "sentence-transformers"}
"""Short names of encoders."""


def split_spec(spec: str) -> tuple[str, str | None]:
    """The registered name and the model (if there is one) of ``NAME`` or ``NAME:MODEL``.

    >>> split_spec("clip:ViT-B-32/openai")
    ('open_clip', 'ViT-B-32/openai')

    Raises:
        InputError: If a part is empty.
    """
    name, colon, model = spec.partition(":")
    name, model = name.strip(), model.strip()
    if not name or (colon and not model):
        message = f"an encoder is NAME or NAME:MODEL, not {spec!r}"
        raise InputError(message, remedy="for example open_clip:ViT-B-32/openai")
    return ALIASES.get(name, name), model or None


def encoder_class(name: str) -> type[Encoder]:
    """The class of a registered encoder.

    Raises:
        InputError: If there is none of that name; the message suggests the nearest.
        FfrError: If it is broken.
    """
    name = ALIASES.get(name, name)
    points = registered(ENCODERS)
    if name not in points:
        raise InputError(f"unknown encoder {name!r}", remedy=nearest(name, [*points, *ALIASES]))
    kind = load(ENCODERS, name, points)
    if not (isinstance(kind, type) and issubclass(kind, Encoder)):
        raise broken(ENCODERS, name, "is not a subclass of baselines.encoders.encoder.Encoder")
    return kind


def make_encoder(
    spec: str, options: Mapping[str, Any] | None = None, machine: Machine | None = None
) -> Encoder:
    """Make an encoder; nothing heavy is imported or read.

    Args:
        spec: ``NAME`` or ``NAME:MODEL``.
        options: Options by name; values may be strings, as from a command line. They win over
            what the specification says.
        machine: Where and how fast to encode.

    Raises:
        InputError: If there is no such encoder or option, or a value is of the wrong type.
    """
    name, model = split_spec(spec)
    kind = encoder_class(name)
    given: dict[str, Any] = {} if model is None else dict(kind.options_of(model))
    return kind(make_options(kind, {**given, **(options or {})}), machine)


def make_options(kind: type[Encoder], options: Mapping[str, Any]) -> Any:
    """Validate the options of an encoder; values may be strings.

    Raises:
        InputError: For an unknown option or a value of the wrong type, with its name.
    """
    import msgspec

    from baselines.options import make_options as validated

    hints = get_type_hints(kind.Options)
    fields = dataclasses.fields(kind.Options)
    defaults = kind.Options()
    shape = msgspec.defstruct(
        "Options",
        [(field.name, hints[field.name], getattr(defaults, field.name)) for field in fields],
    )
    values = validated(shape, options)
    return kind.Options(**{field.name: getattr(values, field.name) for field in fields})


def check_installed(kind: type[Encoder]) -> None:
    """Check that the packages of an encoder are there, without importing them.

    Raises:
        MissingExtraError: If one is missing; the message names the extra to install.
        FfrError: If one is missing of an encoder that names no extra.
    """
    missing = [name for name in kind.requires if importlib.util.find_spec(name) is None]
    if missing and kind.extra is not None:
        raise MissingExtraError(f"the encoder {kind.name!r}", kind.extra)
    if missing:
        packages = ", ".join(missing)
        raise FfrError(f"the encoder {kind.name!r} needs packages that are missing: {packages}")
