"""What is done, in which order."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import yaml

from experiment import inputs
from experiment.sizes import REWARDS, START
from experiment.steps import Step, remove
from ffr_eval.writing import replacing
from ffr_train.curriculum import difficulty_file
from ffr_train.curriculum.schedule import order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from experiment.sizes import Arm, Size

BENCHMARK: Final = "benchmark"
CONFIG: Final = "train.yaml"
DIFFICULTY: Final = "difficulty.jsonl"
GRPO_DATA: Final = "grpo-data"
PROTOCOLS: Final = ("strict", "official")
_STORE: Final = "embeddings"
_MODEL: Final = "model"
_SFT_DATA: Final = "sft-data"
_SFT: Final = "sft"
_SHORT: Final = ("--max-length", "2048")


def preparing(folder: Path, size: Size, seed: int) -> Iterator[Step]:
    """From nothing to a model that answers in format, and the difficulty of samples for it."""

    def whole(name: str, make: Callable[[Path], None]) -> Callable[[], None]:
        def work() -> None:
            partial = folder / f"{name}.partial"
            remove(partial)
            make(partial)
            partial.replace(folder / name)

        return work

    digest = hashlib.sha256(repr(size).encode()).hexdigest()[:8]  # so that another size is noticed

    def words(name: str) -> tuple[str, ...]:
        return ("write", name, "of", "size", digest, "seed", str(seed))

    benchmark = folder / BENCHMARK
    yield Step(
        "benchmark",
        words(BENCHMARK),
        (BENCHMARK,),
        whole(BENCHMARK, lambda to: inputs.make_benchmark(to, size, seed)),
    )
    yield Step(
        "model",
        words(_MODEL),
        (_MODEL,),
        whole(_MODEL, lambda to: inputs.make_model(to, benchmark, size, seed)),
    )
    yield Step(
        "vectors",
        words(_STORE),
        (_STORE,),
        whole(_STORE, lambda to: inputs.make_vectors(to, benchmark, seed)),
    )
    yield Step(
        "config",
        words(CONFIG),
        (CONFIG,),
        lambda: write_config(folder / CONFIG, size, seed),
    )
    data = ("train", "data", BENCHMARK)
    yield Step(
        _SFT_DATA,
        (*data, "--stage", "sft", "--model", _MODEL, "--out", _SFT_DATA, *_SHORT),
        (_SFT_DATA,),
    )
    every = ("--set", f"evaluation.every={size.sft['save_steps']}")
    yield Step(_SFT, ("train", "sft", CONFIG, "--resume", *every))
    # By the trained model: the files of its tokenizer are not quite those of the first one.
    yield Step(
        GRPO_DATA,
        (
            *(*data, "--stage", "grpo", "--split", "grpo", "--model", _SFT, "--out", GRPO_DATA),
            *(*_SHORT, "--max-completion", str(size.most_tokens)),
            *("--encoder", inputs.ENCODER, "--store", _STORE),
        ),
        (GRPO_DATA,),
    )
    yield Step(
        "difficulty",
        (
            *("train", "difficulty", BENCHMARK, "--split", "grpo", "--model", _SFT),
            *("--batch-size", str(size.batch), "-o", f"max_tokens={size.most_tokens}"),
            *("--out", DIFFICULTY, "--plot", "difficulty.png"),
        ),
    )


def training(steps: int | str, arms: Sequence[Arm]) -> Iterator[Step]:
    """The arms, each from the same model, over the same number of steps and prompts.

    Args:
        steps: From :func:`steps_of`; any text where the steps are only shown.
        arms: The arms.
    """
    for arm in arms:
        reward = REWARDS[arm.reward]
        settings: dict[str, Any] = {
            "grpo.out": f"arms/{arm.name}",
            "grpo.trainer.max_steps": steps,
            "grpo.reward.profile": reward.profile,
            **{f"grpo.reward.weights.{name}": weight for name, weight in reward.weights.items()},
            "grpo.curriculum.difficulty": DIFFICULTY if arm.curriculum else "null",
        }
        options = [
            part for name, value in settings.items() for part in ("--set", f"{name}={value}")
        ]
        yield Step(f"grpo-{arm.name}", ("train", "grpo", CONFIG, "--resume", *options))


def evaluating(size: Size, arms: Sequence[Arm]) -> Iterator[Step]:
    """Answers of all models to the split ``test``, their figures, and all pairs compared."""
    models = {START: _SFT, **{arm.name: f"arms/{arm.name}" for arm in arms}}
    for name, path in models.items():
        yield Step(
            f"run-{name}",
            (
                *("run", "hf", BENCHMARK, "--split", "test", "-o", f"model={path}"),
                *("-o", f"max_tokens={size.most_tokens}", "--batch-size", str(size.batch)),
                *("--out", f"runs/{name}"),
            ),
        )
        for protocol in PROTOCOLS:
            yield Step(
                f"score-{name}-{protocol}",
                (
                    *("score", f"runs/{name}", "--protocol", protocol, "--ci"),
                    *("--group-by", "kind", "--json", f"scores/{name}-{protocol}.json"),
                ),
            )
    runs = [f"runs/{name}" for name in models]
    for protocol in PROTOCOLS:
        yield Step(
            f"compare-{protocol}",
            ("compare", *runs, "--protocol", protocol, "--json", f"scores/compare-{protocol}.json"),
        )


def steps_of(folder: Path, size: Size) -> int:
    """So many steps that the curriculum is shown once, to its last sample."""
    rows = (folder / GRPO_DATA / "train.jsonl").read_bytes().splitlines()
    names = [json.loads(row)["sample_id"] for row in rows]
    levels = difficulty_file.read(folder / DIFFICULTY).levels_of(names)
    prompts: int = size.grpo["per_device_train_batch_size"] // size.grpo["num_generations"]
    return len(order(levels, replay=size.replay, multiple_of=prompts)) // prompts


def write_config(path: Path, size: Size, seed: int) -> None:
    """The configuration of all trainings; arms set what is their own."""
    document = {
        "schema_version": 1,
        "trl": "1.16",
        "model": {"path": f"./{_MODEL}", "dtype": size.dtype, "kernels": False},
        "lora": None,
        "sft": {"data": _SFT_DATA, "out": _SFT, "trainer": {**size.sft, "seed": seed}},
        "grpo": {
            "data": GRPO_DATA,
            "out": "arms/none",
            "start": _SFT,
            "reward": {"profile": "fixed", "terms": ["f1", "order"]},
            "curriculum": {"difficulty": None, "replay": size.replay, "seed": seed},
            "trainer": {
                **size.grpo,
                "max_completion_length": size.most_tokens,
                "seed": seed,
            },
        },
        "evaluation": {
            "benchmark": f"./{BENCHMARK}",
            "split": "validation",
            "every": size.every,
            "samples": None,
            "batch_size": size.batch,
            "max_new_tokens": size.most_tokens,
        },
    }
    text = "# Written by scripts/training_experiment.py; arms override it with --set.\n"
    with replacing(path) as temporary:
        temporary.write_text(text + yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
