"""Many completions read at once, strictly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from ffr_eval.answer import MAX_DIGITS, Answer, parse_answer
from ffr_eval.markup import IMG_IDS, UTT_IDS
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

_USUAL: Final = re.compile(
    rf"{re.escape(UTT_IDS[0])}(\[[0-9, ]*\]){re.escape(UTT_IDS[1])}"
    rf";{re.escape(IMG_IDS[0])}(\[[0-9, ]*\]){re.escape(IMG_IDS[1])}"
)
_Id = Annotated[int, msgspec.Meta(lt=10**MAX_DIGITS)]
_PAIRS: Final = msgspec.json.Decoder(list[tuple[tuple[_Id, ...], tuple[_Id, ...]]])
_OK: Final = Outcome.OK
_EMPTY: Final = Outcome.EMPTY


def parse_strictly(texts: Sequence[str]) -> list[Answer]:
    """What ``parse_answer(text, "strict")`` makes of each; the usual ones are decoded together."""
    matches = [_USUAL.fullmatch(text) for text in texts]
    lists = ",".join([f"[{match[1]},{match[2]}]" for match in matches if match is not None])
    try:
        usual = iter(_PAIRS.decode(f"[{lists}]"))
    except msgspec.DecodeError:  # a list such as [1 2] or [01], a number of too many digits
        return [parse_answer(text, "strict") for text in texts]
    return [
        parse_answer(text, "strict") if match is None else _answer(*next(usual))
        for text, match in zip(texts, matches, strict=True)
    ]


def _answer(utterances: tuple[int, ...], images: tuple[int, ...]) -> Answer:
    return Answer(utterances, images, _OK if utterances or images else _EMPTY)
