"""A server that speaks the chat-completions protocol and fails on demand.

``python -m tests.servers --help`` starts one by hand.
"""

from __future__ import annotations

from tests.servers.plan import Rule, Seen, Settings
from tests.servers.running import FaultServer, ServerProcess

__all__ = ["FaultServer", "Rule", "Seen", "ServerProcess", "Settings"]
