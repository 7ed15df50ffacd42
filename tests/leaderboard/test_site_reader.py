"""Reading a site: what is open to queries, what is kept, and names that are safe to show."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import duckdb
import pytest

from ffr_eval.errors import InputError
from leaderboard.site.reader import Site

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def site(synthetic_site: Path) -> Site:
    return Site(synthetic_site)


def test_labels_are_safe_and_all_different(
    synthetic_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"a": "x!", "b": "x?", "c": ":material/verified: me", "d": "www.evil.example"}
    monkeypatch.setattr(Site, "labels", lambda *_: labels)
    found = Site(synthetic_site).shown_labels("board")
    assert list(found) == list(labels)
    assert len(set(found.values())) == 4
    assert not any(set(label) & set("!?:[]") for label in found.values())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY boards TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
    ],
)
def test_queries_reach_nothing_but_the_tables(site: Site, sql: str) -> None:
    with pytest.raises((duckdb.Error, AttributeError)):
        site.query(sql)


def test_the_private_folder_is_closed_too(site: Site) -> None:
    (site.path / "private").mkdir(exist_ok=True)
    secret = site.path / "private" / "gold.csv"
    secret.write_text("a,b\n1,2\n")
    with pytest.raises(duckdb.Error):
        site.query("SELECT * FROM read_csv(?)", [str(secret)])


def test_threads_share_a_site(site: Site) -> None:
    found: list[int] = []

    def count() -> None:
        found.append(site.query("SELECT count(*) AS n FROM runs")["n"][0].as_py())

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_text_in_a_query_is_a_value(site: Site) -> None:
    assert not site.has_sample(site.board_ids[0], "x' OR '1'='1")
    assert site.labels("x' OR '1'='1") == {}


def test_no_site(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest"):
        Site(tmp_path)
