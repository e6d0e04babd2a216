"""The environment of a process is its own: nobody else sees what it sets, nor does the next run."""

import os
import time
from typing import Any

import pytest

from pytest_convergence import Session
from tests.unit.sim.harness import make_session

NAME = "CONVERGENCE_TEST_OF_ENVIRONMENTS"


def take_over(who: str) -> list[Any]:
    """Look, set, look again while others do the same, and take away."""
    seen: list[Any] = [os.environ.get(NAME)]
    os.environ[NAME] = who
    time.sleep(1)
    seen += [os.getenv(NAME), os.environb[NAME.encode()], dict(os.environ)[NAME]]
    del os.environ[NAME]
    time.sleep(1)
    return [*seen, NAME in os.environ, "PATH" in os.environ]


@pytest.mark.parametrize("given", [None, "of the test"])
def test_what_one_process_sets_no_other_one_sees(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    if given is not None:
        monkeypatch.setenv(NAME, given)
    for _ in range(2):
        session = make_session()
        for name in ("one", "other"):
            session.host(name, take_over, name, process=True)
        assert session.run().results == {
            name: [given, name, name.encode(), name, False, True] for name in ("one", "other")
        }
        assert os.environ.get(NAME) == given


def test_a_new_life_begins_with_that_of_the_test_and_code_in_c_sees_no_difference() -> None:
    lives: list[str | None] = []

    def program() -> None:
        lives.append(os.environ.get(NAME))
        os.environ.update({NAME: "set", "TZ": "Asia/Kathmandu"})
        os.putenv(NAME, "put")
        time.tzset()
        time.sleep(10)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["p"].crash()
        session.hosts["p"].restart()
        await session.finished()

    zone = time.tzname
    session = make_session()
    session.host("p", program, process=True)
    session.run(scenario)
    assert lives == [None, None]
    assert time.tzname == zone
    assert NAME not in os.environ


def test_a_program_without_a_process_shares_it_with_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        os.environ[NAME] = "set"

    monkeypatch.delenv(NAME, raising=False)
    session = make_session()
    session.host("p", program)
    session.run()
    assert os.environ.pop(NAME) == "set"
