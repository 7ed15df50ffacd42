"""Merging an adapter into the model that it was trained on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ffr_eval.adapters import require_base
from ffr_eval.errors import InputError
from ffr_eval.writing import cannot_write, work_folder
from ffr_train.data.processor import load_processor, loading
from ffr_train.training.model import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    base_of,
    loading_weights,
    same_model,
)

if TYPE_CHECKING:
    from pathlib import Path

_NO_BOUND = 2**31


def merge(adapter: Path, out: Path, model: str | None = None) -> str:
    """Write a whole model: the base with the adapter's changes added to its weights.

    Args:
        adapter: What training wrote.
        out: Where the model goes; it appears whole or not at all.
        model: The base; by default the one that the adapter names.

    Returns:
        The base.

    Raises:
        InputError: If the adapter does not fit, or there is something at ``out``.
    """
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (adapter / name).is_file():
            remedy = "give the folder that `ffr train sft` or `grpo` wrote an adapter to"
            raise InputError(f"{name} missing", file=adapter, remedy=remedy)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        remedy = "choose another folder for --out, or remove this one"
        raise InputError("already exists and is not empty", file=out, remedy=remedy)
    named = base_of(adapter)
    base = model or named
    if base is None:
        message = "does not name the model that it was trained on"
        raise InputError(message, file=adapter / ADAPTER_CONFIG, remedy="--model MODEL")
    loaded = load_processor(base, _NO_BOUND)
    require_base(adapter, loaded.folder, named)
    with loading_weights(loaded.folder):
        whole: Any = AutoModelForImageTextToText.from_pretrained(
            str(loaded.folder), dtype="auto", local_files_only=True, use_safetensors=True
        )
    try:
        with loading(adapter):
            merged = PeftModel.from_pretrained(whole, str(adapter)).merge_and_unload()
    except (InputError, SafetensorError) as error:
        other = "" if named is None or same_model(named, base) else f": it was trained on {named}"
        message = f"the adapter does not fit {base}{other}"
        raise InputError(message, file=adapter, remedy="--model ITS_MODEL") from error
    with work_folder(out.resolve(), "merge") as work:
        folder = work / "model"
        merged.save_pretrained(folder)
        for path in loaded.folder.iterdir():
            if path.is_file() and not path.name.startswith((".", "model", "pytorch_model")):
                target = folder / path.name
                if not target.exists():
                    shutil.copyfile(path, target)
        try:
            if out.is_dir():
                out.rmdir()
            shutil.move(folder, out)
        except OSError as error:
            raise cannot_write(out, error) from None
    return base
