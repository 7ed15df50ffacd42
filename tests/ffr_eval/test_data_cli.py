"""``ffr data``: import, check and split, as a user calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from filelock import FileLock

from ffr_eval.benchmark import read_benchmark
from ffr_eval.cli.data import data
from ffr_eval.errors import InputError
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, answer_text, mark

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*args: object) -> Result:
    return CliRunner().invoke(data, [str(arg) for arg in args])


def refused(*args: object) -> InputError:
    result = run(*args)
    assert isinstance(result.exception, InputError), result.output
    assert result.exception.exit_code == 2
    return result.exception


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An ms-swift file of four dialogues, two queries each, an image without a file in each."""
    text = "\n".join(f"{mark(UTT_ID, i)} S: text {i}" for i in range(4))
    text += f" {mark(IMG_ID, 0)}<image>"
    records = [
        {
            "messages": [{"role": "user", "content": f"{mark(QUERY, f'query {k}')}\n{text}"}],
            "images": ["0.png"],
            "solution": answer_text([0, 1, 2], [0] if k else []),
            "dialogue_id": f"d{d}",
        }
        for d in range(4)
        for k in range(2)
    ]
    file = tmp_path / "source.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    return file


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    result = run("import", "mswift", source, "--out", tmp_path / "b")
    assert result.exit_code == 0, result.output
    return tmp_path / "b"


def test_import_writes_a_benchmark_and_says_what_it_holds(source: Path, tmp_path: Path) -> None:
    result = run("import", "mswift", source, "--out", tmp_path / "b", "--name", "mine")
    assert result.exit_code == 0, result.output
    benchmark = read_benchmark(tmp_path / "b")
    assert (benchmark.name, len(benchmark)) == ("mine", 8)
    expected = {
        "name": "mine",
        "dialogues": "4",
        "queries": "8",
        "mean turns": "4.0",
        "images": "4",
        "gold": "3.0 utterances, 0.5 images a query on average",
        "splits": "test 8",
        "kinds": "multimodal 4, utterance 4",
        "content hash": benchmark.content_hash,
    }
    lines = result.stdout.splitlines()
    for name, value in expected.items():
        assert f"{name:<13} {value}" in lines
    note = "note: 4 images have no file: none was found at their paths (for example "
    assert any(line.startswith(note) for line in lines)


def test_the_name_comes_from_the_folder(folder: Path) -> None:
    assert read_benchmark(folder).name == "b"


def test_an_import_that_fails_leaves_nothing(source: Path, tmp_path: Path) -> None:
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:-1], lines[-1].replace("solution", "x")]))
    error = refused("import", "mswift", source, "--out", tmp_path / "deep" / "b")
    assert str(error).startswith(f"{source}:8: solution: ")
    assert [path.name for path in tmp_path.iterdir()] == ["source.jsonl"]


def test_import_does_not_overwrite(folder: Path, source: Path) -> None:
    before = read_benchmark(folder).content_hash
    assert "already exists" in str(refused("import", "mswift", source, "--out", folder))
    assert read_benchmark(folder).content_hash == before


def test_an_unknown_format_names_the_nearest(source: Path, tmp_path: Path) -> None:
    error = refused("import", "qmsun", source, "--out", tmp_path / "b")
    assert "did you mean 'qmsum'?" in str(error)
    assert "mswift, qmsum, qmsum-evidence" in str(error)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("qmsum", 0, "takes QMSUM_DIR, but 0 paths were given"),
        ("qmsum", 2, "takes QMSUM_DIR, but 2 paths were given"),
        ("qmsum-evidence", 1, "takes QMSUM_DIR EVIDENCE_DIR, but 1 path was given"),
        ("mswift", 0, "takes FILE…, but 0 paths were given"),
    ],
)
def test_wrong_number_of_sources(tmp_path: Path, name: str, count: int, expected: str) -> None:
    error = refused("import", name, *([tmp_path] * count), "--out", tmp_path / "b")
    assert expected in str(error)
    assert f"→ ffr data import {name} " in str(error)


def test_check_of_a_good_folder(folder: Path, tmp_path: Path) -> None:
    result = run("check", folder, "--json", tmp_path / "report.json")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "ok"
    assert f"{'queries':<13} 8" in result.stdout.splitlines()
    assert json.loads((tmp_path / "report.json").read_text()) == {"ok": True, "errors": []}


def test_check_of_a_bad_folder(folder: Path) -> None:
    file = folder / "queries.jsonl"
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace('"gold_utt_ids":[0,1,2]', '"gold_utt_ids":[0,8,9]')
    lines[2] = lines[2].replace('"d1#0"', '"d0#0"')
    file.write_text("\n".join(lines))
    result = run("check", folder, "--json", "-")
    assert result.exit_code == 2
    report = json.loads(result.stdout)  # standard output holds the report and nothing else
    assert report["ok"] is False
    assert [(error["line"], error["field"]) for error in report["errors"]] == [
        (2, "gold_utt_ids[1]"),
        (2, "gold_utt_ids[2]"),
        (3, "sample_id"),
    ]
    for error in report["errors"]:
        assert list(error) == ["file", "line", "field", "message", "remedy"]
        assert error["file"] == str(file)
        assert error["remedy"]
    assert f"{file}:2: gold_utt_ids[1]: the dialogue has no utterance 8\n  → " in result.stderr
    assert result.stderr.splitlines()[-1] == "3 problems"


def test_check_shows_the_first_of_many_problems(folder: Path, tmp_path: Path) -> None:
    file = folder / "queries.jsonl"
    file.write_text(file.read_text().replace("[0,1,2]", str(list(range(100, 120)))))
    result = run("check", folder, "--json", tmp_path / "report.json")
    assert result.exit_code == 2
    assert result.stderr.count("→") == 50
    assert "… and 110 more" in result.stderr
    assert len(json.loads((tmp_path / "report.json").read_text())["errors"]) == 160


def test_check_of_no_folder(tmp_path: Path) -> None:
    result = run("check", tmp_path / "nowhere", "--json", "-")
    assert result.exit_code == 2
    (error,) = json.loads(result.stdout)["errors"]
    assert error["file"] == str(tmp_path / "nowhere")
    assert error["remedy"]


def test_a_report_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    error = refused("check", folder, "--json", tmp_path / "nowhere" / "report.json")
    assert "cannot be written" in str(error)


def test_split(folder: Path) -> None:
    before = read_benchmark(folder).content_hash
    result = run("split", folder, "--fractions", "dev=0.25,test=0.75", "--seed", 7)
    assert result.exit_code == 0, result.output
    benchmark = read_benchmark(folder)
    assert result.stdout.splitlines()[:2] == ["dev: 1 dialogues", "test: 3 dialogues"]
    assert (len(benchmark.rows("dev")), len(benchmark.rows("test"))) == (2, 6)
    assert benchmark.content_hash != before
    assert benchmark.content_hash in result.stdout
    assert run("check", folder).exit_code == 0


def test_split_refuses_bad_fractions(folder: Path) -> None:
    assert "add up to 0.5" in str(refused("split", folder, "--fractions", "dev=0.5"))
    assert "5 splits" in str(
        refused("split", folder, "--fractions", "a=0.2,b=0.2,c=0.2,d=0.2,e=0.2")
    )


@pytest.mark.parametrize("command", [[], ["import"], ["check"], ["split"]])
def test_help_has_examples(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    ffr data {' '.join(command)}" in result.stdout


def test_help_of_import_lists_the_formats() -> None:
    text = " ".join(run("import", "--help").stdout.split())
    assert "qmsum-evidence QMSUM_DIR EVIDENCE_DIR: QMSum meetings" in text
    assert "mswift FILE…: ms-swift" in text


def test_the_module_is_light() -> None:
    code = (
        "import sys, ffr_eval.cli.data;"
        "print(sorted({'numpy', 'msgspec', 'rich', 'ffr_eval.benchmark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_killed_import_left_is_removed_by_the_next(
    cli: Any, tmp_path: Path, source: Path
) -> None:
    left, busy = tmp_path / ".out.import-left", tmp_path / ".out.import-busy"
    for folder in (left, busy):
        (folder / "benchmark").mkdir(parents=True)
    with FileLock(busy / "lock"):  # another process is at work there
        cli("data", "import", "mswift", source, "--out", tmp_path / "out")
    assert not left.exists()
    assert busy.exists()


def test_terminated_it_leaves_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "fifo.jsonl", tmp_path / "new" / "out"
    os.mkfifo(source)
    command = [sys.executable, "-m", "ffr_eval", "data", "import", "mswift", source, "--out", out]
    with subprocess.Popen(list(map(str, command))) as process:
        deadline = time.monotonic() + 30
        while not list(out.parent.glob(".out.import-*/benchmark")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.terminate()
        assert process.wait(30) == 143
    assert not out.parent.exists()


def test_no_queries_is_an_error_and_leaves_nothing(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    source, out = tmp_path / "empty.jsonl", tmp_path / "out"
    error = cli.refused("data", "import", "mswift", source, "--out", out)
    assert "no queries" in error
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_an_output_without_a_name_is_refused(cli: Any, name: str) -> None:
    assert "is a folder" in cli.refused("data", "export", "mswift", "ffr-sample", "--out", name)
    assert "is a folder" in cli.refused("data", "show", "ffr-sample", "zh-02#0", "--html", name)


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom ffr_eval.writing import replacing\n"
        "for _ in range(60):\n"
        "    with replacing(Path(sys.argv[1])) as file:\n"
        "        file.write_text(sys.argv[2] * 200_000)\n"
    )
    target = tmp_path / "page.html"
    writers = [subprocess.Popen([sys.executable, "-c", program, target, letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            seen.add(target.read_text())
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen <= {"a" * 200_000, "b" * 200_000}
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_link_is_written_through(cli: Any, tmp_path: Path) -> None:
    real, link = tmp_path / "real.html", tmp_path / "link.html"
    real.touch()
    link.symlink_to(real)
    cli("data", "show", "ffr-sample", "zh-02#0", "--html", link)
    assert link.is_symlink()
    assert real.stat().st_size > 1000


def test_work_folders_of_many_processes(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom ffr_eval.writing import work_folder\n"
        "for _ in range(40):\n"
        "    with work_folder(Path(sys.argv[1]), 'test') as folder:\n"
        "        (folder / 'a').write_text('x')\n"
        "        assert (folder / 'a').exists()\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "out"]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [worker.communicate()[1].decode() for worker in workers]
    assert errors == ["", "", ""]
    assert not list(tmp_path.iterdir())
