"""States of agents that do not agree, and what replicas tell each other about theirs."""

from __future__ import annotations

import copy
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Final, NoReturn, final

from hypothesis import strategies as st

from pytest_convergence._engine.state.document import leaves
from pytest_convergence._engine.state.paths import Path, format_path, overlap, parse_path
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Delta
from pytest_convergence._engine.state.values import same_value
from pytest_convergence.errors import ConvergenceUsageError
from pytest_convergence.strategies._names import agent_names

__all__ = ["ConflictingStates", "conflicting_states", "deltas"]


@final
class ConflictingStates:
    """What each agent holds at the start: the same, but for some fields.

    Iterating gives the states (dicts); ``states["agent-1"]``, ``items()`` and ``agents`` go by name, so it can be given
    to a session as ``agents=states.agents, states=states``. Each access gives a copy.
    """

    __slots__ = ("_states", "agents")

    agents: tuple[str, ...]
    _states: dict[str, dict[str, Any]]

    def __init__(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        copied = {name: copy.deepcopy(dict(state)) for name, state in states.items()}
        object.__setattr__(self, "_states", copied)
        object.__setattr__(self, "agents", tuple(copied))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"ConflictingStates are immutable: cannot set {name!r}")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.values())

    def __len__(self) -> int:
        return len(self.agents)

    def __getitem__(self, agent: str) -> dict[str, Any]:
        state: dict[str, Any] = copy.deepcopy(self._states[agent])
        return state

    def keys(self) -> KeysView[str]:
        """The names of the agents."""
        return self.as_dict().keys()

    def values(self) -> ValuesView[dict[str, Any]]:
        """The states, in the order of the agents."""
        return self.as_dict().values()

    def items(self) -> ItemsView[str, dict[str, Any]]:
        """Names with states."""
        return self.as_dict().items()

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Name -> state, as a plain dict."""
        states: dict[str, dict[str, Any]] = copy.deepcopy(self._states)
        return states

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The dotted paths of the fields about which some agents differ."""
        by_path: dict[Path, list[Any]] = {}
        for state in self.values():
            for path, value in leaves(state):
                by_path.setdefault(path, []).append(value)
        return tuple(
            format_path(path)
            for path, values in sorted(by_path.items())
            if len(values) < len(self) or any(not same_value(values[0], value) for value in values[1:])
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConflictingStates):
            return NotImplemented
        return self.agents == other.agents and bool(self._states == other._states)

    def __reduce__(self) -> tuple[type[ConflictingStates], tuple[dict[str, dict[str, Any]]]]:
        return ConflictingStates, (self._states,)

    __hash__ = None  # type: ignore[assignment]  # it holds dicts

    def __repr__(self) -> str:
        return f"ConflictingStates({self._states!r})"


_TITLES: Final = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", max_size=8)
_TAGS: Final = ("draft", "urgent", "done", "blocked")


def default_fields() -> dict[str, st.SearchStrategy[Any]]:
    """The fields of a small shared document: text, a number, a flag, a list, and one of them nested."""
    return {
        "title": _TITLES,
        "count": st.integers(0, 99),
        "done": st.booleans(),
        "plan.steps": st.lists(st.sampled_from(_TAGS), max_size=3),
        "plan.owner": _TITLES,
    }


def conflicting_states(
    agents: int | Iterable[str] = 3, fields: Mapping[str, st.SearchStrategy[Any]] | None = None
) -> st.SearchStrategy[ConflictingStates]:
    """Initial states of agents that hold different values in at least one field.

    ``fields`` maps dotted paths to strategies of plain data; the default is a small document of text, numbers, a flag
    and a list. All agents have all fields. Shrinks to agents that are equal but for one field of the second agent.

    Raises:
        ConvergenceUsageError: there are fewer than two agents, no fields, a field is not a path or its value not a
            strategy, or one field lies below another.
    """
    names = agent_names(agents, least=2)
    drawn = _checked(default_fields() if fields is None else fields)

    @st.composite
    def states(draw: st.DrawFn) -> ConflictingStates:
        base = {path: draw(values) for path, values in drawn.items()}
        held = {
            name: {path: draw(st.one_of(st.just(base[path]), values)) for path, values in drawn.items()}
            for name in names
        }
        # Drawn even where it is not needed: if agents that happen to differ took fewer choices than agents that are
        # equal, the former would count as the simpler example.
        differing = draw(st.sampled_from(list(drawn)))
        other = draw(_other_than(held[names[1]][differing], drawn[differing]))
        if not any(_differ(path, held) for path in drawn):
            held[names[1]][differing] = other
        return ConflictingStates({name: _nested(state) for name, state in held.items()})

    return states()


def _differ(path: Path, held: Mapping[str, Mapping[Path, Any]]) -> bool:
    first, *rest = (state[path] for state in held.values())
    return any(not same_value(first, value) for value in rest)


def _other_than(value: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def differs(drawn: Any) -> bool:
        return not same_value(drawn, value)

    return values.filter(differs)


def _checked(fields: Mapping[str, st.SearchStrategy[Any]]) -> dict[Path, st.SearchStrategy[Any]]:
    if not isinstance(fields, Mapping) or not fields:
        raise ConvergenceUsageError(
            f"fields must map paths to strategies, like {{'title': st.text()}}, not {fields!r}."
        )
    checked: dict[Path, st.SearchStrategy[Any]] = {}
    for name, values in fields.items():
        path = parse_path(name)
        if not isinstance(values, st.SearchStrategy):
            raise ConvergenceUsageError(f"the field {name!r} needs a strategy of its values, not {values!r}.")
        for other in checked:
            if overlap(path, other):
                raise ConvergenceUsageError(
                    f"the fields {format_path(other)!r} and {name!r} lie within each other."
                )
        checked[path] = values
    return checked


def _nested(state: Mapping[Path, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in state.items():
        place = nested
        for segment in path[:-1]:
            place = place.setdefault(segment, {})
        place[path[-1]] = copy.deepcopy(value)
    return nested


_WRITES: Final = ("set", "increment", "append", "delete")


def deltas(agents: int | Iterable[str] = 2, *, max_writes: int = 10) -> st.SearchStrategy[Delta]:
    """What one replica has to tell another: deltas of replicas that wrote a little. Shrinks to the empty delta."""
    names = agent_names(agents)
    write = st.tuples(
        st.integers(0, len(names) - 1),
        st.sampled_from(_WRITES),
        st.sampled_from(("x", "y.z")),
        st.integers(0, 9),
        st.booleans(),
    )
    writes = st.lists(write, max_size=max_writes)

    @st.composite
    def delta(draw: st.DrawFn) -> Delta:
        return _delta(names, draw(writes), draw(st.integers(0, max_writes)))

    return delta()


def _delta(names: tuple[str, ...], writes: list[tuple[int, str, str, int, bool]], known: int) -> Delta:
    """Let replicas write, now and then tell each other, and return what the first knows beyond its ``known`` writes."""
    replicas = [Replica(name) for name in names]
    first = replicas[0]
    start = first.clock
    for number, (place, operation, path, value, tells) in enumerate(writes):
        replica = replicas[place]
        if operation == "delete":
            replica.delete(f"{operation}.{path}")
        elif operation == "set":
            replica.set(f"{operation}.{path}", value)
        elif operation == "increment":
            replica.increment(f"{operation}.{path}", value)
        else:
            replica.append(f"{operation}.{path}", value)
        if tells:
            first.join(replica.delta_since(first.clock))
        if number < known:
            start = first.clock
    return first.delta_since(start)
