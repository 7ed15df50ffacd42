"""Settings of accelerate: parsed by its own launcher, and made into the plugins of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ffr_train.config.files import LAUNCH, launch_text

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("accelerate")

SHARED_MODEL = ("fsdp2", "multi_node_fsdp2")
DEEPSPEED = ("deepspeed_zero2", "deepspeed_zero3")


def _file(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(launch_text(name))
    return path


def _launched(tmp_path: Path, name: str) -> Any:
    """What ``accelerate launch`` makes of its arguments and the file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    more = ["--main_process_port", "0"]  # any that is free
    if name.startswith("multi_node"):
        more = ["--machine_rank", "1", "--main_process_ip", "10.0.0.1"]
    command = ["-m", "ffr_eval", "train", "sft", "train.yaml"]
    args = launch_command_parser().parse_args(
        ["--config_file", str(_file(tmp_path, name)), *more, *command]
    )
    return _validate_launch_command(args)[0]


@pytest.mark.parametrize("name", LAUNCH)
def test_accelerate_reads_the_file(tmp_path: Path, name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(_file(tmp_path, name)))
    kinds = {"one_gpu": "NO", "multi_gpu": "MULTI_GPU"}
    kind = kinds.get(name, "DEEPSPEED" if name in DEEPSPEED else "FSDP")
    assert found.distributed_type.value == kind
    assert found.mixed_precision == "no"  # and not false, which YAML 1.1 makes of a bare no
    assert found.num_machines == (2 if name.startswith("multi_node") else 1)
    assert found.num_processes == {"one_gpu": 1, "multi_node_fsdp2": 16}.get(name, 8)


@pytest.mark.parametrize("name", LAUNCH)
def test_the_launcher_starts_ffr(tmp_path: Path, name: str) -> None:
    args = _launched(tmp_path, name)
    assert args.module
    assert (args.training_script, args.training_script_args) == (
        "ffr_eval",
        ["train", "sft", "train.yaml"],
    )
    assert args.mixed_precision == "no"
    assert bool(args.use_fsdp) == (name in SHARED_MODEL)
    assert bool(args.use_deepspeed) == (name in DEEPSPEED)
    assert bool(args.multi_gpu) == (name == "multi_gpu")


@pytest.mark.parametrize("name", SHARED_MODEL)
def test_fsdp2_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    args = _launched(tmp_path, name)
    _set(monkeypatch, prepare_multi_gpu_env(args))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.activation_checkpointing is False
    assert plugin.cpu_ram_efficient_loading is False
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.transformer_cls_names_to_wrap == ["Qwen2_5_VLDecoderLayer"]
    if name.startswith("multi_node"):
        assert (args.nproc_per_node, args.nnodes, args.node_rank) == ("8", "2", 1)
        assert args.rdzv_endpoint == "10.0.0.1:29500"


@pytest.mark.parametrize(
    ("family", "layer"), [("qwen2_vl", "Qwen2VL"), ("qwen2_5_vl", "Qwen2_5_VL")]
)
def test_layers_of_the_language_model_are_gathered_and_no_others(family: str, layer: str) -> None:
    import torch
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
    from transformers import AutoConfig, AutoModelForImageTextToText

    assert f"{layer}DecoderLayer" in launch_text("fsdp2")
    config = AutoConfig.for_model(family)
    config.text_config.num_hidden_layers = 2
    config.text_config.layer_types = config.text_config.layer_types[:2]
    config.vision_config.depth = 2
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="TRANSFORMER_BASED_WRAP",
        transformer_cls_names_to_wrap=[f"{layer}DecoderLayer"],
    )
    policy = fsdp2_prepare_auto_wrap_policy(plugin, model)
    assert policy is not None
    wrapped = [name for name, module in model.named_modules() if policy(module)]
    assert wrapped == ["model.language_model.layers.0", "model.language_model.layers.1"]


@pytest.mark.parametrize("name", DEEPSPEED)
def test_deepspeed_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As far as it goes without the package: accelerate's plugin and DeepSpeed's settings."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DeepSpeedPlugin
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    args = _launched(tmp_path, name)
    fields = load_config_from_file(str(_file(tmp_path, name))).deepspeed_config
    assert all(hasattr(args, field) for field in fields)
    args.deepspeed_fields_from_accelerate_config = list(fields)  # as accelerate launch does
    command, environment = prepare_deepspeed_cmd_env(args)
    assert command is None  # torch's launcher starts it
    _set(monkeypatch, environment)
    plugin = DeepSpeedPlugin()
    stage = int(name[-1])
    assert plugin.zero_stage == stage
    assert plugin.zero3_init_flag is (stage == 3)
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"
    assert plugin.deepspeed_config["gradient_clipping"] == "auto"
    zero = plugin.deepspeed_config["zero_optimization"]
    assert zero["stage"] == stage
    assert zero["stage3_gather_16bit_weights_on_model_save"] is (stage == 3)
    assert zero["offload_optimizer"]["device"] == "none"


def _set(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    prefixes = ("ACCELERATE_", "FSDP_", "DEEPSPEED_")
    for name, value in environment.items():
        if name.startswith(prefixes):
            monkeypatch.setenv(name, value)
