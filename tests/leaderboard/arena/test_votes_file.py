"""Votes in files, and ``ffr arena``."""

from __future__ import annotations

import csv
import importlib.util
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pyarrow import parquet

from leaderboard.arena.store import ArenaStore
from tests.leaderboard.arena.conftest import make_vote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from leaderboard.arena.votes import Vote
    from leaderboard.site.reader import Site
    from tests.conftest import Cli


@pytest.fixture
def sample(arena_site: Site, board_id: str) -> dict[str, Any]:
    """The fields of a vote on the site."""
    sql = "SELECT sample_id, dialogue_id FROM queries WHERE board_id = ? LIMIT 1"
    found: dict[str, Any] = arena_site.query(sql, [board_id]).to_pylist()[0]
    runs = tuple(sorted(arena_site.labels(board_id))[:2])
    return {"board_id": board_id, "runs": runs, "choice": runs[0], **found}


@pytest.fixture
def line(sample: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """A line of a file; ``None`` leaves a field out."""

    def make(**given: Any) -> dict[str, Any]:
        vote = msgspec.to_builtins(make_vote(**{**sample, "rater_kind": "judge", "rater": "gpt"}))
        return {name: value for name, value in (vote | given).items() if value is not None}

    return make


def import_args(state: Path, site: Site, file: Path) -> list[object]:
    return ["arena", "import", "--state", state, "--site", site.path, file]


def test_what_is_exported_can_be_imported_once(
    cli: Cli, state: Path, store: ArenaStore, arena_site: Site, sample: Any, tmp_path: Path
) -> None:
    votes = [make_vote(**sample), make_vote(**sample, criterion="coherence")]
    store.add(votes)
    file, other = tmp_path / "votes.jsonl", tmp_path / "other"
    assert "wrote 2 votes" in cli("arena", "export", "--state", state, "--out", file).out
    args = import_args(other, arena_site, file)
    assert cli(*args).out == "added 2 votes\n"
    assert ArenaStore(other).votes() == votes
    assert cli(*args).out == "added 0 votes; 2 votes already there\n"
    again = tmp_path / "again.jsonl"
    cli("arena", "export", "--state", other, "--out", again)
    assert again.read_bytes() == file.read_bytes()


def test_judges_may_leave_out_what_has_a_default(
    cli: Cli, state: Path, arena_site: Site, line: Any, sample: Any, jsonl: Any
) -> None:
    file = jsonl([line(dialogue_id=None, source=None, schema_version=None)])
    cli(*import_args(state, arena_site, file))
    (vote,) = ArenaStore(state).votes()
    assert vote.dialogue_id == sample["dialogue_id"]
    assert (vote.rater_kind, vote.rater, vote.source) == ("judge", "gpt", "arena")


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"unknown": 1}, None, "unknown field"),
        ({"vote_id": None}, "vote_id", "missing"),
        ({"vote_id": "short"}, "vote_id", "matching regex"),
        ({"time": "yesterday"}, "time", "matching regex"),
        ({"criterion": "beauty"}, "criterion", "Invalid enum value 'beauty'"),
        ({"criterion": "beauty"}, "criterion", "write one of coherence, coverage, relevance"),
        ({"rater_kind": "cat"}, "rater_kind", "write one of human, judge"),
        ({"unknown": 1}, None, "the fields are vote_id, time, board_id"),
        ({"form": "trio"}, "form", "Invalid enum value"),
        ({"rater_kind": "cat"}, "rater_kind", "Invalid enum value"),
        ({"rater": "a b"}, "rater", "matching regex"),
        ({"runs": "ab"}, "runs", "Expected `array`"),
        ({"runs": ["a", "b/../c"]}, "runs[1]", "matching regex"),
        ({"choice": "nobody"}, "choice", "was not there to be chosen"),
        ({"form": "best_of"}, "runs", "2 runs to choose the best of"),
        ({"board_id": "elsewhere"}, "board_id", "the site has no board"),
        ({"sample_id": "elsewhere"}, "sample_id", "the board has no sample"),
        ({"dialogue_id": "elsewhere"}, "dialogue_id", "the sample is on dialogue"),
        ({"runs": ["nobody", "else"], "choice": "else"}, "runs", "the board has no run 'nobody'"),
        ({"runs": ["x", "x"], "choice": "x"}, "runs", "listed twice"),
        ({"runs": ["tie", "x"], "choice": "x"}, "runs", "'tie' is a choice"),
        ({"runs": ["x", "y", "z"], "choice": "x"}, "runs", "3 runs in a pair"),
        ({"schema_version": 2}, "schema_version", "Invalid enum value 2"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_added(
    cli: Cli, state: Path, arena_site: Site, line: Any, jsonl: Any,
    given: dict[str, Any], field: str | None, said: str,
) -> None:  # fmt: skip
    file = jsonl([line(), line(**given)])
    error = cli.refused(*import_args(state, arena_site, file))
    assert f"{file}:2: " in error
    assert said in error
    assert field is None or f"{field}: " in error
    assert "→" in error
    assert not ArenaStore(state).exists()


@pytest.mark.parametrize("text", ["{", "[1]", "nonsense", '{"vote_id": "\ud800"}'])
def test_what_is_not_a_vote_is_refused(
    cli: Cli, state: Path, arena_site: Site, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "votes.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert f"{file}:1" in cli.refused(*import_args(state, arena_site, file))


def test_an_id_of_another_vote_ends_the_import(
    cli: Cli, state: Path, store: ArenaStore, arena_site: Site, line: Any, jsonl: Any
) -> None:
    first = line()
    cli(*import_args(state, arena_site, jsonl([first])))
    changed = jsonl([line(), first | {"choice": "tie"}], "changed.jsonl")
    error = cli.refused(*import_args(state, arena_site, changed))
    assert f"{changed}:2: vote_id: {first['vote_id']!r} is the id of another vote" in error
    assert len(store.votes()) == 1


def test_csv_is_safe_in_a_spreadsheet(
    cli: Cli, state: Path, store: ArenaStore, tmp_path: Path
) -> None:
    votes = [make_vote(sample_id="=HYPERLINK(1)", runs=("+a", "b"), choice="+a", rater="@r")]
    store.add(votes)
    file = tmp_path / "votes.csv"
    cli("arena", "export", "--state", state, "--out", file, "--format", "csv")
    with file.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["sample_id"] == "'=HYPERLINK(1)"
    assert row["runs"] == "'+a b"
    assert row["choice"] == "'+a"
    assert row["rater"] == "'@r"
    assert row["criterion"] == "coverage"


def test_parquet_has_the_votes(cli: Cli, state: Path, store: ArenaStore, tmp_path: Path) -> None:
    votes = [make_vote(), make_vote(form="best_of", runs=("c", "a", "b"))]
    store.add(votes)
    file = tmp_path / "votes.parquet"
    cli("arena", "export", "--state", state, "--out", file, "--format", "parquet")
    rows = parquet.read_table(file).to_pylist()
    assert rows == [msgspec.to_builtins(vote) | {"runs": list(vote.runs)} for vote in votes]


def test_nothing_to_export_is_said(cli: Cli, tmp_path: Path) -> None:
    state = tmp_path / "nothing"
    error = cli.refused("arena", "export", "--state", state, "--out", tmp_path / "x.jsonl")
    assert "no votes yet" in error
    assert not (tmp_path / "x.jsonl").exists()
    assert not state.exists()
    assert "no votes yet" in cli.refused("arena", "results", "--state", state)


def votes_on(board: str, **given: Any) -> list[Vote]:
    return [
        make_vote(
            board_id=board,
            choice="a" if i % 4 else "b",
            sample_id=f"d{i}#0",
            dialogue_id=f"d{i}",
            rater=f"r{i % 3}",
            **given,
        )
        for i in range(24)
    ]


def test_results_in_the_terminal_and_as_json(
    cli: Cli, state: Path, store: ArenaStore, tmp_path: Path
) -> None:
    store.add(votes_on("one"))
    store.add(votes_on("one", form="best_of", runs=("b", "a", "c"), criterion="coherence"))
    store.add(votes_on("two", rater_kind="judge"))
    file = tmp_path / "results.json"
    shown = cli("arena", "results", "--state", state, "--json", file, "--replicates", 50).out
    assert "one, votes of people" in shown
    assert "48 votes of 3 raters" in shown
    assert "best of several: 24 votes on 24 dialogues" in shown
    assert "75.0%" in shown
    one, two = json.loads(file.read_text())["boards"]
    assert (one["board_id"], one["n_votes"], two["n_votes"]) == ("one", 48, 0)
    (a, b) = one["criteria"][0]["pairs"]["runs"]
    assert (a["run_id"], a["wins"], a["losses"]) == ("a", 18, 6)
    assert a["lo"] < a["strength"] < a["hi"]
    assert a["strength"] == pytest.approx(-b["strength"])
    top = one["criteria"][2]["best_of"]["runs"][0]
    assert (top["run_id"], top["chosen"], top["shown"], top["share"]) == ("a", 18, 24, 0.75)
    judged = cli("arena", "results", "--state", state, "--raters", "judges", "--json", "-",
                 "--board", "two", "--replicates", 10).json["boards"]  # fmt: skip
    assert [(board["board_id"], board["n_votes"]) for board in judged] == [("two", 24)]


def test_too_few_votes_have_no_strength(cli: Cli, state: Path, store: ArenaStore) -> None:
    store.add(votes_on("one")[:19])
    shown = cli("arena", "results", "--state", state).out
    assert shown.count("not enough") == 2
    shown = cli("arena", "results", "--state", state, "--minimum", 19, "--replicates", 9).out
    assert "not enough" not in shown


def test_an_unknown_board_is_named(cli: Cli, state: Path, store: ArenaStore) -> None:
    store.add([make_vote(board_id="one")])
    error = cli.refused("arena", "results", "--state", state, "--board", "x")
    assert "no votes on board 'x'" in error
    assert "one of one" in error


def test_a_missing_package_is_named(
    cli: Cli, state: Path, store: ArenaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "evalica" else found(name)
    )
    assert "ffr-eval[leaderboard]" in cli.refused("arena", "results", "--state", state)


@pytest.mark.parametrize("command", ["export", "import", "results"])
def test_help_has_examples(cli: Cli, command: str) -> None:
    shown = cli("arena", command, "--help").out
    assert "Examples:" in shown
    assert f"ffr arena {command} --state" in shown


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("suffix", ["same", "jsonl"])
def test_only_json_lines_can_be_imported(
    cli: Cli, state: Path, store: ArenaStore, arena_site: Site, tmp_path: Path,
    kind: str, suffix: str,
) -> None:  # fmt: skip
    store.add([make_vote()])
    file = tmp_path / f"votes.{kind if suffix == 'same' else suffix}"
    cli("arena", "export", "--state", state, "--out", file, "--format", kind)
    said = cli.refused(*import_args(tmp_path / "other", arena_site, file))
    assert "only JSON Lines can be imported" in said
    assert not (tmp_path / "other").exists()


def test_an_empty_file_is_refused(cli: Cli, state: Path, arena_site: Site, tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    file.touch()
    assert "it is empty" in cli.refused(*import_args(tmp_path / "other", arena_site, file))
    assert not (tmp_path / "other").exists()
