"""The model that is trained: loaded, its vision tower frozen, its language part with adapters."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError
from ffr_eval.model_files import files_hash, weights_hash
from ffr_train.config.precision import precision
from ffr_train.data.processor import download, load_processor, loading
from ffr_train.training.failures import loading_explained
from ffr_train.training.record import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ffr_train.config.schema import LoraSection, Stage, TrainConfig
    from ffr_train.data.processor import LoadedProcessor

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
_MISFITS: Final = (ValueError, RuntimeError, LookupError, TypeError, OSError)
"""What peft raises where an adapter is not one of the model."""
_FLASH: Final = "flash_attention_2"


@dataclass(frozen=True, slots=True)
class Trainee:
    """A model that is ready for a trainer.

    Attributes:
        model: Of transformers, or of peft where training goes on with an adapter.
        processor: The processor of the model.
        name: The model's name or folder, as the configuration has it.
        revision: Identifies its weights, settings and tokenizer, and the adapter it starts from.
        adapter: The configuration of new adapters (peft); ``None`` where there are none to make.
        kernels: Whether Liger's fused kernels are in place.
    """

    model: Any
    processor: LoadedProcessor
    name: str
    revision: str
    adapter: Any
    kernels: bool


def load_trainee(config: TrainConfig, stage: Stage) -> Trainee:
    """Load what a stage starts from, and freeze what it does not train.

    Call it after the trainer's configuration was made: with DeepSpeed, that decides how weights
    are laid out while they are loaded.

    Raises:
        InputError: If the model has no processor, is not complete, or does not fit the adapter or
            the settings.
    """
    lora = config.lora_of(stage)
    start = config.grpo.start if stage == "grpo" and config.grpo is not None else None
    adapter = start if start is not None and (start / ADAPTER_CONFIG).is_file() else None
    if start is not None:
        _check_start(config, start, adapter)
    name = config.model.path if start is None or adapter is not None else str(start)
    loaded = load_processor(name, config.model.max_pixels, config.model.min_pixels)
    _require_weights(name, loaded)
    model = _weights(config, stage, loaded)
    model.name_or_path = name
    kernels = _with_kernels(config, model)
    revision = weights_hash(loaded.folder)
    if config.model.freeze_vision or lora is not None:
        freeze_vision(model)
    if adapter is not None and lora is None:
        message = f"{adapter} is an adapter, and this stage is to train all weights"
        remedy = "name grpo in lora.stages, or start from what `ffr train merge` makes of it"
        raise config.problem("grpo.start", message, remedy)
    if adapter is not None:
        model = _adapted(config, model, adapter, name)
        revision += "+" + files_hash(
            (file, adapter / file) for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
        )
        return Trainee(model, loaded, name, revision, None, kernels)
    new = None if lora is None else lora_config(config, model, lora)
    return Trainee(model, loaded, name, revision, new, kernels)


def _check_start(config: TrainConfig, start: Path, adapter: Path | None) -> None:
    """Refuse a start that is not there, or not finished."""
    remedy = "finish the stage before (`ffr train sft … --resume`), or set it to null"
    record = read_record(start)
    if record is not None and not record.finished:
        raise config.problem("grpo.start", f"the training in {start} is not finished", remedy)
    if adapter is None and not (start / "config.json").is_file():
        message = f"{start} holds neither an adapter nor a model"
        raise config.problem("grpo.start", message, remedy)
    if adapter is not None and not (adapter / ADAPTER_WEIGHTS).is_file():
        raise config.problem("grpo.start", f"{adapter / ADAPTER_WEIGHTS} is missing", remedy)


def language_prefix(model: Any) -> str:
    """The name of the language model among the modules of a model: ``model.language_model``."""
    decoder = model.get_decoder()
    names: dict[int, str] = {id(module): name for name, module in model.named_modules()}
    return names[id(decoder)]


def freeze_vision(model: Any) -> None:
    """Freeze all weights but those of the language model and its output layer."""
    for weight in _vision_weights(model).values():
        weight.requires_grad = False


def lora_config(config: TrainConfig, model: Any, lora: LoraSection) -> Any:
    """The configuration of new adapters, on the language part only.

    Raises:
        InputError: If the target names no layer, or one outside of the language part.
    """
    import peft
    import torch

    prefix = language_prefix(model)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    inside = [name for name in linear if name.startswith(f"{prefix}.")]
    if isinstance(lora.target, str) and lora.target != "language":
        pattern = lora.target
    else:
        wanted = None if isinstance(lora.target, str) else tuple(lora.target)
        ends = {name.rpartition(".")[2] for name in inside}
        if wanted is not None:
            ends = {
                name.removeprefix(f"{prefix}.")
                for name in inside
                if any(name == end or name.endswith(f".{end}") for end in wanted)
            }
        pattern = rf"{re.escape(prefix)}\.(.*\.)?({'|'.join(map(re.escape, sorted(ends)))})"
        if not ends:
            pattern = r"(?!)"
    matched = [name for name, _ in model.named_modules() if re.fullmatch(pattern, name)]
    if not matched:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in inside}))
        message = f"no layer of the language model is named so; it has: {known}"
        raise config.problem("lora.target", message, "set it to language for all of them")
    outside = [name for name in matched if not name.startswith(f"{prefix}.")]
    if outside:
        message = f"{outside[0]} is not in the language model ({prefix})"
        raise config.problem("lora.target", message, "adapters are on the language part only")
    settings: Any = peft.LoraConfig
    return settings(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=pattern,
    )


def weights_of_vision(model: Any) -> Mapping[str, Any]:
    """The weights outside of the language model and its output layer, by name."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return _vision_weights(base)


def _vision_weights(model: Any) -> dict[str, Any]:
    prefix = language_prefix(model)
    head = model.get_output_embeddings()
    heads = set() if head is None else {id(weight) for weight in head.parameters()}
    return {
        name: weight
        for name, weight in model.named_parameters()
        if not name.startswith(f"{prefix}.") and id(weight) not in heads
    }


def _require_weights(name: str, loaded: LoadedProcessor) -> None:
    """Have the weights of a hub's model too: for its processor they were not needed.

    Raises:
        InputError: If there are none in a form that is read.
    """
    if any(loaded.folder.glob("*.safetensors")):
        return
    if Path(name).is_dir():
        message = "has no weights: model.safetensors (or an index and its shards) is missing"
        remedy = "weights in pickled files (.bin) are not read: save the model as safetensors"
        raise InputError(message, file=loaded.folder, remedy=remedy)
    download(name, ("*.safetensors", "*.safetensors.index.json"))


def _weights(config: TrainConfig, stage: Stage, loaded: LoadedProcessor) -> Any:
    import torch
    import transformers

    how = precision(config, stage)
    # All weights are trained in float32 and computed with in half precision; frozen ones need not.
    adapted = config.lora_of(stage) is not None and how.dtype == "bfloat16"
    dtype = torch.bfloat16 if adapted else torch.float32
    with loading_weights(loaded.folder), loading_explained(stage):
        kind: Any = transformers.AutoModelForImageTextToText
        model, info = kind.from_pretrained(
            str(loaded.folder),
            dtype=dtype,
            attn_implementation=_attention(config, how.cpu),
            local_files_only=True,
            trust_remote_code=config.model.trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    missing = sorted(info["missing_keys"])
    if missing:
        message = f"the weights of {len(missing)} parts are missing, first {missing[0]}"
        remedy = "copy the folder again, or choose the version of transformers that wrote it"
        raise InputError(message, file=loaded.folder, remedy=remedy)
    return model


@contextmanager
def loading_weights(folder: Path) -> Iterator[None]:
    """While weights are loaded: plain errors.

    Raises:
        InputError: In the place of what transformers and safetensors raise.
    """
    from safetensors import SafetensorError

    try:
        with loading(folder):
            yield
    except SafetensorError as error:
        remedy = "copy the folder again: a file of weights is damaged or cut off"
        raise InputError(f"cannot be loaded: {error}", file=folder, remedy=remedy) from error


def _attention(config: TrainConfig, cpu: bool) -> str | None:
    asked = config.model.attention
    if asked == _FLASH and find_spec("flash_attn") is None:
        message = "flash_attention_2 needs the package flash-attn, which is not installed"
        raise config.problem("model.attention", message, "install it, or set it to auto or sdpa")
    if asked != "auto":
        return asked
    return _FLASH if not cpu and find_spec("flash_attn") is not None else "sdpa"


def _with_kernels(config: TrainConfig, model: Any) -> bool:
    """Put Liger's kernels in, where they are wanted and can be."""
    import torch

    wanted = config.model.kernels
    there = find_spec("liger_kernel") is not None
    if wanted is False or (wanted == "auto" and not (there and torch.cuda.is_available())):
        return False
    if not there:
        message = "fused kernels need the package liger-kernel, which is not installed"
        raise config.problem(
            "model.kernels", message, "pip install liger-kernel, or set it to auto"
        )
    from transformers.integrations import liger

    apply: Any = liger.apply_liger_kernel
    apply(model, {"fused_linear_cross_entropy": False, "cross_entropy": False})
    return True


def _adapted(config: TrainConfig, model: Any, adapter: Path, name: str) -> Any:
    from peft import PeftModel
    from safetensors import SafetensorError

    trained_on = base_of(adapter)
    if trained_on is not None and not same_model(trained_on, name):
        message = f"the adapter in {adapter} was trained on {trained_on}, not on {name}"
        raise config.problem("grpo.start", message, "set model.path to the model of the adapter")
    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    except (*_MISFITS, SafetensorError) as error:
        text = " ".join(str(error).split())[:300]
        message = f"the adapter in {adapter} does not fit the model: {text}"
        raise config.problem(
            "grpo.start", message, "start from an adapter of this model"
        ) from error


def base_of(adapter: Path) -> str | None:
    """The model that an adapter was trained on, as its configuration names it.

    Raises:
        InputError: If that cannot be read.
    """
    import json

    path = adapter / ADAPTER_CONFIG
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        remedy = "copy the adapter again, or train it again"
        raise InputError(f"cannot be read: {error}", file=path, remedy=remedy) from None
    base = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    return base if isinstance(base, str) else None


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model: the same text, or the same folder."""
    if one == other:
        return True
    first, second = Path(one), Path(other)
    return first.is_dir() and second.is_dir() and first.resolve() == second.resolve()
