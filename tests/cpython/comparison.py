"""Runs modules of CPython's tests on both loops, and compares what became of each test."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.cpython.reasons import reason_for
from tests.cpython.worker import Verdict

__all__ = ["MODULES", "Compared", "Ran", "compare", "is_available", "page", "run", "summary", "table"]

MODULES = (
    "test_tasks", "test_futures", "test_futures2", "test_locks", "test_queues", "test_timeouts", "test_taskgroups",
    "test_streams", "test_waitfor", "test_staggered", "test_eager_task_factory", "test_runners", "test_protocols",
    "test_transports", "test_context", "test_pep492", "test_threads", "test_base_events", "test_selector_events",
    "test_buffered_proto", "test_sslproto", "test_ssl", "test_server", "test_sock_lowlevel", "test_sendfile",
    "test_events", "test_unix_events",
)  # fmt: skip
PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "asyncio-suite.md"
SECONDS_A_MODULE = 1_200
_GENERATED = "<!-- generated -->"


@dataclass(frozen=True)
class Compared:
    """What became of a module's tests on each loop.

    Attributes:
        module: its name.
        stock, world, process: test -> verdict, on the stock loop, on the loop of a world, and as the program of a host
            that is a process.
        explained: test -> why it fails on both of ours, and not on the stock loop.
        unexplained: those that fail on any of ours for a reason that is not known.
        as_process: test -> why it fails as a process, though it passes on the loop of a world.
        in_world: test -> why it fails on the loop of a world, though it passes as a process.
    """

    module: str
    stock: dict[str, Verdict]
    world: dict[str, Verdict]
    process: dict[str, Verdict]
    explained: dict[str, str]
    unexplained: dict[str, str]
    as_process: dict[str, str] = field(default_factory=dict)
    in_world: dict[str, str] = field(default_factory=dict)


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


Ran = list[dict[str, Verdict]]
"""What became of each test of a module: on the stock loop, on the loop of a world, as the program of a host."""


def run(module: str) -> Ran:
    """Run a module on the stock loop and on both of ours."""
    if not is_available(module):
        return [{}, {}, {}]
    return [_verdicts(module, kind) for kind in ("stock", "world", "process")]


def compare(module: str, ran: Ran | None = None) -> Compared:
    """Compare what became of a module's tests, if it has been run; else run it."""
    stock, world, process = run(module) if ran is None else ran
    found = Compared(module, stock, world, process, {}, {})
    crashed = [test for ours in (world, process) for test in ours if test not in stock]  # "all of it"
    for test in [*crashed, *(test for test, (verdict, _) in stock.items() if verdict == "pass")]:
        _explain(found, test)
    return found


def _explain(found: Compared, test: str) -> None:
    """Say why a test that passes on the stock loop fails on any of ours."""
    short = test.removeprefix("test.test_asyncio.")
    (verdict, why), (other, other_why) = (
        ours.get(test, ("pass", "")) for ours in (found.process, found.world)
    )
    if "fail" not in {verdict, other}:
        return
    reasons = found.explained
    if verdict != other:
        reasons = found.as_process if verdict == "fail" else found.in_world
    # What fails as a process has to have a reason there: the other loop may have failed before it came so far.
    reason = reason_for(short, why if verdict == "fail" else other_why)
    if reason:
        reasons[short] = reason
    else:
        found.unexplained[short] = "; ".join(
            filter(None, (why and f"as a process {why}", other_why and f"in a world {other_why}"))
        )


def _counts(verdicts: dict[str, Verdict]) -> list[int]:
    return [sum(verdict == kind for verdict, _ in verdicts.values()) for kind in ("pass", "fail", "skip")]


def _numbers(found: Compared) -> list[int]:
    """Pass, fail and skip on the stock loop; pass and fail on each of ours; what fails on both, and not on the stock one."""
    ours = [*_counts(found.world)[:2], *_counts(found.process)[:2]]
    return [*_counts(found.stock), *ours, len(found.explained)]


def summary(found: Compared) -> str:
    """Say in one line how a module did, and list what has no reason."""
    if not found.stock:
        return f"{found.module}: not in this Python's library"
    ours = f"world {_counts(found.world)}, process {_counts(found.process)} (pass, fail, skip)"
    lines = [f"{found.module}: stock {_counts(found.stock)}, {ours}; in neither {len(found.explained)}"]
    return "\n".join([*lines, *(f"    {test}: {why}" for test, why in found.unexplained.items())])


def table(compared: list[Compared]) -> str:
    """Draw the table, in Markdown."""
    rows = [
        "| module | stock: pass | fail | skip | loop of a world: pass | fail | process: pass | fail | in neither |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    here = [found for found in compared if found.stock]
    for found in here:
        rows.append(f"| `{found.module}` | " + " | ".join(f"{number:,}" for number in _numbers(found)) + " |")
    sums = [sum(column) for column in zip(*map(_numbers, here), strict=True)]
    rows.append("| all | " + " | ".join(f"{number:,}" for number in sums) + " |")
    return "\n".join(rows)


def page(compared: list[Compared]) -> None:
    """Write the table and the reasons into the page of the documentation, in place of those of this version of Python."""
    head, _, generated = PAGE.read_text(encoding="utf-8").partition(_GENERATED)
    sections = dict(re.findall(r"^## Python (3\.\d+)\n(.*?)(?=^## |\Z)", generated, re.MULTILINE | re.DOTALL))
    parts = [f"Version {sys.version.split()[0]}.", table(compared)]
    parts += _listed("What passes on the stock loop and on neither of ours:", compared, "explained")
    parts += _listed("What passes on the loop of a world, and not as a process:", compared, "as_process")
    parts += _counted("What passes as a process, and not on the loop of a world:", compared)
    unknown = [f"- `{test}`" for found in compared for test in found.unexplained]
    if unknown:
        parts += [f"**No reason is known yet** ({len(unknown)})", "\n".join(unknown)]
    sections[f"{sys.version_info.major}.{sys.version_info.minor}"] = "\n" + "\n\n".join(parts) + "\n\n"
    text = "".join(f"## Python {version}\n{sections[version]}" for version in sorted(sections, key=_order))
    PAGE.write_text(f"{head}{_GENERATED}\n\n{text.rstrip()}\n", encoding="utf-8")


def _order(version: str) -> int:
    return int(version.partition(".")[2])


def _folded(tests: list[str]) -> list[str]:
    """Tests in a line for each name; many classes run the same tests once for each selector."""
    classes: dict[tuple[str, str], list[str]] = {}
    for test in sorted(tests):
        module, kind, name = (*test.split("."), "", "")[:3]
        classes.setdefault((module, name), []).append(kind)
    return [
        f"`{module}`: `{name}`" + (f" ({len(kinds)} classes)" if len(kinds) > 1 else "")
        for (module, name), kinds in classes.items()
    ]


def _by_reason(compared: list[Compared], which: str) -> list[tuple[str, list[str]]]:
    """Reasons and their tests, the most frequent first."""
    found: dict[str, list[str]] = {}
    for each in compared:
        for test, reason in getattr(each, which).items():
            found.setdefault(reason, []).append(test)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _listed(head: str, compared: list[Compared], which: str) -> list[str]:
    """Every test by name, below its reason."""
    parts = []
    for reason, tests in _by_reason(compared, which):
        parts += [f"**{reason}** ({len(tests)})", "\n".join(f"- {line}" for line in _folded(tests))]
    return [head, *parts] if parts else []


def _counted(head: str, compared: list[Compared]) -> list[str]:
    """How many tests of each module, for each reason."""
    lines = []
    for reason, tests in _by_reason(compared, "in_world"):
        modules = [test.partition(".")[0] for test in tests]
        counts = ", ".join(f"`{module}` {modules.count(module)}" for module in dict.fromkeys(modules))
        lines.append(f"- {reason} ({len(tests)}: {counts})")
    return [head, "\n".join(lines)] if lines else []
