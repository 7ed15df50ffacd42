"""What a run folder says of itself: ``card.json``, and what follows from ``run.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError
from leaderboard.publishing.card import Card, read_card

if TYPE_CHECKING:
    from pathlib import Path

    from tests.leaderboard.publishing.conftest import World

_WHOLE = {
    "label": "Model  X (7B)",
    "team": "研究组 1",
    "params_b": 7.6,
    "weights": "open",
    "setting": "zero-shot",
    "link": "https://example.org/a?b=c",
    "provenance": "submitted",
}


def _write(folder: Path, card: Any) -> Path:
    (folder / "card.json").write_text(card if isinstance(card, str) else json.dumps(card))
    return folder


def test_a_card_is_shown(world: World) -> None:
    _write(world.runs / "run-0", _WHOLE)
    world.publish()
    rows = {row["run_id"]: row for row in world.table("runs")}
    row = rows.pop("Model-X-(7B)")
    assert {name: row[name] for name in _WHOLE} == _WHOLE
    for row in rows.values():
        assert (row["weights"], row["provenance"]) == ("unknown", "verified")
        assert row["team"] is row["link"] is row["params_b"] is None


@pytest.mark.parametrize(
    ("record", "card", "setting"),
    [
        ({}, {}, "unknown"),  # a model that FFR does not know, as of uploaded answers
        ({"model": "bm25"}, {}, "zero-shot"),
        ({"tune_on": "dev"}, {}, "tuned"),
        ({"options": {"adapter": "lora"}}, {}, "tuned"),
        ({"options": {"model": "qwen"}}, {}, "unknown"),
        ({"model": "tfidf", "options": {"adapter": None, "k": 5}}, {}, "zero-shot"),
        ({"model_revision": "sha256-1"}, {}, "unknown"),
        ({"prompt_hash": "sha256:1"}, {}, "unknown"),
        ({"model": "gpt-4o-zero-shot", "tune_on": "dev"}, {}, "tuned"),
        ({"tune_on": "dev"}, {"setting": "zero-shot"}, "zero-shot"),
        ({"prompt_hash": "sha256:1"}, {"setting": "tuned"}, "tuned"),
    ],
)
def test_the_setting_follows_from_data(
    world: World, record: dict[str, Any], card: dict[str, Any], setting: str
) -> None:
    world.run("new", card=card, **record)
    world.publish(world.runs / "new")
    assert [row["setting"] for row in world.table("runs")] == [setting]


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"label": ""}, "label: not a name"),
        ({"label": "a" * 81}, "label: not a name"),
        ({"label": "![x](https://evil.example/x.png)"}, "label: not a name"),
        ({"label": ":material/verified:"}, "label: not a name"),
        ({"label": "safe\u202eexe"}, "label: not a name"),
        ({"label": "a\u200bb"}, "label: not a name"),
        ({"label": "\ufffd"}, "label: not a name"),
        ({"team": "a\nb"}, "team: not a name"),
        ({"team": "<b>x</b>"}, "team: not a name"),
        ({"params_b": -1}, "params_b"),
        ({"params_b": 1e9}, "params_b"),
        ({"params_b": "7"}, "params_b"),
        ({"weights": "free"}, "weights"),
        ({"setting": "few-shot"}, "setting"),
        ({"provenance": "reported"}, "provenance"),
        ({"link": "http://example.org"}, "link: not a link"),
        ({"link": "javascript:alert(1)"}, "link: not a link"),
        ({"link": "https://a@example.org/"}, "link: not a link"),
        ({"link": "https://exämple.org/"}, "link: not a link"),
        ({"link": "https://example.org/ x"}, "link: not a link"),
        ({"link": "https://localhost/"}, "link: not a link"),
        ("{", "card.json"),
        ("[]", "card.json"),
        ("x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_bad_card_is_refused_by_field(world: World, card: Any, message: str) -> None:
    folder = _write(world.runs / "run-0", card)
    with pytest.raises(InputError, match=r"card\.json") as caught:
        read_card(folder)
    assert message in str(caught.value)
    done = world.publish()
    (record,) = done.manifest.unscored
    assert record.label == "run-0"
    assert record.reason.startswith("card.json")
    assert len(done.manifest.runs) == 2


def test_a_composed_name_is_taken(tmp_path: Path) -> None:
    _write(tmp_path, {"label": " Ｍodel\u0301 ", "params_b": 0})
    assert read_card(tmp_path) == Card(label="Modeĺ", params_b=0.0)
    (tmp_path / "card.json").unlink()
    assert read_card(tmp_path) == Card()


def test_two_cards_of_one_name_are_told_apart(world: World) -> None:
    for run in ("run-0", "run-1"):
        _write(world.runs / run, {"label": "Same"})
    world.publish()
    labels = {row["label"]: row["run_id"] for row in world.table("runs")}
    assert labels == {"Same": "Same", "Same (2)": "Same-2", "run-2": "run-2"}
    ids = dict(labels)
    world.run("a-first", card={"label": "Same"}, seed=4)
    world.publish()
    labels = {row["label"]: row["run_id"] for row in world.table("runs")}
    assert labels == ids | {"Same (3)": "Same-3"}


def test_a_card_that_changes_is_followed_but_the_id_stays(world: World) -> None:
    world.publish()
    _write(world.runs / "run-1", {"label": "Renamed"})
    done = world.publish()
    assert done.computed == ("run-1",)
    assert {row["run_id"]: row["label"] for row in world.table("runs")}["run-1"] == "Renamed"


def test_what_may_be_written_is_told(tmp_path: Path) -> None:
    for card, remedy in (
        ({"weights": "free"}, "write one of closed, open"),
        ({"setting": "few-shot"}, "write one of tuned, zero-shot"),
        ({"provenance": "reported"}, "write one of submitted, verified"),
        ({"colour": "red"}, "the fields are label, team, params_b, weights, setting, link"),
    ):
        with pytest.raises(InputError) as caught:
            read_card(_write(tmp_path, card))
        assert remedy in (caught.value.problem.remedy or "")
