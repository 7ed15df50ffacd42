"""``ffr train``: data, configuration, training, curriculum, rewards, and files for trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ffr_eval.cli.groups import SuggestingGroup

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(SuggestingGroup):
    """A group whose commands are imported when they are used.

    Attributes:
        parts: The module of each command; the command has its name there.
    """

    def __init__(self, *args: Any, parts: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.parts = dict(parts or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted({*super().list_commands(ctx), *self.parts})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; ``None`` if there is none of that name."""
        from importlib import import_module

        if cmd_name not in self.parts:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(self.parts[cmd_name]), cmd_name)
        return command


@click.group(
    cls=LazyGroup,
    parts={
        name: f"ffr_train.cli.{name}"
        for name in (
            "data",
            "difficulty",
            "export",
            "grpo",
            "init",
            "merge",
            "pilot",
            "sft",
            "toy",
        )
    },
    epilog="""\b
Examples:
  ffr train init --recipe paper --out train.yaml
  ffr train data mldr --stage sft --model Qwen/Qwen2.5-VL-7B-Instruct --out data/sft
  ffr train sft train.yaml
  ffr train difficulty mldr --model Qwen/Qwen2.5-VL-7B-Instruct --adapter out/sft
  ffr train grpo train.yaml --resume
  ffr train rewards check ffr-sample
""",
)
def train() -> None:
    """Train a model: data, fine-tuning, curriculum, GRPO; and rewards for other trainers."""


@train.group(
    cls=LazyGroup,
    parts={
        "bandit": "ffr_train.cli.check",
        "check": "ffr_train.cli.check",
        "explain": "ffr_train.cli.explain",
        "score": "ffr_train.cli.score",
    },
    epilog="""\b
Examples:
  ffr train rewards score completions.jsonl --profile paper
  ffr train rewards explain --line 3 completions.jsonl
  ffr train rewards check ffr-sample
""",
)
def rewards() -> None:
    """Compute rewards, explain one, and see what a reward pays for."""
