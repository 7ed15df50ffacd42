"""The review queue: whole or not at all, with a quota, and what may be said about a submission."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ffr_eval.errors import InputError
from leaderboard import names
from leaderboard.submissions.metadata import composed, what_is_wrong
from leaderboard.submissions.queue import (
    PREDICTIONS,
    RECORD,
    BenchmarkOf,
    Queue,
    QueueFull,
    Quota,
    UploadRecord,
)
from leaderboard.submissions.store import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BENCHMARK = BenchmarkOf("tiny", "1", "sha256:" + "0" * 64, "test")
UPLOAD = UploadRecord("ab" * 32, 10, 1)


def add(queue: Queue, details: Any, lines: Any = (b'{"sample_id": "a"}\n',)) -> str:
    return queue.add("board", BENCHMARK, details, UPLOAD, lines, {"ffr-eval": "1"}).id


def test_a_submission_is_kept_as_it_was_sent(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state)
    submission_id = add(queue, details())
    found = Queue(state).get(submission_id)
    assert found.details == details()
    assert (found.status, found.benchmark, found.upload) == ("pending", BENCHMARK, UPLOAD)
    assert queue.predictions(submission_id).read_bytes() == b'{"sample_id": "a"}\n'
    assert [item.id for item in queue.all()] == [submission_id]
    folder = state / FOLDER / submission_id
    assert sorted(file.name for file in folder.iterdir()) == [PREDICTIONS, RECORD]
    assert folder.stat().st_mode & 0o077 == 0


def test_ids_cannot_be_guessed_and_lead_nowhere_else(
    state: Path, details: Callable[..., Any], tmp_path: Path
) -> None:
    queue = Queue(state)
    assert len({add(queue, details()) for _ in range(20)}) == 20
    outside = tmp_path / "outside"
    shutil.copytree(state / FOLDER / add(queue, details()), outside)
    for wrong in ("../../outside", str(outside), "", ".", "0" * 31, "G" * 32, "0" * 32):
        with pytest.raises(InputError):
            queue.get(wrong)


def test_a_write_that_fails_leaves_nothing(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state)

    def lines() -> Iterator[bytes]:
        yield b"{}\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        add(queue, details(), lines())
    assert not queue.all()
    assert not [entry for entry in (state / FOLDER).iterdir() if entry.is_dir()]


KILLED = """
import os, sys, time
from pathlib import Path
from leaderboard.submissions.metadata import Details
from leaderboard.submissions.queue import BenchmarkOf, Queue, UploadRecord

def lines():
    for number in range(10**9):
        yield b'{"sample_id": "a"}\\n' * 1000
        if number == 3:
            print("writing", flush=True)
            time.sleep(600)

details = Details("Mine", "Us", "me", "open", "tuned")
benchmark = BenchmarkOf("tiny", "1", "sha256:" + "0" * 64, "test")
Queue(Path(sys.argv[1])).add("b", benchmark, details, UploadRecord("", 1, 1), lines(), {})
"""


def test_kill_9_leaves_whole_submissions_only(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state)
    whole = add(queue, details())
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(state)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.kill()
    process.wait()
    process.stdout.close()
    left = [entry for entry in (state / FOLDER).iterdir() if entry.name.startswith(".incoming")]
    assert left  # it was in the middle of it
    assert [item.id for item in Queue(state).all()] == [whole]
    second = add(queue, details())
    assert not list((state / FOLDER).glob(".incoming*"))  # the next one clears it
    assert {item.id for item in Queue(state).all()} == {whole, second}


def test_the_quota_counts_what_waits(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state, Quota(number=2))
    first, _ = add(queue, details()), add(queue, details())
    with pytest.raises(QueueFull):
        add(queue, details())
    assert len(queue.all()) == 2
    queue.decide(first, "rejected", reason="no")
    add(queue, details())


def test_a_record_that_cannot_be_read_keeps_nobody_out(
    state: Path, details: Callable[..., Any]
) -> None:
    queue = Queue(state, Quota(number=2))
    broken = add(queue, details())
    (state / FOLDER / broken / RECORD).write_text("{")
    add(queue, details())
    with pytest.raises(QueueFull):  # it may wait
        add(queue, details())


def test_the_quota_counts_bytes(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state, Quota(bytes=1_000))
    add(queue, details(), [b"x" * 600])
    with pytest.raises(QueueFull):
        add(queue, details(), [b"x" * 600])
    add(queue, details(), [b"x" * 300])


def test_a_decision_stands(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state)
    submission_id = add(queue, details())
    decided = queue.decide(submission_id, "rejected", reason="not ours")
    assert (decided.status, decided.reason) == ("rejected", "not ours")
    assert decided.decided is not None
    for status in ("accepted", "rejected"):
        with pytest.raises(InputError, match="was rejected"):
            queue.decide(submission_id, status)  # type: ignore[arg-type]
    assert queue.get(submission_id) == decided


def test_records_are_strict(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state)
    submission_id = add(queue, details())
    file = state / FOLDER / submission_id / RECORD
    record = json.loads(file.read_text())
    for wrong in (
        record | {"more": 1},
        record | {"status": "published"},
        record | {"details": record["details"] | {"more": 1}},
        record | {"details": record["details"] | {"model": "<b>"}},
        record | {"details": record["details"] | {"weights": "maybe"}},
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(InputError):
            queue.get(submission_id)


def test_the_folder_is_not_a_link(state: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (state / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="link"):
        Queue(state)


# --- what a submitter says -----------------------------------------------------------------------

HOSTILE = [
    "![x](https://evil.example/a.png)",
    "[a](https://evil.example)",
    ":material/verified: Mine",
    "<img src=x onerror=alert(1)>",
    "a\u202eb",
    "a\u200bb",
    "a\x00b",
    "a\x1b[31mb",
    "a\nb",
    "$x^2$",
    "`code`",
    "**bold**",
    "a|b",
    "\ufffd",
    "x" * 81,
    "",
    "   ",
    "=cmd",
    '"; DROP TABLE runs; --',
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("field", ["model", "team"])
def test_hostile_names_are_not_taken(details: Callable[..., Any], name: str, field: str) -> None:
    assert what_is_wrong(composed(details(**{field: name}))) == {field: "name"}


@pytest.mark.parametrize("name", ["Qwen2.5-VL-7B (LoRA)", "模型 1", "a/b+c_d", "é"])
def test_names_are_taken_as_they_are_shown(details: Callable[..., Any], name: str) -> None:
    assert not what_is_wrong(composed(details(model=name)))


def test_names_are_composed(details: Callable[..., Any]) -> None:
    assert composed(details(model=" Ｍｉｎｅ ７Ｂ ")).model == "Mine 7B"


@pytest.mark.parametrize("name", ["oracle", "Oracle", "bm25", "hf", "API"])
def test_names_of_our_models_are_not_taken(details: Callable[..., Any], name: str) -> None:
    """A run of theirs would be taken for a ceiling, or for one that we made."""
    assert what_is_wrong(details(model=name)) == {"model": "reserved"}


@pytest.mark.parametrize(
    "link",
    [
        "http://a.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "HTTPS://a.example",
        "https://",
        "https://localhost/",
        "https://user@a.example/",
        "https://a.example:8080/",
        "https://a.example/<script>",
        "https://a.example/)[x](y",
        "https://a.example/\u202e",
        "https://ä.example/",
        "https://a.example/ b",
        "https://a.example\n",
        "//a.example",
        "file:///etc/passwd",
        "https://a.example/" + "x" * 300,
    ],
)
def test_only_https_links_are_taken(details: Callable[..., Any], link: str) -> None:
    assert names.https_link(link) is None
    if link == link.strip():
        assert what_is_wrong(composed(details(link=link))) == {"link": "link"}


@pytest.mark.parametrize(
    "link",
    ["https://a.example", "https://arxiv.org/abs/1?x=1&y=2#z", "https://a.example:443/"],
)
def test_other_links_are_taken_and_published(
    details: Callable[..., Any], link: str, tmp_path: Path
) -> None:
    from leaderboard.publishing.card import read_card

    assert what_is_wrong(composed(details(link=link))) == {}
    (tmp_path / "card.json").write_text(json.dumps({"link": link}))
    assert read_card(tmp_path).link == link


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("contact", "", "empty"),
        ("contact", "  ", "empty"),
        ("contact", "x" * 201, "too_long"),
        ("contact", "me\u202e", "characters"),
        ("description", "x" * 4_001, "too_long"),
        ("description", "a\x1b[2Jb", "characters"),
        ("params_b", 0.0, "number"),
        ("params_b", -1.0, "number"),
        ("params_b", float("nan"), "number"),
        ("params_b", float("inf"), "number"),
        ("params_b", 1e7, "number"),
    ],
)
def test_other_fields_are_checked(
    details: Callable[..., Any], field: str, value: Any, why: str
) -> None:
    assert what_is_wrong(composed(details(**{field: value}))) == {field: why}


def test_time_is_not_spent_on_the_queue(state: Path, details: Callable[..., Any]) -> None:
    queue = Queue(state)
    for _ in range(30):
        add(queue, details())
    began = time.process_time()
    queue.all()
    assert time.process_time() - began < 0.5
