"""The command ``ffr models``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from baselines.model import ModelInfo


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the models, what they need and their options.

    \b
    Examples:
      ffr models
      ffr models --json
    """  # noqa: D301 - click needs the backspace
    from baselines.model import registered_models

    infos = registered_models()
    if as_json:
        click.echo(json.dumps([_model_record(info) for info in infos], indent=2))
    else:
        _print_models(infos)


def _model_record(info: ModelInfo) -> dict[str, Any]:
    from dataclasses import asdict

    capabilities = None if info.capabilities is None else asdict(info.capabilities)
    return {
        "name": info.name,
        "capabilities": capabilities,
        "extra": info.extra,
        "installed": info.installed,
    }


def _print_models(infos: list[ModelInfo]) -> None:
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from baselines.generative.options import GenerativeOptions
    from baselines.selection import SelectionOptions

    shared = {
        answers: _texts(msgspec.to_builtins(kind()))
        for answers, kind in (("scores", SelectionOptions), ("text", GenerativeOptions))
    }
    models = Table(box=None, pad_edge=False)
    options = Table(box=None, pad_edge=False, show_header=False)
    for table, headings in (
        (models, ("model", "answers", "reads", "installed")),
        (options, ("model", "options")),
    ):
        for heading in headings:
            table.add_column(heading, overflow="fold", no_wrap=heading == "model")
    for info in infos:
        answers = info.capabilities.answers if info.capabilities else ""
        hint = f"no: pip install 'ffr-eval[{info.extra}]'" if info.extra else "no"
        models.add_row(info.name, answers, _reads(info), "yes" if info.installed else hint)
        common = shared.get(answers, {})
        own = {key: text for key, text in _texts(info.options).items() if common.get(key) != text}
        if own:
            options.add_row(info.name, _joined(own))
    for kind, common in shared.items():
        options.add_row(f"all with {kind}", _joined(common))
    console = Console(highlight=False, markup=False)
    console.print(models)
    console.print("\nOptions (-o KEY=VALUE) with their defaults:")
    console.print(options)


def _joined(options: Mapping[str, str]) -> str:
    return " ".join(f"{key}={text}" for key, text in options.items())


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    """The options as one would give them."""
    texts = {key: _value(value) for key, value in options.items()}
    return {key: f"'{text}'" if " " in text else text for key, text in texts.items()}


def _reads(info: ModelInfo) -> str:
    kept = info.capabilities
    if kept is None:
        return ""
    parts = {"text": kept.text, "images": kept.images, "captions": kept.captions}
    parts |= {"gold": kept.needs_gold, "tuning split": kept.needs_tuning}
    return ", ".join(name for name, wanted in parts.items() if wanted) or "nothing"


def _value(value: Any) -> str:
    return "" if value is None else json.dumps(value).strip('"')
