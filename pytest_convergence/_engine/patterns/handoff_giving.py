"""The giver's side of a hand-off: find a taker, offer, commit, transfer.

1. *Ask* (only where no taker was named): everybody says what it can do and how loaded it is; the least loaded capable
   one is chosen, then by priority, then by name. One that refuses or stays silent is followed by the next. Where all are
   full the giver waits, and whoever has room again tells those that it has sent away, in their order and as many as there
   is room for. Asking again, at intervals that double up to a bound, is only for the case that this word is lost.
2. *Offer*: a soft question. Nothing binds anybody yet; the offer expires.
3. *Commit*: with the acceptance in hand the giver writes that it has given the work away, to whom, under which token.
   From here on it does not act on the work, whatever happens.
4. *Transfer*: repeated until the taker says that it has the work, or that it will never take that token. In the second
   case the giver owns the work again, under the next token.

What a hand-off was asked for is durable: a giver that crashes goes on offering in its next life, by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.effects import Call, CancelTimer, Effect, Send, SetTimer
from pytest_convergence._engine.patterns.capabilities import CapabilityRegistry, Standing
from pytest_convergence._engine.patterns.handoff import (
    DEFAULT_MAX_HOPS,
    HandoffEvent,
    HandoffReason,
    HandoffState,
    Work,
    advance_handoff,
    continuation_of,
)
from pytest_convergence._engine.patterns.handoff_core import FULL, Core, Entry, Role, Search
from pytest_convergence._engine.patterns.handoff_reasons import Circumstances, may_wait, suitable, why_nobody
from pytest_convergence._engine.state.values import checksum_of

if TYPE_CHECKING:
    from pytest_convergence._engine.patterns.handoff_keeping import Keeping

__all__ = ["Giving"]

_FINAL: Final = frozenset({HandoffState.REFUSED, HandoffState.EXPIRED, HandoffState.TRANSFERRED})
_OFFERED_EVERY: Final = 2
"""The longest wait before an offer is repeated, in retries: the time that it has is short."""
_LONGEST_WAIT: Final = 3
"""How often the wait for somebody to have room doubles, before all are asked again."""
_PATIENCE: Final = 4
"""How often a candidate that was found is asked before the next one is."""


@final
class Giving:
    """Gives works away."""

    __slots__ = ("_core", "keeping")

    keeping: Keeping

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- begin -----------------------------------------------------------------------------------------------------

    def begin(self, asked: dict[str, Any]) -> list[Effect]:
        """Begin a hand-off; ``asked`` is what :meth:`HandoffMachine.on_command` documents."""
        core = self._core
        entry = core.entry(asked["id"])
        ticket, deadline_ns = asked["ticket"], core.now() + asked["timeout_ns"]
        search = entry.search
        if search is not None:  # the same work once more: wait for what is under way
            search.tickets.append(ticket)
            search.deadline_ns = max(search.deadline_ns or 0, deadline_ns)
            return []
        effects: list[Effect] = []
        if not entry.is_known or entry.role is Role.NONE:
            effects += self._create(entry, asked)
        elif entry.role is not Role.OWNER:
            why = "the work has been handed off already"
            return [self._conclusion([ticket], entry.work, HandoffState.TRANSFERRED, entry.work.owner, why)]
        plan = {name: asked[name] for name in ("to", "capabilities", "reason", "priority")}
        plan["max_hops"] = entry.work.max_hops if asked["max_hops"] is None else asked["max_hops"]
        plan["name"] = self._name(entry.work)
        if entry.leased and asked["has_state"]:
            plan["state"] = asked["state"]
        entry.plan = plan
        search = entry.search = Search(plan, [ticket], deadline_ns)
        effects = [*entry.save(), *effects, self._requested(entry)]
        if entry.work.hops >= plan["max_hops"]:
            why = f"it has changed hands {entry.work.hops} times, which is its hop budget"
            return [*effects, *self._conclude(entry, HandoffEvent.REFUSE, why)]
        return [*effects, *self._seek(entry)]

    def _create(self, entry: Entry, asked: dict[str, Any]) -> list[Effect]:
        core = self._core
        task, state = asked["task"], asked["state"]
        entry.work = Work(
            id=entry.id,
            task=task,
            state=state,
            checksum=checksum_of([task, state]),
            version=0,
            epoch=entry.work.epoch if entry.is_known else 0,
            number=entry.work.number + 1 if entry.is_known else 1,
            owner=core.name,
            path=(core.name,),
            hops=0,
            max_hops=DEFAULT_MAX_HOPS if asked["max_hops"] is None else asked["max_hops"],
            capabilities=tuple(asked["capabilities"]),
            reason=asked["reason"],
            priority=asked["priority"],
        )
        entry.taken.append(entry.work.token)
        core.note_role(entry, Role.OWNER)
        return [core.fact("own", entry.work, context=entry.work.checksum, origin=True)]

    def resume(self, entry: Entry) -> list[Effect]:
        """A new life finds that an earlier one was giving this work away."""
        if entry.plan is None:
            if entry.role is not Role.RELEASED:
                return []
            entry.plan = self._own_plan(entry.work, entry.work.owner)
        entry.search = Search(entry.plan, [], None)
        if entry.role is Role.RELEASED:
            entry.search.state = HandoffState.ACCEPTED
            entry.search.copied = True  # as far as this life knows
            return self._transfer(entry)
        first = (
            []
            if entry.leased
            else [self._core.fact("own", entry.work, context=entry.work.checksum, origin=True)]
        )
        return [*first, self._requested(entry), *self._seek(entry)]

    def pass_on(self, entry: Entry) -> list[Effect]:
        """This agent owns a work that it cannot do: find somebody who can."""
        entry.plan = self._own_plan(entry.work, None)
        entry.search = Search(entry.plan, [], None)
        return [*entry.save(), self._requested(entry), *self._seek(entry)]

    def _own_plan(self, work: Work, to: str | None) -> dict[str, Any]:
        """What the agent asks for by itself, to bring a work to where it belongs."""
        return {
            "to": to,
            "capabilities": list(work.capabilities),
            "reason": HandoffReason.FAILURE_RECOVERY.value,
            "priority": work.priority,
            "max_hops": work.max_hops + 1,
            "name": self._name(work),
        }

    def _requested(self, entry: Entry) -> Effect:
        plan = self._search(entry).plan
        return self._core.fact("handoff_requested", entry.work, id=plan["name"], reason=plan["reason"])

    def _name(self, work: Work) -> str:
        """What the numbers of a run call one hand-off."""
        return f"{work.id}@{work.epoch}.{work.number}"

    # -- ask and offer ---------------------------------------------------------------------------------------------

    def _seek(self, entry: Entry) -> list[Effect]:
        search = self._search(entry)
        search.tries = 0
        search.candidate = None
        to = search.plan["to"]
        if to is not None:
            return self._offer(entry, to)
        search.answers = CapabilityRegistry()
        return self._ask(entry)

    def _ask(self, entry: Entry) -> list[Effect]:
        search = self._search(entry)
        asked = [peer for peer in self._core.peers if peer not in search.answers]
        queries: list[Effect] = [Send(peer, "handoff_query", {"id": entry.id}) for peer in asked]
        return [*queries, self._timer(entry, self._core.timing.retry_ns)]

    def on_query(self, sender: str, payload: Any) -> list[Effect]:
        """Somebody looks for a taker."""
        standing = self._core.standing(but=payload["id"])
        if standing.declared and not standing.has_room:
            self._core.found_no_room(sender, payload["id"])
        return [Send(sender, "handoff_standing", {"id": payload["id"], "standing": standing.wire()})]

    def on_standing(self, sender: str, payload: Any) -> list[Effect]:
        """An agent says what it can do, asked, or because it has room again."""
        entry = self._core.entry(payload["id"])
        search = entry.search
        if payload.get("invites"):
            return self._on_invitation(entry, sender, Standing.read(payload["standing"]))
        if search is None or search.candidate is not None or entry.role is not Role.OWNER:
            return []
        search.answers.note(Standing.read(payload["standing"]))
        return self._choose(entry) if len(search.answers) == len(self._core.peers) else []

    def _on_invitation(self, entry: Entry, sender: str, standing: Standing) -> list[Effect]:
        search = entry.search
        if search is not None and search.candidate == "" and entry.role is Role.OWNER:
            search.answers.note(standing)
            if self._first(entry) == sender:
                return self._offer(entry, sender)
        return [Send(sender, "handoff_withdraw", {"id": entry.id, "attempt": 0})]  # it may tell the next one

    def _choose(self, entry: Entry) -> list[Effect]:
        search = self._search(entry)
        chosen = self._first(entry)
        if chosen is not None:
            return self._offer(entry, chosen)
        could = self._suitable(entry)
        hopeless = all(search.refused.get(each.agent, FULL) != FULL for each in could)
        waits = may_wait(search.plan["reason"]) or search.deadline_ns is None
        if len(search.answers) == len(self._core.peers) and (hopeless or not waits):
            return self._refused(entry, self._why_nobody(entry))
        search.refused = {}
        search.candidate = (
            ""  # whoever has room first says so; but that word may be lost, so ask again in a while
        )
        search.waits += 1
        return [self._timer(entry, self._core.backoff_ns(min(search.waits, _LONGEST_WAIT)))]

    def _suitable(self, entry: Entry) -> tuple[Standing, ...]:
        """Who can do it and may, by the reason of the hand-off, in the order in which they are asked."""
        search, core = self._search(entry), self._core
        giving = Circumstances(core.standing(but=entry.id), entry.work.path, core.agents)
        return suitable(search.plan["reason"], giving, search.answers.capable(search.plan["capabilities"]))

    def _first(self, entry: Entry) -> str | None:
        refused = self._search(entry).refused
        free = (each for each in self._suitable(entry) if each.has_room and each.agent not in refused)
        return next((each.agent for each in free), None)

    def _why_nobody(self, entry: Entry) -> str:
        search = self._search(entry)
        needed, reason = search.plan["capabilities"], search.plan["reason"]
        said = "; ".join(f"{agent}: {why}" for agent, why in search.refused.items())
        if not search.answers.capable(needed):
            return said or f"no other agent offers {', '.join(needed) or 'any work'}"
        if not self._suitable(entry):
            return f"{why_nobody(reason)}, and the reason is {reason}"
        return said or f"nobody has room at once, and the reason is {reason}"

    def _offer(self, entry: Entry, to: str) -> list[Effect]:
        search = self._search(entry)
        search.candidate = to
        search.attempt += 1
        search.tries = 0
        offered = self._as_offered(entry, to)
        fact = self._core.fact(
            "offered",
            offered,
            to=to,
            reason=offered.reason,
            context=offered.checksum,
            capabilities=list(offered.capabilities),
            max_hops=offered.max_hops,
        )
        return [fact, *self._repeat_offer(entry)]

    def _as_offered(self, entry: Entry, to: str) -> Work:
        plan = self._search(entry).plan
        work = entry.work
        if "state" in plan:
            work = work.with_state(plan["state"])
        return work._replace(
            capabilities=tuple(plan["capabilities"]), priority=plan["priority"], max_hops=plan["max_hops"]
        ).handed_to(to, plan["reason"])

    def _repeat_offer(self, entry: Entry) -> list[Effect]:
        search, core = self._search(entry), self._core
        to = search.candidate or ""
        delay_ns = min(core.backoff_ns(search.tries), _OFFERED_EVERY * core.timing.retry_ns)
        offer = {
            "id": entry.id,
            "attempt": search.attempt,
            "keep_ns": 4 * delay_ns,
            "work": self._as_offered(entry, to).wire(),
        }
        return [Send(to, "handoff_request", offer), self._timer(entry, delay_ns)]

    def _timer(self, entry: Entry, delay_ns: int) -> SetTimer:
        deadline_ns = self._search(entry).deadline_ns
        if deadline_ns is None:
            return SetTimer(f"give {entry.id}", delay_ns, background=True)
        return SetTimer(f"give {entry.id}", max(1, min(delay_ns, deadline_ns - self._core.now())))

    def on_timer(self, entry: Entry) -> list[Effect]:
        """Nobody has answered yet."""
        search = entry.search
        if search is None:
            return []
        late = search.deadline_ns is not None and self._core.now() >= search.deadline_ns
        if entry.role is Role.RELEASED:
            search.tries += 1
            return [*(self._give_up_waiting(entry) if late else ()), *self._transfer(entry)]
        if self._can_do_it_itself(entry):
            return self._conclude(entry, HandoffEvent.EXPIRE, "this agent can do it now")
        if late:
            return [
                *self._withdraw(entry),
                *self._conclude(entry, HandoffEvent.EXPIRE, "nobody took it in time"),
            ]
        search.tries += 1
        if search.candidate == "":
            return self._seek(entry)
        if search.candidate is None:
            known = self._first(entry) is not None
            return self._choose(entry) if known or search.tries >= _PATIENCE else self._ask(entry)
        if search.plan["to"] is None and search.tries >= _PATIENCE:
            withdrawn = self._withdraw(entry)
            search.refused[search.candidate] = FULL  # it may be back when the others have refused too
            return [*withdrawn, *self._seek(entry)]
        return self._repeat_offer(entry)

    def _can_do_it_itself(self, entry: Entry) -> bool:
        """Whether a work that this agent could not do when it recovered it needs nobody else any more."""
        searches = self._search(entry).deadline_ns is None and entry.leased and entry.lease.active
        return searches and self._core.why_not(entry.work) is None

    def _withdraw(self, entry: Entry) -> list[Effect]:
        search = self._search(entry)
        if not search.candidate:
            return []
        return [Send(search.candidate, "handoff_withdraw", {"id": entry.id, "attempt": search.attempt})]

    # -- answers ---------------------------------------------------------------------------------------------------

    def on_accept(self, sender: str, payload: Any) -> list[Effect]:
        """The candidate will take it: commit."""
        entry = self._core.entry(payload["id"])
        search = entry.search
        if (
            search is None
            or entry.role is not Role.OWNER
            or search.candidate != sender
            or payload["attempt"] != search.attempt
        ):
            if search is None or entry.role is not Role.RELEASED or search.candidate != sender:
                return [Send(sender, "handoff_withdraw", payload)]
            return []
        core = self._core
        search.state = advance_handoff(search.state, HandoffEvent.ACCEPT)
        search.tries = 0
        before, entry.work = entry.work, self._as_offered(entry, sender)
        core.note_role(entry, Role.RELEASED)
        entry.watch.heard(core.now())
        released: list[Effect] = [*entry.save(), core.fact("release", before)]
        return [*released, *self.keeping.stop(entry), *self._transfer(entry)]

    def on_never(self, sender: str, payload: Any) -> list[Effect]:
        """The taker will never take the token that was committed to it."""
        entry = self._core.entry(payload["id"])
        if entry.role is not Role.RELEASED or tuple(payload["token"]) != entry.work.token:
            return []
        if self._search(entry).copied:
            return []  # the guardians know of the taker by now: they find another one, and nobody takes anything back
        return self._take_back(entry, payload["why"])

    def on_reject(self, sender: str, payload: Any) -> list[Effect]:
        """The candidate does not want it."""
        entry = self._core.entry(payload["id"])
        search = entry.search
        if search is None or search.candidate != sender:
            return []
        if entry.role is Role.OWNER and payload["attempt"] == search.attempt:
            search.refused[sender] = payload["why"]
            if search.plan["to"] is not None:
                return self._refused(entry, f"{sender}: {payload['why']}")
            return self._choose(entry) if search.answers else self._seek(entry)
        return []

    def _take_back(self, entry: Entry, why: str) -> list[Effect]:
        core, search = self._core, self._search(entry)
        work = entry.work
        entry.work = work._replace(
            number=work.number + 1, owner=core.name, path=work.path[:-1], hops=work.hops - 1
        )
        entry.taken.append(entry.work.token)
        core.note_role(entry, Role.OWNER)
        effects: list[Effect] = [*entry.save()]
        if entry.leased:
            effects += self.keeping.start_lease(entry)
        else:
            effects.append(core.fact("own", entry.work, context=entry.work.checksum, origin=True))
        taker = search.candidate or ""
        search.refused[taker] = why
        if search.plan["to"] is not None:
            return [*effects, *self._refused(entry, f"{taker}: {why}")]
        search.state = HandoffState.OFFERED  # to the next candidate: an offer of its own
        return [*effects, *self._seek(entry)]

    def _refused(self, entry: Entry, why: str) -> list[Effect]:
        search = self._search(entry)
        if search.deadline_ns is not None:
            return self._conclude(entry, HandoffEvent.REFUSE, why)
        search.refused = {}  # nobody waits for an answer: ask again later, for ever
        search.state = HandoffState.OFFERED
        search.candidate = ""
        return [self._timer(entry, self._core.backoff_ns(_PATIENCE))]

    # -- transfer --------------------------------------------------------------------------------------------------

    def _transfer(self, entry: Entry) -> list[Effect]:
        search = self._search(entry)
        work = entry.work
        search.candidate = work.owner
        record = work.wire()
        effects: list[Effect] = [Send(work.owner, "handoff_transfer", {"id": entry.id, "work": record})]
        others = [each for each in entry.guardians if each not in (self._core.name, work.owner)]
        if others and search.tries >= _PATIENCE // 2:
            search.copied = True  # the taker may be gone: let the guardians know what there is to recover
            effects += [Send(each, "handoff_copy", {"id": entry.id, "work": record}) for each in others]
        return [*effects, self._timer(entry, self._core.backoff_ns(search.tries))]

    def on_owned(self, sender: str, payload: Any) -> list[Effect]:
        """The taker has the work."""
        entry = self._core.entry(payload["id"])
        if entry.role is not Role.RELEASED or tuple(payload["token"]) != entry.work.token:
            return []  # an old answer: this agent may own the work again meanwhile
        entry.leased = True
        self._core.note_role(entry, Role.GUARDIAN)
        entry.watch.heard(self._core.now())
        effects = self._conclude(entry, HandoffEvent.CONFIRM, "")
        return [*effects, *self.keeping.guard(entry)]

    def overtaken(self, entry: Entry, newer: Work) -> list[Effect]:
        """Another agent owns the work by a later token: what this one gave away, or was about to, is settled."""
        search = entry.search
        if search is None:
            return []
        if search.state is HandoffState.OFFERED:
            return self._conclude(entry, HandoffEvent.EXPIRE, f"{newer.owner} has recovered the work")
        if newer.epoch > entry.work.epoch:
            return self._conclude(entry, HandoffEvent.EXPIRE, f"{newer.owner} has recovered the work")
        return self._conclude(entry, HandoffEvent.CONFIRM, "")  # the taker has it, or had it and went on

    def _give_up_waiting(self, entry: Entry) -> list[Effect]:
        """The time is up, but the work is promised already: the caller hears that, and the transfer goes on."""
        search = self._search(entry)
        tickets, search.tickets, search.deadline_ns = search.tickets, [], None
        why = f"{entry.work.owner} has accepted, and has not confirmed the transfer in time"
        return [self._conclusion(tickets, entry.work, search.state, entry.work.owner, why)] if tickets else []

    # -- the end ---------------------------------------------------------------------------------------------------

    def _conclude(self, entry: Entry, event: HandoffEvent, why: str) -> list[Effect]:
        core, search = self._core, self._search(entry)
        state = advance_handoff(search.state, event)
        work = entry.work
        entry.search = entry.plan = None
        outcome = "completed" if state is HandoffState.TRANSFERRED else state.value
        fact = core.fact(f"handoff_{outcome}", work, id=search.plan["name"], why=why)
        effects: list[Effect] = [CancelTimer(f"give {entry.id}")]
        owner = work.owner
        if state is not HandoffState.TRANSFERRED and entry.role is Role.OWNER and not entry.leased:
            # It never left: the caller keeps it, and there is no work any more that could be lost.
            core.note_role(entry, Role.NONE)
            effects.append(core.fact("withdraw", work))
        told = [self._conclusion(search.tickets, work, state, owner, why)] if search.tickets else []
        return [*entry.save(), fact, *effects, *told, *self.keeping.go_on(entry)]

    def _conclusion(
        self, tickets: list[str], work: Work, state: HandoffState, owner: str, why: str
    ) -> Effect:
        said = {
            "tickets": list(tickets),
            "state": state.value,
            "owner": owner,
            "token": work.token,
            "checksum": work.checksum,
            "continuation": continuation_of(work),
            "why": why,
        }
        return Call(f"concluded {work.id}", "concluded", (said,))

    def _search(self, entry: Entry) -> Search:
        search = entry.search
        assert search is not None
        return search
