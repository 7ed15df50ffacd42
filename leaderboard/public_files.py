"""The files of a site that are served: images by the hash of their content, and downloads."""

from __future__ import annotations

import re
import stat
import threading
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from ffr_eval.errors import InputError
from leaderboard.http_headers import POLICY, SANDBOX
from leaderboard.site.manifest import MANIFEST, Manifest, read_manifest
from leaderboard.site.reader import Site
from leaderboard.site.schema import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

PUBLIC: Final = "public"
YEAR: Final = 365 * 24 * 3600
SECONDS_CACHED: Final = 300

_WAITS: Final = (0.0, 0.2)
"""Seconds before each try to open a site."""

_IMAGE: Final = re.compile(r"[0-9a-f]{64}\.webp")
_MEDIA_TYPES: Final = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".gz": "application/gzip",
}


class PublicFiles:
    """Serves what the manifest of a site lists below ``public``, and nothing else.

    The manifest is read anew when it has changed, as a site may be published again meanwhile.

    Args:
        site: The folder of the site.
    """

    def __init__(self, site: Path) -> None:
        self._site = site.resolve()
        self._stamp: tuple[int, ...] = ()
        self._names: frozenset[str] = frozenset()
        self._checking = threading.Lock()
        self._sound_at: tuple[tuple[int, ...] | None, ...] = ()
        self._damaged_at: tuple[tuple[int, ...] | None, ...] = ()

    def routes(self, base: str = "") -> list[Route]:
        """The routes, below a path that is empty or starts with ``/``."""
        return [
            Route(f"{base}/image/{{name}}", self.image),
            Route(f"{base}/data/{{name:path}}", self.data),
            Route(f"{base}/healthz", self.health),
        ]

    def image(self, request: Request) -> Response:
        """An image: ``/image/<sha256>.webp``. Its name says its content, so it never changes."""
        name: str = request.path_params["name"]
        if not _IMAGE.fullmatch(name):
            raise HTTPException(404)
        path, found = self._listed(f"{PUBLIC}/images/{name}")
        headers = {
            "Cache-Control": f"public, max-age={YEAR}, immutable",
            POLICY: SANDBOX,
        }
        return FileResponse(path, stat_result=found, media_type="image/webp", headers=headers)

    def data(self, request: Request) -> Response:
        """A download: ``/data/runs.parquet``, ``/data/raw/<run>.jsonl.gz``."""
        name: str = request.path_params["name"]
        if name.startswith("images/"):
            raise HTTPException(404)
        path, found = self._listed(f"{PUBLIC}/{name}")
        headers = {
            "Cache-Control": f"public, max-age={SECONDS_CACHED}",
            POLICY: SANDBOX,
        }
        return FileResponse(
            path,
            stat_result=found,
            media_type=_MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
            filename=path.name,  # makes it a download
            headers=headers,
        )

    def health(self, _: Request) -> Response:
        """Whether the site can be opened: 200 or 503."""
        headers = {"Cache-Control": "no-store"}
        try:
            self._manifest_names()
        except HTTPException:
            return JSONResponse({"status": "no site"}, 503, headers)
        if not self._is_sound():
            return JSONResponse({"status": "damaged site"}, 503, headers)
        return JSONResponse({"status": "ok"}, headers=headers)

    def _is_sound(self) -> bool:
        """Whether the tables are those of the manifest; compared anew when a file has changed."""
        with self._checking:
            for wait in _WAITS:
                time.sleep(wait)  # a publish may be putting its files in place
                stamps = self._stamps()
                if stamps in (self._sound_at, self._damaged_at):
                    return stamps == self._sound_at
                try:
                    Site(self._site)
                except (OSError, InputError):
                    continue
                self._sound_at = stamps
                return True
            self._damaged_at = stamps
            return False

    def _stamps(self) -> tuple[tuple[int, ...] | None, ...]:
        """What changes when the manifest or a table does."""
        names = (MANIFEST, *(table.file for table in TABLES.values()))
        return tuple(_stamp(self._site / name) for name in names)

    def _listed(self, name: str) -> tuple[Path, Any]:
        """The path of a file in the manifest, and what it is.

        Raises:
            HTTPException: 404 if it is not listed, not there, or reached through a link.
        """
        path = self._site / PurePosixPath(name)
        try:
            found = path.lstat() if name in self._manifest_names() else None
            if found is None or not stat.S_ISREG(found.st_mode) or path.resolve() != path:
                raise HTTPException(404)
        except (OSError, ValueError):
            raise HTTPException(404) from None
        return path, found

    def _manifest_names(self) -> frozenset[str]:
        """The names of the public files.

        Raises:
            HTTPException: 503 if the manifest cannot be read.
        """
        try:
            now = (self._site / MANIFEST).stat()
            stamp = (now.st_mtime_ns, now.st_size, now.st_ino)
            if stamp != self._stamp:
                manifest: Manifest = read_manifest(self._site)
                prefix = f"{PUBLIC}/"
                self._names = frozenset(name for name in manifest.files if name.startswith(prefix))
                self._stamp = stamp
        except (OSError, InputError):
            raise HTTPException(503) from None
        return self._names


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
