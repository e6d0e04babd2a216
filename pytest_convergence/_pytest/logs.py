"""Log records of a run carry the agent that logged and the virtual time.

``record.agent`` and ``record.virtual_time`` are set by a filter on pytest's own handlers (caplog, the report, the live
log, the log file), so formats may name them: ``log_format = %(virtual_time)9.3f %(agent)-10s %(message)s``. A log-record
factory would reach every handler, but logging forbids ``extra={"agent": …}`` for attributes that a factory has set, and
agents log such things.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, final

import pytest

__all__ = ["RunContext", "install"]

_NOBODY: Final = "-"
_HANDLERS: Final = ("caplog_handler", "report_handler", "log_cli_handler", "log_file_handler")


@final
class RunContext(logging.Filter):
    """Adds ``agent`` and ``virtual_time`` (seconds) to records; ``-`` and 0 outside of runs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if "virtual_time" not in record.__dict__:
            agent, seconds = _present()
            record.__dict__.setdefault("agent", agent)
            record.virtual_time = seconds
        return True


def _present() -> tuple[str, float]:
    """Who runs, and the virtual time in seconds."""
    # Looked up, not imported: a suite that only names us in a log format has not loaded the engine.
    kernel, events = map(sys.modules.get, ("pytest_convergence._engine.sim.world", "asyncio.events"))
    world = getattr(events._get_running_loop(), "world", None) if kernel and events else None
    if kernel is None or world is None:
        return _NOBODY, 0.0
    life: Any = kernel.OWNER.get()
    return _NOBODY if life is None else life.node.name, world.now_ns / 1e9


def install(config: pytest.Config) -> None:
    """Put the filter on pytest's handlers, once."""
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    for name in _HANDLERS:
        handler = getattr(plugin, name, None)
        if handler is not None and not any(isinstance(one, RunContext) for one in handler.filters):
            handler.addFilter(RunContext())
