"""``ffr metrics``: what can be computed, by name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ffr_eval.cli.options import json_option

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path


@click.command(
    epilog="""\b
Examples:
  ffr metrics
  ffr metrics --json metrics.json
  ffr rank runs/* --metric "macro.utterance.tol_f1(1)"
""",
)
@json_option("the list")
def metrics(json_file: Path | None) -> None:
    """List the metrics and how they are named.

    A name is [AVERAGE.][MODALITY.]METRIC[(PARAMETER,…)], for example micro.joint.f1, exact or
    macro.utterance.tol_f1(1); the first average and modality of the list are meant where none is
    named.
    """
    from ffr_eval import plugins
    from ffr_eval.cli.output import write_report

    found = [_described(point) for point in plugins.registered(plugins.METRICS).values()]
    if str(json_file) != "-":
        _print(found)
    if json_file is not None:
        write_report(found, json_file)


def _described(point: EntryPoint) -> dict[str, Any]:
    """A metric as it stands in the JSON; ``error`` says why one cannot be loaded."""
    from ffr_eval.errors import FfrError
    from ffr_eval.metrics.named import metric_family

    package = point.dist.name if point.dist is not None else None
    try:
        family = metric_family(point.name)
    except FfrError as error:
        return {"name": point.name, "package": package, "error": str(error)}
    parameters = ",".join(parameter.name for parameter in family.parameters)
    shown = f"{point.name}({parameters})" if parameters else point.name
    return {
        "name": point.name,
        "full_name": f"{family.averages[0]}.{family.modalities[0]}.{shown}",
        "averages": list(family.averages),
        "modalities": list(family.modalities),
        "parameters": [asdict(parameter) for parameter in family.parameters],
        "better": family.better,
        "summary": family.summary,
        "package": package,
    }


def _print(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("metric", "averages", "modalities", "better", "what it is"):
        table.add_column(heading, overflow="fold")
    for metric in found:
        if "error" in metric:
            table.add_row(metric["name"], "", "", "", metric["error"])
            continue
        ours = metric["package"] in {None, "ffr-eval"}
        summary = metric["summary"] + ("" if ours else f" (of {metric['package']})")
        for parameter in metric["parameters"]:
            choices = ", ".join(parameter["choices"])
            summary += f"\n{parameter['name']}: {parameter['summary']}"
            summary += f" ({choices})" if choices else ""
        table.add_row(
            metric["full_name"].split(".", 2)[2],
            ", ".join(metric["averages"]),
            ", ".join(metric["modalities"]),
            metric["better"],
            summary,
        )
    console.print(table)
