"""What a training configuration says, section by section."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - msgspec reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_train.config.yaml_tree import Origin

SCHEMA_VERSION: Final = 1

Stage = Literal["sft", "grpo"]
STAGES: Final[tuple[Stage, ...]] = ("sft", "grpo")

Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file."""


class ModelSection(_Section, frozen=True):
    """The model that is trained.

    Attributes:
        path: A folder, or a name on the hub.
        dtype: Precision of the computation; ``auto``: see :mod:`ffr_train.config.precision`.
        attention: Implementation; ``auto``: flash attention where it is installed, else SDPA.
        kernels: Whether to put in the fused kernels of liger-kernel; ``auto``: on a GPU, if it is
            installed.
        max_pixels: Larger images are shrunk to this by the processor.
        min_pixels: Smaller ones are enlarged; ``None`` is the processor's own bound.
        freeze_vision: Whether the vision tower stays as it is; its merger is part of it.
        trust_remote_code: Whether code that comes with the model may run.
    """

    path: str
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "auto"
    kernels: bool | Literal["auto"] = "auto"
    max_pixels: Positive = 602_112
    min_pixels: Positive | None = None
    freeze_vision: bool = True
    trust_remote_code: bool = False


class LoraSection(_Section, frozen=True):
    """Low-rank adapters.

    Attributes:
        r: Their rank.
        alpha: Their scale is alpha / r.
        dropout: On their input.
        target: ``language`` is all linear layers of the language model; else the ends of module
            names as a list, or one regular expression for whole names.
        stages: Which stages train adapters; the others train all weights of the language part.
    """

    r: Positive = 8
    alpha: Annotated[float, Meta(gt=0)] = 32
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    target: str | list[str] = "language"
    stages: list[Stage] = msgspec.field(default_factory=lambda: ["sft", "grpo"])


class SftSection(_Section, frozen=True):
    """Supervised fine-tuning.

    Attributes:
        data: What ``ffr train data --stage sft`` wrote.
        out: Where checkpoints, logs and the result go.
        trainer: Fields of ``trl.SFTConfig``.
    """

    data: Path
    out: Path
    trainer: dict[str, Any] = msgspec.field(default_factory=dict)


class RewardSection(_Section, frozen=True):
    """What an answer is paid.

    Attributes:
        profile: ``fixed``, ``paper`` or ``released``.
        weights: In place of the profile's.
        terms: To log besides those that have weight.
    """

    profile: str = "fixed"
    weights: dict[str, Annotated[float, Meta(ge=0)]] = msgspec.field(default_factory=dict)
    terms: list[str] = msgspec.field(default_factory=list)


class CurriculumSection(_Section, frozen=True):
    """The order of the samples.

    Attributes:
        difficulty: What ``ffr train difficulty`` wrote; ``None`` is the order of the data,
            shuffled.
        rule: By which its levels must have been assigned.
        replay: Share of the easier pools that each stage sees again.
        seed: Of what is drawn.
    """

    difficulty: Path | None = None
    rule: Literal["eq4", "released"] = "eq4"
    replay: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: Natural = 0


class GrpoSection(_Section, frozen=True):
    """Reinforcement learning with GRPO.

    Attributes:
        data: What ``ffr train data --stage grpo`` wrote.
        out: Where checkpoints, logs and the result go.
        start: The adapter or model to start from; ``None`` is the model itself.
        reward: What an answer is paid.
        curriculum: The order of the samples.
        pilot: What ``ffr train pilot`` wrote; samples that it does not keep are left out.
        trainer: Fields of ``trl.GRPOConfig``.
    """

    data: Path
    out: Path
    start: Path | None = None
    reward: RewardSection = RewardSection()
    curriculum: CurriculumSection = CurriculumSection()
    pilot: Path | None = None
    trainer: dict[str, Any] = msgspec.field(default_factory=dict)


class EvaluationSection(_Section, frozen=True):
    """Figures on held-out samples while training.

    Attributes:
        benchmark: A folder, or a bundled benchmark by name; ``None`` is no evaluation.
        split: Its samples are asked.
        every: Steps between two evaluations; 0 is only at the end.
        samples: At most so many, drawn once; ``None`` is all.
        batch_size: Samples at a time.
        max_new_tokens: Of an answer.
    """

    benchmark: str | None = None
    split: str = "validation"
    every: Natural = 200
    samples: Positive | None = 200
    batch_size: Positive = 8
    max_new_tokens: Positive = 256


class Document(_Section, frozen=True):
    """The whole file."""

    schema_version: int
    trl: str
    model: ModelSection
    lora: LoraSection | None = LoraSection()
    sft: SftSection | None = None
    grpo: GrpoSection | None = None
    evaluation: EvaluationSection | None = None


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A configuration that was read; paths in it are absolute.

    Attributes:
        file: Where it was read.
        trl: The minor version of the trainer that it was written for.
        model: The model that is trained.
        lora: Its adapters; ``None`` trains all weights of the language part.
        sft: Supervised fine-tuning, if the file has it.
        grpo: Reinforcement learning, if the file has it.
        evaluation: Figures while training; ``None`` is none.
        origins: The place of each key in the file, or the override that set it.
    """

    file: Path
    trl: str
    model: ModelSection
    lora: LoraSection | None
    sft: SftSection | None
    grpo: GrpoSection | None
    evaluation: EvaluationSection | None
    origins: Mapping[tuple[str, ...], Origin] = field(repr=False, compare=False)

    def stage(self, name: Stage) -> SftSection | GrpoSection:
        """The section of a stage.

        Raises:
            InputError: If the file has none.
        """
        section = self.sft if name == "sft" else self.grpo
        if section is None:
            remedy = "add it; `ffr train init` writes a file that has both stages"
            raise InputError(f"has no section {name!r}", file=self.file, remedy=remedy)
        return section

    def lora_of(self, stage: Stage) -> LoraSection | None:
        """The adapters of a stage; ``None`` where it trains all weights of the language part."""
        return None if self.lora is None or stage not in self.lora.stages else self.lora

    def problem(self, field: str, message: str, remedy: str | None = None) -> InputError:
        """An error that names the line of a field, such as ``grpo.start``, or its override."""
        return problem_at(self.origins, self.file, tuple(field.split(".")), message, remedy)

    def to_dict(self) -> dict[str, Any]:
        """All settings with their defaults as plain data, for a record of a run."""
        sections = ("model", "lora", "sft", "grpo", "evaluation")
        values = {name: getattr(self, name) for name in sections}
        plain = msgspec.to_builtins(values, enc_hook=str)
        return {"schema_version": SCHEMA_VERSION, "trl": self.trl, **plain}


def problem_at(
    origins: Mapping[tuple[str, ...], Origin],
    file: Path,
    path: tuple[str, ...],
    message: str,
    remedy: str | None,
) -> InputError:
    """An error at a key, or where it is absent at the nearest section around it."""
    known = path
    while known and known not in origins:
        known = known[:-1]
    origin = origins.get(known)
    if origin is not None and origin.override is not None:
        message = f"{message} (override {origin.override!r})"
    line = None if origin is None else origin.line
    return InputError(message, file=file, line=line, field=".".join(path) or None, remedy=remedy)


def shown_value(value: Any) -> str:
    """A value as a message names it."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
