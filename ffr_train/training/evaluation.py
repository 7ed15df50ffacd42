"""Evaluation while training: a callback of the trainer that asks held-out samples."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from transformers import Trainer, TrainerCallback

from ffr_eval.jsonl import encode_line
from ffr_eval.prediction_file import encode_prediction
from ffr_eval.types import Outcome
from ffr_eval.writing import replacing
from ffr_train.training.held_out import FIGURES, PROTOCOLS, Asker, HeldOut, figures
from ffr_train.training.record import forget_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ffr_eval.types import Prediction
    from ffr_train.data import LoadedProcessor

RECORD: Final = "evaluation.jsonl"
ANSWERS: Final = "evaluation"


class EvaluationCallback(TrainerCallback):
    """Reports strict and official figures with intervals: before, while and after training.

    Figures go to the trainer's reporters as ``held_out/PROTOCOL/FIGURE`` and, with the intervals,
    to ``evaluation.jsonl``; the raw answers go to ``evaluation/step-000100.jsonl``, a prediction
    file that ``ffr score`` reads. In a distributed training each process asks its share.

    Attributes:
        trainer: To be set before training begins.

    Args:
        held: The samples.
        processor: Of the model.
        out: The folder of the training.
        note: Takes sentences for people.
    """

    trainer: Any = None

    def __init__(
        self, held: HeldOut, processor: LoadedProcessor, out: Path, note: Callable[[str], None]
    ) -> None:
        self._held = held
        self._note = note
        self._asker = Asker(processor, held.section)
        self._out = out
        self._warned = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        """Before the first step; a resumed training has done that."""
        if state.is_world_process_zero:
            forget_after(self._out / RECORD, state.global_step)
        if state.global_step == 0:
            self._evaluate(args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        """At the steps that the configuration names, before a checkpoint is saved."""
        every = self._held.section.every
        last = state.global_step >= state.max_steps
        if last or (every and state.global_step % every == 0):
            self._evaluate(args, state, control)

    def _evaluate(self, args: Any, state: Any, control: Any) -> None:
        from accelerate.utils import gather_object

        start = time.perf_counter()
        world, rank = args.world_size, args.process_index
        mine = self._held.samples[rank::world]
        with self._asking() as model:
            found: list[Prediction] = gather_object(list(self._asker.answers(model, mine)))
        order = {sample.sample_id: place for place, sample in enumerate(self._held.samples)}
        found.sort(key=lambda prediction: order[prediction.sample_id])
        if not state.is_world_process_zero:
            return
        result = {
            "step": state.global_step,
            "n_samples": len(found),
            **figures(self._held, found),
            "seconds": round(time.perf_counter() - start, 2),
        }
        self._store(found, result)
        self._warn(result["outcomes"])
        logs = {
            f"held_out/{protocol}/{name}": result[protocol][name]
            for protocol in PROTOCOLS
            for name in FIGURES
            if result[protocol][name] is not None
        }
        for protocol in PROTOCOLS:
            interval = result[protocol]["ci95"][FIGURES[0]]
            if interval is not None:
                logs[f"held_out/{protocol}/{FIGURES[0]}_low"] = interval[0]
                logs[f"held_out/{protocol}/{FIGURES[0]}_high"] = interval[1]
        # Not the trainer's own: that of GRPO would take the step's metrics for logged. Nor is the
        # step's loss: in the other processes it still will be, and they would wait for this one.
        due = control.should_log
        Trainer.log(self.trainer, logs)
        control.should_log = due

    def _asking(self) -> AbstractContextManager[Any]:
        from contextlib import contextmanager

        from trl.models import unwrap_model_for_generation

        @contextmanager
        def asking() -> Iterator[Any]:
            trained = self.trainer.model_wrapped or self.trainer.model
            was_training = trained.training
            trained.eval()
            try:
                with unwrap_model_for_generation(trained, self.trainer.accelerator) as model:
                    yield model
            finally:
                trained.train(was_training)

        return asking()

    def _warn(self, outcomes: Mapping[str, int]) -> None:
        """Say once how many samples the model was not asked, as that makes its figures low."""
        too_long = outcomes.get(Outcome.CONTEXT_OVERFLOW, 0)
        unread = outcomes.get(Outcome.REQUEST_ERROR, 0)
        if self._warned or not too_long + unread:
            return
        self._warned = True
        number = len(self._held.samples)
        if too_long:
            self._note(
                f"{too_long} of {number} held-out samples do not fit into the model's context and"
                " count as not answered: dialogues are not divided here, as `ffr run` divides them"
            )
        if unread:
            self._note(f"{unread} of {number} held-out samples have images that cannot be read")

    def _store(self, predictions: list[Prediction], result: dict[str, Any]) -> None:
        folder = self._out / ANSWERS
        folder.mkdir(exist_ok=True)
        name = folder / f"step-{result['step']:06d}.jsonl"
        with replacing(name) as temporary, temporary.open("wb") as stream:
            stream.writelines(map(encode_prediction, predictions))
        with (self._out / RECORD).open("ab") as stream:
            stream.write(encode_line(result))
