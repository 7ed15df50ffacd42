"""Models of a hub: the files that are here or can be had, and the commit they are of.

Weights in a folder are known by their content (:mod:`ffr_eval.model_files`), those of a hub by
their commit; the files of the latter are those of the local hub cache.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

PATTERNS: Final = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""What of a hub model is downloaded."""
FALLBACK: Final = (*PATTERNS, "*.bin")
"""What is downloaded of one that has no weights in the preferred form."""


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
