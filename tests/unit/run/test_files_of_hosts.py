"""Files of hosts: what a crash and a loss of power leave of them."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence import Schedule, Session
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import make_session


async def write(directory: Path) -> None:
    """Write a durable line, a line that is not, a file that is not, and one that stays in a buffer."""
    with (directory / "log").open("ab", buffering=0) as log:
        log.write(b"one\n")
        os.fsync(log.fileno())
        log.write(b"two\n")
    (directory / "other").write_bytes(b"other")
    with (directory / "buffered").open("w") as buffered:
        buffered.write("in a buffer of the program")
        await asyncio.Event().wait()


def files_after(
    directory: Path, *, silently: bool, deviations: dict[str, int] | None = None, main: Any = write
) -> Any:
    """Crash a host, and return what is left of its files."""

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.hosts["db"].crash(silently=silently)

    session = make_session(schedule=Schedule.of(deviations or {}))
    session.host("db", main, directory, files=directory, serves=True)
    session.run(scenario)
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_process_that_dies_loses_what_it_had_in_its_buffers(tmp_path: Path) -> None:
    left = files_after(tmp_path / "db", silently=False)
    assert left == {"buffered": b"", "log": b"one\ntwo\n", "other": b"other"}


def test_a_loss_of_power_leaves_what_was_durable(tmp_path: Path) -> None:
    assert files_after(tmp_path / "db", silently=True) == {"log": b"one\n"}


def test_a_schedule_may_keep_or_tear_what_was_not_durable(tmp_path: Path) -> None:
    left = files_after(
        tmp_path / "a", silently=True, deviations={"file db/log #1": 1, "file db/other #1": 601}
    )
    assert left == {"log": b"one\ntwo\n", "other": b"oth"}
    left = files_after(
        tmp_path / "b", silently=True, deviations={"file db/log #1": 501, "file db/buffered #1": 1}
    )
    assert left == {"buffered": b"", "log": b"one\ntw"}


async def replace(directory: Path, sync_directory: bool = False) -> None:
    """Replace a file the careful way, or nearly."""
    for text in (b"old", b"new"):
        draft = directory / "draft"
        with draft.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file)
        os.replace(draft, directory / "final")
        if text == b"old" or sync_directory:
            descriptor = os.open(directory, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    await asyncio.Event().wait()


def test_a_new_name_is_durable_with_its_directory(tmp_path: Path) -> None:
    async def carefully(directory: Path) -> None:
        await replace(directory, sync_directory=True)

    assert files_after(tmp_path / "a", silently=True, main=carefully) == {"final": b"new"}
    assert files_after(tmp_path / "b", silently=True, main=replace) == {"draft": b"new", "final": b"old"}
    kept = files_after(tmp_path / "c", silently=True, main=replace, deviations={"file db/draft→final #1": 1})
    assert kept == {"final": b"new"}


def test_a_deleted_file_comes_back_unless_its_directory_was_synced(tmp_path: Path) -> None:
    async def delete(directory: Path) -> None:
        for name in ("gone", "back"):
            with (directory / name).open("wb") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
        (directory / "gone").unlink()
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        (directory / "back").unlink()
        await asyncio.Event().wait()

    assert files_after(tmp_path / "db", silently=True, main=delete) == {"back": b"x"}


def test_a_program_finds_its_files_after_a_restart(tmp_path: Path) -> None:
    async def count(directory: Path) -> int:
        file = directory / "starts"
        starts = int(file.read_text()) if file.exists() else 0
        with file.open("w") as opened:
            opened.write(str(starts + 1))
            opened.flush()
            os.fsync(opened.fileno())
        if not starts:
            await asyncio.Event().wait()
        return starts

    async def scenario(session: Session) -> Any:
        await session.sleep(1)
        session.hosts["db"].crash(silently=True)
        session.hosts["db"].restart()
        return (await session.finished())["db"]

    session = make_session()
    session.host("db", count, tmp_path / "db", files=tmp_path / "db")
    assert session.run(scenario).output == 1


def test_files_outside_of_the_directory_are_nobodys_business(tmp_path: Path) -> None:
    async def outside(directory: Path) -> None:
        (tmp_path / "elsewhere").write_bytes(b"x")
        os.replace(tmp_path / "elsewhere", tmp_path / "moved")
        await asyncio.Event().wait()

    assert files_after(tmp_path / "db", silently=True, main=outside) == {}
    assert (tmp_path / "moved").read_bytes() == b"x"


def test_the_directory_must_be_empty(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for path in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(ConvergenceUsageError, match="must be an empty directory"):
            make_session().host("db", write, path, files=path)
