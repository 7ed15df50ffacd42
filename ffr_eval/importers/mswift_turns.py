"""The turns in the user message of an ms-swift record.

A message is read in one of two ways. Where it is plain (each utterance marker is well formed and
followed by a speaker and a colon, and the query is not among the turns), one regular expression
takes all turns at once; any other message is read marker by marker. Both give the same turns.
"""

from __future__ import annotations

import re
from typing import Final

from ffr_eval import markup
from ffr_eval.benchmark import TurnRecord


def between(markers: tuple[str, str], content: str) -> str:
    """The pattern of something between a pair of markers."""
    start, end = map(re.escape, markers)
    return f"{start}{content}{end}"


_ID: Final = r"\s*(\d{1,10})\s*"
_UTTERANCE: Final = re.compile(between(markup.UTT_ID, _ID), re.ASCII)
_IMAGE: Final = re.compile(
    between(markup.IMG_ID, _ID) + f"(?:{markup.IMAGE_PLACEHOLDER})?", re.ASCII
)
_TURN_END: Final = re.compile("|".join(map(re.escape, markup.QUERY)))
_SPEAKER: Final = re.compile(r"\s*(?P<speaker>[^:：\n]*?)[ \t]*[:：](?P<text>.*)", re.DOTALL)
# Possessive quantifiers and no alternation: time is linear in the message.
_PLAIN: Final = re.compile(
    between(markup.UTT_ID, r"[ \n]*+([0-9]{1,10}+)[ \n]*+")
    + r"[ \n]*+([^:：\n<]*+)[:：]"
    + rf"([^<]*+(?:<(?!{re.escape(markup.UTT_ID[0][1:])})[^<]*+)*+)"
)


def read_turns(content: str) -> tuple[TurnRecord, ...]:
    """The turns of a message in their order; none if it has no utterance markers."""
    turns = plain_turns(content)
    return turns_by_marker(content) if turns is None else turns


def turns_by_marker(content: str) -> tuple[TurnRecord, ...]:
    """The turns of any message, read marker by marker."""
    starts = list(_UTTERANCE.finditer(content))
    ends = [match.start() for match in starts[1:]] + [len(content)] * bool(starts)
    return tuple(
        read_turn(int(match.group(1)), content[match.end() : end])
        for match, end in zip(starts, ends, strict=True)
    )


def read_turn(utt_id: int, body: str) -> TurnRecord:
    """A turn of what stands between its marker and the next utterance marker."""
    if end := _TURN_END.search(body):
        body = body[: end.start()]
    named = _SPEAKER.match(body)
    speaker, text = named.group("speaker", "text") if named else ("", body)
    if markup.IMG_ID[0] in speaker:  # the colon belongs to the text
        speaker, text = "", body
    if markup.IMG_ID[0] not in text:
        return TurnRecord(utt_id, speaker.strip(), text.strip())
    img_ids = tuple(map(int, _IMAGE.findall(text)))
    return TurnRecord(utt_id, speaker.strip(), _IMAGE.sub("", text).strip(), img_ids)


def plain_turns(content: str) -> tuple[TurnRecord, ...] | None:
    """The turns of a plain message, ``None`` if it is not plain."""
    start = content.find(markup.UTT_ID[0])
    ends = [place for marker in markup.QUERY if (place := content.find(marker, start)) >= 0]
    end = min(ends, default=len(content))
    if start < 0 or content.find(markup.UTT_ID[0], end) >= 0:
        return None
    plain = content[start:end]
    found = _PLAIN.findall(plain)
    if len(found) != plain.count(markup.UTT_ID[0]):
        return None
    return tuple(
        [
            TurnRecord(int(number), speaker.strip(), text.strip())
            if markup.IMG_ID[0] not in text
            else TurnRecord(
                int(number),
                speaker.strip(),
                _IMAGE.sub("", text).strip(),
                tuple(map(int, _IMAGE.findall(text))),
            )
            for number, speaker, text in found
        ]
    )
