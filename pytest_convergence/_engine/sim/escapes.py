"""What reaches for the real world is refused by an error, and the session hears of it: a program may swallow the error.

A web framework answers whatever its handler raises with "500 Internal Server Error"; without a second way of being told, the
refusal would look like a bug of the program.
"""

from __future__ import annotations

import errno

from pytest_convergence._engine.sim.strands import present_life
from pytest_convergence.errors import RefusedCallError, SimulationEscapeError

__all__ = ["escape"]


def escape(message: str, call: str = "") -> SimulationEscapeError:
    """Make the error of an escape, for its caller to raise, and let the session know whose code has met it.

    The session does not hear of a ``call`` that the program may try.
    """
    life = present_life()
    if life is not None and life.node.fabric.lets_try(life.node.name, call):
        return RefusedCallError(errno.EPERM, message)
    error = SimulationEscapeError(message)
    tell = None if life is None else life.node.fabric.world.escaped
    if life is not None and tell is not None:
        tell(life, error)
    return error
