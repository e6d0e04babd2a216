"""SQLite's own clock and chance, which are in C, are the world's inside a run."""

import asyncio
import sqlite3
import time
from typing import Any

import pytest

from tests.unit.sim.harness import make_session

TABLE = """
CREATE TABLE t (
    id INTEGER PRIMARY KEY, stamp TEXT DEFAULT CURRENT_TIMESTAMP, other TEXT DEFAULT (datetime('now', '+1 day'))
)
"""


def ask(*queries: str) -> Any:
    with sqlite3.connect(":memory:") as connection:
        found = [connection.execute(query).fetchone() for query in queries]
    connection.close()
    return [row[0] if len(row) == 1 else row for row in found]


def run(*queries: str, process: bool = False) -> Any:
    async def main() -> Any:
        await asyncio.sleep(3_661.25)
        return ask(*queries)

    session = make_session()
    session.host("db", main, process=process)
    return session.run().results["db"]


@pytest.mark.parametrize("process", [False, True])
def test_now_is_the_time_of_the_host(process: bool) -> None:
    seen = run(
        "SELECT datetime('now')",
        "SELECT datetime()",
        "SELECT date('NOW'), time('now', '+2 hours')",
        "SELECT CURRENT_TIMESTAMP, CURRENT_DATE, CURRENT_TIME",
        "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
        "SELECT strftime('%s')",
        "SELECT julianday('now')",
        process=process,
    )
    assert seen == [
        "2000-01-01 01:01:01",
        "2000-01-01 01:01:01",
        ("2000-01-01", "03:01:01"),
        ("2000-01-01 01:01:01", "2000-01-01", "01:01:01"),
        "2000-01-01T01:01:01.250",
        "946688461",
        pytest.approx(2_451_544.5 + 3_661.25 / 86_400),
    ]


def test_times_that_are_given_are_computed_with_as_ever() -> None:
    queries = (
        "SELECT datetime('2024-02-29 12:00', '+1 year')",
        "SELECT date(0, 'unixepoch'), time(2451545)",
        "SELECT strftime('%j', '2024-12-31')",
        "SELECT datetime(NULL), datetime('nonsense'), strftime()",
    )
    assert run(*queries[:3]) == ask(*queries[:3])
    assert run(queries[3].replace(", strftime()", "")) == [(None, None)]


def test_defaults_of_tables_and_indexes_on_times_work() -> None:
    async def main() -> Any:
        with sqlite3.connect(":memory:") as connection:
            connection.execute(TABLE)
            connection.execute("CREATE INDEX by_day ON t (date(stamp))")
            connection.execute("INSERT INTO t DEFAULT VALUES")
            found = connection.execute("SELECT stamp, other, date(stamp) FROM t").fetchall()
        connection.close()
        return found

    session = make_session()
    session.host("db", main)
    day = "2000-01-01"
    assert session.run().results["db"] == [(f"{day} 00:00:00", "2000-01-02 00:00:00", day)]


def test_chance_is_the_hosts_and_the_same_each_time() -> None:
    queries = "SELECT random()", "SELECT randomblob(4), length(randomblob(0)), length(randomblob('x'))"
    first, second = run(*queries), run(*queries)
    assert first == second
    assert isinstance(first[0], int)
    assert first[1][1:] == (1, 1)
    assert ask(*queries) != first


def test_a_connection_that_outlives_the_run_asks_the_machine() -> None:
    kept: list[sqlite3.Connection] = []

    async def main() -> None:
        kept.append(sqlite3.connect(":memory:"))

    session = make_session()
    session.host("db", main)
    session.run()
    (year,) = kept[0].execute("SELECT strftime('%Y', 'now')").fetchone()
    (number,) = kept[0].execute("SELECT random()").fetchone()
    kept[0].close()
    assert int(year) >= time.gmtime().tm_year - 1
    assert isinstance(number, int)
