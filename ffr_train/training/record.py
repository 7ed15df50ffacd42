"""The folder of a training: what it is a training of, and where a killed one goes on."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from filelock import FileLock, Timeout

from ffr_eval.errors import InputError
from ffr_eval.jsonl import decode, problem
from ffr_eval.provenance import package_versions
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from ffr_train.config.schema import Stage, TrainConfig

RECORD: Final = "training.json"
SCHEMA_VERSION: Final = 1
LOCK: Final = ".training.lock"
PACKAGES: Final = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")
_STATE: Final = "trainer_state.json"
_FREE: Final = frozenset(
    {
        "activation_offloading",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataloader_prefetch_factor",
        "disable_tqdm",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "log_completions",
        "log_level",
        "log_multimodal",
        "log_unique_prompts",
        "logging_first_step",
        "logging_steps",
        "num_completions_to_print",
        "per_device_train_batch_size",
        "project",
        "report_to",
        "run_name",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "torch_empty_cache_steps",
        "trackio_space_id",
        "use_cpu",
        "vllm_gpu_memory_utilization",
        "vllm_server_base_url",
        "vllm_server_host",
        "vllm_server_port",
        "vllm_server_timeout",
    }
)
"""Fields of the trainer that do not change what is learnt: a resumed training may have others.

Of the sizes of batches, their product is a part of the identity.
"""


class Session(msgspec.Struct, frozen=True):
    """One process that worked on a training."""

    started: str
    from_step: int


class TrainingRecord(msgspec.Struct, frozen=True):
    """``training.json``: all that a training depends on.

    Attributes:
        identity: What must be the same for a killed training to be gone on with.
        config: The configuration, defaults filled in.
        finished: Whether the result stands in the folder.
        steps: Steps that were done when it finished.
    """

    schema_version: int
    stage: str
    identity: dict[str, Any]
    config: dict[str, Any]
    versions: dict[str, str]
    sessions: tuple[Session, ...] = ()
    finished: bool = False
    steps: int | None = None
    notes: tuple[str, ...] = ()


def identity_of(config: TrainConfig, stage: Stage, **contents: Any) -> dict[str, Any]:
    """What decides on what is learnt: settings, and the contents of files in place of their names.

    Args:
        config: The configuration.
        stage: Of which stage.
        contents: Hashes and revisions by name.
    """
    plain = config.to_dict()
    section = plain[stage]
    trainer = {name: value for name, value in section["trainer"].items() if name not in _FREE}
    files = ("data", "out", "start", "pilot", "trainer")
    settings = {name: value for name, value in section.items() if name not in files}
    curriculum = settings.get("curriculum")
    if curriculum is not None:
        settings["curriculum"] = {**curriculum, "difficulty": None}
    model = {name: value for name, value in plain["model"].items() if name != "path"}
    return {
        "trl": plain["trl"],
        "model": model,
        "lora": plain["lora"],
        stage: {**settings, "trainer": trainer},
        **contents,
    }


def lock(out: Path) -> FileLock:
    """Take the folder for this process.

    Raises:
        InputError: If another one is at it, or the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "choose another folder for `out`"
        raise InputError(f"cannot be made: {error.strerror}", file=out, remedy=remedy) from None
    taken = FileLock(out / LOCK)
    try:
        taken.acquire(timeout=0)
    except Timeout:
        remedy = "wait until it ends, or stop it"
        raise InputError("another process trains here", file=out, remedy=remedy) from None
    return taken


def release(taken: FileLock, out: Path, *, keep: bool) -> None:
    """Give the folder back; where nothing was begun, nothing is left in it.

    Args:
        taken: Of :func:`lock`.
        out: The folder.
        keep: Whether it was there before, and stays if it is empty.
    """
    if out.is_dir() and [path.name for path in out.iterdir()] == [LOCK]:
        (out / LOCK).unlink()
        if not keep:
            with suppress(OSError):  # another process has begun
                out.rmdir()
    taken.release()


def read_record(out: Path) -> TrainingRecord | None:
    """The record of a training; ``None`` where there is none.

    Raises:
        InputError: If it cannot be read.
    """
    path = out / RECORD
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    try:
        return decode(data, msgspec.json.Decoder(TrainingRecord))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise problem(error, path, None, "the record of a training") from None


def write_record(out: Path, record: TrainingRecord) -> None:
    """Write the record in one step."""
    text = json.dumps(msgspec.to_builtins(record), indent=2, ensure_ascii=False)
    with replacing(out / RECORD) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def new_record(config: TrainConfig, stage: Stage, identity: dict[str, Any]) -> TrainingRecord:
    """The record of a training that has not begun."""
    return TrainingRecord(
        SCHEMA_VERSION, stage, identity, config.to_dict(), package_versions(PACKAGES)
    )


def require_usable(out: Path, *, resume: bool) -> None:
    """Refuse, before anything is loaded, a folder that a training may not write to.

    Raises:
        InputError: If there is something in it that is not to be gone on with.
    """
    if out.exists() and not out.is_dir():
        raise InputError("is a file", file=out, remedy="choose another folder for `out`")
    left = [path.name for path in out.iterdir() if path.name != LOCK] if out.is_dir() else []
    if not left:
        return
    if (out / RECORD).is_file():
        if not resume:
            remedy = "go on with it: --resume; or choose another folder for `out`"
            raise InputError("holds a training already", file=out, remedy=remedy)
        return
    message = "is not empty, and holds no training"
    raise InputError(message, file=out, remedy="choose another folder for `out`")


def require_same(there: TrainingRecord, wanted: TrainingRecord, out: Path) -> None:
    """Refuse to go on with a training of something else.

    Raises:
        InputError: Naming what differs.
    """
    if there.stage != wanted.stage:
        message = f"holds a training of stage {there.stage}, not {wanted.stage}"
        raise InputError(message, file=out / RECORD, remedy="choose another folder for `out`")
    found = list(_differences(there.identity, _plain(wanted.identity), ()))
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        message = f"is another training: {'; '.join(found[:3])}{more}"
        remedy = "set it as it was, or choose another folder for `out`"
        raise InputError(message, file=out / RECORD, remedy=remedy)


def last_checkpoint(out: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that was saved whole, and the names of those that were not.

    The trainer saves its state last, so a checkpoint that has it is whole.
    """
    found = []
    for path in out.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdigit() and path.is_dir():
            found.append((int(number), path))
    broken: list[str] = []
    for _, path in sorted(found, reverse=True):
        try:
            state = json.loads((path / _STATE).read_bytes())
            if isinstance(state, dict) and "global_step" in state:
                return path, broken
        except (OSError, ValueError):
            pass
        broken.append(path.name)
    return None, broken


def step_of(checkpoint: Path | None) -> int:
    """The step that a checkpoint was saved at; 0 without one."""
    return 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))


def forget_after(path: Path, step: int) -> None:
    """Drop lines of a killed training that come after the step it goes on from; all at step 0.

    Args:
        path: JSON Lines, each with a ``step``; it need not be there, nor end with a whole line.
        step: Of the checkpoint.
    """
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            known = msgspec.json.decode(line)
        except msgspec.DecodeError:
            break  # cut off by a kill
        if step and known["step"] <= step:
            kept.append(line)
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(kept))


def now() -> str:
    """The time, as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _differences(there: Any, wanted: Any, place: tuple[str, ...]) -> Any:
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name in sorted(there.keys() | wanted.keys()):
            yield from _differences(there.get(name), wanted.get(name), (*place, name))
    elif there != wanted:
        yield f"{'.'.join(place)} was {_shown(there)}, is {_shown(wanted)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
