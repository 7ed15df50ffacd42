"""Mem-Gallery: long chats in sessions, with images, and questions with the rounds that answer them.

A file is a dialogue. A round is two turns, of the user (with the round's images) and of the
assistant; one that says and shows nothing is not a turn. The gold of a question is both turns of
each of its ``clue`` rounds, and the images shown there. Left out, and said in notes, are questions
whose right answer is a refusal (``point`` AR: their lack of gold is no retrieval task), that
carry an image themselves (a query is a text here), or have no text, no clue, or a clue that names
no round.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ffr_eval.benchmark import DialogueRecord, ImageRecord, InfoRecord, QueryRecord, TurnRecord
from ffr_eval.errors import InputError
from ffr_eval.importers import Importer
from ffr_eval.importers.image_files import ImageFiles
from ffr_eval.jsonl import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ffr_eval.benchmark import BenchmarkWriter

_SESSIONS: Final = "multi_session_dialogues"
_QUESTIONS: Final = "human-annotated QAs"
_IMAGE_FOLDER: Final = "../image/"
_REFUSAL: Final = "AR"
_NAMED: Final = 10  # questions named in a note

_Texts = str | tuple[str | None, ...] | None


class _Round(msgspec.Struct, frozen=True):
    round: str
    user: str | None = None
    assistant: str | None = None
    image_id: _Texts = None
    input_image: _Texts = None
    image_caption: _Texts = None


class _Session(msgspec.Struct, frozen=True):
    dialogues: tuple[_Round, ...]
    session_id: str | int | None = None
    date: str | None = None


class _Question(msgspec.Struct, frozen=True):
    question: str
    point: str = ""
    answer: Any = None
    session_id: Any = None
    clue: _Texts = None
    question_image: Any = None

    @property
    def expects_refusal(self) -> bool:
        return self.point.strip().upper() == _REFUSAL


class _File(msgspec.Struct, frozen=True):
    sessions: tuple[_Session, ...] = msgspec.field(name=_SESSIONS)
    questions: tuple[_Question, ...] = msgspec.field(name=_QUESTIONS, default=())
    character_profile: dict[str, Any] | None = None


@dataclass(slots=True)
class _State:
    writer: BenchmarkWriter
    images: ImageFiles
    n_queries: int = 0
    refusals: int = 0
    with_image: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, sample_id: str) -> None:
        self.left_out.setdefault(reason, []).append(sample_id)


class _Fail(Protocol):
    """Makes an error about a field of the file."""

    def __call__(self, field: str, message: str, remedy: str) -> InputError: ...


@dataclass(slots=True)
class _Chat:
    """The turns and images of a file, as they are collected."""

    turns: list[TurnRecord] = field(default_factory=list)
    images: list[ImageRecord] = field(default_factory=list)
    source_ids: list[str] = field(default_factory=list)  # of the images
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)  # of the images
    rounds: dict[str, tuple[TurnRecord, ...]] = field(default_factory=dict)


def _convert(sources: Sequence[Path], writer: BenchmarkWriter) -> list[str]:
    """Write the chats of the files and of the folders' files."""
    state = _State(writer, ImageFiles(writer))
    for dialogue_id, file in _files(sources).items():
        _add_file(state, dialogue_id, file)
    if not state.n_queries:
        message = f"no question can be used (of those in `{_QUESTIONS}`)"
        remedy = "give files with questions that have clues and no image"
        raise InputError(message, file=sources[0], remedy=remedy)
    counts = {
        f"questions whose right answer is a refusal (point {_REFUSAL})": state.refusals,
        "questions that carry an image": state.with_image,
    }
    return [
        *(f"left out {count} {reason}" for reason, count in counts.items() if count),
        *(_left_out(reason, which) for reason, which in state.left_out.items()),
        *state.images.notes("the folder `image` beside that of the JSON file"),
    ]


def _files(sources: Sequence[Path]) -> dict[str, Path]:
    """The JSON files by dialogue id, which is the name without suffix.

    Raises:
        InputError: If a folder has none, or two have the same name.
    """
    files: dict[str, Path] = {}
    for source in sources:
        for file in _json_files(source) if source.is_dir() else [source]:
            dialogue_id = file.name.removesuffix(".gz").removesuffix(".json")
            first = files.setdefault(dialogue_id, file)
            if first is not file:
                message = f"a dialogue of this name was given before: {first}"
                raise InputError(message, file=file, remedy="give each file once")
    return files


def _json_files(folder: Path) -> list[Path]:
    visible = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    if not visible:
        below = {path.parent.relative_to(folder) for path in folder.glob("*/**/*.json")}
        remedy = "give the folder of the dialogues, benchmark/data/dialog"
        if below:
            names = ", ".join(sorted(map(str, below))[:5])
            remedy = f"give one of the folders below it: {names}"
        raise InputError("there are no *.json files in this folder", file=folder, remedy=remedy)
    return sorted(visible)


def _add_file(state: _State, dialogue_id: str, file: Path) -> None:
    """Write the dialogue of a file and its questions."""
    source = read_json(file, _File)

    def fail(field: str, message: str, remedy: str) -> InputError:
        return InputError(message, file=file, field=field, remedy=remedy)

    chat = _Chat()
    profile = source.character_profile or {}
    user = str(profile.get("name") or "user")
    for index, session in enumerate(source.sessions):
        for position, item in enumerate(session.dialogues):
            name = f"{_SESSIONS}[{index}].dialogues[{position}]"
            if item.round.strip() in chat.rounds:
                message = f"round {item.round!r} occurs twice"
                raise fail(f"{name}.round", message, "give each round its own name")
            img_ids = _add_images(state, chat, dialogue_id, file, item, name, fail)
            _add_round(chat, item, user, session.date, img_ids)
    if not chat.turns:
        raise fail(_SESSIONS, "a dialogue without turns", "remove the file or add its turns")
    meta: dict[str, Any] = {
        "sessions": [
            {
                "session_id": session.session_id,
                "date": session.date,
                "rounds": {
                    item.round: [turn.utt_id for turn in chat.rounds[item.round.strip()]]
                    for item in session.dialogues
                },
            }
            for session in source.sessions
        ],
        "image_ids": chat.source_ids,
    }
    if profile:
        meta["character_profile"] = profile
    turns, images = tuple(chat.turns), tuple(chat.images)
    state.writer.add_dialogue(DialogueRecord(dialogue_id, turns, images, "en", meta))
    for position, question in enumerate(source.questions):
        _add_question(state, dialogue_id, position, question, chat)


def _add_images(
    state: _State,
    chat: _Chat,
    dialogue_id: str,
    file: Path,
    item: _Round,
    name: str,
    fail: _Fail,
) -> tuple[int, ...]:
    """The numbers of a round's images; those not shown before are added.

    Raises:
        InputError: If the lists about the images do not have the same length.
    """
    ids, paths, captions = map(_listed, (item.image_id, item.input_image, item.image_caption))
    count = len(ids) or len(paths)
    for what, texts in (("input_image", paths), ("image_caption", captions)):
        if texts and len(texts) != count:
            message = f"{len(texts)} items, but {count} images"
            raise fail(f"{name}.{what}", message, "give one for each image, or none")
    shown: dict[int, None] = {}
    for i in range(count):
        path = (paths[i] if paths else "").strip()
        source_id = (ids[i] if ids else "").strip() or path
        if not source_id:
            raise fail(f"{name}.image_id[{i}]", "empty", "name the image or remove it")
        known = chat.numbers.get((source_id, path))
        if known is None:
            known = chat.numbers[source_id, path] = len(chat.images)
            relative, folder = path.removeprefix(_IMAGE_FOLDER), file.parent / _IMAGE_FOLDER
            caption = captions[i] if captions else None
            chat.images.append(
                state.images.record(
                    ImageRecord(known, caption=caption or None), relative, folder, dialogue_id
                )
            )
            chat.source_ids.append(source_id)
        shown[known] = None
    return tuple(shown)


def _listed(texts: _Texts) -> tuple[str, ...]:
    if not texts:
        return ()
    return (texts,) if isinstance(texts, str) else tuple(text or "" for text in texts)


def _add_round(
    chat: _Chat, item: _Round, user: str, date: str | None, img_ids: tuple[int, ...]
) -> None:
    start = len(chat.turns)
    for speaker, text, images in (
        (user, item.user or "", img_ids),
        ("assistant", item.assistant or "", ()),
    ):
        if text.strip() or images:
            chat.turns.append(TurnRecord(len(chat.turns), speaker, text, images, date or None))
    chat.rounds[item.round.strip()] = tuple(chat.turns[start:])


def _add_question(
    state: _State, dialogue_id: str, position: int, question: _Question, chat: _Chat
) -> None:
    """Write a question, or note why it is left out."""
    sample_id = f"{dialogue_id}#{position}"
    clues = [clue for text in _listed(question.clue) for clue in re.split(r"[\s,;]+", text) if clue]
    if question.expects_refusal:
        state.refusals += 1
    elif question.question_image:
        state.with_image += 1
    elif not question.question.strip():
        state.leave_out("questions without a text", sample_id)
    elif not clues:
        state.leave_out("questions without a clue", sample_id)
    elif not all(chat.rounds.get(clue) for clue in clues):
        state.leave_out("questions with a clue that names no round of the dialogue", sample_id)
    else:
        turns = [turn for clue in clues for turn in chat.rounds[clue]]
        meta = {
            "point": question.point,
            "answer": question.answer,
            "session_id": question.session_id,
        }
        state.n_queries += 1
        state.writer.add_query(
            QueryRecord(
                sample_id=sample_id,
                dialogue_id=dialogue_id,
                query=question.question,
                gold_utt_ids=tuple(sorted({turn.utt_id for turn in turns})),
                gold_img_ids=tuple(sorted({image for turn in turns for image in turn.images})),
                meta=meta,
            )
        )


def _left_out(reason: str, which: Sequence[str]) -> str:
    more = ", …" if len(which) > _NAMED else ""
    return f"left out {len(which)} {reason}: {', '.join(which[:_NAMED])}{more}"


importer: Final = Importer(
    sources=("DIALOG_DIR_OR_FILE…",),
    summary="Mem-Gallery chats (folder of *.json, or files); gold: both turns of the clue rounds",
    info=InfoRecord(
        name="mem-gallery",
        language="en",
        licence="MIT",
        citation=(
            "Bei et al., Mem-Gallery: Benchmarking Multimodal Long-Term Conversational Memory for"
            " MLLM Agents, arXiv:2601.03515, 2026 (github.com/ma-xueqian/Mem-Gallery)"
        ),
        description=(
            "Questions of Mem-Gallery that have clues and are text only; gold: both turns of the"
            " clue rounds, and their images."
        ),
    ),
    convert=_convert,
)
