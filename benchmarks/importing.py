"""``ffr data import mswift``, many queries a dialogue, against reading the file with orjson."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.chat import marked_turns
from benchmarks.measure import Result, run_process
from ffr_eval.markup import QUERY, answer_text, mark

DIALOGUES = 5_000
QUERIES = 10
TURNS = 100
REPEAT = 3

_READER = """
import sys, orjson
with open(sys.argv[1], "rb") as stream:
    for line in stream:
        orjson.loads(line)
"""


def generate(path: Path, dialogues: int, queries: int) -> int:
    """Write a dataset of the original release's form.

    Returns:
        Its size in bytes.
    """
    rng = random.Random(0)  # noqa: S311
    with path.open("w", encoding="utf-8") as stream:
        for number in range(dialogues):
            text, paths = marked_turns(rng, TURNS, f"https://example.org/{number}_{{}}.jpg")
            for query in range(queries):
                gold = sorted(rng.sample(range(TURNS), rng.randint(1, 8)))
                gold_images = sorted(rng.sample(range(len(paths)), min(len(paths), query % 3)))
                asked = mark(QUERY, f"旅行计划 {query}")
                user = f"在下面的聊天记录中找出与{asked}相关的内容。\n{text}"
                record = {
                    "messages": [{"role": "user", "content": user}],
                    "images": paths,
                    "solution": answer_text(gold, gold_images),
                    "dialogue_id": f"d{number}",
                }
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path.stat().st_size


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "dataset.jsonl"), Path(folder, "benchmark")
        size = generate(file, DIALOGUES, QUERIES)
        ours, peaks = _import(file, out)
        peer = min(
            run_process([sys.executable, "-c", _READER, str(file)])[0] for _ in range(REPEAT)
        )
        generate(file, DIALOGUES, 1)
        _, single = _import(file, out)
    return [
        Result(
            what=f"`ffr data import mswift`, {DIALOGUES:,} dialogues × {QUERIES} queries of"
            f" {TURNS} turns, {size / 1e6:.0f} MB",
            ours=f"{ours:.2f} s",
            peer_name="orjson reads it",
            peer=f"{peer:.2f} s",
            ratio=f"{peer / ours:.2f}",
            wanted="≥ 0.5",
        ),
        Result(
            what="its peak memory",
            ours=f"{peaks:.0f} MB",
            peer_name="the same with 1 query a dialogue",
            peer=f"{single:.0f} MB",
            ratio=f"{single / peaks:.2f}",
            wanted="about 1",
        ),
    ]


def _import(file: Path, out: Path) -> tuple[float, float]:
    """Seconds of the fastest import, and the largest peak in MB."""
    command = [sys.executable, "-m", "ffr_eval", "data", "import", "mswift", str(file)]
    seconds, peaks = [], []
    for _ in range(REPEAT):
        shutil.rmtree(out, ignore_errors=True)
        taken, peak = run_process([*command, "--out", str(out)])
        seconds.append(taken)
        peaks.append(peak)
    return min(seconds), max(peaks)
