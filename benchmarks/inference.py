"""``ffr score`` on a large ms-swift inference file against a plain program, whole processes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.chat import marked_turns
from benchmarks.measure import Result, run_process
from ffr_eval.markup import QUERY, answer_text, mark

RECORDS = 100_000
DISTINCT = 2_000  # records that are generated; the file repeats them
REPEAT = 3


def record(rng: random.Random, number: int) -> dict[str, object]:
    """A record in the form of the original release's inference output, about 5.7 kB."""
    turns = rng.randint(35, 75)
    text, paths = marked_turns(rng, turns, f"images/{number}_{{}}.jpg")
    gold = sorted(rng.sample(range(turns), rng.randint(1, 8)))
    gold_images = sorted(rng.sample(range(len(paths)), min(len(paths), rng.randint(0, 2))))
    answer = sorted({*(n for n in gold if rng.random() < 0.7), rng.randrange(turns)})
    response = answer_text(answer, gold_images)
    if rng.random() < 0.03:
        response = "抱歉，没有找到相关内容。"
    user = f"在下面的聊天记录中找出与{mark(QUERY, '旅行计划')}相关的内容。\n{text}"
    return {
        "response": response,
        "labels": answer_text(gold, gold_images),
        "messages": [
            {"role": "system", "content": "检索助手"},
            {"role": "user", "content": user},
            {"role": "assistant", "content": response},
        ],
        "images": [{"bytes": None, "path": path} for path in paths],
        "dialogue_id": f"d{number}",
        "logprobs": None,
    }


def generate(path: Path, records: int) -> int:
    """Write an inference file.

    Returns:
        Its size in bytes.
    """
    rng = random.Random(0)  # noqa: S311
    lines = [
        json.dumps(record(rng, number), ensure_ascii=False).encode() + b"\n"
        for number in range(DISTINCT)
    ]
    with path.open("wb") as stream:
        for start in range(0, records, DISTINCT):
            stream.writelines(lines[: records - start])
    return path.stat().st_size


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        file, report = Path(folder, "inference.jsonl"), Path(folder, "scores.json")
        size = generate(file, RECORDS)
        plain = [sys.executable, "-m", "benchmarks.plain_scorer", str(file)]
        ours = [sys.executable, "-m", "ffr_eval", "score", str(file), "--json", str(report)]
        totals = json.loads(subprocess.run(plain, check=True, capture_output=True).stdout)
        run_process(ours)
        micro = json.loads(report.read_text())["micro"]
        for modality, counts in totals.items():  # the two must agree before they are timed
            assert counts == [micro[modality][name] for name in ("tp", "fp", "fn", "tn")]
        seconds, peaks = zip(*(run_process(ours) for _ in range(REPEAT)), strict=True)
        peer = min(run_process(plain)[0] for _ in range(REPEAT))
    mean = size / RECORDS / 1000
    return [
        Result(
            what=f"`ffr score`, {RECORDS:,} inference records of {mean:.1f} kB",
            ours=f"{min(seconds):.2f} s",
            peer_name="json + re + sets",
            peer=f"{peer:.2f} s",
            ratio=f"{peer / min(seconds):.1f}",
            wanted="≥ 3 (aim 5)",
        ),
        Result(
            what="its peak memory, all processes",
            ours=f"{max(peaks):.0f} MB",
            peer_name="the file",
            peer=f"{size / 1e6:.0f} MB",
            ratio="",
            wanted="< 700 MB",
        ),
    ]
