"""The tree along which tasks are delegated: who works for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Tree", "tree_of"]


class Tree(NamedTuple):
    """A valid tree.

    Attributes:
        root: the agent that nobody delegates to.
        children: agent -> the agents that work for it, in the order given; agents without any are left out.
        supervisors: agent -> the agent that it works for.
    """

    root: str
    children: Mapping[str, tuple[str, ...]]
    supervisors: Mapping[str, str]


def tree_of(given: Any, agents: Sequence[str]) -> Tree:
    """Check a tree that a user gave as ``{parent: [children]}``.

    Raises:
        ConvergenceUsageError: it names an unknown agent, has no root or several, a cycle, or an agent with two parents.
    """
    if not isinstance(given, Mapping) or not given:
        raise ConvergenceUsageError(
            f"the hierarchical pattern needs run(tree={{parent: [children]}}, …), not tree={given!r}."
        )
    children: dict[str, tuple[str, ...]] = {}
    supervisors: dict[str, str] = {}
    for parent, below in given.items():
        _check_agent(parent, agents)
        if isinstance(below, str) or not isinstance(below, Sequence):
            raise ConvergenceUsageError(f"tree[{parent!r}] must be a list of agents, not {below!r}.")
        for child in below:
            _check_agent(child, agents)
            if child in supervisors:
                raise ConvergenceUsageError(
                    f"{child!r} is a child of {supervisors[child]!r} and of {parent!r}; everybody has one parent."
                )
            supervisors[child] = parent
        if below:
            children[parent] = tuple(below)
    return Tree(_root_of(given, children, supervisors), children, supervisors)


def _check_agent(name: Any, agents: Sequence[str]) -> None:
    if name not in agents:
        raise unknown_name("agent in tree", name, agents)


def _root_of(
    given: Mapping[str, Any], children: Mapping[str, tuple[str, ...]], supervisors: Mapping[str, str]
) -> str:
    roots = [parent for parent in given if parent not in supervisors]
    if len(roots) > 1:
        raise ConvergenceUsageError(
            f"the tree has {len(roots)} roots: {', '.join(map(repr, roots))}. Give all but one of them a parent."
        )
    reached: list[str] = list(roots)
    for agent in reached:  # grows while it is walked
        reached += children.get(agent, ())
    lost = [agent for agent in supervisors if agent not in reached]
    if lost:
        cycle = [lost[0]]
        while (above := supervisors[cycle[-1]]) not in cycle:
            cycle.append(above)
        ring = [*cycle[cycle.index(above) :], above]
        raise ConvergenceUsageError(
            f"the tree has a cycle: {' works for '.join(map(repr, ring))}. A tree has one root and no cycles."
        )
    return roots[0]
