from __future__ import annotations

import subprocess
import sys

import ffr_eval.statistics as package


def test_all_names_are_there() -> None:
    assert all(hasattr(package, name) for name in package.__all__)
    assert sorted(package.__all__) == list(package.__all__)


def test_the_core_starts_without_it_and_it_without_scipy() -> None:
    code = (
        "import sys, ffr_eval; assert 'ffr_eval.statistics' not in sys.modules;"
        "import ffr_eval.statistics; assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
