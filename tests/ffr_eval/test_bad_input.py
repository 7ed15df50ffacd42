"""Bad input through the command line: exit code 2 and a sentence with place, field and remedy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = {"sample_id": "a#0", "utt_ids": [1], "img_ids": []}


# What cannot be scored at all --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ("FILE: no records", "one record a line")),
        (b"\n \n\r\n", ("FILE: no records",)),
        (b'[{"sample_id": "a#0"}]', ("FILE:1: neither a prediction nor", "one JSON object a line")),
        (b'{"utt_ids": []}\n', ("FILE:1: neither a prediction nor", '"sample_id"')),
        (b"sample_id,utt_ids\n", ("FILE:1: JSON is malformed", "complete JSON object")),
        (b"plain text without a line end", ("FILE:1: JSON is malformed",)),
        (b"\x89PNG\r\n\x1a\n", ("FILE:1: not UTF-8", "save the file as UTF-8")),
        ('{"sample_id": "ü"}'.encode("latin-1"), ("FILE:1: not UTF-8 (byte 15)",)),
        ('{"sample_id": "a#0"}\n'.encode("utf-16"), ("FILE:1: not UTF-8 (byte 0)",)),
        (b"\n\n{\n", ("FILE:3: ",)),
    ],
)
def test_what_is_no_prediction_file(
    cli: Any, lengths: Path, tmp_path: Path, content: bytes, says: tuple[str, ...]
) -> None:
    file = tmp_path / "file.jsonl"
    file.write_bytes(content)
    error = cli.refused("score", file, "--benchmark", lengths)
    for part in says:
        assert part.replace("FILE", str(file)) in error


GOOD_LINE = json.dumps(GOOD)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"sample_id": "z"}', ":2: response: neither a response nor ids"),
        ('{"sample_id": "z", "utt_id": [1], "img_ids": []}', ":2: utt_ids: missing"),
        ('{"sample_id": "zz", "response": "x"}', ":2: sample_id: lengths has no sample 'zz'"),
        ('{"sample_id": 7, "utt_ids": [1]}', ":2: sample_id: Expected `str`, got `int`"),
        ('{"sample_id": "a#0", "utt_ids": ["1"]}', ":2: utt_ids[0]: Expected `int`, got `str`"),
        ('{"sample_id": "a#0", "utt_ids": 1}', ":2: utt_ids: Expected `array | null`, got `int`"),
        ('{"sample_id": "a#0", "img_ids": [1e99]}', ":2: img_ids[0]: "),
        ('{"sample_id": "a#0", "response": "", "outcome": "fine"}', ":2: outcome: "),
        ('{"sample_id": "a#0", "outcome": "missing"}', ":2: outcome: 'missing' is not written"),
        ('{"sample_id": "a#0", "response": "", "schema_version": 2}', ":2: schema_version: "),
        ('{"utt_ids": [1]}', ":2: sample_id: missing"),
        ("{'sample_id': 'a#0'}", ":2: JSON is malformed"),
        ('{"sample_id": "a#0", "utt_ids": [1]', ":2: Input data was truncated"),
    ],
)
def test_a_bad_line_of_a_prediction_file(
    cli: Any, jsonl: Callable[..., Path], lengths: Path, line: str, says: str
) -> None:
    file = jsonl([GOOD, line, GOOD])
    error = cli.refused("score", file, "--benchmark", lengths)
    assert f"{file}{says}" in error
    assert "\n  → " in error


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": None}, ":2: labels: missing: the record has no gold"),
        ({"labels": [1]}, ":2: labels: expected the answer markup as text"),
        ({"response": {"text": "x"}}, ":2: response: expected text or null, got dict"),
        ({"messages": "hello"}, ":2: messages: Expected `array`, got `str`"),
        ({"messages": ["hello"]}, ":2: messages[0]: Expected `object`, got `str`"),
        ({"messages": [{"role": 1}]}, ":2: messages[0].role: "),
    ],
)
def test_a_bad_line_of_an_inference_file(
    cli: Any,
    jsonl: Callable[..., Path],
    inference: Callable[..., Any],
    change: dict[str, Any],
    says: str,
) -> None:
    file = jsonl([inference("x"), {**inference("x"), **change}, inference("x")])
    error = cli.refused("score", file)
    assert f"{file}{says}" in error
    assert "\n  → " in error


def test_a_dataset_has_no_responses(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any]
) -> None:
    record = inference("x")
    dataset = {"messages": record["messages"], "solution": record["labels"], "images": []}
    error = cli.refused("score", jsonl([dataset]))
    assert ":1: an ms-swift dataset: it has gold, but no responses" in error
    assert "`ffr data import mswift`" in error


def test_an_inference_file_takes_no_benchmark(
    cli: Any, jsonl: Callable[..., Path], inference: Callable[..., Any], lengths: Path
) -> None:
    file = jsonl([inference("x")])
    for option in (("--benchmark", lengths), ("--split", "test")):
        error = cli.refused("score", file, *option)
        assert f"{option[0]}: an ms-swift inference file carries its own gold" in error


def test_paths_that_are_not_files(cli: Any, lengths: Path, tmp_path: Path) -> None:
    missing = cli.refused("score", tmp_path / "nope.jsonl", "--benchmark", lengths)
    assert f"{tmp_path / 'nope.jsonl'}: no such file" in missing
    assert "a folder without run.json" in cli.refused("score", tmp_path)
    assert "`ffr run`" in cli.refused("score", tmp_path)
    assert "standard input is not read" in cli.refused("score", "-")
    assert "prediction file has no gold" in cli.refused("score", _file(tmp_path))
    assert "name the benchmark: --benchmark DIR" in cli.refused("score", _file(tmp_path))


def test_a_pipe_is_refused_since_it_cannot_be_read_twice(
    cli: Any, lengths: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    error = cli.refused("score", pipe, "--benchmark", lengths)
    assert "a pipe" in error
    assert "save them to a file first" in error


def _file(folder: Path) -> Path:
    file = folder / "good.jsonl"
    file.write_text(GOOD_LINE)
    return file


# Benchmark folders -------------------------------------------------------------------------------


def _change(file: Path, line: int, **fields: Any) -> None:
    lines = file.read_text().splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields})
    file.write_text("\n".join(lines) + "\n")


BAD_FOLDERS: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "duplicate": ("queries.jsonl", 2, {"sample_id": "a#0"}, "sample_id: sample 'a#0' occurs twice"),
    "gold": (
        *("queries.jsonl", 1, {"gold_utt_ids": [1, 10]}),
        "gold_utt_ids[1]: the dialogue has no utterance 10",
    ),
    "gold image": ("queries.jsonl", 3, {"gold_img_ids": [0], "kind": None}, "gold_img_ids[0]: "),
    "dialogue": ("queries.jsonl", 1, {"dialogue_id": "q"}, "dialogue_id: there is no dialogue 'q'"),
    "image": (
        *("dialogues.jsonl", 1, {"images": [{"img_id": 0, "path": "../x.png"}, {"img_id": 1}]}),
        "images[0].path: the path '../x.png' leaves the benchmark folder",
    ),
    "type": ("dialogues.jsonl", 2, {"turns": "none"}, "turns: Expected `array`, got `str`"),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_bad_benchmark_folder(cli: Any, lengths: Path, tmp_path: Path, name: str) -> None:
    file, line, fields, says = BAD_FOLDERS[name]
    _change(lengths / file, line, **fields)
    place = f"{lengths / file}:{line}: "
    commands = (
        ("score", _file(tmp_path), "--benchmark", lengths),
        ("run", "none", lengths, "--out", tmp_path / "run"),
    )
    for command in commands:
        error = cli.refused(*command)
        assert place + says in error
        assert "\n  → " in error
    checked = cli.run("data", "check", lengths, "--json", "-")
    assert checked.code == 2
    assert json.loads(checked.out)["ok"] is False
    found = json.loads(checked.out)["errors"][0]
    assert (found["file"], found["line"]) == (str(lengths / file), line)
    assert found["remedy"]
    assert not (tmp_path / "run").exists()


def test_a_benchmark_that_is_not_utf8(cli: Any, lengths: Path, tmp_path: Path) -> None:
    queries = lengths / "queries.jsonl"
    queries.write_bytes(queries.read_bytes().replace(b"nothing", b"n\xf6thing"))
    error = cli.refused("score", _file(tmp_path), "--benchmark", lengths)
    assert f"{queries}:2: not UTF-8 (byte " in error


def test_paths_that_are_no_benchmark(cli: Any, tmp_path: Path) -> None:
    file = _file(tmp_path)
    error = cli.refused("score", file, "--benchmark", tmp_path / "nope")
    assert "no such benchmark folder" in error
    assert "ffr-sample" in error
    assert "not a benchmark folder" in cli.refused("score", file, "--benchmark", file)
    assert "benchmark.json: no such file" in cli.refused("score", file, "--benchmark", tmp_path)


# Runs --------------------------------------------------------------------------------------------


@pytest.fixture
def run(cli: Any, lengths: Path, tmp_path: Path) -> Path:
    cli("run", "none", lengths, "--out", tmp_path / "run")
    return tmp_path / "run"


def test_a_run_on_a_benchmark_that_changed(cli: Any, run: Path, lengths: Path) -> None:
    before = json.loads((run / "run.json").read_text())["benchmark"]["hash"]
    _change(lengths / "queries.jsonl", 1, query="another")
    for command in ("score", "rank"):
        error = cli.refused(command, run)
        assert f"{run / 'run.json'}: benchmark.hash: the run was made on lengths {before}" in error
        assert "--benchmark" in error


def test_a_run_whose_benchmark_is_gone(cli: Any, run: Path, lengths: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.move(lengths, moved)
    error = cli.refused("score", run)
    assert f"benchmark.path: the run's benchmark is not at {lengths} any more" in error
    assert "say where it is: --benchmark DIR" in error
    assert cli("score", run, "--benchmark", moved, "--json", "-").json["n_samples"] == 5


def test_a_damaged_run_record(cli: Any, run: Path) -> None:
    record = run / "run.json"
    for content, says in (("", ""), ("{}", "model: missing"), ('{"model": 1}', "model: Expected")):
        record.write_text(content)
        assert f"{record}: {says}" in cli.refused("score", run)
    record.write_bytes(b"\xff")
    assert f"{record}: " in cli.refused("score", run)


def test_a_run_without_predictions_is_all_missing(cli: Any, run: Path) -> None:
    (run / "predictions.jsonl").unlink()
    assert cli("score", run, "--json", "-").json["outcomes"]["missing"] == 5


def test_other_options_on_an_existing_run(cli: Any, run: Path, lengths: Path) -> None:
    error = cli.refused("run", "all", lengths, "--out", run)
    assert 'this folder holds another run: model is "none" there, now "all"' in error
    assert "use another --out" in error


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("run", "bm26", "B", "--out", "OUT"), "unknown model 'bm26'\n  → did you mean 'bm25'?"),
        (("run", "none", "B", "--out", "OUT", "-o", "k=1"), "option k: unknown option"),
        (("run", "bm25", "B", "--out", "OUT", "-o", "kk=1"), "did you mean 'k'?"),
        (("run", "bm25", "B", "--out", "OUT", "-o", "k=x"), "option k: 'x' is not a whole number"),
        (("run", "bm25", "B", "--out", "OUT", "-o", "k"), "an option is KEY=VALUE, not 'k'"),
        (("run", "bm25", "B", "--out", "OUT", "-o", "b=nan"), "option b: 'nan' is not"),
        (("run", "none", "B", "--out", "OUT", "--split", "tset"), "no split 'tset'"),
        (("run", "none", "B", "--out", "OUT", "--tune-on", "test"), "would be tuned on"),
        (("run", "none", "B", "--out", "B/queries.jsonl"), "is a file, not a run folder"),
        (("run", "none", "B", "--out", "B"), "not empty, and not a run folder"),
        (("score", "RUN", "--split", "tset"), "no split 'tset'\n  → splits here: "),
        (("score", "RUN", "--group-by", "turn"), "--group-by: unknown grouping 'turn'"),
        (("score", "RUN", "--protocol", "official", "--parse", "strict"), "--parse: "),
        (("rank", "RUN", "--metric", "micro.joint.f2"), "did you mean 'micro.joint.f1'?"),
        (("data", "import", "qmsun", "x", "--out", "OUT"), "did you mean 'qmsum'?"),
        (("data", "import", "mswift", "nope.json", "--out", "OUT"), "nope.json: no such file"),
        (("data", "split", "B", "--fractions", "a=0.5"), "add up to"),
    ],
)
def test_a_wrong_value_is_refused(
    cli: Any, run: Path, lengths: Path, tmp_path: Path, args: tuple[str, ...], says: str
) -> None:
    places = {"RUN": str(run), "B": str(lengths), "OUT": str(tmp_path / "new")}
    given = [places.get(arg, arg.replace("B/", f"{lengths}/")) for arg in args]
    assert says.replace("B:", f"{lengths}:") in cli.refused(*given)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("score", "RUN", "--json", "/nowhere/x.json"), "/nowhere/x.json: cannot be written"),
        (("score", "RUN", "--json", "B"), "B: is a folder"),
        (("score", "RUN", "--json", ""), ".: is a folder"),
        (("rank", "RUN", "--json", "B/queries.jsonl/x"), "cannot be written"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_computed(
    cli: Any, run: Path, lengths: Path, args: tuple[str, ...], says: str
) -> None:
    places = {"RUN": str(run), "B": str(lengths)}
    result = cli.run(*(places.get(arg, arg.replace("B/", f"{lengths}/")) for arg in args))
    assert result.code == 2
    assert says.replace("B:", f"{lengths}:") in result.err
    assert result.out == ""


# Long lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["predictions", "inference"])
def test_a_line_over_the_limit_is_refused_with_its_number(
    cli: Any,
    monkeypatch: pytest.MonkeyPatch,
    jsonl: Callable[..., Path],
    inference: Callable[..., Any],
    lengths: Path,
    kind: str,
) -> None:
    def long(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "meta": {"pad": "x" * 5000}}

    good = GOOD if kind == "predictions" else inference("x")
    file = jsonl([good, good, long(good), good])
    options = ("--benchmark", lengths) if kind == "predictions" else ()
    monkeypatch.setattr("ffr_eval.inference_file.MAX_LINE_BYTES", 4000)
    monkeypatch.setattr("ffr_eval.inference_file._BLOCK_BYTES", 1000)
    monkeypatch.setattr("ffr_eval.jsonl.read_lines.__defaults__", (4000,))
    error = cli.refused("score", file, *options)
    assert f"{file}:3: the line is longer than" in error
    assert "one record a line" in error


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["prediction", "inference", "only line", "benchmark"])
def test_a_line_of_100_mb_is_refused_in_bounded_memory(
    inference: Callable[..., Any], lengths: Path, tmp_path: Path, kind: str
) -> None:
    file = lengths / "queries.jsonl" if kind == "benchmark" else tmp_path / "long.jsonl"
    first = inference("x") if kind == "inference" else GOOD
    head = "" if kind == "only line" else json.dumps(first) + "\n"
    head = file.read_text() if kind == "benchmark" else head
    with file.open("w") as stream:
        stream.write(head + '{"messages": [], "sample_id": "')
        for _ in range(100):
            stream.write("x" * 10**6)
        stream.write('"}\n')
    target = _file(tmp_path) if kind == "benchmark" else file
    options = () if kind == "inference" else ("--benchmark", str(lengths))
    code = (
        "import resource, runpy, sys\n"
        "try: runpy.run_module('ffr_eval', run_name='__main__')\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "score", str(target), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{file}:{head.count(chr(10)) + 1}: the line is longer than" in done.stderr
    assert int(done.stdout) < 700 * 1024  # kB
