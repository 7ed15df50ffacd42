"""The options of ``vllm`` that other generative models do not have."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from baselines.generative.options import GenerativeOptions
from baselines.hf.options import LEAST_PIXELS, HfOptions
from ffr_eval.errors import InputError


class VllmOptions(GenerativeOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of ``vllm``; ``model`` is a hub name, a folder, or the name of a preset of ``hf``.

    Attributes:
        query: ``last`` by default: the queries of a dialogue then share all that stands before.
        adapter: The folder of a LoRA adapter, as peft saves it.
        dtype: ``auto`` leaves the choice to vLLM: what the checkpoint says.
        trust_remote_code: Whether Python code that comes with a checkpoint may be run.
        max_pixels: Larger images are reduced.
        min_pixels: Smaller images are enlarged, by models that take images of any size; ``None``
            for what the checkpoint says.
        quantization: As vLLM names it (``awq``, ``fp8``, …); ``None`` for what the checkpoint says.
        tensor_parallel_size: GPUs that the weights are spread over.
        gpu_memory_utilization: The share of a GPU's memory that vLLM takes.
        enforce_eager: Without CUDA graphs: slower, but with less memory, and sooner ready.
        top_logprobs: How many of the most likely tokens entropies are computed from.
    """

    query: Literal["first", "last"] = "last"
    adapter: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False
    max_pixels: Annotated[int, Meta(ge=LEAST_PIXELS)] = 602112
    min_pixels: Annotated[int, Meta(ge=1)] | None = None
    quantization: str | None = None
    tensor_parallel_size: Annotated[int, Meta(ge=1)] = 1
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] = 0.9
    enforce_eager: bool = False
    top_logprobs: Annotated[int, Meta(ge=1, le=1000)] = 20


def check_vllm_options(options: VllmOptions) -> None:
    """Check what can be checked without the model.

    Raises:
        InputError: With the option's name, if one makes no sense.
    """
    if options.answer == "tool":
        raise InputError(
            "'tool' needs a server that calls tools",
            field="option answer",
            remedy="-o answer=json_schema holds the model to an object as well",
        )
    if options.min_pixels is not None and options.min_pixels > options.max_pixels:
        raise InputError(
            f"{options.min_pixels} is more than max_pixels ({options.max_pixels})",
            field="option min_pixels",
        )


def as_hf_options(options: VllmOptions) -> HfOptions:
    """What finds the files of the model, and prepares its prompts, just as ``hf`` does."""
    return HfOptions(
        model=options.model,
        adapter=options.adapter,
        trust_remote_code=options.trust_remote_code,
        max_pixels=options.max_pixels,
        min_pixels=options.min_pixels,
    )
