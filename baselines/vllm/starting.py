"""Starting vLLM: its arguments, its environment, and what its errors mean."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from baselines.encoders.revision import read_json
from baselines.hf.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from baselines.vllm.logs import EngineLog
from ffr_eval.errors import FfrError, InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from baselines.hf.checkpoint import Source
    from baselines.vllm.options import VllmOptions

LEVEL: Final = "VLLM_LOGGING_LEVEL"
ENVIRONMENT: Final = {
    LEVEL: "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""Set where the user has not: quiet, off standard output, without reports to vLLM's makers, and
without forking a process that has threads."""
_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks of adapters that vLLM reserves memory for."""
_TOWERS: Final = (".visual.", ".vision_tower.", ".vision_model.", ".multi_modal_projector.")
_NO_DEVICE: Final = (
    "Failed to infer device type",
    "Device string must not be empty",
    "No CUDA GPUs",
)
_NO_ROOM: Final = ("To serve at least one request",)
_TOO_LONG: Final = ("User-specified max_model_len",)
_NO_METHOD: Final = ("Unknown quantization method", "does not match the quantization method")
_NO_MEMORY: Final = (
    "out of memory",
    "OutOfMemoryError",
    "No available memory for the cache blocks",
    "Free memory on device",
    "desired GPU memory utilization",
    "not enough memory",
)


@dataclass(slots=True)
class Running:
    """A running engine.

    Attributes:
        llm: A ``vllm.LLM``.
        adapter: A ``LoRARequest``, if there is an adapter.
        log: What its processes print.
    """

    llm: Any
    adapter: Any
    log: EngineLog


def engine_arguments(
    source: Source,
    options: VllmOptions,
    max_images: int | None,
    image_size: Mapping[str, int] | None,
) -> dict[str, Any]:
    """The arguments of ``vllm.LLM``.

    Args:
        source: The files of the model.
        options: The options.
        max_images: Of a request; ``None`` if it is not known.
        image_size: Bounds that the model's image processor gets.

    Raises:
        InputError: If vLLM cannot use the adapter.
    """
    arguments: dict[str, Any] = {
        "model": str(source.folder),
        "dtype": options.dtype,
        "seed": options.seed,
        "trust_remote_code": options.trust_remote_code,
        "tensor_parallel_size": options.tensor_parallel_size,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "enforce_eager": options.enforce_eager,
        "enable_prefix_caching": True,
        "disable_log_stats": False,
        "interleave_mm_strings": True,
        "use_tqdm_on_load": False,
    }
    if options.context is not None:
        arguments["max_model_len"] = options.context
    if options.quantization is not None:
        arguments["quantization"] = options.quantization
    if options.logprobs:
        arguments["max_logprobs"] = options.top_logprobs
    if max_images is not None:
        arguments["limit_mm_per_prompt"] = {"image": max_images, "video": 0}
    if image_size is not None:
        arguments["mm_processor_kwargs"] = {"size": dict(image_size)}
    if source.adapter is not None:
        arguments["enable_lora"] = True
        arguments["max_lora_rank"] = adapter_rank(source.adapter)
        if (source.adapter / "tokenizer_config.json").is_file():
            arguments["tokenizer"] = str(source.adapter)
    return arguments


def adapter_rank(folder: Path) -> int:
    """The rank to reserve memory for.

    Raises:
        InputError: If vLLM cannot use the adapter; what it would leave out silently included.
    """
    config = read_json(folder / ADAPTER_CONFIG)
    for field in ("modules_to_save", "use_dora"):
        if config.get(field):
            raise _unfit(folder / ADAPTER_CONFIG, f"vLLM takes no adapter with {field}", field)
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    rank = max((rank for rank in ranks if isinstance(rank, int)), default=0)
    if not 1 <= rank <= _RANKS[-1]:
        message = f"vLLM takes adapters of rank 1 to {_RANKS[-1]}, not {rank}"
        raise _unfit(folder / ADAPTER_CONFIG, message, "r")
    weights = folder / ADAPTER_WEIGHTS
    tower = next((name for name in _weight_names(weights) if _in_tower(name)), None)
    if tower is not None:
        message = f"it changes the vision tower ({tower}), which vLLM leaves as it is"
        raise _unfit(weights, message)
    return next(known for known in _RANKS if known >= rank)


def start(arguments: Mapping[str, Any], adapter: Path | None) -> Running:
    """Start vLLM; takes from half a minute to several minutes.

    Raises:
        InputError: If an option is to blame.
        FfrError: If it does not start.
        MissingExtraError: If it is not installed.
    """
    log = EngineLog(everything=LEVEL in os.environ)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with log.attached(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's remarks about other libraries
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ModuleNotFoundError as error:
            if error.name == "vllm":
                raise MissingExtraError("the model 'vllm'", "vllm") from error
            raise FfrError(f"vllm cannot be imported: {error}") from error
        except (ImportError, OSError, RuntimeError) as error:
            raise FfrError(f"vllm cannot be imported: {error}") from error
        try:
            llm = LLM(**arguments)
        except Exception as error:
            # A new interpreter, as each attempt has, is the only sure way to begin again.
            raise explained(error, log) from error
    lora = None if adapter is None else LoRARequest("adapter", 1, str(adapter))
    log.clear()
    return Running(llm, lora, log)


def explained(error: Exception, log: EngineLog) -> FfrError:
    """Why vLLM did not start, and what to do about it."""
    text = f"{error}\n{log.text}"
    reason = one_line(log.cause or f"{type(error).__name__}: {error}")
    if _has(text, _NO_DEVICE):
        return FfrError(
            "vllm finds no device that it was built for\n  → it needs a GPU and its driver "
            "(`nvidia-smi`); for a CPU there are other builds of vllm (docs/vllm-models.md)"
        )
    if _has(text, _TOO_LONG):
        remedy = "lower it, or leave it out"
        return InputError(f"vllm: {reason}", field="option context", remedy=remedy)
    if _has(text, _NO_ROOM):
        remedy = "lower it (-o context=TOKENS), or raise -o gpu_memory_utilization (at most 1)"
        return InputError(f"vllm: {reason}", field="option context", remedy=remedy)
    if _has(text, _NO_METHOD):
        remedy = "leave it out: vLLM reads from the checkpoint how it was quantised"
        return InputError(f"vllm: {reason}", field="option quantization", remedy=remedy)
    if _has(text, _NO_MEMORY):
        return FfrError(
            f"vllm: memory is short: {reason}\n  → lower -o context or -o max_pixels; spread the "
            "model over more GPUs (-o tensor_parallel_size=2); -o enforce_eager=true; end other "
            "programs on the GPU, or leave them more (-o gpu_memory_utilization=0.7)"
        )
    return FfrError(f"vllm does not start: {reason}\n  → {LEVEL}=INFO shows its log")


def one_line(text: str, limit: int = 400) -> str:
    """A message without line breaks, of a bearable length."""
    joined = " ".join(text.split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def _has(text: str, signs: Iterable[str]) -> bool:
    return any(sign in text for sign in signs)


def _unfit(file: Path, message: str, field: str | None = None) -> InputError:
    remedy = "merge it into its model (peft: merge_and_unload), and give that as model"
    return InputError(message, file=file, field=field, remedy=remedy)


def _in_tower(name: str) -> bool:
    return any(tower in f".{name}" for tower in _TOWERS)


def _weight_names(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as weights:
            return sorted(weights.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot be read: {error}", file=path) from None
