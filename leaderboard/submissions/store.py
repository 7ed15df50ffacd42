"""Where submissions and their limits are kept: a folder in the state folder, for us alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from ffr_eval.errors import InputError
from ffr_eval.writing import cannot_write

FOLDER: Final = "submissions"
SALT: Final = "salt"
_BYTES: Final = 32


def submissions_folder(state: Path) -> Path:
    """The folder of a state folder, made if it is missing.

    Raises:
        InputError: If it cannot be made, or is a link to somewhere else.
    """
    folder = state / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    if folder.is_symlink():
        raise InputError("is a link", file=folder, remedy="make it a folder of the state folder")
    return folder


class Hasher:
    """Keyed hashes of who submits: nobody can go back from them without the salt.

    Args:
        folder: The folder of the submissions; its salt is made when it is first needed.

    Raises:
        InputError: If the salt cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._salt = _salt(folder)

    def of(self, what: str, *values: str) -> str:
        """The hash of some values.

        Args:
            what: What they are: equal values of different kinds have different hashes.
            values: Texts.
        """
        text = "\0".join((what, *values)).encode(errors="replace")
        return hmac.new(self._salt, text, hashlib.sha256).hexdigest()


def _salt(folder: Path) -> bytes:
    path = folder / SALT
    try:
        if not path.exists():
            _create(path)
        salt = path.read_bytes()
    except OSError as error:
        raise cannot_write(path, error) from None
    if len(salt) < _BYTES:
        remedy = "delete it: a new one is made, and today's limits begin anew"
        raise InputError(f"has {len(salt)} bytes, not {_BYTES}", file=path, remedy=remedy)
    return salt


def _create(path: Path) -> None:
    """Write a salt; of two that are written at once, the first one stays."""
    handle, name = tempfile.mkstemp(prefix=f".{SALT}-", dir=path.parent)  # mode 0600
    with os.fdopen(handle, "wb") as stream:
        stream.write(secrets.token_bytes(_BYTES))
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(name, path)  # unlike a renaming, it does not replace
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
