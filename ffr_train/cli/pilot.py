"""``ffr train pilot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ffr_eval.cli.output import progress
from ffr_train.cli.difficulty import beside, engine_options, run_plan
from ffr_train.cli.score import chosen_profile, profile_options


@click.command(
    epilog="""\b
Examples:
  ffr train pilot mldr --model Qwen/Qwen2.5-VL-7B-Instruct --adapter out/sft --out pilot.jsonl
  ffr train pilot mldr --model merged --engine vllm --rollouts 4 --out pilot.jsonl \\
      --difficulty difficulty.jsonl
\b
A line of the file:
  {"sample_id": "d1#0", "rewards": [1.3, 0.9, null, 1.3], "std": 0.19, "keep": true}
""",
)
@click.argument("benchmark", metavar="BENCH")
@engine_options
@click.option(
    "--rollouts",
    metavar="N",
    type=click.IntRange(min=2),
    default=8,
    show_default=True,
    help="Answers of each sample.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Of sampling.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, min_open=True, max=1),
    default=0.85,
    show_default=True,
    help="Sample from the most likely tokens of so much probability.",
)
@profile_options
@click.option(
    "--embeddings",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="DIALOGUE_ID.npz for each dialogue (keys u<id>, i<id>, q); without, coherence is left out"
    " of the reward.",
)
@click.option(
    "--difficulty",
    "levels",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Print by level of this file of `ffr train difficulty`.",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The file to write; runs are kept in FILE.runs.",
)
def pilot(
    benchmark: str,
    rollouts: int,
    temperature: float,
    top_p: float,
    profile_name: str,
    weights: tuple[str, ...],
    embeddings: Path | None,
    levels: Path | None,
    out: Path,
    **asked: Any,
) -> None:
    """Find the training samples of BENCH that GRPO can learn nothing from.

    The model answers every sample N times. Where all answers have the same reward there is no
    gradient: "keep" is false. Each rollout is a run of its own in FILE.runs, and goes on when the
    same command is given again; with a larger N, only new ones are made.
    """
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.cli.output import require_writable
    from ffr_train.curriculum.difficulty_file import read
    from ffr_train.curriculum.engine_run import complete
    from ffr_train.curriculum.pilot import judge, write
    from ffr_train.curriculum.terminal import print_pilot

    require_writable(out)
    profile = chosen_profile(profile_name, weights)
    split = asked["split"]
    data = read_benchmark(benchmark)
    data.rows(split)  # a wrong split is refused before the model is loaded
    hardness = None if levels is None else read(levels)
    folders = [beside(out, ".runs") / str(k) for k in range(rollouts)]
    for k, folder in enumerate(folders):
        chosen = {"temperature": temperature, "top_p": top_p, "seed": k}
        plan = run_plan(benchmark, chosen=chosen, **asked)
        click.echo(f"rollout {k + 1} of {rollouts}: {folder}", err=True)
        complete(plan, folder, _note)
    with progress("computing rewards …"):
        vectors = "none" if embeddings is None else str(embeddings)
        found = judge(folders, data, split, profile, vectors)
        write(found, out)
    print_pilot(found, f"{data.name}, split {split}", hardness)
    for note in found.notes:
        _note(note)
    click.echo(f"wrote {out}")


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)
