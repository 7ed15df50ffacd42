"""What both stages share: from a configuration to a result, through any number of kills."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from ffr_eval.errors import InputError
from ffr_train.config import check_trainer, trainer_config
from ffr_train.config.schema import shown_value
from ffr_train.data import load_rows, read_manifest
from ffr_train.training import record as records
from ffr_train.training.held_out import held_out
from ffr_train.training.model import load_trainee

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_train.config.schema import Stage, TrainConfig
    from ffr_train.data import DataManifest
    from ffr_train.training.held_out import HeldOut
    from ffr_train.training.model import Trainee


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to.

    Attributes:
        out: The folder with the result.
        steps: Steps that were done in all.
        before: Whether it had been finished before.
        figures: The last evaluation; ``None`` without one.
        first: The first evaluation.
    """

    out: Path
    steps: int
    before: bool = False
    figures: dict[str, Any] | None = None
    first: dict[str, Any] | None = None


class TrainingSession(ABC):
    """One process's work at a training.

    Args:
        config: The configuration.
        stage: The stage.
        resume: Go on with what is there.
        note: Takes sentences for people; called in the first process only.
    """

    args: Any
    trainee: Trainee
    schedule: Any = None

    def __init__(
        self, config: TrainConfig, stage: Stage, *, resume: bool, note: Callable[[str], None]
    ) -> None:
        self.config = config
        self.stage: Stage = stage
        self.section = config.stage(stage)
        self.out: Path = self.section.out
        self._resume = resume
        self._note = note if os.environ.get("RANK", "0") == "0" else _silent

    @abstractmethod
    def prepare(self) -> dict[str, Any]:
        """Read the stage's own inputs; hashes of them by name, for the identity.

        Raises:
            InputError: If one cannot be used.
        """

    @abstractmethod
    def trainer_settings(self) -> dict[str, Any]:
        """Arguments of the trainer's configuration that follow from the inputs."""

    @abstractmethod
    def make_trainer(self, callbacks: list[Any]) -> Any:
        """The trainer, ready to train."""

    @cached_property
    def manifest(self) -> DataManifest:
        """What the training data say of themselves."""
        return read_manifest(self.section.data)

    @cached_property
    def data(self) -> Any:
        """The rows of the training data, in their order."""
        return load_rows(self.section.data)

    @cached_property
    def held(self) -> HeldOut | None:
        """The held-out samples."""
        return held_out(self.config, self.manifest)

    def run(self) -> Outcome:
        """Train.

        Raises:
            InputError: If anything given is wrong.
            FfrError: If the training fails.
        """
        check_trainer(self.config, self.stage)
        records.require_usable(self.out, resume=self._resume)
        self._check_data()
        contents = self.prepare()
        self.data.num_rows  # noqa: B018 - reads and checks the rows before a model is loaded
        if self.held is not None and self.held.section.split.casefold().startswith("test"):
            self.note(
                "evaluation.split is a test split: what is chosen by these figures can no longer be"
                " tested on it"
            )
        # A loss that is no number is to be seen, not to be left out of the log.
        settings = {"logging_nan_inf_filter": False, **self.trainer_settings()}
        self.args = trainer_config(self.config, self.stage, **settings)
        self._check_devices()
        first = self.args.process_index == 0
        there = self.out.is_dir()
        lock = records.lock(self.out) if first else None
        try:
            return self._trained(contents, first)
        finally:
            if lock is not None:
                records.release(lock, self.out, keep=there)

    def note(self, text: str) -> None:
        """Tell people something, once."""
        self._note(text)

    def _check_devices(self) -> None:
        """Refuse several GPUs in one process, which TRL cannot use."""
        if self.args.n_gpu > 1:
            launch = f"accelerate launch --num_processes {self.args.n_gpu}"
            command = f"{launch} -m ffr_eval train {self.stage} {self.config.file}"
            raise InputError(
                f"{self.args.n_gpu} GPUs are visible, and one process uses one",
                remedy=f"{command}; or show it one: CUDA_VISIBLE_DEVICES=0",
            )

    def _check_data(self) -> None:
        manifest = self.manifest
        where = f"{self.stage}.data"
        if manifest.stage != self.stage:
            message = f"was made for the stage {manifest.stage}, not {self.stage}"
            remedy = f"ffr train data … --stage {self.stage}"
            raise self.config.problem(where, message, remedy)
        model = self.config.model
        for name in ("max_pixels", "min_pixels"):
            there, wanted = getattr(manifest, name), getattr(model, name)
            if there != wanted:
                was, is_to = shown_value(there), shown_value(wanted)
                message = f"was made with {name} {was}, and the model is to have {is_to}"
                remedy = f"set model.{name} to {was}, or make the data again"
                raise self.config.problem(where, message, remedy)
        if not manifest.n_rows:
            message = "has no rows"
            raise self.config.problem(where, message, "see its report.md for why")

    def _trained(self, contents: dict[str, Any], first: bool) -> Outcome:
        self.trainee = load_trainee(self.config, self.stage)
        self._check_model()
        identity = records.identity_of(
            self.config,
            self.stage,
            weights=self.trainee.revision,
            data_hash=self.manifest.hash,
            batch=self._batch(),
            **contents,
        )
        wanted = records.new_record(self.config, self.stage, identity)
        there = records.read_record(self.out)
        if there is not None:
            records.require_same(there, wanted, self.out)
            if there.finished:
                return Outcome(self.out, there.steps or 0, True, *_evaluations(self.out))
        checkpoint, broken = records.last_checkpoint(self.out)
        if broken:
            self.note(f"not whole, passed over: {', '.join(broken)}")
        if self._resume and there is None:
            self.note(f"there is nothing in {self.out} to go on with: it begins anew")
        session = records.Session(records.now(), records.step_of(checkpoint))
        current = there or wanted
        current = msgspec.structs.replace(
            current, sessions=(*current.sessions, session), versions=wanted.versions
        )
        self.args.distributed_state.wait_for_everyone()
        if first:
            records.write_record(self.out, current)
        return self._run_trainer(checkpoint, current, first)

    def _batch(self) -> int:
        """Samples of a step, however they are divided among processes and passes."""
        a_pass: int = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return a_pass * int(self.args.world_size)

    def _check_model(self) -> None:
        if self.manifest.model.revision != self.trainee.processor.revision:
            message = (
                f"was made for the tokenizer and processor of {self.manifest.model.name}, and "
                f"those of {self.trainee.name} are others"
            )
            remedy = f"make the data again: ffr train data … --model {self.trainee.name}"
            raise self.config.problem(f"{self.stage}.data", message, remedy)

    def _run_trainer(
        self, checkpoint: Path | None, current: records.TrainingRecord, first: bool
    ) -> Outcome:
        from ffr_train.training.evaluation import EvaluationCallback
        from ffr_train.training.failures import SoundnessCallback, explained

        callbacks: list[Any] = [SoundnessCallback(self.out)]
        if self.held is not None:
            evaluation = EvaluationCallback(self.held, self.trainee.processor, self.out, self.note)
            callbacks.append(evaluation)
        with explained(self.stage, self.out):
            trainer = self.make_trainer(callbacks)
            if self.held is not None:
                evaluation.trainer = trainer
            if checkpoint is not None:
                self.note(f"going on from {checkpoint.name}")
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            trainer.save_model(str(self.out))
        if first:
            # The adapter that training started from, which TRL keeps beside the trained one.
            shutil.rmtree(self.out / "ref", ignore_errors=True)
            (self.out / "training_args.bin").unlink(missing_ok=True)  # a pickle; nothing reads it
            trainer.save_state()
            done = msgspec.structs.replace(current, finished=True, steps=trainer.state.global_step)
            records.write_record(self.out, done)
            from ffr_train.training.curves import draw_curves

            draw_curves(self.out, trainer.state.log_history)
        self.args.distributed_state.wait_for_everyone()
        return Outcome(self.out, trainer.state.global_step, False, *_evaluations(self.out))


def _silent(text: str) -> None:
    """Say nothing: the first process has said it."""


def _evaluations(out: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The last and the first evaluation."""
    path = out / "evaluation.jsonl"
    if not path.is_file():
        return None, None
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    return (lines[-1], lines[0]) if lines else (None, None)


def require_file(path: Path | None, config: TrainConfig, field: str, command: str) -> None:
    """Refuse an input that is not there.

    Raises:
        InputError: Naming the command that makes it.
    """
    if path is not None and not path.is_file():
        remedy = f"make it: {command}, or set it to null"
        raise config.problem(field, f"no such file: {path}", remedy)
