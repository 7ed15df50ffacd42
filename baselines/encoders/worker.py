"""An encoder at work in another interpreter: reads requests as JSON lines, answers as JSON lines.

:mod:`baselines.encoders.remote` starts it and describes the messages. Only the encoder's own
packages and NumPy need be installed in the interpreter; of this toolkit, ``ffr_eval`` and
``baselines`` are lent to it, and what they import here is in the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from queue import Queue
from typing import IO, TYPE_CHECKING, Any

from ffr_eval.errors import FfrError, InputError, MissingExtraError

if TYPE_CHECKING:
    from baselines.encoders.encoder import Encoder, LoadedEncoder


def main(folder: str) -> None:
    """Answer requests until there are no more.

    Args:
        folder: A temporary folder for arrays. It is removed when the other side is gone, which
            cannot do it itself if it was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side decides what Ctrl-C means
    answers = _claim_stdout()
    requests = _requests(sys.stdin, Path(folder))
    code = 1
    try:
        _work(requests, answers)
    except InputError as error:
        problem = error.problem
        names = ("message", "file", "line", "field", "remedy")
        _send(answers, input_error={name: getattr(problem, name) for name in names})
        code = 0
    except (MissingExtraError, ImportError) as error:
        traceback.print_exc()
        cause = error.__cause__ if isinstance(error, MissingExtraError) else error
        name = cause.name if isinstance(cause, ImportError) else None
        _send(answers, missing=[name or str(cause)], reason=str(cause))
        code = 0
    except FfrError as error:
        _send(answers, error=str(error))
        code = 0
    except BaseException:  # whatever it is, the other side must hear of it
        traceback.print_exc()  # the other side shows the last lines
        raise
    finally:
        sys.stderr.flush()
        # Not the usual end: the thread still waits for requests, and would disturb it.
        os._exit(code)


def _work(requests: Queue[dict[str, Any]], answers: IO[str]) -> None:
    loaded = _load(requests.get())
    known = {name: getattr(loaded, name) for name in ("dimension", "device", "dtype", "max_tokens")}
    _send(answers, loaded=known)
    while True:
        _encode(loaded, requests.get(), answers)


def _claim_stdout() -> IO[str]:
    """A stream to the other side; what else is written to standard output goes to standard error.

    That holds for native code too, as the file descriptor is redirected.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


def _requests(stream: IO[str], folder: Path) -> Queue[dict[str, Any]]:
    """The requests, as they come; at the end of the stream this process ends, even at work."""
    queue: Queue[dict[str, Any]] = Queue()

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                queue.put(json.loads(line))
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return queue


def _load(request: dict[str, Any]) -> LoadedEncoder:
    from baselines.machine import Machine

    # Which ones the encoder needs is written in its module, which imports none of them.
    kind: type[Encoder] = getattr(import_module(request["module"]), request["class"])
    missing = [name for name in kind.requires if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"not installed: {', '.join(missing)}", name=", ".join(missing))
    options = kind.Options(**request["options"])
    return kind(options, Machine(device=request["device"])).load()


def _encode(loaded: LoadedEncoder, request: dict[str, Any], answers: IO[str]) -> None:
    import numpy as np

    from baselines.encoders.batches import encode_items
    from baselines.encoders.encoder import Item
    from ffr_eval.embeddings.keys import Role

    encoded = encode_items(
        loaded,
        [
            Item(item["text"], tuple(map(Path, item["images"])), Role(item["role"]))
            for item in request["items"]
        ],
        request["batch_size"],
        lambda n: _send(answers, progress=n),
    )
    np.save(request["out"], encoded.vectors, allow_pickle=False)
    _send(
        answers,
        encoded={
            "failures": [[place, *failure] for place, failure in encoded.failures.items()],
            "cut": list(encoded.cut.items()),
        },
    )


def _send(answers: IO[str], **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
