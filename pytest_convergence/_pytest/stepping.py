"""``--convergence-step``: walks through the run of a test, event by event, in the terminal.

The prompt opens when the test's body has ended: after a failure that was reduced, the run is the smallest one. It is a
recording, so one can go back, and jump to what matters; nothing of the user's runs meanwhile, no clock stands still.
"""

from __future__ import annotations

import cmd
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, final

import pytest

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.running_test import Made, RunningTest
from pytest_convergence.explore.walk import Walk, changes_told

__all__ = ["Steps", "check_terminal", "step_through"]

Reader = Callable[[str], str]

_SHORT: Final = {"s": "state", "a": "agent"}
"""What would be ambiguous."""
_PROMPT: Final = "(step) "
_AROUND: Final = 8
_MOST_LISTED: Final = 40


def _reader(config: pytest.Config) -> Reader | None:
    """Return what reads the commands: what a plugin says, or the terminal; ``None`` if there is none."""
    read: Reader | None = config.hook.pytest_convergence_step_reader(config=config)
    if read is not None:
        return read
    with _terminal(config):
        return input if sys.stdin is not None and sys.stdin.isatty() else None


def check_terminal(config: pytest.Config) -> None:
    """Check that somebody is there to walk through a run.

    Raises:
        pytest.UsageError: nobody is.
    """
    if config.stash[SETTINGS].steps and _reader(config) is None:
        raise pytest.UsageError(
            "--convergence-step walks through a run at a terminal, and standard input is none. Run it in a terminal, and do "
            "not redirect its input."
        )


@contextmanager
def _terminal(config: pytest.Config) -> Iterator[None]:
    """Give back the real terminal, as pytest does for a debugger."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is None or not capture.is_globally_capturing():
        yield
        return
    capture.suspend_global_capture(in_=True)
    try:
        yield
    finally:
        capture.resume_global_capture()
        capture.suspend_global_capture(in_=False)  # as between the phases of a test


def step_through(running: RunningTest, failure: BaseException | None) -> None:
    """Open the prompt on the run that a test has ended with."""
    config = running.item.config
    read = _reader(config)
    made = [one for one in running.run.sessions if one.outcome is not None]
    if read is None:
        return
    with _terminal(config):
        writer = config.get_terminal_writer()
        writer.line()
        if not made:
            writer.line(f"nothing to walk through: no session of {running.nodeid} has run.")
            return
        writer.sep(">", f"walk through {running.nodeid}")
        Steps(made, failure, read, writer.line).cmdloop()
        writer.sep("<", "the test goes on")


@final
class Steps(cmd.Cmd):
    """The commands of the prompt."""

    prompt = _PROMPT
    doc_header = "commands (each may be cut short, as far as it stays clear; an empty line is 'next'):"

    def __init__(
        self,
        made: Sequence[Made],
        failure: BaseException | None,
        read: Reader,
        write: Callable[[str], object],
    ) -> None:
        super().__init__()
        self._made = made
        self._failure = failure
        self._read = read
        self._write = write
        self._choose(len(made) - 1)

    def _choose(self, number: int) -> None:
        self._session = self._made[number]
        outcome = self._session.outcome
        assert outcome is not None
        snapshots = self._session.session.snapshots
        changes = changes_told(outcome.trace) if snapshots is None else snapshots.taken
        self._walk = Walk(outcome.trace, outcome.violations, tuple(changes))
        self._say(str(outcome))
        if self._failure is not None and _first_line(self._failure) not in str(outcome):
            self._say(f"it ended with {type(self._failure).__name__}: {_first_line(self._failure)}")
        names = ", ".join(violation.property for violation in outcome.violations)
        if names:
            self._say(f"violated: {names} ('violation' goes there)")
        if self._walk.events:
            self._say(f"{len(self._walk.events)} events; 'help' names the commands.")
            self._show()
        else:
            self._say("it has no trace: the test asks for trace=False.")

    # -- the loop ------------------------------------------------------------------------------------------------------

    def cmdloop(self, intro: Any = None) -> None:
        """Read and obey commands until one says stop, or there are no more."""
        while True:
            try:
                line = self._read(self.prompt)
            except EOFError:
                self._write("")
                return
            if self.onecmd(self.precmd(line)):
                return

    def onecmd(self, line: str) -> bool:
        """Obey one command; its name may be cut short."""
        name, argument, line = self.parseline(line)
        if not line:
            return self.emptyline()
        if line == "EOF":
            return True
        names = [each.removeprefix("do_") for each in self.get_names() if each.startswith("do_")]
        name = _SHORT.get(name or "", name)
        matches = [name] if name in names else [each for each in names if name and each.startswith(name)]
        if len(matches) != 1:
            maybe = f" ({', '.join(matches)}?)" if matches else ""
            self._say(f"no command {line.split()[0]!r}{maybe}; 'help' names them.")
            return False
        if not self._walk.events and matches[0] not in ("help", "quit", "session"):
            self._say("there are no events.")
            return False
        return bool(getattr(self, f"do_{matches[0]}")((argument or "").strip()))

    def emptyline(self) -> bool:
        """Go on by one event."""
        if self._walk.events:
            self.do_next("")
        return False

    def _say(self, text: str) -> None:
        for line in text.splitlines():
            self._write(line)

    def _show(self) -> None:
        self._say(self._walk.line())
        for change in self._walk.changes():
            self._say(f"{'':>21}{change}")

    def _number(self, text: str, default: int) -> int | None:
        if not text:
            return default
        try:
            return int(text.removeprefix("#"))
        except ValueError:
            self._say(f"a whole number is needed, not {text!r}.")
            return None

    def _go(self, place: int) -> None:
        if self._walk.go(place):
            self._show()
        else:
            self._say("this is the last event." if place > 0 else "this is the first event.")

    # -- going ---------------------------------------------------------------------------------------------------------

    def do_next(self, text: str) -> None:
        """Next [N]: go on by one event, or N."""
        number = self._number(text, 1)
        if number is not None:
            self._go(self._walk.place + number)

    def do_previous(self, text: str) -> None:
        """Previous [N]: go back by one event, or N."""
        number = self._number(text, 1)
        if number is not None:
            self._go(self._walk.place - number)

    def do_goto(self, text: str) -> None:
        """Goto N: go to event N; 'goto -1' is the last one."""
        number = self._number(text, 1)
        if number is not None:
            self._walk.go(number - 1 if number > 0 else len(self._walk.events) + number)
            self._show()

    def do_time(self, text: str) -> None:
        """Time SECONDS: go to the first event at or after that virtual time."""
        try:
            there = self._walk.go_to_time(float(text.removesuffix("s")))
        except ValueError:
            self._say(f"a number of virtual seconds is needed, not {text!r}.")
            return
        if there:
            self._show()
        else:
            self._say(
                f"nothing happened then: the last event is at {format_ns(self._walk.events[-1].at_ns)}."
            )

    def do_agent(self, text: str) -> None:
        """Agent NAME: go to the next event of that agent."""
        if text not in self._walk.agents:
            self._say(f"no agent {text!r}; there are {', '.join(self._walk.agents)}.")
        elif self._walk.go_to_agent(text):
            self._show()
        else:
            self._say(f"{text} has no further event.")

    def do_violation(self, text: str) -> None:
        """violation: go to the event that proves the next violated property, or to where an agent has raised an error."""
        violation = self._walk.go_to_violation()
        if violation is not None:
            self._show()
            self._say(str(violation))
        elif self._walk.go_to_error():
            self._show()
        else:
            self._say("every property held, and no agent has raised anything.")

    # -- looking -------------------------------------------------------------------------------------------------------

    def do_list(self, text: str) -> None:
        """List [N]: name the N events before and after this one."""
        number = self._number(text, _AROUND)
        if number is None:
            return
        here = self._walk.place
        around = min(abs(number), _MOST_LISTED)
        for place in range(max(0, here - around), min(len(self._walk.events), here + around + 1)):
            self._say(f"{'>' if place == here else ' '}{self._walk.line(place)}")

    def do_state(self, text: str) -> None:
        """State [NAME]: show what every agent, or that one, held at this event."""
        views = self._walk.views()
        if text and text not in self._walk.agents:
            self._say(f"no agent {text!r}; there are {', '.join(self._walk.agents)}.")
            return
        for agent in [text] if text else self._session.session.agents:
            self._say(f"{agent}:")
            for key, value in views.get(agent, {}).items():
                self._say(f"  {key} = {value}")
            if not views.get(agent):
                self._say("  (nothing)")

    def do_flight(self, text: str) -> None:
        """flight: show the messages that are on their way."""
        messages = self._walk.in_flight()
        for message in messages:
            sent = format_ns(message.sent_at_ns)
            self._say(f"  {message.id} {message.type} {message.payload!r}, sent {sent}, {message.channel}")
        if not messages:
            self._say("nothing is on its way.")

    def do_clocks(self, text: str) -> None:
        """clocks: show the vector clock of each agent."""
        for agent, clock in self._walk.clocks().items():
            counts = ", ".join(f"{name} {count}" for name, count in sorted(clock.items()))
            self._say(f"  {agent}: {counts}")

    def do_diagram(self, text: str) -> None:
        """Diagram [N]: draw the N events before and after this one."""
        number = self._number(text, _AROUND)
        if number is not None:
            self._say(self._walk.diagram(max(1, abs(number))))

    def do_session(self, text: str) -> None:
        """Session [N]: name the sessions of the test, or walk through another one."""
        number = self._number(text, 0)
        if number is not None and 1 <= number <= len(self._made):
            self._choose(number - 1)
            return
        for place, made in enumerate(self._made, 1):
            self._say(
                f"{'>' if made is self._session else ' '} {place}  {made.label}: {made.session.state.value}"
            )

    def do_help(self, arg: str) -> None:
        """help: name the commands."""
        self._say(self.doc_header)
        for name in self.get_names():
            if name.startswith("do_"):
                usage, _, what = (getattr(self, name).__doc__ or "").partition(": ")
                self._say(f"  {usage[:1].lower()}{usage[1:]:<16} {what}")

    def do_quit(self, text: str) -> bool:
        """quit: leave; pytest goes on. The end of input does the same."""
        return True


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")
