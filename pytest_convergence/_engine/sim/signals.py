"""The signals of a simulated host's process: what handles them, and what they do.

Servers ask for signals to end gracefully. On a host that changes nothing but the host: the real process hears of nothing.
A signal comes from :meth:`.SimulatedHost.send_signal`, or from the program itself. What no handler takes does what Linux
does by default (signal(7)): most end the process, SIGSTOP and SIGCONT hold it and let it go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.sim.strands import current_strand
from pytest_convergence._engine.sim.world import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.endpoint import KernelSocket
    from pytest_convergence._engine.sim.node import Life, Node

__all__ = ["Signals", "signals_of"]

_OWN: Final = __name__.partition(".")[0] + "."
_NAMES: Final = (
    "SIGKILL",
    "SIGSTOP",
    "SIGCONT",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGCHLD",
    "SIGURG",
    "SIGWINCH",
    "SIGINT",
)
_KNOWN: Final = {name: int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)}
_UNCATCHABLE: Final = frozenset(_KNOWN.get(name) for name in ("SIGKILL", "SIGSTOP"))
_HOLDING: Final = frozenset(_KNOWN.get(name) for name in ("SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"))
_HARMLESS: Final = frozenset(_KNOWN.get(name) for name in ("SIGCONT", "SIGCHLD", "SIGURG", "SIGWINCH"))
_IGNORED_BY_PYTHON: Final = frozenset(
    int(getattr(signal, name)) for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if hasattr(signal, name)
)


@final
class Signals:
    """What the process of one host does about signals; each life begins with the defaults of Python.

    Attributes:
        leaving: why the task that is its program was cancelled: it was interrupted, or a handler wants to leave.
    """

    __slots__ = ("_handlers", "_life", "_main_task", "_node", "_on_loop", "_wakeup", "leaving")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._life: Life | None = None
        self._handlers: dict[int, Any] = {}
        self._on_loop: dict[int, Callable[[], object]] = {}
        self._wakeup = -1
        self._main_task: asyncio.Task[Any] | None = None
        self.leaving: BaseException | None = None

    def interruptible(self, task: asyncio.Task[Any] | None) -> None:
        """SIGINT cancels ``task``, which is the program of this life, the first time that it comes."""
        self._present()
        self._main_task = task

    def _present(self) -> None:
        """Forget what a former life has asked for."""
        if self._life is not self._node.life:
            self._life = self._node.life
            self._handlers, self._on_loop, self._wakeup = {}, {}, -1
            self._main_task, self.leaving = None, None

    def get(self, number: int) -> Any:
        """Return what handles a signal, as :func:`signal.getsignal` does."""
        self._present()
        if number in self._handlers:
            return self._handlers[number]
        if number == _KNOWN["SIGINT"]:
            return signal.default_int_handler
        return signal.SIG_IGN if number in _IGNORED_BY_PYTHON else signal.SIG_DFL

    def set(self, number: int, handler: Any) -> Any:
        """Let ``handler`` take a signal; return what did before.

        Raises:
            OSError: nobody can take this signal.
            TypeError: it is no handler.
        """
        if number in _UNCATCHABLE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if not callable(handler) and handler not in {signal.SIG_IGN, signal.SIG_DFL}:
            raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
        before = self.get(number)
        self._handlers[number] = handler
        self._on_loop.pop(number, None)
        return before

    @property
    def descriptors(self) -> Mapping[int, KernelSocket]:
        """The simulated descriptors of the host, by number."""
        return {} if self._node.stack is None else self._node.stack.descriptors.files

    @property
    def wakeup(self) -> int:
        """The descriptor to which the number of each signal is written that a function handles; -1 for none."""
        self._present()
        return self._wakeup

    @wakeup.setter
    def wakeup(self, number: int) -> None:
        self._present()
        self._wakeup = number

    def _wake(self, number: int) -> None:
        """Let an event loop know that waits in a thread of its own, as Python does (signal.set_wakeup_fd)."""
        found: Any = self.descriptors.get(self._wakeup)
        if found is not None:
            with contextlib.suppress(OSError):  # there is no room: it will wake up anyhow
                found.send(bytes([number]))

    def on_loop(self, number: int, callback: Callable[[], object]) -> None:
        """Let a callback of the event loop take a signal, as ``loop.add_signal_handler`` does."""
        if number in _UNCATCHABLE:
            raise RuntimeError(f"sig {number} cannot be caught")
        self._present()
        self._on_loop[number] = callback

    def off_loop(self, number: int) -> bool:
        """Take that back; return whether there was something to take back."""
        self._present()
        self._handlers.pop(number, None)
        return self._on_loop.pop(number, None) is not None

    def deliver(self, number: int, frame: Any = None) -> None:
        """A signal comes: run what takes it, or do what it does by default."""
        node = self._node
        if not node.is_alive:
            return
        self._present()
        if number == _KNOWN.get("SIGCONT"):
            node.resume()
        callback = self._on_loop.get(number)
        handler = self.get(number)
        if callback is not None:
            self._run(callback)
        elif callable(handler) and self._call(number, handler, frame):
            pass
        elif number in _HOLDING:
            node.pause()
        elif handler != signal.SIG_IGN and number not in _HARMLESS:
            self.die()

    def die(self) -> None:
        """The process ends at once, and its kernel lets the others know."""
        if self._node.stack is not None:
            self._node.stack.silently = False
        self._node.crash()

    def _call(self, number: int, handler: Any, frame: FrameType | None) -> bool:
        """Let a function take it; in a process with threads of its own the first of them runs it, as in Python.

        Returns:
            Whether there is anybody to run it: ``KeyboardInterrupt`` can be raised only in a thread.
        """
        process = self._node.life.process
        main = None if process is None or process.main is None or process.main.has_ended else process.main
        if main is None and handler is signal.default_int_handler:
            return self._leave(KeyboardInterrupt())
        if self._wakeup != -1:
            self._run(self._wake, number)
        here = current_strand()
        if main is not None and here is not main:
            main.interrupt(number, partial(self._handle, number))
        elif frame is None:
            self._run(self._handle_here, handler, number)
        else:
            handler(number, frame)
        return True

    def _leave(self, why: BaseException) -> bool:
        """Cancel the program, as ``asyncio.run`` does; return whether it is the first time."""
        if self.leaving is not None or self._main_task is None or self._main_task.done():
            return False
        self.leaving = why
        self._run(self._main_task.cancel)
        return True

    def _handle_here(self, handler: Callable[..., object], number: int) -> None:
        """Call a handler on the loop of the world, which what it raises to end its program must not end."""
        try:
            handler(number, None)
        except (SystemExit, KeyboardInterrupt) as why:
            self.leave(why)

    def leave(self, why: BaseException) -> None:
        """The program wants its process to end: cancel its main task, which may clear up; the second time end it at once."""
        if not self._leave(why):
            self.die()

    def _handle(self, number: int) -> None:
        """The main thread has the baton: whatever takes the signal by now is called where the thread waits."""
        handler = self.get(number)
        if callable(handler):
            handler(number, _program_frame())

    def _run(self, function: Callable[..., object], *args: Any) -> None:
        """Run it as a step of the host."""
        context = copy_context()
        context.run(OWNER.set, self._node.life)
        self._node.fabric.loop.call_soon(function, *args, context=context)


def _program_frame() -> FrameType | None:
    """The line of the program at which it waits."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_OWN):
        frame = frame.f_back
    return frame


def signals_of(node: Node) -> Signals:
    """Return the signals of a node."""
    found = node.signals
    if found is None:
        found = node.signals = Signals(node)
    return found
