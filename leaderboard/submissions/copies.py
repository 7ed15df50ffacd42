"""Runs of a board that gave the same answers as an upload: a copy weakens everybody's p."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ffr_eval.metrics.named import HEADLINE
from ffr_eval.predictions import OUTCOMES
from ffr_eval.types import ANSWERED
from ffr_eval.window_answers import read_answer
from leaderboard.site.schema import ALL, PROTOCOLS
from leaderboard.submissions.standing import predictions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from ffr_eval.metrics.protocols import Protocol
    from ffr_eval.scoring import Scores
    from ffr_eval.types import Prediction
    from leaderboard.site.reader import Site

    Answer: TypeAlias = tuple[frozenset[int], frozenset[int]]

MOST_LOOKED_AT: Final = 20
"""So many runs with the same headline figure are compared answer by answer."""

_CLOSE: Final = 1e-9
_LARGEST: Final = 2**62  # in what is published, larger ids stand as this


def copies_of(
    site: Site,
    board_id: str,
    given: Iterable[Prediction],
    protocol: Protocol,
    scores: Scores,
) -> tuple[str, ...]:
    """The labels of the runs with the same answers to all samples; untrusted.

    Nothing on boards with hidden gold: their answers are not in the site's public tables.

    Args:
        site: The published site.
        board_id: The board.
        given: The predictions of the upload.
        protocol: The protocol ``strict``.
        scores: The upload's figures under it.
    """
    if site.board(board_id).hidden_gold:
        return ()
    sql = (
        "SELECT run_id, label FROM figures JOIN runs USING (board_id, run_id)"
        " WHERE board_id = ? AND protocol = ? AND metric = ? AND grouping = ? AND bucket = ?"
    )
    place = (board_id, PROTOCOLS[0], HEADLINE, ALL, ALL)
    value = scores.metric(HEADLINE)
    if value is None:
        values: tuple[object, ...] = place
        sql += " AND value IS NULL"
    else:
        values = (*place, value, _CLOSE)
        sql += " AND abs(value - ?) < ?"
    sql += f" ORDER BY run_id LIMIT {MOST_LOOKED_AT}"
    alike = site.query(sql, values).to_pylist()
    if not alike:
        return ()
    own = _answers(given, protocol, scores)
    return tuple(row["label"] for row in alike if _published(site, board_id, row["run_id"]) == own)


def _answers(
    given: Iterable[Prediction], protocol: Protocol, scores: Scores
) -> Mapping[str, Answer]:
    """The ids of each sample that has a usable answer."""
    table = scores.table
    predictions = {prediction.sample_id: prediction for prediction in given}
    found = {}
    for sample_id, code in zip(table.sample_id, table.outcome, strict=True):
        prediction = predictions.get(sample_id)
        if prediction is not None and OUTCOMES[code] in ANSWERED:
            answer = read_answer(prediction, protocol.parse)
            found[sample_id] = _as_sets(answer.utt_ids, answer.img_ids)
    return found


def _published(site: Site, board_id: str, run_id: str) -> Mapping[str, Answer]:
    return {
        found.sample_id: _as_sets(found.payload.utt_ids, found.payload.img_ids)
        for found in predictions_of(site, board_id, run_id)
        if found.outcome in ANSWERED
    }


def _as_sets(utt_ids: tuple[int, ...], img_ids: tuple[int, ...]) -> Answer:
    utterances, images = (
        frozenset(max(-_LARGEST, min(number, _LARGEST)) for number in ids)
        for ids in (utt_ids, img_ids)
    )
    return utterances, images
