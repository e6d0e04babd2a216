"""Holds the simulated loop to CPython's own tests of asyncio, and prints a table beside the stock loop.

    python -m tests.cpython [--write] [MODULE …]

Each module runs in two processes, one on each loop. Every test that passes on the stock loop and not on ours is listed
with the reason, from ``reasons.py``; one without a reason fails the command. ``--write`` writes the page
``docs/explanation/asyncio-suite.md``.
"""

import sys

from tests.cpython.comparison import MODULES, compare, page, summary, table


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    modules = [each for each in arguments if not each.startswith("-")] or list(MODULES)
    compared = []
    for module in modules:
        found = compare(module)
        compared.append(found)
        _say(summary(found))
    _say("\n" + table(compared))
    if "--write" in arguments:
        page(compared)
    unexplained = [test for found in compared for test in found.unexplained]
    for test in unexplained:
        _say(f"no reason is known for {test}")
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
