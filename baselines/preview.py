"""``ffr run --dry-run``: what a run would send and cost."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from baselines.model import create
from baselines.runner import learn, plan_run, prepare
from baselines.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from baselines.machine import Machine
    from baselines.model import Preview


def preview(
    model_name: str,
    options: Mapping[str, Any],
    benchmark: str | Path,
    split: str | None = None,
    limit: int | None = None,
    tune_on: str | None = None,
    *,
    machine: Machine | None = None,
    progress: bool = False,
    note: Callable[[str], None] = print,
) -> Preview:
    """What :func:`baselines.runner.run` with these arguments would send; nothing is asked.

    Raises:
        InputError: As :func:`baselines.runner.run`, or if the model sends no prompts.
        FfrError: If the model fails.
    """
    model = create(model_name, options, machine)
    with closing(model):
        data, _, rows = plan_run(model, benchmark, split, limit, tune_on, note)
        learns = tune_on is not None and model.learns
        tuning = data.rows(tune_on).tolist() if learns else []
        prepare(model, data, [*rows.tolist(), *tuning], progress, note)
        if tune_on is not None and learns:
            learn(model, data, tune_on, progress)
        return model.preview(data, rows, Session(note, progress=progress))
