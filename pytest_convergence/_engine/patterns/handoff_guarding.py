"""The guardians' side: keep a copy, grant leases, notice when the owner has failed, and let one of them take over.

1. A guardian that grants a lease promises to grant no claim until that lease has run out, and a margin more. A promise
   that a crash wiped out is made up for by waiting as long after the restart.
2. Silence makes a guardian suspect the owner (:class:`PhiAccrual`); it says so to the others, and the more suspect it
   independently the sooner one of them acts (:class:`Suspicion`). Never before its own promise has run out.
3. Who is able and has room claims first, others later: they would own the work only to hand it on.
4. A claim names an epoch. A guardian grants an epoch once, to one claimant, and afterwards neither leases nor results of
   earlier ones. What the majority grants comes with their records: the newest of them is what is taken over.
"""

from __future__ import annotations

from typing import Any, Final, final

from pytest_convergence._engine.base.effects import CancelTimer, Effect, Send, SetTimer
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.patterns.failure_detector import Suspicion
from pytest_convergence._engine.patterns.handoff import HandoffReason, Work
from pytest_convergence._engine.patterns.handoff_core import Core, Entry, Role
from pytest_convergence._engine.patterns.handoff_keeping import Keeping

__all__ = ["Guarding"]

_RECOVERY: Final = HandoffReason.FAILURE_RECOVERY.value
_UNABLE_LEASES: Final = 2
"""How many leases longer a guardian waits that could not do the work itself."""


@final
class Guarding:
    """Watches over the works of others."""

    __slots__ = ("_core", "_keeping")

    def __init__(self, core: Core, keeping: Keeping) -> None:
        self._core = core
        self._keeping = keeping

    # -- copies and leases -----------------------------------------------------------------------------------------

    def on_copy(self, sender: str, payload: Any) -> list[Effect]:
        """A giver lets the guardians know of a work whose taker is silent."""
        work = Work.read(payload["work"])
        entry = self._core.entry(work.id)
        if entry.role is Role.DONE:
            return [self._keeping.result(entry, sender)]
        if entry.is_known and entry.work.token > work.token:
            return [self._keeping.nack(entry, sender)]
        if work.epoch < entry.granted[0] or (entry.is_known and entry.work.rank >= work.rank):
            return []
        return [*self._store(entry, work), *self._keeping.guard(entry)]

    def _store(self, entry: Entry, work: Work) -> list[Effect]:
        effects = self._keeping.yield_to(entry, work)
        entry.watch.heard(self._core.now())
        return effects

    def on_lease(self, sender: str, payload: Any) -> list[Effect]:
        """An owner asks for its lease."""
        core = self._core
        entry = core.entry(payload["id"])
        rank = tuple(payload["rank"])
        if entry.role is Role.DONE:
            return [self._keeping.result(entry, sender)]
        if entry.role is Role.FINISHING and rank[:2] <= entry.work.token:
            return []  # it has told its result meanwhile, and has not heard the answer yet
        if rank[0] < entry.granted[0] or (entry.is_known and entry.work.token > rank[:2]):
            return [self._keeping.nack(entry, sender)]
        effects: list[Effect] = []
        if not entry.is_known or entry.work.rank < rank:
            if payload["work"] is None:
                return [Send(sender, "handoff_missing", {"id": entry.id})]
            effects += self._store(entry, Work.read(payload["work"]))
        elif entry.role is Role.RELEASED:  # who asks for the lease has the work: as good as its confirmation
            effects += self._keeping.giving.on_owned(sender, {"id": entry.id, "token": rank[:2]})
        entry.watch.heard(core.now())
        ack = {"id": entry.id, "rank": payload["rank"], "round": payload["round"]}
        return [*effects, Send(sender, "handoff_lease_ack", ack), *self._keeping.guard(entry)]

    # -- suspicion -------------------------------------------------------------------------------------------------

    def on_watch(self, entry: Entry) -> list[Effect]:
        """Look whether the owner is still there."""
        if entry.role is Role.DONE or (entry.role is Role.OWNER and entry.lease.active):
            return self._keeping.guard(entry) if entry.role is Role.OWNER else []
        watch, now_ns = entry.watch, self._core.now()
        over = self._is_over(entry, now_ns)
        if not over and watch.detector.is_available(now_ns):
            return self._keeping.guard(entry)
        effects: list[Effect] = []
        if watch.suspicion is None:
            watch.suspicion = self._suspect(entry, now_ns)
            effects += self._to_guardians(entry, "handoff_suspect", {"id": entry.id})
        if over and watch.suspicion.remaining(now_ns) <= 0 and now_ns >= self._turn_ns(entry):
            effects += self._claim(entry)
        return [*effects, *self._keeping.guard(entry)]

    def _is_over(self, entry: Entry, now_ns: int) -> bool:
        return now_ns >= entry.watch.heard_ns + self._core.timing.grace_ns

    def _turn_ns(self, entry: Entry) -> int:
        """From when on this guardian may claim: the able ones first."""
        timing = self._core.timing
        able = self._core.why_not(entry.work) is None and self._core.standing().declared
        wait_ns = 0 if able or entry.work.owner == self._core.name else _UNABLE_LEASES * timing.lease_ns
        return entry.watch.heard_ns + timing.grace_ns + wait_ns

    def _suspect(self, entry: Entry, now_ns: int) -> Suspicion:
        timing = self._core.timing
        suspicion = Suspicion(
            now_ns,
            expected=max(0, len(entry.guardians) - 2),
            shortest=timing.retry_ns,
            longest=timing.lease_ns,
        )
        for agent in sorted(entry.watch.suspected_by):
            suspicion.confirm(agent)
        return suspicion

    def on_suspect(self, sender: str, payload: Any) -> list[Effect]:
        """Another guardian has not heard the owner either."""
        entry = self._core.entry(payload["id"])
        entry.watch.suspected_by.add(sender)
        if entry.watch.suspicion is not None:
            entry.watch.suspicion.confirm(sender)
        return []

    def _to_guardians(self, entry: Entry, kind: str, payload: dict[str, Any]) -> list[Effect]:
        return [Send(each, kind, payload) for each in entry.guardians if each != self._core.name]

    # -- claims ----------------------------------------------------------------------------------------------------

    def _claim(self, entry: Entry) -> list[Effect]:
        """Ask the guardians to make this agent the owner."""
        core, watch = self._core, entry.watch
        epoch, claimant = entry.granted
        if claimant != core.name or epoch <= entry.work.epoch:
            epoch = max(epoch, entry.work.epoch) + 1
        if watch.claiming != epoch:
            watch.claiming = epoch
            watch.grants = {core.name: self._holding(entry)}
        entry.granted = (epoch, core.name)
        asked = self._to_guardians(entry, "handoff_claim", {"id": entry.id, "epoch": epoch})
        return [*entry.save(), *asked, *self._count(entry)]

    def _holding(self, entry: Entry) -> dict[str, Any]:
        finished = entry.role in (Role.FINISHING, Role.DONE)
        return {
            "work": entry.work.wire() if entry.is_known else None,
            "result": [entry.value] if finished else None,
        }

    def on_claim(self, sender: str, payload: Any) -> list[Effect]:
        """A guardian wants to take over."""
        core = self._core
        entry = core.entry(payload["id"])
        epoch, asked = entry.granted, (payload["epoch"], sender)
        if entry.role is Role.DONE:
            return [self._keeping.result(entry, sender)]
        if epoch != asked:
            leased = entry.leased and entry.is_known and not self._is_over(entry, core.now())
            known = max(epoch[0], entry.work.epoch if entry.is_known else 0)
            if asked[0] <= known or leased:
                return [Send(sender, "handoff_deny", {"id": entry.id, "granted": known})]
        entry.granted = asked
        entry.watch.heard(core.now())  # the claimant has the time of a lease to make something of it
        entry.lease.votes.clear()  # of an owner: what it asked for before must not make it act now
        granted = {"id": entry.id, "epoch": asked[0], **self._holding(entry)}
        return [*entry.save(), Send(sender, "handoff_grant", granted)]

    def on_deny(self, sender: str, payload: Any) -> list[Effect]:
        """A guardian still holds to another owner, or to a later claim."""
        entry = self._core.entry(payload["id"])
        epoch, claimant = entry.granted
        if payload["granted"] < epoch or claimant != self._core.name:
            return []
        # The next claim must name a later epoch: this one is somebody else's.
        entry.granted = (payload["granted"], "")
        entry.watch.claiming = None
        return entry.save()

    def on_grant(self, sender: str, payload: Any) -> list[Effect]:
        """A guardian grants the claim."""
        entry = self._core.entry(payload["id"])
        if entry.watch.claiming != payload["epoch"] or entry.granted != (payload["epoch"], self._core.name):
            return []
        entry.watch.grants[sender] = payload
        return self._count(entry)

    def _count(self, entry: Entry) -> list[Effect]:
        watch, keeping = entry.watch, self._keeping
        if len(watch.grants) < entry.quorum or watch.claiming is None:
            return []
        held = [each for each in watch.grants.values() if each["work"] is not None]
        newest = max(held, key=lambda each: Work.read(each["work"]).rank)
        work = Work.read(newest["work"])
        epoch, watch.claiming, watch.grants = watch.claiming, None, {}
        taken = work._replace(
            epoch=epoch,
            number=work.number + 1,
            owner=self._core.name,
            path=(*work.path, self._core.name),
            reason=_RECOVERY,
        )
        finished = next((each["result"] for each in held if each["result"] is not None), None)
        running = entry.working
        yielded = keeping.yield_to(entry, taken) if entry.work.owner != self._core.name else []
        effects: list[Effect] = [CancelTimer(f"watch {entry.id}"), *yielded]
        effects += keeping.take(entry, taken, giver=work.owner)
        effects += self._recovered(entry, taken)
        if finished is not None:  # somebody has finished it, and could not tell everybody
            return [*effects, *keeping.spread_result(entry, finished[0])]
        entry.working = running and not yielded
        return [*effects, *keeping.start_lease(entry)]

    def _recovered(self, entry: Entry, taken: Work) -> list[Effect]:
        """What the numbers of a run are to know: a recovery takes from the last word of the failed owner until now."""
        name = f"{taken.id}@{taken.epoch}.{taken.number}"
        seconds = (self._core.now() - entry.watch.heard_ns) / NS_PER_SECOND
        return [
            self._core.fact("handoff_requested", taken, id=name, reason=_RECOVERY),
            self._core.fact("handoff_completed", taken, id=name, seconds=seconds),
        ]

    def wake(self, entry: Entry) -> list[Effect]:
        """A new life: what was promised before is not known, so the whole time has to pass."""
        entry.watch.heard_ns = self._core.now()
        timing = self._core.timing
        if self._core.name not in entry.guardians or not entry.leased or entry.role is Role.DONE:
            return []
        return [SetTimer(f"watch {entry.id}", timing.renew_ns, timing.step_ns, background=True)]
