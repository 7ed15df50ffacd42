"""Prediction tables out of predictions and a benchmark, or out of an inference file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.answer import MAX_DIGITS, Answer
from ffr_eval.coding import Universe
from ffr_eval.errors import InputError
from ffr_eval.metrics.protocols import OFFICIAL_ABSENT
from ffr_eval.places import Places
from ffr_eval.predictions import OUTCOME_CODE, ModalityColumns, PredictionTable
from ffr_eval.ragged import Ragged
from ffr_eval.reach import reached_gold
from ffr_eval.types import Outcome
from ffr_eval.window_answers import read_answer, window_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ffr_eval.answer import ParseMode
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.inference_columns import InferenceColumns
    from ffr_eval.jsonl import Located
    from ffr_eval.metrics.protocols import Protocol
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Prediction

_MISSING: Final = Answer((), (), Outcome.MISSING)
_NO_ID: Final = 10**MAX_DIGITS
_WINDOW: Final = re.compile(r"(?<=.)_split_[0-9]{1,9}$")
"""Windows of one dialogue are not independent, whether they are merged or not."""


def last_predictions(
    predictions: Iterable[Located[Prediction]], benchmark: Benchmark, source: Path | None = None
) -> dict[str, Prediction]:
    """Predictions by sample id; the last one of a sample wins.

    Raises:
        InputError: For a prediction on a sample that the benchmark does not have, with an id of
            more than 18 digits (such ids would not fit an integer column), or with malformed
            records of windows.
    """
    found: dict[str, Prediction] = {}
    for located in predictions:
        sample_id = located.record.sample_id
        if benchmark.row_of(sample_id) is None:
            raise InputError(
                f"{benchmark.name} has no sample {sample_id!r}",
                file=source,
                line=located.line,
                field="sample_id",
                remedy="check that --benchmark is what the predictions were made on",
            )
        payload = located.record.payload
        for name, ids in (("utt_ids", payload.utt_ids), ("img_ids", payload.img_ids)):
            if ids and not -_NO_ID < min(ids) <= max(ids) < _NO_ID:
                message = f"an id of more than {MAX_DIGITS} digits"
                remedy = "give ids of the dialogue"
                raise InputError(message, file=source, line=located.line, field=name, remedy=remedy)
        window_records(located.record, source, located.line)
        found[sample_id] = located.record
    return found


def table_of(
    benchmark: Benchmark,
    predictions: Mapping[str, Prediction],
    protocol: Protocol,
    parse: ParseMode,
    rows: IntArray,
) -> PredictionTable:
    """The prediction table of some samples of a benchmark.

    Args:
        benchmark: The benchmark.
        predictions: By sample id; samples without one are ``missing``.
        protocol: For which codes and universes are made.
        parse: How raw responses are read.
        rows: Rows of the benchmark's query table.
    """
    queries, dialogues = benchmark.queries, benchmark.dialogues
    dialogue = queries.dialogue[rows]
    sample_ids = [queries.sample_id[row] for row in rows]
    found = [predictions.get(sample_id) for sample_id in sample_ids]
    answers = [_MISSING if given is None else read_answer(given, parse) for given in found]
    gold_utts, gold_imgs = queries.gold_utt_ids.take(rows), queries.gold_img_ids.take(rows)
    utts = Ragged.from_lists([answer.utt_ids for answer in answers])
    imgs = Ragged.from_lists([answer.img_ids for answer in answers])
    turns = benchmark.turn_index
    return PredictionTable(
        sample_id=sample_ids,
        dialogue_id=[dialogues.dialogue_id[row] for row in dialogue],
        outcome=np.array([OUTCOME_CODE[answer.outcome] for answer in answers], dtype=np.int8),
        turns=dialogues.utt_ids.lengths[dialogue],
        utterance=_columns(dialogues.utt_ids, dialogue, gold_utts, utts, protocol),
        image=_columns(dialogues.img_ids, dialogue, gold_imgs, imgs, protocol),
        language=[dialogues.language[row] for row in dialogue],
        meta=[
            dialogues.meta[place] | queries.meta[row]
            for place, row in zip(dialogue.tolist(), rows.tolist(), strict=True)
        ],
        places=Places(
            turns.utterances(gold_utts, dialogue),
            turns.utterances(utts, dialogue),
            turns.images(gold_imgs, dialogue),
            turns.images(imgs, dialogue),
        ),
        latency_s=_numbers([None if given is None else given.latency_s for given in found]),
        cost=_numbers([None if given is None else given.cost for given in found]),
        reached_gold=reached_gold(found, gold_utts, gold_imgs),
    )


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _columns(
    ids: Ragged, dialogue: IntArray, gold: Ragged, predicted: Ragged, protocol: Protocol
) -> ModalityColumns:
    """Code one modality; sample ``i`` belongs to the dialogue in row ``dialogue[i]`` of ``ids``."""
    if not protocol.real_ids:
        return ModalityColumns(gold, predicted, official_universe(ids)[dialogue])
    universe = Universe(ids)
    return ModalityColumns(
        universe.encode(gold, dialogue),
        universe.encode(predicted, dialogue),
        universe.sizes[dialogue],
    )


def official_universe(marked: Ragged) -> IntArray:
    """Sizes of the universes ``{0 … M}``: M the largest marked id, 20 where none is marked."""
    largest = np.full(len(marked), OFFICIAL_ABSENT, dtype=np.int64)
    some = marked.lengths > 0
    if some.any():
        largest[some] = np.maximum.reduceat(marked.values, marked.offsets[:-1][some])
    return largest + 1


def table_of_inference(columns: InferenceColumns, protocol: Protocol) -> PredictionTable:
    """The prediction table of an inference file, its universe the ids that its prompts mark.

    Under ``official``, records without a ``response`` key are left out, as the original does. The
    records must have been read for this protocol: for ``official`` they may hold of the marked ids
    only the largest.
    """
    everyone = np.arange(len(columns), dtype=np.int64)
    rows = everyone if protocol.unanswered_counts else np.flatnonzero(columns.has_response)
    modalities = (
        (columns.utt_marked, columns.utt_gold, columns.utt_predicted),
        (columns.img_marked, columns.img_gold, columns.img_predicted),
    )
    utterance, image = (
        _columns(marked, everyone, gold, predicted, protocol)
        for marked, gold, predicted in modalities
    )
    if len(rows) < len(columns):
        utterance, image = utterance.take(rows), image.take(rows)
    notes = []
    if len(rows) < len(columns):
        notes.append(
            f"{len(columns) - len(rows)} records without a response are left out, as the original"
            " release does"
        )
    if columns.lost_lists:
        notes.append(
            f"{columns.lost_lists} lists are valid JSON but no list of ids; the original release"
            " fails on them, here they are read as empty"
        )
    names = _sample_ids(columns.dialogue_id)
    dialogues = [_WINDOW.sub("", name) for name in columns.dialogue_id]
    if not all(dialogues):
        dialogues = [dialogue or name for dialogue, name in zip(dialogues, names, strict=True)]
        notes.append(
            "records without a dialogue_id are taken for dialogues of their own; if some are of one"
            " dialogue, intervals are too narrow and p-values too small"
        )
    return PredictionTable(
        sample_id=[names[row] for row in rows],
        dialogue_id=[dialogues[row] for row in rows],
        outcome=columns.outcome[rows],
        turns=columns.turns[rows],
        utterance=utterance,
        image=image,
        left_out=len(columns) - len(rows),
        notes=tuple(notes),
    )


def _sample_ids(dialogue_ids: Sequence[str]) -> list[str]:
    """``<dialogue_id>#<k>``, k counted in file order (task-format)."""
    seen: dict[str, int] = {}
    names = []
    for dialogue_id in dialogue_ids:
        k = seen.get(dialogue_id, 0)
        seen[dialogue_id] = k + 1
        names.append(f"{dialogue_id}#{k}")
    return names
