"""Runs modules of CPython's tests on both loops, and compares what became of each test."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cpython.reasons import reason_for
from tests.cpython.worker import Verdict

__all__ = ["MODULES", "Compared", "compare", "is_available", "page", "summary", "table"]

MODULES = (
    "test_tasks", "test_futures", "test_futures2", "test_locks", "test_queues", "test_timeouts", "test_taskgroups",
    "test_streams", "test_waitfor", "test_staggered", "test_eager_task_factory", "test_runners", "test_protocols",
    "test_transports", "test_context", "test_pep492", "test_threads", "test_base_events", "test_selector_events",
    "test_buffered_proto", "test_sslproto", "test_ssl", "test_server", "test_sock_lowlevel", "test_sendfile",
    "test_events", "test_unix_events",
)  # fmt: skip
PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "asyncio-suite.md"
SECONDS_A_MODULE = 300


@dataclass(frozen=True)
class Compared:
    """What became of a module's tests on each loop.

    Attributes:
        module: its name.
        stock, world: test -> verdict, on the stock loop and on ours.
        explained: test -> why it ends otherwise on ours.
        unexplained: those for which no reason is known.
    """

    module: str
    stock: dict[str, Verdict]
    world: dict[str, Verdict]
    explained: dict[str, str]
    unexplained: dict[str, str]


def is_available(module: str = "test_tasks") -> bool:
    """Whether the running interpreter has come with its tests, and with this module of them."""
    try:
        return importlib.util.find_spec(f"test.test_asyncio.{module}") is not None
    except ImportError:
        return False


def _verdicts(module: str, kind: str) -> dict[str, Verdict]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.cpython.worker", module, kind]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS_A_MODULE
        )
    except subprocess.TimeoutExpired:
        return {f"{module}: all of it": ("fail", f"took more than {SECONDS_A_MODULE} s")}
    if not answer.stdout:
        last = answer.stderr.strip().splitlines()[-1:] or ["crashed"]
        return {f"{module}: all of it": ("fail", last[0])}
    return {test: (verdict, why) for test, (verdict, why) in json.loads(answer.stdout).items()}


def compare(module: str) -> Compared:
    """Run a module on both loops."""
    if not is_available(module):
        return Compared(module, {}, {}, {}, {})
    stock, world = _verdicts(module, "stock"), _verdicts(module, "world")
    explained, unexplained = {}, {}
    for test, (verdict, why) in world.items():
        if verdict == "fail" and stock.get(test, ("pass", ""))[0] == "pass":
            short = test.removeprefix("test.test_asyncio.")
            reason = reason_for(short, why)
            if reason is None:
                unexplained[short] = why
            else:
                explained[short] = reason
    return Compared(module, stock, world, explained, unexplained)


def _counts(verdicts: dict[str, Verdict]) -> list[int]:
    return [sum(verdict == kind for verdict, _ in verdicts.values()) for kind in ("pass", "fail", "skip")]


def summary(found: Compared) -> str:
    """Say in one line how a module did, and list what has no reason."""
    if not found.stock:
        return f"{found.module}: not in this Python's library"
    lines = [
        f"{found.module}: stock {_counts(found.stock)}, simulated {_counts(found.world)} (pass, fail, skip)"
    ]
    return "\n".join([*lines, *(f"    {test}: {why}" for test, why in found.unexplained.items())])


def table(compared: list[Compared]) -> str:
    """Draw the table, in Markdown."""
    rows = [
        "| module | stock: pass | fail | skip | simulated: pass | fail | skip |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    here = [found for found in compared if found.stock]
    for found in here:
        numbers = [*_counts(found.stock), *_counts(found.world)]
        rows.append(f"| `{found.module}` | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    sums = [
        sum(column) for column in zip(*([*_counts(f.stock), *_counts(f.world)] for f in here), strict=True)
    ]
    rows.append("| all | " + " | ".join(f"{number:,}" for number in sums) + " |")
    return "\n".join(rows)


def page(compared: list[Compared]) -> None:
    """Write the table and the reasons into the page of the documentation."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, _ = text.partition("<!-- generated -->")
    by_reason: dict[str, list[str]] = {}
    for found in compared:
        for test, reason in found.explained.items():
            by_reason.setdefault(reason, []).append(test)
    parts = [head + "<!-- generated -->", f"Python {sys.version.split()[0]}:", table(compared)]
    for reason, tests in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        parts.append(f"**{reason}** ({len(tests)})")
        parts.append("\n".join(f"- `{test}`" for test in sorted(tests)))
    unknown = [f"- `{test}`: {why}" for found in compared for test, why in found.unexplained.items()]
    if unknown:
        parts += ["**No reason is known yet**", "\n".join(unknown)]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
