"""The progress bar of long work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from baselines.embedding import progress
from baselines.embedding.progress import Bar

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def make(is_terminal: bool) -> None:
        monkeypatch.setattr(Console, "is_terminal", property(lambda _: is_terminal))
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")

    return make


@pytest.mark.parametrize(
    ("is_terminal", "after", "wanted", "shown"),
    [
        (True, 0.0, True, True),
        (False, 0.0, True, False),
        (True, 9.0, True, False),
        (True, 0.0, False, False),
    ],
)
def test_it_appears_on_a_terminal_once_it_takes_long(
    terminal: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    is_terminal: bool,
    after: float,
    wanted: bool,
    shown: bool,
) -> None:
    terminal(is_terminal)
    monkeypatch.setattr(progress, "_AFTER", after)
    with Bar("embedding [with] it", 30, wanted) as bar:
        bar.advance(10)
        bar.advance(20)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("embedding [with] it" in err, "30/30" in err, "/s" in err) == (shown, shown, shown)
