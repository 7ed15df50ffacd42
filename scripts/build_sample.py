"""Build the bundled benchmark `ffr-sample` from its sources in `ffr_sample/`.

    python scripts/build_sample.py --out ffr_eval/data/ffr-sample      # replaces what is there
    python scripts/build_sample.py --only en-04 --out /tmp/sample      # one dialogue, to look at

A source file `ID.txt` holds a dialogue. Its head names id, language, split, the topics and the
queries; then there is a line a turn: topic letter ("-" for none), speaker, text, images, and in
braces the queries whose gold has the turn; an image names the queries whose gold has it.

    id: en-04
    language: en
    split: dev
    topic A: The van that would not start

    query q0: What was wrong with the van?

    @2025-06-14T07:25
    A Nora: It coughs and dies. Look [image en04_dash | Photo of a dashboard | q0] {q0}

A line "@TIME" says when the next turn was written; those after it follow at reading speed. Turns
before any such line have no time.

The turns of one topic, in order, are one of the short dialogues that the long one is composed of;
they go to `short_dialogues.jsonl`. Needs a font with Chinese glyphs, Pillow, scikit-image and
scikit-learn (for the photographs).
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from draw_sample_images import draw, find_font
from PIL import Image

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.jsonl import encode_line

SOURCES = Path(__file__).parent / "ffr_sample"
PHOTO_WIDTH = 560

HEAD = re.compile(r"(id|language|split|topic ([A-C])|query q(\d)): (.+)")
TURN = re.compile(
    r"(?P<topic>[ABC-]) (?P<speaker>[^:\[\]{}|]{1,20}):(?P<text>[^\[\]{}|]*)"
    r"(?P<images>(?:\[image [^\[\]{}]*\]\s*)*)(?:\{(?P<gold>[q\d ]+)\})?\s*"
)
IMAGE = re.compile(r"\[image ([^\[\]]*)\]")


@dataclass
class Source:
    """One source file, read."""

    head: dict[str, str] = field(default_factory=dict)
    topics: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    turns: list[TurnRecord] = field(default_factory=list)
    turn_topics: list[str] = field(default_factory=list)
    images: list[ImageRecord] = field(default_factory=list)
    clock: datetime | None = None
    gold_utts: dict[int, list[int]] = field(default_factory=dict)
    gold_imgs: dict[int, list[int]] = field(default_factory=dict)


def read_source(path: Path) -> Source:
    """Read a source file.

    Raises:
        ValueError: For the first line that cannot be understood, with its number.
    """
    source = Source()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            if line.strip():
                _read_line(source, line)
        except ValueError as error:
            raise ValueError(f"{path.name}:{number}: {error}") from None
    missing = {"id", "language", "split"} - source.head.keys()
    if missing or len(source.topics) != 3 or source.head["id"] != path.stem:
        raise ValueError(f"{path.name}: missing {missing or 'a topic, or the id differs'}")
    return source


def _read_line(source: Source, line: str) -> None:
    if line.startswith("@"):
        source.clock = datetime.fromisoformat(line[1:].strip())
        return
    if head := HEAD.fullmatch(line):
        name, topic, query, value = head.groups()
        if query is not None:
            if int(query) != len(source.queries):
                raise ValueError(f"query q{len(source.queries)} is expected here")
            source.queries.append(value.strip())
        elif topic:
            source.topics.append(value.strip())
        else:
            source.head[name] = value.strip()
        return
    turn = TURN.fullmatch(line)
    if turn is None:
        raise ValueError(f"neither a head line nor a turn: {line[:60]!r}")
    utt_id, img_ids = len(source.turns), []
    for content in IMAGE.findall(turn["images"]):
        name, caption, *gold = (part.strip() for part in content.split("|"))
        img_id = len(source.images)
        if any(image.path == name for image in source.images):
            raise ValueError(f"image {name} is used twice")
        source.images.append(ImageRecord(img_id, path=name, caption=caption))
        img_ids.append(img_id)
        _add_gold(source, source.gold_imgs, img_id, gold[0] if gold else "")
    text = turn["text"].strip()
    if not text and not img_ids:
        raise ValueError("a turn without text or image")
    time = source.clock.isoformat() if source.clock else None
    source.turns.append(TurnRecord(utt_id, turn["speaker"].strip(), text, tuple(img_ids), time))
    if source.clock:
        source.clock += timedelta(seconds=15 + len(text))
    source.turn_topics.append(turn["topic"])
    _add_gold(source, source.gold_utts, utt_id, turn["gold"] or "")


def _add_gold(source: Source, gold: dict[int, list[int]], number: int, queries: str) -> None:
    for name in queries.split():
        query = int(name.removeprefix("q"))
        if query >= len(source.queries):
            raise ValueError(f"there is no query {name}")
        gold.setdefault(query, []).append(number)


def long_dialogue(source: Source, images: dict[str, ImageRecord]) -> DialogueRecord:
    """The dialogue; `images` are the written ones by name, or empty for none."""
    topics = [
        {
            "title": title,
            "utt_ids": [k for k, topic in enumerate(source.turn_topics) if topic == letter],
        }
        for letter, title in zip("ABC", source.topics, strict=True)
    ]
    return DialogueRecord(
        source.head["id"],
        tuple(source.turns),
        tuple(images.get(image.path or "", image) for image in source.images),
        source.head["language"],
        {"topics": topics},
    )


def short_dialogues(long: DialogueRecord) -> list[DialogueRecord]:
    """The single-topic dialogues that a long one is composed of, with ids of their own."""
    found = []
    for letter, topic in zip("abc", long.meta["topics"] if long.meta else [], strict=True):
        turns, images = [], []
        for utt_id in topic["utt_ids"]:
            turn = long.turns[utt_id]
            img_ids = tuple(range(len(images), len(images) + len(turn.images)))
            for img_id, original in zip(img_ids, turn.images, strict=True):
                image = long.images[original]
                images.append(
                    ImageRecord(img_id, image.path, image.url, image.caption, image.sha256)
                )
            turns.append(TurnRecord(len(turns), turn.speaker, turn.text, img_ids))
        meta = {"topic": topic["title"], "part_of": long.dialogue_id, "utt_ids": topic["utt_ids"]}
        name = f"{long.dialogue_id}-{letter}"
        found.append(DialogueRecord(name, tuple(turns), tuple(images), long.language, meta))
    return found


def queries(source: Source) -> list[QueryRecord]:
    """The queries on a dialogue."""
    name = source.head["id"]
    records = []
    for k, text in enumerate(source.queries):
        utts, imgs = tuple(source.gold_utts.get(k, ())), tuple(source.gold_imgs.get(k, ()))
        kind = {(1, 1): "multimodal", (1, 0): "utterance", (0, 1): "image", (0, 0): "negative"}
        records.append(
            QueryRecord(
                f"{name}#{k}",
                name,
                text,
                utts,
                imgs,
                source.head["split"],
                kind[bool(utts), bool(imgs)],
                {"language": source.head["language"]},
            )
        )
    return records


def make_pictures(names: list[str], folder: Path, prefix: str) -> dict[str, Path]:
    """Draw or copy the named pictures into a folder.

    Raises:
        ValueError: If one is not described, or cannot be drawn.
    """
    photos = tomllib.loads((SOURCES / "photos.toml").read_text(encoding="utf-8"))
    font, files = find_font(), {}
    source = SOURCES / f"{prefix}.pictures.txt"
    text = source.read_text(encoding="utf-8") if source.exists() else ""
    for block in re.split(r"\n\s*\n", text.strip()):
        if not block:
            continue
        try:
            name, picture = draw(font, block)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{source.name}: {block.splitlines()[0]!r}: {error}") from error
        files[name] = folder / f"{name}.png"
        picture.save(files[name], optimize=True)
    for name in names:
        if name in photos:
            package = importlib.util.find_spec(photos[name]["package"])
            if package is None or package.origin is None:
                raise ValueError(f"{name}: install {photos[name]['package']}")
            with Image.open(Path(package.origin).parent / photos[name]["file"]) as original:
                picture = original.convert("L" if original.mode == "L" else "RGB")
            if "crop" in photos[name]:
                picture = picture.crop(photos[name]["crop"])
            picture.thumbnail((PHOTO_WIDTH, PHOTO_WIDTH))
            files[name] = folder / f"{name}.jpg"
            picture.save(files[name], quality=78, optimize=True)
        if name not in files:
            raise ValueError(f"{prefix}: no picture {name} in {source.name} or photos.toml")
    for name in files.keys() - set(names):
        raise ValueError(f"{source.name}: {name} is in no turn")
    return files


def build(out: Path, only: str | None) -> None:
    """Write the benchmark folder."""
    paths = sorted(
        path
        for path in SOURCES.glob("*.txt")
        if not path.name.endswith(".pictures.txt") and only in (None, path.stem)
    )
    if not paths:
        raise ValueError(f"there is no source of {only!r} in {SOURCES}")
    if out.exists() and not (out / "benchmark.json").exists():
        raise ValueError(f"{out} is there, and no benchmark that could be replaced")
    sources = [read_source(path) for path in paths]
    sources.sort(key=lambda source: (source.head["split"], source.head["id"]))
    info = InfoRecord(
        "ffr-sample",
        version="2",
        language=("en", "zh"),
        licence="CC-BY-4.0",
        citation="FFR contributors, ffr-sample, 2026",
        description=(
            "Invented chats, half Chinese and half English, of three topics each, with drawn"
            " pictures, ten photographs (licences of their own, see NOTICE.md), and queries of all"
            " four kinds. Small enough to ship with the package; for trying things out and for"
            " tests, not for ranking models."
        ),
    )
    shorts = []
    with tempfile.TemporaryDirectory() as work:
        with BenchmarkWriter(Path(work) / "out", info) as writer:
            for source in sources:
                names = [image.path or "" for image in source.images]
                files = make_pictures(names, Path(work), source.head["id"])
                images = {
                    image.path or "": writer.add_image_file(
                        image, files[image.path or ""], files[image.path or ""].name
                    )
                    for image in source.images
                }
                long = long_dialogue(source, images)
                writer.add_dialogue(long)
                shorts += short_dialogues(long)
                for query in queries(source):
                    writer.add_query(query)
        lines = b"".join(encode_line(record) for record in shorts)
        (Path(work) / "out" / "short_dialogues.jsonl").write_bytes(lines)
        notice = SOURCES / "NOTICE.md"
        if notice.exists():
            shutil.copyfile(notice, Path(work) / "out" / "NOTICE.md")
        if out.exists():
            shutil.rmtree(out)
        shutil.copytree(Path(work) / "out", out)
    for source in sources:
        kinds = ", ".join(
            f"{query.kind} {len(query.gold_utt_ids)}u+{len(query.gold_img_ids)}i"
            for query in queries(source)
        )
        topics = "/".join(str(source.turn_topics.count(letter)) for letter in "ABC-")
        print(
            f"{source.head['id']} {source.head['split']}: {len(source.turns)} turns"
            f" ({topics} by topic), {len(source.images)} images; {kinds}"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Build the bundled benchmark ffr-sample.")
    parser.add_argument("--out", type=Path, required=True, help="benchmark folder; is replaced")
    parser.add_argument("--only", help="only this dialogue")
    args = parser.parse_args()
    try:
        build(args.out, args.only)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
