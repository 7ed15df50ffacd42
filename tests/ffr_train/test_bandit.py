"""``ffr train rewards bandit``: where training leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ffr_train.rewards import bandit
from ffr_train.rewards.bandit import METRICS, simulate, toy_stage
from ffr_train.rewards.laboratory import check, play, profiles_of, strict_f1

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

BANDIT = ("train", "rewards", "bandit")


def test_it_finds_the_arm_that_is_paid() -> None:
    total = np.zeros((3, 4, 10))
    total[:, 2] = 1.0
    history = bandit._train(total, 100, lambda _: None)
    assert history.shape == (3, 101, 4)
    assert history[:, 0] == pytest.approx(0.25)
    assert (history[:, -1, 2] > 0.95).all()
    assert history.sum(axis=2) == pytest.approx(1.0)


def test_what_is_not_paid_for_is_not_learned() -> None:
    equal = bandit._train(np.ones((2, 3, 5)), 50, lambda _: None)
    assert equal[:, -1] == pytest.approx(1 / 3)
    unknown = np.full((2, 3, 5), np.nan)
    assert bandit._train(unknown, 50, lambda _: None)[:, -1] == pytest.approx(1 / 3)


def test_advantages() -> None:
    reward = np.array([[0.0, 1.0, np.nan, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    found = bandit._advantages(reward)
    assert found[0] == pytest.approx([-1, 1, 0, 1, -1], abs=1e-3)
    assert (found[1] == 0).all()


def test_training_leads_where_the_reward_points(cli: Cli) -> None:
    """The paper's reward pays a weak model for silence; ours does not."""
    found = cli(*BANDIT, "ffr-sample", "--json", "-").json
    assert (found["steps"], found["seeds"], found["skill"]) == (200, 5, 0.3)
    paper, fixed = found["profiles"]["paper"], found["profiles"]["fixed"]
    for course in (paper, fixed):
        assert sum(course["final_arms"].values()) == pytest.approx(1)
        assert set(course["metrics"]) == set(METRICS)
        for series in course["metrics"].values():
            assert len(series["mean"]) == 201
            low, mean, high = (np.array(series[key]) for key in ("min", "mean", "max"))
            assert (low <= mean + 1e-12).all()
            assert (mean <= high + 1e-12).all()
    begin = fixed["metrics"]["strict_f1"]["mean"][0]
    assert paper["metrics"]["strict_f1"]["mean"][0] == begin
    assert paper["metrics"]["empty_rate"]["mean"][-1] > 0.9
    assert paper["metrics"]["strict_f1"]["mean"][-1] < 0.1 * begin
    assert fixed["metrics"]["empty_rate"]["mean"][-1] < 0.1
    assert fixed["metrics"]["strict_f1"]["mean"][-1] > begin
    assert fixed["honest_from"] < paper["honest_from"]


def test_hidden_metrics_are_those_of_the_arms() -> None:
    """An arm that is always chosen has the figures of its answers."""
    stage = toy_stage()
    played = bandit.arms(0.5)
    batch = stage.batch(play(stage, played, 0))
    n = len(stage.samples)
    hidden = bandit._Hidden.of(batch, (1, len(played), n))
    found = hidden.metrics(np.eye(len(played))[None])
    for arm, policy in enumerate(played):
        part = slice(arm * n, (arm + 1) * n)
        assert found["strict_f1"][0, arm] == pytest.approx(strict_f1(batch, part)), policy.name
    names = [policy.name for policy in played]
    assert found["empty_rate"][0, names.index("none")] == 1
    assert found["empty_rate"][0, names.index("garbage")] == 1
    assert found["size_ratio"][0, names.index("garbage")] == 0
    assert found["mcc"][0, names.index("select-all")] == 0


def test_seeds_decide_everything() -> None:
    stage = toy_stage()
    runs = [simulate(stage, profiles_of(["fixed"], {}), steps=20, seeds=2) for _ in range(2)]
    assert runs[0].to_dict() == runs[1].to_dict()
    one = simulate(stage, profiles_of(["fixed"], {}), steps=20, seeds=1)
    first = runs[0].profiles["fixed"].metrics["mcc"][0]
    assert one.profiles["fixed"].metrics["mcc"][0] == pytest.approx(first)


def test_sets_that_beat_the_gold() -> None:
    """Trap 3: order that ignores the gold lets a wrong set beat it; F1 alone and ours never do."""
    stage = toy_stage(noise=3.0)
    beaten = {}
    for name, weights in (
        ("released", {"format": 0.0}),
        ("paper", {"format": 0.0, "order": 0.0}),
        ("fixed", {"format": 0.0}),
    ):
        found = check(stage, profiles_of([name], weights)).profiles[name]
        beaten[name] = found.one_edit
    assert beaten["released"] is not None
    assert beaten["released"] > 0.2
    assert beaten["paper"] == beaten["fixed"] == 0


def test_the_terminal_and_the_figure(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "a.svg"
    result = cli(*BANDIT, "--toy", "--steps", "10", "--seeds", "2", "--plot", file)
    for text in ("profile", "strict F1", "released", "honesty pays from", "made-up"):
        assert text in result.out
    assert "strict F1 (micro, joint)" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "args", [["--toy", "--steps", "0"], ["--toy", "--skill", "2"], ["--toy", "--seeds", "0"], []]
)
def test_mistakes(cli: Cli, args: list[str]) -> None:
    assert cli.refused(*BANDIT, *args)
