"""The bundled benchmark is what its notice says, and what its sources say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from ffr_eval.benchmark import DialogueRecord, QueryRecord, iter_dialogues, iter_queries
from ffr_eval.benchmark.reader import BUNDLED
from ffr_eval.jsonl import read_records

SAMPLE = BUNDLED / "ffr-sample"
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

DIALOGUES = {found.record.dialogue_id: found.record for found in iter_dialogues(SAMPLE)}
QUERIES = [found.record for found in iter_queries(SAMPLE)]
SHORT = [found.record for found in read_records(SAMPLE / "short_dialogues.jsonl", DialogueRecord)]


def topics(dialogue: DialogueRecord) -> list[list[int]]:
    assert dialogue.meta is not None
    return [topic["utt_ids"] for topic in dialogue.meta["topics"]]


def test_it_is_as_large_as_a_benchmark_to_look_at() -> None:
    assert Counter(dialogue.language for dialogue in DIALOGUES.values()) == {"en": 14, "zh": 14}
    lengths = [len(dialogue.turns) for dialogue in DIALOGUES.values()]
    assert min(lengths) >= 20
    assert sum(length > 65 for length in lengths) >= 4
    assert sum(20 <= length <= 40 for length in lengths) >= 18
    assert len(QUERIES) >= 120
    for split in ("dev", "test"):
        kinds = {query.kind for query in QUERIES if query.split == split}
        assert kinds == {"multimodal", "utterance", "image", "negative"}
    splits = {(query.dialogue_id, query.split) for query in QUERIES}
    assert len(splits) == len(DIALOGUES)  # by dialogue


def test_every_dialogue_has_three_topics_and_most_return() -> None:
    returning = 0
    for dialogue in DIALOGUES.values():
        tagged = {utt_id: number for number, ids in enumerate(topics(dialogue)) for utt_id in ids}
        assert len(topics(dialogue)) == 3
        assert len(tagged) == sum(map(len, topics(dialogue)))
        blocks = Counter(number for number, _ in groupby(tagged[n] for n in sorted(tagged)))
        assert max(blocks.values()) > 1, dialogue.dialogue_id
        returning += sum(count > 1 for count in blocks.values())
    assert returning > 2 * len(DIALOGUES)


def test_gold_is_scattered() -> None:
    spans = [
        max(query.gold_utt_ids) - min(query.gold_utt_ids) + 1 - len(query.gold_utt_ids)
        for query in QUERIES
        if len(query.gold_utt_ids) > 1
    ]
    assert sum(gap > 3 for gap in spans) > len(spans) / 2


def test_images_are_there_with_captions_and_credits() -> None:
    images = [image for dialogue in DIALOGUES.values() for image in dialogue.images]
    files = {path.relative_to(SAMPLE).as_posix() for path in (SAMPLE / "images").iterdir()}
    assert {image.path for image in images} == files
    assert len(images) == len(files) >= 60
    assert all(image.caption for image in images)
    notice = (SAMPLE / "NOTICE.md").read_text(encoding="utf-8")
    photographs = [path for path in files if path.endswith(".jpg")]
    assert len(photographs) >= 8
    for path in photographs:
        assert f"`{Path(path).stem}`" in notice
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 4_000_000


def test_the_notice_counts_right() -> None:
    notice = (SAMPLE / "NOTICE.md").read_text(encoding="utf-8")
    n_images = sum(len(dialogue.images) for dialogue in DIALOGUES.values())
    n_photographs = len(list((SAMPLE / "images").glob("*.jpg")))
    for words in (
        f"{len(DIALOGUES)} long chats",
        f"{n_images} pictures",
        f"{len(QUERIES)} queries",
        f"the {len(SHORT)} single-topic",
        f"Drawn pictures** ({n_images - n_photographs})",
        f"Photographs** ({n_photographs},",
    ):
        assert words in notice, words


def test_long_dialogues_are_composed_of_the_short_ones() -> None:
    assert len(SHORT) == 3 * len(DIALOGUES) >= 72
    for short in SHORT:
        assert short.meta is not None
        long = DIALOGUES[short.meta["part_of"]]
        assert short.meta["utt_ids"] in topics(long)
        assert len(short.turns) >= 5
        for turn, utt_id in zip(short.turns, short.meta["utt_ids"], strict=True):
            there = long.turns[utt_id]
            assert (turn.speaker, turn.text) == (there.speaker, there.text)
            assert [short.images[n].path for n in turn.images] == [
                long.images[n].path for n in there.images
            ]


def test_no_query_quotes_its_gold() -> None:
    for query in QUERIES:
        for utt_id in query.gold_utt_ids:
            text = DIALOGUES[query.dialogue_id].turns[utt_id].text
            assert text not in query.query or not text, query.sample_id


@pytest.mark.skipif(not SCRIPTS.is_dir(), reason="the sources are not in this distribution")
def test_it_is_built_from_its_sources() -> None:
    program = (
        "import json, msgspec, build_sample as b\n"
        "paths = [p for p in b.SOURCES.glob('*.txt') if '.pictures' not in p.name]\n"
        "sources = [b.read_source(path) for path in paths]\n"
        "print(msgspec.json.encode([[b.long_dialogue(s, {}) for s in sources],"
        " [q for s in sources for q in b.queries(s)]]).decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True, check=False
    )
    if "No module named 'PIL'" in done.stderr:
        pytest.skip("Pillow is not installed")
    assert done.returncode == 0, done.stderr
    dialogues, queries = json.loads(done.stdout)
    for source in dialogues:
        built = DIALOGUES[source["dialogue_id"]]
        turns = [
            (turn.get("speaker", ""), turn.get("text", ""), turn.get("time"))
            for turn in source["turns"]
        ]
        assert [(turn.speaker, turn.text, turn.time) for turn in built.turns] == turns
        captions = [image["caption"] for image in source.get("images", [])]
        assert [image.caption for image in built.images] == captions

    ids = ("gold_utt_ids", "gold_img_ids")
    expected = [
        QueryRecord(**query | {name: tuple(query[name]) for name in ids}) for query in queries
    ]
    assert {query.sample_id: query for query in expected} == {
        query.sample_id: query for query in QUERIES
    }
