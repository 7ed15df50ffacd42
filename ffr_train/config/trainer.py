"""The trainer's own settings: checked against its configuration classes, and completed."""

from __future__ import annotations

import dataclasses
import enum
import re
from functools import lru_cache
from importlib.util import find_spec
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin, get_type_hints

from ffr_eval.errors import MissingExtraError
from ffr_eval.plugins import nearest
from ffr_train.config.precision import precision
from ffr_train.config.reserved import gone, reserved
from ffr_train.config.schema import shown_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_eval.errors import InputError
    from ffr_train.config.schema import Stage, TrainConfig

_PACKAGES: Final = {
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Packages of the reporters that are checked, one of which each needs."""
_UNTYPED: Final = {"scale_rewards": {bool}}
"""What fields take besides what their annotation says."""
_WORDS: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
    NoneType: "null",
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """A field of the trainer: the plain types it takes, and its choices if it has some."""

    kinds: frozenset[type]
    choices: tuple[str, ...] = ()


def check_trainer(config: TrainConfig, stage: Stage) -> dict[str, Any]:
    """Check the ``trainer`` section of a stage and return its values in the trainer's types.

    Raises:
        InputError: If it has an unknown field, one that is set elsewhere, or a value of another
            type; or if it asks for a package that is not installed.
        MissingExtraError: If the trainer is not installed.
    """
    fields = _fields(stage)
    kept = reserved(stage)
    values: dict[str, Any] = {}
    for name, value in config.stage(stage).trainer.items():
        place = f"{stage}.trainer.{name}"
        if name in kept:
            why, remedy = kept[name]
            raise config.problem(place, f"may not be set here: {why}", remedy)
        if name not in fields:
            remedy = gone(name) or _nearest_field(name, stage, fields)
            message = f"trl.{_class_name(stage)} {config.trl} has no such field"
            raise config.problem(place, message, remedy)
        values[name] = _typed(config, place, fields[name], value)
    _check_reporters(config, stage, values.get("report_to"))
    _check_vllm(config, stage, values)
    return values


def trainer_arguments(config: TrainConfig, stage: Stage) -> dict[str, Any]:
    """The arguments for the trainer's configuration class: those of the file, and ours.

    Raises:
        InputError: As :func:`check_trainer`, or if the device cannot compute as is asked for.
        MissingExtraError: If the trainer is not installed.
    """
    given = check_trainer(config, stage)
    if "report_to" in given and given["report_to"] is None:
        given["report_to"] = "none"
    how = precision(config, stage)
    ours: dict[str, Any] = {
        "output_dir": str(config.stage(stage).out),
        "remove_unused_columns": False,
        "bf16": how.bf16,
        "fp16": how.fp16,
        "use_cpu": how.cpu,
    }
    defaults: dict[str, Any] = {"report_to": ["tensorboard"]}
    if how.cpu:  # memory is no concern there, and it costs time
        defaults["gradient_checkpointing"] = False
    if stage == "sft":
        ours |= {"max_length": None, "completion_only_loss": True}
    else:
        ours |= {"shuffle_dataset": False}
        # In tables; on the terminal they would cost as much as the training.
        defaults |= {"log_completions": True, "num_completions_to_print": 0}
    return {**defaults, **given, **ours}


def trainer_config(config: TrainConfig, stage: Stage, **more: Any) -> Any:
    """A ``trl.SFTConfig`` or ``trl.GRPOConfig``.

    Args:
        config: The configuration.
        stage: Of which stage.
        more: Further arguments, such as ``reward_weights``.

    Raises:
        InputError: As :func:`trainer_arguments`, or if the trainer refuses the values together.
        MissingExtraError: If the trainer is not installed.
    """
    arguments = trainer_arguments(config, stage) | more
    try:
        return _config_class(stage)(**arguments)
    except (ValueError, TypeError, NotImplementedError, OSError) as error:
        raise _refused(config, stage, error) from error


def _refused(config: TrainConfig, stage: Stage, error: Exception) -> InputError:
    """The error for what the trainer says, at the field that it names if the file sets it."""
    text = " ".join(str(error).split())
    named = re.findall(r"\w+", text)
    given = config.stage(stage).trainer
    field = next((name for name in named if name in given), None)
    place = f"{stage}.trainer" if field is None else f"{stage}.trainer.{field}"
    remedy = "change the values that it names"
    if stage == "grpo" and "generation_batch_size" in named:
        remedy = (
            "answers of a step are per_device_train_batch_size x gradient_accumulation_steps x"
            " GPUs: with fewer GPUs raise gradient_accumulation_steps"
        )
    return config.problem(place, f"the trainer says: {text}", remedy)


def _class_name(stage: Stage) -> str:
    return "SFTConfig" if stage == "sft" else "GRPOConfig"


def _config_class(stage: Stage) -> Any:
    if find_spec("trl") is None:
        raise MissingExtraError("training", "train")
    import trl

    return getattr(trl, _class_name(stage))


@lru_cache(maxsize=2)
def _fields(stage: Stage) -> dict[str, _Field]:
    kind = _config_class(stage)
    hints = get_type_hints(kind)
    return {
        field.name: _Field(
            frozenset(_kinds(hints[field.name]) | _UNTYPED.get(field.name, set())),
            tuple(field.metadata.get("choices", ())) or _choices(hints[field.name]),
        )
        for field in dataclasses.fields(kind)
        if field.init
    }


def _kinds(hint: Any) -> set[type]:
    """The plain types that an annotation allows."""
    origin = get_origin(hint)
    if hint is Any:
        return set(_WORDS)
    if origin is Literal:
        return {type(value) for value in get_args(hint)}
    if origin in (list, dict):
        return {origin}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {str}
    if isinstance(hint, type):
        return {hint} & set(_WORDS)
    return {kind for part in get_args(hint) for kind in _kinds(part)}


def _choices(hint: Any) -> tuple[str, ...]:
    kinds: list[Any] = [part for part in (hint, *get_args(hint)) if isinstance(part, enum.EnumMeta)]
    return tuple(str(member.value) for kind in kinds for member in kind)


def _typed(config: TrainConfig, place: str, field: _Field, value: Any) -> Any:
    """A value in a type of the field: whole numbers are numbers, and 1e3 is a whole one."""
    kinds = field.kinds
    origin = config.origins.get(tuple(place.split(".")))
    if isinstance(value, str) and str in kinds and field.choices and value not in field.choices:
        message = f"{value!r} is not one of its choices"
        raise config.problem(place, message, nearest(value, field.choices))
    if type(value) in kinds:
        return value
    if type(value) is int and float in kinds:
        return float(value)
    if type(value) is float and int in kinds and value.is_integer():
        return int(value)
    if (
        type(value) in (int, float)
        and str in kinds
        and origin is not None
        and origin.text is not None
    ):
        return origin.text
    wanted = " or ".join(_WORDS[kind] for kind in _WORDS if kind in kinds)
    shown = shown_value(value)
    remedy = "leave it out for the trainer's default" if value is None else "correct the value"
    raise config.problem(place, f"{shown} is not {wanted}", remedy)


def _nearest_field(name: str, stage: Stage, fields: Mapping[str, _Field]) -> str:
    """The nearest name only: a list of all would be long."""
    free = [field for field in fields if field not in reserved(stage)]
    suggestion = nearest(name, free).partition(" known: ")
    pointer = f"fields are those of trl.{_class_name(stage)}"
    return f"{suggestion[0]} {pointer}" if suggestion[1] else pointer


def _check_reporters(config: TrainConfig, stage: Stage, asked: Any) -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    place = f"{stage}.trainer.report_to"
    names = [asked] if isinstance(asked, str) else asked or []
    for name in names:
        if name in ("all", "none"):
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            remedy = nearest(str(name), [*INTEGRATION_TO_CALLBACK, "none"])
            raise config.problem(place, f"unknown reporter {name!r}", remedy)
        packages = _PACKAGES.get(name, ())
        if packages and not any(find_spec(package) for package in packages):
            remedy = f"pip install {packages[0]}, or take it out of report_to"
            raise config.problem(place, f"{packages[0]} is not installed", remedy)


def _check_vllm(config: TrainConfig, stage: Stage, values: Mapping[str, Any]) -> None:
    if values.get("use_vllm") and find_spec("vllm") is None:
        remedy = "pip install 'ffr-eval[vllm]', or set use_vllm: false"
        raise config.problem(f"{stage}.trainer.use_vllm", "vLLM is not installed", remedy)
