"""``ffr embed``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from baselines.encoders.registry import make_encoder
from tests.baselines.embedding.fake_encoder import FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ffr_eval.embeddings.store import EmbeddingStore
    from tests.conftest import Cli, Result


def test_it_embeds_turns_images_and_queries_once(
    cli: Cli, colours: Path, store: EmbeddingStore
) -> None:
    first = cli("embed", colours, "--encoder", "fake", "--json", "-").json
    expected = {
        "encoder": "fake:one",
        "space": make_encoder("fake").describe().id,
        "revision": "revision of one",
        "dimension": 16,
        "n_elements": 3 * (7 + 3 + 2),  # without the blank turns
        "n_distinct": 3 + 3 * 4 + 3 + 2,
        "n_known": 0,
        "n_new": 20,
        "failures": {},
        "n_cut": 0,
        "max_tokens": None,
    }
    assert {**first, **expected} == first
    assert set(first) == {*expected, "seconds"}
    again = cli("embed", colours, "--encoder", "fake", "--json", "-").json
    assert (again["n_known"], again["n_new"], again["dimension"]) == (20, 0, 16)
    assert FakeEncoder.loads == 1


def test_a_run_afterwards_computes_nothing(cli: Cli, colours: Path, tmp_path: Path) -> None:
    for name in ("fake", "faketext"):
        cli("embed", colours, "--encoder", name)
        n_calls, loads = len(FakeEncoder.calls), FakeEncoder.loads
        cli("run", name, colours, "--out", tmp_path / name)
        assert (FakeEncoder.loads, len(FakeEncoder.calls)) == (loads, n_calls)


def test_a_split_is_its_queries_and_their_dialogues(cli: Cli, colours: Path) -> None:
    report = cli("embed", colours, "--encoder", "fake", "--split", "dev", "--json", "-").json
    assert report["n_elements"] == 3 * (7 + 3 + 1)
    assert "no split 'train'" in cli.refused(
        "embed", colours, "--encoder", "fake", "--split", "train"
    )


def test_context_is_embedded_ahead(cli: Cli, colours: Path, tmp_path: Path) -> None:
    cli("embed", colours, "--encoder", "fake", "--context", 1)
    loads = FakeEncoder.loads
    cli("run", "fake", colours, "--out", tmp_path / "run", "-o", "context=1")
    assert FakeEncoder.loads == loads


def test_several_benchmarks_and_encoders(
    cli: Cli, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = make_colours(tmp_path / "one"), make_colours(tmp_path / "two")
    specs = ("--encoder", "fake", "--encoder", "faketext:other")
    reports = cli("embed", one, two, *specs, "--json", "-").json
    assert [report["encoder"] for report in reports] == ["fake:one", "faketext:other"]
    assert [report["n_elements"] for report in reports] == [72, 2 * 3 * (7 + 3 + 2)]
    assert reports[0]["n_distinct"] == 20


def test_the_text_says_what_was_done(cli: Cli, colours: Path) -> None:
    result = cli("embed", colours, "--encoder", "fake")
    assert "fake:one: 36 elements, 20 distinct: 0 were in the store, 20 are new" in result.out
    assert result.err == ""


def test_failed_images_are_listed_and_no_failed_run(cli: Cli, colours: Path) -> None:
    (colours / "images" / "red.png").write_bytes(b"damaged")
    (colours / "images" / "blue.png").unlink()
    for _ in range(2):
        result = cli("embed", colours, "--encoder", "fake", "--json", "-")
        assert result.json["failures"] == {"unreadable": 1}
        assert "1 image file cannot be read" in result.err
        assert str(colours / "images" / "red.png") in result.err
        assert "1 image file is missing" in result.err
        assert str(colours / "images" / "blue.png") in result.err


def test_images_without_a_file_are_counted(
    cli: Cli, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = make_colours(tmp_path / "bare", files=False)
    assert "9 images have no file" in cli("embed", benchmark, "--encoder", "fake").err
    assert cli("embed", benchmark, "--encoder", "faketext").err == ""


def test_cut_texts_are_said(cli: Cli, colours: Path) -> None:
    options = ("--encoder", "fake", "-o", "max_tokens=4")
    for _ in range(2):
        result = cli("embed", colours, *options)
        assert "12 of 17 texts are longer than the 4 tokens that the model reads" in result.err


def test_an_encoder_that_fails_is_a_failed_run(cli: Cli, colours: Path) -> None:
    result = cli.run("embed", colours, "--encoder", "fake", "-o", "refused=")
    assert result.code == 1
    assert "the encoder fails" in result.err


def test_another_dimension_is_refused(cli: Cli, colours: Path, tmp_path: Path) -> None:
    cli("embed", colours, "--encoder", "fake", "--split", "dev")
    text = cli.refused("embed", colours, "--encoder", "fake", "-o", "dimension=8")
    assert "dimension 16; these have dimension 8" in text
    assert "ffr embed --prune --encoder fake:one@" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--encoder", "sentnce"], "did you mean 'sentence'"),
        (["--encoder", "clip:ViT-B-33/openai"], "ViT-B-32"),
        (["--encoder", "clip:ViT-B-32/opnai"], "openai"),
        (["--encoder", "fake", "-o", "modle=x"], "did you mean 'model'"),
        (["--encoder", "fake", "-o", "roles"], "an option is KEY=VALUE"),
        ([], "add --encoder NAME"),
        (["--stats"], "takes no benchmark"),
        (["--encoder", "fake", "--dry-run"], "--dry-run has no effect"),
        (["--stats", "--prune"], "give one of them"),
        (["--encoder", "fake", "--json", "no/such/folder/file"], "no such folder"),
        (["--encoder", "sentence:no/such-model-anywhere"], "no/such-model-anywhere"),
        (["--encoder", "sentence:/no/such/folder"], "/no/such/folder"),
        (["--encoder", "gme:/no/such/folder"], "/no/such/folder"),
        (["--encoder", "blip2:/no/such/folder"], "/no/such/folder"),
        (["--encoder", "e5-v:/no/such/folder"], "/no/such/folder"),
        (["--encoder", "clip:ViT-B-32//no/such/weights.pt"], "weights.pt"),
    ],
)
def test_mistakes_are_explained(
    cli: Cli,
    colours: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert said in cli.refused("embed", colours, *arguments)


def test_no_benchmark_and_no_such_benchmark(cli: Cli, store: EmbeddingStore) -> None:
    assert "ffr embed ffr-sample --encoder sentence" in cli.refused("embed", "--encoder", "fake")
    text = cli.refused("embed", "no-such", "--encoder", "fake")
    assert "no such benchmark folder" in text
    assert store.spaces() == []


def test_the_encoders_are_listed(cli: Cli) -> None:
    shown = cli("embed", "--list").out
    assert "sentence-transformers" in shown
    listed = {one["name"]: one for one in cli("embed", "--list", "--json", "-").json}
    assert {"blip2", "e5-v", "gme", "open_clip", "sentence-transformers", "static"} <= set(listed)
    assert listed["gme"]["reads"] == "text, images, both together"
    assert listed["static"]["reads"] == "text"
    assert listed["open_clip"]["options"]["model"] == "ViT-B-32"


def test_stats_of_nothing_and_of_something(cli: Cli, colours: Path, store: EmbeddingStore) -> None:
    assert "no embeddings" in cli("embed", "--stats").out
    cli("embed", colours, "--encoder", "fake")
    [found] = cli("embed", "--stats", "--json", "-").json["spaces"]
    assert found["vectors"] == {"text": 17, "image": 3}
    assert (found["encoder"], found["dimension"], found["failures"]) == ("fake:one", 16, {})
    assert found["n_bytes"] > 20 * 16 * 4
    shown = cli("embed", "--stats", "--store", store.root).out
    assert "fake:one" in shown
    assert "17" in shown


def test_stats_say_what_is_damaged(cli: Cli, colours: Path, store: EmbeddingStore) -> None:
    cli("embed", colours, "--encoder", "fake")
    [space] = store.spaces()
    (space.folder / "space.json").write_text("{")
    result = cli("embed", "--stats")
    assert "space.json" in result.err
    [found] = cli("embed", "--stats", "--json", "-").json["spaces"]
    assert "space.json" in found["problem"]


def labels(store: EmbeddingStore) -> list[str]:
    return [space.record.label for space in store.spaces() if space.record is not None]


def pruned(cli: Cli, *arguments: object) -> Result:
    return cli("embed", "--prune", *arguments)


def test_prune_an_encoder(cli: Cli, colours: Path, store: EmbeddingStore) -> None:
    cli("embed", colours, "--encoder", "fake", "--encoder", "faketext")
    result = pruned(cli, "--encoder", "fake", "--dry-run")
    assert "would be removed: 20 vectors" in result.out
    assert labels(store) == ["fake:one", "faketext:one"]
    pruned(cli, "--encoder", "fake")
    assert labels(store) == ["faketext:one"]
    assert "no embeddings of 'fake'" in cli.refused("embed", "--prune", "--encoder", "fake")


def test_prune_superseded_spaces(
    cli: Cli, colours: Path, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msgspec

    cli("embed", colours, "--encoder", "fake")
    assert "nothing to remove" in pruned(cli).out
    describe = FakeEncoder.describe
    monkeypatch.setattr(
        FakeEncoder,
        "describe",
        lambda self: msgspec.structs.replace(
            describe(self), revision="newer", created="2099-01-01T00:00:00+00:00"
        ),
    )
    cli("embed", colours, "--encoder", "fake")
    assert "1 of these are superseded" in cli("embed", "--stats").out
    assert "removed: 20 vectors" in pruned(cli).out
    [space] = store.spaces()
    assert space.record is not None
    assert space.record.revision == "newer"


def test_prune_keeps_what_a_benchmark_needs(
    cli: Cli, colours: Path, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    larger = make_colours(tmp_path / "larger", 5)
    cli("embed", larger, "--encoder", "fake")
    cli("run", "fake", colours, "--out", tmp_path / "one", "-o", "interleaved=true")
    cli("run", "fake", colours, "--out", tmp_path / "two", "-o", "captions=true")
    [report] = pruned(cli, colours, "--json", "-").json
    assert (report["n_vectors"], report["whole"]) == (2 * 4, False)
    loads = FakeEncoder.loads
    for name, option in (("three", "interleaved"), ("four", "captions")):
        cli("run", "fake", colours, "--out", tmp_path / name, "-o", f"{option}=true")
    assert FakeEncoder.loads == loads
    assert cli("embed", larger, "--encoder", "fake", "--json", "-").json["n_new"] == 8


def test_prune_of_a_benchmark_and_one_encoder(
    cli: Cli, colours: Path, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    larger = make_colours(tmp_path / "larger", 5)
    cli("embed", larger, "--encoder", "fake", "--encoder", "faketext")
    reports = pruned(cli, colours, "--encoder", "faketext", "--json", "-").json
    assert [report["encoder"] for report in reports] == ["faketext:one"]
    assert cli("embed", larger, "--encoder", "fake", "--json", "-").json["n_new"] == 0


def test_the_record_of_a_space_is_complete(cli: Cli, colours: Path, store: EmbeddingStore) -> None:
    cli("embed", colours, "--encoder", "fake", "-o", "max_tokens=9")
    [space] = store.spaces()
    record = json.loads((space.folder / "space.json").read_text())
    found = {name: record[name] for name in ("dtype", "device", "max_tokens", "dimension")}
    assert found == {"dtype": "float32", "device": "cpu", "max_tokens": 9, "dimension": 16}
