"""YAML as plain values that know their lines.

The file is read by PyYAML's ``SafeLoader`` with the scalars of YAML 1.2: ``1e-5`` is a number,
``no`` and ``off`` are text, and only ``true`` and ``false`` are truth values. By YAML 1.1, PyYAML's
own, a learning rate of ``1e-5`` would be text and ``save_strategy: no`` would be false.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = (  # the first that matches counts
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
)
_TAGS: Final = ("null", "bool", "int", "float", "str", "seq", "map")
_NUMBERS: Final = (f"{_TAG}int", f"{_TAG}float")
_MAX_DEPTH: Final = 50
_MAX_VALUES: Final = 100_000

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        line: In the file, counted from 1; ``None`` for an override.
        override: The override as it was given.
        text: A number as it is written, such as ``1.10``.
    """

    line: int | None
    override: str | None = None
    text: str | None = None


@dataclass(slots=True)
class Tree:
    """A document: its values, and the origin of each by the keys that lead to it."""

    values: dict[str, Any]
    origins: dict[Place, Origin]


def read_tree(path: Path) -> Tree:
    """Read a file that is one mapping.

    Raises:
        InputError: If it cannot be read, or is not YAML of that form; a key may be given once.
    """
    remedy = "give a configuration as `ffr train init` writes it"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"not UTF-8 (byte {error.start})"
        raise InputError(message, file=path, remedy="save the file as UTF-8") from None
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise InputError(message, file=path, remedy=remedy) from None
    reader = _Reader(path)
    value = reader.read(text)
    if not isinstance(value, dict):
        message = "is empty" if value is None else "is no mapping of sections"
        raise InputError(message, file=path, remedy=remedy)
    return Tree(value, reader.origins)


def apply_override(tree: Tree, override: str, file: Path) -> None:
    """Set one value: ``section.key=VALUE``, the value as in YAML.

    Raises:
        InputError: If it has no such form, or goes through something that is no section.
    """
    name, equals, text = override.partition("=")
    place = tuple(part.strip() for part in name.split("."))
    if not equals or not all(place):
        remedy = "write section.key=VALUE, for example sft.trainer.learning_rate=1e-5"
        raise InputError(f"the override {override!r} has no such form", remedy=remedy)
    reader = _Reader(file, override, place)
    value = reader.read(text)
    around = tree.values
    for depth, part in enumerate(place[1:], 1):
        section = place[depth - 1]
        if around.get(section) is None:
            around[section] = {}
            tree.origins[place[:depth]] = Origin(None, override)
        around = around[section]
        if not isinstance(around, dict):
            message = f"is a value, and no section that has {part!r} (override {override!r})"
            field = ".".join(place[:depth])
            remedy = f"give the whole value: {field}=VALUE"
            raise InputError(message, file=file, field=field, remedy=remedy)
    around[place[-1]] = value
    for known in [known for known in tree.origins if known[: len(place)] == place]:
        del tree.origins[known]
    tree.origins |= reader.origins


class _Reader:
    """Turns one YAML text into values and notes where they are."""

    def __init__(self, file: Path, override: str | None = None, start: Place = ()) -> None:
        self._file = file
        self._override = override
        self._start = start
        self._yaml = _yaml()
        self._n_values = 0
        self.origins: dict[Place, Origin] = {}

    def read(self, text: str) -> Any:
        loader: Any = None
        try:
            loader = _loader_class()(text)
            node = loader.get_single_node()
            if node is None:
                self.origins[self._start] = Origin(None if self._override else 1, self._override)
                return None
            return self._value(loader, node, self._start, depth=0)
        except self._yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = ", ".join(part for part in (error.context, error.problem) if part)
            message = f"is not valid YAML: {what}"
            remedy = "correct it; sections are indented with spaces"
            raise self._problem(message, mark, remedy) from None
        except RecursionError:
            raise self._problem("is nested too deeply", None, "write it flat") from None
        except self._yaml.YAMLError as error:  # a character that YAML does not allow
            message = f"is not valid YAML: {str(error).splitlines()[0]}"
            raise self._problem(message, None, "correct it") from None
        finally:
            if loader is not None:
                loader.dispose()

    def _value(self, loader: Any, node: Any, place: Place, depth: int) -> Any:
        """The value of a node; an alias is read again at each place that it stands."""
        if depth > _MAX_DEPTH:
            message = "is nested too deeply, or within itself"
            raise self._problem(message, node.start_mark, "write it out", place)
        scalar = isinstance(node, self._yaml.ScalarNode)
        text = node.value if scalar and node.tag in _NUMBERS else None
        line = None if self._override else node.start_mark.line + 1
        self.origins[place] = Origin(line, self._override, text)
        self._n_values += 1
        if self._n_values > _MAX_VALUES:
            remedy = "write it without aliases"
            raise self._problem("has too many values", node.start_mark, remedy)
        if node.tag not in {f"{_TAG}{name}" for name in _TAGS}:
            message = f"has the tag {node.tag.replace(_TAG, '!!')}"
            raise self._problem(message, node.start_mark, "leave the tag out", place)
        if scalar:
            try:
                value = loader.construct_object(node)
            except ValueError as error:  # thousands of digits, or a tag on another text
                remedy = "correct the value"
                raise self._problem(str(error), node.start_mark, remedy, place) from None
            if isinstance(value, float) and not math.isfinite(value):
                message = f"{node.value} is too large"
                raise self._problem(message, node.start_mark, "give a finite number", place)
            return value
        if isinstance(node, self._yaml.SequenceNode):
            return [
                self._value(loader, item, (*place, str(i)), depth + 1)
                for i, item in enumerate(node.value)
            ]
        return self._mapping(loader, node, place, depth)

    def _mapping(self, loader: Any, node: Any, place: Place, depth: int) -> dict[str, Any]:
        lines: dict[str, int] = {}
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, self._yaml.ScalarNode):
                raise self._problem("a key is no text", mark, "write key: value", place)
            key = str(key_node.value)
            at = (*place, key)
            if key in lines:
                message = f"is given twice, first in line {lines[key]}"
                raise self._problem(message, mark, "leave one of them", at)
            lines[key] = mark.line + 1
            values[key] = self._value(loader, value_node, at, depth + 1)
            if self._override is None:  # the key's own line, wherever its value begins
                self.origins[at] = replace(self.origins[at], line=lines[key])
        return values

    def _problem(self, message: str, mark: Any, remedy: str, place: Place = ()) -> InputError:
        field = ".".join(place or self._start) or None
        if self._override is not None:
            message = f"{message} (override {self._override!r})"
            return InputError(message, file=self._file, field=field, remedy=remedy)
        line = None if mark is None else mark.line + 1
        return InputError(message, file=self._file, line=line, field=field, remedy=remedy)


def _yaml() -> Any:
    if find_spec("yaml") is None:
        raise MissingExtraError("a training configuration", "train")
    return import_module("yaml")


@lru_cache(maxsize=1)
def _loader_class() -> Any:
    class Loader(_yaml().SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own form

    for name, pattern, first in _SCALARS:
        firsts = ["" if letter == "\0" else letter for letter in first]
        Loader.add_implicit_resolver(f"{_TAG}{name}", re.compile(f"^(?:{pattern})$"), firsts)
    return Loader
