"""What is covered, as data, for the documentation and for people who wonder."""

from __future__ import annotations

from typing import Final, NamedTuple

from pytest_convergence._engine.sim.shims.installation import all_rows

__all__ = ["OTHERWISE", "CoverageRow", "coverage"]


class CoverageRow(NamedTuple):
    """One source of nondeterminism: where it comes from, and what closes it."""

    kind: str
    source: str
    closed: str


OTHERWISE: Final = (
    CoverageRow("order", "asyncio.wait, as_completed, TaskGroup, all_tasks", "tasks and futures hash by a number of their world"),
    CoverageRow("order", "default names of tasks", "numbered by their world"),
    CoverageRow("garbage collection", "finalizers, weakref callbacks, async generators", "fixed points, counted in events"),
    CoverageRow("not covered", "string hashes, sets of strings", "PYTHONHASHSEED; runs made twice are compared"),
    CoverageRow("not covered", "id(), sets of your own objects", "runs made twice are compared"),
    CoverageRow("not covered", "random.Random() and SystemRandom state made before the run", "make it inside, or give a seed"),
    CoverageRow("not covered", "functions captured in instances, containers and functools.partial before the first run", "look them up when they are called"),
    CoverageRow("not covered", "entropy and clocks inside extension modules (NumPy's global generator, Rust, OpenSSL)", "give them a seed from agent.random"),
    CoverageRow("not covered", "the machine's time zone, environment variables and files", "set them in the test"),
)  # fmt: skip
"""What is closed by something else than a replacement, and what is not closed."""


def coverage() -> list[CoverageRow]:
    """Return every source that is closed, and the known ones that are not."""
    rows = [CoverageRow(row.source, row.target.replace(":", "."), row.closed) for row in all_rows()]
    return [*rows, *OTHERWISE]
