"""The catalogue of probes: each is a program on a host that leans on one source of chance and returns what it saw."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

__all__ = ["PROBES", "Probe", "probe"]

Program = TypeVar("Program", bound=Callable[..., Any])


@dataclass(frozen=True)
class Probe:
    """One program.

    Attributes:
        name: what the probe is called in the table.
        program: the ``main`` of a host.
        process: whether the host is a process, so that the program may block and start threads.
        refused: whether the run must refuse the program loudly instead of giving it something repeatable.
        unpinned: whether what it sees may differ from process to process, unless ``PYTHONHASHSEED`` is pinned; then the
            check of determinism names it.
    """

    name: str
    program: Callable[..., Any]
    process: bool = False
    refused: bool = False
    unpinned: bool = False


PROBES: Final[dict[str, Probe]] = {}


def probe(
    name: str, *, process: bool = False, refused: bool = False, unpinned: bool = False
) -> Callable[[Program], Program]:
    """Enter a program into the catalogue."""

    def enter(program: Program) -> Program:
        assert name not in PROBES, name
        PROBES[name] = Probe(name, program, process, refused, unpinned)
        return program

    return enter
