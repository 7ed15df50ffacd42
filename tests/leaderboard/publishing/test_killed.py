"""A publish that is killed, or that meets another one, leaves the site whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from ffr_eval.errors import InputError
from leaderboard.publishing.check import check_site
from leaderboard.publishing.store import Store
from leaderboard.site.reader import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.leaderboard.publishing.conftest import World

_SECONDS = 60


def _parts(site: Path) -> set[str]:
    folder = site / "private" / "parts" / "runs"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _start(world: World) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ffr_eval", "publish", str(world.runs), "--replicates", "3000"]
    return subprocess.Popen([*command, "--site", str(world.site)], stderr=subprocess.DEVNULL)


def _kill_after_a_part(world: World, n_parts: int) -> None:
    process = _start(world)
    end = time.monotonic() + _SECONDS
    while len(_parts(world.site)) < n_parts and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)
    assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_publish_loses_the_run_under_way_only(world: World) -> None:
    for seed in range(3, 8):
        world.run(f"run-{seed}", seed=seed)
    _kill_after_a_part(world, 2)
    assert not (world.site / "manifest.json").exists()
    done_before = _parts(world.site)
    assert len(done_before) >= 2
    process = _start(world)
    assert process.wait(_SECONDS * 2) == 0
    assert done_before <= _parts(world.site)  # what was done was taken up as it was
    assert not list((world.site / "private" / "work").glob("*"))
    assert check_site(world.site).wrong == ()


def test_a_killed_publish_leaves_the_served_site_whole(world: World) -> None:
    world.publish()
    manifest = (world.site / "manifest.json").read_bytes()
    for seed in range(3, 8):
        world.run(f"run-{seed}", seed=seed)
    shutil.copytree(world.site / "public", world.path / "before")
    before = len(_parts(world.site))
    _kill_after_a_part(world, before + 1)
    assert (world.site / "manifest.json").read_bytes() == manifest
    assert Site(world.site).query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 3}]
    assert check_site(world.site).wrong == ()


@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_publish_killed_while_it_replaces_files_is_finished_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    from pathlib import Path

    world.publish()
    world.run("run-7", seed=7)
    replaced: list[str] = []
    replace = Path.replace

    def dying(self: Path, target: Path) -> Path:
        if "pending" in self.parts and self.name != "index.json" and not self.name.startswith("."):
            if len(replaced) == after:
                raise KeyboardInterrupt
            replaced.append(self.name)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            world.publish()
    store = Store(world.site)
    store.finish()
    assert check_site(world.site).wrong == ()
    assert Site(world.site).query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 4}]
    done = world.publish()
    assert done.computed == ()


def test_two_publishes_do_not_meet(world: World) -> None:
    world.publish()
    with (
        FileLock(world.site / "private" / "publish.lock"),
        pytest.raises(InputError, match="another process publishes into this site"),
    ):
        world.publish()


def test_two_processes_at_once_leave_a_sound_site(world: World) -> None:
    first, second = _start(world), _start(world)
    codes = sorted((first.wait(_SECONDS), second.wait(_SECONDS)))
    assert codes in ([0, 0], [0, 2])  # the second was refused, unless it came after the first
    assert check_site(world.site).wrong == ()
