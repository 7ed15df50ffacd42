"""``ffr metrics``, as a user calls it."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from ffr_eval import plugins
from ffr_eval.metrics import named
from ffr_eval.metrics.metric import MetricFamily, mean_of
from ffr_eval.metrics.named import metric_families, parse_metric

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _build(average: str, modality: str) -> Any:
    return mean_of(lambda evaluation: evaluation.table.turns.astype(float))


MEAN_TURNS = MetricFamily("mean_turns", "turns of a dialogue, [bold]on average[/]", _build)


def test_the_list_has_every_metric(cli: Any, tmp_path: Path) -> None:
    listed = cli("metrics", "--json", "-").json
    assert [metric["name"] for metric in listed] == list(plugins.registered(plugins.METRICS))
    families = {family.name: family for family in metric_families()}
    for metric in listed:
        family = families[metric["name"]]
        assert metric["averages"] == list(family.averages)
        assert metric["modalities"] == list(family.modalities)
        assert (metric["better"], metric["summary"]) == (family.better, family.summary)
        assert metric["package"] == "ffr-eval"
        assert [parameter["name"] for parameter in metric["parameters"]] == [
            parameter.name for parameter in family.parameters
        ]
        if not family.parameters:
            assert parse_metric(metric["name"]).name == metric["full_name"]
    by_name = {metric["name"]: metric for metric in listed}
    assert by_name["f_beta"]["full_name"] == "micro.joint.f_beta(beta)"
    assert "parse_error" in by_name["outcome_rate"]["parameters"][0]["choices"]
    cli("metrics", "--json", tmp_path / "metrics.json")
    assert (tmp_path / "metrics.json").exists()


def test_the_table_says_how_metrics_are_named(cli: Any) -> None:
    shown = cli("metrics").out
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "micro, macro   joint, utterance, image   higher" in lines["f1"]
    assert "utterance" in lines["tol_f1(k)"]
    assert "lower" in lines["over_retrieval"]
    assert "k: turns that a prediction may be off" in shown
    assert "(of " not in shown


def test_metrics_of_other_packages_are_listed_as_theirs(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    package: Any = ModuleType("ffr_extras")
    package.MEAN_TURNS = MEAN_TURNS
    monkeypatch.setitem(sys.modules, "ffr_extras", package)
    more: Any = EntryPoint("mean_turns", "ffr_extras:MEAN_TURNS", plugins.METRICS)
    vars(more)["dist"] = SimpleNamespace(name="ffr-extras")  # as of an installed package
    broken = EntryPoint("zap", "no_such_module:ZAP", plugins.METRICS)

    def with_more(group: str) -> list[EntryPoint]:
        points = list(entry_points(group=group))
        return [*points, more, broken] if group == plugins.METRICS else points

    monkeypatch.setattr(plugins, "entry_points", with_more)
    monkeypatch.setattr(named, "_registered", lambda: plugins.registered(plugins.METRICS))
    listed = {metric["name"]: metric for metric in cli("metrics", "--json", "-").json}
    assert listed["mean_turns"]["package"] == "ffr-extras"
    assert listed["mean_turns"]["full_name"] == "micro.joint.mean_turns"
    assert listed["zap"]["package"] is None
    assert "cannot be loaded" in listed["zap"]["error"]
    shown = cli("metrics").out
    assert "turns of a dialogue, [bold]on average[/] (of ffr-extras)" in shown
    assert "the metric 'zap' cannot be loaded" in shown
