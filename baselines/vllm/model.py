"""The model ``vllm``: language and vision-language models of vLLM, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from baselines.generative.model import GenerativeModel
from baselines.vllm.engine import VllmEngine
from baselines.vllm.options import VllmOptions, check_vllm_options

if TYPE_CHECKING:
    from baselines.machine import Machine


class VllmModel(GenerativeModel):
    """A model of vLLM, by the name of a hub, a folder, or a preset."""

    Options = VllmOptions
    settings: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    extra = "vllm"
    requires = ("vllm", "torch", "transformers", "PIL", "jinja2")

    def __init__(self, options: VllmOptions) -> None:
        check_vllm_options(options)
        super().__init__(options)
        self._vllm_options = options

    def make_engine(self, machine: Machine) -> VllmEngine:
        """The engine; the model is loaded when the first request comes."""
        return VllmEngine(self._vllm_options, machine)
