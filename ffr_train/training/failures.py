"""What goes wrong while a model is loaded or trained, in words that say what to do."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from transformers import TrainerCallback

from ffr_eval.errors import FfrError
from ffr_train.training import record as records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ffr_train.config.schema import Stage

_AGAIN: Final = "the same command with --resume goes on"
_NAN: Final = "`nan`"
"""In what PyTorch says of probabilities that are none."""


class SoundnessCallback(TrainerCallback):
    """Ends a training whose numbers are no longer finite, before a checkpoint has them.

    Args:
        out: The folder of the training.
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        """Look at the weights that are about to be saved."""
        if (control.should_save or state.global_step >= state.max_steps) and not _sound(
            more["model"]
        ):
            raise _unsound(self._out, "the weights")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:  # noqa: ARG002
        """Look at the loss. In float16, a single one that is too large is passed over."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss) and not args.fp16:
            raise _unsound(self._out, "the loss")


@contextmanager
def loading_explained(stage: Stage) -> Iterator[None]:
    """While weights are loaded: a lack of memory is none of the files.

    Raises:
        FfrError: Saying what to lower.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _is_memory(error):
            raise _short_of_memory(stage, error) from error
        raise


@contextmanager
def explained(stage: Stage, out: Path) -> Iterator[None]:
    """While a trainer works: what it raises in words that say what to do.

    Raises:
        FfrError: In the place of what libraries raise.
    """
    try:
        yield
    except FfrError:
        raise
    except (RuntimeError, MemoryError, ValueError, TypeError, OSError, LookupError) as error:
        if _is_memory(error):
            raise _short_of_memory(stage, error) from error
        if _NAN in str(error):
            raise _unsound(out, "the probabilities of answers") from error
        text = " ".join(str(error).split())[:400]
        message = f"the training failed: {type(error).__name__}: {text}"
        raise FfrError(f"{message}\n  → {_kept(out)}; {_AGAIN}") from error


def how_to_go_on(out: Path) -> str | None:
    """A sentence for a training that is stopped; ``None`` where nothing was begun."""
    if not (out / records.RECORD).is_file():
        return None
    return f"{_kept(out)}; {_AGAIN}"


def _kept(out: Path) -> str:
    checkpoint, _ = records.last_checkpoint(out)
    return "there is no checkpoint yet" if checkpoint is None else f"{checkpoint.name} is kept"


def _short_of_memory(stage: Stage, error: BaseException) -> FfrError:
    text = " ".join(str(error).split())[:200]
    first = "lower per_device_train_batch_size and raise gradient_accumulation_steps as much"
    more = "num_generations or max_completion_length, " if stage == "grpo" else ""
    return FfrError(
        f"memory is short: {text}\n"
        f"  → {first}, or set gradient_checkpointing: true; {_AGAIN}\n"
        f"  → if that is not enough, lower {more}model.max_pixels or --max-length of the data, and"
        f" choose another {stage}.out"
    )


def _unsound(out: Path, what: str) -> FfrError:
    remedy = "lower learning_rate, or set model.dtype to float32; and choose another `out`"
    return FfrError(f"{out}: {what} came out as NaN or infinity; {_kept(out)}\n  → {remedy}")


def _sound(model: Any) -> bool:
    """Whether all weights that are trained are finite, of a shard those that are here."""
    import torch

    for weight in model.parameters():
        if weight.requires_grad:
            own = weight.to_local() if hasattr(weight, "to_local") else weight
            if not bool(torch.isfinite(own).all()):
                return False
    return True


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in text
        or "can't allocate memory" in text
    )
