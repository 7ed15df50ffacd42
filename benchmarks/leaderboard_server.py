"""``ffr board`` with a page more, which draws nothing, and with a record of its scripts.

``python -m benchmarks.leaderboard_server RECORD SITE [OPTION…]``: after each run of the script a
line with its seconds goes to RECORD, from its start to its last message. What Streamlit does
afterwards (it collects garbage) is not counted: it is the same for every page.
"""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path
from typing import Any, cast

EMPTY = "empty"


def main() -> None:
    """Start the board."""
    record = Path(sys.argv[1])
    _add_empty_page()
    _record_scripts(record)
    from leaderboard.cli import board

    sys.argv = ["ffr board", *sys.argv[2:]]
    board()


def _add_empty_page() -> None:
    from leaderboard import app
    from leaderboard.texts import LANGUAGES, catalog

    module = types.ModuleType(f"leaderboard.pages.{EMPTY}")
    cast("Any", module).page = lambda: None
    sys.modules[module.__name__] = module
    app.PAGES[EMPTY] = ":material/circle:"
    for language in LANGUAGES:
        cast("dict[str, str]", catalog(language))[f"app.{EMPTY}"] = EMPTY


def _record_scripts(record: Path) -> None:
    from streamlit.runtime.scriptrunner.script_runner import ScriptRunner

    runner = cast("Any", ScriptRunner)
    run, finished = runner._run_script, runner._on_script_finished
    began: dict[int, float] = {}

    def timed_run(self: object, *arguments: Any) -> None:
        began[id(self)] = time.perf_counter()
        run(self, *arguments)

    def timed_end(self: object, *arguments: Any) -> None:
        seconds = time.perf_counter() - began[id(self)]
        with record.open("a", encoding="ascii") as stream:
            stream.write(f"{seconds}\n")
        finished(self, *arguments)

    runner._run_script, runner._on_script_finished = timed_run, timed_end


if __name__ == "__main__":
    main()
