"""TLS that blocks: what ``ssl.SSLContext.wrap_socket`` makes of a simulated socket.

1. ``ssl.SSLSocket`` of the standard library stays as it is: its state, its checks, its methods. Beneath it lies an object
   in C that reads and writes a descriptor by itself. Instead of it there is one that reads and writes memory, as that of
   asyncio does, and :class:`Engine`, which carries the bytes from there to the simulated socket and back.
2. It blocks where the simulated socket blocks: in a process of its own. On a socket that does not block it raises
   ``SSLWantReadError`` and ``SSLWantWriteError``, as the real one.
"""

from __future__ import annotations

import contextlib
import ssl
import weakref
from collections.abc import Callable
from typing import Any, Final, final

from pytest_convergence._engine.sim.net.facade import SimulatedSocket

__all__ = ["Engine", "SecureSocket"]

_MOST_BYTES: Final = 65_536


class SecureSocket(ssl.SSLSocket, SimulatedSocket):  # type: ignore[misc]  # SSLSocket narrows recvmsg and sendmsg
    """A simulated socket that speaks TLS."""

    # Those of the standard library; inside a run what stands there is refused, since real sockets get by here.
    read = ssl.SSLSocket.read
    write = ssl.SSLSocket.write
    send = ssl.SSLSocket.send
    do_handshake = ssl.SSLSocket.do_handshake


@final
class Engine:
    """What ``SSLSocket`` takes for the object in C: the same methods; what else it wants is asked of that in memory."""

    def __init__(
        self, context: Any, sock: SecureSocket, server_side: bool, server_hostname: Any, session: Any
    ) -> None:
        self._socket = weakref.ref(sock)  # which holds this
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""
        self._inner = context._wrap_bio(
            self._incoming, self._outgoing, server_side, server_hostname, owner=sock, session=session
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def context(self) -> Any:
        """The context, which a server may exchange during the handshake."""
        return self._inner.context

    @context.setter
    def context(self, context: Any) -> None:
        self._inner.context = context

    @property
    def session(self) -> Any:
        """The session, which a client may resume."""
        return self._inner.session

    @session.setter
    def session(self, session: Any) -> None:
        self._inner.session = session

    def do_handshake(self) -> None:
        """Shake hands."""
        self._carry("handshake", self._inner.do_handshake)

    def read(self, size: int, *buffer: Any) -> Any:
        """Read what has come and is deciphered, up to ``size`` bytes; into a buffer, if there is one."""
        return self._carry("read", self._inner.read, size, *buffer)

    def write(self, data: Any) -> int:
        """Encipher and send."""
        self._flush("write")  # before more is taken on
        written: int = self._carry("write", self._inner.write, data)
        return written

    def shutdown(self) -> Any:
        """Say goodbye and wait for the other end's; return the socket, which speaks plainly again."""
        self._carry("shutdown", self._inner.shutdown)
        return self._socket()

    def _carry(self, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call what works on memory until it neither wants to read nor has anything to send.

        Raises:
            ssl.SSLWantReadError, ssl.SSLWantWriteError: the socket does not block.
            TimeoutError: its timeout is over.
        """
        while True:
            try:
                result = call(*arguments)
            except ssl.SSLWantReadError:
                self._flush(what)
                self._receive(what)
            except ssl.SSLError:
                self._say_why()
                raise
            else:
                self._try_to_flush(what)
                return result

    def _receive(self, what: str) -> None:
        """Read what the other end has sent.

        Raises:
            ssl.SSLWantReadError: nothing is there, and the socket does not block.
            TimeoutError: its timeout is over.
        """
        try:
            data = SimulatedSocket.recv(self._own(), _MOST_BYTES)
        except BlockingIOError:
            raise ssl.SSLWantReadError(
                ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)"
            ) from None
        except TimeoutError:
            raise TimeoutError(f"The {what} operation timed out") from None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self, what: str) -> None:
        """Send what is to be sent.

        Raises:
            ssl.SSLWantWriteError: there is no room, and the socket does not block.
            TimeoutError: its timeout is over.
        """
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                sent = SimulatedSocket.send(self._own(), self._unsent)
            except BlockingIOError:
                raise ssl.SSLWantWriteError(
                    ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)"
                ) from None
            except TimeoutError:
                raise TimeoutError(f"The {what} operation timed out") from None
            self._unsent = self._unsent[sent:]

    def _try_to_flush(self, what: str) -> None:
        """The call is done; what there is no room for goes out with the next one."""
        with contextlib.suppress(ssl.SSLWantWriteError):
            self._flush(what)

    def _say_why(self) -> None:
        """Something is wrong with the other end: tell it, if it can be told."""
        with contextlib.suppress(OSError):
            self._flush("handshake")

    def _own(self) -> SecureSocket:
        sock = self._socket()
        if sock is None:
            raise ssl.SSLError("Underlying socket connection gone")
        return sock
