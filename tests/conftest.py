"""Shared by all tests: ways to call ``ffr``, a benchmark with known figures, and file builders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import (
    BenchmarkWriter,
    DialogueRecord,
    ImageRecord,
    InfoRecord,
    QueryRecord,
    TurnRecord,
)
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, answer_text, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("shared") and not (SHARED / "data").is_dir():
        pytest.skip(f"the development data is not at {SHARED}")


@dataclass(frozen=True)
class Result:
    """What a call of ``ffr`` came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """``ffr`` in this process; ``cli(…)`` must end well, ``cli.refused(…)`` with exit code 2."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def run(self, *args: object) -> Result:
        from ffr_eval.cli.main import main

        self._capfd.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["ffr", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capfd.readouterr()
        assert "Traceback" not in captured.err
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, captured.out, captured.err)

    def __call__(self, *args: object) -> Result:
        result = self.run(*args)
        assert result.code == 0, result.err
        return result

    def refused(self, *args: object) -> str:
        """What standard error says; nothing else was printed."""
        result = self.run(*args)
        assert (result.code, result.out) == (2, "")
        return result.err


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capfd)


@pytest.fixture
def ffr() -> Callable[..., Result]:
    """``ffr`` in a process of its own."""

    def run(*args: object, cwd: Path | None = None, **env: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "ffr_eval", *map(os.fspath, map(_text, args))],
            capture_output=True,
            encoding="utf-8",
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes a JSON Lines file; an item that is text is written as it is."""

    def write(records: Iterable[Any], name: str = "file.jsonl", end: str = "\n") -> Path:
        lines = [item if isinstance(item, str) else json.dumps(item) for item in records]
        path = tmp_path / name
        path.write_bytes("".join(line + end for line in lines).encode())
        return path

    return write


@pytest.fixture
def lengths(tmp_path: Path) -> Path:
    """A benchmark of a short, a medium and a long dialogue.

    ``a`` has 10 turns and images 0 and 1, ``b`` has 40 turns and no image, ``c`` has 70 turns and
    image 0. Split ``test`` has ``a#0`` (multimodal), ``a#1`` (negative), ``b#0`` (utterance) and
    ``c#0`` (image); split ``dev`` has ``c#1`` (utterance).
    """
    with BenchmarkWriter(tmp_path / "lengths", InfoRecord(name="lengths")) as writer:
        for name, n_turns, n_images in (("a", 10, 2), ("b", 40, 0), ("c", 70, 1)):
            turns = tuple(
                TurnRecord(i, "S", f"text {name} {i}", (i,) if i < n_images else ())
                for i in range(n_turns)
            )
            writer.add_dialogue(
                DialogueRecord(name, turns, tuple(ImageRecord(i) for i in range(n_images)), "en")
            )
        writer.add_query(QueryRecord("a#0", "a", "both", (1, 2), (0,)))
        writer.add_query(QueryRecord("a#1", "a", "nothing", (), ()))
        writer.add_query(QueryRecord("b#0", "b", "some turns", (3, 4, 5), ()))
        writer.add_query(QueryRecord("c#0", "c", "a picture", (), (0,)))
        writer.add_query(QueryRecord("c#1", "c", "the end", (69,), (), "dev"))
    return tmp_path / "lengths"


@pytest.fixture
def inference() -> Callable[..., dict[str, Any]]:
    """Makes a record of ms-swift inference output."""
    return inference_record


def inference_record(
    response: str | None,
    gold: tuple[Sequence[int], Sequence[int]] = ((1, 2), ()),
    *,
    dialogue_id: str = "d",
    query: str = "q",
    utts: Iterable[int] = range(5),
    images: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """A record whose prompt marks the utterances, and one image id for each path."""
    lines = [f"{mark(UTT_ID, i)} S: text" for i in utts]
    shown = [f"{mark(IMG_ID, i)}<image>" for i in range(len(images))]
    text = "\n".join([f"Find it. {mark(QUERY, query)}", *lines, *shown])
    return {
        "response": response,
        "labels": answer_text(*gold),
        "messages": [{"role": "user", "content": text}],
        "images": [{"bytes": None, "path": path} for path in images],
        "dialogue_id": dialogue_id,
        "logprobs": None,
        **more,
    }
