"""The processor of the model that is trained: found, checked, and set up as at inference."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.chat_templates import PROBE, in_order, template_of
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.picture_size import Fit, bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROCESSOR_FILES: Final = ("processor_config.json", "preprocessor_config.json")
"""One of them says what the processor of a model is."""
_OF_A_BATCH: Final = ("truncation", "padding")
"""Settings of a tokenizer that change with its use."""
_DOWNLOADED: Final = ("*.json", "*.jinja", "*.txt", "*.model")
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_EXAMPLE: Final = "Qwen/Qwen2.5-VL-7B-Instruct"
_ERRORS: Final = (
    ImportError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class LoadedProcessor:
    """A processor that is ready for prompts.

    Attributes:
        name: The model's: without the way to its folder.
        folder: Where its files are.
        revision: A hash of tokenizer, chat template and image processor; see
            :func:`processor_revision`.
        processor: Of transformers; its bounds of images are set.
        fit: The sizes of images that it is to be given.
        context: Tokens that the model reads at most; ``None`` if nothing says so.
    """

    name: str
    folder: Path
    revision: str
    processor: Any
    fit: Fit
    context: int | None

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer


def load_processor(
    model: str | Path, max_pixels: int, min_pixels: int | None = None
) -> LoadedProcessor:
    """Load the processor of a model, and set it up as ``ffr run hf`` does.

    Args:
        model: A folder, or a hub name.
        max_pixels: Larger images are reduced.
        min_pixels: Smaller ones are enlarged; ``None`` for what the processor says.

    Raises:
        InputError: If the model has none, or it cannot be trained with images in their places.
        MissingExtraError: If transformers is not installed.
    """
    try:
        from transformers import AutoProcessor
    except ImportError as error:
        raise MissingExtraError("training data", "train") from error
    if min_pixels is not None and min_pixels > max_pixels:
        message = f"{min_pixels} is more than max_pixels ({max_pixels})"
        raise InputError(message, field="min_pixels", remedy="give a smaller number")
    name, folder = _found(str(model))
    config = _config(folder)
    _check_kind(folder, config)
    with loading(folder):
        kind: Any = AutoProcessor
        processor = kind.from_pretrained(str(folder), local_files_only=True)
    if getattr(processor, "image_processor", None) is None:
        raise _no_processor(folder)
    tokenizer = processor.tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = 2**62  # nothing is ever cut
    template = template_of(processor) or template_of(tokenizer)
    if template is None:
        raise InputError(
            "the model has no chat template",
            file=folder,
            remedy="use a model that was trained for chats (…-Instruct, …-Chat), or put the "
            "template into the folder, as chat_template.jinja",
        )
    processor.chat_template = template
    _check_template(processor, folder)
    revision = processor_revision(processor)
    fit = bounded(processor, max_pixels, min_pixels)
    return LoadedProcessor(name, folder, revision, processor, fit, _context(config))


def processor_revision(processor: Any) -> str:
    """A hash of what decides on the tokens of a prompt: tokenizer, template, and image processor.

    It is taken of what was loaded, not of files, so that a model that training has saved again has
    that of the model it was made from; weights do not matter.
    """
    tokenizer = processor.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        words: Any = {
            "vocabulary": tokenizer.get_vocab(),
            "special": sorted(map(str, tokenizer.all_special_tokens)),
        }
    else:
        words = json.loads(backend.to_str())
        words = {name: words[name] for name in words if name not in _OF_A_BATCH}
    identity = {
        "class": type(processor).__name__,
        "words": words,
        "template": processor.chat_template,
        "images": processor.image_processor.to_dict(),
    }
    text = json.dumps(identity, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _found(model: str) -> tuple[str, Path]:
    folder = Path(model).expanduser()
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            remedy = "give the model that the adapter belongs to"
            raise InputError("is an adapter, not a model", file=folder, remedy=remedy)
        return folder.resolve().name, folder
    if folder.exists() or model.startswith(("./", "../")) or not _HUB_NAME.fullmatch(model):
        what = "is a file" if folder.exists() else "is no folder and no hub name"
        remedy = f"give the folder of a model, or a hub name, for example {_EXAMPLE}"
        raise InputError(f"{model!r} {what}", field="model", remedy=remedy)
    return model, _from_hub(model)


def _from_hub(model: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(f"the model {model!r} of a hub", "train") from error
    try:
        folder = Path(snapshot_download(model, local_files_only=True))
        if any((folder / name).is_file() for name in PROCESSOR_FILES):
            return folder
    except (OSError, ValueError):
        pass  # nothing of it is here
    return download(model, _DOWNLOADED)


def download(model: str, patterns: Sequence[str]) -> Path:
    """Fetch files of a hub's model; the folder they are in.

    Args:
        model: ``ORGANISATION/NAME``.
        patterns: Of the files.

    Raises:
        InputError: If they cannot be had; the message says what to do.
    """
    from huggingface_hub import errors, snapshot_download

    broken_connection: type[Exception] = getattr(errors, "HTTPError", OSError)
    try:
        return Path(snapshot_download(model, allow_patterns=list(patterns)))
    except (OSError, RuntimeError, ValueError, broken_connection) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise InputError(
            f"the model {model!r} is not on this machine, and cannot be had: {reason}",
            field="model",
            remedy="check the name, or fetch it where there is a network (`hf download "
            f"{model}`), copy its folder here, and give the folder",
        ) from None


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        remedy = "give the folder of a model, with config.json and the files of its processor"
        raise InputError("no config.json", file=folder, remedy=remedy) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError(message, file=path, remedy="check its permissions") from None
    except (ValueError, RecursionError) as error:
        remedy = "fetch the model again"
        raise InputError(f"is not JSON: {error}", file=path, remedy=remedy) from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        remedy = "give the folder of a model of transformers"
        raise InputError("names no model type", file=path, field="model_type", remedy=remedy)
    return config


def _check_kind(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse what reads text only, and what has no processor."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    kind = config["model_type"]
    sees = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or "vision_config" in config
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and "vision_config" not in config:
        sees = False
    if not sees:
        message = f"the model reads text only, or is of a type ({kind}) that is not known here"
        remedy = f"train a model that reads images, for example {_EXAMPLE}; it takes dialogues"
        remedy += " without images too"
        raise InputError(message, file=folder, field="model_type", remedy=remedy)
    if not any((folder / name).is_file() for name in PROCESSOR_FILES):
        raise _no_processor(folder)


def _no_processor(folder: Path) -> InputError:
    return InputError(
        f"the model has no processor: {' or '.join(PROCESSOR_FILES)} is missing",
        file=folder,
        remedy="copy the files of processor and tokenizer from the model that it was made from",
    )


def _check_template(processor: Any, folder: Path) -> None:
    first, second, third = ({"type": "text", "text": word} for word in PROBE)
    remedy = "training puts images at their places in the text: put a chat template that takes"
    remedy += " parts in their order (as Qwen2-VL's) into the folder, as chat_template.jinja"
    # Once as messages are in memory, and once as they come out of a table.
    for image in ({"type": "image"}, {"type": "image", "text": None}):
        content = [first, image, second, image, third]
        text = _rendered(processor, [{"role": "user", "content": content}])
        if text is None or not in_order(text):
            message = "the model's chat template does not keep images at their places in a text"
            raise InputError(message, file=folder, remedy=remedy)
    answered = [
        {"role": "user", "content": [first]},
        {"role": "assistant", "content": [second]},
    ]
    if PROBE[1] not in (_rendered(processor, answered, answer_follows=False) or ""):
        message = "the model's chat template does not take answers in parts"
        raise InputError(message, file=folder, remedy=remedy)


def _rendered(
    processor: Any, messages: list[dict[str, Any]], *, answer_follows: bool = True
) -> str | None:
    """The prompt; ``None`` if the template does not take such messages."""
    from jinja2 import TemplateError

    try:
        text: str = processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=answer_follows
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError):
        return None
    return text


def _context(config: Mapping[str, Any]) -> int | None:
    for part in (config.get("text_config"), config.get("llm_config"), config):
        tokens = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """While files of a model are loaded: plain errors.

    Raises:
        InputError: In the place of what transformers raises.
    """
    try:
        yield
    except FfrError:
        raise
    except _ERRORS as error:
        text = " ".join(str(error).split())[:400]
        remedy = "fetch the model again, or try the version of transformers that it needs"
        raise InputError(f"cannot be loaded: {text}", file=folder, remedy=remedy) from error
