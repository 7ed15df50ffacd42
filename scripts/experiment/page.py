"""The generated part of docs/experiments.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from experiment.results import HEADLINE, KINDS
from experiment.sizes import SIZES, START

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BEGIN: Final = "<!-- written by scripts/training_experiment.py: from here -->"
END: Final = "<!-- written by scripts/training_experiment.py: to here -->"
_LEVELS: Final = ("easy", "medium", "confusing", "hard")
_SIGNIFICANT: Final = 0.05


def text_of(results: Mapping[str, Any]) -> str:
    """The tables of an experiment."""
    return "\n".join([*_setting(results), "", *_figures(results), "", *_pairs(results)]) + "\n"


def write_page(page: Path, text: str) -> None:
    """Put the text between the marks of the page, or at its end where there are none."""
    old = page.read_text(encoding="utf-8") if page.is_file() else "# Training experiments\n"
    before, begin, rest = old.partition(BEGIN)
    after = rest.partition(END)[2] if begin else ""
    before = before if begin else f"{before}\n"
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after or chr(10)}", encoding="utf-8")


def _setting(results: Mapping[str, Any]) -> Iterator[str]:
    machine, size = results["machine"], SIZES[results["size"]]
    strict = results["models"][START]["strict"]
    packages = ", ".join(f"{name} {machine[name]}" for name in ("torch", "transformers", "trl"))
    levels = ", ".join(f"{results['levels'].get(level, 0)} {level}" for level in _LEVELS)
    answers = results["prompts_a_step"] * size.grpo["num_generations"]
    parts = results["seconds"]
    grpo = [
        seconds
        for name, seconds in parts.items()
        if name.startswith("grpo-") and name != "grpo-data"
    ]
    yield (
        f"Size `{results['size']}`, seed {results['seed']}; {machine['device']}, "
        f"{machine['threads']} thread of {machine['cores']} cores; {packages}. "
        f"{results['minutes']} minutes in all: SFT {parts['sft'] / 60:.1f}, "
        f"an arm {min(grpo) / 60:.1f} to {max(grpo) / 60:.1f}."
    )
    yield ""
    yield (
        f"SFT: {size.sft['max_steps']} steps of {size.sft['per_device_train_batch_size']} samples. "
        f"GRPO: {results['steps']} steps of {results['prompts_a_step']} prompts and {answers} "
        f"answers, in every arm; replay {results['replay']:g}. Levels of its samples (Eq. 4): "
        f"{levels}. Test: {strict['n_samples']} queries on {strict['n_dialogues']} dialogues."
    )


def _figures(results: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "| model | strict F1 | official F1 | utterances | images | exact | "
        + " | ".join(KINDS)
        + " | reward, first → last tenth | equal groups |"
    )
    yield "|---|---|---|" + "---:|" * (3 + len(KINDS) + 2)
    for model in results["models"].values():
        strict, official = model["strict"], model["official"]
        kinds = [strict["kinds"].get(kind, {}).get("macro.joint.f1") for kind in KINDS]
        modalities = [strict[f"micro.{name}.f1"] for name in ("utterance", "image")]
        plain = [*modalities, strict["exact"], *kinds]
        cells = [model["title"], _with_interval(strict), _with_interval(official)]
        cells += [_shown(value) for value in plain]
        cells += list(_training(model)) if "curve" in model else ["–", "–"]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        "F1: micro, joint, with 95% intervals over dialogues; then strict only: micro F1 of each "
        "modality, share of answers that are exactly the gold. "
        "*multimodal* to *negative*: macro joint F1 of the queries whose gold has both, "
        "only utterances, only images, or nothing. *reward*: the mean, as a share of the sum "
        "of the weights; compare it within a row only. *equal groups*: share of prompts "
        "whose answers all earned the same, from which nothing is learnt."
    )


def _training(model: Mapping[str, Any]) -> tuple[str, str]:
    curve = model["curve"]
    tenth = max(1, len(curve) // 10)
    first, last = (
        sum(point["share"] for point in part) / len(part)
        for part in (curve[:tenth], curve[-tenth:])
    )
    flat = sum(point["flat"] for point in curve) / len(curve)
    return f"{first:.2f} → {last:.2f}", f"{flat:.0%}"


def _pairs(results: Mapping[str, Any]) -> Iterator[str]:
    names = {name: model["title"] for name, model in results["models"].items()}
    shown: list[tuple[str, str]] = []
    for protocol, pairs in results["pairs"].items():
        found = [
            _downwards(pair)
            for pair in pairs
            if pair["p_holm"] is not None and pair["p_holm"] <= _SIGNIFICANT
        ]
        found.sort(key=lambda pair: -pair[2])
        same = [(a, b) for a, b, *_ in found] == shown
        yield (
            f"**{protocol}:** {len(found)} of {len(pairs)} differences of {HEADLINE} are "
            f"significant (paired by dialogue, p Holm ≤ {_SIGNIFICANT})"
            + (", of the same pairs." if same and found else ":" if found else ".")
        )
        yield ""
        if not found or same:
            continue
        shown = [(a, b) for a, b, *_ in found]
        yield "| better | worse | difference | p Holm |"
        yield "|---|---|---|---:|"
        for a, b, delta, low, high, p in found:
            difference = f"{delta:+.3f} [{low:.3f}, {high:.3f}]"
            yield f"| {names[a]} | {names[b]} | {difference} | {p:.4f} |"
        yield ""


def _downwards(pair: Mapping[str, Any]) -> tuple[str, str, float, float, float, float]:
    """The better and the worse run, their difference with its interval, and p."""
    a, b = _run(pair["a"]), _run(pair["b"])
    delta, (low, high), p = pair["delta"], pair["ci95"], pair["p_holm"]
    return (b, a, -delta, -high, -low, p) if delta < 0 else (a, b, delta, low, high, p)


def _run(name: str) -> str:
    return name.rpartition("/")[2]


def _with_interval(scores: Mapping[str, Any]) -> str:
    interval = scores["ci95"][HEADLINE]
    shown = _shown(scores[HEADLINE])
    return shown if interval is None else f"{shown} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
