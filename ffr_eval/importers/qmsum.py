"""QMSum meetings with the gold of its text spans, or of the evidence annotated on top of them.

``qmsum`` has coarse gold, every turn of the relevant spans; ``qmsum-evidence`` has fine gold, the
turns that hold an evidence sentence. Dialogues, queries and sample ids are the same in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ffr_eval.benchmark import DialogueRecord, InfoRecord, QueryRecord, TurnRecord
from ffr_eval.errors import InputError
from ffr_eval.importers import Importer
from ffr_eval.jsonl import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ffr_eval.benchmark import BenchmarkWriter

_QUERIES: Final = "specific_query_list"
_EVIDENCE_QUERIES: Final = f"qmsum.{_QUERIES}"


class _Turn(msgspec.Struct, frozen=True):
    content: str
    speaker: str = ""


class _SpanQuery(msgspec.Struct, frozen=True):
    query: str
    relevant_text_span: tuple[tuple[str | int, str | int], ...]


class _Meeting(msgspec.Struct, frozen=True):
    meeting_transcripts: tuple[_Turn, ...]
    specific_query_list: tuple[_SpanQuery, ...]


class _Sentence(msgspec.Struct, frozen=True):
    turn_index: int
    content: str = ""


class _EvidenceQuery(msgspec.Struct, frozen=True):
    query: str
    evidence: tuple[tuple[_Sentence, ...], ...]


class _EvidenceQueries(msgspec.Struct, frozen=True):
    specific_query_list: tuple[_EvidenceQuery, ...]


class _EvidenceFile(msgspec.Struct, frozen=True):
    qmsum: _EvidenceQueries | None


def _read_evidence(path: Path) -> _EvidenceFile:
    try:
        return read_json(path, _EvidenceFile)
    except InputError as error:
        found = error.problem
        if found.field != "qmsum":
            raise
        remedy = "give the meetings first, then the evidence: QMSUM_DIR EVIDENCE_DIR"
        raise InputError(found.message, file=path, field=found.field, remedy=remedy) from None


def _json_files(folder: Path) -> dict[str, Path]:
    """The JSON files of a folder by stem, sorted.

    Raises:
        InputError: If there are none.
    """
    files = sorted(path for path in _visible(folder, "*.json") if path.is_file())
    if files:
        return {path.stem: path for path in files}
    if not folder.is_dir():
        message = "not a folder" if folder.exists() else "no such folder"
        raise InputError(message, file=folder, remedy="give the folder with the *.json files")
    below = sorted({path.parent.relative_to(folder) for path in _visible(folder, "**/*.json")})
    remedy = "give the folder of one split, for example data/ALL/val"
    if below:
        remedy = f"give one of the folders below it: {', '.join(map(str, below[:5]))}"
    raise InputError("there are no *.json files in this folder", file=folder, remedy=remedy)


def _visible(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.glob(pattern) if not path.name.startswith(".")]


def _add_meeting(writer: BenchmarkWriter, dialogue_id: str, meeting: _Meeting, file: Path) -> None:
    if not meeting.meeting_transcripts:
        remedy = "remove the file or add its turns"
        raise InputError(
            "a meeting without turns", file=file, field="meeting_transcripts", remedy=remedy
        )
    turns = tuple(
        TurnRecord(utt_id=index, speaker=turn.speaker, text=turn.content)
        for index, turn in enumerate(meeting.meeting_transcripts)
    )
    writer.add_dialogue(DialogueRecord(dialogue_id, turns))


def _add_query(
    writer: BenchmarkWriter, dialogue_id: str, position: int, query: str, gold: set[int]
) -> None:
    writer.add_query(
        QueryRecord(
            sample_id=f"{dialogue_id}#{position}",
            dialogue_id=dialogue_id,
            query=query,
            gold_utt_ids=tuple(sorted(gold)),
            gold_img_ids=(),
        )
    )


def _queries(meeting: _Meeting, file: Path) -> list[str]:
    """The queries of a meeting in order.

    Raises:
        InputError: If one is empty.
    """
    for position, item in enumerate(meeting.specific_query_list):
        if not item.query.strip():
            field = f"{_QUERIES}[{position}].query"
            raise InputError("empty", file=file, field=field, remedy="write or remove the query")
    return [item.query for item in meeting.specific_query_list]


def _left_out(what: str, which: Sequence[str]) -> list[str]:
    """A note about what was left out, if anything was."""
    if not which:
        return []
    shown = ", ".join(which[:10]) + (", …" if len(which) > 10 else "")
    return [f"left out {len(which)} {what}: {shown}"]


def _span_turns(query: _SpanQuery, position: int, n_turns: int, file: Path) -> set[int]:
    """The turns inside the spans of a query.

    Raises:
        InputError: If a span is not a range of the meeting's turns.
    """
    turns: set[int] = set()
    for index, span in enumerate(query.relevant_text_span):
        try:
            first, last = (int(end) for end in span)
        except ValueError:
            first, last = 1, 0
        if not 0 <= first <= last < n_turns:
            raise InputError(
                f"{list(span)} is not a range of turns; the meeting has turns 0 to {n_turns - 1}",
                file=file,
                field=f"{_QUERIES}[{position}].relevant_text_span[{index}]",
                remedy="correct the span (first and last turn, both included)",
            )
        turns.update(range(first, last + 1))
    return turns


def _convert_spans(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the meetings of a folder with the gold of their text spans."""
    without_gold: list[str] = []
    for dialogue_id, file in _json_files(sources[0]).items():
        meeting = read_json(file, _Meeting)
        _add_meeting(writer, dialogue_id, meeting, file)
        n_turns = len(meeting.meeting_transcripts)
        for position, query in enumerate(_queries(meeting, file)):
            item = meeting.specific_query_list[position]
            if gold := _span_turns(item, position, n_turns, file):
                _add_query(writer, dialogue_id, position, query, gold)
            else:
                without_gold.append(f"{dialogue_id}#{position}")
    return _left_out("queries without a text span", without_gold)


def _convert_evidence(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the meetings of a folder with the gold of the evidence in another."""
    meetings, annotated = (_json_files(source) for source in sources)
    for stem, file in annotated.items():
        if stem not in meetings:
            message = f"there is no meeting {stem}.json in {sources[0]}"
            remedy = (
                "give the QMSum folder and the evidence folder of the same split, in this order"
            )
            raise InputError(message, file=file, remedy=remedy)
    without_file: list[str] = []
    without_gold: list[str] = []
    elsewhere: list[str] = []
    for dialogue_id, file in meetings.items():
        evidence = None
        if dialogue_id in annotated:
            evidence = _read_evidence(annotated[dialogue_id]).qmsum
        if evidence is None:
            without_file.append(dialogue_id)
            continue
        meeting = read_json(file, _Meeting)
        _add_meeting(writer, dialogue_id, meeting, file)
        queries = _queries(meeting, file)
        matches = _match(queries, evidence.specific_query_list, annotated[dialogue_id])
        for position, query in enumerate(queries):
            gold: set[int] = set()
            if (match := matches.get(position)) is not None:
                gold, strange = _evidence_turns(evidence, match, meeting, annotated[dialogue_id])
                elsewhere += strange
            if gold:
                _add_query(writer, dialogue_id, position, query, gold)
            else:
                without_gold.append(f"{dialogue_id}#{position}")
    notes = _left_out("meetings without evidence", without_file)
    notes += _left_out("queries without evidence", without_gold)
    if elsewhere:
        first = f"the first is in {elsewhere[0]}"
        notes.append(f"{len(elsewhere)} evidence sentences are not in the turn they name; {first}")
    return notes


def _match(
    queries: Sequence[str], annotated: Sequence[_EvidenceQuery], file: Path
) -> dict[int, int]:
    """For each query of the meeting that has it, the position of its evidence.

    Lists that agree are matched by position, other lists by text.

    Raises:
        InputError: If evidence belongs to no query, or the texts do not tell which.
    """
    texts = [" ".join(query.split()) for query in queries]
    their_texts = [" ".join(item.query.split()) for item in annotated]
    if texts == their_texts:
        return {position: position for position in range(len(texts))}
    matches: dict[int, int] = {}
    for theirs, text in enumerate(their_texts):
        if texts.count(text) != 1 or their_texts.count(text) != 1:
            message = f"the meeting has no query {text!r}"
            if text in texts:
                message = f"the query {text!r} is not unique, and the two lists differ"
            raise InputError(
                message,
                file=file,
                field=f"{_EVIDENCE_QUERIES}[{theirs}].query",
                remedy="make the query lists of meeting and evidence agree",
            )
        matches[texts.index(text)] = theirs
    return matches


def _evidence_turns(
    evidence: _EvidenceQueries, position: int, meeting: _Meeting, file: Path
) -> tuple[set[int], list[str]]:
    """The turns of a query's evidence, and where a sentence is not found in its turn.

    Raises:
        InputError: If the meeting has no such turn.
    """
    turns = meeting.meeting_transcripts
    gold: set[int] = set()
    elsewhere: list[str] = []
    for i, group in enumerate(evidence.specific_query_list[position].evidence):
        for j, sentence in enumerate(group):
            field = f"{_EVIDENCE_QUERIES}[{position}].evidence[{i}][{j}].turn_index"
            if not 0 <= sentence.turn_index < len(turns):
                raise InputError(
                    f"no turn {sentence.turn_index}; the meeting has turns 0 to {len(turns) - 1}",
                    file=file,
                    field=field,
                    remedy="check that meeting and evidence are of the same release",
                )
            gold.add(sentence.turn_index)
            if sentence.content.strip() not in turns[sentence.turn_index].content:
                elsewhere.append(f"{file}: {field}")
    return gold, elsewhere


_CITATION: Final = (
    "Zhong et al., QMSum: A New Benchmark for Query-based Multi-domain Meeting Summarization,"
    " NAACL 2021 (github.com/Yale-LILY/QMSum)"
)

importer: Final = Importer(
    sources=("QMSUM_DIR",),
    summary="QMSum meetings; gold: the turns of the relevant text spans",
    info=InfoRecord(
        name="qmsum",
        language="en",
        licence="MIT",
        citation=_CITATION,
        description="Specific queries of QMSum; gold: all turns inside their relevant text spans.",
    ),
    convert=_convert_spans,
)

evidence_importer: Final = Importer(
    sources=("QMSUM_DIR", "EVIDENCE_DIR"),
    summary="QMSum meetings; gold: the turns with annotated evidence sentences",
    info=InfoRecord(
        name="qmsum-evidence",
        language="en",
        licence="MIT",
        citation=f"{_CITATION}; evidence: github.com/etri/QMSum_SummaryEvidence",
        description="Specific queries of QMSum; gold: turns with central or peripheral evidence.",
    ),
    convert=_convert_evidence,
)
