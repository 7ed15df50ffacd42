"""Mem-Gallery: counts and gold on real chats, what is left out, images, and wrong files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ffr_eval.benchmark import Benchmark, read_benchmark
from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = "mem-gallery"

DIALOG = (
    Path(__file__).resolve().parents[3] / "shared/data/mem_gallery/benchmark/data/dialog"
)  # the development data beside the checkout
QUESTIONS = "human-annotated QAs"
SESSIONS = "multi_session_dialogues"


def chat_round(name: str, *image_ids: str, **more: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"round": name, "user": f"ask {name}", "assistant": f"say {name}"}
    if image_ids:
        record |= {
            "image_id": list(image_ids),
            "input_image": [f"../image/Chat/{image.replace(':', '_')}.jpg" for image in image_ids],
            "image_caption": [f"caption of {image}" for image in image_ids],
        }
    return record | more


def question(clue: Any, **more: Any) -> dict[str, Any]:
    standard = {"point": "FR", "question": "q", "answer": "a", "session_id": ["D1"], "clue": clue}
    return standard | more


@pytest.fixture
def chat(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``data/dialog/NAME.json`` of two sessions."""

    def write(
        *questions: dict[str, Any],
        rounds: list[dict[str, Any]] | None = None,
        name: str = "Chat",
        **more: Any,
    ) -> Path:
        first = [chat_round("D1:1"), chat_round("D1:2", "D1:IMG_001", "D1:IMG_002")]
        record = {
            "character_profile": {"name": "Maya", "traits": ["calm"]},
            SESSIONS: [
                {"session_id": "D1", "date": "2024-06-24", "dialogues": rounds or first},
                {
                    "session_id": "D2",
                    "date": "2024-07-01",
                    "dialogues": [chat_round("D2:1", "D2:IMG_001")],
                },
            ],
            QUESTIONS: list(questions),
        } | more
        file = tmp_path / "data" / "dialog" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=2), encoding="utf-8")
        return file

    return write


@pytest.mark.shared
class TestRealChats:
    def test_counts(self, imported: Callable[..., tuple[Benchmark, list[str]]]) -> None:
        benchmark, notes = imported(DIALOG)
        gold = [sample.gold for sample in benchmark.samples() if sample.gold is not None]
        assert (len(benchmark.dialogues), len(gold)) == (4, 238)
        assert len(benchmark.dialogues.text) / 4 == 454.5
        assert round(sum(len(item.utt_ids) for item in gold) / len(gold), 1) == 4.3
        assert benchmark.queries.kind.count(Kind.MULTIMODAL) == 143
        assert benchmark.queries.kind.count(Kind.UTTERANCE) == 95
        assert notes == [
            "left out 36 questions whose right answer is a refusal (point AR)",
            "left out 128 questions that carry an image",
            (
                "244 images have no file: none was found at their paths"
                " (for example 'Baking_Dessert_Daily_Life_Skill/D1_IMG_001.jpg')"
            ),
        ]
        assert all(benchmark.dialogues.caption)
        assert {sample.meta["point"] for sample in benchmark.samples()}.isdisjoint({"AR"})

    def test_files_give_the_same_as_their_folder(
        self, imported: Callable[..., tuple[Benchmark, list[str]]], cli: Any, tmp_path: Path
    ) -> None:
        files = sorted(DIALOG.glob("*.json"))
        cli("data", "import", "mem-gallery", *files, "--out", tmp_path / "files")
        benchmark, _ = imported(DIALOG)
        assert benchmark.content_hash == read_benchmark(tmp_path / "files").content_hash

    def test_gold_turns_hold_the_words_of_the_answer(
        self, imported: Callable[..., tuple[Benchmark, list[str]]]
    ) -> None:
        """Clues that were put on other rounds would drop to the level of other turns."""
        benchmark, _ = imported(DIALOG)
        generator = np.random.default_rng(0)
        in_gold = in_others = 0.0
        for sample in benchmark.samples():
            words = set(re.findall(r"[a-z]{4,}", sample.meta["answer"].lower()))
            words -= set(re.findall(r"[a-z]+", sample.query.lower()))
            if not words:
                continue
            assert sample.gold is not None
            texts = {turn.utt_id: turn.text.lower() for turn in sample.dialogue.turns}
            others = [i for i in texts if i not in sample.gold.utt_ids]
            chosen = generator.permutation(others)[: len(sample.gold.utt_ids)].tolist()
            for ids, is_gold in ((sample.gold.utt_ids, True), (chosen, False)):
                said = " ".join(texts[i] for i in ids)
                share = sum(word in said for word in words) / len(words)
                in_gold += share * is_gold
                in_others += share * (not is_gold)
        assert in_gold > 3 * in_others


def test_a_round_is_two_turns_and_images_belong_to_the_user(
    imported: Callable[..., tuple[Benchmark, list[str]]], chat: Callable[..., Path]
) -> None:
    benchmark, notes = imported(chat(question(["D1:2", "D2:1", "D1:2"]), question(["D1:1"])))
    sample = benchmark.sample(0)
    assert [(t.utt_id, t.speaker, t.text, t.img_ids, t.time) for t in sample.dialogue.turns] == [
        (0, "Maya", "ask D1:1", (), "2024-06-24"),
        (1, "assistant", "say D1:1", (), "2024-06-24"),
        (2, "Maya", "ask D1:2", (0, 1), "2024-06-24"),
        (3, "assistant", "say D1:2", (), "2024-06-24"),
        (4, "Maya", "ask D2:1", (2,), "2024-07-01"),
        (5, "assistant", "say D2:1", (), "2024-07-01"),
    ]
    assert [image.caption for image in sample.dialogue.images] == [
        "caption of D1:IMG_001",
        "caption of D1:IMG_002",
        "caption of D2:IMG_001",
    ]
    assert sample.gold is not None
    assert (sample.gold.utt_ids, sample.gold.img_ids) == ((2, 3, 4, 5), (0, 1, 2))
    assert sample.meta == {"point": "FR", "answer": "a", "session_id": ["D1"]}
    assert benchmark.queries.sample_id == ["Chat#0", "Chat#1"]
    assert benchmark.queries.kind == [Kind.MULTIMODAL, Kind.UTTERANCE]
    assert notes == [
        "3 images have no file: none was found at their paths (for example 'Chat/D1_IMG_001.jpg')"
    ]
    stored = (benchmark.root or Path()) / "dialogues.jsonl"
    meta = json.loads(stored.read_text(encoding="utf-8"))["meta"]
    assert meta["image_ids"] == ["D1:IMG_001", "D1:IMG_002", "D2:IMG_001"]
    assert meta["character_profile"] == {"name": "Maya", "traits": ["calm"]}
    assert meta["sessions"][1] == {
        "session_id": "D2",
        "date": "2024-07-01",
        "rounds": {"D2:1": [4, 5]},
    }


def test_what_is_left_out_keeps_its_number(
    imported: Callable[..., tuple[Benchmark, list[str]]], chat: Callable[..., Path]
) -> None:
    file = chat(
        question([], point="AR"),
        question(["D1:1"], point=" ar", question_image="x.jpg"),
        question(["D1:1"], question_image="../image/x.jpg", image_caption="c"),
        question([]),
        question(None),
        question(["D1:1", "D9:1"]),
        question(["D1:1"], question=" "),
        question(["D1:1; D2:1"], question_image="", answer=3),
        question("D1:1", point="TR"),
    )
    benchmark, notes = imported(file)
    assert benchmark.queries.sample_id == ["Chat#7", "Chat#8"]
    assert benchmark.queries.gold_utt_ids.to_lists() == [[0, 1, 4, 5], [0, 1]]
    assert notes[:-1] == [
        "left out 2 questions whose right answer is a refusal (point AR)",
        "left out 1 questions that carry an image",
        "left out 2 questions without a clue: Chat#3, Chat#4",
        "left out 1 questions with a clue that names no round of the dialogue: Chat#5",
        "left out 1 questions without a text: Chat#6",
    ]


def test_what_is_optional(
    imported: Callable[..., tuple[Benchmark, list[str]]], chat: Callable[..., Path]
) -> None:
    rounds = [
        chat_round("D1:1", user="", image_id=None, input_image=[], image_caption=None),
        chat_round("D1:2", assistant=None, image_id="A"),
        {"round": "D1:3", "assistant": "b", "input_image": ["../image/Chat/p.png"]},
        chat_round("D1:4", image_id=["A"], image_caption=[None]),
        {"round": "D1:5"},
    ]
    clues = [question([f"D1:{i}"]) for i in (1, 2, 3, 4, 5)]
    benchmark, notes = imported(chat(*clues, rounds=rounds, character_profile=None))
    turns = benchmark.sample(0).dialogue.turns
    assert [(t.speaker, t.text, t.img_ids) for t in turns][:6] == [
        ("assistant", "say D1:1", ()),
        ("user", "ask D1:2", (0,)),
        ("user", "", (1,)),
        ("assistant", "b", ()),
        ("user", "ask D1:4", (0,)),
        ("assistant", "say D1:4", ()),
    ]
    assert benchmark.queries.gold_utt_ids.to_lists() == [[0], [1], [2, 3], [4, 5]]
    assert benchmark.queries.gold_img_ids.to_lists() == [[], [0], [1], [0]]
    assert notes[0].endswith("no round of the dialogue: Chat#4")


def test_images_are_copied_from_the_folder_beside_the_dialogues(
    imported: Callable[..., tuple[Benchmark, list[str]]], chat: Callable[..., Path], tmp_path: Path
) -> None:
    images = tmp_path / "data" / "image"
    (images / "Chat").mkdir(parents=True)
    (images / "Chat" / "a.JPG").write_bytes(b"photo")
    (tmp_path / "data" / "secret.png").write_bytes(b"secret")
    (images / "link.png").symlink_to(tmp_path / "data" / "secret.png")
    paths = ["../image/Chat/a.JPG", "../image/../secret.png", "../image/link.png", "../x.png"]
    rounds = [chat_round(f"D1:{i}", f"I{i}", input_image=[path]) for i, path in enumerate(paths)]
    benchmark, notes = imported(chat(question(["D1:0"]), rounds=rounds))
    files = [image.file for image in benchmark.sample(0).dialogue.images]
    assert [None if file is None else file.read_bytes() for file in files] == [
        *(b"photo", None, None, None, None),
    ]
    assert [note.split(" image")[0] for note in notes] == ["1", "3"]
    assert "`image`" in notes[1]


@pytest.mark.parametrize(
    ("rounds", "field"),
    [
        ([chat_round("D1:1"), chat_round("D1:1")], f"{SESSIONS}[0].dialogues[1].round"),
        ([{"user": "a"}], f"{SESSIONS}[0].dialogues[0].round"),
        ([chat_round("D1:1", user=3)], f"{SESSIONS}[0].dialogues[0].user"),
        (
            [chat_round("D1:1", "A", "B", image_caption=["one"])],
            f"{SESSIONS}[0].dialogues[0].image_caption",
        ),
        (
            [chat_round("D1:1", "A", input_image=["a", "b"])],
            f"{SESSIONS}[0].dialogues[0].input_image",
        ),
        ([chat_round("D1:1", image_id=[" "])], f"{SESSIONS}[0].dialogues[0].image_id[0]"),
    ],
)
def test_a_wrong_round_is_named(
    refused: Callable[..., str], chat: Callable[..., Path], rounds: list[Any], field: str
) -> None:
    file = chat(question(["D1:1"]), rounds=rounds)
    assert f"{file}: {field}: " in refused(file)


def test_wrong_sources_are_refused(
    refused: Callable[..., str], chat: Callable[..., Path], tmp_path: Path
) -> None:
    file = chat(question([], point="AR"))
    assert "no question can be used" in refused(file)
    assert f"{file}: {SESSIONS}: a dialogue without turns" in refused(chat(**{SESSIONS: []}))
    assert f"one of the folders below it: {Path('data', 'dialog')}" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "none.json")
    assert "given before" in refused(chat(question(["D1:1"])), file.parent)
    file.write_text('{\n"a": }')
    assert f"{file}:2: " in refused(file)
