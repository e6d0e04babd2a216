"""The page about bugs that were shows each of the examples as it is; ``nox -s historical`` checks what they print."""

from pathlib import Path

import pytest

from tests.architecture.historical import BUGS, main, missing, shown

_TESTS = sorted(path.stem for path in BUGS.glob("test_*.py"))


def test_the_page_shows_every_example() -> None:
    assert sorted(shown()) == _TESTS


@pytest.mark.parametrize("test", _TESTS)
def test_the_code_that_it_shows_is_that_of_the_example(test: str) -> None:
    source = (BUGS / f"{test}.py").read_text(encoding="utf-8")
    pieces = shown()[test].text.partition("\n")[2].strip().split("\n\n\n")
    assert [piece for piece in pieces if piece not in source] == []


@pytest.mark.parametrize("test", _TESTS)
def test_what_is_not_printed_is_told(test: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = shown()[test].output
    assert len(output.splitlines()) > 10
    assert missing(test.removeprefix("test_"), output) == []
    printed = tmp_path / "printed.txt"
    printed.write_text(output.replace("deviation", "departure"), encoding="utf-8")
    assert main(test.removeprefix("test_"), str(printed)) == 1
    assert "historical-bugs.md shows what is not printed: It takes" in capsys.readouterr().out
