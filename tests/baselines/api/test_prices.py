"""Prices: the longest prefix, what an answer costs, and tables of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from baselines.api.engine import ApiEngine
from baselines.api.model import ApiOptions
from baselines.api.prices import cost_of, load_prices, money
from baselines.generative.engine import Price
from baselines.machine import Machine
from ffr_eval.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """
date = "2025-02-03"
source = "my contract"
currency = "CNY"

[[prices]]
model = "qwen-vl"
input = 3
output = 9

[[prices]]
model = "qwen-vl-max"
input = 20.0
output = 20.0
cached_input = 4.0
date = "2025-03-04"

[[prices]]
model = "other"
input = 1
output = 1
currency = "USD"
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "prices.toml"
    file.write_text(TABLE)
    return file


def test_the_bundled_table_says_what_it_is_worth() -> None:
    bundled = load_prices(None)
    price = bundled.price("gpt-4o-2024-08-06")
    assert price is not None
    assert "unchecked" in price.source
    assert bundled.date in price.source
    names = [entry.model for entry in bundled.prices]
    assert len(set(names)) == len(names)
    assert all(entry.input <= entry.output for entry in bundled.prices)
    assert all((entry.cached_input or 0) <= entry.input for entry in bundled.prices)


def test_the_longest_prefix_counts(table: Path) -> None:
    prices = load_prices(table)
    assert prices.price("qwen-vl-plus") == Price(3, 9, None, "CNY", "my contract, 2025-02-03")
    assert prices.price("qwen-vl-max-0809") == Price(20, 20, 4, "CNY", "my contract, 2025-03-04")
    assert prices.price("hub/qwen-vl-plus") == prices.price("qwen-vl-plus")
    other = prices.price("other")
    assert other is not None
    assert other.currency == "USD"
    assert prices.price("qwen") is None


def test_cached_tokens_cost_less_and_are_counted_once() -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "cached_tokens": 400_000}
    assert cost_of(Price(2.0, 10.0, 0.5), usage) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 1.0)
    assert cost_of(Price(2.0, 10.0), usage) == pytest.approx(3.0)
    assert cost_of(Price(2.0, 10.0), {"prompt_tokens": 5}) == pytest.approx(1e-5)


def test_what_was_not_counted_has_no_cost() -> None:
    assert cost_of(Price(2.0, 10.0), None) is None
    assert cost_of(Price(2.0, 10.0), {"completion_tokens": 5}) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("input = 3", "input = -3", "prices[0].input"),
        ("input = 3", "inputs = 3", "inputs"),
        ('date = "2025-02-03"', 'date = "yesterday"', "date"),
        ('source = "my contract"', "", "source: missing"),
        ("[[prices]]", "[[prices", "prices.toml"),
    ],
)
def test_a_malformed_table_names_file_and_field(table: Path, old: str, new: str, says: str) -> None:
    table.write_text(TABLE.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        load_prices(table)
    assert str(table) in str(raised.value)
    assert says in str(raised.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_prices(tmp_path / "none.toml")


def test_a_server_of_ones_own_costs_nothing_unless_one_says_what(table: Path) -> None:
    options = ApiOptions(preset="vllm", model="qwen-vl-max")
    assert ApiEngine(options, Machine()).price is None
    own = ApiEngine(options, Machine(prices=table)).price
    assert own is not None
    assert own.currency == "CNY"


def test_a_limit_without_a_price_is_refused() -> None:
    options = ApiOptions(preset="openai", model="mystery-1")
    with pytest.raises(InputError, match=r"--prices FILE\.toml"):
        ApiEngine(options, Machine(max_cost=1.0))


def test_amounts_for_people() -> None:
    assert money(12.3456, "USD") == "$12.35"
    assert money(0.0123, "USD") == "$0.0123"
    assert money(3, "CNY") == "3.00 CNY"
