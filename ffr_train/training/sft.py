"""``ffr train sft``: the cold start, supervised on gold answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffr_train.training.session import TrainingSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_train.config.schema import TrainConfig
    from ffr_train.training.session import Outcome


def train_sft(
    config: TrainConfig, *, resume: bool = False, note: Callable[[str], None] = print
) -> Outcome:
    """Fine-tune on the answers of the data.

    Args:
        config: With a section ``sft``.
        resume: Go on with a training that was stopped or killed.
        note: Called with sentences about what a reader should know.

    Raises:
        InputError: If anything that is given is wrong; nothing has been trained then.
        FfrError: If the training fails; checkpoints stay.
    """
    return _Sft(config, "sft", resume=resume, note=note).run()


class _Sft(TrainingSession):
    def prepare(self) -> dict[str, Any]:
        return {}

    def rows(self) -> Any:
        return self.data

    def trainer_settings(self) -> dict[str, Any]:
        return {}

    def make_trainer(self, callbacks: list[Any]) -> Any:
        from trl import SFTTrainer

        return SFTTrainer(
            model=self.trainee.model,
            args=self.args,
            train_dataset=_columns(self.rows()),
            processing_class=self.trainee.processor.processor,
            peft_config=self.trainee.adapter,
            callbacks=callbacks,
        )


def _columns(rows: Any) -> Any:
    """What the trainer's collator reads, and nothing else."""
    return rows.select_columns(["prompt", "completion", "images"])
