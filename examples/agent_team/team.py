"""A team of three: planner, coder and reviewer. What a language model would answer is scripted here; nothing else is.

Whoever leads sees to it that every step is done, by whoever can do it, and keeps what is done in the shared state, so that
a successor knows where to go on.
"""

from pytest_convergence import SimulatedAgent

TEAM = ["planner", "coder", "reviewer"]

OPINIONS = {"planner": "rewrite the parser", "coder": "rewrite the parser", "reviewer": "add a cache"}
"""What each would do about the slow start-up, if it were alone."""

STEPS = {"design": "planner", "code": "coder", "tests": "coder", "review": "reviewer"}
"""Step -> who can do it."""

SCRIPT = {
    "design": "one pass, no backtracking",
    "code": "parser.py, 212 lines",
    "tests": "31 passed",
    "review": "approved",
}
"""Step -> what the model answers."""


async def member(agent: SimulatedAgent) -> None:
    """Do what one is asked to do."""
    async for message in agent.inbox:
        await agent.reply(message, SCRIPT[message.payload])


def open_steps(leader: SimulatedAgent) -> list[str]:
    """What is left to do, as far as this agent knows."""
    return [step for step in STEPS if leader.state.get(f"done.{step}") is None]


async def see_to(leader: SimulatedAgent, step: str) -> None:
    """Have a step done. Question and answer may get lost, and the one who is asked may be down: ask again."""
    while leader.state.get(f"done.{step}") is None:
        try:
            answer = await leader.request(STEPS[step], step, timeout=2)
        except TimeoutError:
            continue
        leader.state.set(f"done.{step}", answer)
