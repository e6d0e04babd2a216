"""Inside a run entropy and identity come from the agent's stream; the process's own generators are left alone."""

# ruff: noqa: PLW0108 - a lambda looks the function up when it is called, as programs do

import os
import platform
import random
import secrets
import socket
import ssl
import sys
import tempfile
import uuid
from collections.abc import Callable
from random import SystemRandom, choice
from typing import Any

import pytest

from pytest_convergence._engine.sim.shims import install
from pytest_convergence._engine.sim.shims.entropy import HOST_NAME, PROCESS_ID
from tests.determinism.shim_harness import SmallWorld, run

made_before = SystemRandom()


def seeded_again() -> float:
    generator = random.Random(7)
    generator.seed()
    return generator.random()


def drawn_after_seed() -> float:
    random.seed()
    return random.random()


SOURCES: dict[str, Callable[[], Any]] = {
    "random.random": lambda: random.random(),
    "random.randint": lambda: random.randint(0, 10**12),
    "random.randbytes": lambda: random.randbytes(16),
    "random.shuffle": lambda: random.sample(range(1000), 1000),
    "random.gauss": lambda: [random.gauss() for _ in range(3)],
    "random.choice by name": lambda: [choice("abcdefgh") for _ in range(20)],
    "random.getstate": lambda: random.getstate(),
    "random.seed()": drawn_after_seed,
    "random.Random()": lambda: random.Random().random(),
    "Random().seed()": seeded_again,
    "SystemRandom": lambda: SystemRandom().random(),
    "SystemRandom made before": lambda: made_before.getrandbits(64),
    "secrets.token_hex": lambda: secrets.token_hex(),
    "secrets.randbelow": lambda: secrets.randbelow(10**12),
    "secrets.choice": lambda: [secrets.choice("abcdefgh") for _ in range(20)],
    "os.urandom": lambda: os.urandom(16),
    "os.getrandom": lambda: os.getrandom(16),
    "ssl.RAND_bytes": lambda: ssl.RAND_bytes(16),
    "uuid1": lambda: [uuid.uuid1(), uuid.uuid1()],
    "uuid4": lambda: uuid.uuid4(),
    "uuid.getnode": lambda: uuid.getnode(),
    "tempfile": lambda: next(tempfile._get_candidate_names()),  # type: ignore[attr-defined]
    "os.getpid": lambda: os.getpid(),
    "os.getppid": lambda: os.getppid(),
    "os.uname": lambda: os.uname(),
    "socket.gethostname": lambda: socket.gethostname(),
    "platform.node": lambda: platform.node(),
}


@pytest.mark.parametrize("draw", SOURCES.values(), ids=SOURCES.keys())
def test_a_source_gives_the_same_in_two_runs(draw: Callable[[], Any]) -> None:
    assert run(lambda: [draw(), draw()]) == run(lambda: [draw(), draw()])


def test_the_first_temporary_file_of_a_process_has_the_name_that_it_has_in_later_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw() -> str:
        with tempfile.TemporaryDirectory() as directory:
            return directory

    warm = run(draw)
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert run(draw) == warm


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if not name.startswith(("os.getp", "os.un", "soc", "pl"))]
)
def test_another_seed_gives_other_values(name: str) -> None:
    draw = SOURCES[name]
    assert run(draw, SmallWorld(seed=1)) != run(draw, SmallWorld(seed=2))


def test_agents_have_streams_of_their_own() -> None:
    world = SmallWorld()

    def program() -> tuple[float, float]:
        world.agent = "a"
        first = random.random()
        world.agent = "b"
        random.random()
        world.agent = "a"
        return first, random.random()

    def alone() -> tuple[float, float]:
        return random.random(), random.random()

    only_a = SmallWorld()
    only_a.agent = "a"
    assert run(program, world) == run(alone, only_a)


def test_the_global_generator_stands_after_a_run_where_it_stood_before() -> None:
    random.seed(42)
    before = random.getstate()

    def program() -> None:
        random.random()
        random.seed(5)
        random.gauss()
        random.setstate(random.Random(1).getstate())

    run(program)
    assert random.getstate() == before
    assert random.random() == random.Random(42).random()


def test_seeding_inside_a_run_seeds_the_stream_of_the_agent() -> None:
    def program() -> float:
        random.seed(5)
        return random.random()

    assert run(program, SmallWorld(1)) == run(program, SmallWorld(2)) == random.Random(5).random()


def test_a_seeded_generator_is_its_own_inside_a_run() -> None:
    assert run(lambda: random.Random(5).random()) == random.Random(5).random()
    assert run(lambda: random.Random("text").random()) == random.Random("text").random()


def test_outside_a_run_entropy_is_real() -> None:
    install()
    assert len({random.Random().random() for _ in range(3)}) == 3
    assert len({uuid.uuid4() for _ in range(3)} | {uuid.uuid1() for _ in range(3)}) == 6
    assert len({os.urandom(8), os.urandom(8), secrets.token_bytes(8)}) == 3
    assert os.getpid() != PROCESS_ID
    assert socket.gethostname() != HOST_NAME or platform.node() != HOST_NAME


def test_identity_inside_a_run_is_that_of_no_real_process_or_host() -> None:
    assert run(os.getpid) == PROCESS_ID
    assert run(socket.gethostname) == run(platform.node) == run(os.uname).nodename == HOST_NAME


def test_uuids_of_one_agent_differ_even_at_one_instant() -> None:
    world = SmallWorld()
    world.poll_clock = lambda: 0  # type: ignore[method-assign]
    made = run(lambda: [uuid.uuid1(clock_seq=7) for _ in range(100)], world)
    assert len(set(made)) == 100
    assert {(each.version, each.variant) for each in made} == {(1, uuid.RFC_4122)}
    assert {each.clock_seq for each in made} == {7}


def test_a_uuid_of_a_named_node_is_of_that_node() -> None:
    assert run(lambda: uuid.uuid1(node=5)).node == 5


def test_a_uuid_holds_the_virtual_time() -> None:
    made = run(uuid.uuid1)
    assert (made.time - 0x01B21DD213814000) // 10**7 == 946_684_800


def test_bad_sizes_are_refused_as_ever() -> None:
    with pytest.raises(ValueError, match="negative"):
        run(lambda: os.urandom(-1))
    with pytest.raises(TypeError):
        run(lambda: os.urandom("many"))  # type: ignore[arg-type]


def test_the_hidden_generator_itself_draws_from_the_stream() -> None:
    def program() -> tuple[float, int]:
        hidden = random._inst
        return hidden.random(), hidden.randint(0, 10**9)

    state = random.getstate()
    assert run(program) == run(program)
    assert random.getstate() == state


def test_real_temporary_names_stay_random_after_a_run() -> None:
    virtual = run(SOURCES["tempfile"])
    assert next(tempfile._get_candidate_names()) != virtual  # type: ignore[attr-defined]


def test_every_function_of_module_random_is_covered() -> None:
    install()
    uncovered = [
        name
        for name in random.__all__
        if callable(getattr(random, name))
        and not isinstance(getattr(random, name), type)
        and "simulated" not in repr(getattr(random, name))
    ]
    assert not uncovered, f"on {sys.version}"
