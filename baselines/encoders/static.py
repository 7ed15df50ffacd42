"""Static word vectors, averaged over a text: small, fast, and without torch.

The vectors come inside the package wordllama; they are English, and there is no limit to the
length of a text.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.side_effects import root_logger_kept
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.model_files import files_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.encoders.encoder import FloatArray
    from ffr_eval.embeddings.keys import Role
    from ffr_eval.embeddings.space import SpaceRecord

MODEL: Final = "l2_supercat"
"""The vectors that are inside the package."""
DIMENSION: Final = 256


@dataclass(frozen=True, slots=True)
class StaticOptions:
    """Options of ``static``.

    Attributes:
        model: The one set of vectors that comes with the package.
        dtype: There is no choice: ``auto`` is float32.
    """

    model: str = MODEL
    dtype: str = "auto"


class LoadedStatic(LoadedEncoder):
    """Averages of word vectors."""

    dimension = DIMENSION
    device = "cpu"
    dtype = "float32"
    batch_size = 256

    def __init__(self, inference: Any) -> None:
        self._inference = inference

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:  # noqa: ARG002
        """The number of word pieces of each text."""
        return [sum(one.attention_mask) for one in self._inference.tokenize(list(texts))]

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:  # noqa: ARG002
        """The average of the vectors of each text's word pieces."""
        vectors: FloatArray = self._inference.embed(list(texts), batch_size=len(texts))
        return vectors


class Static(Encoder):
    """``static``: the word vectors of wordllama."""

    name: ClassVar[str] = "static"
    extra: ClassVar[str | None] = "static"
    requires: ClassVar[tuple[str, ...]] = ("wordllama",)
    Options: ClassVar[type] = StaticOptions

    def describe(self) -> SpaceRecord:
        """The space of these vectors; nothing is imported."""
        from ffr_eval.embeddings.space import SpaceRecord

        if self.options.model != MODEL:
            message = f"{self.options.model!r} is not inside the package wordllama"
            raise InputError(message, field="option model", remedy=f"there is only {MODEL}")
        if self.options.dtype not in {"auto", "float32"}:
            raise InputError("these vectors are float32", field="option dtype")
        package = _package()
        weights = package / "weights" / f"{MODEL}_{DIMENSION}.safetensors"
        tokenizer = package / "tokenizers" / f"{MODEL}_tokenizer_config.json"
        return SpaceRecord(
            encoder=self.name,
            model=MODEL,
            revision=files_hash([("weights", weights), ("tokenizer", tokenizer)]),
            options={"pooling": "mean"},
            modalities=("text",),
            roles=False,
            dimension=DIMENSION,
        )

    def load(self) -> LoadedEncoder:
        """Read the vectors from the package; no network is used."""
        with root_logger_kept():
            try:
                from wordllama import WordLlama
            except ImportError as error:
                raise MissingExtraError(f"the encoder {self.name!r}", "static") from error
        # Without its folder as the cache, the package does not find its own tokenizer.
        inference = WordLlama.load(
            MODEL, cache_dir=_package(), dim=DIMENSION, disable_download=True
        )
        return LoadedStatic(inference)


def _package() -> Path:
    spec = importlib.util.find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the encoder 'static'", "static")
    return Path(spec.submodule_search_locations[0])
