"""What is shown next: differing answers, fewest votes first, random sides, nothing hidden."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from leaderboard.arena.drawing import Drawing, contestants, differing
from leaderboard.arena.fragments import Fragment, fragment, image_bytes
from leaderboard.arena.store import ArenaStore, Ballot, Limits
from leaderboard.arena.votes import CRITERIA
from tests.leaderboard.arena.conftest import make_vote

if TYPE_CHECKING:
    from pathlib import Path

    from leaderboard.arena.drawing import Drawn
    from leaderboard.site.reader import Site


@pytest.fixture
def store(state: Path) -> ArenaStore:
    made = ArenaStore(state, limits=Limits(10**6, 10**6))
    made.create()
    return made


def cast(store: ArenaStore, drawn: Drawn, rater: str) -> None:
    pair = drawn.pair
    votes = tuple(
        make_vote(
            board_id=pair.board_id,
            sample_id=pair.sample_id,
            dialogue_id=pair.dialogue_id,
            form=pair.form,
            runs=pair.runs,
            choice=pair.runs[0],
            criterion=criterion,
            rater=rater,
        )
        for criterion in CRITERIA
    )
    store.cast(Ballot(votes, pair.nonce, 4e9, (rater,)))


def test_the_same_seed_draws_the_same(arena_site: Site, store: ArenaStore, board_id: str) -> None:
    def draws(seed: int) -> list[tuple[str, tuple[str, ...]]]:
        drawing = Drawing(arena_site, store, random.Random(seed))
        found = [drawing.draw(board_id, "s") for _ in range(5)]
        return [(drawn.pair.sample_id, drawn.pair.runs) for drawn in found if drawn is not None]

    assert draws(1) == draws(1)
    assert len(draws(1)) == 5
    assert draws(1) != draws(2)


def test_sides_are_random(arena_site: Site, store: ArenaStore, board_id: str) -> None:
    drawing = Drawing(arena_site, store, random.Random(0))
    draws = [drawing.draw(board_id, "s") for _ in range(200)]
    in_order = sum(d.pair.runs == tuple(sorted(d.pair.runs)) for d in draws if d is not None)
    assert 70 < in_order < 130


def test_fragments_are_those_of_the_runs_in_the_order_shown(
    arena_site: Site, store: ArenaStore, board_id: str
) -> None:
    drawing = Drawing(arena_site, store, random.Random(0))
    for _ in range(20):
        drawn = drawing.draw(board_id, "s")
        assert drawn is not None
        assert len(set(drawn.fragments)) == 2
        for run, shown in zip(drawn.pair.runs, drawn.fragments, strict=True):
            sql = "SELECT * FROM samples WHERE board_id = ? AND run_id = ? AND sample_id = ?"
            values = [board_id, run, drawn.pair.sample_id]
            row = arena_site.query(sql, values).to_pylist()[0]
            assert row["outcome"] in ("ok", "empty")
            assert row["dialogue_id"] == drawn.pair.dialogue_id
            said = {part.utt_id for part in shown if part.text is not None}
            pictures = {picture.img_id for part in shown for picture in part.pictures}
            place = drawn.pair.runs.index(run)
            assert drawn.said_nothing[place] == (row["outcome"] == "empty")
            assert said <= set(row["utt_ids"])
            assert pictures <= set(row["img_ids"])


def test_hidden_gold_is_never_drawn(
    arena_site: Site, store: ArenaStore, board_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if answers on it were in the site by mistake."""
    drawing = Drawing(arena_site, store, random.Random(0))
    assert drawing.draw(board_id, "s") is not None
    record = msgspec.structs.replace(arena_site.board(board_id), hidden_gold=True)
    monkeypatch.setattr(arena_site, "board", lambda _: record)
    assert drawing.draw(board_id, "s") is None


def test_what_looks_the_same_is_not_shown(
    arena_site: Site, store: ArenaStore, board_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers may differ by ids that the dialogue does not have."""
    part = fragment(TURNS, IMAGES, [3], [])
    monkeypatch.setattr("leaderboard.arena.drawing.fragment", lambda *_: part)
    assert Drawing(arena_site, store, random.Random(0)).draw(board_id, "s") is None


def test_runs_with_the_fewest_votes_come_first(
    arena_site: Site, store: ArenaStore, board_id: str
) -> None:
    """And each meets those that it has met the least."""

    def voted(*pairs: tuple[str, ...]) -> None:
        store.add(
            [
                make_vote(board_id=board_id, runs=pair, choice=pair[0], criterion=criterion)
                for pair in pairs
                for criterion in CRITERIA
            ]
        )

    def drawn(seed: int) -> set[str]:
        found = Drawing(arena_site, store, random.Random(seed)).draw(board_id, "s", overlap=0.0)
        assert found is not None
        return set(found.pair.runs)

    a, b, late, *others = contestants(arena_site, board_id)
    voted((a, b))
    assert not any(drawn(seed) & {a, b} for seed in range(10))
    voted(*combinations([a, b, *others], 2))
    assert all(late in drawn(seed) for seed in range(10))
    voted(*[(late, other) for other in [a, b, *others[:-1]]] * 3)
    assert all({others[-1]} < drawn(seed) for seed in range(10))
    assert {others[-1], late} in [drawn(seed) for seed in range(10)]


def test_who_knows_the_gold_does_not_take_part(arena_site: Site, board_id: str) -> None:
    everyone = set(arena_site.labels(board_id))
    assert everyone - set(contestants(arena_site, board_id)) == {"oracle"}


def test_votes_spread_over_runs_and_samples(
    arena_site: Site, store: ArenaStore, board_id: str
) -> None:
    drawing = Drawing(arena_site, store, random.Random(0))
    shown: Counter[str] = Counter()
    items: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for turn in range(84):
        drawn = drawing.draw(board_id, f"s{turn}", overlap=0.0)
        assert drawn is not None
        shown.update(drawn.pair.runs)
        items[drawn.pair.sample_id, tuple(sorted(drawn.pair.runs))] += 1
        cast(store, drawn, f"s{turn}")
    runs = contestants(arena_site, board_id)
    assert set(shown) == set(runs)
    assert max(shown.values()) - min(shown.values()) <= 4
    assert max(items.values()) == 1


def test_some_draws_are_of_what_one_other_has_judged(
    arena_site: Site, store: ArenaStore, board_id: str
) -> None:
    drawing = Drawing(arena_site, store, random.Random(0))
    for _ in range(3):
        drawn = drawing.draw(board_id, "first", overlap=0.0)
        assert drawn is not None
        cast(store, drawn, "first")
    for _ in range(3):
        drawn = drawing.draw(board_id, "second", overlap=1.0)
        assert drawn is not None
        cast(store, drawn, "second")
    raters: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for vote in store.votes():
        raters.setdefault((vote.sample_id, vote.run_set), set()).add(vote.rater)
    assert list(raters.values()) == [{"first", "second"}] * 3


def test_nobody_is_shown_the_same_twice(arena_site: Site, store: ArenaStore, board_id: str) -> None:
    drawing = Drawing(arena_site, store, random.Random(0))
    seen = set()
    for _ in range(60):
        drawn = drawing.draw(board_id, "s", overlap=0.5)
        assert drawn is not None
        item = drawn.pair.sample_id, tuple(sorted(drawn.pair.runs))
        assert item not in seen
        seen.add(item)
        cast(store, drawn, "s")


def test_what_was_skipped_is_left_out(arena_site: Site, store: ArenaStore, board_id: str) -> None:
    runs = contestants(arena_site, board_id)
    skipped = frozenset(
        (sample.sample_id, (a, b))
        for a in runs
        for b in runs
        if a < b
        for sample in differing(arena_site, board_id, (a, b))
    )
    drawing = Drawing(arena_site, store, random.Random(0))
    assert drawing.draw(board_id, "s", skipped=skipped) is None
    one = min(skipped)
    drawn = drawing.draw(board_id, "s", skipped=skipped - {one})
    if drawn is not None:  # beyond the number of tries otherwise
        assert (drawn.pair.sample_id, tuple(sorted(drawn.pair.runs))) == one


def test_the_best_of_four_different_ones(
    arena_site: Site, store: ArenaStore, board_id: str
) -> None:
    drawing = Drawing(arena_site, store, random.Random(0))
    for turn in range(12):
        drawn = drawing.draw(board_id, f"s{turn}", "best_of")
        assert drawn is not None
        assert drawn.pair.form == "best_of"
        assert len(set(drawn.pair.runs)) == len(set(drawn.fragments)) == 4
        cast(store, drawn, f"s{turn}")
    assert store.ballots(board_id, "pair") == {}
    assert sum(store.ballots(board_id, "best_of").values()) == 12


def test_differing_samples_have_usable_and_different_answers(
    arena_site: Site, board_id: str
) -> None:
    a, b = contestants(arena_site, board_id)[:2]
    sql = "SELECT * FROM samples WHERE board_id = ? AND run_id = ?"
    answers = [
        {row["sample_id"]: row for row in arena_site.query(sql, [board_id, run]).to_pylist()}
        for run in (a, b)
    ]

    def differs(sample_id: str) -> bool:
        one, other = (found[sample_id] for found in answers)
        usable = {one["outcome"], other["outcome"]} <= {"ok", "empty"}
        return usable and any(set(one[k]) != set(other[k]) for k in ("utt_ids", "img_ids"))

    wanted = {sample_id for sample_id in answers[0] if differs(sample_id)}
    assert {sample.sample_id for sample in differing(arena_site, board_id, (a, b))} == wanted
    assert len(wanted) > 0


TURNS = [
    {"utt_id": 3, "speaker": "Ana", "text": "one", "img_ids": [0, 1]},
    {"utt_id": 1, "speaker": "Ben", "text": None, "img_ids": [2]},
    {"utt_id": 2, "speaker": None, "text": "three", "img_ids": None},
]
IMAGES = [{"img_id": i, "sha256": None, "caption": f"c{i}"} for i in range(4)]


def shown(found: Fragment) -> list[tuple[int | None, str | None, list[int]]]:
    return [(part.utt_id, part.text, [p.img_id for p in part.pictures]) for part in found]


def test_a_fragment_is_in_the_order_of_the_dialogue() -> None:
    found = fragment(TURNS, IMAGES, [2, 3, 3, 99], [1, 3, -1])
    assert shown(found) == [(3, "one", [1]), (2, "three", []), (None, None, [3])]


def test_an_image_alone_does_not_show_what_was_said() -> None:
    assert shown(fragment(TURNS, IMAGES, [], [0])) == [(3, None, [0])]
    assert shown(fragment(TURNS, IMAGES, [1], [])) == [(1, "", [])]
    assert fragment(TURNS, IMAGES, [77], [77]) == ()


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "../../manifest",
        "/etc/passwd",
        "a" * 63,
        "A" * 64,
        "a" * 64 + "\n",
        "a" * 64,
        "https://evil.example/x",
    ],
)
def test_images_are_only_those_of_the_site(arena_site: Site, name: str | None) -> None:
    assert image_bytes(arena_site, name) is None


def test_images_must_be_listed_and_named_by_their_hash(tmp_path: Path) -> None:
    names = "a" * 64, "b" * 64, "c" * 63, "../" + "d" * 64
    for name in names:
        path = tmp_path / "public" / "images" / f"{name}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
    listed = {f"public/images/{name}.webp": None for name in names if not name.startswith("b")}
    listed["public/" + "d" * 64 + ".webp"] = None
    site: Any = SimpleNamespace(path=tmp_path, manifest=SimpleNamespace(files=listed))
    assert [image_bytes(site, name) for name in names] == [b"image", None, None, None]


def test_images_of_the_site_are_read_but_not_through_links(
    arena_site: Site, tmp_path: Path
) -> None:
    file = next(arena_site.path.glob("public/images/*.webp"))
    content = file.read_bytes()
    assert image_bytes(arena_site, file.stem) == content
    aside = tmp_path / "aside.webp"
    file.rename(aside)
    try:
        file.symlink_to(aside)
        assert image_bytes(arena_site, file.stem) is None
    finally:
        file.unlink()
        aside.rename(file)
