"""The model ``hf``: vision-language and language models of transformers, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from baselines.generative.model import GenerativeModel
from baselines.hf.engine import HfEngine
from baselines.hf.options import HfOptions, check_hf_options

if TYPE_CHECKING:
    from baselines.machine import Machine


class HfModel(GenerativeModel):
    """A model of transformers, by the name of a hub, a folder, or a preset."""

    Options = HfOptions
    settings: ClassVar[frozenset[str]] = frozenset({"device", "batch_size"})
    extra = "hf"
    requires = ("torch", "torchvision", "transformers", "PIL", "jinja2")

    def __init__(self, options: HfOptions) -> None:
        check_hf_options(options)
        super().__init__(options)
        self._hf_options = options

    def make_engine(self, machine: Machine) -> HfEngine:
        """The engine; the model is loaded when it is needed."""
        return HfEngine(self._hf_options, machine)
