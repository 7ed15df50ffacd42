"""``python -m tests.checkpoints DIR [NAME …]``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.checkpoints import BUILDERS, build_all


def main(arguments: list[str]) -> int:
    if not arguments or not set(arguments[1:]) <= set(BUILDERS):
        sys.stderr.write(f"python -m tests.checkpoints DIR [{' '.join(BUILDERS)}]\n")
        return 2
    for name, folder in build_all(Path(arguments[0]), arguments[1:] or BUILDERS).items():
        sys.stdout.write(f"{name}\t{folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
