"""Our code's share of a training step with the toy model; on a GPU also tokens per second.

The share: of the time between the first step and the last, what passes in reading rows, reward
functions and the log of answers, of a real training of each stage. The model is tiny, so that a
step is short: with a real one the share is a fraction of this. GRPO goes on from what SFT came
to, so that answers can be read. Reading rows (with decoding their images) counts as ours, though a
data set of `datasets` does it.

Tokens per second, where there is CUDA: `ffr train sft` with the settings of the recipe `paper`
against TRL's own trainer with its defaults, the same model, rows, adapters and batch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.measure import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ffr_train.config import TrainConfig
    from ffr_train.toy.model import ToySize

WANTED = 0.03
SPLITS = {"train": 120, "validation": 4, "test": 4}
STEPS = {"sft": 40, "grpo": 8}
WARM = 5  # steps that are not counted, on a GPU
GPU_STEPS = 40
FAST = {"rank": 64, "alpha": 128, "rate": 4e-3}  # so that answers can be read after some steps
LANGUAGE = r"model\.language_model\..*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
RELEASED = {"rank": 8, "alpha": 32, "rate": 1e-4}
CONFIG = """
schema_version: 1
trl: "1.16"
model: {{path: ./model, dtype: {dtype}}}
lora: {{r: {rank}, alpha: {alpha}, dropout: 0.05}}
sft:
  data: sft
  out: out-sft
  trainer: {{learning_rate: {rate}, max_steps: {sft}, per_device_train_batch_size: {batch},
    logging_steps: 10, save_strategy: "no", report_to: none, disable_tqdm: true{more}}}
grpo:
  data: grpo
  out: out-grpo
  start: out-sft
  trainer: {{learning_rate: 1e-5, max_steps: {grpo}, num_generations: 8,
    per_device_train_batch_size: 32, max_completion_length: 32, logging_steps: 1,
    save_strategy: "no", report_to: none, disable_tqdm: true, log_completions: true,
    num_completions_to_print: 0}}
"""


class Shares:
    """Who the time of a training goes to."""

    def __init__(self) -> None:
        import torch

        self.seconds = {"ours": 0.0, "theirs": 0.0}
        # There is one thread on the CPU: what else runs on the machine is not counted.
        self._clock = time.perf_counter if torch.cuda.is_available() else time.process_time
        self._owner: str | None = None
        self._since = 0.0

    def of(self, owner: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose time is the owner's but for what is another's in it."""

        @functools.wraps(function)
        def timed(*args: Any, **more: Any) -> Any:
            if self._owner is None:  # before the first step, or after the last
                return function(*args, **more)
            before = self._owner
            self._hand_over(owner)
            try:
                return function(*args, **more)
            finally:
                if self._owner is not None:
                    self._hand_over(before)

        return timed

    def begin(self) -> None:
        """The training begins."""
        self._owner, self._since = "theirs", self._clock()

    def end(self) -> None:
        """The training is over."""
        self._hand_over(None)

    def _hand_over(self, owner: str | None) -> None:
        now = self._clock()
        if self._owner is not None:
            self.seconds[self._owner] += now - self._since
        self._owner, self._since = owner, now


@contextmanager
def watched(shares: Shares) -> Iterator[None]:
    """Put clocks at the borders between our code and the trainer's."""
    from datasets import Dataset
    from transformers.trainer_callback import CallbackHandler
    from trl import GRPOTrainer

    from ffr_train.rewards.adapters.trl import reward_functions
    from ffr_train.training import grpo
    from ffr_train.training.grpo_trainer import FragmentGRPOTrainer, RolloutCallback

    def around(name: str, then: Callable[[], None]) -> Any:
        original = getattr(CallbackHandler, name)

        def called(*args: Any, **more: Any) -> Any:
            if name == "on_train_end":
                then()
            result = original(*args, **more)
            if name == "on_train_begin":
                then()
            return result

        return patch.object(CallbackHandler, name, called)

    def clocked(*args: Any, **more: Any) -> tuple[list[Any], list[float]]:
        functions, weights = reward_functions(*args, **more)
        return [shares.of("ours", function) for function in functions], weights

    borders = [
        ("ours", Dataset, "__getitem__"),
        ("ours", Dataset, "__getitems__"),
        ("ours", FragmentGRPOTrainer, "_tokenize_prompts"),
        ("ours", FragmentGRPOTrainer, "_generate_and_score_completions"),
        ("ours", RolloutCallback, "on_train_begin"),
        ("ours", RolloutCallback, "on_train_end"),
        ("theirs", GRPOTrainer, "_tokenize_prompts"),
        ("theirs", GRPOTrainer, "_generate_and_score_completions"),
    ]
    with ExitStack() as stack:
        for owner, kind, name in borders:
            stack.enter_context(patch.object(kind, name, shares.of(owner, getattr(kind, name))))
        stack.enter_context(patch.object(grpo, "reward_functions", clocked))
        stack.enter_context(around("on_train_begin", shares.begin))
        stack.enter_context(around("on_train_end", shares.end))
        yield


def world(folder: Path, size: ToySize | None = None, **settings: Any) -> TrainConfig:
    """A benchmark, a model, rows of both stages and a configuration in a folder."""
    from ffr_eval.benchmark import read_benchmark
    from ffr_train.config import read_config
    from ffr_train.data import DataRequest, build
    from ffr_train.toy.benchmark import ToyOptions, build_benchmark
    from ffr_train.toy.model import build_model

    build_benchmark(folder / "benchmark", ToyOptions(SPLITS))
    build_model(folder / "model", folder / "benchmark", size)
    benchmark = read_benchmark(folder / "benchmark")
    build(benchmark, DataRequest("sft", str(folder / "model"), folder / "sft"))
    build(benchmark, DataRequest("grpo", str(folder / "model"), folder / "grpo"))
    values = {"dtype": "float32", "batch": 32, "more": "", **STEPS, **FAST, **settings}
    (folder / "train.yaml").write_text(CONFIG.format(**values), encoding="utf-8")
    return read_config(folder / "train.yaml")


def share() -> list[Result]:
    """Our share of the time of each stage."""
    from ffr_train.training.grpo import train_grpo
    from ffr_train.training.sft import train_sft

    found = []
    with tempfile.TemporaryDirectory() as name:
        config = world(Path(name))
        for stage, train in (("sft", train_sft), ("grpo", train_grpo)):
            shares = Shares()
            with watched(shares), _quiet():
                outcome = train(config, note=lambda _: None)
            ours, theirs = (shares.seconds[who] / outcome.steps for who in ("ours", "theirs"))
            found.append(
                Result(
                    what=f"our code in a step of `ffr train {stage}`, toy model",
                    ours=f"{ours * 1000:.1f} ms",
                    peer_name="the whole step",
                    peer=f"{(ours + theirs) * 1000:.0f} ms",
                    ratio=f"{ours / (ours + theirs):.1%} of it",
                    wanted=f"< {WANTED:.0%}",
                )
            )
    return found


def throughput(size: ToySize, batch: int, steps: int, dtype: str) -> Result:
    """Tokens per second of SFT: the recipe's settings against TRL's defaults, one after the other.

    Args:
        size: Of the model.
        batch: Samples a step.
        steps: Of each training; the first ones are not counted.
        dtype: Of ours; TRL's defaults have their own.
    """
    from ffr_train.training.sft import train_sft

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = ", gradient_checkpointing: true, dataloader_num_workers: 4"
        config = world(folder, size, dtype=dtype, batch=batch, sft=steps, more=more, **RELEASED)
        with _clocked_steps() as ends, _quiet():
            train_sft(config, note=lambda _: None)
        ours = _rate(ends)
        with _clocked_steps() as ends, _quiet():
            _plain(folder, batch, steps)
        theirs = _rate(ends)
    return Result(
        what="tokens per second of SFT, settings of the recipe `paper`",
        ours=f"{ours:,.0f}",
        peer_name="TRL's defaults, same batch",
        peer=f"{theirs:,.0f}",
        ratio=f"{ours / theirs:.2f}",
        wanted="≥ 1",
    )


def _plain(folder: Path, batch: int, steps: int) -> None:
    """The same training by TRL alone."""
    import torch
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from ffr_train.data import load_rows

    settings: Any = SFTConfig
    arguments = settings(
        output_dir=str(folder / "out-plain"),
        per_device_train_batch_size=batch,
        max_steps=steps,
        max_length=None,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    rows = load_rows(folder / "sft").select_columns(["prompt", "completion", "images"])
    adapters: Any = LoraConfig
    trainer: Any = SFTTrainer
    trainer(
        model=str(folder / "model"),
        args=arguments,
        train_dataset=rows,
        peft_config=adapters(r=8, lora_alpha=32, lora_dropout=0.05, target_modules=LANGUAGE),
    ).train()


@contextmanager
def _clocked_steps() -> Iterator[list[tuple[float, float]]]:
    """When each step ended, and how many tokens the trainer had seen by then."""
    from transformers.trainer_callback import CallbackHandler
    from trl import SFTTrainer

    ends: list[tuple[float, float]] = []
    tokens = 0.0
    original, compute = CallbackHandler.on_step_end, SFTTrainer.compute_loss

    def ended(*args: Any, **more: Any) -> Any:
        ends.append((time.perf_counter(), tokens))
        return original(*args, **more)

    def counted(self: Any, model: Any, inputs: Any, *args: Any, **more: Any) -> Any:
        nonlocal tokens
        tokens += float(inputs["attention_mask"].sum())  # waits for the GPU, in both alike
        return compute(self, model, inputs, *args, **more)

    with (
        patch.object(CallbackHandler, "on_step_end", ended),
        patch.object(SFTTrainer, "compute_loss", counted),
    ):
        yield ends


def _rate(ends: list[tuple[float, float]]) -> float:
    (start, before), (end, after) = ends[WARM - 1], ends[-1]
    return (after - before) / (end - start)


@contextmanager
def _quiet() -> Iterator[None]:
    """What a trainer prints goes to standard error: standard output is for the table."""
    from contextlib import redirect_stdout

    with redirect_stdout(sys.stderr):
        yield


def run() -> list[Result]:
    """Measure."""
    import torch

    from ffr_train.toy.model import ToySize

    results = share()
    if torch.cuda.is_available():
        large = ToySize(width=2048, layers=16, heads=16)
        results.append(throughput(large, 16, GPU_STEPS, "bfloat16"))
    else:
        print("tokens per second of the recipe against TRL's defaults: no GPU", file=sys.stderr)
    return results
