"""Trainings that fail or are stopped: said in words, with what is kept and how it goes on."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.ffr_train.training.conftest import adapter, lines
from tests.ffr_train.training.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Cli
    from tests.ffr_train.training.conftest import World


@pytest.fixture
def shop(world: World, tmp_path: Path, cli: Cli) -> Workshop:
    return Workshop(world, tmp_path, cli)


@contextmanager
def at_third_step(happening: Callable[[Any], Any]) -> Iterator[None]:
    """Something happens when the third step of a trainer begins; two are saved by then."""
    from trl import SFTTrainer

    step = SFTTrainer.training_step

    def training_step(self: Any, *args: Any, **more: Any) -> Any:
        if self.state.global_step == 2:
            happening(self)
        return step(self, *args, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SFTTrainer, "training_step", training_step)
        yield


def test_memory_is_short_and_smaller_batches_go_on(shop: Workshop) -> None:
    import torch

    def short(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with at_third_step(short):
        said = shop.train("sft")
    assert said.code == 1
    assert "memory is short: CUDA out of memory" in said.err
    assert "lower per_device_train_batch_size and raise gradient_accumulation_steps" in said.err
    assert (shop.out / "checkpoint-2" / "trainer_state.json").is_file()
    assert not (shop.out / "adapter_model.safetensors").exists()
    # Other samples in a step would be another training …
    other = shop.train("sft", "--resume", sft__trainer__per_device_train_batch_size=2)
    assert other.code == 2
    assert "batch was 4, is 2" in other.err
    # … and the same ones in two passes are not.
    done = shop.trained(
        "sft",
        "--resume",
        sft__trainer__per_device_train_batch_size=2,
        sft__trainer__gradient_accumulation_steps=2,
        sft__trainer__gradient_checkpointing="true",
    )
    assert "going on from checkpoint-2" in done.err
    straight = shop.folder / "straight"
    shop.trained("sft", sft__out=straight)
    one, same = adapter(shop.out), adapter(straight)
    assert one.keys() == same.keys()
    assert all((one[name] - same[name]).abs().max() < 1e-4 for name in one)


def test_memory_of_the_machine_while_weights_are_loaded(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen2VLForConditionalGeneration

    for error in (
        MemoryError("of the machine"),
        RuntimeError("[enforce fail] can't allocate memory"),
    ):

        def load(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr(Qwen2VLForConditionalGeneration, "from_pretrained", load)
        said = shop.train("sft")
        assert said.code == 1
        assert "memory is short" in said.err
        assert not shop.out.exists()


def test_a_loss_that_is_no_number(shop: Workshop) -> None:
    said = shop.train("sft", sft__trainer__learning_rate="1e30", sft__trainer__save_steps=9)
    assert said.code == 1
    assert "the loss came out as NaN or infinity; there is no checkpoint yet" in said.err
    assert "→ lower learning_rate" in said.err
    assert not (shop.out / "adapter_model.safetensors").exists()
    assert not list(shop.out.glob("checkpoint-*"))


def test_weights_that_are_no_numbers_are_not_saved(shop: Workshop) -> None:
    def damage(trainer: Any) -> None:
        next(weight for weight in trainer.model.parameters() if weight.requires_grad).data[0] = (
            float("nan")
        )

    with at_third_step(damage):
        said = shop.train("sft", sft__trainer__logging_steps=100)
    assert said.code == 1
    assert "the weights came out as NaN or infinity; checkpoint-2 is kept" in said.err
    assert not (shop.out / "checkpoint-3").exists()
    assert not (shop.out / "adapter_model.safetensors").exists()


def test_answers_of_a_model_that_is_broken(shop: Workshop) -> None:
    said = shop.train("grpo", grpo__trainer__learning_rate="1e38", grpo__trainer__max_steps=4)
    assert said.code == 1
    assert "NaN or infinity" in said.err


def test_stopped_by_hand(shop: Workshop) -> None:
    with at_third_step(lambda _: signal.raise_signal(signal.SIGINT)):
        said = shop.train("sft")
    assert said.code == 130
    kept = "checkpoint-2 is kept; the same command with --resume goes on"
    assert f"note: stopped: {kept}" in said.err
    assert "interrupted" in said.err
    assert "sft: finished after 3 steps" in shop.trained("sft", "--resume").out


def test_what_a_library_raises(shop: Workshop) -> None:
    def fail(_: Any) -> None:
        raise ValueError("something of\nthe library")

    with at_third_step(fail):
        said = shop.train("sft")
    assert said.code == 1
    assert "the training failed: ValueError: something of the library" in said.err
    assert "→ checkpoint-2 is kept; the same command with --resume goes on" in said.err


def test_a_damaged_image_ends_a_training_and_not_an_evaluation(shop: Workshop) -> None:
    benchmark = shop.copy("benchmark")
    damaged = sorted(benchmark.rglob("validation-*/*.png"))[0]
    damaged.write_bytes(b"\x89PNG damaged")
    shop.trained(
        "sft",
        sft__trainer__max_steps=1,
        evaluation__benchmark=benchmark,
        evaluation__max_new_tokens=4,
    )
    stored = lines(shop.out / "evaluation" / "step-000001.jsonl")
    failed = [line["sample_id"] for line in stored if line["outcome"] == "request_error"]
    assert failed
    assert {name.partition("#")[0] for name in failed} == {damaged.parent.name}
    assert len(stored) == 24
    data = shop.copy("data-sft")
    for image in data.rglob("*.png"):
        image.write_bytes(b"\x89PNG damaged")
    said = shop.train("sft", sft__data=data, sft__out=shop.folder / "other")
    assert said.code == 1
    assert "the training failed: " in said.err


@pytest.mark.parametrize("package", ["trl", "peft", "transformers", "torch"])
def test_a_part_that_is_not_installed(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for command in (("sft", shop.world.config), ("merge", "somewhere", "--out", shop.out)):
        said = shop.cli.refused("train", *command)
        assert "pip install 'ffr-eval[train]'" in said
    assert not shop.out.exists()


def test_a_stop_before_anything_leaves_nothing(shop: Workshop) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "ffr_train.training.session.load_trainee",
            lambda *_: signal.raise_signal(signal.SIGINT),
        )
        said = shop.train("sft")
    assert said.code == 130
    assert "--resume" not in said.err
    assert not shop.out.exists()
