"""The adapters through the interfaces of the trainers themselves, each in its own environment.

Environments are made once, in the user's cache folder; where a package cannot be installed, its
test is skipped and says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ffr-test-trainers"
CORE = ("msgspec", "rich", "click", "filelock", "numpy>=2")
TORCH = "torch==2.13.0"  # first: newer ones pull CUDA packages
PACKAGES = {
    "trl": (("trl==1.16.0", "transformers==5.19.0", "accelerate==1.15.0", "datasets==5.2.0"), True),
    "swift": (("ms-swift==4.6.*", "qwen-vl-utils"), True),
    "verl": (("verl==0.9.1",), True),
    "verifiers": (("verifiers==0.4.0",), False),
}

HEAD = """
import json, sys
rows = [json.loads(line) for line in open("rows.jsonl")]
texts = [row["completion"] for row in rows]
columns = {name: [row[name] for row in rows] for name in rows[0] if name != "completion"}
"""
PROGRAMS = {
    "trl": """
from types import SimpleNamespace as Space
from trl import GRPOTrainer
sys.path.insert(0, "export")
from ffr_train.rewards.adapters.trl import total_function
from rewards import reward_funcs, reward_weights
functions = [*reward_funcs, total_function("fixed")]
trainer = Space(
    accelerator=Space(device="cpu", is_main_process=False), args=Space(report_to=[]),
    reward_funcs=functions, reward_processing_classes=[None] * 4,
    reward_func_names=[f.__name__ for f in functions], state=Space(global_step=0),
    _log_completion_extra=None, _log_metric=None, environments=None,
    model=Space(training=True), _metrics={}, name="trainer",
)
prompts = [[{"role": "user", "content": "x"}]] * len(rows)
inputs = [{"prompt": p, **{n: row[n] for n in columns}} for p, row in zip(prompts, rows)]
talks = [[{"role": "assistant", "content": text}] for text in texts]
found = GRPOTrainer._calculate_rewards(trainer, inputs, prompts, talks, [[0]] * len(rows))
assert reward_weights == [0.3, 1.0, 1.0]
by_term = (found[:, :3] * __import__("torch").tensor(reward_weights)).sum(1)
assert (by_term - found[:, 3]).abs().max() < 1e-6
totals = found[:, 3].tolist()
""",
    "swift": """
sys.path.insert(0, "export")
import plugin
from swift.rewards import ORM, orms
assert issubclass(orms["ffr_f1"], ORM)
parts = [orms[n](args=None)(completions=texts, **columns) for n in
         ("ffr_format", "ffr_f1", "ffr_order")]
totals = [0.3 * f + a + o for f, a, o in zip(*parts)]
assert totals == orms["ffr_total"](args=None)(completions=texts, **columns)
""",
    "verl": """
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import get_custom_reward_fn
config = {"path": "export/plugin.py", "name": "compute_score",
          "reward_kwargs": {"profile": "fixed"}}
function = get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": config}}))
totals = [
    function(data_source="ffr", solution_str=row["completion"], ground_truth=row["solution"],
             extra_info={**row, "num_turns": None})["score"]
    for row in rows
]
""",
    "verifiers": """
import asyncio
import verifiers.v1 as vf
from verifiers.v1.configs.taskset import TasksetConfig
from verifiers.v1.errors import TaskError
from verifiers.v1.utils.loaders import load_taskset
sys.path.insert(0, "export")
import ffr_taskset
def score(task, text):
    trace = vf.Trace.model_construct(task=None, agent=None, rewards={}, metrics={}, root_reply=text)
    asyncio.run(task.score(trace))
    return trace.reward
tasks = list(load_taskset(TasksetConfig(id="ffr_taskset")))
assert len(tasks) == 40
assert all(abs(score(task, task.data.solution) - 1.3) < 1e-9 for task in tasks)
class Data(ffr_taskset.FfrData):
    embeddings: str
class Task(vf.Task[Data]):
    ffr = ffr_taskset.reward_method("fixed")
made = [Data(prompt="x", sample_id="s", **row) for row in
        ({n: r[n] for n in columns} for r in rows)]
totals = [score(Task(data), text) for data, text in zip(made, texts)]
try:
    score(Task(made[0].model_copy(update={"image_turn": [None] * 3})), texts[0])
except TaskError:
    pass
else:
    raise AssertionError("a reward that cannot be computed passed for a number")
""",
}
TAIL = """
json.dump(totals, open("totals.json", "w"))
"""


def environment(name: str) -> Path:
    """The Python of a trainer's environment, with this checkout as it is now."""
    packages, needs_torch = PACKAGES[name]
    folder = CACHE / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "ready.json"
    wanted = json.dumps([packages, CORE, TORCH, sys.version])
    if not done.exists() or done.read_text() != wanted:
        folder.parent.mkdir(parents=True, exist_ok=True)
        venv.create(folder, clear=True, with_pip=True)
        if needs_torch:
            install(python, TORCH)
        install(python, *packages, *CORE)
        done.write_text(wanted)
    install(python, "--no-deps", "--force-reinstall", str(ROOT))
    return python


def install(python: Path, *what: str) -> None:
    command = [python, "-m", "pip", "install", "-q", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        pytest.skip(f"cannot install {' '.join(what)}: {done.stderr.strip()[-300:]}")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_through_the_trainer(
    cli: Any, jsonl: Callable[..., Path], rows: Any, tmp_path: Path, name: str
) -> None:
    path = jsonl(rows, "rows.jsonl")
    scored = cli("train", "rewards", "score", path, "--json", "-").json
    export = ("train", "export", "--to", name, "ffr-sample", "--split", "dev")
    cli(*export, "--out", tmp_path / "export")
    python = environment(name)
    (tmp_path / "program.py").write_text(HEAD + PROGRAMS[name] + TAIL)
    done = subprocess.run(
        [python, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    totals = json.loads((tmp_path / "totals.json").read_text())
    assert totals == pytest.approx([line["total"] for line in scored], abs=1e-6)
