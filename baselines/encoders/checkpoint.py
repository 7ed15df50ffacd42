"""Checkpoints of transformers: found in a folder or in the local hub cache, and checked.

Only the standard library is needed, so that a space can be described where neither torch nor
transformers is installed.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.encoders.device import check_dtype
from baselines.encoders.revision import hub_folder, hub_revision, read_json
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.image_reading import LOADING
from ffr_eval.model_files import folder_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

NEEDED: Final = (
    "config.json",
    "model.safetensors|model.safetensors.index.json|pytorch_model.bin|pytorch_model.bin.index.json",
    "tokenizer.json|tokenizer_config.json",
    "processor_config.json|preprocessor_config.json",
)
"""Groups of files, of each of which one must be there."""
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a checkpoint has to be.

    Attributes:
        model_type: What ``config.json`` says.
        architectures: The classes that it may have been saved from.
        example: A hub name of one.
    """

    model_type: str
    architectures: tuple[str, ...]
    example: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is complete and of the right kind.

    Attributes:
        folder: Where its files are.
        revision: Name and commit of a hub model, else a hash of the content.
    """

    folder: Path
    revision: str


def find_checkpoint(model: str, kind: Kind) -> Checkpoint:
    """The checkpoint that a model's name stands for.

    Args:
        model: A folder, or a hub name; a folder of that name wins.
        kind: What it has to be.

    Raises:
        InputError: If there is none, a file is missing, or it is of another kind.
        MissingExtraError: If a hub model is not in the cache and ``huggingface_hub`` is missing.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        _check_files(folder)
        _check_kind(folder, kind)
        return Checkpoint(folder, folder_hash(folder))
    if folder.exists() or not _HUB_NAME.fullmatch(model):
        message = "is no folder" if folder.exists() else "there is no such folder"
        raise InputError(
            message,
            file=model,
            field="option model",
            remedy=f"give the folder of a checkpoint ({_files()}) or a hub name, for example "
            f"{kind.example}",
        )
    snapshot = _cached(model) or _from_hub(model)
    _check_kind(snapshot, kind)
    return Checkpoint(snapshot, hub_revision(model, snapshot))


def vector_options(options: Any, **more: Any) -> dict[str, Any]:
    """The options of an encoder that change its vectors, for the description of a space.

    The model is left out, as the revision stands for it, and the number format unless it was asked
    for.
    """
    values = {key: value for key, value in asdict(options).items() if key != "model"}
    check_dtype(values["dtype"])
    if values["dtype"] == "auto":
        del values["dtype"]
    return {**values, "image_loading": LOADING, **more}


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder in which ``huggingface_hub`` keeps models."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    if environment.get("HF_HOME"):
        return Path(environment["HF_HOME"]).expanduser() / "hub"
    home = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "huggingface" / "hub"


def _cached(model: str) -> Path | None:
    """The folder of a hub model's main revision in the local cache, if it is complete there."""
    repository = hub_cache() / f"models--{model.replace('/', '--')}"
    try:
        commit = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    folder = repository / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not folder.is_dir() or _missing(folder):
        return None
    return folder


def _from_hub(model: str) -> Path:
    try:
        return hub_folder(model, NEEDED)
    except MissingExtraError:
        raise InputError(
            f"{model} is neither a folder nor in the hub cache {hub_cache()}",
            field="option model",
            remedy=f"give a folder ({_files()}), or fetch it in an environment that has "
            f"huggingface_hub: hf download {model}",
        ) from None


def _check_files(folder: Path) -> None:
    missing = _missing(folder)
    if missing:
        raise InputError(
            f"{' and '.join(missing)} missing",
            file=folder,
            remedy=f"put the files of a checkpoint there: {_files()}",
        )


def _missing(folder: Path) -> list[str]:
    """What a folder lacks, in words."""
    missing = []
    for group in NEEDED:
        names = group.split("|")
        there = [name for name in names if (folder / name).is_file()]
        if not there:
            missing.append(" or ".join(names))
        elif there[0].endswith(".index.json"):
            missing += _missing_shards(folder / there[0])
    return missing


def _missing_shards(path: Path) -> list[str]:
    index = read_json(path)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict):
        raise InputError("is no index of weights", file=path, field="weight_map")
    return sorted({name for name in shards.values() if not (path.parent / name).is_file()})


def _check_kind(folder: Path, kind: Kind) -> None:
    path = folder / "config.json"
    config = read_json(path)
    found_type = config.get("model_type") if isinstance(config, dict) else None
    found = config.get("architectures") or [] if isinstance(config, dict) else []
    if found_type == kind.model_type and (not found or set(found) & set(kind.architectures)):
        return
    classes = ", ".join(map(str, found)) or "no class"
    raise InputError(
        f"the checkpoint is of model_type {found_type!r}, {classes}",
        file=path,
        remedy=f"this encoder needs model_type {kind.model_type!r}, "
        f"{' or '.join(kind.architectures)}, for example {kind.example}",
    )


def _files() -> str:
    return ", ".join(group.replace("|", " or ") for group in NEEDED)
