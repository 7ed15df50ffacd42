"""A smoke test of the built wheel: run by the Python of an environment that has only the wheel.

python tests/wheel_smoke.py, from a folder outside the checkout; prints "wheel ok".
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import ffr_eval

CHECKOUT = Path(__file__).resolve().parent.parent


def ffr(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Call ``ffr`` and expect an exit code."""
    command = [sys.executable, "-m", "ffr_eval", *args]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    said = f"{' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == code, said
    assert "Traceback" not in done.stderr, said
    return done


def check_place() -> Path:
    """The installed package is tested, not the checkout; its folder."""
    package = Path(ffr_eval.__file__).resolve().parent
    assert package != CHECKOUT / "ffr_eval", "this is the checkout: install the wheel"
    assert not Path.cwd().resolve().is_relative_to(CHECKOUT), "run this outside of the checkout"
    for name in ("baselines", "ffr_train", "leaderboard"):
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"{name} is not in the wheel"
        assert spec.origin is not None
        assert Path(spec.origin).parent.parent == package.parent, spec.origin
        assert (Path(spec.origin).parent / "py.typed").exists(), f"{name} has no py.typed"
    return package


def check_sample(package: Path) -> int:
    """The bundled benchmark is there with its images; how many samples its test split has."""
    folder = package / "data" / "ffr-sample"
    dialogues = (folder / "dialogues.jsonl").read_text(encoding="utf-8").splitlines()
    paths = [image["path"] for line in dialogues for image in json.loads(line).get("images", [])]
    assert paths
    for path in paths:
        data = (folder / path).read_bytes()
        assert data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")), path
        assert len(data) > 1000, path
    queries = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["split"] == "test" for line in queries)


def check_commands(n_samples: int, work: Path) -> None:
    """The commands work without any optional part."""
    assert ffr("--version").stdout == f"ffr {version('ffr-eval')}\n"
    assert ffr_eval.__version__ == version("ffr-eval")
    models = {model["name"]: model for model in json.loads(ffr("models", "--json").stdout)}
    assert models["none"]["installed"]
    assert ffr("data", "check", "ffr-sample").stdout.endswith("ok\n")
    run = str(work / "run")
    ffr("run", "none", "ffr-sample", "--split", "test", "--out", run)
    scores = json.loads(ffr("score", run, "--json", "-").stdout)
    assert scores["n_samples"] == n_samples, scores
    assert ffr_eval.score(run).n_samples == n_samples
    ranking = json.loads(ffr("rank", run, "--json", "-").stdout)
    assert [row["model"] for row in ranking["rows"]] == ["none"]
    ffr("train", "init", "--recipe", "paper", "--launch", "fsdp2", "--out", str(work / "t.yaml"))
    assert (work / "t.yaml").stat().st_size > 1000
    assert (work / "fsdp2.yaml").stat().st_size > 100
    if importlib.util.find_spec("bm25s") is None:
        assert models["bm25"]["installed"] is False
        refused = ffr("run", "bm25", "ffr-sample", "--out", str(work / "bm25"), code=2)
        assert "pip install 'ffr-eval[lexical]'" in refused.stderr
        assert not (work / "bm25").exists()
        refused = ffr("train", "sft", str(work / "t.yaml"), code=2)
        assert "pip install 'ffr-eval[train]'" in refused.stderr
        assert "Traceback" not in refused.stderr
    elif not os.environ.get("WHEEL_SMOKE_WITH_EXTRAS"):
        raise AssertionError("the environment is not clean: bm25s is installed")


def main() -> None:
    """Run all checks."""
    package = check_place()
    with tempfile.TemporaryDirectory() as work:
        check_commands(check_sample(package), Path(work))
    print("wheel ok")  # noqa: T201


if __name__ == "__main__":
    main()
