"""FFRS corpus files: what records become, images, repeated dialogues, and wrong records."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark

FORMAT = "ffrs"


def turn(number: int, utterance: Any = "text", **more: Any) -> dict[str, Any]:
    return {"utterance_idx": number, "speaker": "A", "utterance": utterance} | more


def shown(url: str | None, caption: str | None = "c") -> dict[str, Any]:
    return {"image_url": url, "caption": caption}


def record(name: Any = "d", **changes: Any) -> dict[str, Any]:
    """A record; a change to ``None`` removes the key."""
    whole = {
        "dialogue_id": name,
        "dialogue": [
            turn(3, "hello"),
            turn(5, [shown("https://x.org/a.jpg", "a cat"), shown("b.png", "a dog")]),
            turn(9, [shown("c.png"), "look", {"text": "here"}], speaker=None),
            turn(12, ""),
        ],
        "query_text": ["both", "nothing"],
        "gt_turns": [[9, 3, 5, 3], []],
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize("form", ["jsonl", "array", "gzip"])
def test_a_record(
    imported: Callable[..., tuple[Benchmark, list[str]]], tmp_path: Path, form: str
) -> None:
    only_images = record("e", query_text=["a", "b"], gt_turns=[[5], [12]])
    records = [record(), only_images]
    lines = "".join(json.dumps(item) + "\n" for item in records).encode()
    file = tmp_path / {"jsonl": "a.jsonl", "array": "a.json", "gzip": "a.jsonl.gz"}[form]
    data = {"jsonl": lines, "array": json.dumps(records).encode(), "gzip": gzip.compress(lines)}
    file.write_bytes(data[form])
    benchmark, notes = imported(file)
    sample = benchmark.sample(0)
    assert [(t.utt_id, t.speaker, t.text, t.img_ids) for t in sample.dialogue.turns] == [
        (3, "A", "hello", ()),
        (5, "A", "", (0, 1)),
        (9, "", "look\nhere", (2,)),
        (12, "A", "", ()),
    ]
    images = sample.dialogue.images
    assert [(image.img_id, image.url, image.caption) for image in images] == [
        (0, "https://x.org/a.jpg", "a cat"),
        (1, None, "a dog"),
        (2, None, "c"),
    ]
    assert benchmark.queries.sample_id == ["d#0", "d#1", "e#0", "e#1"]
    assert benchmark.queries.gold_utt_ids.to_lists() == [[3, 9], [], [], [12]]
    assert benchmark.queries.gold_img_ids.to_lists() == [[0, 1, 2], [], [0, 1], []]
    assert benchmark.queries.kind == [Kind.MULTIMODAL, Kind.NEGATIVE, Kind.IMAGE, Kind.UTTERANCE]
    assert notes[0] == (
        "4 images have no file: none was found at their paths (for example 'b.png')"
    )
    assert notes[1] == "2 images are web addresses, which are not fetched"
    assert notes[2].startswith("2 times a gold turn has images and no text: ")
    assert len(notes) == 3


def test_image_files_inside_the_folder_are_copied(
    imported: Callable[..., tuple[Benchmark, list[str]]], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "img").mkdir(parents=True)
    outside = tmp_path / "outside.png"
    secret = tmp_path / "secret.txt"
    for path in (folder / "img" / "a.PNG", outside, secret):
        path.write_bytes(path.name.encode())
    (folder / "link.png").symlink_to(outside)
    urls = [
        *("img/a.PNG", "../outside.png", "link.png", str(outside), str(secret)),
        *("none.png", "data:image/png;base64," + "A" * 5000, None),
    ]
    source = record(
        "Some Chat/1",
        dialogue=[turn(0, [shown(url) for url in urls])],
        query_text=["q"],
        gt_turns=[[0]],
    )
    (folder / "a.jsonl").write_text(json.dumps(source) + "\n")
    benchmark, notes = imported(folder / "a.jsonl")
    images = benchmark.sample(0).dialogue.images
    files = [image.file.read_bytes() if image.file else None for image in images]
    assert files == [b"a.PNG", None, None, b"outside.png", None, None, None, None]
    assert {image.caption for image in images} == {"c"}
    assert [note.split(" images")[0] for note in notes[:2]] == ["4", "2"]


def test_further_queries_on_a_dialogue(
    imported: Callable[..., tuple[Benchmark, list[str]]], jsonl: Callable[..., Path]
) -> None:
    first = jsonl([record(7), record("e"), record(7)], "a.jsonl")
    second = jsonl([record("7", query_text=["more"], gt_turns=[[12]])], "b.jsonl")
    benchmark, _ = imported(first, second)
    assert benchmark.dialogues.dialogue_id == ["7", "e"]
    assert benchmark.queries.sample_id == ["7#0", "7#1", "e#0", "e#1", "7#2", "7#3", "7#4"]
    assert benchmark.queries.query[-1] == "more"


def test_a_dialogue_without_queries_is_kept(
    imported: Callable[..., tuple[Benchmark, list[str]]], jsonl: Callable[..., Path]
) -> None:
    bare = record("e", query_text=[], gt_turns=[])
    benchmark, _ = imported(jsonl([bare, record()]))
    assert benchmark.dialogues.dialogue_id == ["e", "d"]
    assert benchmark.queries.sample_id == ["d#0", "d#1"]


def test_one_id_for_two_dialogues_names_both_places(
    refused: Callable[..., str], jsonl: Callable[..., Path]
) -> None:
    changed = record()
    changed["dialogue"][1]["utterance"][0]["caption"] = "another cat"
    file = jsonl([record(), changed])
    message = refused(file)
    assert f"{file}:2: dialogue: dialogue 'd' has other turns" in message
    assert f"than in {file}:1" in message


@pytest.mark.parametrize("form", ["jsonl", "array"])
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dialogue_id": None}, "dialogue_id"),
        ({"dialogue_id": ""}, "dialogue_id"),
        ({"dialogue": None}, "dialogue"),
        ({"dialogue": []}, "dialogue"),
        ({"dialogue": [turn(3), turn(3)]}, "dialogue[1].utterance_idx"),
        ({"dialogue": [turn(-1)]}, "dialogue[0].utterance_idx"),
        ({"dialogue": [turn(2**31)]}, "dialogue[0].utterance_idx"),
        ({"dialogue": [{"utterance": "a"}]}, "dialogue[0].utterance_idx"),
        ({"dialogue": [{"utterance_idx": 3}]}, "dialogue[0].utterance"),
        ({"dialogue": [turn(3, None)]}, "dialogue[0].utterance"),
        ({"dialogue": [turn(3, [shown(None, "")])]}, "dialogue[0].utterance[0]"),
        ({"dialogue": [turn(3, ["a", {"image": "b"}])]}, "dialogue[0].utterance[1]"),
        ({"dialogue": [turn(3, [shown("a"), 3])]}, "dialogue[0].utterance[1]"),
        ({"query_text": None}, "query_text"),
        ({"query_text": "both"}, "query_text"),
        ({"query_text": ["both", " "]}, "query_text[1]"),
        ({"query_text": ["both", None]}, "query_text[1]"),
        ({"gt_turns": None}, "gt_turns"),
        ({"gt_turns": [[3]]}, "gt_turns"),
        ({"gt_turns": [[3], [], []]}, "gt_turns"),
        ({"gt_turns": [3, 5]}, "gt_turns[0]"),
        ({"gt_turns": [[3], [5, 4]]}, "gt_turns[1][1]"),
        ({"gt_turns": [[3], ["5"]]}, "gt_turns[1][0]"),
    ],
)
def test_a_wrong_record_is_named_with_its_dialogue(
    refused: Callable[..., str], tmp_path: Path, form: str, changes: dict[str, Any], field: str
) -> None:
    records = [record(), record("wrong") | changes]
    records[1] = {key: value for key, value in records[1].items() if value is not None}
    file, prefix, line = tmp_path / "a.jsonl", "", 2
    file.write_text("\n".join(map(json.dumps, records)))
    if form == "array":
        file, prefix, line = tmp_path / "a.json", "[1].", 3
        file.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]")
    message = refused(file)
    assert f"{file}:{line}: {prefix}{field}: " in message
    assert "dialogue 'wrong': " in message or "dialogue_id" in changes


def test_nothing_to_import_is_refused(
    refused: Callable[..., str], jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    assert "no queries" in refused(jsonl([], "empty.jsonl"))
    assert "no queries" in refused(jsonl([record(query_text=[], gt_turns=[])], "none.jsonl"))
    assert "no such file" in refused(tmp_path / "none")
    file = jsonl([record(), "not JSON"])
    assert f"{file}:2: " in refused(file)
