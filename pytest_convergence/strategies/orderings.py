"""Messages, and the orders in which they may arrive."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from pytest_convergence._engine.base.messages import Message
from pytest_convergence.errors import ConvergenceUsageError, unknown_name
from pytest_convergence.strategies._names import agent_names

__all__ = ["ORDERS", "message_orderings", "messages"]

ORDERS: Final = ("any", "fifo", "causal")
"""What an ordering keeps: nothing, the order on each link, or causes before effects."""


def messages(
    agents: int | Iterable[str] = 3, payloads: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[Message]:
    """Messages from one agent to another. Shrinks to the first two agents and the simplest payload.

    Raises:
        ConvergenceUsageError: there are fewer than two agents.
    """
    names = agent_names(agents, least=2)
    links = [(sender, recipient) for sender in names for recipient in names if sender != recipient]
    drawn = payloads if payloads is not None else st.none() | st.integers() | st.text(max_size=5)
    return st.builds(lambda link, payload: Message(link[0], link[1], payload), st.sampled_from(links), drawn)


def message_orderings(
    messages: Iterable[Message | tuple[str, Any]], order: str = "any"
) -> st.SearchStrategy[tuple[Message, ...]]:
    """Orders in which ``messages`` may arrive, each a tuple of all of them. Shrinks to the order given.

    ``messages`` are :class:`~pytest_convergence.Message` objects or pairs ``(sender, payload)``. ``order`` is

    - ``any``: every permutation;
    - ``fifo``: messages of one link (one sender, one recipient) keep the order given;
    - ``causal``: messages of one sender keep the order given, and an answer (``reply_to`` holds the ``uid`` of another
      message) comes after what it answers.

    A message is delayed past those behind it, so a counterexample shows just the overtakes that it needs.

    Raises:
        ConvergenceUsageError: ``order`` has no such name, something is not a message, or the order given is not itself
            causal.
    """
    if order not in ORDERS:
        raise unknown_name("order", order, ORDERS)
    given = _as_messages(messages)
    causes = [_causes(given, place, order) for place in range(len(given))]
    # Delays of up to twice the length reach every permutation; 0 for all is the order given.
    delay = st.integers(0, max(0, 2 * len(given) - 2))
    delays = st.tuples(*[delay] * len(given))

    @st.composite
    def ordering(draw: st.DrawFn) -> tuple[Message, ...]:
        return _arrange(given, causes, draw(delays))

    return ordering()


def _as_messages(given: Iterable[Message | tuple[str, Any]]) -> tuple[Message, ...]:
    found: list[Message] = []
    sent: dict[str, int] = {}
    for item in given:
        if isinstance(item, Message):
            found.append(item)
        elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            sender, payload = item
            sent[sender] = sent.get(sender, 0) + 1
            found.append(Message(sender, "", payload, number=sent[sender]))
        else:
            raise ConvergenceUsageError(
                f"{item!r} is not a message: give Message objects or pairs (sender, payload), like ('planner', 'hello')."
            )
    return tuple(found)


def _causes(given: Sequence[Message], place: int, order: str) -> tuple[int, ...]:
    """The places of the messages that must arrive before the one at ``place``; the direct ones suffice."""
    message = given[place]
    if order == "any":
        return ()
    causes = [
        earlier
        for earlier in range(place)
        if given[earlier].sender == message.sender
        and (order == "causal" or given[earlier].recipient == message.recipient)
    ][-1:]
    if order == "causal" and message.reply_to is not None:
        answered = [
            other for other in range(len(given)) if given[other].uid == message.reply_to and other != place
        ]
        if answered and min(answered) > place:
            raise ConvergenceUsageError(
                f"the order given is not causal: {message!r} comes before the message that it answers. "
                "Give messages in an order in which they may have been sent."
            )
        causes.extend(answered[:1])
    return tuple(causes)


def _arrange(
    given: Sequence[Message], causes: Sequence[tuple[int, ...]], delays: Sequence[int]
) -> tuple[Message, ...]:
    """Order by place plus delay, causes first."""
    missing = [len(before) for before in causes]
    effects: list[list[int]] = [[] for _ in given]
    for place, before in enumerate(causes):
        for cause in before:
            effects[cause].append(place)
    ready = [
        (place + delays[place], delays[place], place) for place, count in enumerate(missing) if not count
    ]
    heapq.heapify(ready)
    arrived: list[Message] = []
    while ready:
        *_, place = heapq.heappop(ready)
        arrived.append(given[place])
        for effect in effects[place]:
            missing[effect] -= 1
            if not missing[effect]:
                heapq.heappush(ready, (effect + delays[effect], delays[effect], effect))
    return tuple(arrived)
