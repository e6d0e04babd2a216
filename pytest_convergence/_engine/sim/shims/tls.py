"""TLS that blocks, over simulated sockets: ``ssl.SSLContext.wrap_socket``."""

from __future__ import annotations

import _ssl
import ssl
from collections.abc import Iterator
from typing import Any, Final

from pytest_convergence._engine.sim.net.descriptors import FIRST_DESCRIPTOR
from pytest_convergence._engine.sim.net.facade import SimulatedSocket
from pytest_convergence._engine.sim.net.secure import Engine, SecureSocket
from pytest_convergence._engine.sim.shims.patching import Row
from pytest_convergence._engine.sim.shims.refusals import as_method

__all__ = ["cover_tls", "rows"]

_IN_C: Final[Any] = _ssl._SSLContext._wrap_socket  # type: ignore[attr-defined]


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    closed = "a simulated socket that speaks TLS; a real one cannot be used"
    yield Row("ssl:SSLContext.wrap_socket", closed, as_method(_wrap), "sockets")


def cover_tls() -> None:
    """Let contexts put an engine of ours beneath sockets of ours. Stays in place; elsewhere it does what it did."""
    if "_wrap_socket" not in vars(ssl.SSLContext):
        ssl.SSLContext._wrap_socket = _wrap_socket  # type: ignore[attr-defined]


def _wrap_socket(
    context: Any,
    sock: Any,
    server_side: bool,
    server_hostname: Any = None,
    *,
    owner: Any = None,
    session: Any = None,
) -> Any:
    if isinstance(sock, SecureSocket):
        return Engine(context, sock, server_side, server_hostname, session)
    return _IN_C(context, sock, server_side, server_hostname, owner=owner, session=session)


def _wrap(
    _world: Any,
    original: Any,
    context: Any,
    sock: Any,
    server_side: bool = False,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    server_hostname: str | None = None,
    session: Any = None,
) -> Any:
    chosen = (server_side, do_handshake_on_connect, suppress_ragged_eofs, server_hostname)
    if sock.fileno() < FIRST_DESCRIPTOR and not isinstance(sock, SimulatedSocket):  # closed, say
        return original(context, sock, *chosen, session)
    create: Any = SecureSocket._create  # type: ignore[attr-defined]
    return create(sock, *chosen, context, session)
