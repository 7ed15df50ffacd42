"""What the server was started with, for the script that Streamlit runs: by the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

VARIABLE: Final = "FFR_BOARD"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a board.

    Attributes:
        site: The published site.
        state: Where votes and submissions are kept; ``None``: nothing is accepted.
        runs: The run folders that the site is published from, if it is for local use.
        places: The folders in which these were found, on a board for this machine alone: they can
            be read again from the page.
        public_url: Where the board is reached from outside, for permalinks in exports.
    """

    site: str
    state: str | None = None
    runs: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    public_url: str = ""

    @property
    def site_path(self) -> Path:
        """The site's folder."""
        return Path(self.site)

    @property
    def state_path(self) -> Path | None:
        """The state's folder."""
        return None if self.state is None else Path(self.state)


def store(settings: Settings) -> None:
    """Give the settings to this process and those that it starts."""
    os.environ[VARIABLE] = msgspec.json.encode(settings).decode()


def settings() -> Settings:
    """The settings of this process.

    Raises:
        KeyError: If there are none: the script is started by ``ffr board``.
    """
    return msgspec.json.decode(os.environ[VARIABLE], type=Settings)
