"""Tiny checkpoints of the real classes, with random weights, built where they are needed.

``python -m tests.checkpoints DIR`` builds all of them.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUILDERS: Final = (
    "blip2",
    "internvl",
    "llava",
    "llava_next",
    "open_clip",
    "qwen2_5_vl",
    "qwen2_lm",
    "qwen2_vl",
)
"""Modules of this package; each has ``build(folder) -> folder``."""


def build_all(target: Path, names: Sequence[str] = BUILDERS) -> dict[str, Path]:
    """Build checkpoints into folders of their names.

    Returns:
        The folder of each; a builder that is not there is left out.
    """
    built = {}
    for name in names:
        module = f"{__name__}.{name}"
        if importlib.util.find_spec(module) is None:
            continue
        folder = target / name
        folder.mkdir(parents=True, exist_ok=True)
        built[name] = importlib.import_module(module).build(folder)
    return built
