"""Dialogues, queries and images of a synthetic site: real words, seeded."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from leaderboard.site.schema import DIALOGUES, QUERIES

if TYPE_CHECKING:
    from pathlib import Path

KINDS: Final = ("multimodal", "utterance", "image", "negative")
SENTENCES: Final = {
    "en": (
        "The train leaves at nine, so we should meet at half past eight.",
        "I saved the recipe; the dough needs to rest for an hour.",
        "Did you see the photo of the bridge? It was taken at dawn.",
        "Our budget for the trip is about four hundred.",
        "The meeting moved to Thursday because the room is taken.",
        "My cat knocked the plant over again.",
        "Let us book the small hotel near the old harbour.",
        "I am not sure that the battery survives a whole day of hiking.",
        "She said the exhibition closes on Sunday.",
        "Please bring the blue folder, the contract is in it.",
    ),
    "zh": (
        "火车九点开，我们八点半碰头吧。",
        "菜谱我存好了，面团要醒一个小时。",
        "你看到那张桥的照片了吗？清晨拍的。",
        "这趟旅行的预算大概四百。",
        "会议室被占了，会改到周四。",
        "我家猫又把花盆打翻了。",
        "就订老港口旁边的小旅馆吧。",
        "徒步一整天，电池恐怕撑不住。",
        "她说展览周日就结束了。",
        "请带上蓝色的文件夹，合同在里面。",
    ),
}
TOPICS: Final = {
    "en": ("travel plans", "the recipe", "the bridge at dawn", "the budget", "the meeting"),
    "zh": ("旅行计划", "菜谱", "清晨的桥", "预算", "会议安排"),
}
ASKED: Final = {
    "en": "Find the messages and pictures about {topic}, number {number}.",
    "zh": "找出与{topic}有关的消息和图片，第 {number} 条。",
}
SPEAKERS: Final = {"en": ("Ana", "Ben", "Chris"), "zh": ("小林", "阿杰", "王老师")}
LENGTHS: Final = ((12, 34), (35, 65), (66, 96))
"""Turns of short, medium and long dialogues, in turn."""
BUCKETS: Final = ("short", "medium", "long")


@dataclass(frozen=True)
class Gold:
    """The samples of a board, as arrays: one row a sample."""

    sample_ids: list[str]
    dialogue_ids: list[str]
    kind: np.ndarray[Any, Any]
    turns: np.ndarray[Any, Any]
    n_images: np.ndarray[Any, Any]
    bucket: np.ndarray[Any, Any]
    language: np.ndarray[Any, Any]
    dialogue: np.ndarray[Any, Any]
    utt_ids: list[list[int]]
    img_ids: list[list[int]]


def make_images(site: Path, number: int, rng: np.random.Generator) -> list[str]:
    """Write small WebP files; their names without the ending."""
    from PIL import Image

    folder = site / "public" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for _ in range(number):
        pixels = np.kron(
            rng.integers(0, 255, (3, 4, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8)
        )
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "WEBP", quality=50)
        name = hashlib.sha256(stream.getvalue()).hexdigest()
        (folder / f"{name}.webp").write_bytes(stream.getvalue())
        names.append(name)
    return names


def make_dialogues(
    content: str,
    number: int,
    images: list[str],
    long_turns: int | None,
    rng: np.random.Generator,
) -> pa.Table:
    """Dialogues of a benchmark; every third is short, medium, long; every second is Chinese.

    The first long one has ``long_turns`` turns, if given. Without ``images`` no dialogue has any.
    """
    rows: list[dict[str, Any]] = []
    for index in range(number):
        low, high = LENGTHS[index % 3]
        turns = int(rng.integers(low, high + 1))
        if long_turns is not None and index == min(2, number - 1):
            turns = long_turns
        language = ("en", "zh")[index % 2]
        rows.append(_dialogue(content, f"dlg-{index:04d}", turns, language, images, rng))
    return pa.Table.from_pylist(rows, DIALOGUES.schema)


def _dialogue(
    content: str,
    name: str,
    turns: int,
    language: str,
    images: list[str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    sentences = SENTENCES[language]
    shown: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for turn in range(turns):
        ids = []
        if images and turn % 6 == 3:
            n_here = 2 if turn % 12 == 3 else 1
            for _ in range(n_here):
                ids.append(len(shown))
                # Every seventh image has no file, and every fifth no caption.
                file = None if len(shown) % 7 == 6 else images[len(shown) % len(images)]
                caption = None if len(shown) % 5 == 4 else f"{sentences[len(shown) % 10]}"
                shown.append(
                    {
                        "img_id": len(shown),
                        "sha256": file,
                        "width": None if file is None else 64,
                        "height": None if file is None else 48,
                        "caption": caption,
                    }
                )
        text = " ".join(sentences[int(at)] for at in rng.integers(0, 10, int(rng.integers(1, 4))))
        said.append(
            {
                "utt_id": turn,
                "speaker": SPEAKERS[language][turn % 3],
                "text": None if ids and turn % 12 == 9 else text,
                "time": None if turn % 4 else f"2026-05-{1 + turn % 28:02d} 09:{turn % 60:02d}",
                "img_ids": ids,
            }
        )
    return {
        "hash": content,
        "dialogue_id": name,
        "language": language,
        "turns": said,
        "images": shown,
    }


def make_gold(dialogues: pa.Table, n_samples: int, rng: np.random.Generator) -> Gold:
    """Samples spread over the dialogues; their gold by kind."""
    ids = dialogues["dialogue_id"].to_pylist()
    lengths = [len(turns) for turns in dialogues["turns"].to_pylist()]
    images = [len(found) for found in dialogues["images"].to_pylist()]
    languages = dialogues["language"].to_pylist()
    sample_ids, kinds, utts, imgs, of = [], [], [], [], []
    for row in range(n_samples):
        at = row * len(ids) // n_samples
        kind = KINDS[row % 4]
        if not images[at]:
            kind = "negative" if kind == "negative" else "utterance"
        start = int(rng.integers(0, max(lengths[at] - 8, 1)))
        size = int(rng.integers(2, 7))
        gold_utts = list(range(start, min(start + size, lengths[at])))
        gold_imgs = sorted({int(i) for i in rng.integers(0, max(images[at], 1), 2)})
        sample_ids.append(f"{ids[at]}#{row}")
        kinds.append(kind)
        utts.append(gold_utts if kind in ("multimodal", "utterance") else [])
        imgs.append(gold_imgs if kind in ("multimodal", "image") else [])
        of.append(at)
    where = np.array(of)
    turns = np.array(lengths)[where]
    return Gold(
        sample_ids,
        [ids[at] for at in of],
        np.array(kinds),
        turns,
        np.array(images)[where],
        np.array(BUCKETS)[np.digitize(turns, [35, 66])],
        np.array(languages)[where],
        where,
        utts,
        imgs,
    )


def query_table(board_id: str, gold: Gold, hidden: bool) -> pa.Table:
    """The queries; where gold is hidden, without kind and gold."""
    n = len(gold.sample_ids)
    queries = [
        ASKED[language].format(topic=TOPICS[language][row % 5], number=row)
        for row, language in enumerate(gold.language.tolist())
    ]
    nothing = [None] * n
    columns = {
        "board_id": [board_id] * n,
        "row": range(n),
        "sample_id": gold.sample_ids,
        "dialogue_id": gold.dialogue_ids,
        "query": queries,
        "kind": nothing if hidden else gold.kind.tolist(),
        "gold_utt_ids": nothing if hidden else gold.utt_ids,
        "gold_img_ids": nothing if hidden else gold.img_ids,
    }
    arrays = [pa.array(columns[field.name], field.type) for field in QUERIES.schema]
    return pa.Table.from_arrays(arrays, schema=QUERIES.schema)
