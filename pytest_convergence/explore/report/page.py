"""One page that shows a report: style, script and data inside, nothing from anywhere else.

The data is written so that nothing in it can end its element or begin another (no ``<``, no ``>``, no ``&``); the script
only ever puts it into the page as text. A content security policy allows this very style and this very script, by digest,
and no request to anybody.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from pytest_convergence.explore.report.document import as_json

__all__ = ["index_page", "report_page"]

_SCRIPTS: Final = ("model.js", "timeline.js", "panels.js", "report.js")
_ESCAPES: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _data(value: Any) -> str:
    return as_json(value).translate(_ESCAPES)


def _policy(style: str, script: str) -> str:
    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}"


def _page(template: str, style: str, script: str, data: Any) -> str:
    parts: Mapping[str, str] = {
        "policy": _policy(style, script),
        "style": style,
        "data": _data(data),
        "script": script,
    }
    # One pass: what is put in is not searched for further places.
    head, *rest = _asset(template).split("{{")
    text = [head]
    for piece in rest:
        name, _, after = piece.partition("}}")
        text += [parts[name], after]
    return "".join(text)


def report_page(document: Mapping[str, Any]) -> str:
    """Return the page of one report."""
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    return _page("report.html", _asset("report.css"), script, document)


def index_page(index: Mapping[str, Any]) -> str:
    """Return the page that lists the reports of a test run."""
    return _page("index.html", _asset("index.css"), _asset("index.js"), index)
