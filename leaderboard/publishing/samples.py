"""The rows of a run, one a sample: counts and figures, answers, and prompts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from ffr_eval import plugins
from ffr_eval.errors import FfrError
from ffr_eval.metrics.groups import group_rows
from ffr_eval.predictions import OUTCOMES
from ffr_eval.types import ANSWERED
from ffr_eval.window_answers import read_answer, window_records
from leaderboard.publishing.parquet import from_rows, without
from leaderboard.publishing.private_text import path_free
from leaderboard.site.schema import ANSWERS, PROMPTS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ffr_eval.benchmark import Benchmark
    from ffr_eval.metrics.protocols import Evaluation
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_eval.runs import RunRecord
    from ffr_eval.sources import Source
    from ffr_eval.types import Prediction

SAMPLE_SCHEMA: Final = without(SAMPLES.schema, "board_id", "run_id")
ANSWER_SCHEMA: Final = without(ANSWERS.schema, "board_id", "run_id")

NO_RENDERER: Final = "no package that renders prompts is installed where this was published"
NO_PROMPT: Final = "the model sends no prompt"
NO_ANSWER: Final = "there is no prediction for the sample"
_LARGEST: Final = 2**62


def sample_rows(source: Source, evaluation: Evaluation) -> pa.Table:
    """The table of samples of a run, without its ids.

    Args:
        source: Its predictions, kept.
        evaluation: Of them, protocol strict.
    """
    table = evaluation.table
    bucket = [""] * len(table)
    for name, rows in group_rows(table, "turns").items():
        for row in rows.tolist():
            bucket[row] = name
    answers = [_answer(source, evaluation, row) for row in range(len(table))]
    utterance, image = evaluation.utterance_counts, evaluation.image_counts
    columns: dict[str, Any] = {
        "row": np.arange(len(table), dtype=np.int32),
        "sample_id": list(table.sample_id),
        "dialogue_id": list(table.dialogue_id),
        "kind": table.kind.tolist(),
        "turns": table.turns,
        "bucket": bucket,
        "language": [name or "unknown" for name in table.language or [None] * len(table)],
        "outcome": [OUTCOMES[code].value for code in table.outcome],
        "f1": _numbers(evaluation.joint.f1),
        "precision": _numbers(evaluation.joint.precision),
        "recall": _numbers(evaluation.joint.recall),
        "utt_f1": _numbers(evaluation.utterance.f1),
        "img_f1": _numbers(evaluation.image.f1),
        **{f"utt_{name}": getattr(utterance, name) for name in ("tp", "fp", "fn")},
        **{f"img_{name}": getattr(image, name) for name in ("tp", "fp", "fn")},
        "utt_ids": [utt_ids for utt_ids, _ in answers],
        "img_ids": [img_ids for _, img_ids in answers],
        "latency_s": _numbers(table.latency_s),
        "cost": _numbers(table.cost),
    }
    arrays = [
        columns[name]
        if isinstance(columns[name], pa.Array)
        else pa.array(columns[name], SAMPLE_SCHEMA.field(name).type)
        if columns[name] is not None
        else pa.nulls(len(table), SAMPLE_SCHEMA.field(name).type)
        for name in SAMPLE_SCHEMA.names
    ]
    return pa.table(arrays, schema=SAMPLE_SCHEMA)


def answer_rows(source: Source, prompts: Mapping[str, Prompt], note: str | None) -> pa.Table:
    """The table of answers of a run, without its ids, in the order of the samples' ids.

    Args:
        source: Its predictions, kept.
        prompts: By sample id.
        note: Why samples without one have no prompt.
    """
    found = source.predictions or {}
    rows = []
    for sample_id in sorted(source.table.sample_id):
        prediction = found.get(sample_id)
        prompt = prompts.get(sample_id)
        rows.append(
            {
                "sample_id": sample_id,
                "response": None if prediction is None else response_of(prediction),
                "finish_reason": None if prediction is None else prediction.finish_reason,
                "error": None if prediction is None else _error(prediction),
                "prompt_id": None if prompt is None else prompt.prompt_id,
                "prompt_exact": None if prompt is None else prompt.exact,
                "prompt_note": prompt.note
                if prompt is not None
                else NO_ANSWER
                if prediction is None
                else note,
            }
        )
    return from_rows(ANSWER_SCHEMA, rows)


def response_of(prediction: Prediction) -> str | None:
    """The raw text; of a sample that was asked in windows that of all of them, each headed."""
    windows = window_records(prediction)
    if not windows:
        return prediction.response
    return "\n\n".join(f"[window {w.window}]\n{w.response or ''}" for w in windows)


class Prompt(msgspec.Struct, frozen=True):
    """What a sample was asked; without an id it cannot be made again."""

    prompt_id: str | None
    exact: bool | None
    note: str | None


class _Rendered(msgspec.Struct, frozen=True):
    """What a plugin of the group ``ffr.prompts`` yields; it may say more."""

    sample_id: str
    requests: list[dict[str, Any]]
    exact: bool | None = None
    reason: str | None = None
    schema: dict[str, Any] | None = None


def render_prompts(
    record: RunRecord, benchmark: Benchmark, predictions: Mapping[str, Prediction]
) -> tuple[dict[str, Prompt], pa.Table, str | None]:
    """The prompts of a run, made again by the plugins that can.

    Returns:
        What is known of each sample, the table of prompts, and why there are none.
    """
    points = plugins.registered(plugins.PROMPTS)
    note: str | None = NO_RENDERER
    for name in points:
        try:
            rendered = _run_plugin(name, record, benchmark, predictions)
        except FfrError as error:
            note = path_free(str(error).splitlines()[0])
            continue
        if rendered:
            return *_stored(rendered), None
        note = NO_PROMPT
    return {}, from_rows(PROMPTS.schema, ()), note


def _run_plugin(
    name: str, record: RunRecord, benchmark: Benchmark, predictions: Mapping[str, Prediction]
) -> list[_Rendered]:
    """What a plugin renders.

    Raises:
        FfrError: If it fails, or yields something else.
    """
    plugin = plugins.load(plugins.PROMPTS, name)
    try:
        return [
            msgspec.convert(dict(item), _Rendered)
            for item in plugin(record, benchmark, predictions)
        ]
    except FfrError:
        raise
    except Exception as error:  # whatever a plugin raises
        why = f"fails: {type(error).__name__}: {error}"
        raise plugins.broken(plugins.PROMPTS, name, why) from error


def _stored(rendered: Sequence[_Rendered]) -> tuple[dict[str, Prompt], pa.Table]:
    found: dict[str, Prompt] = {}
    texts: dict[str, str] = {}
    encoder = msgspec.json.Encoder(order="deterministic")
    for item in rendered:
        prompt_id = None
        if item.requests:
            schema = {} if item.schema is None else {"schema": item.schema}
            data = encoder.encode([request | schema for request in item.requests])
            prompt_id = hashlib.sha256(data).hexdigest()
            texts[prompt_id] = data.decode()
        note = None if item.reason is None else path_free(item.reason)
        found[item.sample_id] = Prompt(prompt_id, item.exact, note)
    rows = ({"prompt_id": key, "requests": text} for key, text in sorted(texts.items()))
    return found, from_rows(PROMPTS.schema, rows)


def _answer(
    source: Source, evaluation: Evaluation, row: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that count as the answer of a sample, as they were given."""
    table = evaluation.table
    prediction = (source.predictions or {}).get(table.sample_id[row])
    if prediction is None or OUTCOMES[table.outcome[row]] not in ANSWERED:
        return (), ()
    answer = read_answer(prediction, evaluation.protocol.parse)
    return _small(answer.utt_ids), _small(answer.img_ids)


def _small(ids: Sequence[int]) -> tuple[int, ...]:
    return tuple(max(-_LARGEST, min(each, _LARGEST)) for each in ids)


def _error(prediction: Prediction) -> str | None:
    text = (prediction.meta or {}).get("error")
    return path_free(text) if isinstance(text, str) else None


def _numbers(values: FloatArray | None) -> pa.Array | None:
    return None if values is None else pa.array(values, pa.float64(), from_pandas=True)
