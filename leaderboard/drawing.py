"""Draws a chart outside of a browser: ``python -m leaderboard.drawing svg < SPEC``.

A process of its own, because vl-convert keeps the interpreter's lock for as long as it draws: in
the server everybody would wait, and its memory would stay.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ffr_eval.errors import FfrError

if TYPE_CHECKING:
    from collections.abc import Mapping

Form: TypeAlias = Literal["png", "svg"]

VEGA_LITE: Final = "6.4"
PNG_SCALE: Final = 2
SECONDS: Final = 30

_one_at_a_time: Final = threading.Lock()


def draw(spec: Mapping[str, Any], form: Form) -> bytes:
    """The picture of a Vega-Lite spec that has its data in it.

    Raises:
        FfrError: If it cannot be drawn.
    """
    command = [sys.executable, "-P", "-m", "leaderboard.drawing", form]
    with _one_at_a_time:
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                command,
                input=json.dumps(spec).encode(),
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FfrError(f"the chart could not be drawn within {SECONDS} s") from None
    if done.returncode != 0:
        raise FfrError("the chart could not be drawn")
    return done.stdout


def main() -> None:
    """Draw what standard input holds to standard output."""
    import vl_convert

    spec = json.load(sys.stdin)
    options: dict[str, Any] = {"vl_version": VEGA_LITE, "allowed_base_urls": []}
    if sys.argv[1] == "png":
        picture: bytes = vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, **options)
    else:
        picture = vl_convert.vegalite_to_svg(spec, **options).encode()
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    main()
