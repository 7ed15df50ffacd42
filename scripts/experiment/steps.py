"""Steps of the experiment: done once, and not again when the same command line is given again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

DONE: Final = "steps"
LOGS: Final = "logs"
_TAIL: Final = 30


class StepError(Exception):
    """A step failed."""


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        name: Of its record.
        command: Arguments of ``ffr``, all paths relative to the folder of the experiment; or what
            it stands for in words, where there is a function.
        fresh: What is removed before it is done: left by a process that was killed.
        work: A function that does it, for what there is no command for.
    """

    name: str
    command: Sequence[str]
    fresh: Sequence[str] = ()
    work: Callable[[], None] | None = None

    @property
    def shown(self) -> str:
        """The command, for people."""
        if self.work is not None:
            return " ".join(self.command)
        return shlex.join(("ffr", *self.command))


def perform(step: Step, folder: Path) -> None:
    """Do a step, unless it was done.

    Raises:
        StepError: If the command fails, or the step was another one when it was done.
    """
    record = folder / DONE / f"{step.name}.json"
    if record.is_file():
        known = json.loads(record.read_bytes())
        if known["command"] != step.shown:
            raise StepError(
                f"{step.name} was done as\n  {known['command']}\nand is now\n  {step.shown}\n"
                "Choose another folder for --out."
            )
        return
    print(f"{time.strftime('%H:%M:%S')}  {step.shown}", flush=True)
    for name in step.fresh:
        remove(folder / name)
    start = time.perf_counter()
    if step.work is None:
        _run(step, folder)
    else:
        step.work()
    done = {"command": step.shown, "seconds": round(time.perf_counter() - start, 1)}
    record.parent.mkdir(exist_ok=True)
    with replacing(record) as temporary:
        temporary.write_text(json.dumps(done) + "\n", encoding="utf-8")


def seconds_of(folder: Path) -> dict[str, float]:
    """How long each step took that is done; of one that was killed, its last process only."""
    found: dict[str, Any] = {}
    for path in sorted((folder / DONE).glob("*.json")):
        found[path.stem] = json.loads(path.read_bytes())["seconds"]
    return found


def remove(path: Path) -> None:
    """Remove a file or folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(step: Step, folder: Path) -> None:
    log = folder / LOGS / f"{step.name}.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ffr_eval", *step.command]
    with log.open("ab") as stream:
        code = subprocess.run(  # noqa: S603 - our own command
            command, cwd=folder, env=_environment(), stdout=stream, stderr=stream, check=False
        ).returncode
    if code:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
        raise StepError(f"{step.shown}\nended with {code}; the last of {log}:\n{last}")


def _environment() -> Mapping[str, str]:
    """One thread unless the user says otherwise: small layers are not faster with more."""
    return {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **os.environ}
