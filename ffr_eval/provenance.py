"""What a computation ran with: versions of packages, the state of the checkout."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_GIT_SECONDS: Final = 10


class GitRecord(msgspec.Struct, frozen=True):
    """The checkout that the code ran from; ``dirty``: tracked files were changed."""

    commit: str
    dirty: bool


def package_versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, of FFR, NumPy and the packages with these import names."""
    versions = {"python": platform.python_version()}
    distributions: Mapping[str, list[str]] | None = None
    for name in dict.fromkeys(["ffr-eval", "numpy", *packages]):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            # The map from import names is slow to make, so only if a name is not its package's.
            distributions = distributions or packages_distributions()
            for distribution in dict.fromkeys(distributions.get(name, ())):
                versions[distribution] = version(distribution)
    return versions


def git_record(folder: Path) -> GitRecord | None:
    """The state of the git checkout that tracks ``folder``; ``None`` outside of one."""
    program = shutil.which("git")
    if program is None:
        return None

    def git(*arguments: str) -> str:
        command = [program, "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not merely installed below a checkout
        commit = git("rev-parse", "HEAD")
        return GitRecord(commit, dirty=bool(git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None
