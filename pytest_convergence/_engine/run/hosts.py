"""Simulated hosts: asyncio programs that know nothing of this package, each on a machine of its own.

1. A host runs ``main(*args)`` as an agent runs its behaviour: it has a lane in the trace, lives that end by crashes and
   begin again by restarts, steps that a schedule may delay, and links with latency and loss to all others.
2. What it does with sockets, names, clocks, entropy and its process id is answered by the simulated world, by whose code
   asks: everything that ``main`` starts inherits the host through its context.
3. A host whose ``main`` has not returned *serves* if somebody could still ask something of it: it listens, or it has a
   datagram socket. A run is over when no host is left that neither has returned nor serves.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.hosting import current_loop
from pytest_convergence._engine.run.programs import HostStdin, Program, named
from pytest_convergence._engine.sim.awaiting import describe_stack
from pytest_convergence._engine.sim.cancelling import cancelling_of
from pytest_convergence._engine.sim.files import HostFiles
from pytest_convergence._engine.sim.net.stack import stack_of
from pytest_convergence._engine.sim.shims.refusals import check_tryable
from pytest_convergence._engine.sim.signals import signals_of
from pytest_convergence._engine.sim.stdio import STDERR, STDOUT, Output, OutputLine
from pytest_convergence._engine.sim.strands import Strand
from pytest_convergence.errors import ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.sim.node import Node
    from pytest_convergence._engine.sim.rules import Rule

__all__ = ["Hosts", "SimulatedHost"]

_RESERVED = "scenario"
_LONGEST_NAME = 63


@final
class SimulatedHost:
    """A machine with one program, in the network of a session.

    Attributes:
        name: unique in the session; other hosts and agents reach it by this name.
        names: further names that lead to it.
        serves: whether a run may end while its program still runs; ``None`` to decide by whether it listens.
    """

    __slots__ = (
        "_cancels",
        "_files",
        "_main",
        "_may_try",
        "_output",
        "_process",
        "_roots",
        "_stdin",
        "_strand",
        "agent",
        "name",
        "names",
        "serves",
    )

    def __init__(
        self,
        agent: SimulatedAgent,
        main: Callable[[], Any],
        names: tuple[str, ...],
        serves: bool | None,
        cancels: Callable[[str], bool] | None,
        process: bool,
        roots: tuple[str, ...],
        files: Path | None,
        may_try: frozenset[str],
    ) -> None:
        self.agent = agent
        self.name = agent.name
        self.names = names
        self.serves = serves
        self._main = main
        self._cancels = cancels
        self._strand: Strand | None = None
        self._process = process
        self._roots = roots
        self._output = Output()
        self._stdin = HostStdin()
        self._files = files
        self._may_try = may_try

    async def behave(self, _: SimulatedAgent) -> Any:
        """Run the program: as part of the world's loop, or on a thread of its own.

        Raises:
            RuntimeError: it has asked for the end of its process, with a status that says that something is wrong.
        """
        __tracebackhide__ = True
        try:
            return await self._run()
        except SystemExit as ended:
            if ended.code in (None, 0):
                return None
            raise RuntimeError(f"the program has ended with exit status {ended.code!r}") from ended

    async def _run(self) -> Any:
        __tracebackhide__ = True
        if self._process:
            loop: Any = current_loop()
            life = self._node("run").life
            life.process = self._stdin.begin(life, self._roots, self._output)
            strand = self._strand = Strand(loop, Program(self._main, self._roots))
            life.process.main = strand
            strand.start()
            try:
                return await strand.done
            except KeyboardInterrupt:
                await self._die_of_signal()
        return await self._run_here()

    async def _run_here(self) -> Any:
        """Run the program as a task of the world's loop; SIGINT cancels it first, as ``asyncio.run`` does."""
        __tracebackhide__ = True
        signals, task = signals_of(self._node("run")), asyncio.current_task()
        signals.interruptible(task)
        try:
            return await self._main()
        except asyncio.CancelledError:
            why = signals.leaving
            if why is None or task is None or task.uncancel() > 0:
                raise
        if isinstance(why, SystemExit):
            raise why
        return await self._die_of_signal()

    async def _die_of_signal(self) -> None:
        """Python ends a program that lets :exc:`KeyboardInterrupt` out as SIGINT ends others."""
        signals_of(self._node("end")).die()
        await asyncio.get_running_loop().create_future()  # the dead take no step

    @property
    def stdin(self) -> HostStdin:
        """What a process reads: what is written to it feeds ``input()`` and ``sys.stdin`` of the program.

        Raises:
            ConvergenceUsageError: it is no process.
        """
        self._check_process("stdin")
        return self._stdin

    @property
    def stdout(self) -> str:
        """All that a process has printed so far, over all its lives.

        Raises:
            ConvergenceUsageError: it is no process.
        """
        self._check_process("stdout")
        return self._output.text(STDOUT)

    @property
    def stderr(self) -> str:
        """All that a process has written to ``sys.stderr`` so far, over all its lives.

        Raises:
            ConvergenceUsageError: it is no process.
        """
        self._check_process("stderr")
        return self._output.text(STDERR)

    @property
    def output(self) -> tuple[OutputLine, ...]:
        """The lines of both streams of a process in the order of time: ``line.at``, ``line.stream``, ``line.text``.

        Raises:
            ConvergenceUsageError: it is no process.
        """
        self._check_process("output")
        return tuple(self._output.lines)

    def _check_process(self, name: str) -> None:
        if not self._process:
            raise ConvergenceUsageError(
                f"host {self.name!r} has no {name} of its own: its program prints where the test prints. Give it a process: "
                "session.host(…, process=True)."
            )

    def end(self) -> None:
        """The run is over."""
        self._output.break_off()
        self._node("end").end()

    @property
    def waits_at(self) -> str | None:
        """Where the program of a process stands at present, in words; ``None`` for one without a thread of its own."""
        strand = self._strand
        frame = None if strand is None else sys._current_frames().get(strand.ident)
        return None if frame is None else describe_stack(frame)

    def _node(self, what: str) -> Node:
        return self.agent._running(what)

    @property
    def ip(self) -> str:
        """Its IPv4 address, once the session runs."""
        return stack_of(self._node("tell its address")).ips[0]

    @property
    def ipv6(self) -> str:
        """Its IPv6 address, once the session runs."""
        return stack_of(self._node("tell its address")).ips[1]

    @property
    def is_alive(self) -> bool:
        """Whether it has not crashed."""
        return self.agent.is_alive

    @property
    def rests(self) -> bool:
        """Whether a run may end while its program waits as it does now."""
        node = self.agent._node
        if self.serves is not None or node is None:
            return bool(self.serves)
        return node.stack is not None and node.stack.listens

    def crash(self, *, silently: bool | None = None) -> None:
        """End its program at once; no ``finally`` of it touches the world any more.

        Args:
            silently: ``False``: only the process dies, so its kernel resets all connections and refuses new ones.
                ``True``: the machine loses power, so the other ends hear nothing until they send, and it is back.
                ``None``: the schedule chooses; resets are calm.

        Raises:
            AgentCrashedError: it has crashed already.
        """
        node = self.agent._alive("crash")
        stack_of(node).silently = silently
        node.crash()

    def restart(self) -> None:
        """Start its program again from the top.

        Raises:
            ConvergenceUsageError: it is alive.
        """
        self.agent.restart()

    def pause(self) -> None:
        """Hold its program; what is sent to it waits."""
        self.agent.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.agent.resume()

    def isolate(self) -> Rule:
        """Cut it off from all others; a context manager with ``heal()``."""
        return self.agent.isolate()

    def send_signal(self, number: int) -> None:
        """Send its process a signal, as ``kill`` does: ``host.send_signal(signal.SIGTERM)`` asks most servers to end.

        What the program has installed with ``signal.signal`` or ``loop.add_signal_handler`` takes it. SIGINT raises
        :exc:`KeyboardInterrupt` where the main thread of a process waits, and cancels the main task of ``asyncio.run``
        first. Without a handler most other signals end the process at once, as :meth:`crash` does, and its kernel resets
        all connections.

        Raises:
            AgentCrashedError: it has crashed.
            ValueError: there is no such signal.
        """
        signals_of(self.agent._alive("get a signal")).deliver(signal.Signals(number))

    def skew_clock(self, offset: float = 0.0, drift: float = 0.0) -> None:
        """Set its clock ``offset`` seconds ahead (negative: behind) and let it gain ``drift`` seconds a second."""
        self.agent.skew_clock(offset, drift)

    def begin(self, conduct: Conduct) -> None:
        """Start its program for the first time."""
        node = self._node("start")
        node.is_host = True
        node.fabric.may_try[self.name] = self._may_try
        stack = stack_of(node)
        stack.directory.alias(self.name, self.names)
        stack.on_listen = functools.partial(_serves_now, conduct)
        self._output.attach(node)
        node.on_crash += (self._output.break_off,)
        if self._files is not None:
            node.files = HostFiles(node, self._files)
        if self._cancels is not None:
            cancelling_of(node).wanted = self._cancels
            node.fabric.world.cancels = True
        conduct.cast.start_behaviour(self.agent, self.behave)

    def __repr__(self) -> str:
        return f"<SimulatedHost {self.name!r}{'' if self.is_alive else ', crashed'}>"


class Hosts:
    """The hosts of a session: what :class:`.Session` inherits."""

    _hosts: dict[str, SimulatedHost]
    _conduct: Conduct | None
    agents: Mapping[str, SimulatedAgent]

    @property
    def hosts(self) -> Mapping[str, SimulatedHost]:
        """Name -> :class:`SimulatedHost`, read-only."""
        return MappingProxyType(self._hosts)

    @property
    def participants(self) -> dict[str, SimulatedAgent]:
        """Whoever has a node in the network: the agents, then the hosts."""
        if not self._hosts:
            return dict(self.agents)
        return {**self.agents, **{name: host.agent for name, host in self._hosts.items()}}

    def host(
        self,
        name: str,
        main: Callable[..., Any] | str,
        /,
        *args: Any,
        names: Iterable[str] = (),
        serves: bool | None = None,
        cancel: bool | str | Callable[[str], bool] = False,
        process: bool = False,
        modules: Iterable[str] | None = None,
        files: str | Path | None = None,
        may_try: Iterable[str] = (),
    ) -> SimulatedHost:
        """Put a program on a machine of its own: ``session.host("server", serve)``.

        ``main(*args)`` is ordinary asyncio code: it opens sockets, resolves names, sleeps. It begins with the run, or at
        once if the session runs already, and begins again whenever the host restarts. What it returns is in
        ``outcome.results[name]``; what it raises fails the run.

        Args:
            name: the host's name, by which others connect to it.
            main: a coroutine function; for a process also a plain one, or where to import it from,
                ``"package.module:function"``.
            args: its arguments; for keyword arguments use :func:`functools.partial`.
            names: other names that lead to the host, such as ``"api.example.com"``.
            serves: whether a run may end while ``main`` still runs. By default a program that listens, or has a datagram
                socket, serves; any other has to return.
            cancel: which tasks of the program a schedule may cancel at any of their awaits, as clients do that hang up:
                ``True`` for all, or the name of their coroutine function, or a function of that name.
            process: give the program a thread: ``main`` may be a plain function that blocks; a coroutine function gets an
                event loop by ``asyncio.run``. One thread runs at a time, and the schedule says which. What it prints is in
                ``host.stdout`` and ``host.stderr``, what it reads comes from ``host.stdin``.
            modules: modules and packages, by name, that the process has to itself: they are imported afresh whenever its
                program begins. By default the package of a program that is given by name, and none otherwise.
            files: an empty directory for the program's files, a new one for each run (``tmp_path_factory.mktemp("db")``).
                What the program has not made durable there by ``os.fsync`` may be lost or torn when a crash is silent.
            may_try: refused calls that the program may try: they fail (:class:`.RefusedCallError`), the session does not.

        Raises:
            ConvergenceUsageError: the name is taken, ``main`` is no such function, ``files`` is no empty directory, …
        """
        session: Any = self
        _check_name(name, self.participants)
        main, roots = named(name, main, process, modules)
        host = SimulatedHost(
            SimulatedAgent(session, name),
            functools.partial(main, *args),
            (names,) if isinstance(names, str) else tuple(names),
            serves,
            _wanted(cancel),
            process,
            roots,
            None if files is None else _directory(name, Path(files)),
            check_tryable(may_try),
        )
        self._hosts[name] = host
        if self._conduct is not None:
            self._conduct.join(host)
        return host


def _serves_now(conduct: Conduct) -> None:
    """A host serves from now on: it may be the last that was waited for, if others have returned before it did."""
    if conduct.results:
        conduct.loop.call_soon(conduct.check_finished)


def _check_name(name: object, taken: Mapping[str, Any]) -> None:
    if (
        not isinstance(name, str)
        or not name
        or len(name) > _LONGEST_NAME
        or any(each.isspace() for each in name)
    ):
        raise ConvergenceUsageError(
            f"a host's name must be a text of 1 to {_LONGEST_NAME} characters without spaces, not {name!r}."
        )
    if name in taken or name == _RESERVED:
        raise ConvergenceUsageError(
            f"{name!r} is the name of another participant of this session; take another one (taken: "
            f"{', '.join([*taken, _RESERVED])})."
        )


def _directory(name: str, path: Path) -> Path:
    """Return the directory of a host's files, made if it is not there."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConvergenceUsageError(
            f"files= of host {name!r} must be an empty directory, and {path} is not: each run needs a new one. Take "
            "tmp_path_factory.mktemp(…) in the body of the test."
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _wanted(cancel: object) -> Callable[[str], bool] | None:
    if isinstance(cancel, bool):
        return (lambda _: True) if cancel else None
    if isinstance(cancel, str):
        return lambda name: name == cancel or name.rpartition(".")[2] == cancel
    if callable(cancel):
        return cancel
    raise ConvergenceUsageError(
        f"cancel= takes True, the name of a coroutine function, or a function of such a name, not {cancel!r}."
    )
