"""The standard streams of a process: pipes of the world, in Python's own text layer.

1. What a program writes is kept line by line with its virtual time, and noted in the trace. Nothing is buffered, as with
   ``python -u``: what was printed before a crash is there.
2. Whose output a text is, is decided by whose code writes, not by which object it writes to: a handler of :mod:`logging` is
   shared by all programs of the interpreter, and each program's records come out at its own ``stderr``.
3. ``stdin`` is a file of the simulated kernel: who reads it waits as for a socket, and ``select`` can wait for it.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.net.descriptors import READ
from pytest_convergence._engine.sim.net.endpoint import KernelSocket
from pytest_convergence._engine.sim.net.stack import stack_of
from pytest_convergence._engine.sim.process_loop import wait_for_files
from pytest_convergence._engine.sim.strands import current_strand, present_life

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

    from pytest_convergence._engine.sim.node import Life, Node

__all__ = ["STDERR", "STDOUT", "Output", "OutputLine", "Stdin", "reader_of", "write_bytes", "writer_of"]

STDOUT: Final = "stdout"
STDERR: Final = "stderr"
_LONGEST_NOTE: Final = 200


class OutputLine(NamedTuple):
    """A line that the program of a host has written.

    Attributes:
        at: virtual seconds, when the line was complete.
        stream: ``"stdout"`` or ``"stderr"``.
        text: the line, without its end.
    """

    at: float
    stream: str
    text: str


@final
class Output:
    """What the program of one host has written, over all its lives.

    Attributes:
        lines: its complete lines, in order.
    """

    __slots__ = ("_node", "_open", "_texts", "lines")

    def __init__(self) -> None:
        self._node: Node | None = None
        self._texts: dict[str, list[str]] = {STDOUT: [], STDERR: []}
        self._open: dict[str, str] = {STDOUT: "", STDERR: ""}
        self.lines: list[OutputLine] = []

    def attach(self, node: Node) -> None:
        """Belong to a node; its crashes end the line that was begun."""
        self._node = node

    def text(self, stream: str) -> str:
        """Return all that was written to one of the streams."""
        return "".join(self._texts[stream])

    def write(self, stream: str, text: str) -> None:
        """Take a text; when the run is over there is nobody to take it."""
        node = self._node
        if node is None or not node.is_alive or node.life.is_over or node.fabric.closed:
            return
        self._texts[stream].append(text)
        *complete, self._open[stream] = (self._open[stream] + text).split("\n")
        for line in complete:
            self._end_line(node, stream, line)

    def break_off(self) -> None:
        """A life is over: what it had begun is a line too."""
        for stream, begun in self._open.items():
            if begun and self._node is not None:
                self._open[stream] = ""
                self._end_line(self._node, stream, begun)

    def _end_line(self, node: Node, stream: str, line: str) -> None:
        self.lines.append(OutputLine(node.fabric.world.now_ns / NS_PER_SECOND, stream, line))
        node.fabric.note("output", node, {"fact": stream, "line": line[:_LONGEST_NOTE]})


def write_bytes(stream: str, data: bytes) -> bool:
    """Write to a standard stream of whoever runs; return whether it has one of its own."""
    life = present_life()
    process = None if life is None else life.process
    if process is None:
        return False
    process.output.write(stream, data.decode("utf-8", "backslashreplace"))
    return True


@final
class _Sink(io.RawIOBase):
    """The lower end of a standard stream."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self.name = f"<{stream}>"

    def writable(self) -> bool:
        """It may be written to."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Let whoever runs write; who is no process writes to the test's own stream."""
        content = bytes(data)
        if not write_bytes(self._stream, content):
            real: Any = getattr(sys, self._stream)
            if getattr(real, "buffer", None) is self:
                real = getattr(sys, f"__{self._stream}__")
            if real is not None:
                real.write(content.decode("utf-8", "backslashreplace"))
        return len(content)


def writer_of(stream: str) -> io.TextIOWrapper:
    """Make ``sys.stdout`` or ``sys.stderr`` of a process."""
    sink: Any = _Sink(stream)
    return io.TextIOWrapper(
        sink, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
    )


@final
class Stdin(KernelSocket):
    """What was typed, or piped, into a process and not read yet."""

    __slots__ = ("_content", "_is_complete")

    def __init__(self, life: Life, content: bytes, *, is_complete: bool) -> None:
        stack = stack_of(life.node)
        super().__init__(stack, 0, 0)
        self._content = bytearray(content)
        self._is_complete = is_complete
        stack.register(self)

    def feed(self, data: bytes) -> None:
        """There is more to read."""
        self._content += data
        self.changed()

    def complete(self) -> None:
        """Nothing more will come: who has read all of it reads the end of the file."""
        self._is_complete = True
        self.changed()

    def readiness(self) -> int:
        """Whether there is something to read, be it the end."""
        return READ if self._content or self._is_complete else 0

    def take(self, size: int) -> bytes:
        """Return up to ``size`` bytes, at least one of them unless it is the end; wait for it."""
        while not self.readiness():
            strand = current_strand()
            if strand is None or not self.is_open:
                return b""
            wait_for_files(strand, self.stack.descriptors, {self.number: READ}, None)
        taken = bytes(self._content[:size])
        del self._content[:size]
        self.changed()
        return taken

    def close(self) -> None:
        """The program has closed it."""
        if self.is_open:
            self.is_open = False
            self.stack.descriptors.close(self.number)
            self.stack.release(self)


@final
class _Source(io.RawIOBase):
    """The lower end of ``sys.stdin``."""

    def __init__(self, file: Stdin) -> None:
        self._file = file
        self.name = "<stdin>"

    def readable(self) -> bool:
        """It may be read from."""
        return True

    def fileno(self) -> int:
        """Return the simulated descriptor: ``select`` and ``loop.add_reader`` take it."""
        return self._file.number

    def readinto(self, buffer: Any, /) -> int:
        """Read what there is."""
        taken = self._file.take(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)


def reader_of(file: Stdin) -> io.TextIOWrapper:
    """Make ``sys.stdin`` of a process."""
    return io.TextIOWrapper(io.BufferedReader(_Source(file)), encoding="utf-8")
