"""The times of a host's files are those of its clock."""

import asyncio
import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence import Session
from tests.unit.sim.harness import make_session

BEGIN = 946_684_800.0


def run(
    directory: Path, program: Callable[[Path], Any], *, process: bool = False, before: tuple[str, ...] = ()
) -> Any:
    session = make_session()
    session.host("p", program, directory, files=directory, process=process)
    for name in before:
        (directory / name).write_bytes(b"old")
    return session.run().results["p"]


def ages(directory: Path) -> dict[str, float]:
    """When each file was last written, in seconds since the run began; the directory is ``.``."""
    return {
        path.relative_to(directory).as_posix(): path.stat().st_mtime - BEGIN
        for path in sorted([directory, *directory.rglob("*")])
    }


def test_a_file_has_the_time_at_which_it_was_written_and_not_that_at_which_it_was_closed(
    tmp_path: Path,
) -> None:
    async def program(directory: Path) -> dict[str, float]:
        await asyncio.sleep(1)
        with (
            (directory / "buffered").open("w") as buffered,
            (directory / "log").open("ab", buffering=0) as log,
        ):
            await asyncio.sleep(1)
            buffered.write("x")
            log.write(b"x")
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        return ages(directory)

    assert run(tmp_path, program) == {".": 1, "buffered": 3, "log": 2}


def test_a_process_that_reads_the_times_reads_the_same(tmp_path: Path) -> None:
    def program(directory: Path) -> list[float]:
        time.sleep(5)
        path = directory / "file"
        path.write_text("text")
        (entry,) = os.scandir(directory)
        with path.open() as file:
            seen = [os.stat(path), os.fstat(file.fileno()), entry.stat(), path.lstat()]
        return [each.st_mtime - time.time() for each in seen] + [os.path.getmtime(path) - time.time()]

    assert run(tmp_path, program, process=True) == [0.0] * 5


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"new"),
        lambda path: with_file(path.open("r+"), lambda file: file.write("new")),
        lambda path: with_file(path.open("a", buffering=1), lambda file: file.write("new\n")),
        lambda path: with_file(io.open(path, "w+b", 0), lambda file: file.write(b"new")),  # noqa: SIM115, UP020
        lambda path: os.truncate(path, 1),
        lambda path: with_file(path.open("ab"), lambda file: file.truncate(1)),
        lambda path: path.touch(),
        lambda path: os.utime(path),  # noqa: PLW0108 - looked up when called
        lambda path: shutil.copyfile(__file__, path),
        lambda path: with_descriptor(path, lambda number: os.write(number, b"new")),
        lambda path: with_descriptor(path, lambda number: os.pwrite(number, b"new", 0)),
        lambda path: with_descriptor(path, lambda number: os.ftruncate(number, 1)),
    ],
)
def test_every_way_to_write_stamps(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    async def program(directory: Path) -> dict[str, float]:
        await asyncio.sleep(2)
        write(directory / "file")
        await asyncio.sleep(1)
        return ages(directory)

    assert run(tmp_path, program, before=("file",)) == {".": 0, "file": 2}


def with_file(file: Any, use: Callable[[Any], object]) -> None:
    with file:
        use(file)


def with_descriptor(path: Path, use: Callable[[int], object]) -> None:
    number = os.open(path, os.O_WRONLY)
    try:
        use(number)
    finally:
        os.close(number)


def test_what_is_made_renamed_and_removed_stamps_the_directory(tmp_path: Path) -> None:
    async def program(directory: Path) -> list[dict[str, float]]:
        seen = []
        for change in (
            (directory / "sub").mkdir,
            lambda: os.close(os.open(directory / "one", os.O_CREAT | os.O_WRONLY)),
            lambda: (directory / "one").rename(directory / "sub" / "two"),
            lambda: os.link(directory / "sub" / "two", directory / "three"),
            (directory / "three").unlink,
            lambda: None,
        ):
            await asyncio.sleep(1)
            change()
            seen.append(ages(directory))
        return seen

    assert run(tmp_path, program) == [
        {".": 1, "sub": 1},
        {".": 2, "sub": 1, "one": 2},
        {".": 3, "sub": 3, "sub/two": 2},
        {".": 4, "sub": 3, "sub/two": 2, "three": 2},
        {".": 5, "sub": 3, "sub/two": 2},
        {".": 5, "sub": 3, "sub/two": 2},
    ]


def test_what_the_program_sets_counts(tmp_path: Path) -> None:
    async def program(directory: Path) -> dict[str, float]:
        os.utime(directory / "new", (BEGIN - 50, BEGIN - 50))
        os.utime(directory / "newer", ns=(0, 10**9))
        return ages(directory)

    expected = {".": 0, "new": -50, "newer": 1 - BEGIN, "untouched": 0}
    assert run(tmp_path, program, before=("new", "newer", "untouched")) == expected


def test_the_clock_is_that_of_the_host_and_a_crash_does_not_move_times(tmp_path: Path) -> None:
    async def program(directory: Path) -> None:
        await asyncio.sleep(1)
        (directory / "file").write_text("text")
        os.sync()
        with (directory / "file").open("rb") as file:
            os.fsync(file.fileno())
        await asyncio.sleep(100)

    async def scenario(session: Session) -> dict[str, float]:
        host = session.hosts["p"]
        host.skew_clock(offset=10)
        await session.sleep(5)
        host.crash(silently=True)
        return ages(tmp_path)

    session = make_session()
    session.host("p", program, tmp_path, files=tmp_path)
    assert session.run(scenario).output == {".": 15, "file": 11}


@pytest.mark.parametrize(
    ("mode", "options"),
    [("w", {"buffering": 0}), ("wb", {"encoding": "utf-8"}), ("rw", {}), ("q", {}), ("w", {"newline": "x"})],
)
def test_what_open_refuses_it_still_refuses(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    async def program(directory: Path) -> None:
        with pytest.raises(ValueError, match=r"."):
            open(directory / "file", mode, **options)  # noqa: SIM115
        with pytest.raises(FileNotFoundError):
            (directory / "nowhere" / "file").write_text("text")
        with pytest.raises(LookupError):
            open(directory / "odd", "w", encoding="klingon")  # noqa: SIM115
        with pytest.raises(TypeError):
            open(directory / "odd", None)  # type: ignore[call-overload]  # noqa: SIM115

    run(tmp_path, program)


def test_the_layers_of_a_file_are_those_that_open_makes(tmp_path: Path) -> None:
    def layers(path: Path) -> list[Any]:
        seen: list[Any] = []
        for mode, buffering in (
            ("w", -1),
            ("w", 1),
            ("w", 7),
            ("a+", -1),
            ("wb", -1),
            ("r+b", 10),
            ("wb", 0),
            ("w+b", 0),
        ):
            file: Any
            with open(path, mode, buffering) as file:
                seen.append(
                    (isinstance(file, io.FileIO) or type(file).__name__, file.mode, file.name == path)
                )
                if "b" not in mode:
                    seen.append((file.line_buffering, type(file.buffer).__name__, file.encoding, file.errors))
        return seen

    async def program(directory: Path) -> list[Any]:
        return layers(directory / "simulated")

    assert run(tmp_path, program) == [
        each if len(each) == 4 else (*each[:2], True) for each in layers(tmp_path / "simulated")
    ]


def test_files_elsewhere_are_the_machines(tmp_path: Path) -> None:
    async def program(directory: Path) -> None:
        (directory.parent / "elsewhere").write_text("text")

    own = tmp_path / "own"
    own.mkdir()
    run(own, program)
    assert (tmp_path / "elsewhere").stat().st_mtime > BEGIN + 10**8


def test_what_os_says_of_its_functions_stays_true() -> None:
    make_session().run()
    assert {os.open, os.unlink, os.rmdir} <= os.supports_dir_fd
    assert os.utime in os.supports_follow_symlinks
    assert os.utime in os.supports_fd
