"""Short names of the paper's open models; the data are in ``presets.toml``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import msgspec

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model with a short name.

    Attributes:
        loads: ``images`` if transformers has its classes, ``remote`` if it brings its own, ``no``
            if it cannot be loaded this way.
        hub: Its name on the hub; ``None`` if none is known.
        context: Tokens of prompt and answer together, if its configuration does not say.
        rows: The rows of the paper's Table 2 that start from these weights.
        note: What the user should know.
    """

    loads: Literal["images", "remote", "no"]
    hub: str | None = None
    context: int | None = None
    rows: tuple[str, ...] = ()
    note: str = ""


@cache
def presets() -> Mapping[str, Preset]:
    """The presets by name, in the order of the file."""
    content = files(__package__).joinpath("presets.toml").read_bytes()
    return msgspec.toml.decode(content, type=dict[str, Preset])


def loadable(name: str) -> Preset | None:
    """The preset of a name, if there is one; upper and lower case are the same.

    Raises:
        InputError: If it cannot be loaded, with its note.
    """
    preset = presets().get(name.lower())
    if preset is None:
        return None
    if preset.loads == "no" or preset.hub is None:
        why = "cannot be loaded with transformers" if preset.hub else "has no known hub name"
        raise InputError(f"{name} {why}", field="option model", remedy=preset.note)
    return preset
