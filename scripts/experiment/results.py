"""What came of it: figures of every model and the differences between them."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from experiment.plan import DIFFICULTY, PROTOCOLS, steps_of
from experiment.sizes import REWARDS, START
from experiment.steps import seconds_of
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiment.sizes import Arm, Size

RESULTS: Final = "results.json"
HEADLINE: Final = "micro.joint.f1"
KINDS: Final = ("multimodal", "utterance", "image", "negative")
_PACKAGES: Final = ("trl", "transformers", "torch")
_FIGURES: Final = (HEADLINE, "micro.utterance.f1", "micro.image.f1", "macro.joint.f1")


def collect(folder: Path, name: str, size: Size, arms: Sequence[Arm], seed: int) -> dict[str, Any]:
    """All figures, and ``results.json``."""
    seconds = seconds_of(folder)
    difficulty = [_json_line(line) for line in _lines(folder / DIFFICULTY)]
    found = {
        "size": name,
        "seed": seed,
        "machine": machine(),
        "seconds": seconds,
        "minutes": round(sum(seconds.values()) / 60, 1),
        "levels": dict(Counter(line["level"] for line in difficulty)),
        "steps": steps_of(folder, size),
        "replay": size.replay,
        "prompts_a_step": size.grpo["per_device_train_batch_size"] // size.grpo["num_generations"],
        "sft": {"held_out": _held_out(folder / "sft")},
        "models": {
            START: {"title": "SFT, the start of all", **_scores(folder, START)},
            **{arm.name: _arm(folder, arm) for arm in arms},
        },
        "pairs": {protocol: _compared(folder, protocol)["pairs"] for protocol in PROTOCOLS},
        "floors": _compared(folder, "strict")["floors"],
    }
    with replacing(folder / RESULTS) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def machine() -> dict[str, Any]:
    """On what it ran."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "device": device,
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "1"),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _arm(folder: Path, arm: Arm) -> dict[str, Any]:
    out = folder / "arms" / arm.name
    history = json.loads((out / "trainer_state.json").read_bytes())["log_history"]
    reward = REWARDS[arm.reward]
    curve = [
        {
            "step": entry["step"],
            "reward": entry["reward"],
            "share": entry["reward"] / reward.most,
            "flat": entry["frac_reward_zero_std"],
            "tokens": entry["completions/mean_length"],
        }
        for entry in history
        if "reward" in entry
    ]
    return {
        "title": arm.title,
        "reward": arm.reward,
        "curriculum": arm.curriculum,
        "most": reward.most,
        "curve": curve,
        "held_out": _held_out(out),
        **_scores(folder, arm.name),
    }


def _held_out(out: Path) -> list[dict[str, Any]]:
    lines = [_json_line(line) for line in _lines(out / "evaluation.jsonl")]
    return [
        {
            "step": line["step"],
            **{
                protocol: {
                    "value": line[protocol][HEADLINE],
                    "ci95": line[protocol]["ci95"][HEADLINE],
                }
                for protocol in PROTOCOLS
            },
        }
        for line in lines
    ]


def _scores(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        scores = json.loads((folder / "scores" / f"{name}-{protocol}.json").read_bytes())
        found[protocol] = {
            "n_samples": scores["n_samples"],
            "n_dialogues": scores["n_dialogues"],
            "outcomes": {what: n for what, n in scores["outcomes"].items() if n},
            **{figure: _at(scores, figure) for figure in _FIGURES},
            "exact": scores["metrics"].get("exact"),
            "ci95": {figure: scores["ci95"].get(figure) for figure in _FIGURES},
            "kinds": {
                kind: {
                    "n_samples": group["n_samples"],
                    "macro.joint.f1": group["macro"]["joint"]["f1"],
                }
                for kind, group in scores["groups"]["kind"].items()
            },
        }
    return found


def _compared(folder: Path, protocol: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (folder / "scores" / f"compare-{protocol}.json").read_bytes()
    )
    return found


def _at(scores: Any, figure: str) -> Any:
    for part in figure.split("."):
        scores = scores[part]
    return scores


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _json_line(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found
