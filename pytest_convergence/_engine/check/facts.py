"""The facts on which properties are judged.

An agent says what it did, and a property is judged on what was said: the reference protocols and a user's own agents
observe the same facts (``agent.observe("leader", term=3)``), so the same properties hold for both.

======================  ================================  ========================================================
fact                    data                              the agent that observes it says …
======================  ================================  ========================================================
``term``                ``term``                          my term is now this (also at the start of each life)
``vote``                ``term``, ``candidate``           in this term I vote for that candidate; after a restart:
                                                          this is the vote that I remember (``None``: none)
``vote``                ``round``, ``value``              in this round I vote for that value
``confirm``             ``round``, ``value``              in this round I confirm that value (``None``: none)
``promise``             ``name``, ``value``               I promise that ``name`` is, and stays, this
``promise``             ``name``, ``at_least``            I promise that ``name`` never becomes less than this
``leader``              ``term`` (where there are terms)  from now on I lead
``follow``              ``leader``, ``term``              from now on I follow that leader
``step_down``           ``reason``                        I do not lead any more
``propose``             ``value``                         I propose this value (or a rule of mine made it)
``decide``              ``value``                         I have decided (also after a restart, from memory)
``undecided``           ``round``                         I have given up without a decision
``round``               ``round``                         I begin this round (term, ballot)
``delegate``            ``task``, ``parent``, ``to``,     I delegate this attempt of ``task``, a part of my task
                        ``attempt``, ``seconds``          ``parent``, and give it so long (also after a restart)
``begin``               ``task``, ``attempt``,            I begin to work on it, or go on with it after a restart;
                        ``seconds``                       so long at most
``end``                 ``task``, ``attempt``, ``how``    I do not work on it any more: it is ``"done"``,
                                                          ``"failed"``, or I ``"stopped"``
``accept``              ``task``, ``attempt``             I take the result of that attempt of what I delegated
``cancel``              ``task``, ``attempt``             I do not want that attempt of what I delegated any more
``restart``             ``task``, ``failed``, ``parts``,  these parts of my ``task`` failed, of these in order; I
                        ``strategy``, ``number``,         restart by this strategy, for the n-th time, and may do
                        ``at_most``, ``within``           so ``at_most`` times ``within`` so many seconds
``replica``             ``seen``, ``state``,              my copy of what is shared is ``state``, after exactly the
                        ``version``                       updates ``seen`` (a clock, or a set of ids); a fingerprint
                                                          of the state will do, and the version need not be given
``joined``              ``way``, ``start``, ``end``,      I take in, at one stroke, what another told: what lies
                        ``seen``                          between ``start`` and ``end``; I had ``seen`` this before;
                                                          ``way="full"``: a whole document
``told``                ``to``, ``upto``                  I tell this peer (these peers) all that I hold up to here,
                                                          until it is acknowledged
``acked``               ``by``, ``upto``                  this peer (these peers), I take it, have all up to here
``logged``              ``events``: ``(author, number)``  my log goes on with these events, in this order
``logged``              ``upto``                          my log goes up to here (after a restart, or by a snapshot)
``folded``              ``seen``, ``state``               folding my log, or its snapshot and what follows, I come to
                                                          this ``state``, after exactly the updates ``seen``
``siblings``            ``path``, ``writes``, ``seen``    at this path the writes with these ids stand side by side;
                                                          of all writes I have ``seen`` these (may be left out)
``clock``               ``clock``                         an event of mine that counts; this is its vector clock
``hybrid``              ``l``, ``c``, ``physical``,       an event of mine that counts; this is its hybrid clock; my
                        ``max_skew``                      own clock said ``physical``, and ``l`` may run ahead of it
                                                          by so much at most (both may be left out)
``disregard``           (nothing)                         I take no notice of what I have received since my last event
                                                          that counts: a stamp too far ahead, say
``log``                 ``entries``: ``(term, value)``    after a restart: my log holds just this, durably
``append``              ``index``, ``term``, ``value``    my log holds this entry at ``index`` (from 1), durably; if
                                                          it held another there, that and what followed are gone
``truncate``            ``index``                         I have dropped the entries of my log from here on
``commit``              ``index``, ``term``               I know my log to be committed up to here, in my term
``apply``               ``index``, ``value``              I have applied this committed command (``None``: nothing)
``read_request``        ``id``                            I have been asked to read
``read``                ``id``, ``index``                 I answer that read by my state as of this index
``round``               ``round``, ``parts``,             I begin to collect these parts in this order, for so
                        ``deadline``, ``counted``         many seconds at most; after a restart: I kept these
``part_answered``       ``round``, ``part``, ``value``    I answer this to the question for that part
``part_counted``        ``round``, ``part``, ``by``,      this answer of that agent counts as the part
                        ``value``
``round_closed``        ``round``                         nothing more counts in this round
``merged``              ``round``, ``value``,             I merged the parts in this order to this value; those
                        ``order``, ``missing``,           that are missing it lacks; at these paths sides differ
                        ``conflicts``
``called``              ``call``, ``deadline``,           I call for proposals, for so many seconds; equal scores
                        ``order``, ``best``               go by this order, the ``"highest"`` or ``"lowest"`` wins
``bid``                 ``call``, ``bidder``,             this bid came in; the score may follow as ``scored``
                        ``score``
``bids_closed``         ``call``                          I take no more bids
``bid_late``            ``call``, ``bidder``              this bid came too late
``match``               ``call``, ``one``, ``other``,     of these two that one goes on to the next call
                        ``winner``
``award``               ``number``, ``winner``            I award the contract, under this number
``award_revoked``       ``number``, ``winner``            I take that award back
``award_accepted``      ``number``                        I accept the award of this number
``award_committed``     ``number``, ``winner``            the contract is that agent's, and stays so
``bid_answered``        ``answer``                        I know what became of my bid
``feed``                ``item``, ``stages``,             this item goes in; its way leads by these stages (not
                        ``order``                         given: one without a name); it shares its order key
``take``                ``item``, ``stage``, ``of``       I have taken this item, and have room for ``of`` items
``attempt``             ``item``, ``stage``, ``number``   I begin to work on it, for the n-th time
``fail``                ``item``, ``stage``, ``of``,      this attempt failed with this error, of so many (not
                        ``error``                         given: 5) before I give up
``retry``               ``item``, ``stage``, ``number``   I shall try it again after a pause, for the n-th time
``effect``              ``item``, ``stage``, ``key``      the work on this item has taken effect, durably; ``key``
                                                          is the idempotency key of the effect
``ack``                 ``item``, ``stage``               I tell whoever sent it that I answer for this item
``release``             ``item``, ``stage``               I hold it no more, and nothing new has come of it
``dead_letter``         ``item``, ``stage``, ``error``    I give this item up; it is in the dead-letter queue
``reject``              ``item``, ``stage``, ``error``    this item is not what I accept; it goes no further
``offers``              ``capabilities``, ``capacity``    I take work: this is what I can do, and how much at a time
``offered``             ``task``, ``token``, ``to``,      I offer the work to that agent, which would own it by this
                        ``context``, ``max_hops``         token; it may change hands so often
``taken``, ``own``      ``task``, ``token``,              I have taken the work; I own it, and act on it from now on
                        ``context``, ``capabilities``     (also again, after a restart or a ``suspend``)
``suspend``             ``task``, ``token``               I own it, and do not act on it for the time being
``saved``               ``task``, ``token``, ``context``  its context is this from now on
``release``             ``task``, ``token``               I do not own it any more, and do not act on it
``finished``            ``task``, ``token``               it is done
``withdraw``            ``task``, ``token``               it is not to be handed over after all
``access``              ``resource``, ``task``,           (of whoever guards a resource) I let an owner with this
                        ``token``                         token change the resource
``write``               ``id``, ``path``, ``value``,      I write this to what is shared; by my clock it is ``at``,
                        ``at``, ``seen``, ``priority``,   and I had ``seen`` the writes with these ids; the vector
                        ``clock``                         clock of the write may follow
``conflict``            ``path``, ``writes``, ``winner``  I met a conflict of the writes with these ids; ``winner``
                        ``value``, ``strategy``, ``id``   stands, or the ``value``, by that strategy (neither: open)
``keep``                ``path``, ``write``,              at this path I hold that write from now on, by that
                        ``strategy``                      strategy (``"last-write"``, ``"first-come"``)
``verdict``             ``conflict``, ``value``,          I decide the conflict of this id for all, by that strategy;
                        ``winner``, ``votes``,            in a vote: by these ``votes``, with these ``weights``, and
                        ``weights``, ``quorum``           whether they are a quorum
``ballot``              ``question``, ``vote``            in this vote about a conflict I vote for that author
``abandon``             ``item``                          I wait no longer for this item
``publish``             ``event``, ``topic``, ``to``,     I publish this event for these subscribers, because of
                        ``cause``, ``place``, ``order``,  ``cause`` (``None``: of nothing; ``place``: which one of
                        ``budget``                        several); ``"fifo"`` or ``"causal"``; hops that it may have
``handle``              ``event``                         I begin to handle it
``handled``             ``event``, ``remembered``         I have handled it (``remembered``: so I find after a restart)
``loop``                ``event``, ``topic``, ``budget``  I would publish because of it, but its chain is too long
``saga_begin``          ``saga``, ``steps``, ``pivot``    I conduct a saga of these steps
``saga_end``            ``saga``, ``how``                 it is ``"done"``, ``"undone"`` or ``"stuck"``
``step_begin``          ``saga``, ``step``                I begin to do or undo that step
``step_done``           ``saga``, ``step``,               that step is done (``remembered``: so I find after a
                        ``remembered``                    restart)
``step_failed``         ``saga``, ``step``                it could not be done (or undone) and had no effect
``step_undone``         ``saga``, ``step``,               it was done, and is made up for
                        ``remembered``
``unsynced_send``       ``to``, ``kind``                  (the world says) I sent while my writes were not synced
======================  ================================  ========================================================

A fact may carry ``durable=key``: it rests on what is stored under that key. Observe a promise *before* you send what
relies on it: it binds the agent with its next message, for what nobody was told nobody can rely on.

A fact about an ``item`` may carry ``recalled=True``: I find it in my storage, and may have observed it before the crash.
Stages have names; agents that have one stage need not name it. Items are called by their idempotency keys.

An event of the kind ``decide`` counts like the fact of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["decided_value", "fact_of"]

_NOTHING: Mapping[str, Any] = {}


def fact_of(event: TraceEvent) -> tuple[str, Mapping[str, Any]]:
    """Return the fact that ``event`` observes and its data; ``""`` for an event of another kind."""
    detail = event.detail
    if event.kind == "observe" and (type(detail) is dict or isinstance(detail, Mapping)):  # mostly the former
        return str(detail.get("fact", "")), detail
    return "", _NOTHING


def decided_value(event: TraceEvent) -> tuple[Any] | None:
    """Return ``(value,)`` if ``event`` says that its agent decided, else ``None``."""
    if event.kind == "decide":
        return (event.detail["value"] if isinstance(event.detail, Mapping) else event.detail,)
    fact, data = fact_of(event)
    return (data.get("value"),) if fact == "decide" else None
