"""Golden files: what a failure's section says, to the letter, and its Mermaid diagram.

The schedules are pinned, so that how a failure is found may change without a change here.
"""

import re
from pathlib import Path

import pytest

from pytest_convergence import Schedule
from tests.conftest import Golden
from tests.plugin.conftest import RunSuite
from tests.plugin.test_counterexample import RACE

_FILES = Path(__file__).parent / "golden"

_RACE = (
    RACE
    + """
@pytest.mark.convergence(agents=BANK, network=Network(latency=(0.001, 2.0)), schedule="{token}")
def test_no_money_is_lost(convergence_session):
    convergence_session.run()
"""
)

_FAULTS = """
@pytest.mark.convergence(agents=["a", "b", "c"], network="lossy", schedule="{token}")
def test_c_keeps_its_title(convergence_session):
    convergence_session.always(
        "c is not told by b", lambda session: session.agents["c"].state.get("plan.title") != "from b"
    )

    async def scenario(session):
        a, b, c = session.agents.values()
        with session.network.partition([a], [b, c]):
            a.state.set("plan.title", "from a")
            await session.sleep(2)
        a.crash()
        await session.sleep(1)
        a.restart()
        c.pause()
        b.state.set("plan.title", "from b")
        await session.sleep(3)
        c.resume()
        await session.sleep(1)

    convergence_session.run(scenario)
"""

_HANDOFF = """
async def giver(agent):
    await agent.hand_off({{"job": 1}}, to="b")

@pytest.mark.convergence(agents={{"a": giver, "b": None}}, network="lossy", schedule="{token}")
def test_it_takes_no_time(convergence_session):
    assert convergence_session.run().duration < 0.1
"""

_CASES = {
    "race": (_RACE, {"deliver bank→teller-1 #1": 560000000, "deliver teller-1→bank #2": 3560000000}),
    "faults": (_FAULTS, {"deliver b→c #1": 1}),
    "handoff": (_HANDOFF, {"deliver b→a #1": 1}),
}


def _section(lines: list[str]) -> str:
    """The section of the failure, without what differs from run to run or from token to token."""
    start = next(place for place, line in enumerate(lines) if "- convergence counterexample -" in line)
    end = next(place for place, line in enumerate(lines[start:], start) if "= convergence =" in line)
    text = "\n".join(line.rstrip() for line in lines[start + 1 : end]) + "\n"
    text = re.sub(r"c1-[\w-]+", "TOKEN", text)
    text = re.sub(r"(?m)^(convergence: .*|report: .*)\n", "", text)
    return re.sub(r"[\d.e-]+ s\.$", "N s.", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", list(_CASES))
def test_the_section_and_the_diagram_are_as_they_were_read(
    run_suite: RunSuite, pytester: pytest.Pytester, golden: Golden, name: str
) -> None:
    source, deviations = _CASES[name]
    token = Schedule.of(deviations).token
    result = run_suite(
        source.replace("{token}", token).replace("{{", "{").replace("}}", "}"), "--convergence-report=out"
    )
    result.assert_outcomes(failed=1)
    golden(_FILES / f"{name}.txt", _section(result.outlines))
    (diagram,) = (pytester.path / "out").glob("*.mmd")
    golden(_FILES / f"{name}.mmd", diagram.read_text(encoding="utf-8"))
