"""What importing costs, and who may import whom."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ffr_eval

ROOT = Path(ffr_eval.__file__).resolve().parent.parent
PACKAGES = ("ffr_eval", "baselines", "ffr_train", "leaderboard")
HEAVY = {
    *("pandas", "sklearn", "scipy", "torch", "transformers", "streamlit", "rich", "click"),
    *("bm25s", "PIL", "filelock", "msgspec"),
}
MAY_IMPORT = {
    "ffr_eval": set(),
    "baselines": {"ffr_eval"},
    "ffr_train": {"ffr_eval"},
    "leaderboard": {"ffr_eval"},
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running ``code``."""
    report = (
        "import sys, json; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import ffr_eval") & HEAVY
    assert not loaded_by("import ffr_eval") & {"baselines", "ffr_train", "leaderboard"}


def test_scoring_by_import_needs_no_terminal_libraries_and_no_pandas() -> None:
    code = (
        "import ffr_eval; ffr_eval.score, ffr_eval.metrics, ffr_eval.parse_answer, ffr_eval.render"
    )
    optional = HEAVY - {"msgspec", "filelock"}
    assert not loaded_by(code) & optional


def test_the_command_line_starts_without_optional_parts() -> None:
    code = (
        "import sys; sys.argv = ['ffr', 'models', '--json']\n"
        "from ffr_eval.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\nprint()"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert "baselines" in loaded
    assert not loaded & {"pandas", "sklearn", "scipy", "torch", "transformers", "streamlit"}


def test_every_public_name_is_reachable() -> None:
    for name in ffr_eval.__all__:
        assert getattr(ffr_eval, name) is not None
    assert dir(ffr_eval) == sorted(ffr_eval.__all__)
    assert callable(ffr_eval.score)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ffr_eval.no_such_name


def imported(path: Path) -> set[str]:
    """Our packages that a file imports anywhere: at its top, in functions, for types, by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return {name.partition(".")[0] for name in found} & set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_import_only_the_core(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) <= {package} | MAY_IMPORT[package]


def test_all_packages_were_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)
