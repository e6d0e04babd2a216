"""Threads: in a process of its own a program may start them, and they take turns; elsewhere they are refused."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.shims.refusals import THREADS, WAITS, as_method, is_for_tool, refuse
from pytest_convergence._engine.sim.strands import Strand, StrandEnded, current_strand, present_life

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    closed = "in the program of a host: one thread at a time; else refused"
    for name in ("start_new_thread", "start_joinable_thread"):
        make = delegate(partial(_start, f"_thread.{name}"), RUNS, asked_world)
        yield Row(f"_thread:{name}", closed, make, THREADS.name)
    submit = "concurrent.futures.thread:ThreadPoolExecutor.submit"
    yield Row(submit, closed, as_method(_submit), THREADS.name)
    yield Row("threading:Thread.join", closed, as_method(_join), THREADS.name)
    known = "in a process of its own: of its own threads"
    yield Row("threading:main_thread", known, delegate(_main_thread, RUNS, asked_world), THREADS.name)
    yield Row("threading:enumerate", known, delegate(_enumerate, RUNS, asked_world), THREADS.name)
    yield Row("threading:active_count", known, delegate(_active_count, RUNS, asked_world), THREADS.name)
    waits = "in a process of its own: others run meanwhile; else virtual time passes with a timeout, refused without"
    yield Row("threading:Condition.wait", waits, as_method(_condition_wait), WAITS.name)


def _start(
    call: str, _world: Any, original: Any, /, function: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    frame = sys._getframe(1)
    strand = current_strand()
    if strand is None and is_for_tool(frame):
        return original(function, *args, **options)
    if strand is None and not _is_host():
        return refuse(THREADS, call, frame)
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        _say_nothing_of_the_end(thread)
    if args:  # of start_new_thread: the arguments of the function
        positional, named = args[0], (args[1] if len(args) > 1 else options.get("kwargs", {}))
        function, args, options = partial(function, *positional, **named), ((),), {}
    loop: Any = asyncio._get_running_loop() if strand is None else strand.loop
    made = Strand(loop, function)
    return made.start_as_thread(lambda run: original(run, *args, **options), at_once=strand is None)


def _is_host() -> bool:
    """Whether the caller is the program of a host on the world's own thread."""
    life = present_life()
    return life is not None and life.node.is_host


def _say_nothing_of_the_end(thread: Any) -> None:
    """That a thread is unwound when the run is over is no error of its program."""
    tell = thread._invoke_excepthook

    def tell_of_errors(failed: threading.Thread) -> None:
        if not isinstance(sys.exception(), StrandEnded):
            tell(failed)

    thread._invoke_excepthook = tell_of_errors


def _submit(_world: Any, original: Any, *args: Any, **options: Any) -> Any:
    frame = sys._getframe(1)
    if current_strand() is None and not _is_host() and not is_for_tool(frame):
        refuse(THREADS, "concurrent.futures.thread.ThreadPoolExecutor.submit", frame)
    return original(*args, **options)


def _join(_world: Any, original: Any, self: threading.Thread, timeout: float | None = None) -> Any:
    frame = sys._getframe(1)
    strand = current_strand()
    if strand is None:
        if is_for_tool(frame):
            return original(self, timeout)
        return refuse(THREADS, "threading.Thread.join", frame)
    other = strand.of_thread(self.ident)
    if other is not None and other is not strand and not _join_strand(strand, other, timeout):
        return None
    return original(self, timeout)


def _join_strand(strand: Strand, other: Strand, timeout: float | None) -> bool:
    """Wait for the end of another thread of the program; return whether it has ended in time."""
    world = strand.loop.world
    until_ns = None if timeout is None else world.now_ns + round(max(timeout, 0) * NS_PER_SECOND)
    while not other.has_ended:
        other.joiners.append(strand)
        try:
            woken = strand.wait(None if until_ns is None else max(0, until_ns - world.now_ns))
        finally:
            other.joiners.remove(strand)
        if not woken:
            return other.has_ended
    return True


def _main_thread(_world: Any, original: Any, /) -> Any:
    strand = current_strand()
    main = None if strand is None or strand.process is None else strand.process.main
    return original() if main is None else main.main_thread


def _enumerate(_world: Any, original: Any, /) -> Any:
    strand = current_strand()
    if strand is None:
        return original()
    own = {each.ident for each in strand.siblings}
    return [thread for thread in original() if thread.ident in own]


def _active_count(_world: Any, original: Any, /) -> int:
    return original() if current_strand() is None else len(threading.enumerate())


def _condition_wait(world: Any, original: Any, self: Any, timeout: float | None = None) -> Any:
    frame = sys._getframe(1)
    if current_strand() is not None or is_for_tool(frame):
        return original(self, timeout)
    if timeout is None:
        refuse(WAITS, "threading.Condition.wait", frame)
    world.sleep_blocking(round(max(timeout, 0) * NS_PER_SECOND))
    return False
