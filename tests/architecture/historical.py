"""Holds a counterexample to what the documentation shows of it.

``python -m tests.architecture.historical BUG FILE`` looks for the lines that ``docs/explanation/historical-bugs.md`` shows
of a bug in the output of its test, which is in the file. ``nox -s historical`` does that, with the version that has the bug.
"""

import sys
from pathlib import Path

from tests.architecture.markdown import Block, blocks_of
from tests.architecture.source import ROOT

PAGE = ROOT / "docs" / "explanation" / "historical-bugs.md"
BUGS = ROOT / "examples" / "bugs"


def shown() -> dict[str, Block]:
    """Return test -> the block of the page that shows it, with what it prints."""
    return {block.file_name: block for block in blocks_of(PAGE) if block.info == "python fragment"}


def missing(bug: str, output: str) -> list[str]:
    """Return the lines that the page shows of a bug and the output does not have."""
    printed = {line.strip() for line in output.splitlines()}
    lines = [line.strip() for line in shown()[f"test_{bug}"].output.splitlines()]
    return [line for line in lines if line not in printed | {"", "…"}]


def main(bug: str, file: str) -> int:
    """Compare; the number of lines that are not there."""
    lines = missing(bug, Path(file).read_text(encoding="utf-8"))
    sys.stdout.writelines(f"{PAGE.name} shows what is not printed: {line}\n" for line in lines)
    return len(lines)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
