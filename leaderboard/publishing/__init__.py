"""Publishing: run folders become a site of tables, figures and raw outputs; ``ffr publish``.

Everything is computed once, here; the app only reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ffr_eval.uncertainty import Resampling
    from leaderboard.site.manifest import Manifest

__all__ = ["publish"]


def publish(
    runs: Sequence[Path],
    site: Path,
    *,
    hidden_gold: Sequence[str] = (),
    resampling: Resampling | None = None,
    workers: int = 1,
    prune: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Manifest:
    """Publish run folders into a site, which is made or brought up to date.

    Args:
        runs: Run folders, or folders that hold some, up to two levels deep.
        site: The folder of the site.
        hidden_gold: Benchmarks ``BENCH[:split]`` of whose runs only aggregates become public. What
            was hidden once stays so.
        resampling: How uncertainty is computed; by default as the site was, or as ``ffr compare``.
        workers: Processes.
        prune: Remove runs from the site that are not given; otherwise they are kept.
        progress: Called with what is being done, how much of it is, and how much there is.

    Raises:
        InputError: If there is no run that can be scored, a benchmark to be hidden is of no run, or
            the folder is something else than a site.
        FfrError: If the site cannot be written.
    """
    from leaderboard.publishing.publication import publish_site  # heavy: the CLI starts light

    return publish_site(
        runs,
        site,
        hidden_gold=hidden_gold,
        resampling=resampling,
        workers=workers,
        prune=prune,
        progress=progress,
    ).manifest
