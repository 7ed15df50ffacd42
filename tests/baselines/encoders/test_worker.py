"""Encoders in another interpreter: the same vectors, nothing lost, plain errors, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.encoders import remote
from baselines.encoders.encoder import Item
from baselines.encoders.registry import make_encoder
from baselines.encoders.remote import RemoteEncoder
from baselines.encoders.running import open_encoder
from baselines.machine import Machine
from ffr_eval.embeddings.keys import Role
from ffr_eval.errors import FfrError, InputError
from tests.baselines.encoders.odd_encoder import Demanding, Odd, OddOptions
from tests.baselines.encoders.samples import TEXTS, picture
from tests.checkpoints import qwen2_vl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from baselines.encoders.encoder import Encoder

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an interpreter of a shell script."""

    def write(script: str) -> Path:
        path = tmp_path / "bin" / "python"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def python(interpreter: Callable[[str], Path]) -> Path:
    """This interpreter as another one, in which the odd encoder is installed."""
    return interpreter(f'PYTHONPATH="$PYTHONPATH:{_ROOT}" exec {sys.executable} "$@"')


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary folders and workers are gone after each test."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield
    assert list(temporary.glob("ffr-encoder-*")) == []


@pytest.fixture
def odd(python: Path) -> Encoder:
    return Odd(OddOptions(), Machine(python=python))


def test_the_same_vectors_as_in_this_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = qwen2_vl.build(tmp_path / "checkpoint")
    picture(90, 60).save(tmp_path / "image.png")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    items = [
        *(Item(text) for text in TEXTS),
        *(Item(text, role=Role.QUERY) for text in TEXTS),
        Item("half of a pair: \ud83d"),
        Item("a line\r\nand\u2028others\x00"),
        Item("the cat " * 100),
        Item(images=(Path("image.png"),)),
        Item(images=(tmp_path / "damaged.png",)),
        Item("both", (tmp_path / "image.png", Path("image.png"))),
    ]
    found = []
    finished: list[list[int]] = []
    for other in (None, Path(sys.executable)):
        options = {"min_image_tokens": 4, "max_length": 70}
        machine = Machine(batch_size=4, python=other)
        encoder = make_encoder(f"gme:{folder}", options, machine)
        finished.append([])
        with open_encoder(encoder) as encode:
            assert (encode.dimension, encode.device, encode.max_tokens) == (64, "cpu", 70)
            found.append(encode(items, finished[-1].append))
            assert encode([]).vectors.shape == (0, 64)
    here, there = found
    assert np.allclose(here.vectors, there.vectors, atol=1e-6)
    assert there.vectors.dtype == np.float32
    assert np.abs(there.vectors).max(axis=1).astype(bool).sum() == len(items) - 1
    assert here.failures == there.failures
    assert here.failures[len(items) - 2][0] == "unreadable"
    assert here.cut == there.cut
    assert here.cut[12] > 100
    assert finished[0] == finished[1]
    assert sum(finished[0]) == len(items)


def test_what_libraries_print_does_no_harm(odd: Encoder) -> None:
    with open_encoder(odd) as encode:
        finished: list[int] = []
        encoded = encode([Item("print this"), Item("aaa")], finished.append)
    assert encoded.vectors.tolist() == [[10, 2], [3, 3]]
    assert finished == [2]


def test_a_worker_that_is_killed(odd: Encoder) -> None:
    with open_encoder(odd) as encode:
        with pytest.raises(FfrError) as failed:
            encode([Item("die")])
        assert "was killed by signal 9" in str(failed.value)
        assert "the last words of the library" in str(failed.value)
        assert not isinstance(failed.value, InputError)
        with pytest.raises(FfrError, match="was killed by signal 9"):
            encode([Item("and again")])


def test_a_worker_that_breaks(odd: Encoder) -> None:
    with (
        pytest.raises(FfrError, match=r"(?s)ended with exit code 1:.*nobody expects this"),
        open_encoder(odd) as encode,
    ):
        encode([Item("raise")])


def test_an_encoder_that_fails(odd: Encoder) -> None:
    with (
        pytest.raises(FfrError, match=r"^the encoder fails on purpose$"),
        open_encoder(odd) as encode,
    ):
        encode([Item("fail")])


def test_input_that_is_wrong_there_is_wrong_here(python: Path) -> None:
    with pytest.raises(InputError) as refused:
        RemoteEncoder(Odd(OddOptions(refused=True), Machine(python=python)))
    problem = refused.value.problem
    assert (problem.message, problem.file, problem.remedy) == (
        "no such weights",
        "odd.bin",
        "look elsewhere",
    )


def test_packages_that_are_missing_there(python: Path) -> None:
    with pytest.raises(InputError) as refused:
        RemoteEncoder(Demanding(OddOptions(), Machine(python=python)))
    assert "not installed: package_that_nobody_has, PIL_too" in str(refused.value)
    assert f"{python} -m pip install package_that_nobody_has PIL_too" in str(refused.value)


def test_an_environment_with_nothing_in_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    with pytest.raises(InputError) as refused:
        RemoteEncoder(Odd(OddOptions(), Machine(python=python)))
    assert f"{python} -m pip install numpy" in str(refused.value)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("""echo '{"python": "3.9.18"}'""", r"is Python 3\.9\.18\n  → .* Python 3\.11 or newer"),
        ("echo hello", r"is no Python interpreter: it answers 'hello'"),
        ("echo 7", r"is no Python interpreter: it answers '7'"),
    ],
)
def test_an_interpreter_of_another_kind(
    interpreter: Callable[[str], Path], script: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RemoteEncoder(Odd(OddOptions(), Machine(python=interpreter(script))))


def test_an_interpreter_that_says_nothing(interpreter: Callable[[str], Path]) -> None:
    python = interpreter("echo broken >&2; exit 3")
    with pytest.raises(FfrError, match=r"(?s)ended with exit code 3:\n  broken"):
        RemoteEncoder(Odd(OddOptions(), Machine(python=python)))


def test_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    (tmp_path / "text.sh").write_text("no program")
    (tmp_path / "text.sh").chmod(0o755)
    for name, reason in (
        ("absent", "there is no such file"),
        (".", "it is a folder"),
        ("text", "it cannot be run"),
        ("text.sh", "Exec format error"),
    ):
        with pytest.raises(InputError, match=reason) as refused:
            RemoteEncoder(Odd(OddOptions(), Machine(python=tmp_path / name)))
        assert "→ give the python of an environment" in str(refused.value)


def test_a_worker_at_work_is_ended_at_once(odd: Encoder, tmp_path: Path) -> None:
    began = time.monotonic()
    with RemoteEncoder(odd) as encoder:
        pid = _pid(encoder, tmp_path)
        encoder._send({"items": [_item("sleep 60")], "batch_size": 1, "out": "unused"})
        assert _alive(pid)
    assert time.monotonic() - began < 20
    assert not _alive(pid)


def test_a_worker_never_outlives_its_parent(python: Path, tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from baselines.encoders.encoder import Item
        from baselines.machine import Machine
        from baselines.encoders.running import open_encoder
        from tests.baselines.encoders.odd_encoder import Odd, OddOptions
        with open_encoder(Odd(OddOptions(), Machine(python=Path({str(python)!r})))) as encode:
            encode([Item("pid {tmp_path / "pid"}")])
            encode([Item("sleep 60")])
    """
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=environment)
    _until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
    worker = int((tmp_path / "pid").read_text())
    time.sleep(0.2)  # it is asleep by now
    assert _alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not _alive(worker))
    _until(lambda: not list((tmp_path / "temporary").glob("ffr-encoder-*")))


def test_the_heavy_packages_are_needed_there_alone(tmp_path: Path) -> None:
    """They cannot be imported here, and the encoder runs all the same."""
    folder = qwen2_vl.build(tmp_path / "checkpoint")
    program = f"""
        import sys
        from pathlib import Path
        for name in ("torch", "torchvision", "transformers", "tokenizers", "PIL", "safetensors",
                     "huggingface_hub"):
            sys.modules[name] = None
        from baselines.encoders.encoder import Item
        from baselines.machine import Machine
        from baselines.encoders.registry import make_encoder
        from baselines.encoders.running import open_encoder
        machine = Machine(python=Path({sys.executable!r}))
        encoder = make_encoder({f"gme:{folder}"!r}, {{"min_image_tokens": "4"}}, machine)
        print(encoder.describe().id)
        with open_encoder(encoder) as encode:
            print(encode([Item("a")]).vectors.shape)
    """
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    here = make_encoder(f"gme:{folder}", {"min_image_tokens": 4}).describe().id
    assert done.stdout.splitlines() == [here, "(1, 64)"], done.stderr


def test_the_other_interpreter_gets_our_packages_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: Callable[[str], Path]
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    python = interpreter(
        f'ls "$PYTHONPATH" > {tmp_path / "lent"}\n'
        f'PYTHONPATH="$PYTHONPATH:{_ROOT}" exec {sys.executable} "$@"'
    )
    with RemoteEncoder(Odd(OddOptions(), Machine(python=python))) as encoder:
        assert encoder.encode_items([Item("aa")]).vectors.tolist() == [[2, 2]]
    assert (tmp_path / "lent").read_text().split() == sorted(remote.LENT)


@pytest.mark.slow
def test_an_environment_of_its_own(tmp_path: Path) -> None:
    """Only NumPy and the encoder's package are there: neither msgspec nor click."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "numpy", "pillow", "wordllama"]
    subprocess.run(install, check=True)
    # It came with something else, and is not needed.
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "click"], check=True)
    probe = "from importlib.util import find_spec as f; print(f('msgspec'), f('click'), f('rich'))"
    found = subprocess.run([python, "-c", probe], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["None"] * 3
    items = [Item(text) for text in ("the cat sleeps", "rain on the window", "a train")]
    vectors = []
    for other in (None, python):
        with open_encoder(make_encoder("static", {}, Machine(python=other))) as encode:
            vectors.append(encode(items).vectors)
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    heavy = make_encoder(f"gme:{qwen2_vl.build(tmp_path / 'gme')}", {}, Machine(python=python))
    with pytest.raises(InputError, match=rf"{python} -m pip install torch torchvision transf"):
        RemoteEncoder(heavy)


def _item(text: str) -> dict[str, Any]:
    return {"text": text, "images": [], "role": "passage"}


def _pid(encoder: RemoteEncoder, folder: Path) -> int:
    encoder.encode_items([Item(f"pid {folder / 'pid'}")])
    return int((folder / "pid").read_text())


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
