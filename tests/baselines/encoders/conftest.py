"""Photographs, and a tiny CLIP that open_clip reads like any other."""

from __future__ import annotations

import os

# Other things run beside the tests; with one thread each, all of them are faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image


@pytest.fixture(scope="session")
def tiny_open_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny CLIP."""
    from tests.checkpoints.open_clip import build

    return build(tmp_path_factory.mktemp("tiny_open_clip"))


@pytest.fixture(scope="session")
def photographs() -> dict[str, Image]:
    """Real photographs, in colour, that come with scikit-learn and scikit-image."""
    import skimage.data
    from PIL import Image
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    found = {
        Path(name).stem: Image.fromarray(array)
        for name, array in zip(samples.filenames, samples.images, strict=True)
    }
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        found[name] = Image.fromarray(getattr(skimage.data, name)())
    return found


@pytest.fixture
def offline_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """An empty hub cache and no network; the function puts a model into the cache."""
    import huggingface_hub
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert str(cache) == huggingface_hub.constants.HF_HUB_CACHE

    def add(repository: str, *files: Path, commit: str = "0123456789" * 4) -> Path:
        home = cache / f"models--{repository.replace('/', '--')}"
        folder = home / "snapshots" / commit
        folder.mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(commit)
        for file in files:
            (folder / file.name).symlink_to(file.resolve())
        return folder

    return add


@pytest.fixture
def modules_after() -> Callable[[str], set[str]]:
    """The modules that another interpreter has imported after some code."""

    def run(code: str, *arguments: Any) -> set[str]:
        script = f"import sys\n{code}\nprint('\\n' + ' '.join(sys.modules))"
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return set(done.stdout.splitlines()[-1].split())

    return run
