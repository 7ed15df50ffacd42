"""A small benchmark with images, run folders on it, and a site of them."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
    read_benchmark,
)
from ffr_eval.markup import answer_text
from ffr_eval.uncertainty import Resampling
from leaderboard.publishing.publication import Published, publish_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

REPLICATES = 100
N_DIALOGUES = 9


def make_benchmark(folder: Path, name: str = "small") -> Path:
    """Short, medium and long dialogues, in two languages, each with a picture in its first turn."""
    from PIL import Image

    pictures = folder.parent / f"{folder.name}-pictures"
    pictures.mkdir(parents=True)
    with BenchmarkWriter(folder, InfoRecord(name=name)) as writer:
        for n in range(N_DIALOGUES):
            picture = pictures / f"{n}.png"
            Image.new("RGB", (40 + n, 30), (n * 20, 100, 50)).save(picture)
            image = writer.add_image_file(
                ImageRecord(0, caption=f"picture {n}"), picture, f"{n}.png"
            )
            turns = tuple(
                TurnRecord(i, "SB"[i % 2], f"what {n} says at {i}", (0,) if i == 0 else ())
                for i in range((10, 40, 70)[n % 3])
            )
            language = "en" if n % 2 else "zh"
            writer.add_dialogue(DialogueRecord(f"d{n}", turns, (image,), language))
        for n in range(N_DIALOGUES):
            writer.add_query(QueryRecord(f"d{n}#0", f"d{n}", f"both of {n}", (1, 2 + n % 3), (0,)))
            writer.add_query(QueryRecord(f"d{n}#1", f"d{n}", f"turns of {n}", (3, 5, 7), ()))
            if n % 3 == 0:
                writer.add_query(QueryRecord(f"d{n}#2", f"d{n}", f"nothing of {n}", (), ()))
                writer.add_query(QueryRecord(f"d{n}#3", f"d{n}", f"dev {n}", (4,), (0,), "dev"))
    return folder


def make_run(
    folder: Path,
    benchmark: Path,
    *,
    seed: int = 0,
    keep: float = 0.7,
    split: str | None = "test",
    text: bool = False,
    card: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A run folder whose answers are the gold with gaps and slips."""
    rng = random.Random(seed)
    found = read_benchmark(benchmark)
    lines = []
    for sample in found.samples(split):
        assert sample.gold is not None
        utt_ids = [i for i in sample.gold.utt_ids if rng.random() < keep]
        img_ids = [i for i in sample.gold.img_ids if rng.random() < keep]
        if rng.random() > keep:
            utt_ids.append(8)
        line: dict[str, Any] = {"sample_id": sample.sample_id, "latency_s": rng.random()}
        if text:
            line |= {"response": answer_text(utt_ids, img_ids), "finish_reason": "stop"}
        else:
            line |= {"utt_ids": utt_ids, "img_ids": img_ids}
        lines.append(json.dumps(line))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    record = {
        "model": f"model-{seed}",
        "benchmark": {
            "name": found.name,
            "version": found.info.version,
            "hash": found.content_hash,
            "path": str(benchmark),
        },
        "split": split,
        "n_samples": len(lines),
        "status": "finished",
        "sessions": [
            {"started": "2026-05-01T10:00:00+02:00", "ended": "2026-05-01T10:05:00+02:00"}
        ],
    }
    (folder / "run.json").write_text(json.dumps(record | more))
    if card is not None:
        (folder / "card.json").write_text(json.dumps(card))
    return folder


@dataclass(frozen=True)
class World:
    """A benchmark and runs on it."""

    path: Path

    @property
    def bench(self) -> Path:
        return self.path / "bench"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def site(self) -> Path:
        return self.path / "site"

    def publish(self, *runs: Path, **more: Any) -> Published:
        more.setdefault("resampling", Resampling(REPLICATES))
        return publish_site(runs or (self.runs,), self.site, **more)

    def run(self, name: str, **more: Any) -> Path:
        return make_run(self.runs / name, self.bench, **more)

    def table(self, name: str, **where: Any) -> list[dict[str, Any]]:
        return rows_of(self.site, name, **where)


def rows_of(site: Path, name: str, **where: Any) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    table: pa.Table = pq.read_table(site / "public" / f"{name}.parquet")
    return [
        row for row in table.to_pylist() if all(row[key] == value for key, value in where.items())
    ]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("publishing"))
    make_benchmark(world.bench)
    for seed, keep in enumerate((0.9, 0.6, 0.3)):
        world.run(f"run-{seed}", seed=seed, keep=keep, text=seed == 0)
    return world


@pytest.fixture
def world(_made: World, tmp_path: Path) -> World:
    """A benchmark and three runs, free to be changed; no site yet."""
    shutil.copytree(_made.path, tmp_path / "world", ignore=shutil.ignore_patterns("site"))
    found = World(tmp_path / "world")
    for file in found.runs.glob("*/run.json"):
        file.write_text(file.read_text().replace(str(_made.bench), str(found.bench)))
    return found


@pytest.fixture
def publish_cli(cli: Any) -> Callable[..., Any]:
    """``ffr publish`` with few replicates; ``publish_cli.refused(…)`` must end with exit code 2."""
    return partial(cli, "publish", "--replicates", REPLICATES)
