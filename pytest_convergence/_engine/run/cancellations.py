"""Who cancelled which task, and where that waited: for the report of a recorded run.

Most programs are not cancelled by a schedule but by themselves: a timeout is over, a client has hung up. Where that strikes
decides what it leaves behind, and nothing else tells of it: a task that is cancelled takes no step and sends no message. So
whoever cancels a task of a host is noted, beside the trace: a run has the same trace whether somebody looks or not.
"""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.trace import Aside
from pytest_convergence._engine.run.places import called_from, place_of
from pytest_convergence._engine.run.snapshots import frames_of
from pytest_convergence._engine.sim.cancelling import STRIKES

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.tasks import WorldTask

__all__ = ["Cancellations"]

_MOST: Final = 1_000
_OWN_PACKAGE: Final = __name__.partition(".")[0]
_OF_ASYNCIO: Final = {
    "Timeout._on_timeout": "asyncio.timeout",
    "wait_for": "asyncio.wait_for",
    "_cancel_and_wait": "asyncio.wait_for",
    "TaskGroup._abort": "its TaskGroup",
    "_GatheringFuture.cancel": "asyncio.gather",
}


@final
class Cancellations:
    """Notes the cancellations of one run.

    Attributes:
        told: what was noted, oldest first.
    """

    __slots__ = ("_fabric", "_is_inside", "_last", "told")

    def __init__(self, fabric: Fabric, told: list[Aside]) -> None:
        self.told = told
        self._fabric = fabric
        self._is_inside = False
        self._last: tuple[object, int] | None = None

    def __call__(self, task: WorldTask, msg: Any) -> bool:
        """Cancel a task. What it cancels in turn, because it awaits that, is not noted again."""
        life = task.life
        # Agents wait for messages, and a ⏱ says that none came.
        is_program = life is not None and life.node.is_host
        if self._is_inside or self._fabric.closed or not is_program or len(self.told) >= _MOST:
            return asyncio.Task.cancel(task, msg)
        self._is_inside = True
        try:
            frame = sys._getframe(2)
            by, where = _by(frame), _where(task, frame)
            is_cancelled = asyncio.Task.cancel(task, msg)
        finally:
            self._is_inside = False
        # Some libraries cancel a task again and again, until it has let go.
        now = (task, self._fabric.world.now_ns)
        if is_cancelled and by and where and self._last != now:
            self._last = now
            self._note(task, by, where)
        return is_cancelled

    def _note(self, task: WorldTask, by: str, where: str) -> None:
        trace = self._fabric.trace
        assert task.life is not None
        words = f"cancelled by {by} at {where}"
        before = trace.dropped + len(trace)
        self.told.append(
            Aside(before, self._fabric.world.now_ns, task.life.node.name, words, instead=by == _SCHEDULE)
        )


_SCHEDULE: Final = "the schedule"


def _by(frame: FrameType) -> str:
    """Name what cancels; nothing if that is this package's business."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    name = frame.f_code.co_qualname
    if package == _OWN_PACKAGE:
        return _SCHEDULE if frame.f_code is STRIKES else ""
    timer = getattr(frame.f_locals.get("self"), "_timeout_handler", None)
    if isinstance(timer, asyncio.Handle) and not isinstance(timer, asyncio.TimerHandle):
        return ""  # a timeout of no time: the program only looks whether something is there
    if package == "asyncio" and name in _OF_ASYNCIO:
        return _OF_ASYNCIO[name]
    return called_from(frame, frame.f_lineno)


def _where(task: WorldTask, frame: FrameType) -> str:
    coro = task.get_coro()
    if frame.f_code is STRIKES:
        coro = frame.f_locals["self"].coro  # its task has not come to a halt yet
    elif task is asyncio.current_task():
        return ""  # it cancels itself
    return place_of(list(frames_of(coro)), briefly=True)
