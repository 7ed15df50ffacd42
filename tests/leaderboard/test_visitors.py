"""Who counts as one visitor."""

from __future__ import annotations

import pytest

from leaderboard.visitors import network_of


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (None, "local"),
        ("", "local"),
        ("testclient", "local"),
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_addresses_are_limited_by_subscriber(address: str | None, shown: str) -> None:
    assert network_of(address) == shown
