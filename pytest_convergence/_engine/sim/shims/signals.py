"""Signals: a simulated host has its own, as its process would; everywhere else in a run they are refused."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.entropy import process_id
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.shims.refusals import SIGNALS, is_for_tool, refuse
from pytest_convergence._engine.sim.signals import Signals, signals_of
from pytest_convergence._engine.sim.strands import StrandEnded, current_strand, present_life

__all__ = ["rows"]

_CLOSED: Final = "those of the host's own process; refused to all others"


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""

    def row(target: str, closed: str, answer: Callable[..., Any]) -> Row:
        return Row(target, closed, delegate(answer, RUNS, asked_world), SIGNALS.name)

    yield row("signal:signal", _CLOSED, _signal)
    yield row("signal:getsignal", "on a host, what its own process has set", _getsignal)
    yield row("signal:raise_signal", _CLOSED, _raise_signal)
    yield row(
        "signal:set_wakeup_fd", "of a host: a simulated descriptor; refused to all others", _set_wakeup_fd
    )
    yield row("signal:siginterrupt", "of a host: nothing to do; refused to all others", _siginterrupt)
    yield row("os:kill", _CLOSED, _kill)
    yield row("_thread:interrupt_main", _CLOSED, _interrupt_main)
    for name in ("_exit", "abort"):
        yield row(f"os:{name}", "of a host: its own process ends", _end)


def _own() -> Signals | None:
    """Return the signals of the host whose code runs, if one's does."""
    life = present_life()
    return signals_of(life.node) if life is not None and life.node.is_host else None


def _signal(_world: Any, original: Any, /, signalnum: Any, handler: Any) -> Any:
    frame = sys._getframe(2)
    if is_for_tool(frame):
        return original(signalnum, handler)
    own = _own()
    if own is None:
        return refuse(SIGNALS, "signal.signal", frame)
    strand = current_strand()
    main = None if strand is None or strand.process is None else strand.process.main
    if main is not strand:
        raise ValueError("signal only works in main thread of the main interpreter")
    return own.set(signal.Signals(signalnum), handler)


def _getsignal(_world: Any, original: Any, /, signalnum: Any) -> Any:
    own = _own()
    if own is None or is_for_tool(sys._getframe(2)):
        return original(signalnum)
    return own.get(signal.Signals(signalnum))


def _set_wakeup_fd(_world: Any, original: Any, /, fd: int, **options: Any) -> int:
    frame = sys._getframe(2)
    if is_for_tool(frame):
        before: int = original(fd, **options)
        return before
    own = _own()
    if own is None:
        refuse(SIGNALS, "signal.set_wakeup_fd", frame)
    if fd != -1 and fd not in own.descriptors:
        raise ValueError(
            f"signal.set_wakeup_fd() of a simulated host takes a simulated descriptor or -1, not {fd}"
        )
    own.wakeup, before = fd, own.wakeup
    return before


def _siginterrupt(_world: Any, original: Any, /, signalnum: Any, flag: bool) -> None:
    frame = sys._getframe(2)
    if is_for_tool(frame):
        original(signalnum, flag)
    elif _own() is None:
        refuse(SIGNALS, "signal.siginterrupt", frame)


def _raise_signal(_world: Any, original: Any, /, signum: Any) -> None:
    _deliver("signal.raise_signal", original, signum, sys._getframe(2))


def _interrupt_main(_world: Any, original: Any, /, signum: int = signal.SIGINT) -> None:
    _deliver("_thread.interrupt_main", original, signum, sys._getframe(2))


def _deliver(call: str, original: Any, signum: Any, frame: FrameType) -> None:
    if is_for_tool(frame):
        original(signum)
        return
    own = _own()
    if own is None:
        refuse(SIGNALS, call, frame)
    own.deliver(signal.Signals(signum), frame)


def _end(_world: Any, original: Any, /, *status: Any, **options: Any) -> None:
    """The process of a host ends here and now: no ``finally``, no further line."""
    frame = sys._getframe(2)
    own = _own()
    if own is None or is_for_tool(frame):
        original(*status, **options)  # the real one: an isolated run may be the end of its process
        return
    own.deliver(signal.SIGKILL, frame)
    strand = current_strand()
    if strand is not None:
        strand.wait()
    raise StrandEnded


def _kill(_world: Any, original: Any, /, pid: int, sig: int) -> None:
    frame = sys._getframe(2)
    if is_for_tool(frame):
        original(pid, sig)
        return
    own = _own()
    if own is None or pid != process_id():
        refuse(SIGNALS, "os.kill", frame)
    if sig:  # 0 only asks whether the process is there
        own.deliver(signal.Signals(sig), frame)
