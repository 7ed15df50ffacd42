"""The template of a board: every sample id with an empty answer. Ids are public everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffr_eval.prediction_file import encode_prediction
from ffr_eval.types import Outcome, Prediction

if TYPE_CHECKING:
    from leaderboard.site.reader import Site


def template(site: Site, board_id: str) -> bytes:
    """A prediction file with an empty answer to each sample of a board."""
    sql = "SELECT sample_id FROM queries WHERE board_id = ? ORDER BY row"
    ids = site.query(sql, (board_id,)).column("sample_id").to_pylist()
    return b"".join(encode_prediction(Prediction(name, Outcome.EMPTY)) for name in ids)
