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


OTHERWISE: Final = tuple(
    CoverageRow(*row)
    for row in (
        (
            "order",
            "asyncio.wait, as_completed, TaskGroup, all_tasks",
            "tasks hash by a number of their world",
        ),
        (
            "order",
            "asyncio.wait of futures, as_completed of coroutines",
            "asyncio's own sets keep the order of insertion",
        ),
        (
            "order",
            "sets of asyncio's and threading's queues, events, locks, streams, transports, threads, executor futures",
            "made inside a run they hash by a number of their world",
        ),
        ("order", "default names of tasks", "numbered by their world"),
        ("garbage collection", "finalizers, weakref callbacks", "fixed points, counted in events"),
        (
            "threads",
            "asyncio.to_thread, run_in_executor(None, …)",
            "of hosts: on threads that take turns; else at once, inline",
        ),
        ("not covered", "string hashes, sets of strings", "pin PYTHONHASHSEED; runs made twice are compared"),
        (
            "not covered",
            "id(), sets of your own objects, asyncio futures and coroutines",
            "runs made twice are compared",
        ),
        (
            "not covered",
            "time-machine imported after the first run",
            "import it before, as its pytest plugin does",
        ),
        ("not covered", "unseeded random.Random() made before the run", "make it inside, or give it a seed"),
        (
            "not covered",
            "functions captured in instances, containers or functools.partial before the first run",
            "look them up when they are called",
        ),
        (
            "not covered",
            "entropy and clocks inside extension modules (NumPy's global generator, Rust)",
            "give them a seed from agent.random",
        ),
        (
            "not covered",
            "blocking calls of extension modules; locks and SimpleQueue of threads",
            "the real-time budget interrupts and names them",
        ),
        (
            "not covered",
            "the machine's time zone and files; the environment of agents, and of hosts without a process",
            "set them in the test",
        ),
        ("not covered", "threading.get_ident(), resource.getrusage()", "do not decide by them"),
    )
)
"""What is closed by something else than a replacement, and what is not closed."""


def coverage() -> list[CoverageRow]:
    """Return every source that is closed, and the known ones that are not."""
    rows = [CoverageRow(row.source, row.target.replace(":", "."), row.closed) for row in all_rows()]
    return [*rows, *OTHERWISE]
