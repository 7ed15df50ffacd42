"""Reading a training configuration: strict, with file, line, field and remedy in every error."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from ffr_eval.errors import InputError
from ffr_eval.plugins import nearest
from ffr_train.config.schema import (
    SCHEMA_VERSION,
    Document,
    LoraSection,
    TrainConfig,
    problem_at,
    shown_value,
)
from ffr_train.config.yaml_tree import apply_override, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ffr_train.config.schema import GrpoSection
    from ffr_train.config.yaml_tree import Place, Tree

TRL: Final = "1.16"
"""The minor version of the trainer that this package is written for."""

_HUB_NAME: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_PLAIN_NAME: Final = re.compile(r"[\w-][\w.-]*")


def read_config(path: Path | str, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read and check a training configuration; nothing heavy is imported.

    Fields of the trainer are checked by :func:`ffr_train.config.trainer.check_trainer`.

    Args:
        path: The YAML file.
        overrides: Values in place of the file's, such as ``grpo.trainer.learning_rate=1e-5``; the
            value is YAML, and a relative path in it is relative to the file like the others.

    Raises:
        InputError: If anything in it is unknown, missing or wrong, or it was written for another
            version of the trainer; names file, line or override, field and remedy.
        MissingExtraError: If PyYAML is not installed.
    """
    file = Path(path)
    tree = read_tree(file)
    for override in overrides:
        apply_override(tree, override, file)
    return _Conversion(file, tree).config()


class _Conversion:
    """One document on its way to a configuration."""

    def __init__(self, file: Path, tree: Tree) -> None:
        self._file = file
        self._tree = tree
        self._base = file.absolute().parent

    def config(self) -> TrainConfig:
        self._check_versions()
        found = self._section(Document, self._tree.values, ())
        assert isinstance(found, Document)  # noqa: S101 - for the type checker
        model = msgspec.structs.replace(found.model, path=self._model_path(found.model.path))
        evaluation = found.evaluation
        if evaluation is not None and evaluation.benchmark is None:
            evaluation = None
        if evaluation is not None and evaluation.benchmark is not None:
            name = self._benchmark(evaluation.benchmark)
            evaluation = msgspec.structs.replace(evaluation, benchmark=name)
        config = TrainConfig(
            file=self._file,
            trl=found.trl,
            model=model,
            lora=found.lora,
            sft=found.sft,
            grpo=found.grpo,
            evaluation=evaluation,
            origins=self._tree.origins,
        )
        _check_values(config)
        return config

    def _problem(self, place: Place, message: str, remedy: str | None) -> InputError:
        return problem_at(self._tree.origins, self._file, place, message, remedy)

    def _check_versions(self) -> None:
        """Before anything else: another version may know other keys."""
        values = self._tree.values
        if "schema_version" in values and values["schema_version"] != SCHEMA_VERSION:
            message = f"{values['schema_version']!r} is not a version that is known here"
            remedy = f"write a new file with `ffr train init`; known: {SCHEMA_VERSION}"
            raise self._problem(("schema_version",), message, remedy)
        if values.get("trl") is None:
            return
        wanted = self._plain(("trl",), values["trl"])
        if not isinstance(wanted, str) or not re.fullmatch(r"\d+\.\d+", wanted):
            message = f"{values['trl']!r} is no minor version"
            raise self._problem(("trl",), message, f'write trl: "{TRL}"')
        try:
            installed = ".".join(version("trl").split(".")[:2])
        except PackageNotFoundError:
            installed = TRL  # whatever trains says what is missing
        if wanted != installed:
            message = f"written for trl {wanted}, but trl {installed} is installed"
            remedy = (
                f"install it (pip install 'trl=={wanted}.*')"
                if wanted == TRL
                else f"write a new file with `ffr train init` and carry your settings over (this"
                f" version of ffr trains with trl {TRL})"
            )
            raise self._problem(("trl",), message, remedy)

    def _section(self, kind: type[msgspec.Struct], value: Any, place: Place) -> msgspec.Struct:
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        if value is None:  # all its keys are commented out
            value = {}
        if not isinstance(value, dict):
            message = f"{shown_value(value)} is no section"
            raise self._problem(place, message, f"give its keys: {', '.join(fields)}")
        for key in value:
            if key not in fields:
                raise self._problem((*place, key), "unknown key", nearest(key, fields))
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                values[field.name] = self._value(field.type, value[name], (*place, name))
            elif field.required:
                raise self._problem((*place, name), "is missing", "add it")
        return kind(**values)

    def _value(self, hint: Any, value: Any, place: Place) -> Any:
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for option in options:
            if isinstance(option, type) and issubclass(option, msgspec.Struct):
                if value is None and NoneType in options:
                    return None
                return self._section(option, value, place)
        if value is None and get_origin(hint) in (dict, list):
            return msgspec.convert({} if get_origin(hint) is dict else [], hint)
        if Path in options or str in options:
            value = self._plain(place, value)
        try:
            return msgspec.convert(value, hint, dec_hook=self._path)
        except msgspec.ValidationError as error:
            message = f"{shown_value(value)} is not {_expected(hint, error)}"
            raise self._problem(place, message, _remedy(hint, value)) from None

    def _plain(self, place: Place, value: Any) -> Any:
        """A number as it is written, where text is wanted: ``1.10``, ``2026``."""
        origin = self._tree.origins.get(place)
        if isinstance(value, (int, float)) and origin is not None and origin.text is not None:
            return origin.text
        return value

    def _path(self, kind: type, value: Any) -> Any:
        if kind is not Path or not isinstance(value, str) or not value or "\0" in value:
            raise TypeError("Expected a path")
        return self._absolute(value)

    def _absolute(self, value: str) -> Path:
        expanded = Path(value).expanduser() if value.startswith(("~/", "~\\")) else Path(value)
        return Path(os.path.normpath(self._base / expanded))

    def _model_path(self, value: str) -> str:
        if not value:
            raise self._problem(("model", "path"), "is empty", "give a folder, or a hub name")
        folder = self._absolute(value)
        hub = _HUB_NAME.fullmatch(value) and not folder.is_dir()
        return value if hub else str(folder)

    def _benchmark(self, value: str) -> str:
        if not value:
            remedy = "give a folder or a name, or null"
            raise self._problem(("evaluation", "benchmark"), "is empty", remedy)
        folder = self._absolute(value)
        name = _PLAIN_NAME.fullmatch(value) and not folder.is_dir()
        return value if name else str(folder)


def _check_values(config: TrainConfig) -> None:
    model, sft, grpo = config.model, config.sft, config.grpo
    if model.min_pixels is not None and model.min_pixels > model.max_pixels:
        message = f"{model.min_pixels} is more than max_pixels, {model.max_pixels}"
        raise config.problem("model.min_pixels", message, "lower it")
    if config.lora is not None:
        _check_target(config, config.lora)
    if sft is not None and grpo is not None and sft.out == grpo.out:
        remedy = "give each stage a folder of its own: checkpoints go there"
        raise config.problem("grpo.out", "is the folder of sft.out as well", remedy)
    for name, section in (("sft", sft), ("grpo", grpo)):
        if section is not None and section.out == section.data:
            message = "is the folder of the data as well"
            raise config.problem(f"{name}.out", message, "give it a folder of its own")
    if grpo is not None:
        _check_reward(config, grpo)


def _check_target(config: TrainConfig, lora: LoraSection) -> None:
    remedy = "give language, a list of ends of module names, or a regular expression"
    if not lora.target or (isinstance(lora.target, list) and not all(lora.target)):
        raise config.problem("lora.target", "is empty", remedy)
    if isinstance(lora.target, str):
        if lora.target == "all-linear":
            message = "'all-linear' adapts the vision tower as well"
            raise config.problem("lora.target", message, "give language")
        try:
            re.compile(lora.target)
        except re.error as error:
            message = f"{lora.target!r} is no regular expression: {error}"
            raise config.problem("lora.target", message, remedy) from None


def _check_reward(config: TrainConfig, grpo: GrpoSection) -> None:
    from ffr_train.rewards.profile import read_profile
    from ffr_train.rewards.registry import term_named

    reward = grpo.reward
    field = "grpo.reward.profile"
    try:
        profile = read_profile(reward.profile)
        for name, weight in reward.weights.items():
            field = f"grpo.reward.weights.{name}"
            profile = profile.with_weights({name: weight})
        for place, name in enumerate(reward.terms):
            field = f"grpo.reward.terms.{place}"
            term_named(name)
    except InputError as error:
        raise config.problem(field, error.problem.message, error.problem.remedy) from None
    if not profile.weights:
        message = "no term has a weight above 0"
        raise config.problem("grpo.reward.weights", message, "give one a weight")


_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a section",
}


def _expected(hint: Any, error: msgspec.ValidationError) -> str:
    """What a field takes, in words."""
    choices = _choices(hint)
    if choices:
        more = ["true", "false"] if bool in get_args(hint) else []
        return f"one of {', '.join([*choices, *more])}"
    text = str(error).partition(" - at ")[0].partition(", got ")[0]
    text = text.removeprefix("Expected ").replace("`", "")
    return " or ".join(
        " ".join(_WORDS.get(word, word) for word in part.split()) for part in text.split(" | ")
    )


def _choices(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    return [choice for part in get_args(hint) for choice in _choices(part)]


def _remedy(hint: Any, value: Any) -> str:
    choices = _choices(hint)
    if choices and isinstance(value, str):
        return nearest(value, choices)
    if isinstance(value, str) and value.lower() in {"yes", "no", "on", "off"}:
        return "write true or false"
    if isinstance(value, str) and re.fullmatch(r"[\d_, ]+", value):
        return "write the number with digits only"
    return "correct the value"
