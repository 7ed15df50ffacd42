"""Options of a model: from ``KEY=VALUE`` strings to the model's own type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Options from ``KEY=VALUE`` strings.

    Raises:
        InputError: If a string has no ``=``, or a key occurs twice.
    """
    parsed: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            remedy = "for example -o k1=1.2"
            raise InputError(f"an option is KEY=VALUE, not {pair!r}", remedy=remedy)
        if key in parsed:
            message, remedy = "given twice", "give each option once"
            raise InputError(message, field=f"option {key}", remedy=remedy)
        parsed[key] = value.strip()
    return parsed


def make_options(kind: type[msgspec.Struct], options: Mapping[str, Any]) -> msgspec.Struct:
    """Validate options; values may be strings.

    Raises:
        InputError: For an unknown option or a value of the wrong type, with its name.
    """
    known = kind.__struct_fields__
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            remedy = nearest(key, known) if known else "this model has no options"
            raise InputError("unknown option", field=f"option {key}", remedy=remedy)
        values[key] = _converted(kind, key, value)
    return kind(**values)


def _converted(kind: type[msgspec.Struct], key: str, value: Any) -> Any:
    try:
        converted = getattr(msgspec.convert({key: value}, kind, strict=False), key)
    except msgspec.ValidationError as error:
        expected = _expected(kind, key, error)
        raise InputError(f"{value!r} is not {expected}", field=f"option {key}") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise InputError(f"{value!r} is not a finite number", field=f"option {key}")
    return converted


def _expected(kind: type[msgspec.Struct], key: str, error: msgspec.ValidationError) -> str:
    """What the option takes, in words: its choices, or the type that msgspec names."""
    choices = _choices(get_type_hints(kind)[key])
    if choices:
        return f"one of {', '.join(choices)}"
    text = str(error).partition(" - at ")[0].removeprefix("Expected ").partition(", got ")[0]
    return text.replace("`", "").replace("float", "a number").replace("int", "a whole number")


def _choices(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    return [choice for part in get_args(hint) for choice in _choices(part)]
