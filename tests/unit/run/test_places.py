"""A place in code is told by the user's own line and by what that has called of a library."""

import sys
import textwrap
from pathlib import Path
from types import FrameType, ModuleType

import pytest

from pytest_convergence._engine.run.places import called_from, place_of

Frames = list[tuple[FrameType, int]]


def _module(name: str, path: Path, code: str) -> ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    module = ModuleType(name)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    return module


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frames:
    """Those of a program that calls a library, which stands on another one."""
    monkeypatch.chdir(tmp_path)
    found: Frames = []

    def look() -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(str(tmp_path)):
            found.insert(0, (frame, frame.f_lineno))
            frame = frame.f_back

    installed = tmp_path / "lib" / "site-packages"
    base = _module("base", installed / "base" / "core.py", "def stand(look):\n    look()\n")
    code = "def reads(look):\n    waits(look)\ndef waits(look):\n    stand(look)\n"
    client = _module("client", installed / "client" / "inner" / "deep" / "wire.py", code)
    vars(client)["stand"] = base.stand
    program = _module("program", tmp_path / "src" / "program.py", "def main(look):\n    reads(look)  # now\n")
    vars(program)["reads"] = client.reads
    program.main(look)
    return found


def test_the_users_line_comes_first_and_then_what_it_has_called(frames: Frames) -> None:
    assert place_of(frames) == "src/program.py:2 in main: reads(look)  # now → waits (inner/deep/wire.py:4)"
    assert place_of(frames, briefly=True) == "program.py:2: reads(look)  # now → waits (inner/deep/wire.py:4)"
    assert place_of(frames[:1]) == "src/program.py:2 in main: reads(look)  # now"


def test_a_library_alone_is_told_by_its_own_lines_and_briefly_not_at_all(frames: Frames) -> None:
    assert place_of(frames[-1:]) == "base/core.py:2 in stand: look()"
    assert place_of(frames[-1:], briefly=True) == ""
    assert place_of([]) == ""


def test_a_function_is_named_with_its_file(
    frames: Frames, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert called_from(*frames[0]) == "main (src/program.py:2)"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert called_from(*frames[0]) == "main (program.py:2)"


def test_the_standard_library_is_a_library() -> None:
    import json.decoder

    frames: Frames = []

    def hook(_: object) -> object:
        frames.append((sys._getframe(0), sys._getframe(0).f_lineno))
        frame = sys._getframe(1)
        frames.insert(0, (frame, frame.f_lineno))
        return None

    json.loads("{}", object_hook=hook)
    assert place_of(frames[:1]).startswith("json/decoder.py:")
