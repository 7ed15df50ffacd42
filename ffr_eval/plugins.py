"""All entry-point groups in one place.

The built-in commands, importers and models are registered in ``pyproject.toml`` exactly as a
third party registers its own.
"""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMANDS: Final = "ffr.commands"
"""A subcommand of ``ffr``: a :class:`click.Command`."""
IMPORTERS: Final = "ffr.importers"
"""A data format: an :class:`ffr_eval.importers.Importer`."""
MODELS: Final = "ffr.models"
"""A model: a subclass of :class:`baselines.model.Model`."""


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted; nothing is imported."""
    return {point.name: point for point in sorted(entry_points(group=group))}


def load(group: str, name: str) -> Any:
    """Import and return the plugin ``name`` of ``group``.

    Raises:
        InputError: If there is none of that name; the message suggests the nearest.
    """
    points = registered(group)
    if name not in points:
        what = group.removeprefix("ffr.").removesuffix("s")
        raise InputError(f"unknown {what} {name!r}", remedy=nearest(name, points))
    return points[name].load()


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy sentence that names the nearest known names."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    listing = ", ".join(names) or "none"
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {listing}"
