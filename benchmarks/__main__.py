"""``python -m benchmarks [NAME…]`` prints the table of docs/benchmarks.md."""

from __future__ import annotations

import sys

from benchmarks import (
    api,
    bootstrap,
    coherence,
    comparing,
    curriculum,
    embedding,
    hf,
    import_time,
    importing,
    inference,
    kernel,
    leaderboard,
    rewards,
    training,
)
from benchmarks.measure import table

BENCHMARKS = {
    "import": import_time.run,
    "kernel": kernel.run,
    "inference": inference.run,
    "importing": importing.run,
    "bootstrap": bootstrap.run,
    "comparing": comparing.run,
    "rewards": rewards.run,
    "curriculum": curriculum.run,
    "training": training.run,
    "embedding": embedding.run,
    "coherence": coherence.run,
    "api": api.run,
    "hf": hf.run,
    "leaderboard": leaderboard.run,
}


def main(names: list[str]) -> None:
    """Run the named benchmarks, all without a name."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    results = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr)
        results += BENCHMARKS[name]()
    print(table(results))


if __name__ == "__main__":
    main(sys.argv[1:])
