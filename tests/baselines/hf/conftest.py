"""Tiny checkpoints of the real classes, pictures, requests, and a way to complete them."""

from __future__ import annotations

import os

# Other things run beside the tests; with one thread each, all of them are faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.generative.chat import ChatRequest, Completion, Message
from baselines.hf.engine import HfEngine
from baselines.hf.options import HfOptions
from baselines.machine import Machine
from baselines.session import Session
from ffr_eval.types import Image
from tests.checkpoints import build_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VISION = ("qwen2_vl", "qwen2_5_vl", "llava", "internvl")
SIZES = ((100, 80), (333, 150), (60, 200), (400, 300))
MAX_PIXELS = 16 * 28 * 28


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each tiny checkpoint, by name."""
    built = build_all(tmp_path_factory.mktemp("hf"), (*VISION, "qwen2_lm"))
    _enliven(built["qwen2_vl"])
    return built


def _enliven(folder: Path) -> None:
    """Make a model with tied embeddings say something else than its last token again."""
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "model.norm.weight"  # of the language model, as the release calls it
    signs = np.random.default_rng(0).choice([-0.1, 0.1], size=weights[name].shape)
    weights[name] = signs.astype(weights[name].dtype)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.fixture
def copied(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a checkpoint, to be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(checkpoints[name], tmp_path / f"copy-{name}"))

    return copy


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    """Images of several shapes, each with its file."""
    from PIL import Image as Picture

    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    made = []
    for number, (width, height) in enumerate(SIZES):
        file = folder / f"{number}.png"
        pixels = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
        Picture.fromarray(pixels).save(file)
        made.append(Image(number, file))
    return made


def request(
    number: int, *parts: str | Image, system: str | None = None, part: int = 0
) -> ChatRequest:
    """A request of one message, and perhaps a system message before it."""
    messages = (Message("user", tuple(parts)),)
    if system is not None:
        messages = (Message("system", (system,)), *messages)
    return ChatRequest(f"s{number}", part, messages, f"d{number}")


@pytest.fixture
def mixed(images: list[Image]) -> list[ChatRequest]:
    """Requests with 0, 1 and 3 images, short and long."""
    one, *more = images
    texts = ("the cat", " and ", " or ", "?")
    three = [item for pair in zip(texts, more, strict=False) for item in pair]
    return [
        request(0, "Hello."),
        request(1, "Look at ", one, ", please"),
        request(2, *three, "?", system="Be brief."),
        request(3, "word " * 60),
        request(4, "Shall we meet at the station?"),
    ]


def session_of(notes: list[str]) -> Session:
    """A session whose notes are appended to a list."""
    return Session(note=notes.append)


def make(model: Path | str, batch_size: int | None = None, **options: Any) -> HfEngine:
    """An engine on the processor, with options for small inputs."""
    options = {"max_tokens": 8, "max_pixels": MAX_PIXELS, **options}
    return HfEngine(HfOptions(model=str(model), **options), Machine("cpu", batch_size))


def complete(
    engine: HfEngine, requests: Iterable[ChatRequest], session: Session | None = None
) -> dict[str, Completion]:
    """The completions by sample."""
    done = engine.complete(iter(requests), session or Session())
    return {request.sample_id: completion for request, completion in done}


def loaded(engine: HfEngine) -> Any:
    """The model of transformers in an engine."""
    return engine._loaded(Session())._model  # tests look inside


def script(engine: HfEngine, tokens: list[int]) -> None:
    """Make the model write these tokens, whatever it reads."""
    import torch

    step = iter(tokens)

    def forced(module: Any, arguments: Any, logits: Any) -> Any:
        return torch.full_like(logits, -1.0).index_fill(-1, torch.tensor([next(step)]), 20.0)

    loaded(engine).get_output_embeddings().register_forward_hook(forced)
