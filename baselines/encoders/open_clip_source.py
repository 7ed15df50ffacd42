"""Where a model of open_clip is: found from its options, without importing open_clip."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baselines.encoders import open_clip_catalogue as catalogue
from baselines.encoders.revision import hub_folder, hub_revision, read_json
from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.model_files import files_hash, folder_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG: Final = "open_clip_config.json"
"""The configuration in the folder of a model."""
LOCAL: Final = "local-dir:"
"""What open_clip puts before a folder."""
DEFAULT_TAG: Final = "laion2b_s34b_b79k"
CONTEXT_LENGTH: Final = 77
"""The longest text where a configuration does not say."""
OF_FILES: Final = ("preprocess", "quick_gelu")
"""The options for weights that have no tag."""

_HUB: Final = "hf-hub:"
_FOLDER_WEIGHTS: Final = (".safetensors", ".bin", ".pth")  # what open_clip looks for in a folder
_TOKENIZER: Final = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.model")


@dataclass(frozen=True, slots=True)
class OpenClipOptions:
    """Options of ``open_clip``.

    Attributes:
        model: An architecture, a folder, ``hf-hub:…``, ``local-dir:…``, or a ``.json`` file.
        pretrained: A tag of the architecture, or a file of weights. Folders and hub models have
            their own weights.
        preprocess: With weights from a file: the tag of the architecture whose preparation of
            images is used. By default, it is what all tags of the architecture agree on, and where
            they do not, that of the first CLIP.
        quick_gelu: With weights from a file: they were trained with QuickGELU, as the first CLIP
            was. Of a tag this is known.
        dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
    """

    model: str = "ViT-B-32"
    pretrained: str = DEFAULT_TAG
    preprocess: str | None = None
    quick_gelu: bool = False
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class Source:
    """A model that is on this machine.

    Attributes:
        label: For people.
        revision: Identifies the weights.
        configuration: Of the architecture.
        architecture: Its name in open_clip; ``None`` if it has none.
        folder: With configuration and weights; ``None`` if they are elsewhere.
        weights: A file; ``None`` if they are in the folder.
        tag: The weights' tag; ``None`` if they have none.
    """

    label: str
    revision: str
    configuration: dict[str, Any]
    architecture: str | None = None
    folder: Path | None = None
    weights: Path | None = None
    tag: str | None = None

    @property
    def max_tokens(self) -> int:
        """The longest text that the tokenizer leaves whole."""
        return int(self.configuration["text_cfg"].get("context_length", CONTEXT_LENGTH))


def find_source(options: OpenClipOptions) -> Source:
    """The model that the options name.

    Raises:
        InputError: If there is none, or its weights are neither here nor to be had.
    """
    source = _found(options)
    if source.architecture is None or source.tag is not None:
        for name in OF_FILES:
            if getattr(options, name):
                message = "is for an architecture of open_clip with weights from a file"
                raise InputError(message, field=f"option {name}", remedy="leave it out")
    return source


def _found(options: OpenClipOptions) -> Source:
    model = options.model
    if model in catalogue.architectures():
        return _of_architecture(model, options)
    if model.startswith(_HUB):
        return _of_hub(model)
    path = Path(model.removeprefix(LOCAL)).expanduser()
    if model.startswith(LOCAL) or path.is_dir():
        return _of_folder(model, path)
    if path.suffix == ".json":
        return _of_configuration(path, options)
    if is_place(model):
        raise InputError("there is no such folder or file", file=model)
    if not catalogue.installed():
        raise MissingExtraError(f"the architecture {model!r} of open_clip", "clip")
    raise _unknown(model)


def _of_architecture(architecture: str, options: OpenClipOptions) -> Source:
    given = options.pretrained
    configuration = catalogue.configuration(architecture)
    known = catalogue.tags(architecture)
    tag = catalogue.clean_tag(given)
    label = f"{architecture}/{given}"
    if tag in known:
        file = known[tag]
        stems = tuple(name for name in file.names if name.endswith(".safetensors"))
        folder = hub_folder(
            file.repository,
            ("|".join(file.names),),
            stems or file.names,
            file.names,
            instead="-o pretrained=FILE",
        )
        weights = next(folder / name for name in file.names if (folder / name).is_file())
        tokenizer_folder(configuration)
        revision = hub_revision(file.repository, folder)
        return Source(label, revision, configuration, architecture, weights=weights, tag=tag)
    weights = Path(given).expanduser()
    if not weights.is_file():
        raise _unknown_tag(architecture, given, known)
    tokenizer_folder(configuration)
    _check_preprocess(architecture, options.preprocess, known)
    revision = files_hash([("weights", weights)])
    return Source(label, revision, configuration, architecture, weights=weights)


def _of_configuration(path: Path, options: OpenClipOptions) -> Source:
    configuration = read_json(path)
    configuration = configuration.get("model_cfg", configuration)
    _check_configuration(configuration, path)
    weights = Path(options.pretrained).expanduser()
    if not weights.is_file():
        message = f"{options.pretrained!r} is not a file of weights"
        raise InputError(message, field="option pretrained", remedy="pretrained=FILE")
    revision = files_hash([("configuration", path), ("weights", weights)])
    label = f"{options.model}/{options.pretrained}"
    return Source(label, revision, configuration, weights=weights)


def is_place(model: str) -> bool:
    """Whether this is written as a place rather than as a name, or is one."""
    return model.startswith((_HUB, LOCAL, "/", "./", "../", "~")) or Path(model).exists()


def _of_folder(label: str, folder: Path) -> Source:
    if not folder.is_dir():
        raise InputError("there is no such folder", file=folder)
    path = folder / CONFIG
    if not path.is_file():
        remedy = "name a folder that was saved by open_clip, or an architecture and a file"
        raise InputError(f"has no {CONFIG}", file=folder, remedy=remedy)
    configuration = read_json(path).get("model_cfg")
    _check_configuration(configuration, path)
    if not any(file.suffix in _FOLDER_WEIGHTS for file in folder.iterdir()):
        remedy = "copy open_clip_model.safetensors into it"
        raise InputError("has no weights", file=folder, remedy=remedy)
    return Source(label, folder_hash(folder), configuration, folder=folder)


def _of_hub(label: str) -> Source:
    repository = label.removeprefix(_HUB)
    weights = "open_clip_model.safetensors|open_clip_pytorch_model.safetensors"
    folder = hub_folder(
        repository,
        (CONFIG, f"{weights}|open_clip_pytorch_model.bin"),
        ("*.json", "*.txt", "*.model", "open_clip_*.safetensors"),
        ("*.json", "*.txt", "*.model", "open_clip_*"),
    )
    configuration = read_json(folder / CONFIG).get("model_cfg")
    _check_configuration(configuration, folder / CONFIG)
    return Source(label, hub_revision(repository, folder), configuration, folder=folder)


def _check_configuration(configuration: Any, path: Path) -> None:
    parts = ("embed_dim", "vision_cfg", "text_cfg")
    missing = [part for part in parts if part not in (configuration or {})]
    if missing:
        message = f"is not the configuration of a model of open_clip: no {', '.join(missing)}"
        raise InputError(message, file=path)


def tokenizer_folder(configuration: dict[str, Any]) -> Path | None:
    """The folder of the tokenizer, if it is not part of open_clip."""
    name = configuration["text_cfg"].get("hf_tokenizer_name")
    needed = "tokenizer.json|tokenizer_config.json|*.model"
    return hub_folder(name, (needed,), _TOKENIZER, _TOKENIZER) if name else None


def _check_preprocess(architecture: str, tag: str | None, known: Mapping[str, Any]) -> None:
    if tag is not None and catalogue.clean_tag(tag) not in known:
        message = f"{tag!r} is not a tag of {architecture}"
        remedy = f"it has {', '.join(known) or 'none'}"
        raise InputError(message, field="option preprocess", remedy=remedy)


def _unknown(architecture: str) -> InputError:
    names = {name.lower(): name for name in catalogue.architectures()}
    close = difflib.get_close_matches(architecture.lower(), names, n=5, cutoff=0.5)
    close = [names[name] for name in close]
    listed = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    remedy = f"{listed}also possible: a folder with {CONFIG}, or hf-hub:ORGANISATION/NAME"
    return InputError(f"open_clip has no architecture {architecture!r}", remedy=remedy)


def _unknown_tag(architecture: str, given: str, known: Mapping[str, Any]) -> InputError:
    listed = ", ".join(known) or "none: name a file of weights (pretrained=FILE)"
    close = difflib.get_close_matches(catalogue.clean_tag(given), known, n=1)
    remedy = (f"did you mean {close[0]!r}? " if close else "") + f"it has {listed}"
    message = f"{given!r} is neither a tag of {architecture} nor a file"
    return InputError(message, field="option pretrained", remedy=remedy)
