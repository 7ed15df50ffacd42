"""The architectures and pretrained weights that open_clip knows, without importing it.

Importing open_clip imports torch, which takes seconds: too long to learn that everything is in the
store already. What it knows stands in its files: a configuration of each architecture, and a table
of weights in ``pretrained.py``, of which the syntax tree is read here. If that table is not
written as expected, open_clip is imported and asked.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.encoders.revision import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class HubFile:
    """Where the weights of a tag are on the hub.

    Attributes:
        repository: ``ORGANISATION/NAME``.
        names: Of the file, the preferred one first; one of them is there.
    """

    repository: str
    names: tuple[str, ...]


def installed() -> bool:
    """Whether open_clip is there."""
    return _package() is not None


@cache
def architectures() -> Mapping[str, Path]:
    """The configuration file of each architecture; none if open_clip is not installed."""
    package = _package()
    found = [] if package is None else sorted((package / "model_configs").glob("*.json"))
    return {path.stem: path for path in found}


def configuration(architecture: str) -> dict[str, Any]:
    """The configuration of an architecture."""
    found: dict[str, Any] = read_json(architectures()[architecture])
    return found


def tags(architecture: str) -> Mapping[str, HubFile]:
    """The pretrained tags of an architecture, and where their weights are."""
    return _tables().get(architecture, {})


def clean_tag(tag: str) -> str:
    """A tag as open_clip writes it; it takes capitals and hyphens for the same."""
    return tag.lower().replace("-", "_")


def _package() -> Path | None:
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


@cache
def _tables() -> Mapping[str, Mapping[str, HubFile]]:
    package = _package()
    if package is None:
        return {}
    try:
        tree = ast.parse((package / "pretrained.py").read_text(encoding="utf-8"))
        table = _Table(tree).of_architectures()
    except (OSError, SyntaxError, ValueError, LookupError):
        table = _asked()
    return {
        architecture: {tag: _hub_file(place) for tag, (place, _) in known.items()}
        for architecture, known in table.items()
    }


_Tags = dict[str, tuple[str, bool]]
"""Of each tag, where it is on the hub and whether it is meant for QuickGELU."""


class _Table:
    """The table of weights in a syntax tree; :class:`ValueError` for what is not expected."""

    def __init__(self, tree: ast.Module) -> None:
        self._values = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def of_architectures(self) -> dict[str, _Tags]:
        table = self._values["_PRETRAINED"]
        if not isinstance(table, ast.Dict):
            raise ValueError("_PRETRAINED is not written as a dictionary")
        found = {
            str(_constant(key)): self._tags(value)
            for key, value in zip(table.keys, table.values, strict=True)
        }
        quick = {
            f"{name}-quickgelu": {tag: entry for tag, entry in known.items() if entry[1]}
            for name, known in found.items()
        }
        return {**found, **{name: known for name, known in quick.items() if known}}

    def _tags(self, node: ast.expr) -> _Tags:
        if isinstance(node, ast.Name):
            node = self._values[node.id]
        if not isinstance(node, ast.Call) or node.args:
            raise ValueError("the tags of an architecture are not written as dict(…)")
        return {keyword.arg or "": _entry(keyword.value) for keyword in node.keywords}


def _entry(node: ast.expr) -> tuple[str, bool]:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("a tag is not written as a call with keywords")
    values = {
        keyword.arg: _constant(keyword.value)
        for keyword in node.keywords
        if keyword.arg in {"hf_hub", "quick_gelu"}
    }
    return str(values["hf_hub"]), bool(values.get("quick_gelu", False))


def _constant(node: ast.expr | None) -> object:
    if not isinstance(node, ast.Constant):
        raise ValueError("not a constant")
    return node.value


def _asked() -> dict[str, _Tags]:
    """The same table from open_clip itself."""
    from open_clip import pretrained

    found: dict[str, _Tags] = {}
    for architecture, tag in pretrained.list_pretrained():
        entry = pretrained.get_pretrained_cfg(architecture, tag)
        place = (entry.get("hf_hub", ""), entry.get("quick_gelu", False))
        found.setdefault(architecture, {})[tag] = place
    return found


def _hub_file(place: str) -> HubFile:
    """What ``ORGANISATION/NAME/`` or ``ORGANISATION/NAME/FILE`` stands for."""
    repository, _, name = place.rpartition("/")
    if not name:
        return HubFile(repository, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
    stem, dot, suffix = name.rpartition(".")
    if suffix in {"bin", "pth"}:
        return HubFile(repository, (f"{stem}.safetensors", f"{stem}{dot}{suffix}"))
    return HubFile(repository, (name,))
