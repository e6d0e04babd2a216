"""The taker's and owner's side: accept, take, hold the lease, work, finish.

1. An acceptance keeps room for the work for a while, and promises nothing more. What counts is the *transfer*: each token
   is taken once or refused for ever, durably, before anybody is told.
2. The owner asks the guardians for a lease, in rounds. A round that a majority grants lets it act until the lease's time
   has passed since the round was *asked for*. The work begins with the first lease.
3. A result counts when a majority of the guardians has it, asked under a lease. Then everybody who owned the work is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.effects import Call, CancelCall, CancelTimer, Effect, Send, SetTimer
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.patterns.handoff import Work
from pytest_convergence._engine.patterns.handoff_core import FULL, Core, Entry, Lease, Reservation, Role

if TYPE_CHECKING:
    from pytest_convergence._engine.patterns.handoff_giving import Giving

__all__ = ["Keeping"]

_ROUNDS: Final = 4
"""How many of the latest lease rounds may still be granted."""
_INSISTENT: Final = 10
"""How many tries keep a finished world awake; those after are upkeep."""


@final
class Keeping:
    """Takes works, and keeps them as long as it may."""

    __slots__ = ("_core", "giving")

    giving: Giving

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- take ------------------------------------------------------------------------------------------------------

    def on_request(self, sender: str, payload: Any) -> list[Effect]:
        """A work is offered."""
        core = self._core
        work = Work.read(payload["work"])
        entry = core.entry(work.id)
        answer = {"id": work.id, "attempt": payload["attempt"], "token": work.token}
        why = self._why_never(entry, work)
        core.invited.pop((sender, work.id), None)
        if why is not None:
            if why == FULL:
                core.found_no_room(sender, work.id)
            refusal = core.fact("declined", work, giver=sender, why=why)
            return [refusal, Send(sender, "handoff_reject", {**answer, "why": why})]
        known = entry.reserved
        core.reserve(entry, Reservation(sender, payload["attempt"], work.token))
        fact = [] if known == entry.reserved else [core.fact("accepted", work, giver=sender)]
        keep = SetTimer(f"keep {work.id}", payload["keep_ns"], background=True)
        return [*fact, keep, Send(sender, "handoff_accept", answer)]

    def _why_never(self, entry: Entry, work: Work) -> str | None:
        """Say why this agent does not take ``work``, or ``None`` if it does."""
        if entry.role in (Role.FINISHING, Role.DONE):
            return "the work is done"
        if work.epoch < entry.granted[0] or (entry.is_known and work.token <= entry.work.token):
            return "a later owner is known"
        return self._core.why_not(work) or (None if work.is_intact else "the checksum does not match")

    def on_withdraw(self, sender: str, payload: Any) -> list[Effect]:
        """An offer is withdrawn, or its time is over."""
        entry = self._core.entry(payload["id"])
        self._core.invited.pop((sender, entry.id), None)
        kept = entry.reserved
        if kept is not None and kept.giver == sender and kept.attempt == payload["attempt"]:
            return self.drop_reservation(entry)
        return []

    def on_transfer(self, sender: str, payload: Any) -> list[Effect]:
        """A work is transferred: take it, once."""
        core = self._core
        work = Work.read(payload["work"])
        entry = core.entry(work.id)
        answer = {"id": work.id, "token": work.token}
        if work.token in entry.taken:
            return [Send(sender, "handoff_owned", answer)]
        effects: list[Effect] = []
        why: str | None = "refused before"
        if work.token not in entry.refused:
            why = self._why_never(entry, work)
            if why is not None:
                entry.refused.append(work.token)
                effects += [*entry.save(), core.fact("declined", work, giver=sender, why=why)]
        if why is not None:
            reply = Send(sender, "handoff_never", {**answer, "why": why})
            return [*self.drop_reservation(entry), *effects, reply]
        taken = self.take(entry, work, giver=sender)
        return [*taken, Send(sender, "handoff_owned", answer), *self.start_lease(entry)]

    def take(self, entry: Entry, work: Work, *, giver: str) -> list[Effect]:
        """Make durable that this agent owns ``work``."""
        entry.work = work
        entry.leased = True
        entry.taken.append(work.token)
        self._core.note_role(entry, Role.OWNER)
        dropped = self.drop_reservation(entry)
        fact = self._core.fact("taken", work, giver=giver, reason=work.reason, context=work.checksum)
        return [*dropped, *entry.save(), fact]

    def drop_reservation(self, entry: Entry) -> list[Effect]:
        """No room is kept any more."""
        self._core.reserve(entry, None)
        return [CancelTimer(f"keep {entry.id}")]

    # -- the lease -------------------------------------------------------------------------------------------------

    def start_lease(self, entry: Entry) -> list[Effect]:
        """Begin to ask for leases on the present token."""
        entry.lease = Lease()
        entry.watch.heard(self._core.now())
        return [*self.renew(entry), *self.guard(entry)]

    def renew(self, entry: Entry) -> list[Effect]:
        """Ask for the lease once more."""
        core, lease = self._core, entry.lease
        if entry.role is not Role.OWNER or not entry.leased:
            return []
        if entry.granted[0] > entry.work.epoch:
            # It has granted the work to another, or claims it anew itself: asking on would only keep the others from that.
            return []
        lease.round += 1
        lease.sent_ns[lease.round] = core.now()
        lease.votes[lease.round] = set()
        for old in [number for number in lease.sent_ns if number <= lease.round - _ROUNDS]:
            del lease.sent_ns[old]
            lease.votes.pop(old, None)
        effects: list[Effect] = []
        for guardian in entry.guardians:
            if guardian != core.name:
                record = None if guardian in lease.stored else entry.work.wire()
                asked = {"id": entry.id, "rank": entry.work.rank, "round": lease.round, "work": record}
                effects.append(Send(guardian, "handoff_lease", asked))
        if core.name in entry.guardians:
            effects += self._granted(entry, core.name, lease.round)
        if lease.active:
            timer = SetTimer(f"renew {entry.id}", core.timing.renew_ns, background=True)
        else:
            delay_ns = min(core.backoff_ns(lease.tries), core.timing.renew_ns)
            timer = SetTimer(f"renew {entry.id}", delay_ns, background=lease.tries >= _INSISTENT)
            lease.tries += 1
        return [*effects, timer]

    def on_lease_ack(self, sender: str, payload: Any) -> list[Effect]:
        """A guardian grants the lease."""
        entry = self._core.entry(payload["id"])
        if entry.role is not Role.OWNER or tuple(payload["rank"]) != entry.work.rank:
            return []
        entry.lease.stored.add(sender)
        return self._granted(entry, sender, payload["round"])

    def on_missing(self, sender: str, payload: Any) -> list[Effect]:
        """A guardian does not have the record: it comes with the next round."""
        self._core.entry(payload["id"]).lease.stored.discard(sender)
        return []

    def _granted(self, entry: Entry, guardian: str, round: int) -> list[Effect]:
        core, lease = self._core, entry.lease
        votes = lease.votes.get(round)
        if votes is None or entry.granted[0] > entry.work.epoch:
            return []  # an old round, or this agent itself has granted the work to another
        votes.add(guardian)
        until_ns = lease.sent_ns[round] + core.timing.lease_ns
        now_ns = core.now()
        if len(votes) < entry.quorum or until_ns <= max(now_ns, lease.until_ns):
            return []
        lease.until_ns = until_ns
        entry.watch.heard(now_ns)
        remaining_ns = until_ns - now_ns
        lapse = SetTimer(f"lapse {entry.id}", remaining_ns, background=True)
        if lease.active:
            return [lapse]
        lease.active, lease.tries = True, 0
        timers: list[Effect] = [lapse, SetTimer(f"renew {entry.id}", core.timing.renew_ns, background=True)]
        return [*timers, *self._act(entry)]

    def _act(self, entry: Entry) -> list[Effect]:
        """The lease is there: begin the work, or go on with it."""
        core = self._core
        if entry.search is not None:
            return []  # it is being given away: nobody acts on it until that has ended
        if not entry.working and core.why_not(entry.work) is not None:
            return self.giving.pass_on(entry)
        work = entry.work
        own = core.fact(
            "own",
            work,
            context=work.checksum,
            capabilities=list(work.capabilities),
            failover=core.timing.failover_ns / NS_PER_SECOND,
        )
        if entry.result is not None:
            return [own, *self._finish_now(entry)]
        if entry.working:
            return [own]
        entry.working = True
        return [own, Call(f"work {entry.id}", "work", (work.wire(),))]

    def lapse(self, entry: Entry) -> list[Effect]:
        """The lease has run out."""
        if not entry.lease.active:
            return []
        entry.lease.active = False
        suspended = self._core.fact("suspend", entry.work)
        return [suspended, *self.renew(entry), *self.guard(entry)]

    def go_on(self, entry: Entry) -> list[Effect]:
        """A hand-off that came to nothing leaves the work here."""
        return self._act(entry) if entry.role is Role.OWNER and entry.lease.active else []

    def stop(self, entry: Entry) -> list[Effect]:
        """This agent does not own the work any more; what its code still does for it does not count."""
        entry.lease = Lease()
        entry.working = False
        entry.result = None
        return [CancelTimer(f"{timer} {entry.id}") for timer in ("renew", "lapse")]

    def guard(self, entry: Entry) -> list[Effect]:
        """Watch over the owner, if this agent is a guardian."""
        if self._core.name not in entry.guardians or entry.role is Role.DONE or not entry.leased:
            return []
        timing = self._core.timing
        return [SetTimer(f"watch {entry.id}", timing.renew_ns, timing.step_ns, background=True)]

    # -- somebody else owns it -------------------------------------------------------------------------------------

    def yield_to(self, entry: Entry, newer: Work) -> list[Effect]:
        """Another agent owns the work by a later token."""
        core = self._core
        mine, was = entry.work if entry.is_known else None, entry.role
        held = was is Role.OWNER or (was is Role.FINISHING and mine is not None and mine.owner == core.name)
        entry.leased = True
        core.note_role(entry, Role.GUARDIAN)
        effects: list[Effect] = []
        if mine is not None and entry.search is not None:
            effects += self.giving.overtaken(entry, newer)
        entry.work = newer
        effects = [*entry.save(), *effects]
        if held and mine is not None:
            effects.append(core.fact("release", mine, why=f"{newer.owner} owns it"))
            effects += [CancelCall(f"work {entry.id}"), CancelTimer(f"tell {entry.id}"), *self.stop(entry)]
        return effects

    # -- finish ----------------------------------------------------------------------------------------------------

    def save_state(self, entry: Entry, token: tuple[int, int], state: Any) -> list[Effect]:
        """The owner has got further: later owners are to begin from there."""
        if entry.role is not Role.OWNER or entry.work.token != token:
            return []
        entry.work = entry.work.with_state(state)
        entry.lease.stored.clear()
        saved = self._core.fact("saved", entry.work, context=entry.work.checksum)
        return [*entry.save(), saved, *self.renew(entry)]

    def finish(self, entry: Entry, token: tuple[int, int] | None, value: Any) -> list[Effect]:
        """The work is done; counts as soon as there is a lease."""
        if entry.role is not Role.OWNER or not entry.working or token not in (None, entry.work.token):
            return []
        entry.result = [value]
        return self._finish_now(entry) if entry.lease.active and entry.search is None else []

    def _finish_now(self, entry: Entry) -> list[Effect]:
        assert entry.result is not None
        value = entry.result[0]
        return self.spread_result(entry, value)

    def spread_result(self, entry: Entry, value: Any) -> list[Effect]:
        """Tell the guardians a result, this agent's own or one that a former owner had told some of them."""
        core = self._core
        entry.value = value
        core.note_role(entry, Role.FINISHING)
        stopped = [core.fact("suspend", entry.work), *self.stop(entry)]  # there is nothing left to act on
        entry.told = {core.name}
        entry.tell_tries = 0
        return [*entry.save(), *stopped, CancelTimer(f"watch {entry.id}"), *self.tell(entry)]

    def tell(self, entry: Entry) -> list[Effect]:
        """Tell whoever has not acknowledged the result."""
        core = self._core
        if entry.role is Role.FINISHING and self._has_quorum(entry):
            return self._done(entry)
        final = entry.role is Role.DONE
        told = [*entry.guardians, *entry.work.path] if final else [*entry.guardians]
        waiting = [each for each in dict.fromkeys(told) if each not in entry.told and each != core.name]
        if not waiting:
            return [CancelTimer(f"tell {entry.id}")]
        timer = SetTimer(
            f"tell {entry.id}",
            core.backoff_ns(entry.tell_tries),
            background=entry.tell_tries >= _INSISTENT,
        )
        entry.tell_tries += 1
        return [*(self.result(entry, each) for each in waiting), timer]

    def result(self, entry: Entry, to: str) -> Send:
        """Tell one agent the result."""
        final = entry.role is Role.DONE
        result = {"id": entry.id, "work": entry.work.wire(), "value": entry.value, "final": final}
        return Send(to, "handoff_done", result)

    def _has_quorum(self, entry: Entry) -> bool:
        return sum(guardian in entry.told for guardian in entry.guardians) >= entry.quorum

    def _done(self, entry: Entry) -> list[Effect]:
        core = self._core
        core.note_role(entry, Role.DONE)
        entry.told = {core.name}
        entry.tell_tries = 0
        fact = core.fact("finished", entry.work)
        return [*entry.save(), fact, self.ended(entry), *self.tell(entry)]

    def ended(self, entry: Entry) -> Effect:
        """Let whoever waits here know the result."""
        return Call(f"ended {entry.id}", "ended", (entry.id, entry.value))

    def on_done(self, sender: str, payload: Any) -> list[Effect]:
        """A result is told."""
        core = self._core
        work = Work.read(payload["work"])
        entry = core.entry(work.id)
        answer = Send(
            sender, "handoff_done_ack", {"id": work.id, "token": work.token, "final": payload["final"]}
        )
        if entry.role is Role.DONE or (entry.role is Role.FINISHING and not payload["final"]):
            return [answer]
        if not payload["final"] and work.epoch < entry.granted[0]:
            return [self.nack(entry, sender)]
        effects: list[Effect] = []
        if not entry.is_known or entry.work.token < work.token:
            effects += self.yield_to(entry, work)
        elif entry.search is not None:
            # At no moment has it given the work away and forgotten to whom.
            core.note_role(entry, Role.GUARDIAN)
            effects += self.giving.overtaken(entry, work)
        entry.value = payload["value"]
        entry.work = work
        entry.leased = True
        core.note_role(entry, Role.DONE if payload["final"] else Role.FINISHING)
        effects += [*entry.save(), *self.stop(entry), CancelCall(f"work {entry.id}")]
        if payload["final"]:
            effects += [CancelTimer(f"watch {entry.id}"), self.ended(entry)]
        else:
            entry.watch.heard(core.now())
            effects += self.guard(entry)
        return [*effects, answer]

    def on_done_ack(self, sender: str, payload: Any) -> list[Effect]:
        """Somebody has the result."""
        entry = self._core.entry(payload["id"])
        if entry.role not in (Role.FINISHING, Role.DONE) or payload["final"] is not (entry.role is Role.DONE):
            return []
        entry.told.add(sender)
        if entry.role is Role.FINISHING:
            return self._done(entry) if self._has_quorum(entry) else []
        waiting = {*entry.guardians, *entry.work.path} - entry.told
        return [] if waiting else [CancelTimer(f"tell {entry.id}")]

    def nack(self, entry: Entry, to: str) -> Send:
        """Tell an owner that it may not be one any more."""
        record = entry.work.wire() if entry.is_known else None
        return Send(to, "handoff_nack", {"id": entry.id, "granted": entry.granted[0], "work": record})

    def on_nack(self, sender: str, payload: Any) -> list[Effect]:
        """A guardian knows more than this agent."""
        entry = self._core.entry(payload["id"])
        if payload["work"] is None or not entry.is_known:
            return []
        newer = Work.read(payload["work"])
        if newer.token <= entry.work.token or entry.role is Role.DONE:
            return []  # granted to somebody who does not own it (yet): the lease will tell
        return [*self.yield_to(entry, newer), *self.guard(entry)]
