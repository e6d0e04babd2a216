"""The pytest plugin: wiring only.

Loaded at the start of every pytest run, so it imports no engine: what runs tests is imported when a test that needs it has
been collected.
"""

from __future__ import annotations

import pytest

from pytest_convergence import hookspecs
from pytest_convergence._pytest import options
from pytest_convergence._pytest.reporting import Summary, header, is_controller
from pytest_convergence.fixtures import (
    convergence_engine,
    convergence_session,
    convergence_session_factory,
    simulated_agents,
)

__all__ = ["convergence_engine", "convergence_session", "convergence_session_factory", "simulated_agents"]

_FIXTURES = frozenset(__all__)
_ASYNC_PLUGINS = ("asyncio", "pytest_asyncio.plugin", "anyio", "anyio.pytest_plugin")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register options and ini keys."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks of hookspecs.py."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and read the options."""
    config.addinivalue_line(
        "markers",
        "convergence(*, pattern, agents, network, faults, schedules, search_seconds, explore, noise, sync, resolve, "
        "seed, timeout, trace, max_events, real_timeout, properties, may_try): run the test in a simulated world with "
        "these agents and this network.",
    )
    settings = config.stash[options.SETTINGS] = options.read_settings(config)
    if is_controller(config):
        config.pluginmanager.register(Summary(config), "convergence-summary")
        if settings.report is not None and not (
            config.getoption("help", False) or config.getoption("version", 0)
        ):
            from pytest_convergence._pytest.report_files import begin_reports

            begin_reports(config, settings.report)
        if config.getoption("convergence_spread"):
            from pytest_convergence._pytest import spreading

            spreading.begin(config)
        if settings.check_determinism:
            from pytest_convergence._pytest import hash_seeds

            if hash_seeds.is_wanted():
                hash_seeds.begin(config)
    if any(map(config.pluginmanager.has_plugin, _ASYNC_PLUGINS)):
        from pytest_convergence._pytest.collecting import AsyncCollection

        config.pluginmanager.register(AsyncCollection(), "convergence-collection")
    if options.formats_name_run_context(config):
        from pytest_convergence._pytest import logs

        logs.install(config)


def pytest_report_header(config: pytest.Config) -> str:
    """Say the version, and what was set."""
    return header(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check markers, and get ready for the tests that need it."""
    if config.getoption("convergence_spread"):
        from pytest_convergence._pytest import spreading

        spreading.keep_own(config, items)
    if config.stash[options.SETTINGS].check_determinism:
        from pytest_convergence._pytest import hash_seeds

        hash_seeds.keep_checked(config, items)
    concerned = [
        item
        for item in items
        if "convergence" in item.keywords
        or not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        or hasattr(getattr(item, "cls", None), "convergence_machine")  # asks for no fixture
    ]
    if concerned:
        from pytest_convergence._pytest import preimporting, runtime

        preimporting.import_first(config.stash[options.SETTINGS].preimport)
        runtime.collected(config, concerned, items)
