"""Models that compare embeddings, through ``ffr run``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines.embedding.cosines import LOWEST, Cosines
from baselines.model import create, hidden
from baselines.selection import Policies, policies_of
from ffr_eval.embeddings.store import EmbeddingStore
from ffr_eval.runs import read_run
from tests.baselines.embedding.fake_encoder import FakeEncoder, of_word

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Cli


@pytest.fixture(scope="session")
def sentence_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests of the real encoder: ffr-sample is embedded once."""
    return tmp_path_factory.mktemp("sentence") / "store"


def predictions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def by_sample(folder: Path) -> dict[str, tuple[list[int], list[int]]]:
    return {one["sample_id"]: (one["utt_ids"], one["img_ids"]) for one in predictions(folder)}


def scores_of(folder: Path) -> dict[str, dict[str, list[float]]]:
    return {one["sample_id"]: one["scores"] for one in predictions(folder)}


# --- With the fake encoder


def test_scores_are_cosines_of_query_and_turn(cli: Cli, colours: Path, tmp_path: Path) -> None:
    cli("run", "fake", colours, "--out", tmp_path / "run", "--save-scores")
    scores = scores_of(tmp_path / "run")["d0#0"]
    query = of_word("green") + of_word("thing")
    turn = of_word("a") + of_word("red") + of_word("thing")
    cosine = query @ turn / np.linalg.norm(query) / np.linalg.norm(turn)
    assert scores["utterance"][0] == pytest.approx(cosine, abs=1e-6)
    image = of_word("green") * 250 / 255
    cosine = query @ image / np.linalg.norm(query) / np.linalg.norm(image)
    assert scores["image"][1] == pytest.approx(cosine, abs=1e-6)


def test_the_right_turn_and_image_are_best(cli: Cli, colours: Path, tmp_path: Path) -> None:
    result = cli("run", "fake", colours, "--out", tmp_path / "run", "-o", "k=1")
    found = by_sample(tmp_path / "run")
    assert found["d0#0"] == ([11], [1])
    assert found["d2#1"] == ([12], [2])
    assert "note" not in result.err
    assert read_run(tmp_path / "run").model_revision == "revision of one"


def test_tuned_it_finds_the_gold(cli: Cli, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    cli("run", "fake", colours, "--out", out, "--tune-on", "dev")
    assert set(by_sample(out)) == {"d0#0", "d1#0", "d2#0"}
    record = read_run(out)
    assert record.selection is not None
    assert record.selection["utterance"]["dev_f1"] == record.selection["image"]["dev_f1"] == 1.0
    assert by_sample(out)["d1#0"] == ([11], [1])


def test_another_policy_computes_nothing_again(cli: Cli, colours: Path, tmp_path: Path) -> None:
    cli("run", "fake", colours, "--out", tmp_path / "one")
    n_calls, loads = len(FakeEncoder.calls), FakeEncoder.loads
    assert (loads, n_calls > 0) == (1, True)
    cli("run", "fake", colours, "--out", tmp_path / "two", "-o", "policy=gap", "-o", "k=4")
    cli("run", "fake", colours, "--out", tmp_path / "three", "--tune-on", "dev")
    assert (FakeEncoder.loads, len(FakeEncoder.calls)) == (1, n_calls)


def test_a_blank_turn_comes_last(cli: Cli, colours: Path, tmp_path: Path) -> None:
    cli("run", "fake", colours, "--out", tmp_path / "run", "-o", "k=7", "--save-scores")
    for name, (utt_ids, _) in by_sample(tmp_path / "run").items():
        assert 13 not in utt_ids
        scores = scores_of(tmp_path / "run")[name]["utterance"]
        assert scores[3] == pytest.approx(min(scores[:3] + scores[4:]), abs=1e-5)
        assert scores[3] < min(scores[:3] + scores[4:])


def test_context_embeds_neighbours_with_a_turn(cli: Cli, colours: Path, tmp_path: Path) -> None:
    cli("run", "fake", colours, "--out", tmp_path / "run", "-o", "context=1", "--save-scores")
    scores = scores_of(tmp_path / "run")["d0#0"]["utterance"]
    query = of_word("green") + of_word("thing")
    words = ["a", "blue", "thing", "talk", "0", "0", "and", "so", "on"]
    blank = sum(of_word(word) for word in words)
    cosine = query @ blank / np.linalg.norm(query) / np.linalg.norm(blank)
    assert scores[3] == pytest.approx(cosine, abs=1e-6)


def test_roles_make_other_vectors_and_another_space(
    cli: Cli, colours: Path, tmp_path: Path, store: EmbeddingStore
) -> None:
    for roles in ("false", "true"):
        options = ("-o", f"roles={roles}", "--save-scores")
        cli("run", "fake", colours, "--out", tmp_path / roles, *options)
    assert len(store.spaces()) == 2
    one, other = (scores_of(tmp_path / roles)["d0#0"]["utterance"] for roles in ("false", "true"))
    assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.01


def test_unreadable_images_are_said_and_come_last(cli: Cli, colours: Path, tmp_path: Path) -> None:
    (colours / "images" / "green.png").write_bytes(b"damaged")
    for name in ("one", "two"):  # computed, and from the store
        options = ("-o", "k_img=2", "-o", f"k={len(name)}")
        result = cli("run", "fake", colours, "--out", tmp_path / name, *options)
        assert "1 image file cannot be read" in result.err
        assert str(colours / "images" / "green.png") in result.err
    assert all(img_ids == [0, 2] for _, img_ids in by_sample(tmp_path / "one").values())


def test_missing_image_files_are_said(cli: Cli, colours: Path, tmp_path: Path) -> None:
    (colours / "images" / "green.png").unlink()
    result = cli("run", "fake", colours, "--out", tmp_path / "run", "-o", "k_img=2")
    assert "1 image file is missing" in result.err
    assert "green.png" in result.err
    assert all(img_ids == [0, 2] for _, img_ids in by_sample(tmp_path / "run").values())


def test_no_image_file_at_all_is_refused(
    cli: Cli, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = make_colours(tmp_path / "bare", files=False)
    text = cli.refused("run", "fake", benchmark, "--out", tmp_path / "run")
    assert "none of the 9 images here has a file" in text
    assert "-o captions=true (9 have one)" in text
    assert FakeEncoder.loads == 0


def test_captions_find_images_without_files(
    cli: Cli, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = make_colours(tmp_path / "bare", files=False)
    options = ("-o", "captions=true", "-o", "k=1")
    result = cli("run", "fake", benchmark, "--out", tmp_path / "run", *options)
    assert "9 images have no file: found by the caption" in result.err
    assert by_sample(tmp_path / "run")["d0#0"] == ([11], [1])


def test_captions_stand_in_for_images_that_cannot_be_read(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    (colours / "images" / "green.png").write_bytes(b"damaged")
    options = ("-o", "captions=true", "--save-scores")
    cli("run", "fake", colours, "--out", tmp_path / "run", *options)
    query, caption = of_word("green") + of_word("thing"), of_word("green") + of_word("square")
    cosine = query @ caption / np.linalg.norm(query) / np.linalg.norm(caption)
    assert scores_of(tmp_path / "run")["d0#0"]["image"][1] == pytest.approx(cosine, abs=1e-6)


def test_images_of_a_benchmark_without_any_vector_are_the_lowest(
    cli: Cli, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = make_colours(tmp_path / "bare", files=False, captions=False)
    options = (
        "-o",
        "captions=true",
        "--save-scores",
        "-o",
        "policy=threshold",
        "-o",
        "threshold=-0.99",
    )
    cli("run", "fake", benchmark, "--out", tmp_path / "run", *options)
    assert scores_of(tmp_path / "run")["d0#0"]["image"] == [LOWEST] * 3
    assert by_sample(tmp_path / "run")["d0#0"][1] == []


def test_a_text_encoder_finds_images_by_the_turns_around_or_the_caption(
    cli: Cli, make_colours: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = make_colours(tmp_path / "bare", files=False)
    for captions in ("false", "true"):
        options = ("-o", f"captions={captions}", "--save-scores")
        result = cli("run", "faketext", benchmark, "--out", tmp_path / captions, *options)
        assert "file" not in result.err
    query = of_word("green") + of_word("thing")
    for captions, words in (("true", "red square"), ("false", "a red thing a green thing")):
        text = sum(of_word(word) for word in words.split())
        cosine = query @ text / np.linalg.norm(query) / np.linalg.norm(text)
        found = scores_of(tmp_path / captions)["d0#0"]["image"][0]
        assert found == pytest.approx(cosine, abs=1e-6)


def test_interleaved_turns_hold_their_images(cli: Cli, colours: Path, tmp_path: Path) -> None:
    (colours / "images" / "blue.png").write_bytes(b"damaged")
    options = ("-o", "interleaved=true", "--save-scores")
    cli("run", "fake", colours, "--out", tmp_path / "run", *options)
    scores = scores_of(tmp_path / "run")["d0#0"]["utterance"]
    query = of_word("green") + of_word("thing")

    def cosine(vector: Any) -> float:
        return float(query @ vector / np.linalg.norm(query) / np.linalg.norm(vector))

    text = of_word("a") + of_word("thing")
    assert scores[0] == pytest.approx(cosine(text + of_word("red") * (1 + 250 / 255)), abs=1e-6)
    assert scores[2] == pytest.approx(cosine(text + of_word("blue")), abs=1e-6)  # by its text
    assert "a red thing + 1" in FakeEncoder.encoded()


def test_interleaved_is_for_encoders_that_can(cli: Cli, colours: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "run", "-o", "interleaved=true")
    assert "unknown option" in cli.refused("run", "sentence", colours, *options)


def test_cut_texts_are_said(cli: Cli, colours: Path, tmp_path: Path) -> None:
    result = cli("run", "fake", colours, "--out", tmp_path / "run", "-o", "max_tokens=3")
    assert "texts are longer than the 3 tokens that the model reads: cut" in result.err


def test_a_run_goes_on_with_the_same_weights_only(
    cli: Cli, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("run", "fake", colours, "--out", tmp_path / "run")
    describe = FakeEncoder.describe

    def changed(self: FakeEncoder) -> Any:
        import msgspec

        return msgspec.structs.replace(describe(self), revision="others")

    monkeypatch.setattr(FakeEncoder, "describe", changed)
    assert "revision" in cli.refused("run", "fake", colours, "--out", tmp_path / "run")


def test_unknown_model_option_and_encoder_option(cli: Cli, colours: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    assert "did you mean 'context'" in cli.refused("run", "fake", colours, *out, "-o", "contxt=1")
    text = cli.refused("run", "hybrid", colours, *out, "-o", "pretrained=openai")
    assert "option pretrained" in text
    assert not (tmp_path / "run").exists()


def test_a_query_without_a_vector_gives_finite_scores(
    cli: Cli, colours: Path, tmp_path: Path
) -> None:
    options = ("-o", "refused=blue thing", "--save-scores")
    result = cli("run", "fake", colours, "--out", tmp_path / "run", *options)
    assert "refused by the encoder" in result.err
    assert scores_of(tmp_path / "run")["d0#1"]["utterance"] == [LOWEST] * 8


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "top-k", "k": 2},
        {"policy": "threshold", "threshold": -0.35},
        {"policy": "gap", "k": 4},
    ],
)
def test_policies_make_sense_for_negative_scores(options: dict[str, Any]) -> None:
    from baselines.embedding.options import EmbeddingOptions
    from baselines.selection import ScoreLists, select

    policies = policies_of(EmbeddingOptions(**options), None)
    known = np.array([True, True, True, True, False])
    scores = Cosines(np.array([-0.3, -0.9, -0.25, -0.95, 0.0]), known).scores()
    chosen = select(ScoreLists.from_arrays([scores]), policies.utterance)
    assert chosen.values.tolist() == [0, 2]


def test_nothing_is_relative_to_a_negative_score() -> None:
    from baselines.embedding.options import EmbeddingOptions
    from baselines.selection import ScoreLists, select

    policies: Policies = policies_of(EmbeddingOptions(policy="relative", ratio=0.5), None)
    chosen = select(ScoreLists.from_arrays([np.array([-0.2, -0.4])]), policies.utterance)
    assert chosen.values.tolist() == []


def test_equal_texts_have_equal_scores_anywhere_in_a_dialogue() -> None:
    rng = np.random.default_rng(7)
    from baselines.embedding.cosines import _Vectors

    one = rng.standard_normal(384)
    one /= np.linalg.norm(one)
    for n in range(1, 40):
        rows = rng.standard_normal((n, 384))
        rows[:: 1 + n % 3] = one
        vectors = _Vectors(rows, np.ones(n, dtype=np.bool_))
        query = _Vectors(rng.standard_normal((1, 384)) / 20, np.ones(1, dtype=np.bool_))
        assert len(set(vectors.cosines(query).values[:: 1 + n % 3].tolist())) == 1


# --- With the encoder that comes inside a package


def test_sentence_on_the_bundled_benchmark(cli: Cli, tmp_path: Path, sentence_store: Path) -> None:
    out = tmp_path / "run"
    where = ("--store", sentence_store)
    result = cli("run", "sentence", "ffr-sample", "--tune-on", "dev", "--out", out, *where)
    assert "104 of 104 predictions" in result.out
    record = read_run(out)
    assert (record.model_revision or "").startswith("sha256-")
    assert "best in hindsight" in result.out
    figures = cli("score", out, "--json", "-").json
    assert figures["micro"]["joint"]["f1"] > 0.28  # above the floors, 0.22


def test_sentence_finds_a_paraphrase_that_shares_no_word(
    tmp_path: Path, sentence_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines.machine import Machine
    from ffr_eval.types import Dialogue, Sample, Turn

    texts = ("The kitten is asleep on the sofa.", "Stocks fell sharply.", "Add two eggs.")
    turns = tuple(Turn(i, "A", text) for i, text in enumerate(texts))
    sample = Sample("s", Dialogue("d", turns), "Where does a cat rest?")
    model = create("sentence", {}, Machine(store=sentence_store))
    fill_by_hand(model, [*texts, sample.query], sentence_store)
    scores = model.score(hidden(sample)).utterance  # type: ignore[attr-defined]
    assert scores[0] > max(scores[1:]) + 0.1


def fill_by_hand(model: Any, texts: list[str], folder: Path) -> None:
    from baselines.embedding.embedder import fill
    from baselines.encoders.encoder import Item
    from baselines.encoders.registry import make_encoder
    from ffr_eval.embeddings.keys import text_key

    elements = [(text_key(text), Item(text)) for text in texts]
    fill(make_encoder("sentence"), elements, EmbeddingStore(folder))


@pytest.mark.parametrize("fusion", ["rrf", "weighted"])
def test_hybrid_on_the_bundled_benchmark(
    cli: Cli, tmp_path: Path, sentence_store: Path, fusion: str
) -> None:
    out = tmp_path / "run"
    options = ("-o", f"fusion={fusion}", "--store", sentence_store)
    cli("run", "hybrid", "ffr-sample", "--tune-on", "dev", "--out", out, *options)
    figures = cli("score", out, "--json", "-").json
    assert figures["micro"]["joint"]["f1"] > 0.3
    record = read_run(out)
    assert (record.model_revision or "").startswith("sha256-")
    if fusion == "weighted":
        assert record.selection is not None
        assert set(record.selection["weight"]) == {"utterance", "image"}


# --- With tiny checkpoints of the heavy encoders' own classes


@pytest.mark.parametrize("name", ["clip", "blip2", "e5-v", "gme"])
def test_heavy_encoders_on_a_part_of_the_bundled_benchmark(
    cli: Cli, tmp_path: Path, checkpoint: Callable[[str], Path], name: str
) -> None:
    folder = checkpoint(name)
    out, store = tmp_path / "run", tmp_path / "store"
    where = ("--limit", 12, "--store", store, "--batch-size", 16, "-o", f"model={folder}")
    small = ("-o", "min_image_tokens=1", "-o", "max_image_tokens=4") if name == "gme" else ()
    result = cli("run", name, "ffr-sample", "--out", out, *where, *small, "--save-scores")
    assert "12 of 12 predictions" in result.out
    assert all(one["outcome"] == "ok" for one in predictions(out))
    scores = scores_of(out)
    images = [score for one in scores.values() for score in one["image"]]
    assert images
    assert min(images) < max(images)
    assert (read_run(out).model_revision or "").startswith("sha256-")
    [stats] = EmbeddingStore(store).stats()
    assert stats.vectors["image"] > 3  # type: ignore[index]
    assert "failed" not in result.err
    shutil.rmtree(tmp_path / "run")
    again = cli("run", name, "ffr-sample", "--out", out, *where, *small, "--save-scores")
    assert scores_of(out) == scores
    assert again.err == result.err


def test_gme_interleaves_turns_and_images(
    cli: Cli, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    where = ("--limit", 4, "--store", tmp_path / "store", "-o", f"model={checkpoint('gme')}")
    small = ("-o", "min_image_tokens=1", "-o", "max_image_tokens=4", "-o", "interleaved=true")
    cli("run", "gme", "ffr-sample", "--out", tmp_path / "run", *where, *small)
    [stats] = EmbeddingStore(tmp_path / "store").stats()
    assert stats.vectors["mixed"] > 0  # type: ignore[index]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a tiny checkpoint, once for each encoder."""
    from importlib import import_module

    modules = {"clip": "open_clip", "blip2": "blip2", "e5-v": "llava_next", "gme": "qwen2_vl"}
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            module = import_module(f"tests.checkpoints.{modules[name]}")
            built[name] = module.build(tmp_path_factory.mktemp(modules[name]))
        return built[name]

    return build
