"""An answer's text to ids and a typed outcome. Never raises, on any string, in linear time.

Three readings:

* ``strict``: the whole text is the answer markup, with nothing but white space around it.
* ``lenient``: the markup, or an unambiguous JSON or list form, anywhere in the text: in prose,
  code fences, after ``<think>`` blocks, with full-width punctuation.
* ``official``: what the original release reads (metrics.md, ``official``), oddities included.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from ffr_eval.markup import IMG_IDS, UTT_IDS
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

ParseMode: TypeAlias = Literal["strict", "lenient", "official"]

MAX_DIGITS: Final = 18
"""Ids of more digits are no ids (they would not fit an integer column)."""


class Answer(
    msgspec.Struct, frozen=True, gc=False
):  # made by the million: cheaper than a dataclass
    """What a text says.

    Attributes:
        utt_ids: Utterance ids in the order given, repetitions kept.
        img_ids: Image ids, likewise.
        outcome: ``ok``, ``empty`` (both lists given and empty) or ``parse_error``.
        problem: What was odd about it, if anything.
    """

    utt_ids: tuple[int, ...]
    img_ids: tuple[int, ...]
    outcome: Outcome
    problem: str | None = None


def parse_answer(text: str, mode: ParseMode = "lenient") -> Answer:
    """Read an answer.

    Raises:
        ValueError: Only for an unknown ``mode``; never for a text.
    """
    if mode == "strict":
        return _parse_strict(text)
    if mode == "lenient":
        return _parse_lenient(text)
    if mode == "official":
        return _parse_official(text)
    raise ValueError(f"unknown parse mode {mode!r}: strict, lenient or official")


_OK: Final = Outcome.OK
_EMPTY: Final = Outcome.EMPTY


def _answer(utt_ids: list[int], img_ids: list[int], problem: str | None = None) -> Answer:
    outcome = _OK if utt_ids or img_ids else _EMPTY
    return Answer(tuple(utt_ids), tuple(img_ids), outcome, problem)


def _failure(problem: str) -> Answer:
    return Answer((), (), Outcome.PARSE_ERROR, problem)


# --- strict --------------------------------------------------------------------------------------

_DIGITS: Final = rf"[0-9]{{1,{MAX_DIGITS}}}"
_LIST: Final = rf"\[\s*(?:({_DIGITS}(?:\s*,\s*{_DIGITS})*)\s*)?\]"
_STRICT: Final = re.compile(
    rf"\s*{re.escape(UTT_IDS[0])}\s*{_LIST}\s*{re.escape(UTT_IDS[1])}"
    rf"\s*;\s*{re.escape(IMG_IDS[0])}\s*{_LIST}\s*{re.escape(IMG_IDS[1])}\s*"
)


def _parse_strict(text: str) -> Answer:
    match = _STRICT.fullmatch(text)
    if match is None:
        return _failure("the text is not exactly the answer markup")
    utterances, images = (
        [int(item) for item in group.split(",")] if group else [] for group in match.groups()
    )
    return _answer(utterances, images)


# --- lenient -------------------------------------------------------------------------------------

_FULL_WIDTH: Final = str.maketrans(
    "［］【】｛｝（）＜＞｜，、；：＂“”＿－０１２３４５６７８９",
    '[][]{}()<>|,,;:"""_-0123456789',
)
_THINKING: Final = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_MARKERS: Final = re.compile(r"<\|\s*(utt|img)_ids_(start|end)\s*\|>")
_ID: Final = re.compile(rf"""["']?(-?[0-9]{{1,{MAX_DIGITS}}})(?:\.0+)?["']?""")
_DIGIT: Final = re.compile("[0-9]")
_BRACKETS: Final = re.compile(r"\[[^\[\]]*\]")
_FLAT_OBJECT: Final = re.compile(r"\{[^{}]*\}")
_PUNCTUATION: Final = " \t\r\n;,.|/&*-"
_CUT_OFF: Final = "?"  # stands for a list that was begun and not ended
_NOTHING: Final = frozenset({"", "none", "null", "nil", "n/a", "empty", "无", "空", "没有"})
_UTTERANCE_WORD: Final = re.compile(
    r"utt|utterance|turn|sentence|text|句|话语|发言|消息|文本|对话", re.IGNORECASE
)
_IMAGE_WORD: Final = re.compile(r"img|image|picture|photo|figure|图|照片", re.IGNORECASE)


def _parse_lenient(text: str) -> Answer:
    visible = _without_thinking(text.translate(_FULL_WIDTH))
    for read in (_read_markup, _read_objects, _read_lists):
        answer = read(visible)
        if answer is not None:
            return answer
    return _failure("no answer found in the text")


def _without_thinking(text: str) -> str:
    """The text outside ``<think>`` blocks; an unclosed block hides all that follows it."""
    kept: list[str] = []
    hidden, position = False, 0
    for match in _THINKING.finditer(text):
        closes = bool(match.group(1))
        if not hidden and closes:  # the opening tag stood in the prompt
            kept.clear()
        elif not hidden:
            kept.append(text[position : match.start()])
        hidden = not closes
        position = match.end()
    if not hidden:
        kept.append(text[position:])
    return "".join(kept)


def _read_markup(text: str) -> Answer | None:
    """The last answer between our markers.

    A modality that comes a second time begins another answer, so that a draft and what follows it
    are never mixed.
    """
    answers = _marked_answers(text)
    if not answers:
        return None
    last = answers[-1]
    lists: dict[str, list[int]] = {"utt": [], "img": []}
    for name, content in last.items():
        ids = _ids_of(content)
        if ids is None:
            return _failure(f"the {name}_ids list cannot be read")
        lists[name] = ids
    missing = [f"{name}_ids" for name in lists if name not in last]
    return _answer(lists["utt"], lists["img"], f"no {missing[0]} list" if missing else None)


def _marked_answers(text: str) -> list[dict[str, str]]:
    """What stands between markers, by modality, answer by answer.

    Words in the place of ids (``[x]``, as when the form is explained) begin no answer.
    """
    answers: list[dict[str, str]] = []
    for name, content in _marked_contents(text):
        if not answers or name in answers[-1]:
            if answers and _are_words(content):
                continue
            answers.append({})
        answers[-1][name] = content
    return answers


def _are_words(content: str) -> bool:
    return content != _CUT_OFF and not _DIGIT.search(content) and _ids_of(content) is None


def _marked_contents(text: str) -> list[tuple[str, str]]:
    """Modality and content of each pair of markers, in the order of the text."""
    contents: list[tuple[str, str]] = []
    opened: tuple[str, int] | None = None
    for match in _MARKERS.finditer(text):
        name, edge = match.groups()
        if opened is not None and edge == "end" and opened[0] == name:
            contents.append((name, text[opened[1] : match.start()]))
        elif opened is not None:
            contents.append((opened[0], _closed_list(text[opened[1] : match.start()])))
        opened = (name, match.end()) if edge == "start" else None
    if opened is not None:
        contents.append((opened[0], _closed_list(text[opened[1] :])))
    return contents


def _closed_list(text: str) -> str:
    """The list that a text without end marker begins with; unreadable if it was cut off."""
    match = _BRACKETS.match(text.lstrip())
    return match.group() if match else _CUT_OFF


def _read_objects(text: str) -> Answer | None:
    """JSON objects with a list for one or both modalities; two that differ are ambiguous."""
    answers = set()
    for match in _FLAT_OBJECT.finditer(text):
        fields = _id_fields(match.group())
        if not fields:
            continue
        lists = {name: _ids_of(json.dumps(value, ensure_ascii=False)) for name, value in fields}
        utterances, images = lists.get("utt", []), lists.get("img", [])
        if utterances is None or images is None or len(lists) < len(fields):
            return _failure("a JSON answer whose lists cannot be read")
        answers.add((tuple(utterances), tuple(images)))
    if len(answers) > 1:
        return _failure("several JSON answers that differ")
    if not answers:
        return None
    utt_ids, img_ids = answers.pop()
    return _answer(list(utt_ids), list(img_ids))


def _id_fields(text: str) -> list[tuple[str, Any]]:
    """The fields of a JSON object whose names name a modality, each with that modality."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return []
    named = [
        ("img" if _IMAGE_WORD.search(key) else "utt" if _UTTERANCE_WORD.search(key) else "", value)
        for key, value in fields.items()
    ]
    return [
        (name, value)
        for (name, value), key in zip(named, fields, strict=True)
        if name and _may_be_ids(key, value)
    ]


def _may_be_ids(key: str, value: Any) -> bool:
    """Whether a field may hold ids: not if it is prose, such as an "image_description"."""
    if not isinstance(value, str) or "id" in key.lower() or value.lower() in _NOTHING:
        return True
    return not any(char.isalpha() for char in value)


def _read_lists(text: str) -> Answer | None:
    """Bare lists: told apart by the words before them, or two side by side without any."""
    labelled: dict[str, list[list[int] | None]] = {"utt": [], "img": [], "": []}
    position = 0
    gap = ""
    for match in _BRACKETS.finditer(text):
        ids = _ids_of(match.group())
        before = text[max(position, match.start() - 80) : match.start()]
        label = _label(before)
        if ids is not None or label:
            labelled[label].append(ids)
            gap = before
        position = match.end()
    utterances, images, bare = labelled["utt"], labelled["img"], labelled[""]
    if not (utterances or images):
        together = len(bare) == 2 and not gap.strip(_PUNCTUATION)
        return _answer(bare[0] or [], bare[1] or []) if together else None
    if bare or any(ids != group[0] for group in (utterances, images) for ids in group):
        return _failure("several lists, and no telling which is the answer")
    return _labelled_answer(text, utterances, images)


def _labelled_answer(
    text: str, utterances: list[list[int] | None], images: list[list[int] | None]
) -> Answer:
    """The answer of lists that all agree; a modality that is named must have a list."""
    named = _UTTERANCE_WORD.search(text), _IMAGE_WORD.search(text)
    found = utterances[:1] or [None if named[0] else []], images[:1] or [None if named[1] else []]
    (utt_ids,), (img_ids,) = found
    if utt_ids is None or img_ids is None:
        return _failure("a list is named but cannot be read")
    if not (utterances and images) and not (utt_ids or img_ids):
        return _failure("a single empty list")
    return _answer(utt_ids, img_ids)


def _label(before: str) -> str:
    """Which modality the words before a list name last."""
    last = {"": -1}
    for name, pattern in (("utt", _UTTERANCE_WORD), ("img", _IMAGE_WORD)):
        for match in pattern.finditer(before):
            last[name] = match.start()
    return max(last, key=lambda name: last[name])


def _ids_of(content: str) -> list[int] | None:
    """The ids of a written list, ``None`` if it holds anything else."""
    inner = content.strip()
    if inner[:1] in {"[", "("}:
        inner = inner[1:]
    if inner[-1:] in {"]", ")"}:
        inner = inner[:-1]
    inner = inner.strip().strip('"').strip()
    if inner.lower() in _NOTHING:
        return []
    ids = []
    for item in inner.replace(",", " ").split():
        match = _ID.fullmatch(item)
        if match is None:
            return None
        ids.append(int(match.group(1)))
    return ids


# --- official ------------------------------------------------------------------------------------

_INT_LIST: Final = msgspec.json.Decoder(list[int])
_LIST_PAIRS: Final = msgspec.json.Decoder(list[tuple[tuple[int, ...], tuple[int, ...]]])
_LONG_NUMBER: Final = re.compile(r"[0-9]{18}")
_LARGE: Final = 2**62
_USUAL: Final = re.compile(
    rf"{re.escape(UTT_IDS[0])}(\[[0-9, ]*\]){re.escape(UTT_IDS[1])}"
    rf";?{re.escape(IMG_IDS[0])}(\[[0-9, ]*\]){re.escape(IMG_IDS[1])}"
)


def _parse_official(text: str) -> Answer:
    utterances, utterance_problem = _official_ids(text, UTT_IDS)
    images, image_problem = _official_ids(text, IMG_IDS)
    problems = (("utt_ids", utterance_problem), ("img_ids", image_problem))
    problem = "; ".join(f"{name}: {what}" for name, what in problems if what)
    if utterance_problem and image_problem:
        return _failure(problem)
    return _answer(utterances, images, problem or None)


def parse_official_answers(texts: Sequence[str]) -> list[Answer]:
    """:func:`parse_answer` in mode ``official`` on many texts, the usual ones decoded together."""
    matches = [_USUAL.match(text) for text in texts]
    lists = ",".join([f"[{match[1]},{match[2]}]" for match in matches if match is not None])
    try:
        usual = iter(_LIST_PAIRS.decode("" if _LONG_NUMBER.search(lists) else f"[{lists}]"))
    except msgspec.DecodeError:
        return [_parse_official(text) for text in texts]
    return [
        _parse_official(text) if match is None else _usual_answer(*next(usual))
        for text, match in zip(texts, matches, strict=True)
    ]


def _usual_answer(utterances: tuple[int, ...], images: tuple[int, ...]) -> Answer:
    return Answer(utterances, images, _OK if utterances or images else _EMPTY)


def _official_ids(text: str, markers: tuple[str, str]) -> tuple[list[int], str | None]:
    """The ids that the original reads between a pair of markers, and what went wrong."""
    content = _first_on_one_line(text, markers)
    if content is None:
        return [], "no marker"
    content = content.strip()
    try:
        ids = _INT_LIST.decode(content)
    except (msgspec.DecodeError, UnicodeError):
        return _odd_official_ids(content)
    return [_stand_in(number) for number in ids], None


def _first_on_one_line(text: str, markers: tuple[str, str]) -> str | None:
    """The text between the first pair of markers that stands on one line."""
    start, end = markers
    position = text.find(start)
    while position >= 0:
        begin = position + len(start)
        line_end = text.find("\n", begin)
        close = text.find(end, begin, line_end if line_end >= 0 else len(text))
        if close >= 0:
            return text[begin:close]
        position = text.find(start, line_end) if line_end >= 0 else -1
    return None


def _odd_official_ids(content: str) -> tuple[list[int], str | None]:
    """Valid JSON that is not a list of integers, iterated as the original does."""
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return [], "not JSON"
    if not isinstance(value, list | dict | str):
        return [], "not a list"
    items = list(value)
    if any(isinstance(item, list | dict) for item in items):
        return [], "a list of lists"
    return [_stand_in(item) for item in items], None


def _stand_in(item: Any) -> int:
    """An item as an id: itself if it equals an integer, else a negative number of its own.

    Equal items get equal numbers, so that sets of them behave as the original's sets do.
    """
    number = _as_integer(item)
    if number is not None and -_LARGE < number < _LARGE:
        return number
    written = repr(item if number is None else number).encode("utf-8", "backslashreplace")
    return -_LARGE - int.from_bytes(blake2b(written, digest_size=7).digest())


def _as_integer(item: Any) -> int | None:
    if isinstance(item, int):
        return int(item)
    if isinstance(item, float) and item.is_integer():
        return int(item)
    return None
