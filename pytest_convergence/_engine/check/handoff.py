"""The properties of handing work over, by name: those that every session with a hand-off is judged by."""

from __future__ import annotations

from typing import Final

__all__ = ["HANDOFF_PROPERTIES"]

HANDOFF_PROPERTIES: Final = (
    "single_owner",
    "no_lost_owner",
    "no_stale_effect",
    "token_unique_monotonic",
    "transfer_exactly_once",
    "context_intact",
    "capability_match",
    "load_bound",
    "no_ping_pong",
    "failover_within",
)
