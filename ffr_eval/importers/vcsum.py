"""VCSum, meetings in Chinese: a meeting is its segments in order, a headline is a query.

The ``short_*.txt`` files have a line for each segment of a meeting. The segment's headline
(``agenda``) is the query and its turns are the gold. Segment numbers have gaps; those in
``short_dev.txt`` come from segments that were joined to the next, so that no turn is missing.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ffr_eval.benchmark import DialogueRecord, InfoRecord, QueryRecord, TurnRecord
from ffr_eval.errors import InputError
from ffr_eval.importers import Importer
from ffr_eval.importers.record_files import Place
from ffr_eval.jsonl import read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ffr_eval.benchmark import BenchmarkWriter

_ID: Final = re.compile(r"(.*\S)_([0-9]{1,9})", re.DOTALL)


class _Name(msgspec.Struct, frozen=True):
    """A line without its text, for the pass that counts segments."""

    id: str


class _Line(msgspec.Struct, frozen=True):
    id: str
    context: tuple[tuple[str, ...], ...] | None = None
    speaker: tuple[int | str, ...] | None = None
    agenda: str | None = None
    discussion: str | None = None
    av_num: int | str | None = None


class _Segment(NamedTuple):
    number: int
    id: str
    turns: list[tuple[str, str]]
    headline: str
    summary: str | None
    av_num: int | str | None


def _convert(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the meetings of the files, each as soon as all its segments were read."""
    missing = _count_segments(sources)
    meetings: dict[str, list[_Segment]] = {}
    single = 0
    for source in sources:
        for located in read_records(source, _Line):
            meeting, _ = _meeting_of(located.record.id)
            segments = meetings.setdefault(meeting, [])
            segments.append(_segment(Place(source, located.line), located.record))
            missing[meeting] -= 1
            if not missing[meeting]:
                single += len(segments) == 1
                _add_meeting(writer, meeting, meetings.pop(meeting))
    if not single:
        return []
    return [f"{single} meetings have a single segment: every turn is gold for its headline"]


def _count_segments(sources: Iterable[Path]) -> Counter[str]:
    """How many segments each meeting has; their ids are right after this.

    Raises:
        InputError: If an id is not one of a segment, or occurs twice, or there is none.
    """
    count: Counter[str] = Counter()
    places: dict[tuple[str, int], Place] = {}
    for place, name in _names(sources):
        meeting, number = _meeting_of(name)
        if number is None:
            message = f"{name!r} does not name a segment (MEETING_NUMBER)"
            remedy = (
                "give the short_*.txt files; long_*.txt and overall_*.txt have whole meetings"
                " without headlines"
            )
            raise place.error("id", message, remedy)
        first = places.setdefault((meeting, number), place)
        if first is not place:
            message = f"segment {name!r} occurs twice, first in {first}"
            raise place.error("id", message, "give each segment once")
        count[meeting] += 1
    if not count:
        file = next(iter(sources))
        raise InputError("there are no segments", file=file, remedy="give the short_*.txt files")
    return count


def _names(sources: Iterable[Path]) -> Iterator[tuple[Place, str]]:
    for source in sources:
        for located in read_records(source, _Name):
            yield Place(source, located.line), located.record.id


def _meeting_of(name: str) -> tuple[str, int | None]:
    """The meeting and the number in a segment's id, without number if it is another id."""
    match = _ID.fullmatch(name)
    return (match.group(1), int(match.group(2))) if match else (name, None)


def _segment(place: Place, line: _Line) -> _Segment:
    """The segment in a line.

    Raises:
        InputError: If something is missing or does not fit together.
    """
    for name, value in (
        ("context", line.context),
        ("speaker", line.speaker),
        ("agenda", line.agenda and line.agenda.strip()),
    ):
        if not value:
            message = "empty" if value is not None else f"missing required field `{name}`"
            raise place.error(name, f"segment {line.id!r}: {message}", _REMEDIES[name])
    context, speakers = line.context or (), line.speaker or ()
    if len(context) != len(speakers):
        message = f"segment {line.id!r}: {len(speakers)} speakers, but {len(context)} turns"
        raise place.error("speaker", message, "give one speaker for each turn of `context`")
    return _Segment(
        number=_meeting_of(line.id)[1] or 0,
        id=line.id,
        turns=[
            (_speaker(speaker), "".join(sentences).strip())
            for speaker, sentences in zip(speakers, context, strict=True)
        ],
        headline=(line.agenda or "").strip(),
        summary=line.discussion,
        av_num=line.av_num,
    )


def _speaker(speaker: int | str) -> str:
    """A name for a speaker; the release has numbers, which would look like utterance ids."""
    return f"发言人{speaker}" if isinstance(speaker, int) else speaker


def _add_meeting(writer: BenchmarkWriter, meeting: str, segments: list[_Segment]) -> None:
    segments.sort(key=lambda segment: segment.number)
    turns = [turn for segment in segments for turn in segment.turns]
    av_nums = list(dict.fromkeys(s.av_num for s in segments if s.av_num is not None))
    writer.add_dialogue(
        DialogueRecord(
            meeting,
            tuple(TurnRecord(i, speaker, text) for i, (speaker, text) in enumerate(turns)),
            language="zh",
            meta={"av_num": av_nums[0] if len(av_nums) == 1 else av_nums} if av_nums else None,
        )
    )
    start = 0
    for position, segment in enumerate(segments):
        meta: dict[str, Any] = {"segment": segment.id}
        if segment.summary:
            meta["summary"] = segment.summary
        end = start + len(segment.turns)
        writer.add_query(
            QueryRecord(
                sample_id=f"{meeting}#{position}",
                dialogue_id=meeting,
                query=segment.headline,
                gold_utt_ids=tuple(range(start, end)),
                gold_img_ids=(),
                meta=meta,
            )
        )
        start = end


_REMEDIES: Final = {
    "context": "add the turns of the segment, each a list of sentences; short_*.txt files have it",
    "speaker": "give one speaker for each turn of `context`",
    "agenda": "write the headline of the segment, which is the query, or remove the segment",
}

importer: Final = Importer(
    sources=("SHORT_FILE…",),
    summary="VCSum meetings in Chinese (short_*.txt); query: a headline, gold: its segment's turns",
    info=InfoRecord(
        name="vcsum",
        language="zh",
        licence="MIT",
        citation=(
            "Wu et al., VCSUM: A Versatile Chinese Meeting Summarization Dataset, Findings of ACL"
            " 2023 (github.com/hahahawu/VCSum)"
        ),
        description="Meetings of VCSum; a segment's headline is a query, its turns are the gold.",
    ),
    convert=_convert,
)
