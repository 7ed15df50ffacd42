"""``ffr cache``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from baselines.response_cache import CachedResponse, ResponseCache

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with answers of two models, which is the default one."""
    file = tmp_path / "responses.sqlite"
    monkeypatch.setenv("FFR_RESPONSES", str(file))
    now = datetime.now(UTC)
    with ResponseCache(file) as cache:
        for number, (model, days) in enumerate([("gpt-4o", 40), ("gpt-4o", 2), ("qwen-vl", 0)]):
            created = (now - timedelta(days=days)).isoformat(timespec="seconds")
            cache.put(
                str(number),
                CachedResponse(text="t", provider="http://here/v1", asked=model, created=created),
            )
    return file


def n_entries(path: Path) -> int:
    with ResponseCache(path) as cache:
        return cache.stats().n_entries


def test_stats(cli: Cli, path: Path) -> None:
    out = cli("cache", "stats").out
    first, _, *rows = out.splitlines()
    assert first.startswith(f"{path}: 3 answers, ")
    assert [row.split()[:3] for row in rows] == [
        ["http://here/v1", "gpt-4o", "2"],
        ["http://here/v1", "qwen-vl", "1"],
    ]
    assert rows[1].split()[-1] == datetime.now(UTC).date().isoformat()
    record = cli("cache", "stats", "--json", "--cache", path).json
    assert (record["path"], record["n_entries"]) == (str(path), 3)
    assert [model["n_entries"] for model in record["models"]] == [2, 1]


def test_a_cache_that_is_not_there_is_empty_and_not_made(cli: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "c.sqlite"
    assert cli("cache", "stats", "--cache", missing).out == f"{missing}: no answers\n"
    assert cli("cache", "stats", "--json", "--cache", missing).json["models"] == []
    assert "nothing to remove" in cli("cache", "prune", "--all", "--cache", missing).out
    assert not missing.parent.exists()


def test_prune(cli: Cli, path: Path) -> None:
    assert (
        "would be removed: 1 answer, "
        in cli("cache", "prune", "--older-than", "30d", "--dry-run").out
    )
    assert n_entries(path) == 3
    assert ": removed: 1 answer, " in cli("cache", "prune", "--older-than", "30d").out
    assert "nothing to remove" in cli("cache", "prune", "--older-than", "4w").out
    assert ": removed: 1 answer, " in cli("cache", "prune", "--model", "gpt-4o").out
    assert "nothing to remove" in cli("cache", "prune", "--provider", "http://there/v1").out
    assert ": removed: 1 answer, " in cli("cache", "prune", "--all").out
    assert cli("cache", "stats").out == f"{path}: no answers\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nothing says what to remove"),
        (["--dry-run"], "add --older-than AGE"),
        (["--all", "--model", "m"], "--all is all"),
        (["--older-than", "month"], "give hours, days or weeks"),
        (["--older-than", "30"], "no age: '30'"),
        (["--older-than", "9" * 30 + "w"], "no age"),
        (["--older-than", "999999d"], "no age"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cli: Cli, path: Path, arguments: list[str], expected: str
) -> None:
    assert expected in cli.refused("cache", "prune", *arguments)
    assert n_entries(path) == 3


def test_a_damaged_cache_is_named(cli: Cli, path: Path) -> None:
    path.write_bytes(b"damaged " * 100)
    for command in (["stats"], ["prune", "--all"]):
        err = cli.refused("cache", *command)
        assert f"{path}: is damaged" in err
        assert "move the file away" in err


def test_help_has_examples(cli: Cli) -> None:
    assert "ffr cache prune --older-than 30d --dry-run" in cli("cache", "--help").out
    assert "Examples:" in cli("cache", "prune", "--help").out
