"""FFR: evaluation for Fine-grained Fragment Retrieval in long multimodal dialogues.

>>> import ffr_eval
>>> scores = ffr_eval.score("predictions.jsonl", "my-benchmark")  # doctest: +SKIP
>>> scores.metric("micro.joint.f1")  # doctest: +SKIP

Names are loaded when they are first used, so that importing this package costs little more than
importing NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ffr_eval import metrics as metrics
    from ffr_eval.answer import Answer, parse_answer
    from ffr_eval.api import score
    from ffr_eval.benchmark import Benchmark, read_benchmark
    from ffr_eval.errors import FfrError, InputError
    from ffr_eval.prompt import Prompt, render
    from ffr_eval.scoring import Scores
    from ffr_eval.types import Dialogue, Fragment, Image, Outcome, Prediction, Sample, Turn
    from ffr_eval.uncertainty import Resampling

    __version__: str

__all__ = [
    "Answer",
    "Benchmark",
    "Dialogue",
    "FfrError",
    "Fragment",
    "Image",
    "InputError",
    "Outcome",
    "Prediction",
    "Prompt",
    "Resampling",
    "Sample",
    "Scores",
    "Turn",
    "__version__",
    "metrics",
    "parse_answer",
    "read_benchmark",
    "render",
    "score",
]

_HOME: Final = {
    "Answer": "answer",
    "Benchmark": "benchmark",
    "Dialogue": "types",
    "FfrError": "errors",
    "Fragment": "types",
    "Image": "types",
    "InputError": "errors",
    "Outcome": "types",
    "Prediction": "types",
    "Prompt": "prompt",
    "Resampling": "uncertainty",
    "Sample": "types",
    "Scores": "scoring",
    "Turn": "types",
    "parse_answer": "answer",
    "read_benchmark": "benchmark",
    "render": "prompt",
    "score": "api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ffr-eval")
    if name == "metrics":
        return import_module("ffr_eval.metrics")
    if name in _HOME:
        return getattr(import_module(f"ffr_eval.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ffr_eval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
