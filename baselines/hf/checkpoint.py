"""Which files a model is made of, and what can be known of it without loading it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.encoders.revision import PATTERNS, hub_folder, hub_revision, read_json
from baselines.hf.presets import loadable, presets
from ffr_eval.errors import InputError
from ffr_eval.model_files import files_hash, folder_hash, model_files
from ffr_eval.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from baselines.hf.options import HfOptions

NEEDED: Final = (
    "config.json",
    "model*.safetensors",
    "tokenizer.json|tokenizer_config.json|tokenizer.model",
)
"""Groups of files, of each of which one must be there; weights in this form only."""
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
_ADAPTER_FILES: Final = (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a model.

    Attributes:
        name: What to call it: without the way to its folder.
        folder: Where its files are.
        revision: Identifies weights, settings, tokenizer, adapter, and code that comes with it.
        config: What ``config.json`` says.
        context: Tokens that prompt and answer may have together; ``None`` if nothing says so.
        adapter: The folder of the adapter.
    """

    name: str
    folder: Path
    revision: str
    config: Mapping[str, Any]
    context: int | None
    adapter: Path | None


def find_source(options: HfOptions) -> Source:
    """Find a model, in a folder or on the hub; its files may have to be downloaded.

    Raises:
        InputError: If there is none, it is incomplete, or the adapter cannot be used.
    """
    if options.model is None:
        raise InputError("names no model", field="option model", remedy=_known())
    adapter = None if options.adapter is None else _adapter(options.adapter)
    folder = Path(options.model).expanduser()
    known_context = None
    if folder.is_dir():
        name = folder.resolve().name
        _check_folder(folder)
        revision = _folder_revision(folder, options.trust_remote_code)
    else:
        preset = loadable(options.model)
        name = options.model if preset is None or preset.hub is None else preset.hub
        known_context = None if preset is None else preset.context
        if folder.exists() or not _HUB_NAME.fullmatch(name):
            remedy = nearest(options.model.lower(), presets()) + "; or a hub name, or a folder"
            what = "is a file" if folder.exists() else "is no folder, preset or hub name"
            raise InputError(f"{options.model!r} {what}", field="option model", remedy=remedy)
        folder = hub_folder(name, NEEDED, fallback=PATTERNS)
        if options.trust_remote_code and "auto_map" in _config(folder):
            files = (*PATTERNS, "*.py")
            folder = hub_folder(name, (*NEEDED, "*.py"), patterns=files, fallback=files)
        revision = hub_revision(name, folder)
    config = _config(folder)
    if adapter is not None:
        revision += "+" + files_hash(
            (name, adapter / name) for name in _ADAPTER_FILES if (adapter / name).is_file()
        )
    context = _context(config) or known_context
    return Source(name, folder, revision, config, context, adapter)


def _folder_revision(folder: Path, with_code: bool) -> str:
    if not with_code:
        return folder_hash(folder)
    files = [*model_files(folder), *sorted(folder.glob("*.py"))]
    return files_hash((path.relative_to(folder).as_posix(), path) for path in files)


def _context(config: Mapping[str, Any]) -> int | None:
    """The context as the configuration of the language model says, which may be the whole one."""
    for part in (config.get("text_config"), config.get("llm_config"), config):
        tokens = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InputError("names no model type", file=path, field="model_type")
    return config


def _check_folder(folder: Path) -> None:
    remedy = "a checkpoint has config.json, model.safetensors (or an index and its shards) and "
    remedy += "the files of its tokenizer"
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise InputError(
            "is an adapter, not a model",
            file=folder,
            field="option model",
            remedy=f"-o model=ITS_BASE_MODEL -o adapter={folder}",
        )
    missing = [
        group.replace("|", " or ")
        for group in NEEDED
        if not any(path.is_file() for name in group.split("|") for path in folder.glob(name))
    ]
    if missing and any(folder.glob("*.bin")):
        remedy = "weights in pickled files (.bin) are not read: save the model as safetensors"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = read_json(index)
        names = shards.get("weight_map") if isinstance(shards, dict) else None
        if not isinstance(names, dict):
            raise InputError("is no index of weights", file=index, field="weight_map")
        missing += sorted(name for name in set(names.values()) if not (folder / name).is_file())
    if missing:
        raise InputError(f"{' and '.join(missing)} missing", file=folder, remedy=remedy)


def _adapter(name: str) -> Path:
    folder = Path(name).expanduser()
    where: dict[str, Any] = {"file": name, "field": "option adapter"}
    remedy = f"the folder that peft saved: {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"
    if not folder.is_dir():
        raise InputError("there is no such folder", **where, remedy=remedy)
    for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / file).is_file():
            if file == ADAPTER_WEIGHTS and (folder / "adapter_model.bin").is_file():
                remedy = "weights in pickled files (.bin) are not read: save it as safetensors"
            raise InputError(f"{file} missing", **where, remedy=remedy)
    config = read_json(folder / ADAPTER_CONFIG)
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise InputError(
            f"the adapter is of type {kind}, not LORA",
            file=folder / ADAPTER_CONFIG,
            field="peft_type",
            remedy="merge it into its model (peft: merge_and_unload), and give that as model",
        )
    return folder


def _known() -> str:
    return f"-o model=NAME: a folder, a hub name, or one of {', '.join(presets())}"
