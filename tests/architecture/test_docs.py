"""What the documentation shows is true: code runs, links lead somewhere, no machine of ours shines through."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.markdown import Block, blocks_of, pages, python_blocks
from tests.architecture.source import ROOT, tracked_files

_INI = """
[pytest]
addopts = --strict-markers
filterwarnings =
    error
    ignore:The configuration option .asyncio_default_fixture_loop_scope:pytest.PytestDeprecationWarning
"""
_KINDS = {"python", "python fails", "python fragment"}
_BLOCKS = python_blocks()
_RUNNING = [block for block in _BLOCKS if block.info == "python"]
_FAILING = [block for block in _BLOCKS if block.info == "python fails"]
_FRAGMENTS = [block for block in _BLOCKS if block.info == "python fragment"]


def _ids(blocks: list[Block]) -> list[str]:
    return [block.place for block in blocks]


def test_every_python_block_says_what_it_is() -> None:
    strange = {block.place: block.info for block in _BLOCKS if block.info not in _KINDS}
    assert not strange, f"a Python block is one of {sorted(_KINDS)}: {strange}"


@pytest.mark.parametrize("block", _RUNNING, ids=_ids(_RUNNING))
def test_a_code_block_runs(block: Block, pytester: pytest.Pytester) -> None:
    tests = len(
        re.findall(r"^(?:    )?(?:async )?def test_|^Test\w+ = \w+\.TestCase$", block.text, re.MULTILINE)
    )
    result = _run(block, pytester)
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed"}, f"{block.place} does not pass:\n{result.stdout}"
    assert outcomes.get("passed", 0) >= tests, (
        f"{block.place}: fewer tests ran than it shows:\n{result.stdout}"
    )
    assert result.ret == (pytest.ExitCode.OK if tests else pytest.ExitCode.NO_TESTS_COLLECTED)


@pytest.mark.parametrize("block", _FAILING, ids=_ids(_FAILING))
def test_a_code_block_that_shows_a_failure_fails(block: Block, pytester: pytest.Pytester) -> None:
    result = _run(block, pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED, f"{block.place} was to fail:\n{result.stdout}"


def _run(block: Block, pytester: pytest.Pytester) -> pytest.RunResult:
    pytester.makeini(_INI)
    pytester.makepyfile(**{block.file_name: block.text})
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    seen = {line.strip() for line in result.stdout.lines}
    missing = [line for line in block.output.splitlines() if line.strip() not in seen | {"", "…"}]
    assert not missing, f"{block.place} does not print {missing}, but:\n{result.stdout}"
    return result


@pytest.mark.parametrize("block", _FRAGMENTS, ids=_ids(_FRAGMENTS))
def test_a_fragment_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_pages_show_code_that_runs() -> None:
    assert len(_RUNNING) >= 10, "most code in the documentation should run"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in blocks_of(page):
        text = text.replace(block.text, "")
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert not broken, f"{page.name} links to files that do not exist: {broken}"


# Assembled here so that this file does not contain what it forbids.
_HOSTS = ("py" + r"pi\.org", "python" + "hosted", "npm" + r"js\.(?:com|org)")
_PATHS = ("/wo" + "rk/", "/ro" + "ot/", r"/home/\w", "/opt/" + "pypi", "/tmp/" + "venv")
_FORBIDDEN = {
    "a package registry's host": re.compile("|".join(_HOSTS)),
    "a path of one machine": re.compile("|".join(_PATHS)),
}


def test_tracked_files_name_no_machine_and_no_registry_host() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary test data
        for what, pattern in _FORBIDDEN.items():
            found += [f"{path.relative_to(ROOT)}: {what}: {hit.group()}" for hit in pattern.finditer(text)]
    assert not found, "\n".join(found)
