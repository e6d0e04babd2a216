"""The page: one file, nothing from elsewhere, and nothing of the data is code."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

from pytest_convergence.explore.report.document import as_json, document_of
from pytest_convergence.explore.report.page import index_page, report_page
from tests.unit.explore.report.stories import HOSTILE, run_pair, story_of


class Reader(HTMLParser):
    """Collects elements with their attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open = True
            self.inside.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[-1] += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def check(page: str, data: Any) -> None:
    """Hold a page to what is promised: three elements with text, none from elsewhere, data that reads back."""
    reader = read(page)
    style, held, script = reader.inside
    assert json.loads(held) == json.loads(as_json(data))
    assert not set("<>&") & set(held)
    for tag, attributes in reader.elements:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes), "handlers would need a weaker policy"
        assert "style" not in attributes
        assert tag != "link" or attributes["href"] == "data:,"
    policy = next(attributes["content"] for _, attributes in reader.elements if attributes.get("http-equiv"))
    assert policy is not None
    for text in (style, script):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(
        r"https?://|@import|url\(|\bfetch\b|XMLHttpRequest|innerHTML|\beval\b", style + script
    )


def test_a_report_is_one_page_with_everything_in_it() -> None:
    document = document_of(story_of(run_pair()))
    check(report_page(document), document)


def test_hostile_text_stays_text() -> None:
    document = document_of(story_of(run_pair()))
    page = report_page({**document, "explanation": HOSTILE * 3, "agents": [HOSTILE]})
    assert len(read(page).inside) == 3
    assert "alert('x')</script>" not in page


def test_the_index_is_such_a_page_too() -> None:
    index = {"format": "x", "version": 1, "reports": [{"test": HOSTILE, "failure": HOSTILE, "files": {}}]}
    check(index_page(index), index)
