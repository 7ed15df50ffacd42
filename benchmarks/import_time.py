"""``import ffr_eval`` against ``import numpy``, whole processes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measure import Result, best_of

REPEAT = 15


def run() -> list[Result]:
    """Measure, the two in turn."""

    def start(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    both = [
        (best_of(lambda: start("ffr_eval"), 1), best_of(lambda: start("numpy"), 1))
        for _ in range(REPEAT)
    ]
    ours, peer = (min(times) for times in zip(*both, strict=True))
    return [
        Result(
            what="`import ffr_eval`, with the start of Python",
            ours=f"{ours * 1000:.0f} ms",
            peer_name="`import numpy`",
            peer=f"{peer * 1000:.0f} ms",
            ratio=f"{ours / peer:.2f}",
            wanted="≤ 1.3",
        )
    ]
