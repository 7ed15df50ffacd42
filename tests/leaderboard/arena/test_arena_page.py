"""The page, run by Streamlit's own test driver on a small published site."""

from __future__ import annotations

import dataclasses
import json
import logging
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from leaderboard import settings as settings_of
from leaderboard.arena.store import ArenaStore, Limits
from leaderboard.arena.vote_tab import readable
from leaderboard.arena.votes import BOTH_BAD, CRITERIA, TIE
from leaderboard.settings import Settings
from tests.leaderboard.arena.conftest import make_vote
from tests.leaderboard.synthetic import write_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from leaderboard.site.reader import Site


def script() -> None:
    import streamlit as st

    from leaderboard.context import Context, enter
    from leaderboard.pages import arena
    from leaderboard.settings import settings
    from leaderboard.site.reader import Site
    from leaderboard.texts import texts
    from leaderboard.view import read_view

    started = settings()
    site = Site(started.site_path)
    view, _ = read_view(dict(st.query_params), site)
    language = st.query_params.get("lang", "en")
    enter(Context(site, view, texts(language), language, started, {}))
    arena.page()


@pytest.fixture
def opened(
    arena_site: Site, state: Path, board_id: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    """Opens the page in a new session."""
    import streamlit as st
    from streamlit.runtime.context import ContextProxy
    from streamlit.testing.v1 import AppTest

    st.cache_resource.clear()
    monkeypatch.setattr(ContextProxy, "ip_address", "203.0.113.7")  # a mock of the test driver

    def open_page(site: Path | None = None, kept: Path | None = state, **query: str) -> AppTest:
        place = arena_site.path if site is None else site
        shared = Settings(str(place), None if kept is None else str(kept))
        monkeypatch.setenv(settings_of.VARIABLE, json.dumps(_plain(shared)))
        app = AppTest.from_function(script, default_timeout=30)
        if site is None:
            query = {"board": board_id} | query
        for name, value in query.items():
            app.query_params[name] = value
        return checked(app.run())

    return open_page


def _plain(settings: Settings) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(settings)
    return found


def checked(app: AppTest) -> AppTest:
    assert not app.exception, app.exception
    return app


def button(app: AppTest, name: str) -> Any:
    return next(b for b in app.button if b.key is not None and b.key.startswith(f"arena.{name}."))


def has_button(app: AppTest, name: str) -> bool:
    return any(b.key is not None and b.key.startswith(f"arena.{name}.") for b in app.button)


def control(app: AppTest, name: str) -> Any:
    return next(c for c in app.segmented_control if (c.key or "").startswith(f"arena.{name}."))


def choose(app: AppTest, *choices: str) -> None:
    for criterion, choice in zip(CRITERIA, choices, strict=True):
        checked(control(app, criterion).set_value(choice).run())


def submit(app: AppTest) -> None:
    checked(button(app, "submit").click().run())


def everything(app: AppTest) -> str:
    """All that the browser gets, as text."""

    def of(node: Any) -> list[str]:
        inside = [text for child in getattr(node, "children", {}).values() for text in of(child)]
        return [str(getattr(node, "proto", "")), *inside]

    return "\n".join(of(app._tree))


def kept_votes(state: Path) -> list[Any]:
    return ArenaStore(state).votes()


def test_a_vote_is_blind_then_kept_then_revealed(
    opened: Callable[..., AppTest], state: Path, arena_site: Site, board_id: str
) -> None:
    app = opened()
    labels = arena_site.labels(board_id)
    before = everything(app)
    assert "Coverage: which fragment" in before
    assert not [name for name in (*labels, *labels.values()) if name in before]
    assert [m.value for m in app.markdown if m.value.startswith("##### ")] == ["##### A", "##### B"]
    assert button(app, "submit").disabled
    choose(app, "A", TIE, BOTH_BAD)
    assert not button(app, "submit").disabled
    assert not ArenaStore(state).votes()
    submit(app)
    votes = kept_votes(state)
    left, right = votes[0].runs
    assert [(vote.criterion, vote.choice) for vote in votes] == [
        ("coverage", left),
        ("relevance", TIE),
        ("coherence", BOTH_BAD),
    ]
    heads = [m.value for m in app.markdown if m.value.startswith("##### ")]
    assert heads == [f"##### A · {labels[left]}", f"##### B · {labels[right]}"]
    assert f"Coverage: **{labels[left]}**" in [m.value for m in app.markdown]
    assert not has_button(app, "submit")
    first = votes[0].sample_id, votes[0].run_set
    checked(button(app, "next").click().run())
    choose(app, "B", "B", "B")
    submit(app)
    later = kept_votes(state)[3:]
    assert [vote.choice for vote in later] == [later[0].runs[1]] * 3
    assert (later[0].sample_id, later[0].run_set) != first
    assert len({vote.rater for vote in kept_votes(state)}) == 1


def test_fragments_are_of_the_dialogue_in_the_order_of_the_letters(
    opened: Callable[..., AppTest], state: Path, arena_site: Site, board_id: str
) -> None:
    app = opened()
    query = app.text[0].value
    boxes = [column for column in app.columns if column.caption]
    shown = [[text.value for text in box.text] for box in boxes]
    choose(app, "A", "A", "A")
    submit(app)
    vote = kept_votes(state)[0]
    sql = "SELECT query FROM queries WHERE board_id = ? AND sample_id = ?"
    assert query == arena_site.query(sql, [board_id, vote.sample_id])["query"][0].as_py()
    sql = "SELECT turns FROM dialogues WHERE hash = ? AND dialogue_id = ?"
    values = [arena_site.board(board_id).hash, vote.dialogue_id]
    turns = {t["utt_id"]: t for t in arena_site.query(sql, values)["turns"][0].as_py()}
    for run, texts in zip(vote.runs, shown, strict=True):
        sql = "SELECT utt_ids FROM samples WHERE board_id = ? AND run_id = ? AND sample_id = ?"
        ids = arena_site.query(sql, [board_id, run, vote.sample_id])["utt_ids"][0].as_py()
        said = "\n\n".join(texts)
        for utt_id, turn in turns.items():
            if turn["text"]:
                line = f"{turn['speaker']}: {turn['text']}"
                assert (line in said) or utt_id not in ids


def test_sessions_are_apart(opened: Callable[..., AppTest], state: Path) -> None:
    for _ in range(2):
        app = opened()
        choose(app, "A", "A", "A")
        submit(app)
    assert len({vote.rater for vote in kept_votes(state)}) == 2


def test_a_token_of_another_session_is_not_taken(
    opened: Callable[..., AppTest], state: Path
) -> None:
    mine, other = opened(), opened()
    mine.session_state["_arena_round"].token = other.session_state["_arena_round"].token
    choose(mine, "A", "A", "A")
    submit(mine)
    assert [warning.value for warning in mine.warning] == [
        "This vote belongs to another session and was not taken. Here is something new."
    ]
    assert kept_votes(state) == []
    choose(mine, "A", "A", "A")
    submit(mine)
    assert len(kept_votes(state)) == 3


def test_a_used_token_is_not_taken_again(opened: Callable[..., AppTest], state: Path) -> None:
    app = opened()
    choose(app, "A", "A", "A")
    submit(app)
    app.session_state["_arena_round"].choices = {}  # as if it had not been taken
    checked(app.run())
    choose(app, "B", "B", "B")
    submit(app)
    assert "was taken already" in app.warning[0].value
    assert len(kept_votes(state)) == 3


def test_an_old_round_is_not_taken(
    opened: Callable[..., AppTest], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard.arena import tokens

    app = opened()
    choose(app, "A", "A", "A")
    monkeypatch.setattr(tokens, "LIFETIME", -1)
    submit(app)
    assert "open for more than an hour" in app.warning[0].value
    assert kept_votes(state) == []


def test_who_votes_too_often_has_to_wait_and_loses_nothing(
    opened: Callable[..., AppTest], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard.arena import store

    monkeypatch.setattr(store, "Limits", lambda: Limits(a_minute=1, a_day=9))
    app = opened()
    choose(app, "A", "A", "A")
    submit(app)
    fresh = opened()  # another session, the same address
    choose(fresh, "A", TIE, "B")
    submit(fresh)
    assert "Too many votes" in fresh.warning[0].value
    assert [control(fresh, name).value for name in CRITERIA] == ["A", TIE, "B"]
    assert len(kept_votes(state)) == 3
    monkeypatch.setattr(store, "Limits", lambda: Limits(a_minute=9, a_day=9))
    submit(fresh)
    assert len(kept_votes(state)) == 6


def test_skipping_shows_something_else(opened: Callable[..., AppTest]) -> None:
    app = opened()
    items = set()
    for _ in range(6):
        pair = app.session_state["_arena_round"].drawn.pair
        item = pair.sample_id, tuple(sorted(pair.runs))
        assert item not in items
        items.add(item)
        checked(button(app, "skip").click().run())


def test_the_best_of_four(opened: Callable[..., AppTest], state: Path) -> None:
    app = opened()
    checked(app.segmented_control(key="arena.form").set_value("best_of").run())
    heads = [m.value for m in app.markdown if m.value.startswith("##### ")]
    assert heads == [f"##### {letter}" for letter in "ABCD"]
    assert control(app, "coverage").options == list("ABCD")
    choose(app, "D", "A", "D")
    submit(app)
    votes = kept_votes(state)
    assert [vote.form for vote in votes] == ["best_of"] * 3
    assert [vote.runs.index(vote.choice) for vote in votes] == [3, 0, 3]


def fill(state: Path, board_id: str, runs: list[str], **given: Any) -> None:
    store = ArenaStore(state)
    store.create()
    store.add(
        [
            make_vote(
                board_id=board_id,
                sample_id=f"d{i}#0",
                dialogue_id=f"d{i}",
                runs=tuple(runs),
                choice=runs[bool(i % 4)],
                criterion=criterion,
                **given,
            )
            for i in range(24)
            for criterion in CRITERIA
        ]
    )


def results(app: AppTest) -> AppTest:
    app.session_state["arena.tab"] = app.tabs[1].label
    return checked(app.run())


def test_results_show_strengths_agreement_and_votes(
    opened: Callable[..., AppTest], state: Path, arena_site: Site, board_id: str
) -> None:
    labels = arena_site.labels(board_id)
    runs = sorted(labels)[:2]
    fill(state, board_id, runs, rater="r1")
    fill(state, board_id, runs, rater="r2")
    app = results(opened())
    frame = app.dataframe[0].value
    assert list(frame["run"]) == [labels[runs[1]], labels[runs[0]]]
    assert list(frame["wins"]) == [36, 12]
    assert frame["lo"][0] < frame["strength"][0] < frame["hi"][0]
    assert "Votes: 48 · raters: 2 · dialogues: 24 · ties: 0% · both bad: 0%" in [
        m.value for m in app.markdown
    ]
    assert any("α 1.00" in m.value and "100%" in m.value for m in app.markdown)
    spec = json.loads(app.get("vega_lite_chart")[0].proto.spec)
    assert spec["transform"][0]["filter"]["oneOf"] == list(frame["run"])


def test_results_by_form_and_kind_of_rater(
    opened: Callable[..., AppTest], state: Path, arena_site: Site, board_id: str
) -> None:
    runs = sorted(arena_site.labels(board_id))
    fill(state, board_id, runs[:2], rater="r1")
    fill(state, board_id, runs[:2], rater="gpt", rater_kind="judge")
    fill(state, board_id, runs[:4], rater="r1", form="best_of")
    app = results(opened())
    assert app.segmented_control(key="arena.raters").options == ["people", "judge models", "both"]
    assert any(m.value.startswith("People and judge models: α") for m in app.markdown)
    checked(app.segmented_control(key="arena.raters").set_value("all").run())
    assert list(app.dataframe[0].value["votes"]) == [48, 48]
    checked(app.segmented_control(key="arena.result_form").set_value("best_of").run())
    frame = app.dataframe[0].value
    assert list(frame["chosen"]) == [18, 6, 0, 0]
    assert list(frame["shown"]) == [24] * 4
    assert frame["share"][0] == 0.75


def test_few_votes_are_said_to_be_few(
    opened: Callable[..., AppTest], state: Path, arena_site: Site, board_id: str
) -> None:
    store = ArenaStore(state)
    store.create()
    store.add([make_vote(board_id=board_id, runs=("gone", "b"), choice="gone")])
    app = results(opened())
    assert "Not enough votes" in app.info[0].value
    frame = app.dataframe[0].value
    assert list(frame["run"]) == ["b", "gone"]  # runs that the site does not have any more
    assert list(frame["status"]) == ["not enough votes"] * 2
    assert not app.get("vega_lite_chart")


def test_votes_on_hidden_gold_show_as_aggregates_only(
    opened: Callable[..., AppTest], state: Path, arena_site: Site, board_id: str
) -> None:
    hidden = next(i for i in arena_site.board_ids if arena_site.board(i).hidden_gold)
    for board in (hidden, board_id):
        runs = sorted(arena_site.labels(board))[:2]
        fill(state, board, runs, rater="gpt", rater_kind="judge")
        app = results(opened(board=board))
        assert len(app.dataframe[0].value) == 2
        keys = [b.key for b in app.get("download_button") if "arena.download" in (b.key or "")]
        assert len(keys) == (0 if board == hidden else 2)


def test_empty_states(opened: Callable[..., AppTest], arena_site: Site, tmp_path: Path) -> None:
    read_only = opened(kept=None)
    assert "takes no votes" in read_only.info[0].value
    assert "takes no votes" in results(read_only).info[0].value
    hidden = next(i for i in arena_site.board_ids if arena_site.board(i).hidden_gold)
    said = opened(board=hidden).info[0].value
    assert "gold of this benchmark is hidden" in said
    assert "Choose a benchmark with public gold above" in said
    assert "No votes on this benchmark yet" in results(opened()).info[0].value
    lonely = write_site(tmp_path / "lonely", n_runs=1, n_samples=4, n_dialogues=2)
    assert "needs two models" in opened(site=lonely).info[0].value


def test_another_benchmark_is_offered_only_if_there_is_one(
    opened: Callable[..., AppTest], tmp_path: Path
) -> None:
    site = write_site(tmp_path / "site", n_runs=3, n_samples=4, n_dialogues=2)
    manifest = json.loads((site / "manifest.json").read_text())
    for board in manifest["boards"]:
        board["hidden_gold"] = True
    (site / "manifest.json").write_text(json.dumps(manifest))
    said = opened(site=site).info[0].value
    assert "gold of this benchmark is hidden" in said
    assert "Choose" not in said


def test_invented_ids_are_not_an_answer_of_nothing(opened: Callable[..., AppTest]) -> None:
    app = opened()
    current = app.session_state["_arena_round"]
    current.drawn = dataclasses.replace(
        current.drawn, fragments=((), ()), said_nothing=(True, False)
    )
    app.session_state["_arena_round"] = current
    checked(app.run())
    said = [caption.value for caption in app.caption]
    nothing = [value for value in said if "says that the dialogue has no answer" in value]
    invented = [
        value for value in said if value == "This answer names nothing that the dialogue has."
    ]
    assert (len(nothing), len(invented)) == (1, 1)


def test_trouble_is_said_and_logged_without_names_of_folders(
    opened: Callable[..., AppTest], state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = opened()
    choose(app, "A", "A", "A")
    with sqlite3.connect(state / "arena.sqlite") as database:
        database.execute("DROP TABLE used_tokens")
    database.close()
    with caplog.at_level(logging.ERROR, "leaderboard.arena"):
        submit(app)
    assert "could not be kept" in app.warning[0].value
    assert str(state) not in everything(app)
    assert "no such table" in caplog.text
    assert control(app, "coverage").value == "A"
    (state / "arena.secret").chmod(0o644)
    assert "cannot be read or kept" in opened().error[0].value


def test_chinese(opened: Callable[..., AppTest], state: Path) -> None:
    app = opened(lang="zh")
    assert app.title[0].value == "竞技场"
    assert app.tabs[1].label == "结果"
    choose(app, TIE, TIE, TIE)
    submit(app)
    assert [vote.choice for vote in kept_votes(state)] == [TIE] * 3


def test_long_texts_stay_whole_and_visible() -> None:
    words = " ".join(f"word{i}" for i in range(400))
    assert readable(words) == words
    assert readable("字" * 1500).replace(" ", "") == "字" * 1500
    assert "\u202e" not in readable("abc\u202edef\x1b[31m")
    assert readable("a\nb\r\n\tc") == "a b c"
    assert readable("") == ""
