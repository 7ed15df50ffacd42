"""Which weights a model has: the same on every machine, and known without loading them.

Local files are known by their content. Files up to 64 MB are hashed whole; of larger ones, the
size and 64 blocks of 1 MB, evenly spread from the first byte to the last, so that a checkpoint of
many gigabytes costs no more. What training writes differs nearly everywhere, so two checkpoints
that agree in all of that are taken to be the same; a file changed by hand in between is not
noticed. A model of a hub is known by its commit, and its files are those of the local hub cache.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WHOLE: Final = 64 * 2**20
"""Files up to this size are hashed whole."""
BLOCK: Final = 2**20
BLOCKS: Final = 64

WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")
"""What weights end in, the preferred form first."""
MODEL_FILES: Final = (*WEIGHTS, ".json", ".txt", ".model", ".jinja")
"""What the files of a model that decide on its vectors end in."""

PATTERNS: Final = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""What of a hub model is downloaded."""
FALLBACK: Final = (*PATTERNS, "*.bin")
"""What is downloaded of one that has no weights in the preferred form."""

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


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide on its vectors, sorted."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in MODEL_FILES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not {"onnx", "openvino"} & set(path.relative_to(folder).parts)
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


def read_json(path: Path) -> Any:
    """What a JSON file of a model says.

    Raises:
        InputError: If it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", file=path) from None


def hub_folder(
    repository: str,
    needed: Sequence[str],
    patterns: Sequence[str] = PATTERNS,
    fallback: Sequence[str] = FALLBACK,
    instead: str = "-o model=FOLDER",
) -> Path:
    """The folder of a hub model in the local cache; its name is the commit.

    What is there is used as it is, without asking the hub. Otherwise it is downloaded.

    Args:
        repository: ``ORGANISATION/NAME``.
        needed: What must be there, as patterns of files; of patterns separated by ``|`` one is
            enough, for example ``config.json`` and ``model*.safetensors|pytorch_model*.bin``.
        patterns: The files to download.
        fallback: The files to download if that does not make it complete.
        instead: How a user names files that lie elsewhere.

    Raises:
        InputError: If it is neither here nor to be had; the message says which file goes where.
        MissingExtraError: If ``huggingface_hub`` is not installed.
    """
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise MissingExtraError(f"the model {repository!r} of a hub", "hf") from error
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        if _complete(folder, needed):
            return folder
    except errors.HFValidationError:
        remedy = "an existing folder, or ORGANISATION/NAME of a hub"
        raise InputError(f"there is no model {repository!r}", remedy=remedy) from None
    except OSError:
        pass  # nothing of it is here
    # What its HTTP library raises is no OSError; which library that is depends on its version.
    broken_connection: type[Exception] = getattr(errors, "HTTPError", OSError)
    for wanted in (patterns, fallback):
        try:
            # This asks what there is before it downloads, and so fails at once where there is no
            # network; asking for a single file is tried again for half a minute.
            folder = Path(snapshot_download(repository, allow_patterns=list(wanted)))
        except errors.HfHubHTTPError as error:
            reason = " ".join(str(error).split("\n")[0].split())
            raise _not_here(repository, needed, f"the hub refuses it ({reason})", instead) from None
        except (OSError, RuntimeError, broken_connection):
            raise _not_here(repository, needed, "the hub cannot be reached", instead) from None
        if _complete(folder, needed):
            return folder
    raise _not_here(repository, needed, "the hub does not have them", instead)


def hub_revision(repository: str, folder: Path) -> str:
    """What identifies a hub model that is in the local cache: its name and commit."""
    return f"{repository}@{folder.name}"


def _complete(folder: Path, needed: Sequence[str]) -> bool:
    return all(
        any(path.is_file() for pattern in group.split("|") for path in folder.glob(pattern))
        for group in needed
    ) and all(
        (index.parent / name).is_file()
        for index in folder.glob("*.index.json")
        for name in set(read_json(index).get("weight_map", {}).values())
    )


def _not_here(repository: str, needed: Sequence[str], why: str, instead: str) -> InputError:
    files = " and ".join(
        " or ".join(pattern.removeprefix("**/") for pattern in group.split("|")) for group in needed
    )
    return InputError(
        f"not all files of {repository!r} are on this machine, and {why}",
        remedy=f"needed: {files}; if you have them, name them: {instead}; else, where there is a "
        f"network, run `hf download {repository}`, and copy the folder "
        f"models--{repository.replace('/', '--')} of its hub cache into {_cache()} here",
    )


def _cache() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)
