"""One agent's steps of sagas: carried out once, remembered, and undone when asked.

1. A step is asked for until it is answered. What was done is durable before it is reported, so that a request that comes
   again is answered from memory.
2. A step that is to be undone and was not done (the request was lost, or is still on its way) is *void*: a request that
   comes later is refused. So the conductor need not know what happened to a step that it gives up on.
3. What is remembered is bounded. A conductor has one saga at a time and numbers them; it begins one when all that it asked
   for in the one before is answered. So a request of a later saga says that the earlier ones of that conductor are over:
   they are forgotten, and what still comes of them is late, and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_convergence._engine.base.effects import Call, CancelCall, Effect, Observe
from pytest_convergence._engine.patterns.saga import DO, UNDO

__all__ = ["BUSY", "STEPPED", "Steps", "do_name", "undo_name"]

STEPPED: Final = "stepped"
BUSY: Final = "busy"

_DONE: Final = "done"
_FAILED: Final = "failed"
_UNDONE: Final = "undone"
_VOID: Final = "void"


def do_name(topic: str, number: int) -> str:
    """The name of the function that does a step."""
    return f"{DO} {topic}/{number}"


def undo_name(topic: str, number: int) -> str:
    """The name of the function that undoes a step."""
    return f"{UNDO} {topic}/{number}"


class Steps:
    """The steps that one agent carries out.

    Attributes:
        states: what is durable of them, by conductor: the number of its present saga (``serial``), and the state of each
            step of that one by saga and number (``steps``).
    """

    __slots__ = ("_asked", "_functions", "_save", "_tell", "states")

    def __init__(
        self,
        functions: Mapping[str, Any],
        save: Callable[[], list[Effect]],
        tell: Callable[[str, str, Any], list[Effect]],
    ) -> None:
        self._functions = functions
        self._save = save
        self._tell = tell
        self._asked: dict[
            str, tuple[str, dict[str, Any]]
        ] = {}  # what is under way, by call: who asked for what
        self.states: dict[str, dict[str, Any]] = {}

    def asked(self, sender: str, payload: Mapping[str, Any]) -> list[Effect]:
        """A conductor asks for a step to be done, or undone."""
        key = f"{payload['saga']}/{payload['number']}"
        serial = payload["serial"]
        present = self.states.get(sender)
        if present is not None and serial < present["serial"]:
            return []  # of a saga that is over
        if present is None or serial > present["serial"]:
            self.states[sender] = {"serial": serial, "steps": {}}
        state = self._steps_of(sender).get(key, {})
        if f"{payload['what']} {key}" in self._asked:
            return self._answer(sender, payload, BUSY)
        if payload["what"] == UNDO:
            return self._undo(sender, payload, key, state)
        if state.get("state") == _DONE:
            return self._answer(sender, payload, STEPPED, ok=True, value=state["value"])
        if state.get("state") in (_UNDONE, _VOID):
            return []
        if state.get("attempt", 0) >= payload["attempt"]:
            return self._answer(sender, payload, STEPPED, ok=False, value=state["reason"])
        return self._call(sender, payload, key, do_name(payload["topic"], payload["number"]))

    def _steps_of(self, conductor: str) -> dict[str, dict[str, Any]]:
        steps: dict[str, dict[str, Any]] = self.states[conductor]["steps"]
        return steps

    def saved(self) -> dict[str, Any]:
        """Return what is to be durable, as it is now."""
        return {
            conductor: {"serial": present["serial"], "steps": dict(present["steps"])}
            for conductor, present in self.states.items()
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on with what was durable."""
        for conductor, present in saved.items():
            self.states[conductor] = {"serial": present["serial"], "steps": dict(present["steps"])}

    def _undo(
        self, sender: str, payload: Mapping[str, Any], key: str, state: Mapping[str, Any]
    ) -> list[Effect]:
        if state.get("state") in (_UNDONE, _VOID):
            return self._answer(sender, payload, STEPPED, ok=True)
        if state.get("state") != _DONE:
            cancelled = self._asked.pop(f"{DO} {key}", None)
            stop: list[Effect] = [] if cancelled is None else [CancelCall(f"{DO} {key}")]
            self._steps_of(sender)[key] = {"state": _VOID}
            return [*stop, *self._save(), *self._answer(sender, payload, STEPPED, ok=True)]
        if state.get("undo_attempt", 0) >= payload["attempt"]:
            return self._answer(sender, payload, STEPPED, ok=False, value=state["reason"])
        name = undo_name(payload["topic"], payload["number"])
        if name in self._functions:
            return self._call(sender, payload, key, name)
        return self._undone(sender, payload, key)  # there is nothing to make up for

    def _call(self, sender: str, payload: Mapping[str, Any], key: str, function: str) -> list[Effect]:
        id = f"{payload['what']} {key}"
        self._asked[id] = (sender, dict(payload))
        begins = Observe("step_begin", {"saga": payload["saga"], "step": payload["step"]})
        return [begins, Call(id, function, (payload["payload"],))]

    def remembered(self) -> list[Effect]:
        """Say, after a restart, what was done and undone: the life before may have had no time to."""
        return [
            Observe(
                f"step_{state['state']}", {"saga": state["saga"], "step": state["step"], "remembered": True}
            )
            for present in self.states.values()
            for state in present["steps"].values()
            if state["state"] in (_DONE, _UNDONE)
        ]

    def is_mine(self, call: str) -> bool:
        """Whether that call is a step."""
        return call in self._asked

    def returned(self, call: str, value: Any) -> list[Effect]:
        """A step is done, or undone."""
        sender, payload = self._asked.pop(call)
        key = call.partition(" ")[2]
        if payload["what"] == UNDO:
            return self._undone(sender, payload, key)
        self._steps_of(sender)[key] = {**_named(payload), "state": _DONE, "value": value}
        fact = _fact("step_done", payload)
        return [*self._save(), fact, *self._answer(sender, payload, STEPPED, ok=True, value=value)]

    def raised(self, call: str, error: Exception) -> list[Effect]:
        """A step could not be done, or undone."""
        sender, payload = self._asked.pop(call)
        key = call.partition(" ")[2]
        reason = f"{type(error).__name__}: {error}"
        steps = self._steps_of(sender)
        if payload["what"] == UNDO:
            steps[key] = {**steps[key], "undo_attempt": payload["attempt"], "reason": reason}
        else:
            steps[key] = {"state": _FAILED, "attempt": payload["attempt"], "reason": reason}
        fact = _fact("step_failed", payload, reason=reason)
        return [*self._save(), fact, *self._answer(sender, payload, STEPPED, ok=False, value=reason)]

    def _undone(self, sender: str, payload: Mapping[str, Any], key: str) -> list[Effect]:
        self._steps_of(sender)[key] = {**_named(payload), "state": _UNDONE}
        fact = _fact("step_undone", payload)
        return [*self._save(), fact, *self._answer(sender, payload, STEPPED, ok=True)]

    def _answer(
        self, sender: str, payload: Mapping[str, Any], kind: str, *, ok: bool = True, value: Any = None
    ) -> list[Effect]:
        named = {name: payload[name] for name in ("saga", "number", "what", "attempt")}
        return self._tell(sender, kind, {**named, "ok": ok, "value": value})


def _named(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"saga": payload["saga"], "step": payload["step"]}


def _fact(fact: str, payload: Mapping[str, Any], **more: Any) -> Observe:
    return Observe(fact, {**_named(payload), "what": payload["what"], **more})
