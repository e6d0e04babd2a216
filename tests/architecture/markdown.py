"""Fenced code blocks of Markdown pages, and what each claims about itself.

The info string of a fence says it: ``python`` is run, ``python fails`` is run and must fail, ``python fragment`` is a
piece of something larger and only compiled. A first line ``# test_name.py`` names the file. A ``text`` block after one
that is run shows some of the output. Everything else is text.
"""

import re
from pathlib import Path
from typing import NamedTuple

from tests.architecture.source import ROOT

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        page, line: where its code starts.
        info: its info string.
        text: the code, without the fence's indent.
        output: the ``text`` blocks that follow before any other block.
    """

    page: str
    line: int
    info: str
    text: str
    output: str = ""

    @property
    def place(self) -> str:
        """The page and line, as a test id."""
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str:
        """The file that the block's first line names, without its ending."""
        named = re.match(r"# (test_\w+)\.py\n", self.text)
        return named[1] if named else "test_block"


def pages() -> list[Path]:
    """Return every Markdown page that readers are shown."""
    docs = (page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)
    return sorted([*ROOT.glob("*.md"), *docs, *(ROOT / "examples").rglob("*.md")])


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of one page, in order; ``text`` blocks after code are its output."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    blocks: list[Block] = []
    for match in _FENCE.finditer(text):
        block = _block(name, text, match)
        if block.info == "text" and blocks and blocks[-1].info.startswith("python"):
            blocks[-1] = blocks[-1]._replace(output=blocks[-1].output + block.text)
        else:
            blocks.append(block)
    return blocks


def _block(page: str, text: str, match: re.Match[str]) -> Block:
    indent = match["indent"]
    body = "".join(line.removeprefix(indent) for line in match["body"].splitlines(keepends=True))
    return Block(page, text.count("\n", 0, match.start("body")) + 1, match["info"].strip(), body)


def python_blocks() -> list[Block]:
    """Return the Python blocks of all pages."""
    return [block for page in pages() for block in blocks_of(page) if block.info.split()[:1] == ["python"]]
