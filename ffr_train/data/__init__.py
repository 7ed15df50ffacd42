"""Training data of a benchmark for one model: ``ffr train data`` writes it, training reads it.

Names are loaded when they are first used: reading a manifest needs neither transformers nor
datasets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ffr_train.data.building import build
    from ffr_train.data.loading import load_rows
    from ffr_train.data.manifest import DataManifest, read_manifest
    from ffr_train.data.processor import LoadedProcessor, load_processor
    from ffr_train.data.report import Report
    from ffr_train.data.request import DataRequest
    from ffr_train.data.rows import Wording, messages_of, wording_of

__all__ = [
    "DataManifest",
    "DataRequest",
    "LoadedProcessor",
    "Report",
    "Wording",
    "build",
    "load_processor",
    "load_rows",
    "messages_of",
    "read_manifest",
    "wording_of",
]

_HOME: Final = {
    "DataManifest": "manifest",
    "DataRequest": "request",
    "LoadedProcessor": "processor",
    "Report": "report",
    "Wording": "rows",
    "build": "building",
    "load_processor": "processor",
    "load_rows": "loading",
    "messages_of": "rows",
    "read_manifest": "manifest",
    "wording_of": "rows",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ffr_train.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ffr_train.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
