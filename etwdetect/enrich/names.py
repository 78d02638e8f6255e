"""Which program a process id stood for at a time, as far as the events tell."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from etwdetect.events import Event, ProcessRundown, ProcessStart, ProcessStop

_Known = TypeVar("_Known")

DEFAULT_BOUND: Final = 65_536
"""How many processes are remembered; the one heard of longest ago goes first."""

_SAME_START: Final = 100_000
"""10 ms: two providers tell of the same start within this time, one with the path, one without."""


class ProcessNames:
    """Follows the lives of processes in time order; *bound* is how many it remembers.

    A process that is only listed at the end of a trace was there before: `foresee` takes such listings ahead
    of time, from events in any order.
    """

    def __init__(self, bound: int = DEFAULT_BOUND) -> None:
        self._bound = bound
        self._living: OrderedDict[int, tuple[int, str]] = OrderedDict()
        self._listed: OrderedDict[int, tuple[int, str]] = OrderedDict()
        self._first_start: OrderedDict[int, int] = OrderedDict()
        self._ended: OrderedDict[int, None] = OrderedDict()

    def foresee(self, event: Event) -> None:
        """Take an event of the same trace before its turn."""
        match event:
            case ProcessRundown(time=time, pid=pid, image=str(image)):
                if pid not in self._listed or time < self._listed[pid][0]:
                    self._remember(self._listed, pid, (time, image))
            case ProcessStart(time=time, pid=pid):
                self._remember(self._first_start, pid, min(time, self._first_start.get(pid, time)))

    def observe(self, event: Event) -> None:
        """Take the next event in time order."""
        match event:
            case ProcessStart(time=time, pid=pid, image=image):
                told_twice = pid in self._living and time - self._living[pid][0] <= _SAME_START
                self._name(pid, time, image, same_life=told_twice)
            case ProcessRundown(time=time, pid=pid, image=image):
                self._name(pid, time, image, same_life=True)
            case ProcessStop(pid=pid):
                self._living.pop(pid, None)
                self._remember(self._ended, pid, None)

    def image(self, pid: int) -> str | None:
        """Return the image of the process that has the id *pid* at the time of the last observed event."""
        if pid in self._living:
            return self._living[pid][1]
        if pid in self._ended or pid not in self._listed:
            return None
        # Not seen to start or to end so far: the listing to come is of the same life, unless the id starts
        # anew before it.
        time, image = self._listed[pid]
        return image if self._first_start.get(pid, time) >= time else None

    def _name(self, pid: int, time: int, image: str | None, *, same_life: bool) -> None:
        known = self._living.get(pid) if same_life else None
        if known and (not image or known[1].endswith(image)):
            return  # the full path of the same program is known already
        if image:
            self._remember(self._living, pid, (time, image))
        else:
            self._living.pop(pid, None)

    def _remember(self, memory: OrderedDict[int, _Known], pid: int, known: _Known) -> None:
        memory[pid] = known
        memory.move_to_end(pid)
        if len(memory) > self._bound:
            memory.popitem(last=False)
