"""Held-out samples that the model was not asked are not passed over in silence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ffr_train.training.evaluation import EvaluationCallback

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_samples_that_do_not_fit_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffr_train.training.evaluation.Asker", lambda *_: None)
    said: list[str] = []
    held: Any = SimpleNamespace(samples=range(7), section=None)
    processor: Any = None
    callback = EvaluationCallback(held, processor, tmp_path, said.append)
    callback._warn({"ok": 5, "empty": 1, "parse_error": 1})
    assert not said
    for _ in range(2):
        callback._warn({"context_overflow": 4, "request_error": 1, "ok": 2})
    assert [text.split(" held-out")[0] for text in said] == ["4 of 7", "1 of 7"]
    assert "do not fit" in said[0]
    assert "cannot be read" in said[1]
