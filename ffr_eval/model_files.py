"""Which files a model consists of, and a hash that tells its weights and settings from others.

Files up to 64 MB are hashed whole; of larger ones, the size and 64 blocks of 1 MB, evenly spread
from the first byte to the last, so that a checkpoint of many gigabytes costs no more. What training
writes differs nearly everywhere, so two checkpoints that agree in all of that are taken to be the
same; a file changed by hand in between is not noticed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WHOLE: Final = 64 * 2**20
"""Files up to this size are hashed whole."""
BLOCK: Final = 2**20
BLOCKS: Final = 64

WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")
"""What weights end in, the preferred form first."""
MODEL_FILES: Final = (*WEIGHTS, ".json", ".txt", ".model", ".jinja")
"""What the files of a model that decide on its vectors end in."""
_OF_TRAINING: Final = frozenset({"training.json", "trainer_state.json"})
_CHECKPOINT: Final = "checkpoint-"
"""What a training leaves beside its result, and may be removed."""

_hashes: dict[tuple[str, int, int], str] = {}


def content_hash(path: Path) -> str:
    """The hash of a file's content, 64 hexadecimal digits.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
        if key not in _hashes:
            _hashes[key] = _hashed(path, status.st_size)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    return _hashes[key]


def files_hash(files: Iterable[tuple[str, Path]]) -> str:
    """One hash, ``sha256-…``, of several files under names that do not depend on the machine."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(f"{len(name)}:{name}={content_hash(path)};".encode())
    return f"sha256-{digest.hexdigest()[:32]}"


def folder_hash(folder: Path) -> str:
    """One hash of what decides on a model's vectors in its folder: weights, settings, tokenizer.

    Left out are hidden files, texts for people, and weights beside others of a preferred form.
    """
    return files_hash((path.relative_to(folder).as_posix(), path) for path in model_files(folder))


def weights_hash(folder: Path) -> str:
    """One hash of a model's weights and configuration, whatever else lies in its folder.

    Tokenizer and texts do not matter: a copy of a hub's model may have some of them only.
    """
    files = [*folder.glob("*.safetensors"), folder / "config.json"]
    return files_hash((path.name, path) for path in files if path.is_file())


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide on what it computes, sorted.

    Records of its training, and checkpoints in folders of their own, are not among them.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in MODEL_FILES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not {"onnx", "openvino"} & set(path.relative_to(folder).parts)
        and path.name not in _OF_TRAINING
        and not any(part.startswith(_CHECKPOINT) for part in path.relative_to(folder).parts[:-1])
    ]
    safe = {path.parent for path in found if path.suffix == ".safetensors"}
    return [path for path in found if path.suffix not in WEIGHTS[1:] or path.parent not in safe]


def _hashed(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        if size <= WHOLE:
            while block := stream.read(BLOCK):
                digest.update(block)
        else:
            digest.update(f"{size} bytes, {BLOCKS} blocks".encode())
            for number in range(BLOCKS):
                stream.seek((size - BLOCK) * number // (BLOCKS - 1))
                digest.update(stream.read(BLOCK))
    return digest.hexdigest()
