"""Published protocols as machines, whose state spaces have known sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytest_convergence._engine.base.effects import CancelTimer, Effect, Send, SetTimer


class ResourceManager:
    """Gray and Lamport, *Consensus on Transaction Commit* (2006), section 3: what it may do by itself are its timers."""

    def __init__(self) -> None:
        self.state = "working"

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return [SetTimer("prepare", 1), SetTimer("abort", 1)]

    def on_timer(self, name: str) -> Iterable[Effect]:
        if name == "prepare":
            self.state = "prepared"
            return [CancelTimer("abort"), Send("tm", "prepared", None)]
        self.state = "aborted"
        return [CancelTimer("prepare")]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        self.state = kind
        return [CancelTimer("prepare"), CancelTimer("abort")]

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        return ()

    def view(self) -> Any:
        return self.state


class TransactionManager(ResourceManager):
    """Commits once all are prepared, or aborts at any moment before."""

    def __init__(self, managers: Sequence[str]) -> None:
        self.state = "init"
        self.managers = tuple(managers)
        self.prepared: set[str] = set()

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return [SetTimer("aborted", 1)]

    def on_timer(self, name: str) -> Iterable[Effect]:
        self.state = "done"
        told = [Send(manager, name, None) for manager in self.managers]
        return [CancelTimer("aborted"), CancelTimer("committed"), *told]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        if self.state != "init":
            return []
        self.prepared.add(sender)
        return [SetTimer("committed", 1)] if len(self.prepared) == len(self.managers) else []


def two_phase_commit(count: int) -> dict[str, Callable[[], Any]]:
    managers = [f"rm{number}" for number in range(1, count + 1)]
    return {"tm": lambda: TransactionManager(managers), **dict.fromkeys(managers, ResourceManager)}


def consistent(state: Any) -> bool:
    """No two resource managers have decided differently."""
    states = {machine.state for name, machine in state.machines.items() if name != "tm"}
    return not {"committed", "aborted"} <= states


class RingNode:
    """Chang and Roberts, *An improved algorithm for decentralized extrema-finding* (1979): the smallest identity wins."""

    def __init__(self, identity: int, successor: str, initiates: bool) -> None:
        self.identity = identity
        self.successor = successor
        self.initiates = initiates
        self.state = "candidate" if initiates else "lost"

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return [Send(self.successor, "identity", self.identity)] if self.initiates else []

    def on_message(self, sender: str, kind: str, identity: int) -> Iterable[Effect]:
        if self.state != "lost" and identity < self.identity:
            self.state = "lost"
        if self.state == "lost":
            return [Send(self.successor, "identity", identity)]
        if identity == self.identity:
            self.state = "won"
        return []

    def on_timer(self, name: str) -> Iterable[Effect]:
        return ()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        return ()

    def view(self) -> Any:
        return self.state


def ring(count: int, initiators: Sequence[bool]) -> dict[str, Callable[[], Any]]:
    return {
        f"node{number}": lambda number=number: RingNode(  # type: ignore[misc]
            number, f"node{number % count + 1}", initiators[number - 1]
        )
        for number in range(1, count + 1)
    }


def rings(count: int) -> list[dict[str, Callable[[], Any]]]:
    """Whoever initiates the election."""
    return [ring(count, initiators) for initiators in itertools.product([False, True], repeat=count)]
