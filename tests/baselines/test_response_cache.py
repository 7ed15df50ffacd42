from __future__ import annotations

import base64
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from baselines.response_cache import (
    CachedResponse,
    CachePruned,
    ResponseCache,
    default_cache,
    request_key,
)
from ffr_eval.errors import FfrError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "responses.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[ResponseCache]:
    with ResponseCache(path) as opened:
        yield opened


def response(text: str = "an answer", **more: object) -> CachedResponse:
    fields = {"provider": "here", "asked": "m", "model": "m-2026", **more}
    return CachedResponse(text=text, **fields)  # type: ignore[arg-type]


def answered(age: timedelta, **more: object) -> CachedResponse:
    return response(created=(datetime.now(UTC) - age).isoformat(timespec="seconds"), **more)


def other_process(program: str, path: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    code = "from pathlib import Path\nfrom baselines.response_cache import *\n" + program
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


# --- Keeping answers


def test_what_is_put_is_got_back_whole(cache: ResponseCache, path: Path) -> None:
    whole = CachedResponse(
        text="答え <|utt_ids_start|>[1]",
        provider="https://api.openai.com/v1",
        asked="gpt-4o",
        model="gpt-4o-2024-08-06",
        outcome="truncated",
        error="cut",
        finish_reason="length",
        usage={"prompt_tokens": 3, "completion_tokens": 4},
        latency_s=1.25,
        logprobs={"token_logprobs": [-0.5, None], "entropy": [0.1], "entropy_kind": "top-5"},
        request_id="req-1",
        created="2026-01-02T03:04:05+00:00",
    )
    cache.put("k", whole)
    assert cache.get("k") == whole
    assert cache.get("other") is None
    cache.close()
    with ResponseCache(path) as again:
        assert again.get("k") == whole


def test_no_text_and_odd_text(cache: ResponseCache) -> None:
    cache.put("none", response(None, outcome="refusal"))  # type: ignore[arg-type]
    cache.put("cut emoji", response("a\ud83d b", model="m\ud800"))
    cache.put("nul", response("a\0b"))
    kept = cache.get("none")
    assert kept is not None
    assert (kept.text, kept.outcome) == (None, "refusal")
    for key, text in (("cut emoji", "a\ufffd b"), ("nul", "a\0b")):
        kept = cache.get(key)
        assert kept is not None
        assert kept.text == text


def test_the_last_answer_of_a_request_counts(cache: ResponseCache) -> None:
    cache.put("k", response("first"))
    cache.put("k", response("second"))
    kept = cache.get("k")
    assert kept is not None
    assert kept.text == "second"
    assert cache.stats().n_entries == 1


def test_it_is_the_owners_alone_and_plain_text(cache: ResponseCache, path: Path) -> None:
    cache.put("k", response())
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    with sqlite3.connect(path) as connection:
        ((text,),) = connection.execute("SELECT response FROM responses")
    connection.close()
    assert json.loads(text)["text"] == "an answer"


def test_a_folder_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ResponseCache(tmp_path / "c.sqlite").close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FFR_RESPONSES", str(tmp_path / "r.sqlite"))
    assert default_cache() == tmp_path / "r.sqlite"
    monkeypatch.delenv("FFR_RESPONSES")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache() == Path("/caches/ffr/responses.sqlite")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache/ffr/responses.sqlite"


# --- What identifies a request


def _body(image: str, **more: object) -> dict[str, object]:
    content = [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": image}}]
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def _uri(data: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_a_request_is_identified_by_all_that_decides_on_the_answer() -> None:
    key = request_key("here", _body(_uri(b"abc"), temperature=0.0))
    assert len(key) == 64
    assert key == request_key("here", {"temperature": 0.0, **_body(_uri(b"abc"))})
    others = [
        request_key("there", _body(_uri(b"abc"), temperature=0.0)),
        request_key("here", _body(_uri(b"abd"), temperature=0.0)),
        request_key("here", _body(_uri(b"abc", "image/png"), temperature=0.0)),
        request_key("here", _body(_uri(b"abc"), temperature=0.5)),
        request_key("here", _body(_uri(b"abc"), temperature=0.0, seed=1)),
        request_key("here", _body("https://x.invalid/abc.jpg", temperature=0.0)),
    ]
    assert len({key, *others}) == 7


def test_an_image_counts_by_its_bytes_however_they_are_written() -> None:
    plain = request_key("here", _body("data:image/jpeg,%61bc"))
    assert plain == request_key("here", _body(_uri(b"abc")))
    assert request_key("here", _body("data:image/jpeg;base64,YW Jj")) == plain
    broken = [
        request_key("here", _body(uri)) for uri in ("data:x;base64,A", "data:x;base64,B", "data:")
    ]
    assert len(set(broken)) == 3


# --- Threads and processes


def test_threads_share_a_cache(cache: ResponseCache) -> None:
    def work(thread: int) -> None:
        for number in range(50):
            cache.put(f"{thread}-{number}", response(f"{thread} {number}"))
            kept = cache.get(f"{thread}-{number}")
            assert kept is not None
            assert kept.text == f"{thread} {number}"

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert cache.stats().n_entries == 800


def test_answers_that_arrive_together_are_written_together(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a slow disk would decide how many answers a second a run can take."""
    commits = []
    transaction = cache._transaction

    def slow() -> object:
        commits.append(1)
        time.sleep(0.05)
        return transaction()

    monkeypatch.setattr(cache, "_transaction", slow)
    start = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda k: cache.put(str(k), response()), range(256)))
    assert time.monotonic() - start < 256 * 0.05 / 4
    assert len(commits) < 32
    assert cache.stats().n_entries == 256


def test_processes_share_a_cache(path: Path) -> None:
    """From the first moment: all of them find no file and make one."""
    program = (
        "import sys\n"
        "with ResponseCache(Path(sys.argv[1])) as cache:\n"
        "    for number in range(100):\n"
        "        cache.put(f'{sys.argv[2]}-{number}',"
        " CachedResponse(text='t', provider='p', asked='m'))\n"
    )
    code = "from pathlib import Path\nfrom baselines.response_cache import *\n" + program
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(number)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]
    assert [(p.communicate(timeout=120)[1], p.returncode) for p in started] == [(b"", 0)] * 4
    with ResponseCache(path) as cache:
        assert cache.stats().n_entries == 400


def test_what_was_put_is_there_after_a_kill(path: Path) -> None:
    """Whatever the process says it has put is in the cache, at whichever moment it is killed."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom baselines.response_cache import *\n"
        "cache = ResponseCache(Path(sys.argv[1]))\n"
        "for number in range(10**6):\n"
        "    cache.put(sys.argv[2] + str(number),"
        " CachedResponse(text='t' * 3000, provider='p', asked='m'))\n"
        "    print(sys.argv[2] + str(number), flush=True)\n"
    )
    moments = random.Random(3)
    n_put = 0
    for life in "abcde":
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path), life],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        keys = [line.decode().strip() for line in (first, *process.stdout) if line.endswith(b"\n")]
        process.wait(timeout=60)
        process.stdout.close()
        n_put += len(keys)
        with ResponseCache(path) as cache:
            assert all(cache.get(key) is not None for key in keys)
    assert n_put > 5


def test_ctrl_c_while_writing_loses_no_other_threads_answer(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = cache._transaction
    interrupted, written = [], []

    def interrupting() -> object:
        while len(cache._puts._queue) < 3:  # the others come meanwhile
            time.sleep(0.001)
        monkeypatch.setattr(cache, "_transaction", transaction)
        raise KeyboardInterrupt

    def put(number: int) -> None:
        try:
            cache.put(str(number), response())
            written.append(str(number))
        except KeyboardInterrupt:
            interrupted.append(number)

    monkeypatch.setattr(cache, "_transaction", interrupting)
    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(interrupted), len(written)) == (1, 3)
    assert all(cache.get(key) is not None for key in written)
    cache.put("later", response())
    assert cache.get("later") is not None


def test_ctrl_c_while_waiting_stops_no_other_thread(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is interrupted may just have been told to write what is queued."""

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            raise KeyboardInterrupt

    transaction, wait, free = cache._transaction, cache._puts._wait, threading.Event()
    outcome = []

    def slow() -> object:
        free.wait(10)
        return transaction()

    def waiting(put: object) -> None:
        if threading.current_thread().name == "second":
            put.turn = Interrupted()  # type: ignore[attr-defined]
        wait(put)  # type: ignore[arg-type]

    def put() -> None:
        try:
            cache.put("second", response())
        except KeyboardInterrupt:
            outcome.append("interrupted")

    monkeypatch.setattr(cache, "_transaction", slow)
    monkeypatch.setattr(cache._puts, "_wait", waiting)
    first = threading.Thread(target=cache.put, args=("first", response()))
    first.start()
    while not cache._puts._led or cache._puts._queue:
        time.sleep(0.001)
    second = threading.Thread(target=put, name="second")
    second.start()
    while not any(isinstance(put.turn, Interrupted) for put in cache._puts._queue):
        time.sleep(0.001)
    third = threading.Thread(target=cache.put, args=("third", response()))
    third.start()
    while len(cache._puts._queue) < 2:
        time.sleep(0.001)
    free.set()
    for thread in (first, second, third):
        thread.join(10)
        assert not thread.is_alive()
    assert outcome == ["interrupted"]
    assert [cache.get(key) is not None for key in ("first", "second", "third")] == [
        True,
        False,
        True,
    ]
    cache.put("later", response())


# --- What goes wrong


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is a text of more than a hundred bytes " * 10)
    with pytest.raises(InputError, match="is damaged: file is not a database") as caught:
        ResponseCache(text)
    assert "move the file away" in str(caught.value)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(InputError, match="is no response cache"):
        ResponseCache(other)
    with pytest.raises(InputError, match="is a folder"):
        ResponseCache(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        ResponseCache(text / "below" / "a-file.sqlite")
    assert text.read_text().startswith("this is")
    assert other.read_bytes() == before


def test_a_cache_of_a_later_program_is_refused(path: Path) -> None:
    ResponseCache(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(InputError, match="version 2; this program has 1") as caught:
        ResponseCache(path)
    assert "update ffr-eval" in str(caught.value)


@pytest.mark.parametrize("where", ["head", "middle", "cut"])
def test_a_damaged_file_is_never_taken_for_an_empty_one(path: Path, where: str) -> None:
    with ResponseCache(path) as cache:
        for number in range(200):
            cache.put(f"{number:03}", response("word " * 500))
    data = bytearray(path.read_bytes())
    if where == "head":
        data[:40] = b"\0" * 40
    elif where == "middle":
        for start in range(4096, len(data), 4096):
            data[start : start + 64] = os.urandom(64)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(bytes(data))

    def use() -> None:
        with ResponseCache(path) as cache:
            for number in range(200):
                assert cache.get(f"{number:03}") is not None

    with pytest.raises(InputError, match="is damaged") as caught:
        use()
    assert str(path) in str(caught.value)
    assert "move the file away" in str(caught.value)
    assert path.read_bytes() == bytes(data)


def test_a_damaged_answer_is_named(cache: ResponseCache, path: Path) -> None:
    cache.put("0123456789abcdef", response())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE responses SET response = substr(response, 1, 20)")
    connection.close()
    with pytest.raises(InputError, match=r"the answer 0123456789ab… is damaged"):
        cache.get("0123456789abcdef")


def test_a_full_disk_is_said_and_loses_nothing(path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("there are no such limits")
    program = (
        "import resource, signal, sys\n"
        "from ffr_eval.errors import FfrError, InputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, resource.RLIM_INFINITY))\n"
        "cache = ResponseCache(Path(sys.argv[1]))\n"
        "def put(n):\n"
        "    cache.put(str(n), CachedResponse(text='t' * 3000, provider='p', asked='m'))\n"
        "n = 0\n"
        "try:\n"
        "    while True:\n"
        "        put(n)\n"
        "        n += 1\n"
        "except FfrError as error:\n"
        "    assert not isinstance(error, InputError), error\n"
        "    assert 'free some space' in str(error), error\n"
        "assert n > 20\n"
        "assert all(cache.get(str(k)) is not None for k in range(n))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "put('room again')\n"
        "assert cache.get('room again') is not None\n"
        "print(n)\n"
    )
    n = int(other_process(program, path).stdout)
    with ResponseCache(path) as cache:
        assert cache.stats().n_entries == n + 1


_AS_NOBODY = """
import os, sys
from baselines import response_cache, response_cache_problems
from ffr_eval.errors import InputError
ResponseCache(Path(sys.argv[2])).close()  # all is imported before the rights go
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
"""


def test_a_cache_that_may_only_be_read_is_refused_with_a_remedy(tmp_path: Path) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("there are no such rights")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        file = folder / "c.sqlite"
        ResponseCache(file).close()
        file.chmod(0o444)
        program = (
            "for path in (sys.argv[1], sys.argv[1] + '-new'):\n"
            "    try:\n"
            "        ResponseCache(Path(path))\n"
            "    except InputError as error:\n"
            "        print(' '.join(str(error).split()))\n"
        )
        code = "from pathlib import Path\nfrom baselines.response_cache import *\n"
        if os.getuid() != 0:
            folder.chmod(0o511)
        done = subprocess.run(
            [sys.executable, "-c", code + _AS_NOBODY + program, str(file), tmp_path / "mine"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        folder.chmod(0o711)
    assert done.returncode == 0, done.stderr
    there, new = done.stdout.splitlines()
    assert "may not be used: attempt to write a readonly database" in there
    assert "make the file and its folder yours to write" in there
    assert "cannot be written: Permission denied" in new


def test_another_process_that_holds_it_too_long(
    cache: ResponseCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache._writer.execute("PRAGMA busy_timeout = 50")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(FfrError, match="another process holds it for too long"):
        cache.put("k", response())
    assert cache.get("k") is None  # reading goes on
    holder.execute("ROLLBACK")
    holder.close()
    cache.put("k", response())
    assert cache.get("k") is not None


# --- Statistics and removing


def _filled(cache: ResponseCache) -> None:
    cache.put("1", answered(timedelta(days=40), asked="a", model="a-1", provider="one"))
    cache.put("2", answered(timedelta(days=3), asked="a", model="a-2", provider="one"))
    cache.put("3", answered(timedelta(hours=1), asked="b", model=None, provider="one"))
    cache.put("4", answered(timedelta(days=40), asked="a", model="a-1", provider="two"))


def test_stats(cache: ResponseCache, path: Path) -> None:
    empty = cache.stats()
    assert (empty.n_entries, empty.oldest, empty.newest, empty.models) == (0, None, None, ())
    _filled(cache)
    found = cache.stats()
    assert found.n_entries == 4
    assert found.n_bytes == sum(
        f.stat().st_size for f in path.parent.iterdir() if "shm" not in f.name
    )
    assert [(m.provider, m.model, m.n_entries) for m in found.models] == [
        ("one", "a", 2),
        ("one", "b", 1),
        ("two", "a", 1),
    ]
    first = found.models[0]
    assert found.oldest == first.oldest < first.newest < str(found.newest)
    assert 100 < first.n_bytes < 1000


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"older_than": timedelta(days=30)}, "23"),
        ({"older_than": timedelta(hours=2)}, "3"),
        ({"model": "a"}, "3"),
        ({"model": "a-1"}, "23"),
        ({"provider": "two"}, "123"),
        ({"model": "a", "provider": "one", "older_than": timedelta(days=30)}, "234"),
        ({"everything": True}, ""),
        ({"model": "' OR 1"}, "1234"),
    ],
)
def test_pruning(cache: ResponseCache, conditions: dict[str, object], left: str) -> None:
    _filled(cache)
    prune: Callable[..., CachePruned] = cache.prune
    planned = prune(**conditions, dry_run=True)
    assert cache.stats().n_entries == 4
    assert prune(**conditions) == planned
    assert planned.n_entries == 4 - len(left)
    assert (planned.n_bytes > 0) is (planned.n_entries > 0)
    assert "".join(key for key in "1234" if cache.get(key) is not None) == left


def test_pruning_needs_a_condition(cache: ResponseCache) -> None:
    with pytest.raises(ValueError, match="nothing says what to remove"):
        cache.prune()


def test_vacuum_gives_the_space_back(cache: ResponseCache) -> None:
    for number in range(100):
        cache.put(str(number), response("word " * 2000))
    before = cache.stats().n_bytes
    cache.prune(everything=True)
    cache.vacuum()
    assert before > 1_000_000
    assert cache.stats().n_bytes < 50_000
    cache.put("k", response())
    assert cache.get("k") is not None


def test_it_is_closed_while_a_signal_comes(path: Path) -> None:
    """Ctrl-C between answers ends a process with the cache whole."""
    program = (
        "import sys, os, signal\n"
        "cache = ResponseCache(Path(sys.argv[1]))\n"
        "cache.put('k', CachedResponse(text='t', provider='p', asked='m'))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = other_process(program, path, check=False)
    assert done.returncode in {1, -signal.SIGINT, 130}
    with ResponseCache(path) as cache:
        assert cache.get("k") is not None
