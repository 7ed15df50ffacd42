"""Which reward, and does the curriculum help? GRPO in six arms on synthetic dialogues.

    python scripts/training_experiment.py --size cpu --out experiment          # 25 minutes
    python scripts/training_experiment.py --size cpu --out experiment --docs   # and the docs
    python scripts/training_experiment.py --size cpu --out experiment --plan   # only the commands

Draws dialogues with pictures and a small Qwen2-VL with random weights, trains it on gold answers
until it answers in format but is often wrong, and goes on from there with GRPO under three
rewards, each with and without the curriculum: same samples, steps, prompts a step and seed. All
models answer the test split. Each step is an `ffr` command in a process of its own. What was done
is kept in ``--out``: the same command line goes on after a kill.

The arms: *f1* is profile `fixed` with the weights f1 1, format 0.3; *f1-coherence-fixed* has
order 1 as well. *f1-order-released* is profile `released` with f1 1, order 1, format 0.3: F1 and
format too are those of the release, and its format pays for nothing that a model writes here. No
profile mixes terms of the two.

Writes results.json, results.md, curves.png and forest.png into ``--out``; with ``--docs`` also the
generated part of docs/experiments.md and its pictures.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiment.figures import CURVES, FOREST, draw_curves, draw_forest
from experiment.page import text_of, write_page
from experiment.plan import evaluating, preparing, steps_of, training
from experiment.results import collect
from experiment.sizes import ARMS, SIZES, chosen_arms
from experiment.steps import StepError, perform

from ffr_eval.errors import FfrError
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = "; ".join(f"{name}: {size.minutes} minutes" for name, size in SIZES.items())
    parser.add_argument("--size", choices=SIZES, default="cpu", help=sizes.replace("%", "%%"))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="goes on there")
    parser.add_argument("--arms", metavar="A,B", help=f"of: {', '.join(ARMS)}; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn; default: 0")
    parser.add_argument(
        "--replay",
        type=float,
        metavar="X",
        help="share of the easier samples that a stage of the curriculum shows again, 0 to 1;"
        " more steps follow, in every arm; default: 0",
    )
    parser.add_argument("--docs", action="store_true", help="write docs/experiments.md as well")
    parser.add_argument("--plan", action="store_true", help="only show the steps")
    chosen = parser.parse_args(arguments)
    try:
        arms = chosen_arms(chosen.arms.split(",") if chosen.arms else None)
    except ValueError as error:
        parser.error(str(error))
    size, folder = SIZES[chosen.size], chosen.out
    if chosen.replay is not None:
        size = replace(size, replay=chosen.replay)
    if chosen.plan:
        shown = (
            *preparing(folder, size, chosen.seed),
            *training("STEPS", arms),
            *evaluating(size, arms),
        )
        print("\n".join(step.shown for step in shown))
        return 0
    try:
        (folder / "scores").mkdir(parents=True, exist_ok=True)
        for step in preparing(folder, size, chosen.seed):
            perform(step, folder)
        steps = steps_of(folder, size)
        for step in (*training(steps, arms), *evaluating(size, arms)):
            perform(step, folder)
        results = collect(folder, chosen.size, size, arms, chosen.seed)
    except (StepError, FfrError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = text_of(results)
    with replacing(folder / "results.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    pictures = [folder]
    if chosen.docs:
        (DOCS / "experiments").mkdir(exist_ok=True)
        write_page(DOCS / "experiments.md", text)
        pictures.append(DOCS / "experiments")
    for place in pictures:
        draw_curves(results, place / CURVES)
        draw_forest(results, place / FOREST)
    print(text)
    print(f"wrote {folder / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
