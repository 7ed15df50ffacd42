"""The terms of the original plugin as it computes them, bugs included (profile ``released``).

Its traps are listed in docs/rewards.md. Nothing else uses this module.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from ffr_eval.markup import IMG_IDS, UTT_IDS

if TYPE_CHECKING:
    from ffr_eval.metrics.retrieval import FloatArray
    from ffr_train.rewards.batch import Batch, DialogueIds
    from ffr_train.rewards.profile import TermSettings

_ANSWER: Final = re.compile(
    rf"{re.escape(UTT_IDS[0])}(\[[\d,\s]*\]){re.escape(UTT_IDS[1])};"
    rf"{re.escape(IMG_IDS[0])}(\[[\d,\s]*\]){re.escape(IMG_IDS[1])}"
)

Lists = tuple[list[int], list[int]]


def _read(text: str) -> Lists | None:
    """Lists of an answer without any text around it, not even a line end."""
    found = _ANSWER.fullmatch(text)
    if found is None:
        return None
    try:
        return json.loads(found[1]), json.loads(found[2])
    except ValueError:
        return None


def f1(batch: Batch, settings: TermSettings) -> FloatArray:
    """F1 with the lengths of lists: a repeated id counts again; 0 for what does not parse."""
    values = np.zeros(len(batch))
    for place, (text, solution) in enumerate(zip(batch.texts, batch.solutions, strict=True)):
        answer, gold = _read(text), _read(solution)
        if answer is None or gold is None:
            continue
        for share, predicted, wanted in zip(settings.lambdas, answer, gold, strict=True):
            penalty = settings.gamma ** abs(len(predicted) - len(wanted))
            values[place] += share * _list_f1(predicted, wanted) * penalty
    return values


def _list_f1(predicted: list[int], gold: list[int]) -> float:
    if not predicted and not gold:
        return 1.0
    right = len(set(predicted) & set(gold))
    return 2 * right / (len(predicted) + len(gold))


def order(batch: Batch) -> FloatArray:
    """Its order reward, which looks at the gold only where one of the two is empty.

    What does not parse is empty. Without a vector of both modalities it is 0; images of one turn
    are averaged.
    """
    values = np.zeros(len(batch))
    for place, (text, solution) in enumerate(zip(batch.texts, batch.solutions, strict=True)):
        answer, gold = _read(text) or ([], []), _read(solution) or ([], [])
        if not any(answer) and not any(gold):
            values[place] = 1.0
        elif any(answer) and any(gold):
            values[place] = _mean_cosine(batch.dialogues[batch.dialogue[place]], answer)
    return values


def _mean_cosine(dialogue: DialogueIds, answer: Lists) -> float:
    embeddings = dialogue.embeddings
    if embeddings is None:
        return 0.0
    utterances = {i: embeddings.utterances[i] for i in answer[0] if i in embeddings.utterances}
    images = {i: embeddings.images[i] for i in answer[1] if i in embeddings.images}
    if not utterances or not images:
        return 0.0
    vectors = [((i, 0), np.asarray(embeddings.vectors[row])) for i, row in utterances.items()]
    turns: dict[int, list[int]] = {}
    for i, row in images.items():
        turns.setdefault(dialogue.image_turns.get(i, i), []).append(row)
    for turn, rows in turns.items():
        vectors.append(((turn, 1), np.mean([embeddings.vectors[row] for row in rows], axis=0)))
    ordered = [vector for _, vector in sorted(vectors, key=lambda item: item[0])]
    if len(ordered) < 2:
        return 0.5
    with np.errstate(invalid="ignore", over="ignore"):  # NaN, for a vector without direction
        unit = [vector / np.linalg.norm(vector) for vector in ordered]
    return float(np.mean([a @ b for a, b in itertools.pairwise(unit)]))
