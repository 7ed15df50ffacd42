"""Shared by the tests of importers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.benchmark import Benchmark, read_benchmark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def imported(
    cli: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., tuple[Benchmark, list[str]]]:
    """Imports sources in the module's FORMAT through the CLI; the benchmark, and the notes."""

    def run(*sources: Path) -> tuple[Benchmark, list[str]]:
        out = tmp_path / "out"
        printed = cli("data", "import", request.module.FORMAT, *sources, "--out", out).out
        cli("data", "check", out)
        notes = [line.removeprefix("note: ") for line in printed.splitlines() if "note: " in line]
        return read_benchmark(out), notes

    return run


@pytest.fixture
def refused(cli: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Imports sources that are wrong; the message. Nothing is left behind."""

    def run(*sources: Path) -> str:
        out = tmp_path / "out"
        message: str = cli.refused("data", "import", request.module.FORMAT, *sources, "--out", out)
        assert not list(tmp_path.glob("*out*"))
        assert "→" in message
        return message

    return run
