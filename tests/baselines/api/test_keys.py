"""Keys: who gets which, and where none ever shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from baselines.api import keys
from baselines.api.keys import Redactor, checked_base_url, find_key, is_loopback, is_secret_name
from baselines.api.presets import load_preset
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

OPENAI = "https://api.openai.com/v1"
SECRET = "sk-proj-abcdefghijklmnop0123456789"  # noqa: S105


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is in the environment or the keyring of whoever runs the tests."""
    for name in ("OPENAI", "GEMINI", "ANTHROPIC", "ARK", "DASHSCOPE", "VLLM", "LLAMA"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.setattr("keyring.get_password", lambda service, user: None)


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    held: dict[tuple[str, str], str] = {}
    monkeypatch.setattr("keyring.get_password", lambda service, user: held.get((service, user)))
    return lambda user, key: held.__setitem__(("ffr", user), key)


def found(name: str | None, url: str | None = None) -> str | None:
    preset = load_preset(name)
    return find_key(preset, name, url or preset.base_url or "")


def test_each_preset_has_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GEMINI_API_KEY", " gemini-key\n")
    assert found("openai") == SECRET
    assert found("gemini") == "gemini-key"


@pytest.mark.parametrize("name", ["anthropic", "dashscope", "doubao", "gemini"])
def test_no_other_server_gets_the_key_of_openai(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with pytest.raises(InputError) as raised:
        found(name)
    assert str(load_preset(name).key_env) in str(raised.value)
    assert f"keyring set ffr {name}" in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("name", ["vllm", "llama-cpp"])
def test_a_server_of_ones_own_needs_no_key_and_does_not_get_that_of_openai(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert found(name) is None
    assert found(name, "http://node17:8000/v1") is None


def test_without_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(None, "http://127.0.0.1:9/v1") is None
    with pytest.raises(InputError, match=r"no key for models\.example\.org"):
        found(None, "https://models.example.org/v1")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert found(None, "https://models.example.org/v1") == SECRET
    assert found(None, "http://localhost:9/v1") == SECRET


@pytest.mark.parametrize("name", [None, "openai"])
def test_no_key_goes_over_the_network_in_the_clear(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with pytest.raises(InputError, match="without encryption") as raised:
        found(name, "http://models.example.org/v1")
    assert SECRET not in str(raised.value)


def test_the_keyring_is_asked_by_preset_or_host(keyring: Callable[[str, str], None]) -> None:
    keyring("openai", "from-ring")
    keyring("models.example.org", "of-host")
    assert found("openai") == "from-ring"
    assert found(None, "https://models.example.org:8443/v1") == "of-host"


def test_a_keyring_that_is_locked_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from keyring.errors import KeyringLocked

    def locked(service: str, user: str) -> str:
        raise KeyringLocked

    monkeypatch.setattr("keyring.get_password", locked)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        found("openai")


@pytest.mark.parametrize("bad", ["sk-abc def", "sk-abc\nX-Other: 1", "schlüssel", "sk-\x00"])
def test_what_cannot_be_a_key_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, keyring: Callable[[str, str], None], bad: str
) -> None:
    keyring("openai", bad)
    with pytest.raises(InputError, match="characters that no key has") as raised:
        found("openai")
    assert bad not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@host/v1",
        f"https://{SECRET}@host/v1",
        f"https://host/v1?api_key={SECRET}",
        f"https://host/v1?key={SECRET}",
        f"https://host/v1?access-token={SECRET}",
        f"https://host/v1?{SECRET}",
        f"https://host/v1#{SECRET}",
    ],
)
def test_an_address_that_holds_a_key_is_refused_unseen(url: str) -> None:
    with pytest.raises(InputError) as raised:
        checked_base_url(url)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "https://", "http://[::1/v1", "http://h:x/v1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="option base_url"):
        checked_base_url(url)


def test_addresses() -> None:
    assert checked_base_url("https://host/v1/") == "https://host/v1"
    assert checked_base_url("https://host/x?api-version=2024") == "https://host/x?api-version=2024"
    with pytest.raises(InputError, match="leave it out"):
        checked_base_url("https://host/v1/chat/completions")
    local = (
        "http://localhost:1/v1",
        "http://127.3.2.1/v1",
        "http://[::1]:8/v1",
        "http://a.localhost",
    )
    assert all(map(is_loopback, local))
    assert not any(map(is_loopback, ("http://localhost.example.org", "http://10.0.0.1", OPENAI)))


def test_names_of_secrets() -> None:
    secret = ("api_key", "apikey", "X-Api-Key", "token", "access_token", "password", "my_secret")
    assert all(map(is_secret_name, secret))
    harmless = ("top_k", "max_tokens_total", "keyboard", "tokenizer_mode", "min_p", "author")
    assert not any(map(is_secret_name, harmless))


def test_texts_of_servers_lose_keys_images_and_the_prompt() -> None:
    redact = Redactor("my-very-own-key")
    assert redact("Bad key my-very-own-key!") == "Bad key ***!"
    assert "abcdef" not in redact("Incorrect API key provided: sk-proj-abcdef***xyz.")
    assert redact("got Bearer abcdefghijkl here") == "got Bearer *** here"
    assert redact("input data:image/png;base64,AAAABBBB== is bad") == "input data:… is bad"
    prompt = "Find all utterances that are relevant to the query and say which they are."
    said = redact(f"invalid input: '{prompt}' at 3", [prompt])
    assert said == "invalid input: '…' at 3"
    assert len(redact("x y " * 10_000)) == 300
    assert redact("short", ["short"]) == "short"


def test_the_module_writes_nothing_down() -> None:
    assert not hasattr(keys, "logging")
