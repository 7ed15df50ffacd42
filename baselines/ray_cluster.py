"""Ray itself: started on this machine for one run, or found on a cluster."""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import FfrError, InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from baselines.model import Model
    from baselines.ray_replica import RayJob

_OBJECT_STORE_BYTES: Final = 256 * 2**20  # only prediction lines pass through it
_LONGEST_FOLDER: Final = 40  # sockets are made below it, and their paths may have 107 bytes
_CPUS_OF_A_CLIENT: Final = 0.1  # of a replica that waits for a server most of the time
_SILENT: Final = logging.CRITICAL + 1
_CONNECT_S: Final = 10.0

_ENVIRONMENT: Final = {  # read when ray is imported; what the user has set stays
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its C++ part writes to standard error, alarming lines, too
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what workers and raylets say would go to standard output
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers run in this environment as it is
    "RAY_USAGE_STATS_ENABLED": "0",
}
_LOCAL_ENVIRONMENT: Final = {
    "RAY_AUTH_MODE": "token",  # of this process and its children alone
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # not of use as a cluster: listen on loopback only
}


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Room:
    """How many replicas there are, and what each has.

    Attributes:
        replicas: At least 1.
        cpus, gpus: Reserved for each; torch takes as many threads as there are CPUs.
    """

    replicas: int
    cpus: float
    gpus: float


class Cluster:
    """Ray, in use; see :func:`connected`.

    Attributes:
        logs: The folder with the logs of this machine's workers; ``None`` if Ray runs elsewhere.
    """

    def __init__(self, logs: Path | None) -> None:
        self.logs = logs
        self.keep_logs = False

    def nodes(self) -> list[Node]:
        """The machines that are there now."""
        import ray

        every: Any = ray.nodes  # untyped
        alive = [node["Resources"] for node in every() if node["Alive"]]
        return [Node(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive]


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """Ray at an address, or started on this machine and ended again, with its temporary files.

    A Ray that the caller has started already is used as it is, and stays.

    Raises:
        MissingExtraError: If Ray is not installed.
        InputError: If there is no cluster at the address.
        FfrError: If Ray cannot be started.
    """
    local = address is None
    if "ray" not in sys.modules:
        _set_environment(local)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("--engine ray", "ray") from error
    if ray.is_initialized():
        with _quiet():
            yield Cluster(None)
        return
    if address is not None and "://" in address:
        remedy = "run the command on a node of the cluster, with --address auto"
        raise InputError("clients of Ray are not supported", field="address", remedy=remedy)
    if address not in {None, "auto"}:
        _require_listening(str(address))
    folder = _temporary_folder() if local else None
    settings: dict[str, Any] = {"address": address}
    if folder is not None:
        settings = {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(folder),
        }
    cluster = Cluster(None if folder is None else folder / "session_latest" / "logs")
    try:
        with _quiet():
            with _signals_kept():
                _start(settings, address)
            try:
                yield cluster
            finally:
                ray.shutdown()
    finally:
        if folder is not None and not cluster.keep_logs:
            shutil.rmtree(folder, ignore_errors=True)


def room_for(nodes: list[Node], model: type[Model], job: RayJob) -> Room:
    """How many replicas there are, and what each may take.

    Without a number there is one for each GPU; without GPUs one for each machine if the model has
    weights or asks a server, and one for each CPU otherwise.

    Raises:
        InputError: If there is not so much room.
    """
    device, wanted = job.machine.device, job.replicas
    if wanted is not None and wanted < 1:
        raise InputError(f"at least 1, not {wanted}", field="replicas")
    if device.startswith("cuda:"):
        remedy = "give --device cuda: Ray assigns the GPUs"
        raise InputError(f"{device!r} with --engine ray", field="device", remedy=remedy)
    asks_server = "requests_per_minute" in model.settings
    generates = model.capabilities.answers == "text" and not asks_server
    has_weights = "device" in model.settings or generates
    gpus = job.gpus_per_replica
    if gpus is None:
        usable = has_weights and device in {"auto", "cuda"} and any(node.gpus for node in nodes)
        gpus = float(job.options.get("tensor_parallel_size") or 1) if usable else 0.0
    cpus = _CPUS_OF_A_CLIENT if asks_server else 1.0
    most = sum(_fitting(node, cpus, gpus) for node in nodes)
    one_each = not gpus and (has_weights or asks_server)
    count = wanted or max(1, min(most, len(nodes)) if one_each else most)
    if count > most:
        each = f"{gpus:g} GPU" if gpus else f"{cpus:g} CPU"
        there = f"{sum(node.gpus for node in nodes):g} GPUs, {sum(n.cpus for n in nodes):g} CPUs"
        what = "1 replica" if count == 1 else f"{count} replicas"
        message = f"no room for {what} of {each} each: Ray has {there}"
        remedy = f"at most {most}, or add machines" if most else "add machines"
        raise InputError(message, field="replicas", remedy=remedy)
    if has_weights and not gpus:  # share the CPUs out: torch takes as many threads
        on_one_node = math.ceil(count / len(nodes))
        share = float(max(1, int(min(node.cpus for node in nodes)) // on_one_node))
        if sum(_fitting(node, share, 0) for node in nodes) >= count:
            cpus = share
    return Room(count, cpus, gpus)


def _fitting(node: Node, cpus: float, gpus: float) -> int:
    """How many replicas fit on a machine."""
    by_cpu = int(node.cpus / cpus + 1e-9)
    return min(by_cpu, int(node.gpus / gpus + 1e-9)) if gpus else by_cpu


def _require_listening(address: str) -> None:
    """Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    remedy = "give HOST:PORT as `ray start --head` names it, or auto on a node of the cluster"
    if not host or not port.isdecimal():
        raise InputError(f"{address!r} is not HOST:PORT", field="address", remedy=remedy)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        message = f"no Ray cluster at {address!r}: {error}"
        raise InputError(message, field="address", remedy=remedy) from error


def _start(settings: Mapping[str, Any], address: str | None) -> None:
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=_SILENT, **settings)
    except Exception as error:
        text = " ".join(str(error).split())
        if address is None:  # Ray gives its processes 30 seconds
            remedy = "try again when the machine has less to do"
            raise FfrError(f"Ray cannot be started: {text}\n  → {remedy}") from error
        remedy = "all nodes need the same versions of Python and Ray, and the same RAY_AUTH_TOKEN"
        message = f"cannot connect to {address!r}: {text}"
        raise InputError(message, field="address", remedy=remedy) from error


def _set_environment(local: bool) -> None:
    for name, value in {**_ENVIRONMENT, **(_LOCAL_ENVIRONMENT if local else {})}.items():
        os.environ.setdefault(name, value)
    if local:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ffr-ray-"))
    if len(os.fsencode(folder)) > _LONGEST_FOLDER and Path("/tmp").is_dir():  # noqa: S108
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="ffr-ray-", dir="/tmp"))
    return folder


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo what Ray does to the handler of SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray says to the console out of it; its log files have it."""
    handlers = [
        handler
        for name in ("ray", "ray.data")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [(handler, handler.level) for handler in handlers]
    for handler in handlers:
        handler.setLevel(_SILENT)
    try:
        yield
    finally:
        for handler, level in before:
            handler.setLevel(level)
