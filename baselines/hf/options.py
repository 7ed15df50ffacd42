"""The options of ``hf`` that other generative models do not have."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from baselines.generative.options import GenerativeOptions
from ffr_eval.errors import InputError

LEAST_PIXELS: Final = 28 * 28


class HfOptions(GenerativeOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of ``hf``; ``model`` is a hub name, a folder, or the name of a preset.

    Attributes:
        adapter: The folder of a LoRA adapter, as peft saves it.
        dtype: ``auto`` is float32 on a CPU, elsewhere bfloat16 where the device has it.
        attention: The implementation; ``auto`` leaves the choice to transformers.
        trust_remote_code: Whether Python code that comes with a checkpoint may be run.
        max_pixels: Larger images are reduced.
        min_pixels: Smaller images are enlarged, by models that take images of any size; ``None``
            for what the checkpoint says.
    """

    adapter: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    trust_remote_code: bool = False
    max_pixels: Annotated[int, Meta(ge=LEAST_PIXELS)] = 602112
    min_pixels: Annotated[int, Meta(ge=1)] | None = None


def check_hf_options(options: HfOptions) -> None:
    """Check what can be checked without the model.

    Raises:
        InputError: With the option's name, if one makes no sense.
    """
    if options.answer != "markup":
        raise InputError(
            f"{options.answer!r} needs a server that holds the model to a form",
            field="option answer",
            remedy="leave it out (markup), or serve the model and run `ffr run api`",
        )
    if options.min_pixels is not None and options.min_pixels > options.max_pixels:
        raise InputError(
            f"{options.min_pixels} is more than max_pixels ({options.max_pixels})",
            field="option min_pixels",
        )
