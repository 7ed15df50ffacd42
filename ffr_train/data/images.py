"""Image files of training data: what the model's processor is given at inference, as files."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from ffr_eval.errors import InputError
from ffr_eval.image_reading import ImageProblem
from ffr_eval.importers.image_files import folder_name
from ffr_eval.picture_size import picture_of
from ffr_train.data.manifest import IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL.Image import Image as Picture

    from ffr_eval.picture_size import Fit
    from ffr_eval.types import Image

    Placed = tuple[str, int, Image, str]
    """Dialogue id, the dialogue's image id, the image, and a sample that shows it."""

_ORIENTATION: Final = 0x0112
_KEPT_AS_THEY_ARE: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
"""What every Pillow reads; files of other kinds are written anew."""
_AHEAD: Final = 8
"""Images in memory at once, for each thread."""


class UnusableImage(Exception):  # noqa: N818 - becomes an InputError where the sample is known
    """An image that cannot be used, and why."""

    def __init__(self, image: Image, problem: ImageProblem) -> None:
        super().__init__(problem.message)
        self.image = image
        self.problem = problem


def refused(sample_id: str, unusable: UnusableImage) -> InputError:
    """The error for an image that cannot be used."""
    image = unusable.image
    why = "it has no file"
    if image.file is not None:
        named = f"image {image.img_id} ({image.file.name}): "
        why = unusable.problem.message.removeprefix(named)
    return InputError(
        f"sample {sample_id!r}: image {image.img_id} cannot be used: {why}",
        file=image.file,
        field="images.path",
        remedy="restore the file (`ffr data check` lists all that is wrong with a benchmark), or"
        " take the sample out of the split",
    )


class ImageWriter:
    """Writes images below a folder, each once.

    Args:
        folder: Where ``images`` is made.
        fit: The sizes of images.
    """

    def __init__(self, folder: Path, fit: Fit) -> None:
        self._folder = folder
        self._fit = fit

    def write(
        self, wanted: Sequence[Placed], advance: Callable[[int], None]
    ) -> dict[tuple[str, int], str]:
        """Write images.

        Returns:
            The path of each image by dialogue id and image id, relative to the folder.

        Raises:
            InputError: If one cannot be used.
            OSError: If one cannot be written.
        """
        paths: dict[tuple[str, int], str] = {}
        n_threads = min(os.cpu_count() or 1, 8)
        with ThreadPoolExecutor(n_threads) as pool:
            for start in range(0, len(wanted), n_threads * _AHEAD):
                part = wanted[start : start + n_threads * _AHEAD]
                written = pool.map(self._one, part)
                paths.update((one[:2], path) for one, path in zip(part, written, strict=True))
                advance(len(part))
        return paths

    def _one(self, placed: Placed) -> str:
        dialogue_id, img_id, image, sample_id = placed
        stem = f"{IMAGES}/{folder_name(dialogue_id)}/{img_id}"
        try:
            picture = picture_of(image, self._fit)
            ending = _ending(image.file, picture) if image.file is not None else None
        except ImageProblem as problem:
            raise refused(sample_id, UnusableImage(image, problem)) from None
        target = self._folder / f"{stem}{ending or '.png'}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if ending is not None and image.file is not None:
            shutil.copyfile(image.file, target)
        else:
            picture.save(target, format="PNG")
        return f"{stem}{ending or '.png'}"


def _ending(file: Path, picture: Picture) -> str | None:
    """What the copy of a file ends in; ``None`` if it has to be written anew.

    A file is copied if whoever opens it sees the very picture.
    """
    from PIL import Image as Reader

    with Reader.open(file) as header:
        same = (
            header.mode == "RGB"
            and header.size == picture.size
            and "transparency" not in header.info
            and header.getexif().get(_ORIENTATION) is None
        )
        return _KEPT_AS_THEY_ARE.get(header.format or "") if same else None
