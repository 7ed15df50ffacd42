"""Which weights an adapter was trained on, as ``ffr train`` recorded it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import InputError
from ffr_eval.model_files import weights_hash

if TYPE_CHECKING:
    from pathlib import Path

TRAINING: Final = "training.json"
"""The record of a training, in the folder of its result."""


def require_base(adapter: Path, base: Path, named: str | None) -> None:
    """Refuse a model that an adapter was not trained on, as far as that is known.

    Adapters of another trainer have no record, and pass.

    Args:
        adapter: Its folder, or that of a checkpoint in it.
        base: The folder of the model.
        named: What the adapter's own configuration calls its model.

    Raises:
        InputError: If the weights or the configuration of the model are others.
    """
    record = next(
        (folder / TRAINING for folder in (adapter, adapter.parent) if _is_record(folder)), None
    )
    if record is None:
        return
    try:
        weights = json.loads(record.read_bytes())["identity"]["weights"]
    except (OSError, ValueError, LookupError, TypeError):
        return  # of another version; the adapter itself may be fine
    # What follows a plus is the adapter that this one was trained on from.
    trained_on = weights.partition("+")[0] if isinstance(weights, str) else None
    if trained_on is None or trained_on == weights_hash(base):
        return
    remedy = "give the model that it was trained on" + (f": {named}" if named else "")
    raise InputError(
        f"the adapter was trained on other weights than those of {base}",
        file=adapter,
        field="adapter",
        remedy=remedy,
    )


def _is_record(folder: Path) -> bool:
    return (folder / TRAINING).is_file()
