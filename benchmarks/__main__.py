"""Prints the table of speeds: ``python -m benchmarks`` (``--quick`` for fewer rounds, names to choose cases)."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial

from benchmarks import cases, floors, references
from benchmarks.host_cases import host_rows
from benchmarks.measuring import Row, cost_us, costs_at_most, faster_than, pin
from benchmarks.search_cases import search_rows
from benchmarks.state_cases import state_rows

SMALL = {"kind": "gossip", "hops": 3}


def rows(rounds: int) -> dict[str, Callable[[], Row]]:
    """Every line of the table by its short name."""
    return {
        **_traffic_rows(rounds),
        **_loop_rows(rounds),
        **_scale_rows(rounds),
        "tiny": lambda: _per_second("tiny sessions", cases.tiny_sessions, 2000, rounds),
        "tiny-floor": lambda: _per_second(
            "three tasks of asyncio and their queues, loop kept", floors.bare_tiny_sessions, 0, rounds
        ),
        **host_rows(rounds),
        **search_rows(rounds),
        **state_rows(rounds),
    }


def _traffic_rows(rounds: int) -> dict[str, Callable[[], Row]]:
    simpy = references.simpy_gossip

    def versus_simpy(name: str, case: Callable[..., int], bar: float, **options: object) -> Callable[[], Row]:
        payload = options.get("payload", 0)
        return lambda: faster_than(
            f"{name}, x SimPy", partial(case, **options), partial(simpy, payload=payload), bar, rounds
        )

    agents, machines = cases.agent_gossip, cases.machine_gossip
    return {
        "agents": versus_simpy("100 agents, trace on", agents, 1.7),
        "agents-off": versus_simpy("100 agents, trace off", agents, 2.3, trace=False),
        "agents-floor": versus_simpy("100 bare coroutines and a heap", floors.bare_agent_gossip, 0),
        "agents-told": versus_simpy("100 coroutines, links, fates, trace", floors.told_agent_gossip, 0),
        "agents-told-off": versus_simpy(
            "100 coroutines, links, fates", floors.told_agent_gossip, 0, trace=False
        ),
        "agents-dict": versus_simpy("100 agents, a small dict, trace on", agents, 0, payload=SMALL),
        "machines": versus_simpy("100 machines, trace on", machines, 4.5),
        "machines-off": versus_simpy("100 machines, trace off", machines, 7, trace=False),
        "machines-floor": versus_simpy("100 bare machines and a heap", floors.bare_machine_gossip, 0),
        "machines-told": versus_simpy("100 machines, links, fates, trace", floors.told_machine_gossip, 0),
        "machines-told-off": versus_simpy(
            "100 machines, links, fates", floors.told_machine_gossip, 0, trace=False
        ),
        "machines-named": versus_simpy("100 machines, effects by name", machines, 0, named=True),
        "machines-dict": versus_simpy("100 machines, a small dict, trace on", machines, 0, payload=SMALL),
        "asyncio": versus_simpy("unmodified asyncio, trace on", cases.asyncio_gossip, 1.2),
    }


def _loop_rows(rounds: int) -> dict[str, Callable[[], Row]]:
    def faster(
        name: str, case: Callable[..., int], reference: Callable[..., int], bar: float
    ) -> Callable[[], Row]:
        return lambda: faster_than(name, case, reference, bar, rounds)

    sleeps, looptime = cases.world_sleeps, references.looptime_sleeps
    return {
        "ping-pong": faster(
            "asyncio.Queue ping-pong, x CPython's own loop",
            cases.world_ping_pong,
            references.stock_ping_pong,
            1,
        ),
        "sleeps-trio": faster("virtual sleeps, x trio's autojump clock", sleeps, references.trio_sleeps, 8),
        "sleeps-looptime": faster("virtual sleeps, x looptime", sleeps, looptime, 100),
        "sleeps-floor": faster(
            "virtual sleeps on an ideal loop, x looptime", floors.ideal_sleeps, looptime, 0
        ),
    }


def _scale_rows(rounds: int) -> dict[str, Callable[[], Row]]:
    agents = cases.agent_gossip
    return {
        "causality-10": lambda: _causality(10, rounds),
        "causality-100": lambda: _causality(100, rounds),
        "causality-1000": lambda: _causality(1000, rounds),
        "scale-agents": lambda: costs_at_most(
            "cost per message, 1,000 agents to 10", partial(agents, 1000), partial(agents, 10), 2.5, rounds
        ),
        "scale-messages": lambda: costs_at_most(
            "cost per message, 10^6 messages to 10^4",
            partial(agents, 100, 1_000_000),
            partial(_repeated, agents, 10_000, 10),
            1.25,
            max(3, rounds // 2),
        ),
    }


def _repeated(case: Callable[..., int], messages: int, times: int) -> int:
    return sum(case(100, messages) for _ in range(times))


def _causality(agents: int, rounds: int) -> Row:
    case = cases.machine_gossip
    name = f"machines, trace and causality on to off, {agents} agents"
    return costs_at_most(name, partial(case, agents), partial(case, agents, trace=False), 1.7, rounds)


def _per_second(name: str, case: Callable[..., int], bar: float, rounds: int) -> Row:
    cost_us(case)
    costs = [cost_us(case) for _ in range(rounds)]
    middle = sorted(costs)[len(costs) // 2]
    return Row(f"{name} per second", tuple(1e6 / cost for cost in costs), bar, middle, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="short names of lines; default: all")
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 7")
    parser.add_argument("--list", action="store_true", help="list the short names")
    options = parser.parse_args()
    table = rows(3 if options.quick else 7)
    unknown = [name for name in options.names if name not in table]
    if options.list or unknown:
        print("\n".join([*(f"unknown: {name}" for name in unknown), *table]))
        return
    pin()
    print(f"Python {platform.python_version()}, process CPU time, one processor; medians of paired ratios")
    print(
        f"{'case':<58} {'ratio':>7}   {'least – greatest':^17}  {'bar':>8}  {'':<7} {'case':>13} {'reference':>13}"
    )
    begun = time.monotonic()
    for name in options.names or table:
        print(table[name](), flush=True)
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
