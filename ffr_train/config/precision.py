"""In which precision, and on which device, training computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ffr_train.config.schema import Stage, TrainConfig


@dataclass(frozen=True, slots=True)
class Precision:
    """What ``model.dtype`` comes to on this machine.

    Attributes:
        dtype: Of the computation.
        cpu: Whether training runs on the CPU.
    """

    dtype: Literal["bfloat16", "float16", "float32"]
    cpu: bool

    @property
    def bf16(self) -> bool:
        """The trainer's flag for mixed precision with bfloat16."""
        return self.dtype == "bfloat16"

    @property
    def fp16(self) -> bool:
        """The trainer's flag for mixed precision with float16 and scaled losses."""
        return self.dtype == "float16"


def precision(config: TrainConfig, stage: Stage) -> Precision:
    """The precision of a stage.

    ``auto`` is float32 on the CPU, bfloat16 on a GPU that computes it itself, else float16. The CPU
    is taken where there is no CUDA or ROCm device, unless the stage's trainer says ``use_cpu``.

    Raises:
        InputError: If the device cannot train in the precision that is asked for.
    """
    import torch

    asked = config.model.dtype
    cpu = bool(config.stage(stage).trainer.get("use_cpu", not torch.cuda.is_available()))
    if cpu:
        if asked == "float16":
            message = "training in float16 needs a GPU, and none is used"
            raise config.problem("model.dtype", message, "set it to auto or float32")
        return Precision("float32" if asked == "auto" else asked, cpu=True)
    if not torch.cuda.is_available():  # another accelerator, chosen by use_cpu: false
        return Precision("float32" if asked == "auto" else asked, cpu=False)
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if asked == "auto":
        return Precision("bfloat16" if bfloat16 else "float16", cpu=False)
    if asked == "bfloat16" and not bfloat16:
        message = f"{torch.cuda.get_device_name()} does not compute in bfloat16"
        raise config.problem("model.dtype", message, "set it to auto, float16 or float32")
    return Precision(asked, cpu=False)
