"""All entry-point groups in one place.

The built-in commands, importers, metrics and models are registered in ``pyproject.toml`` exactly
as a third party registers its own.
"""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMANDS: Final = "ffr.commands"
"""A subcommand of ``ffr``: a :class:`click.Command`."""
ENCODERS: Final = "ffr.encoders"
"""Makes vectors of text and images: a subclass of :class:`baselines.encoders.encoder.Encoder`."""
EXPORTERS: Final = "ffr.exporters"
"""A format to write: an :class:`ffr_eval.exporters.Exporter`."""
IMPORTERS: Final = "ffr.importers"
"""A data format: an :class:`ffr_eval.importers.Importer`."""
METRICS: Final = "ffr.metrics"
"""A metric: an :class:`ffr_eval.metrics.metric.MetricFamily`."""
MODELS: Final = "ffr.models"
"""A model: a subclass of :class:`baselines.model.Model`."""
PROMPTS: Final = "ffr.prompts"
"""Renders the requests of a run again: a function as :func:`baselines.run_prompts.run_prompts`."""


OURS: Final = "ffr-eval"
"""The distribution that the built-in plugins come with."""


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted; nothing is imported.

    A built-in one cannot be replaced: what another package registers by its name is left out.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group)):
        if point.name not in found or package_of(point) == OURS:
            found[point.name] = point
    return found


def package_of(point: EntryPoint) -> str | None:
    """The distribution that registers an entry point, where that is known."""
    return None if point.dist is None else point.dist.name


def load(group: str, name: str, points: Mapping[str, EntryPoint] | None = None) -> Any:
    """Import and return the plugin ``name`` of ``group``.

    Args:
        group: One of the groups above.
        name: Of the plugin.
        points: The entry points of the group, if they are known.

    Raises:
        InputError: If there is none of that name; the message suggests the nearest.
        FfrError: If it is broken.
    """
    points = registered(group) if points is None else points
    what = group.removeprefix("ffr.").removesuffix("s")
    if name not in points:
        raise InputError(f"unknown {what} {name!r}", remedy=nearest(name, points))
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        if isinstance(error, FfrError):
            raise
        raise broken(group, name, f"cannot be loaded: {error}") from error


def broken(group: str, name: str, why: str) -> FfrError:
    """The error for a plugin that is not what it should be."""
    what = group.removeprefix("ffr.").removesuffix("s")
    message = f"the {what} {name!r} {why}"
    return FfrError(f"{message}\n  → repair or remove the package that registers it")


def close_match(name: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest, if one is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy sentence that names the nearest known names."""
    names = list(known)
    close = close_match(name, names)
    listing = ", ".join(names) or "none"
    return (f"did you mean {close!r}? " if close else "") + f"known: {listing}"
