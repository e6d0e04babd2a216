"""How these tests run a downstream suite: in this process, without plugins that they do not name."""

from typing import Protocol

import pytest

# What every little suite begins with; the agents are as small as agents can be.
AGENTS = """
import asyncio
import pytest

async def server(agent):
    async for message in agent.inbox:
        await agent.reply(message, message.payload.upper())

async def client(agent):
    await asyncio.sleep(30)
    while True:
        try:
            return await agent.request("server", "hello", timeout=5)
        except TimeoutError:
            continue

PAIR = {"server": server, "client": client}
"""


class RunSuite(Protocol):
    """Runs a downstream test file and returns what pytest said."""

    def __call__(self, source: str, *arguments: str) -> pytest.RunResult: ...


@pytest.fixture
def run_suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunSuite:
    """Run ``source`` (after the agents above) as a downstream test file, with this plugin and those that are named."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_suite=AGENTS + source)
        arguments = ("-p", "convergence", "-p", "no:cacheprovider", *arguments)
        # Pytest-asyncio leaves an event loop behind, which would be found in this process.
        if "asyncio" in arguments:
            return pytester.runpytest_subprocess(*arguments)
        return pytester.runpytest_inprocess(*arguments, no_reraise_ctrlc=True)

    return run
