"""Presets: what comes with FFR, and files of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from baselines.api.engine import ApiEngine
from baselines.api.model import ApiOptions
from baselines.api.presets import ImageTokens, load_preset, preset_names
from baselines.api.tokens import image_tokens, text_tokens
from baselines.machine import Machine
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

OWN = """
title = "Mine"
base_url = "https://models.example.org/v1"
key_env = "MY_KEY"
features = ["images", "temperature"]
context = 1000
models = [{ prefix = "big", context = 9000 }, { prefix = "big-blind", without = ["images"] }]
"""


def engine(**options: Any) -> ApiEngine:
    return ApiEngine(ApiOptions(**options), Machine())


def test_the_bundled_presets_are_valid() -> None:
    names = preset_names()
    assert names == [
        *("anthropic", "dashscope", "doubao", "gemini", "llama-cpp", "openai", "vllm"),
    ]
    for name in names:
        preset = load_preset(name)
        assert preset.base_url is not None
        assert preset.key_env is not None
        scheme, host = urlsplit(preset.base_url)[:2]
        assert preset.key_optional == host.startswith("localhost")
        assert (scheme == "http") == preset.key_optional
        assert preset.priced != preset.key_optional
        assert "images" in preset.features


def test_no_two_presets_share_a_key() -> None:
    variables = [load_preset(name).key_env for name in preset_names()]
    assert len(set(variables)) == len(variables)


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    preset = load_preset(str(file))
    assert preset.context_of("small") == 1000
    assert preset.context_of("big-1") == 9000
    assert preset.has("images", "big-1")
    assert not preset.has("images", "big-blind-2")
    assert preset.context_of("big-blind-2") == 1000  # the longest prefix alone counts
    assert engine(preset=str(file), model="big").context_tokens == 9000
    assert engine(preset=str(file), model="big", context=500).context_tokens == 500


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Mine"', "", "title: missing"),
        ('title = "Mine"', 'title = "Mine"\nheaders = 1', "headers"),
        ('"temperature"]', '"telepathy"]', "features"),
        ("context = 1000", "context = 0", "context"),
        ("context = 9000", "kontext = 9000", "kontext"),
        ('"MY_KEY"', '"MY KEY"', "key_env"),
        ('title = "Mine"', "title = ", "mine.toml"),
    ],
)
def test_a_malformed_preset_names_file_and_field(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        load_preset(str(file))
    assert str(file) in str(raised.value)
    assert says in str(raised.value)


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'gemini'") as raised:
        load_preset("gemni")
    assert raised.value.problem.field == "option preset"


def test_a_preset_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_preset(str(tmp_path / "none.toml"))


def test_model_and_server_must_be_named() -> None:
    with pytest.raises(InputError, match="-o model=NAME, for example -o model=claude"):
        engine(preset="anthropic")
    with pytest.raises(InputError, match="which server") as raised:
        engine(model="gpt-4o")
    assert "openai" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"preset": "anthropic", "model": "claude-x", "answer": "json_schema"}, "option answer"),
        ({"preset": "anthropic", "model": "claude-x", "logprobs": True}, "option logprobs"),
        ({"preset": "gemini", "model": "gemini-x", "image_detail": "low"}, "option image_detail"),
        ({"preset": "openai", "model": "gpt-5", "temperature": 0.7}, "option temperature"),
        ({"preset": "openai", "model": "gpt-4o", "reasoning_effort": "low"}, "option reasoning_ef"),
        ({"preset": "openai", "model": "o3", "top_p": 0.5}, "option top_p"),
    ],
)
def test_what_the_server_lacks_is_refused_before_anything_is_sent(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as raised:
        engine(**options)
    assert str(raised.value).startswith(field)
    assert "preset=FILE.toml" in str(raised.value)


def test_images_are_refused_where_the_model_takes_none(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    blind = engine(preset=str(file), model="big-blind")
    blind.expect(0)
    with pytest.raises(InputError, match="images=text_only"):
        blind.expect(1)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "not a JSON object"),
        ('{"messages": []}', "'messages' cannot be given here"),
        ('{"temperature": 1}', "use -o temperature="),
        ('{"api_key": "sk-1"}', "looks like a key"),
        ('{"nested": [{"auth_token": "x"}]}', "looks like a key"),
    ],
)
def test_further_fields_are_checked(extra: str, says: str) -> None:
    with pytest.raises(InputError, match="option extra") as raised:
        engine(model="m", base_url="http://localhost/v1", extra=extra)
    assert says in str(raised.value)
    assert "sk-1" not in str(raised.value)


@pytest.mark.parametrize(
    ("size", "rule", "detail", "tokens"),
    [
        # 1024 × 1024 is scaled to 768 × 768: four tiles of 512.
        ((1024, 1024), ImageTokens("tiles", 512, 85, 170), None, 85 + 4 * 170),
        # 4096 × 2048 is scaled to 2048 × 1024 and then to 1536 × 768: six tiles.
        ((4096, 2048), ImageTokens("tiles", 512, 85, 170), "high", 85 + 6 * 170),
        ((4096, 2048), ImageTokens("tiles", 512, 85, 170), "low", 85),
        ((100, 100), ImageTokens("tiles", 512, 85, 170), None, 85 + 170),
        ((280, 290), ImageTokens("grid", 28, 2, 1), None, 2 + 10 * 11),
        ((2800, 2800), ImageTokens("grid", 28, most=1280), None, 1280),
        ((1500, 1000), ImageTokens("area", 750, most=1600), None, 1600),
        ((750, 100), ImageTokens("area", 750), None, 100),
    ],
)
def test_tokens_of_images(
    size: tuple[int, int], rule: ImageTokens, detail: str | None, tokens: int
) -> None:
    assert image_tokens(*size, rule, detail) == tokens


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 100, 800, 1300),
        ("<|utt_id_start|>12<|utt_id_end|>\n" * 100, 1000, 1900),
        ("今天天气怎么样？我们去公园散步吧。" * 100, 1000, 1800),
        ("", 0, 0),
    ],
)
def test_estimates_of_texts_are_near(text: str, least: int, most: int) -> None:
    assert least <= text_tokens(text) <= most
