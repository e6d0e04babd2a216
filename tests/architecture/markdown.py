"""Fenced code blocks of Markdown pages, and what each claims about itself.

The info string of a fence says it: ``python`` is run, ``python fails`` is run and must fail, ``python fragment`` is a
piece of something larger and only compiled. Everything else is text.
"""

import re
from pathlib import Path
from typing import NamedTuple

from tests.architecture.source import ROOT

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """One fenced block: where it starts (line of the code), its info string, its text without the fence's indent."""

    page: str
    line: int
    info: str
    text: str

    @property
    def place(self) -> str:
        """The page and line, as a test id."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every Markdown page that readers are shown."""
    docs = (page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)
    return sorted([*ROOT.glob("*.md"), *docs])


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of one page, in order."""
    text = page.read_text(encoding="utf-8")
    return [_block(page.relative_to(ROOT).as_posix(), text, match) for match in _FENCE.finditer(text)]


def _block(page: str, text: str, match: re.Match[str]) -> Block:
    indent = match["indent"]
    body = "".join(line.removeprefix(indent) for line in match["body"].splitlines(keepends=True))
    return Block(page, text.count("\n", 0, match.start("body")) + 1, match["info"].strip(), body)


def python_blocks() -> list[Block]:
    """Return the Python blocks of all pages."""
    return [block for page in pages() for block in blocks_of(page) if block.info.split()[:1] == ["python"]]
