"""A synthetic site for the samples page."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.site.manifest import MANIFEST, file_hash
from leaderboard.site.reader import Site
from leaderboard.site.schema import SAMPLES
from tests.leaderboard.browser.conftest import (  # noqa: F401 - for the browser tests here
    boards,
    chromium,
    page,
    served,
    visitor,
    watched,
)
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from leaderboard.site.schema import Table

    Row = dict[str, Any]


@pytest.fixture(scope="session")
def samples_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two boards with more than a page of samples, the second with hidden gold."""
    folder = tmp_path_factory.mktemp("samples") / "site"
    return write_site(
        folder,
        n_boards=2,
        n_runs=20,
        n_samples=130,
        n_dialogues=12,
        hidden=True,
        long_dialogue_turns=600,
    )


@pytest.fixture(scope="session")
def site(samples_site: Path) -> Site:
    return Site(samples_site)


@pytest.fixture(scope="session")
def board(site: Site) -> str:
    """The board whose gold is known."""
    return next(each for each in site.board_ids if not site.board(each).hidden_gold)


@pytest.fixture(scope="session")
def hidden_board(site: Site) -> str:
    return next(each for each in site.board_ids if site.board(each).hidden_gold)


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., None]:
    """``rewrite(site, table, change)``: put other rows into a table of a published site."""

    def change_rows(place: Path, table: Table, change: Callable[[Row], Row | None]) -> None:
        file = place / table.file
        rows = [row for row in map(change, pq.read_table(file).to_pylist()) if row is not None]
        pq.write_table(
            pa.Table.from_pylist(rows, table.schema), file, row_group_size=table.row_group
        )
        manifest = json.loads((place / MANIFEST).read_text())
        manifest["files"][table.file] = {"sha256": file_hash(file), "bytes": file.stat().st_size}
        (place / MANIFEST).write_text(json.dumps(manifest))

    return change_rows


@pytest.fixture(scope="session")
def odd_site(
    samples_site: Path, rewrite: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """The site with undefined F1, runs that were not asked for everything, refusals with ids."""
    place = tmp_path_factory.mktemp("odd") / "site"
    shutil.copytree(samples_site, place)

    def odd(row: Row) -> Row | None:
        number = sum(map(ord, row["run_id"]))
        if number % 5 == 0 and row["row"] >= 100:
            return None
        if (number + row["row"]) % 11 == 0:
            row = row | {"f1": None}
        return row | {"utt_ids": [0, 1]} if row["outcome"] == "refusal" else row

    rewrite(place, SAMPLES, odd)
    return Site(place)
