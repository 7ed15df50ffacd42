"""Who counts as one visitor, where visits are limited."""

from __future__ import annotations

import ipaddress
from typing import Final

LOCAL: Final = "local"
"""This machine, and whatever is no address."""

_IPV6_NETWORK: Final = 64


def network_of(address: str | None) -> str:
    """What of an address is limited as one: of IPv6 the /64, which one subscriber has alone."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return LOCAL
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)
