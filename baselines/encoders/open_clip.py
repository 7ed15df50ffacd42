"""CLIP, SigLIP and their relatives, as open_clip has them.

The model is one of these:

* an architecture of open_clip, with the tag of pretrained weights, or with a file of weights;
* a folder with ``open_clip_config.json``, weights, and a tokenizer if it has its own
  (``local-dir:FOLDER``, or just the folder), or a hub model of that form
  (``hf-hub:ORGANISATION/NAME``);
* the configuration of an architecture in a ``.json`` file, with a file of weights.

As a specification: ``open_clip:ARCHITECTURE/TAG``, ``open_clip:ARCHITECTURE/FILE`` (of an absolute
path, ``ARCHITECTURE//data/weights.pt``), ``open_clip:FOLDER``, ``open_clip:CONFIG.json/FILE``.

Files of weights are safetensors, or what ``torch.save`` wrote of a state dictionary; nothing in
them is ever run. Texts beyond the context length (mostly 77 tokens) are cut by the tokenizer.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from baselines.encoders import open_clip_catalogue as catalogue
from baselines.encoders.device import check_dtype, pick
from baselines.encoders.encoder import Encoder, LoadedEncoder
from baselines.encoders.open_clip_source import (
    CONFIG,
    LOCAL,
    OF_FILES,
    OpenClipOptions,
    find_source,
    is_place,
    tokenizer_folder,
)
from baselines.encoders.side_effects import root_logger_kept
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.image_reading import LOADING
from ffr_eval.model_files import model_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL.Image import Image

    from baselines.encoders.device import Placement
    from baselines.encoders.encoder import FloatArray
    from baselines.encoders.open_clip_source import Source
    from ffr_eval.embeddings.keys import Role
    from ffr_eval.embeddings.space import SpaceRecord

_PRECISIONS: Final = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_MARKS: Final = 2  # the special tokens before and after a text
_PREPARATION: Final = ("mean", "std", "interpolation", "resize_mode")


class LoadedOpenClip(LoadedEncoder):
    """A loaded model of open_clip."""

    def __init__(
        self, model: Any, tokenizer: Any, preprocess: Any, dimension: int, place: Placement
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._preprocess = preprocess
        self._torch_dtype = place.torch_dtype
        self.dimension = dimension
        self.device = place.device
        self.dtype = place.dtype
        self.max_tokens = tokenizer.context_length
        self.batch_size = 32 if place.device == "cpu" else 256

    def lengths(self, texts: Sequence[str], role: Role) -> list[int]:  # noqa: ARG002
        """Tokens with the special ones; a bound for short texts, as all rows are padded alike."""
        tokenizer = self._tokenizer
        limit = tokenizer.context_length
        if hasattr(tokenizer, "encode"):
            # A token is one byte at least, so that most texts need not be tokenized twice.
            bounds = [len(text.encode(errors="replace")) + _MARKS for text in texts]
            return [
                bound if bound <= limit else len(tokenizer.encode(text)) + _MARKS
                for text, bound in zip(texts, bounds, strict=True)
            ]
        inner = tokenizer.tokenizer
        clean = getattr(tokenizer, "clean_fn", str)
        found = inner([clean(text) for text in texts], truncation=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    def encode_texts(self, texts: Sequence[str], role: Role) -> FloatArray:  # noqa: ARG002
        """The text tower's vectors."""
        import torch

        with torch.inference_mode():
            tokens = self._tokenizer(list(texts)).to(self.device)
            return _array(self._model.encode_text(tokens))

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """The image tower's vectors."""
        import torch

        with torch.inference_mode():
            prepared = torch.stack([self._preprocess(image) for image in images])
            prepared = prepared.to(device=self.device, dtype=self._torch_dtype)
            return _array(self._model.encode_image(prepared))


class OpenClip(Encoder):
    """``open_clip``: CLIP, SigLIP and their relatives."""

    name: ClassVar[str] = "open_clip"
    extra: ClassVar[str | None] = "clip"
    requires: ClassVar[tuple[str, ...]] = ("open_clip",)
    Options: ClassVar[type] = OpenClipOptions

    @classmethod
    def options_of(cls, model: str) -> Mapping[str, str]:
        """Architecture and weights of ``ARCHITECTURE/TAG``, or one of the other forms."""
        head, slash, tail = model.partition("/")
        if head in catalogue.architectures():
            return {"model": head, "pretrained": tail} if slash else {"model": head}
        if ".json/" in model:
            config, _, weights = model.partition(".json/")
            return {"model": f"{config}.json", "pretrained": weights}
        if not slash or is_place(model):
            return {"model": model}
        return {"model": head, "pretrained": tail}

    def describe(self) -> SpaceRecord:
        """The space of the vectors, from the files of model and library."""
        from ffr_eval.embeddings.space import SpaceRecord

        check_dtype(self.options.dtype)
        source = find_source(self.options)
        options: dict[str, Any] = {"images": LOADING}
        if source.architecture is not None:
            options["architecture"] = source.architecture
        options |= {name: value for name in OF_FILES if (value := getattr(self.options, name))}
        if self.options.dtype != "auto":
            options["dtype"] = self.options.dtype
        return SpaceRecord(
            encoder=self.name,
            model=source.label,
            revision=source.revision,
            options=options,
            modalities=("text", "image"),
            roles=False,
            max_tokens=source.max_tokens,
            dimension=source.configuration["embed_dim"],
        )

    def load(self) -> LoadedEncoder:
        """Load the model from its files; the hub is not asked again."""
        source = find_source(self.options)
        with root_logger_kept():
            try:
                from open_clip.transform import PreprocessCfg, image_transform_v2
            except ImportError as error:
                raise MissingExtraError(f"the encoder {self.name!r}", "clip") from error
            place = pick(self.machine.device, self.options.dtype)
            model, tokenizer = _loaded(source, self.options, place)
            preprocess = image_transform_v2(
                PreprocessCfg(**model.visual.preprocess_cfg), is_train=False
            )
        dimension = source.configuration["embed_dim"]
        return LoadedOpenClip(model.eval(), tokenizer, preprocess, dimension, place)


def _loaded(source: Source, options: OpenClipOptions, place: Placement) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    import open_clip

    if source.folder is not None:
        name = f"{LOCAL}{source.folder}"
        return _created(source, place, model_name=name), open_clip.get_tokenizer(name)
    if source.architecture is None:
        return _of_files(source, place)
    entry = _entry(source, options.preprocess)
    model = _created(
        source,
        place,
        model_name=source.architecture,
        pretrained=str(source.weights),
        # open_clip only warns where the tag's activation is not the architecture's.
        force_quick_gelu=entry.get("quick_gelu", False) if source.tag else options.quick_gelu,
        force_preprocess_cfg={key: entry[key] for key in _PREPARATION if key in entry},
    )
    folder = tokenizer_folder(source.configuration)
    if folder is None:
        return model, open_clip.get_tokenizer(source.architecture)
    text = source.configuration["text_cfg"]
    tokenizer = open_clip.tokenizer.HFTokenizer(
        str(folder),
        context_length=source.max_tokens,
        tokenizer_mode=text.get("tokenizer_mode"),
        **text.get("tokenizer_kwargs", {}),
    )
    return model, tokenizer


def _of_files(source: Source, place: Placement) -> tuple[Any, Any]:
    """Of a configuration and weights that are not in one folder."""
    import open_clip

    weights = source.weights or Path()
    safe = weights.suffix == ".safetensors"
    with tempfile.TemporaryDirectory(prefix="ffr-open-clip-") as temporary:
        folder = Path(temporary)
        (folder / CONFIG).write_text(json.dumps({"model_cfg": source.configuration}))
        stem = "open_clip_model.safetensors" if safe else "open_clip_pytorch_model.bin"
        (folder / stem).symlink_to(weights.resolve())
        name = f"{LOCAL}{folder}"
        return _created(source, place, model_name=name), open_clip.get_tokenizer(name)


def _entry(source: Source, preprocess: str | None) -> dict[str, Any]:
    """What open_clip's table of weights says of the tag, or of those that the file is like."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    name = source.architecture
    tag = source.tag or preprocess
    if tag is not None:
        found: dict[str, Any] = get_pretrained_cfg(name, tag)
        return found
    entries = [get_pretrained_cfg(name, known) for known in list_pretrained_tags_by_model(name)]
    prepared = [[entry.get(key) for key in _PREPARATION] for entry in entries]
    agreed = all(one == prepared[0] for one in prepared)
    return entries[0] if entries and agreed else {}


def _created(source: Source, place: Placement, **arguments: Any) -> Any:
    import open_clip
    from safetensors import SafetensorError

    _check_no_program(source)
    what = source.weights or source.folder
    try:
        return open_clip.create_model(
            **arguments,
            precision=_PRECISIONS[place.dtype],
            device=place.device,
            require_pretrained=True,
            weights_only=True,
        )
    except (UnpicklingError, EOFError, StopIteration) as error:
        raise _no_state(what) from error
    except (
        AssertionError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        text = " ".join(str(error).split())
        if "out of memory" in text.lower():
            raise
        text = text if len(text) < 300 else f"{text[:300]} …"
        raise InputError(f"cannot be loaded: {text}", file=what) from error


def _check_no_program(source: Source) -> None:
    """Refuse TorchScript archives before torch does, in words about its own arguments."""
    folder = source.folder
    files = [source.weights] if source.weights is not None else []
    files += [] if folder is None else [path for path in model_files(folder) if path.is_file()]
    for path in files:
        if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("constants.pkl") for name in archive.namelist()):
                    raise _no_state(path)


def _no_state(path: Path | None) -> InputError:
    remedy = (
        "give a state dictionary, best as safetensors; in the place of a TorchScript archive or a "
        "whole model that was pickled, name the tag of its weights"
    )
    text = "is not a file with a state dictionary; programs and pickled objects are never loaded"
    return InputError(text, file=path, remedy=remedy)


def _array(vectors: Any) -> FloatArray:
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)
