"""What computed figures depend on beside their inputs: the code."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import ffr_eval
from ffr_eval import plugins

_NOT_FIGURES: Final = frozenset(
    {"cli", "report", "importers", "exporters", "fetch", "embeddings", "data"}
)
"""Folders of the core that no published figure depends on."""

PACKAGES: Final = ("numpy", "pyarrow", "pillow", "duckdb")


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of the core's source and of NumPy's version: other code, other figures perhaps."""
    digest = hashlib.sha256(version("numpy").encode())
    root = Path(ffr_eval.__file__).parent
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0] not in _NOT_FIGURES:
            digest.update(f"\0{place.as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def prompt_plugins() -> list[str]:
    """What renders prompts: the plugins, with the versions of their packages."""
    found = []
    for name, point in plugins.registered(plugins.PROMPTS).items():
        package = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        found.append(f"{name} = {point.value} ({package})")
    return found


def packages() -> list[str]:
    """Import names of the packages whose versions the manifest records, beside the core's."""
    found = []
    for name in PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found
