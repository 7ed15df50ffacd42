"""Ids of runs and boards that fit into addresses and file names, and stay what they are."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

LONGEST: Final = 80
ID: Final = re.compile(r"[A-Za-z0-9._()+-]{1,80}")
_NOT_ALLOWED: Final = re.compile(r"[^A-Za-z0-9._()+-]+")
_DIGITS: Final = 8


def run_id_of(label: str, taken: Collection[str]) -> str:
    """An id for a run, like its label, unlike all that are taken (also if case is ignored)."""
    base = _slug(label, LONGEST - 4)
    if not label.isascii():  # what was left out must not make two labels one
        base = f"{base[: LONGEST - 12]}-{_short_hash(label)}"
    return _free(base, taken)


def board_id_of(
    benchmark: str, content_hash: str, split: str | None, taken: Collection[str]
) -> str:
    """An id for a board, such as ``qmsum-evidence-test-1a2b3c4d``."""
    digits = content_hash.removeprefix("sha256:")[:_DIGITS]
    name = f"{_slug(benchmark, 36)}-{_slug(split or 'all', 24)}-{_slug(digits, _DIGITS)}"
    return _free(name, taken)


def is_id(text: str) -> bool:
    """Whether a text is an id of ours: nothing else becomes part of a path."""
    return ID.fullmatch(text) is not None and not text.startswith(".")


def _slug(text: str, longest: int) -> str:
    found = _NOT_ALLOWED.sub("-", text)
    return found.lstrip(".-").rstrip("-")[:longest].rstrip(".-") or "run"


def _free(base: str, taken: Collection[str]) -> str:
    known = {name.casefold() for name in taken}
    name, number = base, 1
    while name.casefold() in known:
        number += 1
        name = f"{base}-{number}"
    return name


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:6]
