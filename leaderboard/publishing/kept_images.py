"""Images that a site has kept: a benchmark may come back as a copy without its image files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from leaderboard.publishing.images import PublishedImage
from leaderboard.publishing.parquet import load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ffr_eval.benchmark import Benchmark
    from leaderboard.publishing.store import Store

KeptImages = dict[tuple[str, int], PublishedImage]
"""By the dialogue and the number of the image."""


def has_images(root: Path | None, paths: Iterable[str | None]) -> bool:
    """Whether at least one of some image files is in a folder."""
    return root is not None and any(path is not None and _is_file(root, path) for path in paths)


def lacks_images(benchmark: Benchmark) -> bool:
    """Whether a benchmark names image files, and none of them is in its folder."""
    paths = [path for path in benchmark.dialogues.path if path is not None]
    return bool(paths) and not has_images(benchmark.root, paths)


def kept_images(store: Store, content_hash: str) -> KeptImages:
    """The images of a benchmark that the site has, from all parts that were made of it."""
    found: KeptImages = {}
    for path in sorted(store.part("dialogues", "").glob("*/dialogues.parquet")):
        table = load(path, ["hash", "dialogue_id", "images"])
        for row in table.filter(pc.equal(table["hash"], content_hash)).to_pylist():
            for image in row["images"]:
                name = image["sha256"]
                if name is not None and (store.images / f"{name}.webp").is_file():
                    kept = PublishedImage(name, image["width"], image["height"])
                    found[row["dialogue_id"], image["img_id"]] = kept
    return found


def _is_file(root: Path, path: str) -> bool:
    try:
        return (root / path).is_file()
    except (OSError, ValueError):
        return False
