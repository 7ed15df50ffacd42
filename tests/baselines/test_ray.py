"""Scale-out over Ray Data: the same answers as a local run, whatever happens to the workers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.machine import Machine
from baselines.ray_cluster import Node, Room, connected, room_for
from baselines.ray_data import RayJob, chunk_starts, predict_with_ray, shared_machine
from baselines.runner import ScaleOut, run
from baselines.session import Session, Stopped
from ffr_eval.benchmark import read_benchmark
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.plugins import MODELS, load
from ffr_eval.runs import read_run
from ffr_eval.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

_ROOT = Path(__file__).parents[2]
_NAME = "tests_ray_models"
_MODELS = """
import os
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from baselines.model import Capabilities, Model, answer
from baselines.session import Stopped
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.plugins import MODELS, load
from ffr_eval.types import Fragment


class OddOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fails: str = ""      # the sample that the model raises for
    kills: str = ""      # the sample that ends the process
    once: str = ""       # a file: the process is ended only if it is not there
    whole: str = ""      # how the model fails as a whole: input, failed, stopped, bug
    seconds: float = 0.0


class Odd(Model):
    capabilities = Capabilities(text=True, answers="ids")
    Options = OddOptions

    def predict(self, sample):
        time.sleep(self.options.seconds)
        if sample.sample_id == self.options.fails:
            raise ValueError("odd")
        if self.options.kills in {sample.sample_id, "*"}:
            if not self.options.once or not Path(self.options.once).exists():
                if self.options.once:
                    Path(self.options.once).touch()
                os._exit(3)
        return answer(sample, Fragment((sample.dialogue.turns[0].utt_id,)))


class Chatty(Odd):
    capabilities = Capabilities(text=True, answers="text")
    chunk = 4

    def predict_many(self, samples, session):
        session.note("chatty says this once")
        held = []
        for sample in samples:
            if self.options.whole and sample.sample_id.endswith("#2"):
                text = f"as a whole at {sample.sample_id}"
                kinds = {"input": InputError, "failed": FfrError, "stopped": Stopped}
                raise kinds.get(self.options.whole, ZeroDivisionError)(text)
            prediction = self.predict(sample)
            held.append(replace(prediction, cost=0.5))
            if len(held) == 2:  # in another order than asked
                yield from reversed(held)
                held.clear()
        yield from held


class Revised(Odd):
    revision = property(lambda self: f"weights-{os.getpid()}", lambda self, value: None)
"""


def over_ray(test: Any) -> Any:
    """Marks a test that needs Ray running; Ray warns of its own options when it copies them."""
    ignored = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
    return pytest.mark.slow(ignored(pytest.mark.usefixtures("started")(test)))


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that registers the models above, if it is on the path of Python."""
    place = tmp_path_factory.mktemp("plugin")
    (place / f"{_NAME}.py").write_text(_MODELS)
    info = place / f"{_NAME}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 1\n")
    lines = [f"{name.lower()} = {_NAME}:{name}" for name in ("Odd", "Chatty", "Revised")]
    (info / "entry_points.txt").write_text("\n".join(["[ffr.models]", *lines, ""]))
    return place


@pytest.fixture(scope="module")
def started(plugins: Path) -> Iterator[None]:
    """One Ray for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(plugins)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(plugins), str(_ROOT)]))
        with connected(None):
            yield


@pytest.fixture
def job(benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RayJob]:
    """Makes a job; a single replica gets chunks of three samples, the whole of a dialogue."""
    monkeypatch.setattr("baselines.ray_data.CHUNKS_EACH", 4)

    def make(model: str, **options: Any) -> RayJob:
        digest = read_benchmark(benchmark).content_hash
        return RayJob(model, options, Machine(), benchmark, digest)

    return make


def ids(benchmark: Path, rows: range) -> list[str]:
    names = read_benchmark(benchmark).queries.sample_id
    return [names[row] for row in rows]


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run without how long each answer took."""
    texts = (folder / "predictions.jsonl").read_text().splitlines()
    return [untimed(json.loads(text)) for text in texts]


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name != "latency_s"}
    return [untimed(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("tune_on", [None, "dev"])
@over_ray
def test_the_same_as_a_local_run(tmp_path: Path, tune_on: str | None) -> None:
    local, spread = tmp_path / "local", tmp_path / "spread"
    options: dict[str, Any] = {"captions": "true"}
    run("bm25", options, "ffr-sample", local, tune_on=tune_on, save_scores=True)
    result = run(
        *("bm25", options, "ffr-sample", spread),
        tune_on=tune_on,
        save_scores=True,
        scale_out=ScaleOut(replicas=2),
    )
    assert result.n_new == result.n_samples == len(lines(local)) > 100
    assert lines(spread) == lines(local)  # in the same order, too
    assert read_run(spread).selection == read_run(local).selection


@over_ray
def test_answers_in_text_come_in_order_and_notes_come_once(
    job: Callable[..., RayJob], benchmark: Path
) -> None:
    notes: list[str] = []
    answers = list(predict_with_ray(job("chatty"), range(12), Session(note=notes.append)))
    assert [answer.sample_id for answer in answers] == ids(benchmark, range(12))
    assert {answer.cost for answer in answers} == {0.5}
    assert notes == ["chatty says this once"]


@over_ray
def test_a_failing_sample_is_an_outcome(job: Callable[..., RayJob], benchmark: Path) -> None:
    answers = list(predict_with_ray(job("odd", fails="d1#0"), range(12), Session()))
    assert [a.sample_id for a in answers if a.outcome is Outcome.REQUEST_ERROR] == ["d1#0"]
    assert answers[3].meta == {"error": "ValueError: odd"}
    assert len(answers) == 12


@pytest.mark.parametrize(
    ("whole", "kind", "text"),
    [
        ("input", InputError, "as a whole at "),
        ("failed", FfrError, "as a whole at "),
        ("stopped", Stopped, "as a whole at "),
        ("bug", FfrError, "the model failed: ZeroDivisionError: as a whole at "),
    ],
)
@over_ray
def test_a_model_that_fails_as_a_whole(
    job: Callable[..., RayJob], whole: str, kind: type[FfrError], text: str
) -> None:
    answers: list[str] = []
    spec = replace(job("chatty", whole=whole), replicas=1)
    with pytest.raises(FfrError) as raised:
        answers.extend(answer.sample_id for answer in predict_with_ray(spec, range(12), Session()))
    assert type(raised.value) is kind
    begun = str(raised.value).removeprefix(text).removesuffix("#2")  # not always the first chunk
    assert begun in {"d0", "d1", "d2", "d3"}
    assert answers == [f"{begun}#0", f"{begun}#1"]  # what was answered is kept


@over_ray
def test_a_process_that_dies_once_is_started_again(
    job: Callable[..., RayJob], benchmark: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    for model in ("odd", "chatty"):
        once = tmp_path / model
        spec = job(model, kills="d2#1", once=str(once))
        answers = list(predict_with_ray(spec, range(12), Session(note=notes.append)))
        assert [answer.sample_id for answer in answers] == ids(benchmark, range(12))
        assert once.exists()
    assert notes.count("a process of a replica died and was started again") == 2


@pytest.mark.parametrize("model", ["odd", "chatty"])
@over_ray
def test_a_sample_that_ends_every_process(
    job: Callable[..., RayJob], benchmark: Path, model: str
) -> None:
    answers: list[str] = []
    spec = job(model, kills="d2#1")
    with pytest.raises(FfrError, match="twice") as raised:
        answers.extend(answer.sample_id for answer in predict_with_ray(spec, range(12), Session()))
    assert "'d2#1'" in str(raised.value)
    assert answers == [name for name in ids(benchmark, range(12)) if name != "d2#1"]


@over_ray
def test_processes_that_always_die(job: Callable[..., RayJob], tmp_path: Path) -> None:
    spec = replace(job("odd"), replicas=1)
    with pytest.raises(FfrError, match="again and again"):
        list(predict_with_ray(replace(spec, options={"kills": "*"}), range(12), Session()))


@over_ray
def test_stopped_it_keeps_what_is_under_way_and_goes_on(
    job: Callable[..., RayJob], benchmark: Path
) -> None:
    names, session = ids(benchmark, range(12)), Session()
    spec = replace(job("chatty", seconds=0.3), replicas=2)
    answers = []
    for answer in predict_with_ray(spec, range(12), session):
        answers.append(answer.sample_id)
        session.stop.set()
    assert 1 <= len(answers) < 12
    assert answers == sorted(answers, key=names.index)
    left = [row for row in range(12) if names[row] not in answers]
    answers += [answer.sample_id for answer in predict_with_ray(spec, left, Session())]
    assert sorted(answers) == sorted(names)


@over_ray
def test_another_benchmark_on_the_worker_is_refused(
    job: Callable[..., RayJob], benchmark: Path
) -> None:
    wrong = replace(job("odd"), content_hash="sha256:" + "0" * 64)
    with pytest.raises(InputError, match="has other content") as raised:
        list(predict_with_ray(wrong, range(12), Session()))
    assert str(benchmark) in str(raised.value)
    missing = replace(job("odd"), benchmark=benchmark.parent / "nowhere")
    with pytest.raises(InputError, match="cannot be read on the Ray worker"):
        list(predict_with_ray(missing, range(12), Session()))
    revised = replace(job("revised"), model_revision="weights-1")
    with pytest.raises(InputError, match="another weights"):
        list(predict_with_ray(revised, range(12), Session()))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as replicas have here: the last digits depend on how sums are split."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@over_ray
@pytest.mark.usefixtures("one_thread")
def test_a_model_of_transformers_answers_the_same(benchmark: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.checkpoints import build_all

    model = build_all(tmp_path / "checkpoints", ["qwen2_lm"])["qwen2_lm"]
    options = {"model": str(model), "images": "text_only", "max_tokens": "8", "logprobs": "true"}
    machine = Machine(device="cpu", batch_size=1)
    found = []
    for name, scale_out in (("local", None), ("spread", ScaleOut(replicas=2))):
        run("hf", options, benchmark, tmp_path / name, machine=machine, scale_out=scale_out)
        found.append(sorted(lines(tmp_path / name), key=lambda record: record["sample_id"]))
    assert found[0] == found[1]
    assert len(found[0]) == 12
    assert all(record["logprobs"]["token_logprobs"] for record in found[0])


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For Ray's sockets, whose paths must not be long; a driver that is killed leaves them."""
    with tempfile.TemporaryDirectory(prefix="ffr-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.slow
def test_the_command_is_interrupted_killed_and_goes_on(
    benchmark: Path, tmp_path: Path, plugins: Path, short_folder: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ffr_eval", "run", "chatty", str(benchmark), "--engine", "ray"]
    command += ["--replicas", "2", "-o", "seconds=0.5", "--out", str(out)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PYTHONPATH": os.pathsep.join([str(plugins), str(_ROOT)]),
        "TMPDIR": str(short_folder),
    }

    def go(number: int | None) -> tuple[int, str, str]:
        before = n_lines(out)
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        while number is not None and process.poll() is None and n_lines(out) == before:
            time.sleep(0.02)
        if number is not None:
            os.killpg(process.pid, number)
        said, complained = process.communicate(timeout=300)
        return process.returncode, said.decode(), complained.decode()

    code, said, complained = go(signal.SIGINT)
    assert (code, said) == (130, "")
    assert "finishing what is under way" in complained
    n_interrupted = n_lines(out)
    assert 0 < n_interrupted < 12
    assert go(signal.SIGKILL)[0] == -signal.SIGKILL
    n_killed = n_lines(out)
    assert n_interrupted < n_killed < 12
    code, said, complained = go(None)
    assert code == 0
    counts = f"12 of 12 predictions ({12 - n_killed} new): 12 ok"
    assert said == f"{out}: all samples, {counts}\nnext: ffr score {out}\n"
    rest = [line for line in complained.splitlines() if "RAY_BACKEND_LOG_LEVEL" not in line]
    assert rest == ["note: chatty says this once"]  # but for what Ray's C++ part says of itself
    names = [record["sample_id"] for record in lines(out)]
    assert sorted(names) == sorted(ids(benchmark, range(12)))


def n_lines(folder: Path) -> int:
    file = folder / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_chunks_are_of_one_length_and_leave_work_for_all() -> None:
    assert np.diff(chunk_starts(1000, 2, 64)).tolist() == [63] * 15 + [55]
    assert np.diff(chunk_starts(100, 2, 64)).tolist() == [7] * 14 + [2]
    assert np.diff(chunk_starts(3, 8, 64)).tolist() == [1] * 3
    assert np.diff(chunk_starts(600, 2, 4)).tolist() == [4] * 150


def test_limits_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    machine = Machine(
        concurrency=7,
        requests_per_minute=3,
        tokens_per_minute=90000,
        max_cost=10.0,
        cache=Path("c"),
    )
    shared = shared_machine(machine, 4, spent=2.0)
    assert (shared.concurrency, shared.requests_per_minute) == (1, 1)
    assert (shared.tokens_per_minute, shared.max_cost) == (22500, 2.0)
    assert shared.cache == tmp_path / "c"
    assert shared_machine(machine, 4, spent=12.0).max_cost == 0.0
    assert shared_machine(Machine(), 4, spent=0.0) == Machine()


BIG, SMALL, GPUS = Node(16, 0), Node(4, 0), Node(32, 4)


@pytest.mark.parametrize(
    ("nodes", "model", "given", "expected"),
    [
        ([BIG], "bm25", {}, Room(16, 1, 0)),
        ([BIG], "bm25", {"replicas": 3}, Room(3, 1, 0)),
        ([BIG], "hf", {}, Room(1, 16, 0)),  # torch takes as many threads as there are CPUs
        ([BIG, SMALL], "hf", {"replicas": 4}, Room(4, 2, 0)),
        ([BIG, GPUS], "hf", {}, Room(4, 1, 1)),
        ([GPUS], "hf", {"machine": Machine(device="cpu")}, Room(1, 32, 0)),
        ([GPUS, GPUS], "vllm", {"options": {"tensor_parallel_size": 2}}, Room(4, 1, 2)),
        ([GPUS], "hf", {"gpus_per_replica": 0.5}, Room(8, 1, 0.5)),
        ([BIG, GPUS], "api", {}, Room(2, 0.1, 0)),
        ([SMALL], "api", {"replicas": 20}, Room(20, 0.1, 0)),
    ],
)
def test_room(nodes: list[Node], model: str, given: dict[str, Any], expected: Room) -> None:
    spec = RayJob(model, {}, Machine(), "anywhere", "sha256:0")
    assert room_for(nodes, load(MODELS, model), replace(spec, **given)) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"replicas": 17}, "no room for 17 replicas of 1 CPU each: Ray has 0 GPUs, 16 CPUs"),
        ({"gpus_per_replica": 1}, "no room for 1 replica of 1 GPU each"),
        ({"replicas": 0}, "at least 1"),
        ({"machine": Machine(device="cuda:1")}, "Ray assigns the GPUs"),
    ],
)
def test_no_room(given: dict[str, Any], message: str) -> None:
    spec = replace(RayJob("bm25", {}, Machine(), "anywhere", "sha256:0"), **given)
    with pytest.raises(InputError, match=message):
        room_for([BIG], load(MODELS, "bm25"), spec)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "clients of Ray are not supported"),
        ("head", "not HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_no_cluster(address: str, message: str, ffr: Callable[..., Any], tmp_path: Path) -> None:
    found = ffr(
        *("run", "all", "ffr-sample", "--engine", "ray", "--address", address),
        *("--out", tmp_path / "run"),
    )
    assert (found.code, found.out) == (2, "")
    assert message in found.err


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--engine ray .*ffr-eval\[ray\]"):
        run("all", {}, "ffr-sample", tmp_path / "run", scale_out=ScaleOut())
