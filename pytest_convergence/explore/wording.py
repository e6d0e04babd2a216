"""Says a deviation in words: its label names the message or the step, its domain what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pytest_convergence._engine.base.choices import split_label

__all__ = ["not_reached", "sentence"]


def _message(where: str, number: int, what: str) -> str:
    return f"message {where} #{number} {what}"


def _step(where: str, number: int, what: str) -> str:
    return f"{where} {what} at its step {number}"


def _stall(where: str, number: int, what: str) -> str:
    return f"{where} {what}, before its step {number}"


def _partition(where: str, number: int, what: str) -> str:
    return f"{what}, from {number / 10:g} s on"


def _timer(where: str, number: int, what: str) -> str:
    agent, _, name = where.partition("/")
    return f"the {name!r} timer of {agent} #{number} fired late (choice {what})"


def _skew(where: str, number: int, what: str) -> str:
    return f"the clock of {where} was off (choice {what})"


def _freeze(where: str, number: int, what: str) -> str:
    return what


def _storage(where: str, number: int, what: str) -> str:
    return f"crash {number} of {where} {what}"


def _cancel(where: str, number: int, what: str) -> str:
    host, _, task = where.partition("/")
    whose = f"task {task} of {host}" if task else host
    return f"{whose} was {what} while it waited for the {_ordinal(number)} time"


def _cut(where: str, number: int, what: str) -> str:
    return f"data packet {where} #{number} was {what}"


def _reset(where: str, number: int, what: str) -> str:
    return f"data packet {where} #{number}: {what}"


def _late(where: str, number: int, what: str) -> str:
    return f"answer {where} #{number} {what}"


def _silence(where: str, number: int, what: str) -> str:
    return f"crash {number} of {where}: {what}"


def _thread(where: str, number: int, what: str) -> str:
    return f"a thread of {where}, which might have gone on (choice {number}), {what}"


def _file(where: str, number: int, what: str) -> str:
    host, _, name = where.partition("/")
    return f"loss of power {number} of {host}: its file {name} {what}"


def _ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}{({1: 'st', 2: 'nd', 3: 'rd'}).get(number % 10, 'th')}"


_BY_SITE: Final[Mapping[str, Callable[[str, int, str], str]]] = {
    "deliver": _message,
    "crash": _step,
    "isolate": _step,
    "pause": _step,
    "stall": _stall,
    "partition": _partition,
    "timer": _timer,
    "skew": _skew,
    "storage": _storage,
    "freeze": _freeze,
    "cancel": _cancel,
    "cut": _cut,
    "reset": _reset,
    "late": _late,
    "slow": _cut,
    "silence": _silence,
    "file": _file,
    "thread": _thread,
}


def sentence(label: str, what: str) -> str:
    """Return one deviation as a sentence without its full stop.

    Args:
        label: of the choice, such as ``deliver planner→coder #3``.
        what: what its domain says of the option, such as ``delayed 120 ms``.
    """
    stem, number = split_label(label)
    site, _, where = stem.partition(" ")
    say = _BY_SITE.get(site)
    return f"{label}: {what}" if say is None else say(where, number, what)


_NOT_REACHED: Final[Mapping[str, str]] = {
    "deliver": "message {where} #{number} was never sent",
    "crash": "{where} never came to its step {number}, where it was to crash",
    "isolate": "{where} never came to its step {number}, where it was to be cut off",
    "pause": "{where} never came to its step {number}, where it was to pause",
    "stall": "{where} never came to its step {number}, which was to be held up",
    "timer": "the timer {where} #{number} was never set",
    "skew": "there was no clock of {where} to be off",
    "cancel": "{where} did not wait for the {number}. time, at which it was to be cancelled",
    "cut": "data packet {where} #{number} did not arrive",
    "reset": "data packet {where} #{number} did not arrive",
    "late": "answer {where} #{number} did not arrive",
    "slow": "data packet {where} #{number} did not arrive",
    "silence": "{where} did not crash {number} times",
    "storage": "{where} did not crash {number} times",
}


def not_reached(label: str) -> str:
    """Say that a run never came to the choice of this label."""
    stem, number = split_label(label)
    site, _, where = stem.partition(" ")
    if site == "partition":
        return f"the run was over before the partition at {number / 10:g} s"
    return _NOT_REACHED.get(site, "{label!r} was never asked for").format(
        where=where, number=number, label=label
    )
