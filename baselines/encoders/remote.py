"""An encoder in another interpreter, used as if it were in this one.

The libraries of heavy models pin versions that do not go together, so that each may have an
environment of its own. A worker (:mod:`baselines.encoders.worker`) runs there as long as it is
needed. The two talk in JSON lines over its standard input and output; arrays go as ``.npy`` files
without pickle, in a temporary folder.

Request → answers:

* ``{"module", "class", "options", "device"}`` → ``{"loaded": {"dimension", "device", "dtype",
  "max_tokens"}}``. It is the first, and comes once.
* ``{"items": [{"text", "images", "role"}, …], "batch_size", "out": FILE}`` →
  ``{"progress": N}`` several times, then ``{"encoded": {"failures": [[PLACE, REASON, MESSAGE], …],
  "cut": [[PLACE, TOKENS], …]}}``, with the vectors in FILE.

The last answer of a worker may be ``{"input_error": {…}}``, ``{"error": MESSAGE}``,
``{"missing": [PACKAGE, …], "reason"}`` or ``{"python": VERSION}`` (too old). The worker ends when
its standard input does, so that it never outlives this process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np

from baselines.encoders.batches import Encoded
from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from baselines.encoders.encoder import Encoder, FloatArray, Item

LENT: Final = ("ffr_eval", "baselines")
"""The packages that are lent to the other interpreter."""
INSTALLS: Final = {"PIL": "pillow"}
"""What a package is installed as, where that is not its name."""
_OLDEST: Final = (3, 11)
_LAST_LINES: Final = 15
_PATIENCE: Final = 10.0

# Understood by any Python, and free of the current folder, which is first on the path with -c.
_START: Final = f"""
import json, sys
if sys.version_info < {_OLDEST}:
    print(json.dumps({{"python": sys.version.split()[0]}}))
    sys.exit(0)
sys.path[:] = [entry for entry in sys.path if entry]
try:
    import numpy
    from baselines.encoders.worker import main
except ImportError as error:
    print(json.dumps({{"missing": [error.name or str(error)], "reason": str(error)}}))
    sys.exit(0)
main(sys.argv[1])
"""


class RemoteEncoder:
    """An encoder in another interpreter; a context manager, at whose end the worker ends.

    Attributes:
        dimension: Of the vectors.
        device: Where it runs, as torch names it.
        dtype: Of the weights.
        max_tokens: Longer texts are cut; ``None`` for no limit.

    Args:
        encoder: The encoder; ``machine.python`` names the interpreter.

    Raises:
        InputError: If there is no such interpreter, a package is missing in it, or the encoder
            refuses its options there.
        FfrError: If the worker fails.
    """

    dimension: int
    device: str
    dtype: str
    max_tokens: int | None

    def __init__(self, encoder: Encoder) -> None:
        self._python = _interpreter(encoder.machine.python)
        self._folder = Path(tempfile.mkdtemp(prefix="ffr-encoder-"))
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._n_calls = 0
        try:
            self._process = self._start()
        except BaseException:  # Ctrl-C too: neither folder nor process is left behind
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            kind = type(encoder)
            self._send(
                {
                    "module": kind.__module__,
                    "class": kind.__qualname__,
                    "options": asdict(encoder.options),
                    "device": encoder.machine.device,
                }
            )
            loaded = self._answer()["loaded"]
        except BaseException:  # Ctrl-C too: neither folder nor process is left behind
            self.close()
            raise
        self.dimension, self.max_tokens = loaded["dimension"], loaded["max_tokens"]
        self.device, self.dtype = loaded["device"], loaded["dtype"]

    def encode_items(
        self,
        items: Sequence[Item],
        batch_size: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Encoded:
        """Encode items there; as :func:`baselines.encoders.batches.encode_items`.

        Raises:
            FfrError: If the worker fails or has died.
        """
        self._n_calls += 1
        out = self._folder / f"{self._n_calls}.npy"
        described = [
            {
                "text": item.text,
                "images": [os.path.abspath(path) for path in item.images],  # noqa: PTH100
                "role": item.role.value,
            }
            for item in items
        ]
        self._send({"items": described, "batch_size": batch_size, "out": str(out)})
        while "progress" in (answer := self._answer()):
            if progress is not None:
                progress(answer["progress"])
        encoded = answer["encoded"]
        return Encoded(
            self._array(out, len(items)),
            {place: (reason, message) for place, reason, message in encoded["failures"]},
            dict(encoded["cut"]),
        )

    def close(self) -> None:
        """End the worker, at once if it is at work; nothing of it is left."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # it is gone, and with it what was still to be sent
                stream.close()  # type: ignore[union-attr]
        self._wait()
        self._listener.join(_PATIENCE)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[str]:
        own = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
        environment = {name: value for name, value in os.environ.items() if name not in own}
        environment |= {
            "PYTHONPATH": str(_lend(self._folder / "lent")),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",
        }
        try:
            return subprocess.Popen(  # noqa: S603 - the interpreter that the user names
                [str(self._python), "-c", _START, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=environment,
            )
        except OSError as error:
            raise _not_python(self._python, error.strerror or str(error)) from None

    def _listen(self) -> None:
        """Keep the last lines of standard error, and keep its pipe empty."""
        stream = self._process.stderr
        if stream is not None:
            with stream:
                for line in stream:
                    if line.strip():
                        self._last_lines.append(line.rstrip())

    def _send(self, request: dict[str, Any]) -> None:
        stream: IO[str] = self._process.stdin  # type: ignore[assignment]
        with suppress(OSError, ValueError):  # gone: its last answer, or the want of one, says why
            stream.write(json.dumps(request) + "\n")
            stream.flush()

    def _answer(self) -> dict[str, Any]:
        """The next answer that is no complaint.

        Raises:
            InputError: If it is one about the input.
            FfrError: If it is another, or there is none.
        """
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._death(line) from None
        if not isinstance(answer, dict):
            raise self._death(line)
        if "input_error" in answer:
            raise InputError(**answer["input_error"])
        if "error" in answer:
            raise FfrError(answer["error"])
        if "missing" in answer:
            raise _lacking(self._python, answer["missing"], answer["reason"])
        if "python" in answer:
            oldest = ".".join(map(str, _OLDEST))
            raise InputError(
                f"{self._python} is Python {answer['python']}",
                field="--python",
                remedy=f"the interpreter of an environment with Python {oldest} or newer",
            )
        return answer

    def _death(self, line: str) -> FfrError:
        """The worker ended without a word, or said something else."""
        if line:
            return _not_python(self._python, f"it answers {line.strip()[:80]!r}")
        code = self._wait()
        self._listener.join(_PATIENCE)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        lines = "\n  ".join(self._last_lines) or "(it wrote nothing to standard error)"
        return FfrError(f"the encoder's process ({self._python}) {how}:\n  {lines}")

    def _wait(self) -> int:
        """Wait until the worker has ended, and end it if that takes long; its exit code."""
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _array(self, path: Path, n_items: int) -> FloatArray:
        vectors = np.load(path, allow_pickle=False)
        path.unlink()
        if vectors.dtype != np.float32 or vectors.shape != (n_items, self.dimension):
            raise FfrError(f"the encoder's process gave {vectors.dtype} of shape {vectors.shape}")
        return np.asarray(vectors, dtype=np.float32)


def _interpreter(python: Path | None) -> Path:
    if python is None:
        return Path(sys.executable)
    path = python.expanduser()
    found = shutil.which(path)
    if found is not None:
        # Not resolved: an environment's python is a link, and knows its place by its own path.
        return Path(os.path.abspath(found))  # noqa: PTH100
    if path.is_dir():
        raise _not_python(path, "it is a folder")
    raise _not_python(path, "it cannot be run" if path.exists() else "there is no such file")


def _not_python(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is no Python interpreter: {reason}",
        field="--python",
        remedy="give the python of an environment, for example /path/to/venv/bin/python",
    )


def _lacking(python: Path, missing: Sequence[str], reason: str) -> InputError:
    names = [name for item in missing for name in item.split(", ")]
    packages = " ".join(INSTALLS.get(name, name) for name in names)
    return InputError(
        f"{python} cannot import what the encoder needs: {reason}",
        field="--python",
        remedy=f"install it there: {python} -m pip install {packages}",
    )


def _lend(folder: Path) -> Path:
    """A folder that holds the packages the worker is lent, and nothing else of this environment."""
    folder.mkdir()
    for name in LENT:
        package = Path(sys.modules[name].__path__[0]).resolve()
        try:
            (folder / name).symlink_to(package, target_is_directory=True)
        except OSError:  # where links need a privilege
            shutil.copytree(package, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
