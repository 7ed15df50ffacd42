"""``ffr report`` from end to end: what is written, with the numbers of other commands."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from ffr_eval.benchmark import BenchmarkWriter, DialogueRecord, InfoRecord, QueryRecord, TurnRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Cli

NASTY = "模型--<b>&$x$_%|*[a](b)"
FAST = ("--replicates", 200)


def prediction(
    sample_id: str, utts: Sequence[int], imgs: Sequence[int] = (), **more: Any
) -> dict[str, Any]:
    outcome = more.pop("outcome", "ok" if utts or imgs else "empty")
    return {
        "schema_version": 1,
        "sample_id": sample_id,
        "response": None,
        "utt_ids": list(utts),
        "img_ids": list(imgs),
        "outcome": outcome,
        **more,
    }


@pytest.fixture
def runs(jsonl: Callable[..., Path]) -> list[Path]:
    """Three prediction files on the benchmark ``lengths``."""
    return [
        jsonl(
            [
                prediction("a#0", [1, 2], [0], latency_s=0.5, cost=0.01),
                prediction("a#1", [], latency_s=0.5, cost=0.01),
                prediction("b#0", [3, 4], latency_s=0.5, cost=0.03),
                prediction("c#0", [], [0], latency_s=0.5),
            ],
            "good.jsonl",
        ),
        jsonl(
            [
                prediction("a#0", [2, 3], [1], latency_s=0.25, cost=0.002),
                prediction("a#1", [7], latency_s=0.25),
                prediction("b#0", [9], latency_s=0.25),
                prediction("c#0", [], outcome="refusal", latency_s=0.25),
            ],
            f"{NASTY}.jsonl",
        ),
        jsonl([prediction("a#0", [1]), prediction("b#0", [5, 6])], "_hidden.jsonl"),
    ]


@pytest.fixture
def make(cli: Cli, lengths: Path, tmp_path: Path) -> Callable[..., str]:
    """Makes a report on the split ``test`` of ``lengths``; returns its text."""

    def report(runs: list[Path], out: str, *options: object) -> str:
        path = tmp_path / out
        cli(
            "report",
            *runs,
            "--benchmark",
            lengths,
            "--split",
            "test",
            "--out",
            path,
            *FAST,
            *options,
        )
        return path.read_text(encoding="utf-8")

    return report


def rows_of(page: str) -> list[list[str]]:
    """The main table of a Markdown report, cells without their marks."""
    lines = page.partition("## Results")[2].partition("Bold:")[0].strip().splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [cells[0], *cells[2:]]


def bare(cell: str) -> str:
    return re.sub(r"\*\*|</?ins>|\\", "", cell)


def test_numbers_are_those_of_score(
    make: Callable[..., str], cli: Cli, runs: list[Path], lengths: Path
) -> None:
    table = rows_of(make(runs, "r.md"))
    heading = table[0]
    by_name = {bare(row[heading.index("run")]): row for row in table[1:]}
    options = ("--benchmark", lengths, "--split", "test", "--json", "-")
    scores = cli("score", runs[0], *options).json
    row = dict(zip(heading, map(bare, by_name["good.jsonl"]), strict=True))
    for modality in ("utterance", "image"):
        for figure, shown in (("precision", "P"), ("recall", "R"), ("f1", "F1"), ("mcc", "MCC")):
            assert row[f"{modality} {shown}"] == f"{scores['micro'][modality][figure]:.3f}"
    assert row["joint macro F1"] == f"{scores['macro']['joint']['f1']:.3f}"
    assert row["micro joint F1"].startswith(f"{scores['micro']['joint']['f1']:.3f} [")
    assert row["answered"] == "100.0%"
    assert bare(by_name["_hidden.jsonl"][heading.index("answered")]) == "50.0%"


def test_ranks_and_differences_are_those_of_compare(
    make: Callable[..., str], cli: Cli, runs: list[Path], lengths: Path
) -> None:
    page = make(runs, "r.md")
    options = ("--benchmark", lengths, "--split", "test", *FAST, "--json", "-")
    found = cli("compare", *runs, *options).json
    table = rows_of(page)
    for rank, row in zip(found["ranks"], table[1:4], strict=True):
        lo, hi = rank["ci95"]
        cells = [bare(cell) for cell in row]
        assert cells[0] == str(rank["tier"])
        assert cells[1] == f"{rank['rank_lo']}–{rank['rank_hi']}"
        assert cells[table[0].index("micro joint F1")] == (
            f"{rank['value']:.3f} [{lo:.3f}, {hi:.3f}]"
        )
    pair = next(p for p in found["pairs"] if {p["a"], p["b"]} == {"good.jsonl", "_hidden.jsonl"})
    shown = next(
        line for line in page.splitlines() if line.startswith(r"| good.jsonl | \_hidden.jsonl |")
    )
    assert f"{abs(pair['delta']):.3f}" in shown
    assert f"{pair['p']:.3f} | {min(pair['p_holm'], 1):.3f} |" in shown


def test_figures_are_files_that_open(
    make: Callable[..., str], runs: list[Path], tmp_path: Path
) -> None:
    page = make(runs, "r.tex")
    folder = tmp_path / "r-figures"
    names = {path.stem for path in folder.iterdir()}
    assert names == {"scores", "turns", "groups", "cost", "latency", "outcomes", "errors"}
    for name in names:
        with Image.open(folder / f"{name}.png") as image:
            image.load()
            assert image.width > 600
        assert ET.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert f"r-figures/{name}.pdf" in page
    assert NASTY in (folder / "scores.svg").read_text(encoding="utf-8").replace(
        "&lt;", "<"
    ).replace("&gt;", ">").replace("&amp;", "&")


def test_markdown_links_to_its_figures(
    make: Callable[..., str], runs: list[Path], tmp_path: Path
) -> None:
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", make(runs, "r.md"))
    assert links
    assert all((tmp_path / link).is_file() for link in links)


def test_same_bytes_twice_and_stale_figures_go(
    make: Callable[..., str], runs: list[Path], tmp_path: Path
) -> None:
    def everything() -> dict[str, bytes]:
        found = [tmp_path / "r.html", *(tmp_path / "r-figures").iterdir()]
        return {path.name: path.read_bytes() for path in found}

    make(runs, "r.html")
    first = everything()
    mine = tmp_path / "r-figures" / "mine.png"
    mine.write_bytes(b"mine")
    (tmp_path / "r-figures" / "calibration.png").write_bytes(b"of an older report")
    make(runs, "r.html")
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    assert everything() == first
    assert not [path.name for path in tmp_path.rglob(".*")]


def test_command_says_no_paths(make: Callable[..., str], runs: list[Path], tmp_path: Path) -> None:
    page = make(runs, "r.html", "--common")
    assert str(tmp_path) not in page
    assert "--out r.html --benchmark lengths --split test --replicates 200 --common" in page


@pytest.mark.parametrize("suffix", ["html", "md", "tex"])
def test_one_run(make: Callable[..., str], runs: list[Path], suffix: str) -> None:
    page = make(runs[:1], f"r.{suffix}")
    assert "good.jsonl" in page
    assert "tier" not in page.partition("Notes")[0].replace("tier,", "")


def test_one_dialogue_has_no_intervals_and_says_so(cli: Cli, tmp_path: Path, jsonl: Any) -> None:
    with BenchmarkWriter(tmp_path / "one", InfoRecord(name="one")) as writer:
        turns = tuple(TurnRecord(i, "S", "text") for i in range(5))
        writer.add_dialogue(DialogueRecord("d", turns))
        writer.add_query(QueryRecord("d#0", "d", "q", (1, 2), ()))
    runs = [jsonl([prediction("d#0", [i])], f"{i}.jsonl") for i in (1, 4)]
    out = tmp_path / "r.md"
    cli("report", *runs, "--benchmark", tmp_path / "one", "--out", out)
    page = out.read_text()
    assert "all samples are on one dialogue" in page
    assert "nan" not in page.lower().replace("dominan", "")
    assert "image" not in rows_of(page)[0]
    assert not any(heading.startswith("image") for heading in rows_of(page)[0])
    assert {path.stem for path in (tmp_path / "r-figures").iterdir()} == {
        "scores",
        "outcomes",
        "errors",
    }
    assert "Fewer than two runs say what their answers took in cost." in page
    assert "No grouping divides these samples" in page


def test_undefined_metric_is_explained(cli: Cli, tmp_path: Path, jsonl: Any) -> None:
    with BenchmarkWriter(tmp_path / "two", InfoRecord(name="two")) as writer:
        for name in ("d", "e"):
            turns = tuple(TurnRecord(i, "S", "text") for i in range(5))
            writer.add_dialogue(DialogueRecord(name, turns))
            writer.add_query(QueryRecord(f"{name}#0", name, "q", (1, 2), ()))
    runs = [
        jsonl([prediction("d#0", [1]), prediction("e#0", [2])], "none.jsonl"),
        jsonl([prediction("d#0", [1], [7]), prediction("e#0", [2])], "invented.jsonl"),
        jsonl([prediction("d#0", [1], [7]), prediction("e#0", [2], [8])], "more.jsonl"),
    ]
    out = tmp_path / "r.md"
    options = ("--benchmark", tmp_path / "two", "--out", out, *FAST, "--metric", "micro.image.f1")
    cli("report", *runs, *options)
    page = out.read_text()
    table = rows_of(page)
    shown = {bare(row[2]): row for row in table[1:4]}
    assert shown["none.jsonl"][:2] == ["", "–"]
    assert shown["none.jsonl"][table[0].index("micro image F1")] == "–"
    assert shown["more.jsonl"][table[0].index("micro image F1")].startswith("**0.000**")
    assert "none.jsonl" in page.partition("## Notes")[2]
    cli("report", *runs[:1], *options)
    assert dict(zip(*rows_of(out.read_text())[:2], strict=True))["micro image F1"] == "–"


def test_lower_is_better_turns_marks_and_order(make: Callable[..., str], runs: list[Path]) -> None:
    table = rows_of(make(runs, "r.md", "--metric", "over_retrieval"))
    place = table[0].index("macro joint over retrieval")
    values = [float(bare(row[place]).split()[0]) for row in table[1:4]]
    assert values == sorted(values)
    assert values[0] < values[2]
    assert "**" in table[1][place]


def test_common_samples_only(make: Callable[..., str], runs: list[Path]) -> None:
    page = make(runs, "r.md", "--common")
    assert "| samples | 2 queries on 2 dialogues |" in page
    assert "only the 2 samples that no run lacks are compared; 2 are left out" in page
    assert "lacks 2 of 4 samples" in make(runs, "r.md")


def test_scores_give_a_threshold_curve(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "bm25"
    cli("run", "bm25", "ffr-sample", "--split", "dev", "--save-scores", "--out", run)
    oracle = tmp_path / "oracle"
    cli("run", "oracle", "ffr-sample", "--split", "dev", "--out", oracle)
    out = tmp_path / "r.md"
    cli("report", run, oracle, "--out", out, *FAST)
    page = out.read_text(encoding="utf-8")
    names = [bare(row[0]) for row in rows_of(page)[1:]]
    assert names == ["bm25", "*oracle*", "*bm25, best threshold*"] + [
        f"*floor: {name}*" for name in ("none", "all", "random", "window")
    ]
    ranked = json.loads(cli("rank", run, oracle, "--split", "dev", "--json", "-").out)
    best = next(row["oracle_threshold"] for row in ranked["rows"] if row["run"] == "bm25")
    assert rows_of(page)[3][1] == f"{best:.3f}"
    assert [floor["value"] for floor in ranked["floors"]] == pytest.approx(
        [float(row[1]) for row in rows_of(page)[4:8]], abs=5e-4
    )
    with Image.open(tmp_path / "r-figures" / "calibration.png") as image:
        image.load()


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("r.pdf", (), "end its name in one of .html, .md, .tex"),
        ("r", (), "a file without suffix"),
        ("no/r.md", (), "there is no such folder"),
        ("r.md", ("--metric", "micro.joint.f2"), "unknown metric"),
        ("r.md", ("--metric", "cardinality_ratio"), "does not say which run is better"),
        ("r.md", ("--group-by", "colour"), "unknown grouping"),
        ("r.md", ("--protocol", "lax"), "unknown protocol"),
        ("r.md", ("--replicates", 0), "0 replicates"),
    ],
)
def test_refused(
    cli: Cli,
    runs: list[Path],
    lengths: Path,
    tmp_path: Path,
    out: str,
    options: tuple[object, ...],
    message: str,
) -> None:
    given = ("report", *runs, "--benchmark", lengths, "--split", "test", "--out", tmp_path / out)
    assert message in cli.refused(*given, *options)
    assert not (tmp_path / out).exists()
    assert not list(tmp_path.glob("*-figures"))


def test_other_samples_are_refused(cli: Cli, tmp_path: Path, lengths: Path, jsonl: Any) -> None:
    for split in ("dev", "test"):
        cli("run", "none", "ffr-sample", "--split", split, "--out", tmp_path / split)
    out = ("--out", tmp_path / "r.html")
    message = cli.refused("report", tmp_path / "dev", tmp_path / "test", *out)
    assert "is of split dev, this is of split test" in message
    assert "given twice" in cli.refused("report", tmp_path / "dev", tmp_path / "dev", *out)
    a = jsonl([prediction("a#0", [1])], "a.jsonl")
    b = jsonl([prediction("b#0", [1])], "b.jsonl")
    message = cli.refused("report", a, b, "--benchmark", lengths, "--common", *out)
    assert "there is no sample that every run has a prediction for" in message
