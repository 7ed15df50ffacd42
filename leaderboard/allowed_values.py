"""What may be written instead of a value or field that was refused."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import inspect

from ffr_eval.errors import InputError

_PLACE: Final = re.compile(r"\[.*")


def with_allowed(error: InputError, record_type: type[msgspec.Struct]) -> InputError:
    """The same error, whose remedy lists the known fields or the allowed values of its field."""
    problem = error.problem
    remedy = problem.remedy
    if problem.message.startswith("Object contains unknown field"):
        remedy = f"the fields are {', '.join(record_type.__struct_fields__)}"
    elif problem.message.startswith("Invalid enum value"):
        allowed = _values(record_type, _PLACE.sub("", problem.field or ""))
        if allowed:
            remedy = f"write one of {', '.join(map(str, allowed))}"
    return InputError(
        problem.message, file=problem.file, line=problem.line, field=problem.field, remedy=remedy
    )


def _values(record_type: type[msgspec.Struct], name: str) -> tuple[str | int | bool | None, ...]:
    """The values of a field that is one of some literals, or nothing."""
    found = inspect.type_info(record_type)
    if not isinstance(found, inspect.StructType):
        return ()
    of_field = next((field.type for field in found.fields if field.name == name), None)
    types = of_field.types if isinstance(of_field, inspect.UnionType) else (of_field,)
    literals = [each for each in types if isinstance(each, inspect.LiteralType)]
    return tuple(value for each in literals for value in each.values)
