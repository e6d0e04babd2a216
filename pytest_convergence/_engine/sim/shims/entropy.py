"""Entropy and identity: inside a run they come from the current agent's stream, derived from seed and agent.

The global generator of module random is never drawn from, seeded or saved by a run: its functions are replaced by ones
that ask the world, so it stands after a run where it stood before.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from random import Random
from types import BuiltinMethodType, MethodType
from typing import Any, Final

from pytest_convergence._engine.sim.shims.asking import RUNS, SimulatedWorld, asked_world
from pytest_convergence._engine.sim.shims.patching import Home, Row, delegate
from pytest_convergence._engine.sim.strands import present_life

__all__ = [
    "HOST_NAME",
    "PROCESS_ID",
    "cover_hidden_generator",
    "hidden_generator_names",
    "process_id",
    "rows",
]

PROCESS_ID: Final = 4_999_999
"""What ``os.getpid()`` says inside a run. No real process has it: it is above what Linux allows."""

HOST_NAME: Final = "simulated"
"""What ``socket.gethostname()`` says inside a run."""

# What the other methods of a generator are made of, and what holds state of its own.
_PROCESSORS: Final = 4
_PRIMITIVES: Final = ("random", "getrandbits", "gauss", "seed", "getstate", "setstate")
_SEED_BITS: Final = 256
_UUID_EPOCH_100NS: Final = 0x01B21DD213814000  # 15 October 1582, to 1970
_NODE_BITS: Final = 48
_MULTICAST: Final = 1 << 40  # RFC 9562, 6.10: a random node sets it, as no network card does


def hidden_generator_names() -> list[str]:
    """The functions of module random: methods of its one hidden instance, or what has replaced them."""
    return [
        name
        for name, value in vars(random).items()
        if isinstance(value, MethodType | BuiltinMethodType) and isinstance(value.__self__, Random | Home)
    ]


def cover_hidden_generator(shims: Mapping[str, Any]) -> None:
    """Let the hidden instance of module random, which some libraries hand out, answer as the module's functions do."""
    vars(random._inst).update({name: shims[name] for name in _PRIMITIVES if name in shims})


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    stream = "the agent's stream"

    def row(target: str, closed: str, answer: Callable[..., Any], source: str = "entropy") -> Row:
        return Row(target, closed, delegate(answer, RUNS, asked_world), source)

    yield Row("random:random", stream, _make_random, "entropy")
    for name in hidden_generator_names():
        if name != "random":
            yield row(f"random:{name}", stream, _method_of_stream(name))
    yield Row("random:Random.seed", "without a seed: seeded from the agent's stream", _make_seed, "entropy")
    yield row("os:urandom", stream, _random_bytes)
    yield row("os:getrandom", stream, _random_bytes)
    yield row("ssl:RAND_bytes", stream, _random_bytes)
    yield row("uuid:uuid1", "the agent's wall clock and stream", _uuid1)
    yield row("uuid:getnode", stream, _getnode)
    yield Row("tempfile:_RandomNameSequence.rng", stream, _make_rng, "entropy")
    yield row("tempfile:_get_default_tempdir", "found without drawing from the stream", _temporary_directory)
    yield row("os:getpid", f"{PROCESS_ID}, and other numbers for hosts", _getpid, "identity")
    yield row("os:getppid", "always 1", _getppid, "identity")
    for name in ("cpu_count", "process_cpu_count"):
        yield row(
            f"os:{name}",
            f"always {_PROCESSORS}: executors ask how many threads to have",
            _processors,
            "identity",
        )
    yield row("socket:if_nameindex", "the loopback interface, and one more", _interfaces, "identity")
    yield row("os:uname", f"the node name is {HOST_NAME!r}, or the host's", _uname, "identity")
    yield row("socket:gethostname", f"{HOST_NAME!r}, and its name for a host", _hostname, "identity")
    yield row("platform:node", f"{HOST_NAME!r}, and its name for a host", _hostname, "identity")


def _method_of_stream(name: str) -> Callable[..., Any]:
    def answer(world: SimulatedWorld, _original: Any, /, *args: Any, **options: Any) -> Any:
        return getattr(world.entropy(), name)(*args, **options)

    return answer


def _make_random(original: Callable[[], float]) -> Callable[..., float]:
    """The most called of them, made lean."""
    runs, ask = RUNS, asked_world

    def shim(_home: Home, /) -> float:
        world = ask() if runs else None
        return original() if world is None else world.entropy().random()

    return shim


def _make_seed(original: Callable[..., None]) -> Callable[..., None]:
    runs, ask = RUNS, asked_world

    def seed(self: Random, a: Any = None, version: int = 2) -> None:
        if a is None and runs:
            world = ask()
            if world is not None:
                a = world.entropy().getrandbits(_SEED_BITS)
        original(self, a, version)

    return seed


def _random_bytes(world: SimulatedWorld, original: Any, size: int, /, *flags: Any) -> bytes:
    # A wrong size is refused by the original, in its own words.
    return world.entropy().randbytes(size) if isinstance(size, int) and size >= 0 else original(size, *flags)


def _temporary_directory(world: SimulatedWorld, original: Any, /) -> Any:
    # It is looked for once in a process, by writing files with random names: later runs do not look, and do not draw.
    stream = world.entropy()
    state = stream.getstate()
    try:
        return original()
    finally:
        stream.setstate(state)


def _make_rng(original: property) -> Any:
    runs, ask, real = RUNS, asked_world, original.fget

    def rng(self: object) -> Random:
        world = ask() if runs else None
        generator: Random = real(self) if world is None else world.entropy()  # type: ignore[misc]
        return generator

    return property(rng)


# -- identity ----------------------------------------------------------------------------------------------------------


def process_id() -> int:
    """Return the number of the process whose code runs: each life of a host has its own."""
    life = present_life()
    return (
        PROCESS_ID
        if life is None or not life.node.is_host
        else PROCESS_ID + life.node.index * 1_000 + life.node.lives
    )


def _getpid(_world: SimulatedWorld, _original: Any, /) -> int:
    return process_id()


def _getppid(_world: SimulatedWorld, _original: Any, /) -> int:
    return 1


def _processors(_world: SimulatedWorld, _original: Any, /) -> int:
    return _PROCESSORS


def _interfaces(_world: SimulatedWorld, _original: Any, /) -> list[tuple[int, str]]:
    return [(1, "lo"), (2, "eth0")]


def _hostname(_world: SimulatedWorld, _original: Any, /) -> str:
    life = present_life()
    return HOST_NAME if life is None or not life.node.is_host else life.node.name


def _uname(_world: SimulatedWorld, original: Any, /) -> Any:
    real = original()
    return type(real)((real[0], _hostname(_world, original), *real[2:]))


def _getnode(world: SimulatedWorld, _original: Any, /) -> int:
    # Kept on the stream: one node for each agent of each world, as for hosts.
    state = vars(world.entropy())
    if "_uuid_node" not in state:
        state["_uuid_node"] = world.entropy().getrandbits(_NODE_BITS) | _MULTICAST
    node: int = state["_uuid_node"]
    return node


def _uuid1(
    world: SimulatedWorld, original: Any, /, node: int | None = None, clock_seq: int | None = None
) -> uuid.UUID:
    state = vars(world.entropy())
    # Two of one agent always differ.
    timestamp = max(world.poll_clock() // 100 + _UUID_EPOCH_100NS, state.get("_uuid_timestamp", 0) + 1)
    state["_uuid_timestamp"] = timestamp
    sequence = world.entropy().getrandbits(14) if clock_seq is None else clock_seq
    return uuid.UUID(
        fields=(
            timestamp & 0xFFFFFFFF,
            timestamp >> 32 & 0xFFFF,
            timestamp >> 48 & 0x0FFF,
            sequence >> 8 & 0x3F,
            sequence & 0xFF,
            _getnode(world, original) if node is None else node,
        ),
        version=1,
    )
