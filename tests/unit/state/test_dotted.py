"""Dotted version vector sets, by the published vectors and by their laws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.dotted import DottedSiblings, Written
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.sibling_sync import siblings_at


def _read(given: Mapping[str, Any] | None) -> DottedSiblings:
    if given is None:
        return DottedSiblings()
    writers = {name: Written(last, tuple(values)) for name, (last, values) in given["entries"].items()}
    return DottedSiblings(writers, tuple(given["anonymous"]))


def test_the_published_vectors(vectors: Path) -> None:
    cases = json.loads((vectors / "clocks" / "dvvset.json").read_text())
    for case in cases["update"]:
        written = _read(case["server"]).write(case["id"], case["value"], VectorClock(case["context"]))
        assert written == _read(case["expect"])
    for case in cases["sync"]:
        assert _read(case["a"]).sync(_read(case["b"])) == _read(case["expect"])
        assert _read(case["b"]).sync(_read(case["a"])) == _read(case["expect"])


_STEPS = st.lists(
    st.tuples(st.sampled_from("wsr"), st.integers(0, 2), st.integers(0, 2), st.integers(0, 99)), max_size=20
)


def _servers(steps: list[tuple[str, int, int, int]]) -> tuple[list[DottedSiblings], list[VectorClock]]:
    """Three servers; clients read a context at one of them, write with it at another; servers sync."""
    servers = [DottedSiblings() for _ in range(3)]
    contexts = [VectorClock() for _ in range(3)]
    for number, (kind, one, other, _) in enumerate(steps):
        if kind == "r":
            contexts[other] = servers[one].context
        elif kind == "s":
            servers[one] = servers[one].sync(servers[other])
        else:
            servers[one] = servers[one].write(f"s{one}", number, contexts[other])
    return servers, contexts


@given(_STEPS)
def test_sync_is_a_join(steps: list[tuple[str, int, int, int]]) -> None:
    (x, y, z), _ = _servers(steps)
    assert x.sync(x) == x
    assert x.sync(y) == y.sync(x)
    assert x.sync(y).sync(z) == x.sync(y.sync(z))
    assert x.sync(y).sync(y) == x.sync(y)
    assert x.sync(y).context == x.context | y.context


@given(_STEPS, st.integers(0, 2), st.integers(0, 2))
def test_a_write_covers_its_context_and_the_server(
    steps: list[tuple[str, int, int, int]], at: int, by: int
) -> None:
    servers, contexts = _servers(steps)
    written = servers[at].write(f"s{at}", "new", contexts[by])
    assert contexts[by] | servers[at].context < written.context
    assert "new" in written.values
    for (writer, number), value in written.dotted():
        assert value == "new" or number > contexts[by][writer], "what the writer had read is gone"


def test_anonymous_values_give_way_to_whoever_has_seen_more() -> None:
    one, other = DottedSiblings({}, ("x",)), DottedSiblings({}, ("y",))
    assert one.sync(other).values == ("x", "y")
    later = one.write("a", "z", VectorClock({"a": 0}))
    assert later.values == ("x", "z")
    assert later.sync(DottedSiblings({"a": Written(2)})).anonymous == ()
    assert one.discard(VectorClock({"b": 1})).values == ()


def test_the_siblings_at_a_path_form_an_antichain() -> None:
    a, b, c = Replica("a"), Replica("b"), Replica("c")
    a.set("x", 0)
    for replica in (b, c):
        replica.join(a.delta_since(replica.clock))
        replica.set("x", replica.agent)
    a.join(b.delta_since(a.clock))
    a.join(c.delta_since(a.clock))
    siblings = siblings_at(a, ("x",)).values
    assert [update.value for update in siblings] == ["b", "c"]
    assert all(one.concurrent_with(other) for one in siblings for other in siblings if one is not other)
    assert a.siblings("x") == ("b", "c")
    a.set("x", "decided")
    assert a.siblings("x") == ("decided",)
