"""Starting a fault server: in a thread of the tests, or in a process that outlives its clients."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import msgspec

from tests.servers.plan import Rule, Seen, Settings
from tests.servers.server import Server

if TYPE_CHECKING:
    from collections import Counter

_ROOT = Path(__file__).parents[2]


class _Running:
    """What a server is asked by tests.

    Attributes:
        port: On the loopback interface.
    """

    port: int

    @property
    def url(self) -> str:
        """The base URL as clients want it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def requests(self, marker: str | None = None) -> list[Seen]:
        """The requests so far; of one marker, or all."""
        return [seen for seen in self.all_requests() if marker in {None, seen.marker}]

    def all_requests(self) -> list[Seen]:
        raise NotImplementedError

    def faults(self, marker: str | None = None) -> list[str]:
        """What was done to the requests so far."""
        return [seen.fault for seen in self.requests(marker)]

    def counts(self) -> Counter[str]:
        """How many requests there were of each marker."""
        from collections import Counter

        return Counter(seen.marker for seen in self.requests())


class FaultServer(_Running):
    """A server in a thread of this process; use it as a context manager."""

    def __init__(self, *rules: Rule | str, **settings: Any) -> None:
        self._settings = settings
        self.server = Server(self._with(rules))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def plan(self, *rules: Rule | str, **settings: Any) -> None:
        """Another fault plan, which begins anew; what was seen is kept."""
        self._settings |= settings
        wanted = self._with(rules)
        done = threading.Event()

        def change() -> None:
            self.server.configure(wanted)
            done.set()

        self._loop.call_soon_threadsafe(change)
        assert done.wait(10)

    def all_requests(self) -> list[Seen]:
        """What the server wrote down."""
        return list(self.server.seen)

    def _with(self, rules: tuple[Rule | str, ...]) -> Settings:
        made = tuple(Rule(rule) if isinstance(rule, str) else rule for rule in rules)
        return Settings(rules=made, **self._settings)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        listening = await self.server.start()
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        listening.close()
        self.server.drop_connections()


class ServerProcess(_Running):
    """A server in a process of its own, with its log in a file; use it as a context manager.

    Started again after :meth:`stop` it has the same port, and goes on with its log.
    """

    def __init__(self, log: Path, *rules: Rule, **settings: Any) -> None:
        self.port = settings.pop("port", 0)
        self._log = log
        self._settings = Settings(rules=rules, **settings)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it."""
        settings = msgspec.structs.replace(self._settings, port=self.port)
        command = [sys.executable, "-m", "tests.servers", "--log", str(self._log)]
        command += ["--settings", msgspec.json.encode(settings).decode()]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        line = _stream(self._process).readline()
        assert line.startswith("http://"), f"the server did not start: {line!r}"
        self.port = int(line.split(":")[2].split("/")[0])

    def stop(self) -> None:
        """Kill it, with all its connections."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate(timeout=10)
        self._process = None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def plan(self, *rules: Rule, **settings: Any) -> None:
        """Another fault plan, which begins anew; what was seen is kept."""
        self._settings = msgspec.structs.replace(self._settings, rules=rules, **settings)
        self._call("/_plan", msgspec.json.encode(self._settings))

    def stats(self) -> dict[str, int]:
        """Counts over all requests so far."""
        answer: dict[str, int] = msgspec.json.decode(self._call("/_stats"))
        return answer

    def all_requests(self) -> list[Seen]:
        """What the log says; a request whose line changed is there once, as it is now."""
        requests: dict[tuple[int, float], Seen] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._log.read_bytes().splitlines():
                seen = msgspec.json.decode(line, type=Seen)
                requests[seen.number, seen.arrived] = seen
        return list(requests.values())

    def _call(self, path: str, data: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, data, timeout=10) as answer:
            body: bytes = answer.read()
        return body


def _stream(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
