"""An encoder that does as its texts say; the tests of the worker run it in another interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.encoders.encoder import Encoder, LoadedEncoder
from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.encoders.encoder import FloatArray


@dataclass(frozen=True, slots=True)
class OddOptions:
    """Options."""

    model: str = "odd"
    dtype: str = "auto"
    refused: bool = False


class Odd(Encoder):
    """An encoder whose vectors are (length, number of vowels)."""

    name = "odd"
    requires = ()
    Options = OddOptions

    def describe(self) -> Any:
        raise NotImplementedError

    def load(self) -> LoadedEncoder:
        print("loading, says the library")  # noqa: T201
        if self.options.refused:
            raise InputError("no such weights", file="odd.bin", remedy="look elsewhere")
        return LoadedOdd()


class Demanding(Odd):
    """One that needs what nobody has."""

    requires = ("numpy", "package_that_nobody_has", "PIL_too")


class LoadedOdd(LoadedEncoder):
    """It is loaded."""

    dimension = 2
    device = "cpu"
    dtype = "float32"
    max_tokens = 100

    def lengths(self, texts: Sequence[str], role: Any) -> list[int]:
        return [len(text) for text in texts]

    def encode_texts(self, texts: Sequence[str], role: Any) -> FloatArray:
        for text in texts:
            _obey(text)
        rows = [(len(text), sum(text.count(vowel) for vowel in "aeiou")) for text in texts]
        return np.asarray(rows, dtype=np.float32)


def _obey(text: str) -> None:
    word, _, rest = text.partition(" ")
    if word == "print":
        print('{"progress": 7}', flush=True)  # noqa: T201
        os.write(1, b"native code writes too\n")
        subprocess.run([sys.executable, "-c", "print('a child as well')"], check=True)
    elif word == "die":
        sys.stderr.write("the last words of the library\n")
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "raise":
        raise KeyboardInterrupt("nobody expects this")
    elif word == "fail":
        raise FfrError("the encoder fails on purpose")
    elif word == "pid":
        with open(rest, "w") as stream:  # noqa: PTH123
            stream.write(str(os.getpid()))
    elif word == "sleep":
        time.sleep(float(rest))
