"""Fields of the trainer that a configuration may not set, with the reason and the place to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ffr_train.config.schema import Stage

_EVALUATION: Final = (
    "figures on held-out samples are not the trainer's",
    "set `evaluation`",
)
_BEST: Final = (
    "the trainer does not evaluate, so it knows no best checkpoint",
    "leave it out; figures of each evaluation are in the log, and checkpoints in `out`",
)
_PRECISION: Final = ("follows from model.dtype and the device", "set model.dtype")
_MODEL: Final = ("the model is loaded before the trainer gets it", "set it under `model`")
_TEMPLATE: Final = (
    "the data were written with the model's own template and tokens",
    "leave it out",
)
_ROWS: Final = ("the data are ready as `ffr train data` wrote them", "leave it out")
_LENGTH: Final = (
    "no sample may be cut",
    "window or filter long samples with `ffr train data --max-length`",
)
_PACKING: Final = ("TRL cannot pack rows with images", "leave it out")
_LAUNCH: Final = (
    "several GPUs are the launcher's business",
    "give accelerate a file: `ffr train init --launch fsdp2` or deepspeed_zero3",
)
_LIGER: Final = (
    "the model is loaded, with its kernels, before the trainer gets it",
    "set model.kernels",
)
_COMMAND: Final = ("the command says what is done", "leave it out")
_LOSS: Final = ("the loss is on the answer only", "leave it out")

_BOTH: Final[dict[str, tuple[str, str]]] = {
    "batch_eval_metrics": _EVALUATION,
    "bf16": _PRECISION,
    "bf16_full_eval": _PRECISION,
    "deepspeed": _LAUNCH,
    "do_eval": _COMMAND,
    "do_predict": _COMMAND,
    "do_train": _COMMAND,
    "eval_accumulation_steps": _EVALUATION,
    "eval_delay": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "eval_on_start": _EVALUATION,
    "eval_steps": ("figures on held-out samples are not the trainer's", "set evaluation.every"),
    "eval_strategy": ("figures on held-out samples are not the trainer's", "set evaluation.every"),
    "eval_use_gather_object": _EVALUATION,
    "fp16": _PRECISION,
    "fp16_full_eval": _PRECISION,
    "fsdp": _LAUNCH,
    "fsdp_config": _LAUNCH,
    "greater_is_better": _BEST,
    "hub_token": (
        "a secret does not belong in a file that is copied into results",
        "set the environment variable HF_TOKEN, or log in with `hf auth login`",
    ),
    "ignore_data_skip": ("a resumed training goes on where it stopped", "leave it out"),
    "include_for_metrics": _EVALUATION,
    "label_names": _ROWS,
    "length_column_name": _ROWS,
    "liger_kernel_config": _LIGER,
    "load_best_model_at_end": _BEST,
    "local_rank": _LAUNCH,
    "metric_for_best_model": _BEST,
    "model_init_kwargs": _MODEL,
    "parallelism_config": _LAUNCH,
    "per_device_eval_batch_size": (
        "figures on held-out samples are not the trainer's",
        "set evaluation.batch_size",
    ),
    "prediction_loss_only": _EVALUATION,
    "remove_unused_columns": ("sample ids and gold are columns that are needed", "leave it out"),
    "resume_from_checkpoint": ("the command says so", "give it --resume"),
    "trust_remote_code": (
        "the model is loaded before the trainer gets it",
        "set model.trust_remote_code",
    ),
    "use_liger_kernel": _LIGER,
}

_SFT: Final[dict[str, tuple[str, str]]] = {
    "output_dir": ("is the stage's own", "set sft.out"),
    "assistant_only_loss": _LOSS,
    "chat_template_path": _TEMPLATE,
    "completion_only_loss": _LOSS,
    "dataset_kwargs": _ROWS,
    "dataset_text_field": _ROWS,
    "eos_token": _TEMPLATE,
    "eval_packing": _PACKING,
    "max_length": _LENGTH,
    "packing": _PACKING,
    "packing_strategy": _PACKING,
    "pad_token": _TEMPLATE,
    "padding_free": _PACKING,
    "shuffle_dataset": (
        "rows are drawn in a new order in each epoch",
        "set seed, or data_seed, for another order",
    ),
    "truncation_mode": _LENGTH,
}

_GRPO: Final[dict[str, tuple[str, str]]] = {
    "output_dir": ("is the stage's own", "set grpo.out"),
    "auto_find_batch_size": (
        "a smaller batch could not hold all answers to a prompt",
        "lower per_device_train_batch_size and raise gradient_accumulation_steps",
    ),
    "chat_template_kwargs": _TEMPLATE,
    "num_generations_eval": _EVALUATION,
    "reward_weights": ("belongs to the reward", "set grpo.reward.weights"),
    "shuffle_dataset": ("the curriculum says the order", "set grpo.curriculum"),
    "train_sampling_strategy": ("the curriculum says the order", "set grpo.curriculum"),
    "vllm_importance_sampling_cap": (
        "is deprecated in TRL",
        "set vllm_importance_sampling_clip_max",
    ),
}

_GONE: Final[dict[str, str]] = {
    "evaluation_strategy": "set evaluation.every",
    "logging_dir": "TensorBoard's files are in `out`; or set TENSORBOARD_LOGGING_DIR",
    "max_prompt_length": "no prompt is cut; see `ffr train data --max-length`",
    "max_seq_length": "no sample is cut; see `ffr train data --max-length`",
    "no_cuda": "set use_cpu",
    "overwrite_output_dir": "a new training wants a new folder; --resume goes on with one",
    "per_gpu_train_batch_size": "set per_device_train_batch_size",
    "warmup_ratio": "set warmup_steps: below 1 it is a share of all steps",
}
"""Names of earlier trainers that people still write, and what to do instead."""


def reserved(stage: Stage) -> Mapping[str, tuple[str, str]]:
    """For each field that may not be set: why, and what to do instead."""
    return {**_BOTH, **(_SFT if stage == "sft" else _GRPO)}


def gone(name: str) -> str | None:
    """What to do in place of a field that the trainer no longer has."""
    return _GONE.get(name)
