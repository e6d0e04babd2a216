"""The signals of a simulated host's process: what handles them, and what they do.

Servers ask for signals to end gracefully. On a host that changes nothing but the host: the real process hears of nothing.
A signal comes from :meth:`.SimulatedHost.send_signal`, or from the program itself. What no handler takes does what Linux
does by default (signal(7)): most end the process, SIGSTOP and SIGCONT hold it and let it go on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.sim.world import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.endpoint import KernelSocket
    from pytest_convergence._engine.sim.node import Life, Node

__all__ = ["Signals", "signals_of"]

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
    """What the process of one host does about signals; each life begins with the defaults of Python."""

    __slots__ = ("_handlers", "_life", "_node", "_on_loop", "_wakeup")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._life: Life | None = None
        self._handlers: dict[int, Any] = {}
        self._on_loop: dict[int, Callable[[], object]] = {}
        self._wakeup = -1

    def _present(self) -> None:
        """Forget what a former life has asked for."""
        if self._life is not self._node.life:
            self._life = self._node.life
            self._handlers, self._on_loop, self._wakeup = {}, {}, -1

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
        elif callable(handler) and handler is not signal.default_int_handler:
            if self._wakeup != -1:
                self._run(self._wake, number)
            if frame is None:
                self._run(handler, number, None)
            else:
                handler(number, frame)
        elif number in _HOLDING:
            node.pause()
        elif handler != signal.SIG_IGN and number not in _HARMLESS:
            if node.stack is not None:
                node.stack.silently = False  # only the process dies
            node.crash()

    def _run(self, function: Callable[..., object], *args: Any) -> None:
        """Run it as a step of the host."""
        context = copy_context()
        context.run(OWNER.set, self._node.life)
        self._node.fabric.loop.call_soon(function, *args, context=context)


def signals_of(node: Node) -> Signals:
    """Return the signals of a node."""
    found = node.signals
    if found is None:
        found = node.signals = Signals(node)
    return found
