"""What the components are told: marks are those of the scorer, and text stays text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffr_eval.metrics.sets import set_counts
from leaderboard.chat.data import Column, dialogue_data, prompt_data
from leaderboard.queries import sample_record as records
from leaderboard.queries.sample_record import (
    Image,
    ImagePlace,
    Marks,
    Message,
    Part,
    Request,
    RunAnswer,
    SampleRecord,
    Turn,
)
from leaderboard.texts import texts

if TYPE_CHECKING:
    from leaderboard.site.reader import Site

TEXT = texts("en")
FILE = "0" * 64
IDS = st.lists(st.integers(0, 12), max_size=10)


def record(**changes: Any) -> SampleRecord:
    turns = tuple(
        Turn(i, ("Ana", "Ben")[i % 2], f"text {i}", None, (0,) if i == 3 else ()) for i in range(8)
    )
    values: dict[str, Any] = {
        "sample_id": "d#0",
        "row": 0,
        "query": "q",
        "kind": "multimodal",
        "dialogue_id": "d",
        "language": "en",
        "gold_utt_ids": (2, 5),
        "gold_img_ids": (0,),
        "turns": turns,
        "images": (Image(0, FILE, 4, 3, "a cat"), Image(1, None, None, None, None)),
    }
    return SampleRecord(**(values | changes))


def answer(utts: Marks, imgs: Marks = Marks(), **changes: Any) -> RunAnswer:  # noqa: B008
    values: dict[str, Any] = {
        "run_id": "a",
        "outcome": "ok",
        **dict.fromkeys(("f1", "precision", "recall", "utt_f1", "img_f1", "latency_s", "cost")),
        "utt_ids": (),
        "img_ids": (),
        "utterances": utts,
        "images": imgs,
    }
    return RunAnswer(**(values | changes))


@given(predicted=IDS, gold=st.lists(st.integers(0, 7), max_size=8, unique=True))
def test_marks_are_those_of_the_scorer(predicted: list[int], gold: list[int]) -> None:
    known = range(8)
    found = records.marks(predicted, gold, known)
    counts = set_counts(predicted, gold, known)
    assert len(found.tp) == counts.tp[0]
    assert len(found.fp) == counts.fp[0]
    assert len(found.fn) == counts.fn[0]
    assert len(found.invented) == counts.tp_outside[0] + counts.fp_outside[0]
    assert set(found.tp) | set(found.fp) == set(predicted)
    assert set(found.tp) | set(found.fn) == set(gold)


def test_every_sample_agrees_with_its_published_counts(site: Site, board: str) -> None:
    runs = list(site.labels(board))
    rows = site.query(
        "SELECT s.*, q.sample_id AS name FROM samples s JOIN queries q USING (board_id, row)"
        " WHERE board_id = ? AND row % 7 = 0",
        (board,),
    ).to_pylist()
    assert len(rows) > len(runs)
    for row in rows:
        sample = records.sample_record(site, board, row["name"])
        assert sample is not None
        found = records.run_answer(site, board, sample, row["run_id"])
        assert found is not None
        for modality, marked in (("utt", found.utterances), ("img", found.images)):
            for count in ("tp", "fp", "fn"):
                assert len(getattr(marked, count)) == row[f"{modality}_{count}"], row
        assert found.f1 == row["f1"]
        assert found.outcome == row["outcome"]


def test_a_record_has_its_dialogue_and_its_own_answer(site: Site, board: str) -> None:
    name = "dlg-0002#25"
    sample = records.sample_record(site, board, name)
    assert sample is not None
    assert sample.dialogue_id == "dlg-0002"
    assert len(sample.turns) == 600
    assert [turn.utt_id for turn in sample.turns[:3]] == [0, 1, 2]
    assert {i for turn in sample.turns for i in turn.img_ids or ()} == {
        image.img_id for image in sample.images
    }
    run = next(run for run in site.labels(board) if run.startswith("gpt"))
    said = records.run_answer(site, board, sample, run)
    assert said is not None
    if said.outcome == "ok":
        assert said.response is not None
        assert str(said.utt_ids[0]) in said.response
    assert said.prompt_id is not None
    requests = records.prompt_requests(site, said.prompt_id)
    assert requests is not None
    assert name in str(requests[0].messages[-1].parts[0].text)
    assert records.prompt_requests(site, "no such") is None
    assert records.sample_record(site, board, "no such") is None
    assert records.run_answer(site, board, sample, "no such") is None


def test_hidden_gold_stays_hidden(site: Site, hidden_board: str) -> None:
    name = site.query(
        "SELECT sample_id FROM queries WHERE board_id = ? LIMIT 1", (hidden_board,)
    ).to_pylist()[0]["sample_id"]
    sample = records.sample_record(site, hidden_board, name)
    assert sample is not None
    assert sample.gold_utt_ids is None
    assert sample.kind is None
    data = dialogue_data(sample, (), TEXT)
    assert data["columns"] == []
    assert not any(turn["gold"] or turn["marks"] for turn in data["turns"])
    assert data["open"] is None


def test_without_a_usable_answer_nothing_is_predicted(odd_site: Site, board: str) -> None:
    row = odd_site.query(
        "SELECT run_id, sample_id FROM samples WHERE board_id = ? AND outcome = 'refusal'"
        " AND len(utt_ids) > 0 LIMIT 1",
        (board,),
    ).to_pylist()[0]
    sample = records.sample_record(odd_site, board, row["sample_id"])
    assert sample is not None
    found = records.run_answer(odd_site, board, sample, row["run_id"])
    assert found is not None
    assert found.utt_ids == (0, 1)
    assert not found.utterances.tp
    assert not found.utterances.fp
    assert found.utterances.fn == sample.gold_utt_ids


def test_marks_beside_turns_and_images() -> None:
    one = answer(Marks((2,), (4, 90), (5,), (90,)), Marks((), (1,), (0,)))
    other = answer(Marks((2, 5), (), ()), Marks((0,), (77,), (), (77,)))
    columns = [Column("A", "model one", one), Column("B", "model two", other)]
    data = dialogue_data(record(), columns, TEXT)
    assert [column["name"] for column in data["columns"]] == ["gold", "A", "B"]
    by_id = {turn["id"]: turn["marks"] for turn in data["turns"]}
    assert by_id[2] == ["gold", "tp", "tp"]
    assert by_id[4] == [None, "fp", None]
    assert by_id[5] == ["gold", "fn", "tp"]
    assert by_id[0] == [None, None, None]
    assert data["images"]["0"]["marks"] == ["gold", "fn", "tp"]
    assert data["images"]["1"]["marks"] == [None, "fp", None]
    assert data["invented"] == [
        {"name": "A", "utts": [90], "imgs": []},
        {"name": "B", "utts": [], "imgs": [77]},
    ]
    assert data["marked"] == [2, 3, 4, 5]  # turn 3 has image 0
    assert data["open"] == 2
    assert data["loose"] == [1]
    assert [turn["right"] for turn in data["turns"][:2]] == [False, True]
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("gold_utts", "gold_imgs", "predicted", "opens"),
    [
        ((5,), (), Marks((), (1,), (5,)), 5),  # gold before what was predicted earlier
        ((), (0,), Marks(), 3),  # the turn with the image
        ((), (), Marks((), (4,), ()), 4),  # no gold: the first predicted one
        ((), (), Marks(), None),
    ],
)
def test_it_opens_at_the_first_gold_turn(
    gold_utts: tuple[int, ...], gold_imgs: tuple[int, ...], predicted: Marks, opens: int | None
) -> None:
    sample = record(gold_utt_ids=gold_utts, gold_img_ids=gold_imgs)
    data = dialogue_data(sample, [Column("A", "m", answer(predicted))], TEXT)
    assert data["open"] == opens


def test_a_model_that_was_not_asked_has_no_column() -> None:
    columns = [Column("A", "m", None), Column("B", "n", answer(Marks()))]
    data = dialogue_data(record(), columns, TEXT)
    assert [column["name"] for column in data["columns"]] == ["gold", "B"]
    assert {len(turn["marks"]) for turn in data["turns"]} == {2}


def test_only_hashes_name_files_and_control_characters_are_seen() -> None:
    hostile = "https://evil.example/x"
    turns = (Turn(0, "<b>\u202eAna", "a\u202eb\x1b[2J\n<script>", "\u2066t", (0, 9)),)
    images = (Image(0, hostile, None, None, "<img src=x>\u202e"), Image(2, "../" + FILE, 1, 1, ""))
    sample = record(turns=turns, images=images, gold_utt_ids=(0,), gold_img_ids=())
    data = dialogue_data(sample, [Column("A", "\u202eevil", answer(Marks()))], TEXT)
    assert [image["file"] for image in data["images"].values()] == [None, None]
    (turn,) = data["turns"]
    assert turn["text"] == "a\\u202eb\\x1b[2J\n<script>"
    assert turn["images"] == [0]  # image 9 is not there
    assert "\u202e" not in json.dumps(data, ensure_ascii=False)
    assert "<script>" in turn["text"]  # text, drawn as such


def test_prompts_show_whose_images_they_had() -> None:
    parts = (Part(text="look\t\u202e\n "), Part(img_id=0), Part(text=" and "), Part(img_id=1))
    messages = (Message("user", parts), Message("user", (Part(img_id=0),)))
    places = (ImagePlace("other", 0), ImagePlace("d", 5), ImagePlace("d", 0))
    files = {("other", 0): "1" * 64, ("d", 0): "2" * 64, ("d", 5): "not a hash"}
    request = Request(messages, part=0, utt_ids=(0, 7), images=places, schema={"type": "object"})
    data = prompt_data((request, request), "d", files, TEXT)
    first, second = data["requests"][0]["messages"]
    assert first["parts"] == [
        {"text": "look\t\\u202e\n "},
        {"name": "[image 0]", "file": "1" * 64},
        {"text": " and "},
        {"name": "[image 1]", "file": None},
    ]
    assert second["parts"] == [{"name": "[image 0]", "file": "2" * 64}]
    assert data["requests"][0]["title"] == "Window 1: utterances 0 to 7"
    assert '"object"' in data["requests"][0]["schema"]


def test_images_without_places_are_shown_only_if_they_must_be_of_this_dialogue() -> None:
    files = {("d", 0): FILE}
    alone = Request((Message("user", (Part(img_id=0),)),))
    assert prompt_data((alone,), "d", files, TEXT)["requests"][0]["messages"][0]["parts"] == [
        {"name": "[image 0]", "file": FILE}
    ]
    example = Request((Message("user", (Part(img_id=0),)), *alone.messages))
    later = Request(alone.messages, part=1)
    for request in (example, later):
        for message in prompt_data((request,), "d", files, TEXT)["requests"][0]["messages"]:
            assert [part["file"] for part in message["parts"]] == [None]


def test_images_of_examples_are_found(site: Site, board: str) -> None:
    sample = records.sample_record(site, board, "dlg-0002#25")
    assert sample is not None
    request = Request((), images=(ImagePlace("dlg-0001", 0), ImagePlace("dlg-0002", 1)))
    files = records.image_files(site, board, sample, (request,))
    assert len(files["dlg-0001", 0]) == 64
    assert files["dlg-0002", 1] == {i.img_id: i.sha256 for i in sample.images}[1]


def test_both_languages_have_the_same_words() -> None:
    for data in (dialogue_data(record(), (), texts(code)) for code in ("en", "zh")):
        assert all(data["words"].values())
