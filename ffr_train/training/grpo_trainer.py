"""TRL's GRPO trainer, where the task needs other than it does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from transformers import TrainerCallback
from trl import GRPOTrainer

from ffr_eval.jsonl import encode_line
from ffr_train.rewards.adapters.trl import PREFIX
from ffr_train.training.record import forget_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROLLOUTS: Final = "rollouts.jsonl"
_FLAT: Final = "frac_reward_zero_std"
_MANY_FLAT: Final = 0.3


class FragmentGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO on batches that mix samples with and without images; keeps the answers it draws.

    ``rollouts.jsonl`` has a line an answer: step, sample, window, level, answer, terms of the
    reward and advantage, in the order of training. TRL's own tables (``completions/``) have the
    prompts too.
    """

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        """As TRL does; a sample without images has no images, where TRL 1.16 says ``None``."""
        ids, images, fields = super()._tokenize_prompts(prompts)
        if images is not None:
            images = [each or [] for each in images]
        return ids, images, fields

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As transformers does; and the trained adapter too.

        Where a checkpoint has the adapter that training started from in a folder of its own
        (``ref``), transformers 5.19 loads only that, and the trained one would be lost.
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        trained: Any = self.model if model is None else model
        if "ref" in getattr(trained, "peft_config", {}):
            trained.load_adapter(resume_from_checkpoint, "default", is_trainable=True)
            trained.set_adapter("default")

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        """As TRL does, and write the answers down."""
        scored = super()._generate_and_score_completions(inputs)
        if self.model.training and self.accelerator.is_main_process:
            with (Path(str(self.args.output_dir)) / ROLLOUTS).open("ab") as stream:
                stream.writelines(map(encode_line, self._last_rollouts()))
        return scored

    def _last_rollouts(self) -> Iterator[dict[str, Any]]:
        logs: dict[str, Any] = self._logs  # of the last generation only
        extra = logs["extra"]
        for place, completion in enumerate(logs["completion"]):
            rewards = {
                name.removeprefix(PREFIX): _finite(values[place])
                for name, values in logs["rewards"].items()
            }
            yield {
                "step": self.state.global_step + 1,
                "sample_id": extra["sample_id"][place],
                "window": extra["window"][place],
                "level": extra["level"][place] or None,
                "completion": completion[0]["content"],
                **rewards,
                "advantage": _finite(logs["advantages"][place]),
            }


class RolloutCallback(TrainerCallback):
    """Goes on at the right place after a resume, and reports groups without variance.

    Attributes:
        trainer: To be set before training begins.

    Args:
        note: Takes sentences for people.
    """

    trainer: Any = None

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        """Go on where the checkpoint is."""
        # TRL counts from 0 after a resume, and would divide generations at other places.
        self.trainer._step = state.global_step * args.gradient_accumulation_steps
        if state.is_world_process_zero:
            forget_after(Path(args.output_dir) / ROLLOUTS, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        """Report the groups of the whole training."""
        flat = [entry[_FLAT] for entry in state.log_history if entry.get(_FLAT) is not None]
        if flat and state.is_world_process_zero:
            share = sum(flat) / len(flat)
            text = f"{share:.0%} of the groups had no variance: all their answers earned the same"
            hint = "; `ffr train pilot` finds such samples before" if share > _MANY_FLAT else ""
            if share == 1:
                hint = ", so nothing was learnt; are answers cut off (max_completion_length)?"
            self._note(text + hint)


def _finite(value: float) -> float | None:
    """``None`` where a term could not be computed."""
    return None if math.isnan(value) else value
