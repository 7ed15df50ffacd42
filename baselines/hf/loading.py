"""Loading: the tokenizer's side of a model, and its weights."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from baselines.encoders.backbone import loading
from baselines.encoders.device import pick
from baselines.encoders.revision import read_json
from baselines.hf.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from ffr_eval.adapters import require_base
from ffr_eval.chat_templates import template_of
from ffr_eval.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from baselines.encoders.device import Placement
    from baselines.hf.checkpoint import Source
    from baselines.hf.options import HfOptions

Reads: TypeAlias = Literal["images", "text"]
_ROOM: Final = 0.8
"""Weights may take so much of a GPU's memory, before a model is spread over several."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The tokenizer's side of a model.

    Attributes:
        processor: A processor of transformers; the tokenizer itself of a model that reads text.
        tokenizer: The processor's tokenizer.
        template: The chat template.
        reads: What the model reads.
        remote: Whether its classes come with the checkpoint.
    """

    processor: Any
    tokenizer: Any
    template: str
    reads: Reads
    remote: bool


def load_wording(source: Source, options: HfOptions) -> Wording:
    """Load processor, tokenizer and chat template.

    Raises:
        InputError: If transformers does not know the model, or it has no chat template.
    """
    from transformers import AutoProcessor, AutoTokenizer

    reads, remote = _kind(source, options)
    known = {"local_files_only": True, "trust_remote_code": remote}
    with loading(source.folder):
        kind = AutoProcessor if reads == "images" else AutoTokenizer
        processor = kind.from_pretrained(str(source.folder), **known)
    tokenizer = getattr(processor, "tokenizer", processor)
    own = None
    if source.adapter is not None and (source.adapter / "tokenizer_config.json").is_file():
        with loading(source.adapter):
            own = AutoTokenizer.from_pretrained(str(source.adapter), **known)
        tokenizer = own
        if processor is not own and hasattr(processor, "tokenizer"):
            processor.tokenizer = own
        else:
            processor = own
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # Lengths are checked against the model's context, and nothing is ever cut.
    tokenizer.model_max_length = 2**62
    template = template_of(own) or template_of(processor) or template_of(tokenizer)
    if template is None:
        raise InputError(
            "the model has no chat template",
            file=source.folder,
            remedy="use a model that was trained for chats (…-Instruct, …-Chat), or put the "
            "template into the folder, as chat_template.jinja",
        )
    return Wording(processor, tokenizer, template, reads, remote)


def _kind(source: Source, options: HfOptions) -> tuple[Reads, bool]:
    """What a model reads, and whether its classes come with the checkpoint."""
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    model_type = source.config["model_type"]
    text = model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and not (
        text and "vision_config" not in source.config
    ):
        return "images", False
    if text:
        return "text", False
    where: dict[str, Any] = {"file": source.folder / "config.json", "field": "model_type"}
    message = f"transformers {transformers.__version__} has no chat model of type {model_type!r}"
    code = source.config.get("auto_map")
    if not isinstance(code, dict):
        remedy = "another version of transformers may; or serve the model, and use `ffr run api`"
        raise InputError(message, **where, remedy=remedy)
    if not options.trust_remote_code:
        raise InputError(
            f"{message}; its classes are Python code that comes with the checkpoint",
            **where,
            remedy="read that code; if you trust it: -o trust_remote_code=true",
        )
    if "AutoModelForImageTextToText" in code:
        return "images", True
    if "AutoModelForCausalLM" in code:
        return ("images" if "vision_config" in source.config else "text"), True
    remedy = "it cannot be run this way: serve it, and use `ffr run api`"
    raise InputError(f"{message}, and the code that comes with it has none", **where, remedy=remedy)


def load_weights(source: Source, options: HfOptions, wording: Wording, device: str) -> Any:
    """Load the model, with its adapter, ready to run.

    Raises:
        InputError: If weights are missing, or the adapter does not fit.
        MissingExtraError: If there is an adapter, and peft is not installed.
    """
    import transformers

    if options.attention == "flash_attention_2" and not importlib.util.find_spec("flash_attn"):
        remedy = "install flash-attn, or leave the option out"
        raise InputError("flash-attn is not installed", field="option attention", remedy=remedy)
    placement = pick(device, options.dtype)
    kind: Any = (
        transformers.AutoModelForImageTextToText
        if wording.reads == "images" and not _only_causal(source, wording)
        else transformers.AutoModelForCausalLM
    )
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    arguments: dict[str, Any] = {
        "dtype" if version >= (4, 56) else "torch_dtype": placement.torch_dtype,
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": wording.remote,
        "output_loading_info": True,
    }
    if options.attention != "auto":
        arguments["attn_implementation"] = options.attention
    spread = _spread(source, device, placement)
    if spread is not None:
        arguments["device_map"] = spread
    with loading(source.folder):
        model, info = kind.from_pretrained(str(source.folder), **arguments)
        _check_complete(source, model, info)
        if source.adapter is not None:
            model = _adapted(model, source, wording)
        return (model if spread == "auto" else model.to(placement.device)).eval()


def _only_causal(source: Source, wording: Wording) -> bool:
    code = source.config.get("auto_map") or {}
    return wording.remote and "AutoModelForImageTextToText" not in code


def _check_complete(source: Source, model: Any, info: Any) -> None:
    import transformers

    missing = sorted(info["missing_keys"])
    if missing:
        # transformers fills them with random numbers, and goes on.
        raise InputError(
            f"the weights of {len(missing)} parts are missing, first {missing[0]}",
            file=source.folder,
            remedy=f"the checkpoint does not fit {type(model).__name__} of transformers "
            f"{transformers.__version__}",
        )


def _spread(source: Source, device: str, placement: Placement) -> str | None:
    """How a model is laid on devices while it is loaded; ``None`` loads it on the processor.

    Not tried where this was written: there was no GPU.
    """
    import torch

    if not placement.device.startswith("cuda"):
        return None
    if device == "auto" and torch.cuda.device_count() > 1:
        size = sum(path.stat().st_size for path in source.folder.glob("model*.safetensors"))
        if size > _ROOM * torch.cuda.get_device_properties(0).total_memory:
            return "auto"
    return placement.device


def _adapted(model: Any, source: Source, wording: Wording) -> Any:
    """The model with its adapter, which stays apart from the weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("an adapter", "hf") from error
    from safetensors import SafetensorError

    assert source.adapter is not None  # noqa: S101 - asked only with an adapter
    settings = read_json(source.adapter / ADAPTER_CONFIG)
    base = settings.get("base_model_name_or_path")
    remedy = f"give the model that it was trained on, {base}: -o model=…" if base else None
    trained_on = (settings.get("auto_mapping") or {}).get("base_model_class")
    if trained_on is not None and trained_on != type(model).__name__:
        message = f"the adapter was trained on {trained_on}; the model is a {type(model).__name__}"
        raise InputError(message, file=source.adapter, field="option adapter", remedy=remedy)
    require_base(source.adapter, source.folder, base)
    _make_room(model, source, wording)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            adapted = PeftModel.from_pretrained(
                model, str(source.adapter), autocast_adapter_dtype=False
            )
        except (ValueError, RuntimeError, LookupError, TypeError, SafetensorError) as error:
            text = " ".join(str(error).split())[:300]
            message = f"the adapter does not fit the model: {text}"
            raise InputError(
                message, file=source.adapter, field="option adapter", remedy=remedy
            ) from error
    lacking = [str(item.message) for item in said if "missing adapter keys" in str(item.message)]
    if lacking:
        raise InputError(
            f"the adapter does not fit the model: it lacks weights. {lacking[0][:300]}",
            file=source.adapter,
            field="option adapter",
            remedy=remedy,
        )
    return adapted


def _make_room(model: Any, source: Source, wording: Wording) -> None:
    """Enlarge the vocabulary, if the adapter was trained with tokens that its base has not."""
    from safetensors import safe_open

    assert source.adapter is not None  # noqa: S101 - asked only with an adapter
    rows = model.get_input_embeddings().weight.shape[0]
    wanted = max(rows, len(wording.tokenizer))
    with safe_open(source.adapter / ADAPTER_WEIGHTS, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - not a dictionary
            if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                wanted = weights.get_slice(name).get_shape()[0]
    if wanted != rows:
        model.resize_token_embeddings(wanted, mean_resizing=False)
