"""The hand-off machine of one agent: routes events to the giver's, the keeper's and the guardian's part.

See :mod:`.handoff` for how the protocol works. The machine needs a clock that runs evenly, as an argument: leases are
judged on each agent's own one, and a tenth of drift between two of them is allowed for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import RAISED, RETURNED, Effect, Observe, Send
from pytest_convergence._engine.patterns.handoff import HandoffTiming
from pytest_convergence._engine.patterns.handoff_core import Core, Entry, Role
from pytest_convergence._engine.patterns.handoff_giving import Giving
from pytest_convergence._engine.patterns.handoff_guarding import Guarding
from pytest_convergence._engine.patterns.handoff_keeping import Keeping

__all__ = ["HandoffMachine"]

_CALLED: Final = "work "


@final
class HandoffMachine:
    """Hands works off, takes them, and watches over those of others.

    It calls three functions: ``work`` with a record that this agent may begin to act on, ``concluded`` with how a hand-off
    ended, ``ended`` with the id and the result of a work that is done.
    """

    __slots__ = ("_commands", "_messages", "_timers", "core", "giving", "guarding", "keeping")

    def __init__(
        self,
        name: str,
        agents: Sequence[str],
        now: Callable[[], int],
        timing: HandoffTiming | None = None,
    ) -> None:
        core = self.core = Core(name, agents, now, timing or HandoffTiming())
        giving, keeping = Giving(core), Keeping(core)
        guarding = Guarding(core, keeping)
        giving.keeping, keeping.giving = keeping, giving
        self.giving, self.keeping, self.guarding = giving, keeping, guarding
        self._messages: dict[str, Callable[[str, Any], list[Effect]]] = {
            "handoff_query": giving.on_query,
            "handoff_standing": giving.on_standing,
            "handoff_request": keeping.on_request,
            "handoff_accept": giving.on_accept,
            "handoff_reject": giving.on_reject,
            "handoff_never": giving.on_never,
            "handoff_withdraw": keeping.on_withdraw,
            "handoff_transfer": keeping.on_transfer,
            "handoff_owned": giving.on_owned,
            "handoff_copy": guarding.on_copy,
            "handoff_lease": guarding.on_lease,
            "handoff_lease_ack": keeping.on_lease_ack,
            "handoff_missing": keeping.on_missing,
            "handoff_nack": keeping.on_nack,
            "handoff_suspect": guarding.on_suspect,
            "handoff_claim": guarding.on_claim,
            "handoff_deny": guarding.on_deny,
            "handoff_grant": guarding.on_grant,
            "handoff_done": keeping.on_done,
            "handoff_done_ack": keeping.on_done_ack,
        }
        self._timers: dict[str, Callable[[Entry], list[Effect]]] = {
            "give": giving.on_timer,
            "keep": keeping.drop_reservation,
            "renew": keeping.renew,
            "lapse": keeping.lapse,
            "watch": guarding.on_watch,
            "tell": keeping.tell,
        }
        self._commands: dict[str, Callable[[Any], list[Effect]]] = {
            "offers": self._offers,
            "hand_off": self._hand_off,
            "save": self._save,
            "finish": self._finish,
            RETURNED: self._returned,
            RAISED: lambda raised: [],
        }

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin a life: go on with what earlier ones owned, gave away, or had finished."""
        effects: list[Effect] = []
        for entry in self.core.load(durable):
            effects += self.guarding.wake(entry)
            if entry.role is Role.RELEASED or (entry.role is Role.OWNER and not entry.leased):
                effects += self.giving.resume(entry)
            if entry.role is Role.OWNER and entry.leased:
                entry.plan = None  # its code begins anew, and decides anew
                # It is ours, and we do not act on it yet.
                effects.append(self.core.fact("suspend", entry.work))
                effects += self.keeping.start_lease(entry)
            if entry.role in (Role.FINISHING, Role.DONE) and entry.work.owner == self.core.name:
                entry.told = {self.core.name}
                if entry.role is Role.DONE:
                    effects.append(self.core.fact("finished", entry.work))  # said again: it may not have been
                effects += self.keeping.tell(entry)
        return effects

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """A message of another agent's machine."""
        return self._and_invite(self._messages[kind](sender, payload))

    def on_timer(self, name: str) -> Iterable[Effect]:
        """A timer of one work."""
        what, _, id = name.partition(" ")
        return self._and_invite(self._timers[what](self.core.entry(id)))

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """The agent's own side asks for something.

        ``offers``: ``capabilities``, ``capacity``, ``priority``. ``hand_off``: ``id``, ``ticket``, ``task``, ``state``,
        ``has_state``, ``to``, ``capabilities``, ``reason``, ``priority``, ``max_hops`` (``None``: as before),
        ``timeout_ns``. ``save``: ``id``, ``token``, ``state``. ``finish``: ``id``, ``token``, ``value``.
        """
        return self._and_invite(self._commands[name](argument))

    def _and_invite(self, effects: list[Effect]) -> list[Effect]:
        """Tell those who found no room here that there is some now, if there is."""
        if not self.core.waiting:
            return effects
        chosen = self.core.invite()
        if not chosen:
            return effects
        standing = self.core.standing().wire()
        said = [
            Send(giver, "handoff_standing", {"id": id, "standing": standing, "invites": True})
            for giver, id in chosen
        ]
        return [*effects, *said]

    def _offers(self, asked: Any) -> list[Effect]:
        self.core.declare(asked["capabilities"], asked["capacity"], asked["priority"])
        return [
            Observe("offers", {"capabilities": list(asked["capabilities"]), "capacity": asked["capacity"]})
        ]

    def _hand_off(self, asked: Any) -> list[Effect]:
        return self.giving.begin(asked)

    def _save(self, asked: Any) -> list[Effect]:
        entry = self.core.entry(asked["id"])
        return self.keeping.save_state(entry, tuple(asked["token"]), asked["state"])

    def _finish(self, asked: Any) -> list[Effect]:
        return self.keeping.finish(self.core.entry(asked["id"]), asked["token"], asked["value"])

    def _returned(self, returned: Any) -> list[Effect]:
        if not returned.id.startswith(_CALLED):
            return []
        return self.keeping.finish(self.core.entry(returned.id[len(_CALLED) :]), None, returned.value)

    def view(self) -> None:
        """Hand-offs agree on nothing that all agents would expose."""
        return

    # -- what the agent's side reads -------------------------------------------------------------------------------

    def may_act(self, id: str) -> bool:
        """Whether this agent owns the work and holds its lease."""
        entry = self.core.entries.get(id)
        return (
            entry is not None
            and entry.role is Role.OWNER
            and (not entry.leased or (entry.lease.active and self.core.now() < entry.lease.until_ns))
        )

    def token_of(self, id: str) -> tuple[int, int] | None:
        """Return the token by which this agent owns the work, ``None`` if it does not."""
        entry = self.core.entries.get(id)
        return entry.work.token if entry is not None and entry.role is Role.OWNER else None

    def result_of(self, id: str) -> tuple[Any] | None:
        """Return the result of a work that is done, as ``(value,)``."""
        entry = self.core.entries.get(id)
        return (entry.value,) if entry is not None and entry.role is Role.DONE else None

    @property
    def is_busy(self) -> bool:
        """Whether some work is not where it belongs yet: given away, owned without a lease, or without a live owner."""
        return any(self._is_unsettled(entry) for entry in self.core.entries.values())

    def guards_any_of(self, dead: set[str]) -> bool:
        """Whether this agent guards an unfinished work that one of ``dead`` owns."""
        return any(
            entry.role is Role.GUARDIAN and entry.leased and entry.work.owner in dead
            for entry in self.core.entries.values()
        )

    def _is_unsettled(self, entry: Entry) -> bool:
        if entry.role is Role.RELEASED or entry.role is Role.FINISHING or entry.reserved is not None:
            return True
        if entry.role is Role.OWNER:
            return entry.leased and not entry.lease.active
        return entry.role is Role.GUARDIAN and entry.leased and entry.watch.suspicion is not None
