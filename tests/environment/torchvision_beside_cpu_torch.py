"""Lets torchvision be imported beside a CPU build of torch; for test environments only.

Some package indexes have torchvision only as a CUDA build, whose operators do not load beside a
CPU build of torch: importing it then fails, as it registers details of two operators that are not
there. Their schemas are enough for everything but using these operators. ``make test`` puts this
module and a ``.pth`` that imports it into the test environment; it does nothing until torchvision
is imported, and nothing at all where torchvision fits.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
kept = []  # the operators live as long as the library object


class DeclareOperators(MetaPathFinder):
    """Has the operators declared just before torchvision is executed; looking for it is free."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = DeclaringLoader(name, spec.loader.path)
        return spec


class DeclaringLoader(SourceFileLoader):
    """Loads torchvision after its operators are declared."""

    def exec_module(self, module: ModuleType) -> None:
        declare()
        super().exec_module(module)


def declare() -> None:
    """Declare the operators if torch is a CPU build and torchvision is not."""
    try:
        fits = version("torch").endswith("+cpu") == version("torchvision").endswith("+cpu")
    except PackageNotFoundError:
        return
    if fits or kept:
        return
    import torch

    if torch.version.cuda is None:
        library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            library.define(schema)
        kept.append(library)


sys.meta_path.insert(0, DeclareOperators())
