"""Holds the simulated loop to CPython's own tests of asyncio, and prints a table beside the stock loop.

    python -m tests.cpython [--write] [--keep=FILE | --from=FILE] [MODULE …]

Each module runs in two processes, one on each loop. Every test that passes on the stock loop and not on ours is listed
with the reason, from ``reasons.py``; one without a reason fails the command. ``--write`` writes the page
``docs/explanation/asyncio-suite.md``. ``--keep`` keeps what became of each test in a file, and ``--from`` makes the tables
from such a file, of the same version of Python: to explain anew what was run once.
"""

import json
import sys
from pathlib import Path

from tests.cpython.comparison import MODULES, Ran, compare, page, run, summary, table


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    modules = [each for each in arguments if not each.startswith("-")] or list(MODULES)
    options = dict(each.partition("=")[::2] for each in arguments if each.startswith("--"))
    kept: dict[str, Ran] = {}
    if "--from" in options:
        kept = json.loads(Path(options["--from"]).read_text(encoding="utf-8"))
        modules = [module for module in modules if module in kept]
    compared = []
    for module in modules:
        kept[module] = kept.get(module) or run(module)
        found = compare(module, kept[module])
        compared.append(found)
        if "--keep" in options:
            Path(options["--keep"]).write_text(json.dumps(kept), encoding="utf-8")
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
